//! What this node knows about the record: what it has read or written, and what it was only
//! notified of.

use std::time::Duration;

use super::Timestamp;
use super::notice::{NoticeVerdict, Notices, ends_term};
use super::record::{Bucket, Observation, Record};
use crate::lease::{Epoch, Lease, SessionId};
use crate::store::{Entry, Snapshot};

/// What follows from a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadVerdict {
    /// The record is the one that was known.
    Unchanged,
    Changed,
    /// The bucket is another one than before.
    NewIncarnation,
    /// The revision is lower than the known one. It does not count yet.
    Behind,
    /// The revision has been lower than the known one for a TTL. It counts now.
    WentBack,
}

/// What this node knows about the record.
#[derive(Clone, Debug)]
pub(super) struct RecordView {
    pub(super) bucket: Bucket,
    /// Since when reads have shown lower revisions than are known.
    pub(super) behind_since: Option<Timestamp>,
    /// The newest record that was read or written here.
    confirmed: Option<Observation>,
    /// The highest revision of this bucket whose record was seen. The confirmed revision may be
    /// higher: where a read shows no record, its number may be that of a record which was written
    /// after the read looked for one.
    highest_shown: u64,
    pub(super) notices: Notices,
    pub(super) highest_epoch: u64,
    pub(super) longest_ttl: Duration,
    /// Until then a holder that this node can no longer see may lead: one in an earlier bucket, or
    /// one whose record the store has lost.
    pub(super) no_challenge_before: Timestamp,
    /// When the newest read that was answered was sent.
    pub(super) last_read: Option<Timestamp>,
}

impl RecordView {
    pub(super) fn new(ttl: Duration) -> Self {
        Self {
            bucket: Bucket::default(),
            behind_since: None,
            confirmed: None,
            highest_shown: 0,
            notices: Notices::new(),
            highest_epoch: 0,
            longest_ttl: ttl,
            no_challenge_before: Timestamp::ZERO,
            last_read: None,
        }
    }

    /// The newest record that this node has read or written.
    pub(super) fn confirmed(&self) -> Option<&Observation> {
        self.confirmed.as_ref()
    }

    /// The newest record that this node acts upon: the noticed holder, or else the confirmed one.
    pub(super) fn newest(&self) -> Option<&Observation> {
        self.notices.holder().or(self.confirmed())
    }

    /// How long a held record is waited for: the TTL in it, or else the longest TTL ever seen.
    pub(super) fn holder_wait(&self, lease: &Lease) -> Duration {
        lease.ttl.unwrap_or(self.longest_ttl)
    }

    /// The epoch of a term that follows `observed`; `None` when the epochs are used up.
    ///
    /// Where no record with a session names the last epoch, the revision stands in for it. It is no
    /// lower, because revisions rise with every write, and every term takes at least one.
    pub(super) fn next_epoch(&self, observed: &Observation) -> Option<Epoch> {
        let last = match observed.lease() {
            Some(lease) if lease.session.is_some() => lease.epoch.as_u64(),
            Some(lease) => lease.epoch.as_u64().max(observed.revision),
            None => observed.revision,
        };
        Epoch::new(last.max(self.highest_epoch).saturating_add(1))
    }

    /// Takes a read that was sent at `sent` and answered at `now`.
    pub(super) fn read(
        &mut self,
        now: Timestamp,
        sent: Timestamp,
        shown: &Snapshot,
    ) -> ReadVerdict {
        self.last_read = Some(sent);
        self.notices.since_read = 0;
        let observed = Observation::of(shown, now);
        self.learn(&observed.record);
        let known = self.bucket.incarnation();
        let replaced = known.is_some_and(|known| *known != shown.incarnation);
        if replaced {
            self.forget(now);
        }
        self.bucket.read(now, shown, self.longest_ttl);
        let verdict = self.compare(now, sent, observed, shown.entry.as_ref());
        if replaced { ReadVerdict::NewIncarnation } else { verdict }
    }

    /// Takes a read that found no bucket.
    pub(super) fn bucket_missing(&mut self, now: Timestamp, sent: Timestamp) {
        self.last_read = Some(sent);
        if self.bucket.incarnation().is_some() {
            self.forget(now);
        }
        self.bucket = Bucket::Missing(now);
    }

    /// Takes a write of this node that was stored.
    pub(super) fn written(&mut self, now: Timestamp, revision: u64, lease: Lease) {
        let record = Record::Lease(lease);
        self.learn(&record);
        if self.confirmed.as_ref().is_some_and(|known| known.revision >= revision) {
            return;
        }
        self.bucket.written();
        self.behind_since = None;
        self.notices.written(revision);
        self.confirm(Observation { revision, record, first_seen: now });
    }

    /// Takes a notice.
    pub(super) fn notice(&mut self, now: Timestamp, entry: Entry, own: SessionId) -> NoticeVerdict {
        let known = self.highest_shown.max(self.notices.highest());
        let confirmed = self.confirmed().map_or(0, |confirmed| confirmed.revision);
        if !self.notices.trusted || entry.revision <= known || entry.revision < confirmed {
            return NoticeVerdict::Ignored;
        }
        let record = Record::of(&entry.content);
        let observed = Observation { revision: entry.revision, record, first_seen: now };
        let known_lease = self.newest().and_then(Observation::lease);
        let verdict = match observed.lease() {
            Some(lease) if lease.session == Some(own) => return NoticeVerdict::Ignored,
            Some(lease) if !lease.is_released() => NoticeVerdict::Held,
            Some(lease) if known_lease.is_some_and(|held| ends_term(lease, held)) => {
                NoticeVerdict::LikelyReleased
            }
            Some(_) | None => NoticeVerdict::Unconfirmed,
        };
        self.behind_since = None;
        self.notices.add(observed, entry, verdict)
    }

    /// A noticed clean release of the term that was last read, if nothing newer is known.
    pub(super) fn unconfirmed_release(&self) -> Option<&Observation> {
        let noticed = self.notices.unconfirmed()?;
        let release = noticed.lease().filter(|lease| lease.clean)?;
        let read = self.confirmed()?.lease()?;
        let newest = self.newest()?.revision < noticed.revision;
        (newest && ends_term(release, read)).then_some(noticed)
    }

    /// When the oldest unsettled notice arrived, if the newest holder in the notices has a term
    /// that was not read yet.
    pub(super) fn other_term_noticed_at(&self) -> Option<Timestamp> {
        let term = |s: &Observation| s.lease().map(|lease| (lease.session, lease.epoch));
        let holder = self.notices.holder()?;
        let unread = term(holder) != self.confirmed().and_then(term);
        unread.then(|| self.notices.oldest().unwrap_or(holder.first_seen))
    }

    /// An epoch that existed is never given again, whatever became of its bucket.
    pub(super) fn remember_epoch(&mut self, epoch: Epoch) {
        self.highest_epoch = self.highest_epoch.max(epoch.as_u64());
    }

    fn learn(&mut self, record: &Record) {
        let Record::Lease(lease) = record else { return };
        self.remember_epoch(lease.epoch);
        self.longest_ttl = self.longest_ttl.max(lease.ttl.unwrap_or_default());
    }

    /// Forgets the record: its bucket or the store's newest writes are lost.
    fn forget(&mut self, now: Timestamp) {
        let known = self.newest().is_some();
        self.confirmed = None;
        self.highest_shown = 0;
        self.notices.forget();
        self.behind_since = None;
        // Also when the last read showed no record: a holder renews over a purged one.
        if known {
            self.wait_for_lost_holder(now);
        }
    }

    /// A holder that this node can no longer see may lead for a TTL from now at the longest: its
    /// last renewal was sent before now.
    fn wait_for_lost_holder(&mut self, now: Timestamp) {
        self.no_challenge_before = self.no_challenge_before.max(now + self.longest_ttl);
    }

    /// Compares a read with what is known.
    ///
    /// Where it contradicts the notice of a held record, the notice was forged, or the store has
    /// lost that record; its writer may believe in its lease then.
    fn compare(
        &mut self,
        now: Timestamp,
        sent: Timestamp,
        mut shown: Observation,
        entry: Option<&Entry>,
    ) -> ReadVerdict {
        let settled = self.notices.settle(sent, &shown, entry);
        self.highest_shown = self.highest_shown.max(settled.passed);
        if settled.lost_holder {
            self.wait_for_lost_holder(now);
        }
        shown.first_seen = settled.noticed_at.unwrap_or(now);
        let Some(known) = &self.confirmed else {
            self.confirm(shown);
            return ReadVerdict::Changed;
        };
        if shown.revision < known.revision {
            return self.check_behind(now, shown);
        }
        // All markers are alike: after a lower revision was shown, the same one is another marker.
        let was_behind = self.behind_since.is_some() && known.lease().is_none();
        let same = shown.revision == known.revision && shown.record == known.record;
        self.behind_since = None;
        if same && !was_behind {
            return ReadVerdict::Unchanged;
        }
        self.confirm(shown);
        ReadVerdict::Changed
    }

    /// A read showed a lower revision than is known. One such read may be answered by a replica
    /// that is behind; when reads have shown no more for a TTL, the store has lost what was known.
    fn check_behind(&mut self, now: Timestamp, shown: Observation) -> ReadVerdict {
        let since = *self.behind_since.get_or_insert(now);
        if now.since(since) < self.longest_ttl {
            return ReadVerdict::Behind;
        }
        self.forget(now);
        self.confirm(shown);
        ReadVerdict::WentBack
    }

    fn confirm(&mut self, observed: Observation) {
        if observed.record != Record::Absent {
            self.highest_shown = self.highest_shown.max(observed.revision);
        }
        self.confirmed = Some(observed);
    }
}
