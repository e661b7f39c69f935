//! The invariants, each with its code in the protocol and a name.

use std::fmt;

/// Declares the rules once, and derives the list of all and the names from it.
macro_rules! rules {
    ($($(#[$doc:meta])* $code:ident $name:ident,)*) => {
        /// An invariant.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Rule {
            $($(#[$doc])* $code,)*
        }

        impl Rule {
            const ALL: &[Self] = &[$(Self::$code,)*];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$code => stringify!($name),)*
                }
            }
        }
    };
}

rules! {
    /// At most one node leads.
    I1 SingleLeader,
    /// Epochs rise in commit order.
    I2 EpochsRise,
    /// An epoch is above the revision that it was written at only if a higher epoch was remembered.
    I3 NoEpochSkipped,
    /// One epoch belongs to one session.
    I4 OneSessionPerEpoch,
    /// A deadline is covered by a stored write.
    I5 DeadlineCovered,
    /// An ended epoch is never led again.
    I6 EndedStaysEnded,
    /// A held record is replaced by another session only after its TTL.
    I7 HeldRecordWaits,
    /// Only a clean release is taken over without a wait. Only its holder writes it, after
    /// stopping.
    I8 CleanRelease,
    /// A fencing gate never refuses the leader.
    I9 GateAdmitsLeader,
    /// Each term is reported once when it begins and once when it ends.
    I10 TermsPaired,
    /// An observer writes nothing.
    I11 ObserverNeverWrites,
    /// Only an own write that is known to be stored makes or keeps a node leader.
    I12 OnlyOwnWrites,
    /// The highest epoch seen never decreases.
    I13 EpochRemembered,
    /// At most one request is awaited, and writes of unknown outcome are remembered.
    I14 OneRequestAwaited,
    /// No term begins after the validity of its challenge.
    I15 NoLateTerm,
    /// `first_seen` of a revision never moves.
    I16 FirstSeenFixed,
    /// A node does not lead when it sends its release.
    I17 EndedBeforeRelease,
    /// No challenge is sent in a cooldown or back-off.
    I18 CooldownKept,
    /// A node leads soon after the faults have stopped, and no wake-up is missed.
    L1 LeaderAfterFaults,
    /// A clean release is taken over soon.
    L2 ReleaseTakenOver,
    /// One slow node does not keep the others from leading.
    L3 SlowNodeTolerated,
    /// Forged notices neither leave a cluster without leader nor end a term.
    L4 ForgeryHarmless,
}

impl Rule {
    /// The rule of that code or name, in the spelling of the protocol.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_it = |rule: &&Self| format!("{rule:?}") == text || rule.name() == text;
        Self::ALL.iter().find(is_it).copied()
    }

    /// All rules, for an error message.
    pub(crate) fn list() -> String {
        let all: Vec<String> = Self::ALL.iter().map(ToString::to_string).collect();
        all.join(", ")
    }
}

impl fmt::Display for Rule {
    /// Code and name: `I1 SingleLeader`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?} {}", self.name())
    }
}
