//! Notices: what they may cause before a read confirms them, and how a read judges them.

use std::cmp::Ordering;

use super::Timestamp;
use super::record::{Observation, Record};
use crate::lease::Lease;
use crate::store::Entry;

/// What follows from a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoticeVerdict {
    /// Nothing.
    Ignored,
    /// Another session holds the lease: a challenge has to wait.
    Held,
    /// A read has to confirm it before anything follows.
    Unconfirmed,
    /// The same, and it is likely true: it names the term that is known.
    LikelyReleased,
}

/// A notice, with its bytes: a read tells whether they were true.
#[derive(Clone, Debug)]
pub(super) struct Noticed {
    pub(super) observed: Observation,
    pub(super) entry: Entry,
}

/// What a read says about a notice.
pub(super) enum NoticeCheck {
    /// The read shows the very same bytes.
    Confirmed,
    /// The read shows that no such record is in the store.
    Contradicted,
    /// The read was under way when the notice arrived, and proves nothing.
    Undecided,
    /// Another write or a purge came after it. It may have been true.
    Superseded,
}

impl Noticed {
    /// Compares the notice with a read that was sent at `sent`.
    pub(super) fn against(
        &self,
        sent: Timestamp,
        shown: &Observation,
        entry: Option<&Entry>,
    ) -> NoticeCheck {
        if entry == Some(&self.entry) {
            return NoticeCheck::Confirmed;
        }
        match self.observed.revision.cmp(&shown.revision) {
            Ordering::Less => NoticeCheck::Superseded,
            // Even the same number proves nothing then: a read takes the record first, and the
            // bucket's newest revision after it.
            _ if self.observed.first_seen > sent => NoticeCheck::Undecided,
            Ordering::Equal if shown.record == Record::Absent => NoticeCheck::Superseded,
            Ordering::Equal | Ordering::Greater => NoticeCheck::Contradicted,
        }
    }
}

/// Whether `release` ends the very term that `held` is of.
pub(super) fn ends_term(release: &Lease, held: &Lease) -> bool {
    !held.is_released()
        && held.session.is_some()
        && held.session == release.session
        && held.epoch == release.epoch
        && held.write < release.write
}
