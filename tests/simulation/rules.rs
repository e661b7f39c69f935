//! The promises that are checked, by their names in the protocol.

use std::fmt;

/// An invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// At most one node leads.
    I1,
    /// Epochs rise in commit order.
    I2,
    /// An epoch beyond the revision it was written at was remembered.
    I3,
    /// One epoch belongs to one session.
    I4,
    /// A deadline is covered by a stored write.
    I5,
    /// An ended epoch is never led again.
    I6,
    /// A held record is replaced by others only after its TTL.
    I7,
    /// Instant takeover only of a clean release, which only the holder writes, after stopping.
    I8,
    /// A fencing gate never refuses the leader.
    I9,
    /// Terms are told in pairs.
    I10,
    /// An observer writes nothing.
    I11,
    /// Only an own write that is known to be stored makes or keeps a leader.
    I12,
    /// The highest epoch seen never decreases.
    I13,
    /// One write is awaited at most, and unknown ones are remembered.
    I14,
    /// No term begins after the validity of its challenge.
    I15,
    /// The first sight of a revision never moves.
    I16,
    /// Nobody leads while its release is under way.
    I17,
    /// No challenge in cooldown.
    I18,
    /// Somebody leads after the faults.
    L1,
    /// A clean release is taken over soon.
    L2,
    /// One slow node does not keep the others from leading.
    L3,
    /// Forged notices neither stall nor depose.
    L4,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A broken promise.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) what: String,
}

/// The first broken promise of a run.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Look out for this one only, by its name.
    only: Option<String>,
    pub(crate) violation: Option<Violation>,
}

impl Verdict {
    pub(crate) fn new(only: Option<String>) -> Self {
        Self { only, violation: None }
    }

    pub(crate) fn demand(&mut self, rule: Rule, holds: bool, what: impl FnOnce() -> String) {
        if holds || self.violation.is_some() {
            return;
        }
        if self.only.as_ref().is_none_or(|only| *only == rule.to_string()) {
            self.violation = Some(Violation { rule, what: what() });
        }
    }
}
