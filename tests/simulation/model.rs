//! What the checkers know about one process: what it received, wrote and reported. It is kept apart
//! from what the election itself remembers.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use leasehold::clock::Timestamp;
use leasehold::election::Input;
use leasehold::lease::{Epoch, SessionId};
use leasehold::store::{Outcome, ReleaseId, StoreEvent, Ticket};

use super::server::Record;

/// The fact behind an input. The checkers know it, and the election does not.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    Nothing,
    Read { incarnation: u64, last: u64, record: Option<Rc<Record>> },
    Missing,
    Noticed(Rc<Record>),
    Stored(Rc<Record>),
    Disconnected,
}

/// A state of the store. A wait counts from when a process first observed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Observed {
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
    /// The term that wrote this record.
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
    /// The incarnation that it was sent to.
    pub(crate) incarnation: u64,
    /// It is a challenge.
    pub(crate) challenges: bool,
    /// When the newest read that was answered before was sent.
    pub(crate) read: Timestamp,
    /// If it replaces a release unread: the released term, if that was read on this connection.
    pub(crate) knows: Option<Term>,
    /// The server stored it.
    pub(crate) stored: bool,
    /// The process knows that it was stored.
    pub(crate) known: bool,
    /// The process was told that one of its copies was refused.
    pub(crate) refused: bool,
}

/// A term that a true notice named.
#[derive(Clone, Copy, Debug)]
struct NoticedTerm {
    epoch: u64,
    incarnation: u64,
    at: Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cooldown {
    pub(crate) ended: Timestamp,
    pub(crate) until: Timestamp,
    /// After a transfer it may end at this time.
    pub(crate) early: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) writes: VecDeque<Write>,
    observed: VecDeque<(Observed, Timestamp)>,
    /// When it last observed a new state of the store that is not its own write.
    foreign_at: Timestamp,
    pub(crate) longest_ttl: Duration,
    pub(crate) longest_ttl_at_challenge: Duration,
    pub(crate) highest_epoch: u64,
    /// The incarnations in which it read a held record.
    pub(crate) incarnations: Vec<u64>,
    pub(crate) missing_at: Option<Timestamp>,
    /// The newest incarnation and revision that it read.
    pub(crate) newest: (u64, u64),
    /// The highest revision that it read or wrote in it.
    highest_revision: u64,
    pub(crate) term: Option<Epoch>,
    pub(crate) resigning: bool,
    /// The highest epoch that it led.
    pub(crate) led: u64,
    /// The epochs whose work has stopped.
    pub(crate) drained: Vec<Epoch>,
    /// The highest epoch whose token was found invalid.
    pub(crate) invalid_up_to: u64,
    /// The incarnation that stored its newest write.
    pub(crate) wrote_into: u64,
    /// The awaited request, and when it was sent.
    pub(crate) awaited: Option<(Ticket, Timestamp)>,
    /// The awaited request is a read.
    pub(crate) reads: bool,
    /// The read that the awaited one repeats. Its answer counts too.
    pub(crate) late_read: Option<(Ticket, Timestamp)>,
    pub(crate) cooldown: Option<Cooldown>,
    /// The leader that it reported last.
    pub(crate) leader: Option<(String, Epoch)>,
    holders: VecDeque<(String, Epoch, Timestamp)>,
    /// The own write that the newest input proved stored.
    pub(crate) proved: Option<Write>,
    /// The term that was held after the step before, and until when.
    pub(crate) held: Option<(Epoch, Timestamp)>,
    /// When the newest read that was answered was sent.
    last_read: Timestamp,
    /// The held terms that it has read on the present connection.
    terms: Vec<Term>,
    /// The terms that true notices have named on the present connection.
    noticed: Vec<NoticedTerm>,
    /// The newest input is a read that must end the term it holds.
    pub(crate) deposed: bool,
    /// It challenged a release unread, and no read was answered since.
    pub(crate) challenged_unread: bool,
    /// The own write that is the current record, as far as it knows.
    current_write: Option<u64>,
    /// The highest epoch of a deleted bucket that it had the time to read.
    pub(crate) had_time_to_read: u64,
}

impl Model {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self { longest_ttl: ttl, ..Self::default() }
    }

    /// Takes an input and the fact behind it.
    pub(crate) fn receive(&mut self, now: Timestamp, input: &Input, fact: &Fact, own: SessionId) {
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
        match fact {
            // An answer to a request that has timed out counts only for own writes.
            Fact::Read { .. } | Fact::Missing if !answered => {}
            Fact::Nothing => {}
            Fact::Disconnected => {
                (self.awaited, self.late_read) = (None, None);
                self.noticed.clear();
                self.terms.clear();
            }
            Fact::Missing => (self.missing_at, self.deposed) = (Some(now), true),
            Fact::Stored(record) => {
                self.see_record(now, record, own);
                self.highest_revision = self.highest_revision.max(record.revision);
                if let Some(lease) = record.lease() {
                    self.learn_of_own(lease.write, true);
                    self.current_write = Some(lease.write);
                }
            }
            Fact::Noticed(record) => {
                self.see_record(now, record, own);
                self.current_write = None;
                let held = record.lease().filter(|lease| !lease.is_released());
                // The process cannot tell a lower revision from an older notice.
                if let Some(lease) = held.filter(|_| record.revision > self.highest_revision) {
                    let (epoch, incarnation) = (lease.epoch.as_u64(), record.incarnation);
                    self.noticed.push(NoticedTerm { epoch, incarnation, at: now });
                }
            }
            Fact::Read { incarnation, last, record } => {
                let revision = record.as_ref().map_or(*last, |record| record.revision);
                let newest = (*incarnation, revision) >= self.newest;
                let before = if *incarnation > self.newest.0 { 0 } else { self.highest_revision };
                let counts = newest && revision >= before;
                self.deposed = counts && !self.is_of_term(record.as_deref(), own, *last);
                self.highest_revision = before.max(revision);
                self.newest = self.newest.max((*incarnation, revision));
                if let Some(record) = record {
                    self.read_record(now, record, own, newest);
                } else {
                    self.current_write = None;
                    self.see(now, Observed::Absent { incarnation: *incarnation, last: *last });
                }
            }
        }
    }

    /// Whether a held term may go on after this was read: it is the term's record, or the record
    /// was purged and nothing was written since.
    fn is_of_term(&self, record: Option<&Record>, own: SessionId, last: u64) -> bool {
        let Some(record) = record else { return last == self.highest_revision };
        let own = record.lease().filter(|lease| lease.session == Some(own) && !lease.is_released());
        own.is_some_and(|lease| self.term.is_none_or(|term| term == lease.epoch))
    }

    fn is_answered(&mut self, ticket: Ticket) -> bool {
        let is_it = |asked: &(Ticket, Timestamp)| asked.0 == ticket;
        let late = self.late_read.filter(is_it);
        let read = late.or(self.awaited.filter(|_| self.reads).filter(is_it));
        self.last_read = read.map_or(self.last_read, |(_, sent)| sent);
        self.challenged_unread &= read.is_none();
        let answered = late.or(self.awaited.filter(is_it)).is_some();
        if answered {
            (self.awaited, self.late_read) = (None, None);
        }
        answered
    }

    pub(crate) fn newest_is(&self, write: &Write) -> bool {
        self.current_write == Some(write.number)
    }

    pub(crate) fn last_read(&self) -> Timestamp {
        self.last_read
    }

    /// The term that this release ends, if it was read.
    pub(crate) fn term_of(&self, release: ReleaseId) -> Option<Term> {
        let ends = |term: &&Term| (term.session, term.epoch) == (release.session, release.epoch);
        self.terms.iter().rev().find(ends).copied()
    }

    /// The bucket was deleted. The process has read every term that it knew from a notice for
    /// longer than `enough`.
    pub(crate) fn bucket_gone(&mut self, gone: u64, now: Timestamp, enough: Duration) {
        for term in self.noticed.drain(..) {
            if term.incarnation == gone && now >= term.at + enough {
                self.had_time_to_read = self.had_time_to_read.max(term.epoch);
            }
        }
    }

    /// The process stands still. When it goes on, the bucket may be gone.
    pub(crate) fn has_no_time(&mut self) {
        self.noticed.clear();
    }

    /// The newest of its challenges that it knows to be stored and that began no term. Not one that
    /// was replaced, as far as the process can tell.
    pub(crate) fn abandoned_challenge(&self, before: Epoch) -> Option<Write> {
        let newest = self.writes.iter().rev().find(|write| write.challenges && write.known)?;
        let gone = self.foreign_at > newest.sent;
        let here = newest.incarnation == self.newest.0 && !newest.refused && !gone;
        (here && newest.epoch < before && newest.epoch.as_u64() > self.led).then_some(*newest)
    }

    fn read_record(&mut self, now: Timestamp, record: &Record, own: SessionId, newest: bool) {
        self.see_record(now, record, own);
        self.current_write = None;
        let Some(lease) = record.lease() else { return };
        let held =
            Term::of(record).filter(|term| !lease.is_released() && !self.terms.contains(term));
        self.terms.extend(held);
        self.highest_epoch = self.highest_epoch.max(lease.epoch.as_u64());
        self.longest_ttl = self.longest_ttl.max(lease.ttl.unwrap_or_default());
        if lease.session == Some(own) {
            self.learn_of_own(lease.write, newest);
            self.current_write = Some(lease.write);
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
        if !self.see(now, Observed::Record(record.id)) {
            return;
        }
        if record.lease().is_none_or(|lease| lease.session != Some(own)) {
            self.foreign_at = now;
        }
        if let Some(lease) = record.lease().filter(|lease| !lease.is_released()) {
            let until = now + lease.ttl.unwrap_or(self.longest_ttl);
            self.holders.push_back((lease.node_id.clone(), lease.epoch, until));
            if self.holders.len() > 8 {
                self.holders.pop_front();
            }
        }
    }

    /// Notes when this was first observed. False when it was observed before.
    fn see(&mut self, now: Timestamp, observed: Observed) -> bool {
        if self.first_seen(observed).is_some() {
            return false;
        }
        if matches!(observed, Observed::Absent { .. }) {
            self.foreign_at = now;
        }
        if self.observed.len() > 24 {
            self.observed.pop_front();
        }
        self.observed.push_back((observed, now));
        true
    }

    pub(crate) fn first_seen(&self, observed: Observed) -> Option<Timestamp> {
        self.observed.iter().rev().find(|(seen, _)| *seen == observed).map(|(_, at)| *at)
    }

    /// Until when it may report that `leader` leads.
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

    /// When it sent the newest write of that epoch for which `counts` holds.
    pub(crate) fn newest_sent(
        &self,
        epoch: u64,
        counts: impl Fn(&Write) -> bool,
    ) -> Option<Timestamp> {
        let of = self.writes.iter().filter(|write| write.epoch.as_u64() == epoch && counts(write));
        of.map(|write| write.sent).max()
    }
}
