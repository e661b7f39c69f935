//! What a node knows of the record, since when, and how well.
//!
//! What was read stands; what was only noticed delays or hurries, and falls to the first read that
//! contradicts it.

use std::time::Duration;

use super::Timestamp;
use super::notice::{NoticeCheck, NoticeVerdict, Noticed, ends_term};
use super::record::{Observation, Record};
use crate::lease::{Epoch, Lease, SessionId};
use crate::store::{Entry, Incarnation, Snapshot};

/// Notices that are acted upon between two reads. A leader renews some ten times in between; who
/// sends hundreds must not fill the queues and logs of those who listen.
const MAX_UNREAD: u32 = 256;

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadVerdict {
    Unchanged,
    Changed,
    /// The bucket is another one than before.
    NewIncarnation,
    /// Less than what is known stood there; it does not count until it is seen again.
    Behind,
    /// Less than what is known stood there for a TTL.
    WentBack,
}

#[derive(Clone, Debug)]
pub(super) struct RecordView {
    incarnation: Option<Incarnation>,
    /// The newest record that was read or written here.
    confirmed: Option<Observation>,
    /// The highest revision of this bucket whose record was seen. The confirmed revision may be
    /// higher: where a read shows no record, its number may be that of a record which was written
    /// after the read looked for one.
    highest_shown: u64,
    /// The newest notice of a held record. It delays a challenge.
    noticed_holder: Option<Noticed>,
    /// The newest notice that would hurry a challenge or end a term. It is worth a read and nothing
    /// more: a forger who guesses the next revision could otherwise have a live leader challenged
    /// as if it had released.
    unconfirmed: Option<Noticed>,
    /// The revision of the oldest notice that no read has shown yet, and when it arrived. Later
    /// notices do not replace it, or a forger who always sends one more could never be
    /// contradicted.
    oldest_notice: Option<(u64, Timestamp)>,
    notices_since_read: u32,
    trusts_notices: bool,
    highest_epoch: u64,
    longest_ttl: Duration,
    /// When the first of the reads came that showed less than what is known.
    behind_since: Option<Timestamp>,
    /// When the bucket was found missing, until something is found in it.
    missing_since: Option<Timestamp>,
    /// The bucket was found missing a moment ago and is empty now: nobody can hold a lease in it.
    brand_new: bool,
    /// A holder in an earlier bucket, or of a record that the store lost, may believe in its lease
    /// until then.
    no_challenge_before: Timestamp,
    last_read: Option<Timestamp>,
}

impl RecordView {
    pub(super) fn new(ttl: Duration) -> Self {
        Self {
            incarnation: None,
            confirmed: None,
            highest_shown: 0,
            noticed_holder: None,
            unconfirmed: None,
            oldest_notice: None,
            notices_since_read: 0,
            trusts_notices: true,
            highest_epoch: 0,
            longest_ttl: ttl,
            behind_since: None,
            missing_since: None,
            brand_new: false,
            no_challenge_before: Timestamp::ZERO,
            last_read: None,
        }
    }

    /// The bucket that was last read.
    pub(super) fn incarnation(&self) -> Option<&Incarnation> {
        self.incarnation.as_ref()
    }

    /// The newest revision that was read or written here.
    pub(super) fn confirmed(&self) -> Option<&Observation> {
        self.confirmed.as_ref()
    }

    /// The newest revision that one may act upon, hearsay included.
    pub(super) fn newest(&self) -> Option<&Observation> {
        self.noticed_holder.as_ref().map(|noticed| &noticed.observed).or(self.confirmed())
    }

    pub(super) fn highest_epoch(&self) -> u64 {
        self.highest_epoch
    }

    pub(super) fn longest_ttl(&self) -> Duration {
        self.longest_ttl
    }

    pub(super) fn trusts_notices(&self) -> bool {
        self.trusts_notices
    }

    pub(super) fn no_challenge_before(&self) -> Timestamp {
        self.no_challenge_before
    }

    pub(super) fn is_brand_new(&self) -> bool {
        self.brand_new
    }

    pub(super) fn is_missing(&self) -> bool {
        self.missing_since.is_some() && self.incarnation.is_none()
    }

    pub(super) fn behind_since(&self) -> Option<Timestamp> {
        self.behind_since
    }

    /// When the newest read that was answered was sent.
    pub(super) fn last_read(&self) -> Option<Timestamp> {
        self.last_read
    }

    /// How long a holder's record is waited for: what it says, else the longest ever seen.
    pub(super) fn holder_wait(&self, lease: &Lease) -> Duration {
        lease.ttl.unwrap_or(self.longest_ttl)
    }

    /// The epoch of a term that would follow `observed`; `None` when there are no more.
    ///
    /// Where no record of ours tells the epoch, revisions do: they rise with every write, and every
    /// term costs at least one.
    pub(super) fn next_epoch(&self, observed: &Observation) -> Option<Epoch> {
        let told = match observed.lease() {
            Some(lease) if lease.session.is_some() => lease.epoch.as_u64(),
            Some(lease) => lease.epoch.as_u64().max(observed.revision),
            None => observed.revision,
        };
        Epoch::new(told.max(self.highest_epoch).saturating_add(1))
    }

    /// Takes in a read that was sent at `sent` and answered at `now`.
    pub(super) fn read(
        &mut self,
        now: Timestamp,
        sent: Timestamp,
        shown: &Snapshot,
    ) -> ReadVerdict {
        self.last_read = Some(sent);
        self.notices_since_read = 0;
        let observed = Observation::of(shown, now);
        self.learn(&observed.record);
        let replaced = self.incarnation.as_ref().is_some_and(|known| *known != shown.incarnation);
        if replaced {
            self.forget(now);
        }
        self.incarnation = Some(shown.incarnation.clone());
        self.check_brand_new(now, shown);
        let verdict = self.compare(now, sent, observed, shown.entry.as_ref());
        if replaced { ReadVerdict::NewIncarnation } else { verdict }
    }

    /// Takes in that there is no bucket. True when there was one before.
    pub(super) fn bucket_missing(&mut self, now: Timestamp, sent: Timestamp) -> bool {
        self.last_read = Some(sent);
        let had_one = self.incarnation.take().is_some();
        if had_one {
            self.forget(now);
        }
        self.missing_since = Some(now);
        had_one
    }

    /// Takes in a write of ours that was stored.
    pub(super) fn written(&mut self, now: Timestamp, revision: u64, lease: Lease) {
        let record = Record::Lease(lease);
        self.learn(&record);
        if self.confirmed.as_ref().is_some_and(|known| known.revision >= revision) {
            return;
        }
        self.missing_since = None;
        self.brand_new = false;
        self.behind_since = None;
        self.noticed_holder.take_if(|noticed| noticed.observed.revision <= revision);
        self.unconfirmed.take_if(|doubted| doubted.observed.revision <= revision);
        self.oldest_notice.take_if(|(claimed, _)| *claimed <= revision);
        self.confirm(Observation { revision, record, first_seen: now });
    }

    /// Takes in hearsay.
    pub(super) fn notice(&mut self, now: Timestamp, entry: Entry, own: SessionId) -> NoticeVerdict {
        let heard_of = [&self.noticed_holder, &self.unconfirmed].into_iter().flatten();
        let known =
            heard_of.map(|noticed| noticed.observed.revision).fold(self.highest_shown, u64::max);
        let counted = self.confirmed().map_or(0, |standing| standing.revision);
        if !self.trusts_notices || entry.revision <= known || entry.revision < counted {
            return NoticeVerdict::Ignored;
        }
        let record = Record::of(&entry.content);
        let observed = Observation { revision: entry.revision, record, first_seen: now };
        let heard = match observed.lease() {
            Some(lease) if lease.session == Some(own) => return NoticeVerdict::Ignored,
            Some(lease) if !lease.is_released() => NoticeVerdict::Held,
            Some(lease) if self.ends_known_term(lease) => NoticeVerdict::LikelyReleased,
            Some(_) | None => NoticeVerdict::Unconfirmed,
        };
        self.notices_since_read = self.notices_since_read.saturating_add(1);
        let heard =
            if self.notices_since_read > MAX_UNREAD { NoticeVerdict::Unconfirmed } else { heard };
        self.behind_since = None;
        self.oldest_notice.get_or_insert((entry.revision, now));
        let slot = if heard == NoticeVerdict::Held {
            &mut self.noticed_holder
        } else {
            &mut self.unconfirmed
        };
        *slot = Some(Noticed { observed, entry });
        heard
    }

    /// A noticed release of the term that was last read, if it is the newest there is word of.
    pub(super) fn unconfirmed_release(&self) -> Option<&Observation> {
        let noticed = &self.unconfirmed.as_ref()?.observed;
        let release = noticed.lease().filter(|lease| lease.clean)?;
        let read = self.confirmed()?.lease()?;
        let newest = self.newest()?.revision < noticed.revision;
        (newest && ends_term(release, read)).then_some(noticed)
    }

    /// Whether something was noticed that only a read can settle.
    pub(super) fn needs_confirmation(&self) -> bool {
        self.unconfirmed.is_some()
    }

    /// Whether a term is known by notice only.
    pub(super) fn noticed_other_term(&self) -> bool {
        let term = |s: &Observation| s.lease().map(|lease| (lease.session, lease.epoch));
        let noticed = self.noticed_holder.as_ref().and_then(|noticed| term(&noticed.observed));
        noticed.is_some() && noticed != self.confirmed().and_then(term)
    }

    /// Notices are heard again after a reconnect; what was seen keeps its moment.
    pub(super) fn connected(&mut self) {
        self.trusts_notices = true;
    }

    pub(super) fn disconnected(&mut self) {
        self.missing_since = None;
        self.brand_new = false;
    }

    /// A release that is likely names the very term that is known.
    fn ends_known_term(&self, release: &Lease) -> bool {
        self.newest().and_then(Observation::lease).is_some_and(|held| ends_term(release, held))
    }

    /// An epoch that was there once is never given again, whatever became of its bucket.
    pub(super) fn remember_epoch(&mut self, epoch: Epoch) {
        self.highest_epoch = self.highest_epoch.max(epoch.as_u64());
    }

    fn learn(&mut self, record: &Record) {
        let Record::Lease(lease) = record else { return };
        self.remember_epoch(lease.epoch);
        self.longest_ttl = self.longest_ttl.max(lease.ttl.unwrap_or_default());
    }

    /// The bucket went away, and with it what was known of it. Whoever held a lease in it may
    /// believe so for a TTL from now at the longest: its last renewal came before.
    fn forget(&mut self, now: Timestamp) {
        let standing = self.confirmed.take();
        let noticed = self.noticed_holder.take();
        self.highest_shown = 0;
        self.unconfirmed = None;
        self.oldest_notice = None;
        // Also when nothing stood there at the last look: a holder writes into a gap again.
        if standing.is_some() || noticed.is_some() {
            self.no_challenge_before = self.no_challenge_before.max(now + self.longest_ttl);
        }
        self.behind_since = None;
    }

    fn check_brand_new(&mut self, now: Timestamp, shown: &Snapshot) {
        let just_missing =
            self.missing_since.is_some_and(|since| now.since(since) < self.longest_ttl);
        self.brand_new = shown.pristine && shown.entry.is_none() && just_missing;
        if !self.brand_new {
            self.missing_since = None;
        }
    }

    fn compare(
        &mut self,
        now: Timestamp,
        sent: Timestamp,
        mut shown: Observation,
        entry: Option<&Entry>,
    ) -> ReadVerdict {
        let noticed_at = self.settle_notices(now, sent, &shown, entry);
        let Some(standing) = &self.confirmed else {
            shown.first_seen = noticed_at.unwrap_or(now);
            self.confirm(shown);
            return ReadVerdict::Changed;
        };
        if shown.revision < standing.revision {
            return self.check_behind(now, shown);
        }
        // All markers are alike: one that stands where less stood a moment ago is another.
        let fell_back = self.behind_since.take().is_some() && standing.lease().is_none();
        if shown.revision == standing.revision && shown.record == standing.record && !fell_back {
            return ReadVerdict::Unchanged;
        }
        shown.first_seen = noticed_at.unwrap_or(now);
        self.confirm(shown);
        ReadVerdict::Changed
    }

    /// Drops what a read settles, and with what it contradicts the trust in notices. Unless such a
    /// notice was forged, the store has lost what it told of, and whoever wrote that may believe in
    /// its lease for a TTL from now at the longest.
    ///
    /// A notice of a held record that turns out to have been true to the byte gives its revision
    /// the moment at which it came. One of a marker does not: they are all alike, and it may have
    /// come before.
    fn settle_notices(
        &mut self,
        now: Timestamp,
        sent: Timestamp,
        shown: &Observation,
        entry: Option<&Entry>,
    ) -> Option<Timestamp> {
        let mut came = None;
        self.oldest_notice.take_if(|(claimed, _)| *claimed <= shown.revision);
        let unproven = self.oldest_notice.take_if(|(_, at)| *at <= sent).is_some();
        for (slot, dates) in [(&mut self.noticed_holder, true), (&mut self.unconfirmed, false)] {
            let Some(noticed) = slot else { continue };
            match noticed.against(sent, shown, entry) {
                NoticeCheck::Undecided if !unproven => {
                    let latest = &noticed.observed;
                    self.oldest_notice.get_or_insert((latest.revision, latest.first_seen));
                    continue;
                }
                NoticeCheck::Undecided | NoticeCheck::Contradicted => {
                    self.trusts_notices = false;
                    if dates {
                        self.no_challenge_before =
                            self.no_challenge_before.max(now + self.longest_ttl);
                    }
                }
                NoticeCheck::Confirmed => {
                    came = came.or(dates.then_some(noticed.observed.first_seen))
                }
                NoticeCheck::Superseded => {
                    self.highest_shown = self.highest_shown.max(noticed.observed.revision)
                }
            }
            *slot = None;
        }
        came
    }

    fn check_behind(&mut self, now: Timestamp, shown: Observation) -> ReadVerdict {
        match self.behind_since {
            Some(since) if now.since(since) >= self.longest_ttl => {
                self.forget(now);
                self.confirm(shown);
                ReadVerdict::WentBack
            }
            Some(_) => ReadVerdict::Behind,
            None => {
                self.behind_since = Some(now);
                ReadVerdict::Behind
            }
        }
    }

    fn confirm(&mut self, observed: Observation) {
        if observed.record != Record::Absent {
            self.highest_shown = self.highest_shown.max(observed.revision);
        }
        self.confirmed = Some(observed);
    }
}
