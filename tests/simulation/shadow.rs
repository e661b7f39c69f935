//! What the checkers know of one process: what it was told, wrote and said, kept apart from what
//! the election itself remembers.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use leasehold::clock::Timestamp;
use leasehold::election::Input;
use leasehold::lease::{Epoch, SessionId};
use leasehold::store::{Outcome, ReleaseId, StoreEvent, Ticket};

use super::server::Record;

/// What comes with an input: the truth behind it.
#[derive(Clone, Debug)]
pub(crate) enum News {
    Nothing,
    Read { incarnation: u64, last: u64, record: Option<Rc<Record>> },
    Missing,
    Heard(Rc<Record>),
    Stored(Rc<Record>),
    Disconnected,
}

/// Something whose first sight starts a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    Record(u64),
    Absent { incarnation: u64, last: u64 },
}

/// A term of a session in one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    incarnation: u64,
    session: SessionId,
    epoch: Epoch,
}

impl Term {
    /// The term that wrote this.
    pub(crate) fn of(record: &Record) -> Option<Self> {
        let (incarnation, lease) = (record.incarnation, record.lease()?);
        lease.session.map(|session| Self { incarnation, session, epoch: lease.epoch })
    }
}

/// A write of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    pub(crate) number: u64,
    pub(crate) epoch: Epoch,
    pub(crate) sent: Timestamp,
    /// The incarnation it was meant for.
    pub(crate) incarnation: u64,
    /// It is to begin a term.
    pub(crate) challenges: bool,
    /// When the newest read was sent that was answered before.
    pub(crate) read: Timestamp,
    /// The term whose release it is to replace, unread, if it was read on the same connection.
    pub(crate) knows: Option<Term>,
    /// The server stored it.
    pub(crate) stored: bool,
    /// The process was told so.
    pub(crate) known: bool,
    /// The process was told otherwise, of one of its copies.
    pub(crate) refused: bool,
}

/// A term that was noticed.
#[derive(Clone, Copy, Debug)]
struct Heard {
    epoch: u64,
    incarnation: u64,
    at: Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cooldown {
    pub(crate) ended: Timestamp,
    pub(crate) until: Timestamp,
    /// After a transfer it may end then.
    pub(crate) early: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(crate) struct Shadow {
    pub(crate) writes: VecDeque<Write>,
    sights: VecDeque<(Sight, Timestamp)>,
    /// When it last saw something for the first time that is not its own.
    strange_at: Timestamp,
    pub(crate) longest_ttl: Duration,
    pub(crate) longest_ttl_at_challenge: Duration,
    pub(crate) highest_epoch: u64,
    /// The incarnations in which it saw a held record.
    pub(crate) incarnations: Vec<u64>,
    pub(crate) missing_at: Option<Timestamp>,
    /// The newest revision it read, and in which incarnation.
    pub(crate) newest: (u64, u64),
    /// The newest revision it read or wrote there.
    reached: u64,
    pub(crate) term: Option<Epoch>,
    pub(crate) resigning: bool,
    /// The highest epoch it led.
    pub(crate) led: u64,
    /// The epochs whose work has stopped.
    pub(crate) drained: Vec<Epoch>,
    /// The highest epoch of which its token said no.
    pub(crate) dead: u64,
    /// The incarnation that its newest stored write went into.
    pub(crate) wrote_into: u64,
    /// The request whose answer it waits for, and when it was sent.
    pub(crate) awaited: Option<(Ticket, Timestamp)>,
    /// The awaited request is a read.
    pub(crate) reads: bool,
    /// The read that the awaited one repeats; its answer will do as well.
    pub(crate) late_read: Option<(Ticket, Timestamp)>,
    pub(crate) cooldown: Option<Cooldown>,
    /// Who leads, as it says, and until when that may be said.
    pub(crate) leader: Option<(String, Epoch)>,
    holders: VecDeque<(String, Epoch, Timestamp)>,
    /// Own writes that the newest input proved stored.
    pub(crate) proved: Option<Write>,
    /// The term that was held after the step before, and until when.
    pub(crate) held: Option<(Epoch, Timestamp)>,
    /// When the newest read was sent that was answered.
    last_read: Timestamp,
    /// The held terms that it read on the present connection.
    terms: Vec<Term>,
    /// What it truly heard of on the present connection.
    heard: Vec<Heard>,
    /// What it read just now is not of the term that it holds.
    pub(crate) deposed: bool,
    /// It challenged a release unread, and read nothing since.
    pub(crate) bet: bool,
    /// The own write that stands, as it knows.
    stands: Option<u64>,
    /// The highest epoch of a bucket that is gone which it had the time to read.
    pub(crate) had_time_to_read: u64,
}

impl Shadow {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self { longest_ttl: ttl, ..Self::default() }
    }

    /// Takes in what an input tells.
    pub(crate) fn hear(&mut self, now: Timestamp, input: &Input, news: &News, own: SessionId) {
        (self.proved, self.deposed) = (None, false);
        if let Input::Store(StoreEvent::Completed { ticket, outcome: Outcome::LostRace }) = input {
            if let Some(write) = self.write_mut(ticket.0) {
                write.refused = true;
            }
        }
        let answered = match input {
            Input::Store(StoreEvent::Completed { ticket, .. }) => self.is_answered(*ticket),
            _ => false,
        };
        match news {
            // An answer that comes after its request was given up tells nothing but of own writes.
            News::Read { .. } | News::Missing if !answered => {}
            News::Nothing => {}
            News::Disconnected => {
                (self.awaited, self.late_read) = (None, None);
                self.heard.clear();
                self.terms.clear();
            }
            News::Missing => (self.missing_at, self.deposed) = (Some(now), true),
            News::Stored(record) => {
                self.see_record(now, record, own);
                self.reached = self.reached.max(record.revision);
                if let Some(lease) = record.lease() {
                    self.learn_of_own(lease.write, true);
                    self.stands = Some(lease.write);
                }
            }
            News::Heard(record) => {
                self.see_record(now, record, own);
                self.stands = None;
                let held = record.lease().filter(|lease| !lease.is_released());
                // A lower revision may be an older notice, for all it knows.
                if let Some(lease) = held.filter(|_| record.revision > self.reached) {
                    let (epoch, incarnation) = (lease.epoch.as_u64(), record.incarnation);
                    self.heard.push(Heard { epoch, incarnation, at: now });
                }
            }
            News::Read { incarnation, last, record } => {
                let revision = record.as_ref().map_or(*last, |record| record.revision);
                let newest = (*incarnation, revision) >= self.newest;
                let before = if *incarnation > self.newest.0 { 0 } else { self.reached };
                let counts = newest && revision >= before;
                self.deposed = counts && !self.is_of_term(record.as_deref(), own, *last);
                self.reached = before.max(revision);
                self.newest = self.newest.max((*incarnation, revision));
                if let Some(record) = record {
                    self.read_record(now, record, own, newest);
                } else {
                    self.stands = None;
                    self.see(now, Sight::Absent { incarnation: *incarnation, last: *last });
                }
            }
        }
    }

    /// Whether a term that is held may go on where this was read: its record stands, or was purged
    /// and nothing written since.
    fn is_of_term(&self, record: Option<&Record>, own: SessionId, last: u64) -> bool {
        let Some(record) = record else { return last == self.reached };
        let own = record.lease().filter(|lease| lease.session == Some(own) && !lease.is_released());
        own.is_some_and(|lease| self.term.is_none_or(|term| term == lease.epoch))
    }

    fn is_answered(&mut self, ticket: Ticket) -> bool {
        let is_it = |asked: &(Ticket, Timestamp)| asked.0 == ticket;
        let late = self.late_read.filter(is_it);
        let read = late.or(self.awaited.filter(|_| self.reads).filter(is_it));
        self.last_read = read.map_or(self.last_read, |(_, sent)| sent);
        self.bet &= read.is_none();
        let answered = late.or(self.awaited.filter(is_it)).is_some();
        if answered {
            (self.awaited, self.late_read) = (None, None);
        }
        answered
    }

    pub(crate) fn newest_is(&self, write: &Write) -> bool {
        self.stands == Some(write.number)
    }

    pub(crate) fn last_read(&self) -> Timestamp {
        self.last_read
    }

    /// The term that such a release ends, if it was read.
    pub(crate) fn term_of(&self, release: ReleaseId) -> Option<Term> {
        let ends = |term: &&Term| (term.session, term.epoch) == (release.session, release.epoch);
        self.terms.iter().rev().find(ends).copied()
    }

    /// The bucket is gone. Of what it had heard of there for as long as `enough`, it knows the
    /// epoch by reading.
    pub(crate) fn bucket_gone(&mut self, gone: u64, now: Timestamp, enough: Duration) {
        for heard in self.heard.drain(..) {
            if heard.incarnation == gone && now >= heard.at + enough {
                self.had_time_to_read = self.had_time_to_read.max(heard.epoch);
            }
        }
    }

    /// It stands still from now on: what it meant to read it may find gone when it goes on.
    pub(crate) fn has_no_time(&mut self) {
        self.heard.clear();
    }

    /// The newest of its challenges that was stored, as it knows, and under which it never led. Not
    /// one that it had to believe gone, having seen since that something else stands.
    pub(crate) fn came_to_nothing(&self, before: Epoch) -> Option<Write> {
        let newest = self.writes.iter().rev().find(|write| write.challenges && write.known)?;
        let gone = self.strange_at > newest.sent;
        let here = newest.incarnation == self.newest.0 && !newest.refused && !gone;
        (here && newest.epoch < before && newest.epoch.as_u64() > self.led).then_some(*newest)
    }

    fn read_record(&mut self, now: Timestamp, record: &Record, own: SessionId, newest: bool) {
        self.see_record(now, record, own);
        self.stands = None;
        let Some(lease) = record.lease() else { return };
        let held =
            Term::of(record).filter(|term| !lease.is_released() && !self.terms.contains(term));
        self.terms.extend(held);
        self.highest_epoch = self.highest_epoch.max(lease.epoch.as_u64());
        self.longest_ttl = self.longest_ttl.max(lease.ttl.unwrap_or_default());
        if lease.session == Some(own) {
            self.learn_of_own(lease.write, newest);
            self.stands = Some(lease.write);
        } else if !lease.is_released() && !self.incarnations.contains(&record.incarnation) {
            self.incarnations.push(record.incarnation);
        }
    }

    fn learn_of_own(&mut self, number: u64, counts: bool) {
        let write = self.writes.iter_mut().rev().find(|write| write.number == number);
        if let Some(write) = write {
            write.known = true;
            self.highest_epoch = self.highest_epoch.max(write.epoch.as_u64());
            self.proved = counts.then_some(*write);
        }
    }

    fn see_record(&mut self, now: Timestamp, record: &Record, own: SessionId) {
        if !self.see(now, Sight::Record(record.id)) {
            return;
        }
        if record.lease().is_none_or(|lease| lease.session != Some(own)) {
            self.strange_at = now;
        }
        if let Some(lease) = record.lease().filter(|lease| !lease.is_released()) {
            let until = now + lease.ttl.unwrap_or(self.longest_ttl);
            self.holders.push_back((lease.node_id.clone(), lease.epoch, until));
            if self.holders.len() > 8 {
                self.holders.pop_front();
            }
        }
    }

    /// Stamps the first sight. False when it was none.
    fn see(&mut self, now: Timestamp, sight: Sight) -> bool {
        if self.first_seen(sight).is_some() {
            return false;
        }
        if matches!(sight, Sight::Absent { .. }) {
            self.strange_at = now;
        }
        if self.sights.len() > 24 {
            self.sights.pop_front();
        }
        self.sights.push_back((sight, now));
        true
    }

    pub(crate) fn first_seen(&self, sight: Sight) -> Option<Timestamp> {
        self.sights.iter().rev().find(|(seen, _)| *seen == sight).map(|(_, at)| *at)
    }

    /// Until when it may say that `leader` leads.
    pub(crate) fn holds_until(&self, leader: &(String, Epoch)) -> Option<Timestamp> {
        let same = |(name, epoch, _): &&(String, Epoch, Timestamp)| {
            (name, epoch) == (&leader.0, &leader.1)
        };
        self.holders.iter().filter(same).map(|(_, _, until)| *until).max()
    }

    pub(crate) fn remember(&mut self, write: Write) {
        if self.writes.len() > 160 {
            self.writes.pop_front();
        }
        self.writes.push_back(write);
    }

    pub(crate) fn write(&self, number: u64) -> Option<&Write> {
        self.writes.iter().rev().find(|write| write.number == number)
    }

    pub(crate) fn write_mut(&mut self, number: u64) -> Option<&mut Write> {
        self.writes.iter_mut().rev().find(|write| write.number == number)
    }

    /// When the newest of its writes of that epoch that `counts` was sent.
    pub(crate) fn newest_sent(
        &self,
        epoch: u64,
        counts: impl Fn(&Write) -> bool,
    ) -> Option<Timestamp> {
        let of = self.writes.iter().filter(|write| write.epoch.as_u64() == epoch && counts(write));
        of.map(|write| write.sent).max()
    }
}
