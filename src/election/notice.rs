//! Notices: unconfirmed news of other nodes' writes. They may be lost, late or forged.
//!
//! A notice of a held record delays a challenge. Any other notice causes a read and nothing more,
//! except for a release that can be challenged unread (see `challenge_unconfirmed`). A read settles
//! them: it drops a notice that it contradicts, and no further notice counts before a reconnect.

use std::cmp::Ordering;

use super::Timestamp;
use super::record::{Observation, Record};
use crate::lease::Lease;
use crate::store::Entry;

/// How many notices are acted upon between two reads. A leader renews some ten times in between; a
/// forger that sends thousands must not fill the queues and logs of the other nodes.
const MAX_BETWEEN_READS: u32 = 256;

/// What follows from a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoticeVerdict {
    /// Nothing.
    Ignored,
    /// Another session holds the lease: a challenge has to wait.
    Held,
    /// A read has to confirm it before anything follows.
    Unconfirmed,
    /// The same, and it is probably true: it names the very term that is known.
    LikelyReleased,
}

/// A notice, with its bytes: a read tells whether they were true.
#[derive(Clone, Debug)]
pub(super) struct Noticed {
    observed: Observation,
    entry: Entry,
}

/// What a read says about a notice.
enum NoticeCheck {
    /// The read shows the very same bytes.
    Confirmed,
    /// The read shows that the store has no such record.
    Contradicted,
    /// The read was under way when the notice arrived, and proves nothing.
    Undecided,
    /// Another write or a purge came after it. It may have been true.
    Superseded,
}

impl Noticed {
    /// Compares the notice with a read that was sent at `sent`.
    fn against(&self, sent: Timestamp, shown: &Observation, entry: Option<&Entry>) -> NoticeCheck {
        if entry == Some(&self.entry) {
            return NoticeCheck::Confirmed;
        }
        match self.observed.revision.cmp(&shown.revision) {
            Ordering::Less => NoticeCheck::Superseded,
            // An equal revision proves nothing either: a read takes the record first, and the
            // bucket's newest revision after it.
            _ if self.observed.first_seen > sent => NoticeCheck::Undecided,
            Ordering::Equal if shown.record == Record::Absent => NoticeCheck::Superseded,
            Ordering::Equal | Ordering::Greater => NoticeCheck::Contradicted,
        }
    }
}

/// What a read said about the notices before it.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// When the record that was read was first noticed.
    pub(super) noticed_at: Option<Timestamp>,
    /// A held record was noticed that the store does not have.
    pub(super) lost_holder: bool,
    /// The highest noticed revision that has passed.
    pub(super) passed: u64,
}

/// The notices that no read has settled yet.
#[derive(Clone, Debug)]
pub(super) struct Notices {
    /// The newest notice of a held record. It delays a challenge.
    holder: Option<Noticed>,
    /// The newest notice of anything else, which would hurry a challenge or end a term. A forger
    /// that guesses the next revision must not have a live leader challenged as if it had released.
    unconfirmed: Option<Noticed>,
    /// The revision of the oldest notice that no read has reached yet, and when it arrived. Later
    /// notices do not replace it: a forger that always sends one more could never be contradicted.
    oldest: Option<(u64, Timestamp)>,
    pub(super) since_read: u32,
    /// Whether notices count. Not from the first contradicted one until the next connection.
    pub(super) trusted: bool,
}

impl Notices {
    pub(super) fn new() -> Self {
        Self { holder: None, unconfirmed: None, oldest: None, since_read: 0, trusted: true }
    }

    /// The newest notice of a held record.
    pub(super) fn holder(&self) -> Option<&Observation> {
        self.holder.as_ref().map(|noticed| &noticed.observed)
    }

    /// The newest notice of anything else, which only a read can settle.
    pub(super) fn unconfirmed(&self) -> Option<&Observation> {
        self.unconfirmed.as_ref().map(|noticed| &noticed.observed)
    }

    /// When the oldest notice arrived that no read has reached yet.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.oldest.map(|(_, at)| at)
    }

    /// The highest revision that was noticed.
    pub(super) fn highest(&self) -> u64 {
        let noticed = [self.holder(), self.unconfirmed()].into_iter().flatten();
        noticed.map(|observed| observed.revision).max().unwrap_or(0)
    }

    /// Takes in a notice that is not ignored. It counts for less than `verdict` when there were too
    /// many since the last read.
    pub(super) fn add(
        &mut self,
        observed: Observation,
        entry: Entry,
        verdict: NoticeVerdict,
    ) -> NoticeVerdict {
        self.since_read = self.since_read.saturating_add(1);
        let flooded = self.since_read > MAX_BETWEEN_READS;
        let verdict = if flooded { NoticeVerdict::Unconfirmed } else { verdict };
        self.oldest.get_or_insert((observed.revision, observed.first_seen));
        let held = verdict == NoticeVerdict::Held;
        let slot = if held { &mut self.holder } else { &mut self.unconfirmed };
        *slot = Some(Noticed { observed, entry });
        verdict
    }

    /// A write of this node was stored as `revision`: earlier notices are of what it replaced, or
    /// forged.
    pub(super) fn written(&mut self, revision: u64) {
        self.holder.take_if(|noticed| noticed.observed.revision <= revision);
        self.unconfirmed.take_if(|noticed| noticed.observed.revision <= revision);
        self.oldest.take_if(|(oldest, _)| *oldest <= revision);
    }

    /// Drops all of them.
    pub(super) fn forget(&mut self) {
        (self.holder, self.unconfirmed, self.oldest) = (None, None, None);
    }

    /// Drops the notices that a read settles, and with a contradicted one the trust in notices.
    ///
    /// A notice of a held record that the read confirms byte by byte dates it: the record was first
    /// seen when the notice arrived. A notice of a marker does not, because all markers are alike:
    /// it may have been forged before the marker was written.
    pub(super) fn settle(
        &mut self,
        sent: Timestamp,
        shown: &Observation,
        entry: Option<&Entry>,
    ) -> Settled {
        let mut settled = Settled::default();
        self.oldest.take_if(|(oldest, _)| *oldest <= shown.revision);
        let unproven = self.oldest.take_if(|(_, at)| *at <= sent).is_some();
        for (slot, held) in [(&mut self.holder, true), (&mut self.unconfirmed, false)] {
            let Some(noticed) = slot else { continue };
            let observed = &noticed.observed;
            match noticed.against(sent, shown, entry) {
                NoticeCheck::Undecided if !unproven => {
                    self.oldest.get_or_insert((observed.revision, observed.first_seen));
                    continue;
                }
                NoticeCheck::Undecided | NoticeCheck::Contradicted => {
                    self.trusted = false;
                    settled.lost_holder |= held;
                }
                NoticeCheck::Confirmed if held => settled.noticed_at = Some(observed.first_seen),
                NoticeCheck::Confirmed => {}
                NoticeCheck::Superseded => settled.passed = settled.passed.max(observed.revision),
            }
            *slot = None;
        }
        settled
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
