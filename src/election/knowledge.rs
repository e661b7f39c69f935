//! What a node knows of the record, since when, and how well.
//!
//! What was read stands; what was only noticed delays or hurries, and falls to the first read that
//! contradicts it.

use std::cmp::Ordering;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::lease::{Epoch, Lease, SessionId};
use crate::store::{Content, Entry, Expect, Incarnation, ReleaseId, Snapshot};

/// Notices that are acted upon between two reads. A leader renews some ten times in between; who
/// sends hundreds must not fill the queues and logs of those who listen.
const MAX_UNREAD: u32 = 256;

/// What stands under the key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    Lease(Lease),
    Marker,
    Undecodable(String),
    /// Nothing; the sighting's revision is then the bucket's newest.
    Absent,
}

impl Seen {
    fn of(content: &Content) -> Self {
        match content {
            Content::Marker => Self::Marker,
            Content::Value(bytes) => match Lease::decode(bytes) {
                Ok(lease) => Self::Lease(lease),
                Err(error) => Self::Undecodable(error.to_string()),
            },
        }
    }
}

/// A revision and the moment from which its waits count. That moment never moves.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) revision: u64,
    pub(super) seen: Seen,
    pub(super) first_seen: Timestamp,
}

impl Sighting {
    /// The condition under which nothing but this was there when a write is stored.
    pub(super) fn expect(&self) -> Expect {
        match self.seen {
            Seen::Absent => Expect::nothing_since(self.revision),
            _ => Expect::revision(self.revision),
        }
    }

    /// Whether the condition of a write holds where this stands.
    pub(super) fn meets(&self, expect: Expect) -> bool {
        match expect.release {
            None => self.expect() == expect,
            id => self.revision == expect.revision && self.lease().and_then(ReleaseId::of) == id,
        }
    }

    pub(super) fn lease(&self) -> Option<&Lease> {
        match &self.seen {
            Seen::Lease(lease) => Some(lease),
            Seen::Marker | Seen::Undecodable(_) | Seen::Absent => None,
        }
    }
}

/// A sighting by hearsay, with the very bytes, so that a read can tell whether they were true.
#[derive(Clone, Debug)]
struct Noticed {
    sighting: Sighting,
    entry: Entry,
}

/// What a read says of a notice.
enum Proof {
    True,
    False,
    /// The read was under way when the notice came.
    Nothing,
    /// Something came after it, or it was purged: it may have been true.
    Outdated,
}

impl Noticed {
    fn against(&self, sent: Timestamp, shown: &Sighting, entry: Option<&Entry>) -> Proof {
        if entry == Some(&self.entry) {
            return Proof::True;
        }
        match self.sighting.revision.cmp(&shown.revision) {
            Ordering::Less => Proof::Outdated,
            // Even the same number proves nothing then: a read takes the record first, and the
            // bucket's newest revision after it.
            _ if self.sighting.first_seen > sent => Proof::Nothing,
            Ordering::Equal if shown.seen == Seen::Absent => Proof::Outdated,
            Ordering::Equal | Ordering::Greater => Proof::False,
        }
    }
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Unchanged,
    Changed,
    /// The bucket is another one than before.
    NewIncarnation,
    /// Less than what is known stood there; it does not count until it is seen again.
    Behind,
    /// Less than what is known stood there for a TTL.
    WentBack,
}

/// What to make of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    /// Somebody holds the lease; a challenge has to wait.
    News,
    /// To be confirmed by a read before anything follows from it.
    Doubtful,
    /// The same, and likely: the known holder released.
    Released,
}

#[derive(Clone, Debug)]
pub(super) struct Knowledge {
    incarnation: Option<Incarnation>,
    standing: Option<Sighting>,
    /// The highest revision of this bucket whose record was seen. What stands may be higher: where
    /// a read shows no record, its number may be that of one which came after it took the record.
    shown: u64,
    /// A held record: it delays a challenge.
    noticed: Option<Noticed>,
    /// What would hurry one, or end a term: worth a read, but nothing to act upon by its revision
    /// alone. Whoever can guess the next one could have a live leader challenged as if it had
    /// released.
    doubted: Option<Noticed>,
    /// The oldest notice of a revision that no read has shown yet, and when it came. Later ones do
    /// not replace it: whoever has always one more ready could not be contradicted otherwise.
    claim: Option<(u64, Timestamp)>,
    /// Notices since the last read.
    unread: u32,
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
    embargo: Timestamp,
    last_read: Option<Timestamp>,
}

impl Knowledge {
    pub(super) fn new(ttl: Duration) -> Self {
        Self {
            incarnation: None,
            standing: None,
            shown: 0,
            noticed: None,
            doubted: None,
            claim: None,
            unread: 0,
            trusts_notices: true,
            highest_epoch: 0,
            longest_ttl: ttl,
            behind_since: None,
            missing_since: None,
            brand_new: false,
            embargo: Timestamp::ZERO,
            last_read: None,
        }
    }

    /// The bucket that was last read.
    pub(super) fn incarnation(&self) -> Option<&Incarnation> {
        self.incarnation.as_ref()
    }

    /// The newest revision that was read or written here.
    pub(super) fn standing(&self) -> Option<&Sighting> {
        self.standing.as_ref()
    }

    /// The newest revision that one may act upon, hearsay included.
    pub(super) fn newest(&self) -> Option<&Sighting> {
        self.noticed.as_ref().map(|noticed| &noticed.sighting).or(self.standing())
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

    pub(super) fn embargo(&self) -> Timestamp {
        self.embargo
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
    pub(super) fn wait_for(&self, lease: &Lease) -> Duration {
        lease.ttl.unwrap_or(self.longest_ttl)
    }

    /// The epoch of a term that would follow `sighting`; `None` when there are no more.
    ///
    /// Where no record of ours tells the epoch, revisions do: they rise with every write, and every
    /// term costs at least one.
    pub(super) fn next_epoch(&self, sighting: &Sighting) -> Option<Epoch> {
        let told = match sighting.lease() {
            Some(lease) if lease.session.is_some() => lease.epoch.as_u64(),
            Some(lease) => lease.epoch.as_u64().max(sighting.revision),
            None => sighting.revision,
        };
        Epoch::new(told.max(self.highest_epoch).saturating_add(1))
    }

    /// Takes in a read that was sent at `sent` and answered at `now`.
    pub(super) fn read(&mut self, now: Timestamp, sent: Timestamp, shown: &Snapshot) -> Finding {
        self.last_read = Some(sent);
        self.unread = 0;
        let sighting = sighting_of(shown, now);
        self.learn(&sighting.seen);
        let replaced = self.incarnation.as_ref().is_some_and(|known| *known != shown.incarnation);
        if replaced {
            self.forget(now);
        }
        self.incarnation = Some(shown.incarnation.clone());
        self.look_for_brand_new(now, shown);
        let finding = self.weigh(now, sent, sighting, shown.entry.as_ref());
        if replaced { Finding::NewIncarnation } else { finding }
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
    pub(super) fn wrote(&mut self, now: Timestamp, revision: u64, lease: Lease) {
        let seen = Seen::Lease(lease);
        self.learn(&seen);
        if self.standing.as_ref().is_some_and(|known| known.revision >= revision) {
            return;
        }
        self.missing_since = None;
        self.brand_new = false;
        self.behind_since = None;
        self.noticed.take_if(|noticed| noticed.sighting.revision <= revision);
        self.doubted.take_if(|doubted| doubted.sighting.revision <= revision);
        self.claim.take_if(|(claimed, _)| *claimed <= revision);
        self.stand(Sighting { revision, seen, first_seen: now });
    }

    /// Takes in hearsay.
    pub(super) fn notice(&mut self, now: Timestamp, entry: Entry, own: SessionId) -> Heard {
        let heard_of = [&self.noticed, &self.doubted].into_iter().flatten();
        let known = heard_of.map(|noticed| noticed.sighting.revision).fold(self.shown, u64::max);
        let counted = self.standing().map_or(0, |standing| standing.revision);
        if !self.trusts_notices || entry.revision <= known || entry.revision < counted {
            return Heard::Nothing;
        }
        let seen = Seen::of(&entry.content);
        let sighting = Sighting { revision: entry.revision, seen, first_seen: now };
        let heard = match sighting.lease() {
            Some(lease) if lease.session == Some(own) => return Heard::Nothing,
            Some(lease) if !lease.is_released() => Heard::News,
            Some(lease) if self.may_be_released_by(lease) => Heard::Released,
            Some(_) | None => Heard::Doubtful,
        };
        self.unread = self.unread.saturating_add(1);
        let heard = if self.unread > MAX_UNREAD { Heard::Doubtful } else { heard };
        self.behind_since = None;
        self.claim.get_or_insert((entry.revision, now));
        let slot = if heard == Heard::News { &mut self.noticed } else { &mut self.doubted };
        *slot = Some(Noticed { sighting, entry });
        heard
    }

    /// A noticed release of the term that was last read, if it is the newest there is word of.
    pub(super) fn unread_release(&self) -> Option<&Sighting> {
        let noticed = &self.doubted.as_ref()?.sighting;
        let release = noticed.lease().filter(|lease| lease.clean)?;
        let read = self.standing()?.lease()?;
        let newest = self.newest()?.revision < noticed.revision;
        (newest && releases(release, read)).then_some(noticed)
    }

    /// Whether something was noticed that only a read can settle.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubted.is_some()
    }

    /// Whether a term is known by notice only.
    pub(super) fn hears_of_another_term(&self) -> bool {
        let term = |s: &Sighting| s.lease().map(|lease| (lease.session, lease.epoch));
        let noticed = self.noticed.as_ref().and_then(|noticed| term(&noticed.sighting));
        noticed.is_some() && noticed != self.standing().and_then(term)
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
    fn may_be_released_by(&self, release: &Lease) -> bool {
        self.newest().and_then(Sighting::lease).is_some_and(|held| releases(release, held))
    }

    /// An epoch that was there once is never given again, whatever became of its bucket.
    pub(super) fn remember(&mut self, epoch: Epoch) {
        self.highest_epoch = self.highest_epoch.max(epoch.as_u64());
    }

    fn learn(&mut self, seen: &Seen) {
        let Seen::Lease(lease) = seen else { return };
        self.remember(lease.epoch);
        self.longest_ttl = self.longest_ttl.max(lease.ttl.unwrap_or_default());
    }

    /// The bucket went away, and with it what was known of it. Whoever held a lease in it may
    /// believe so for a TTL from now at the longest: its last renewal came before.
    fn forget(&mut self, now: Timestamp) {
        let standing = self.standing.take();
        let noticed = self.noticed.take();
        self.shown = 0;
        self.doubted = None;
        self.claim = None;
        // Also when nothing stood there at the last look: a holder writes into a gap again.
        if standing.is_some() || noticed.is_some() {
            self.embargo = self.embargo.max(now + self.longest_ttl);
        }
        self.behind_since = None;
    }

    fn look_for_brand_new(&mut self, now: Timestamp, shown: &Snapshot) {
        let just_missing =
            self.missing_since.is_some_and(|since| now.since(since) < self.longest_ttl);
        self.brand_new = shown.pristine && shown.entry.is_none() && just_missing;
        if !self.brand_new {
            self.missing_since = None;
        }
    }

    fn weigh(
        &mut self,
        now: Timestamp,
        sent: Timestamp,
        mut shown: Sighting,
        entry: Option<&Entry>,
    ) -> Finding {
        let noticed_at = self.weigh_notices(now, sent, &shown, entry);
        let Some(standing) = &self.standing else {
            shown.first_seen = noticed_at.unwrap_or(now);
            self.stand(shown);
            return Finding::Changed;
        };
        if shown.revision < standing.revision {
            return self.weigh_behind(now, shown);
        }
        // All markers are alike: one that stands where less stood a moment ago is another.
        let fell_back = self.behind_since.take().is_some() && standing.lease().is_none();
        if shown.revision == standing.revision && shown.seen == standing.seen && !fell_back {
            return Finding::Unchanged;
        }
        shown.first_seen = noticed_at.unwrap_or(now);
        self.stand(shown);
        Finding::Changed
    }

    /// Drops what a read settles, and with what it contradicts the trust in notices. Unless such a
    /// notice was forged, the store has lost what it told of, and whoever wrote that may believe in
    /// its lease for a TTL from now at the longest.
    ///
    /// A notice of a held record that turns out to have been true to the byte gives its revision
    /// the moment at which it came. One of a marker does not: they are all alike, and it may have
    /// come before.
    fn weigh_notices(
        &mut self,
        now: Timestamp,
        sent: Timestamp,
        shown: &Sighting,
        entry: Option<&Entry>,
    ) -> Option<Timestamp> {
        let mut came = None;
        self.claim.take_if(|(claimed, _)| *claimed <= shown.revision);
        let unproven = self.claim.take_if(|(_, at)| *at <= sent).is_some();
        for (slot, dates) in [(&mut self.noticed, true), (&mut self.doubted, false)] {
            let Some(noticed) = slot else { continue };
            match noticed.against(sent, shown, entry) {
                Proof::Nothing if !unproven => {
                    let latest = &noticed.sighting;
                    self.claim.get_or_insert((latest.revision, latest.first_seen));
                    continue;
                }
                Proof::Nothing | Proof::False => {
                    self.trusts_notices = false;
                    if dates {
                        self.embargo = self.embargo.max(now + self.longest_ttl);
                    }
                }
                Proof::True => came = came.or(dates.then_some(noticed.sighting.first_seen)),
                Proof::Outdated => self.shown = self.shown.max(noticed.sighting.revision),
            }
            *slot = None;
        }
        came
    }

    fn weigh_behind(&mut self, now: Timestamp, shown: Sighting) -> Finding {
        match self.behind_since {
            Some(since) if now.since(since) >= self.longest_ttl => {
                self.forget(now);
                self.stand(shown);
                Finding::WentBack
            }
            Some(_) => Finding::Behind,
            None => {
                self.behind_since = Some(now);
                Finding::Behind
            }
        }
    }

    fn stand(&mut self, sighting: Sighting) {
        if sighting.seen != Seen::Absent {
            self.shown = self.shown.max(sighting.revision);
        }
        self.standing = Some(sighting);
    }
}

/// Whether `release` ends the very term that `held` is of.
fn releases(release: &Lease, held: &Lease) -> bool {
    !held.is_released()
        && held.session.is_some()
        && held.session == release.session
        && held.epoch == release.epoch
        && held.write < release.write
}

fn sighting_of(shown: &Snapshot, now: Timestamp) -> Sighting {
    match &shown.entry {
        Some(entry) => {
            Sighting { revision: entry.revision, seen: Seen::of(&entry.content), first_seen: now }
        }
        None => Sighting { revision: shown.last_seq, seen: Seen::Absent, first_seen: now },
    }
}
