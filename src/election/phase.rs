//! What a node is doing: it follows, challenges, holds a term, releases it, or has stopped.

use super::Timestamp;
use crate::event::Reason;
use crate::lease::Epoch;
use crate::store::Expect;

#[derive(Debug)]
pub(super) enum Phase {
    Following,
    /// A write that begins a term is under way, or its outcome is unknown.
    Challenging(Challenge),
    /// A term is held. It is led until it is resigned; then its renewals go on while its work ends.
    Holding {
        term: Term,
        resignation: Option<Resignation>,
    },
    /// The term has ended, its work had stopped, and the release is being written.
    Releasing(Release),
    Stopped,
}

#[derive(Debug)]
pub(super) struct Challenge {
    pub(super) epoch: Epoch,
    pub(super) expect: Expect,
    pub(super) sent: Timestamp,
    pub(super) tries: u32,
    /// One of its writes may still be stored.
    pub(super) unknown: bool,
}

/// A term that is held.
#[derive(Clone, Debug)]
pub(super) struct Term {
    pub(super) epoch: Epoch,
    /// The newest own revision.
    pub(super) revision: u64,
    pub(super) deadline: Timestamp,
    pub(super) renew_at: Timestamp,
}

/// Why and how a term that is still held comes to its end.
#[derive(Clone, Debug)]
pub(super) struct Resignation {
    pub(super) reason: Reason,
    pub(super) successor: Option<String>,
    /// When the drain is given up.
    pub(super) bound: Timestamp,
    /// The work of the term has stopped.
    pub(super) drained: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Release {
    pub(super) epoch: Epoch,
    pub(super) successor: Option<String>,
    pub(super) ended: Timestamp,
    /// When the release is given up.
    pub(super) until: Timestamp,
}

/// Held records of this session that may be in the store although it holds no term.
#[derive(Debug, Default)]
pub(super) struct Leftover {
    /// To be overwritten by a release, once: nothing runs under this epoch.
    pub(super) to_release: Option<EndedTerm>,
    /// The newest term that ended before its work had stopped. It is released only once the work
    /// has stopped after all.
    pub(super) undrained: Option<EndedTerm>,
    /// The revision of an own held record that was challenged without waiting. That happens once
    /// for each.
    pub(super) retaken: u64,
}

/// A term that has ended, as far as a release of it is concerned.
#[derive(Clone, Debug)]
pub(super) struct EndedTerm {
    pub(super) epoch: Epoch,
    pub(super) successor: Option<String>,
}
