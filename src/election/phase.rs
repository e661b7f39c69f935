//! What a node is doing, and what it may have left in the store.

use super::Timestamp;
use crate::event::Reason;
use crate::lease::Epoch;
use crate::store::Expect;

#[derive(Debug)]
pub(super) enum Phase {
    /// No term is held, and none is sought at the moment.
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
    /// When its newest write was sent.
    pub(super) sent: Timestamp,
    pub(super) tries: u32,
    /// One of its writes may still be stored.
    pub(super) unknown: bool,
}

/// A term that is held.
#[derive(Clone, Debug)]
pub(super) struct Term {
    pub(super) epoch: Epoch,
    /// The revision of its newest write.
    pub(super) revision: u64,
    pub(super) deadline: Timestamp,
    pub(super) renew_at: Timestamp,
    /// A read was answered since the term began.
    pub(super) was_read: bool,
}

/// Why and how a term that is still held comes to its end.
#[derive(Clone, Debug)]
pub(super) struct Resignation {
    pub(super) reason: Reason,
    pub(super) successor: Option<String>,
    /// When the drain is given up.
    pub(super) give_up_at: Timestamp,
    /// The work of the term has stopped.
    pub(super) drained: bool,
}

/// The release of a term that has ended.
#[derive(Clone, Debug)]
pub(super) struct Release {
    pub(super) term: EndedTerm,
    pub(super) ended_at: Timestamp,
    /// When the release is given up.
    pub(super) give_up_at: Timestamp,
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

impl Leftover {
    /// A resigned term ended without a release.
    pub(super) fn add(&mut self, ended: EndedTerm, drained: bool) {
        *if drained { &mut self.to_release } else { &mut self.undrained } = Some(ended);
    }

    /// The work of that term has stopped, after the term ended.
    pub(super) fn drained(&mut self, epoch: Epoch) {
        if let Some(ended) = self.undrained.take_if(|ended| ended.epoch == epoch) {
            self.to_release = Some(ended);
        }
    }
}

/// What a release needs to know about the term that it releases.
#[derive(Clone, Debug)]
pub(super) struct EndedTerm {
    pub(super) epoch: Epoch,
    pub(super) successor: Option<String>,
}
