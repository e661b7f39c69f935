//! Connections, and what becomes of messages on them.

use leasehold::election::Input;
use leasehold::error::StoreError;
use leasehold::store::{Outcome, Snapshot, StoreEvent, Ticket};

use super::clock::{Instant, MILLISECOND, SECOND};
use super::plan::{Telling, nanos};
use super::process::Packet;
use super::server::{Record, Truth, Written};
use super::shadow::News;
use super::world::{Ask, Event, Glimpse, Request, World};
use leasehold::store::Content;
use std::rc::Rc;

/// What a message is, as far as its fate depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Request,
    Reply,
    Notice,
}

impl World {
    // Connections.

    pub(crate) fn connect(&mut self, process: usize) {
        let node = &self.processes[process];
        let slot = node.slot;
        if !node.alive || node.connected {
            return;
        }
        if self.mute_until[slot].max(self.refused_until[slot]) > self.now {
            let retry = self.dice.log(50 * MILLISECOND, 2 * SECOND);
            self.after(retry, Event::Connect(process));
            return self.tell(process, disconnected("refused"), News::Disconnected);
        }
        let node = &mut self.processes[process];
        node.connection += 1;
        node.connected = true;
        self.tell(process, StoreEvent::Connected { server: "server".to_owned() }, News::Nothing);
    }

    /// The process learns that its connection is gone.
    pub(crate) fn disconnect(&mut self, process: usize) {
        let node = &mut self.processes[process];
        if !node.alive || !std::mem::take(&mut node.connected) {
            return;
        }
        let connection = node.connection;
        let lost: Vec<_> = node.open.iter().filter(|open| open.1 == connection).copied().collect();
        if !self.plan.answers_outlive_connections {
            node.open.clear();
        }
        self.tell(process, disconnected("lost"), News::Disconnected);
        for (ticket, _) in lost {
            let outcome = Outcome::Unknown(StoreError::TimedOut);
            self.tell(process, StoreEvent::Completed { ticket, outcome }, News::Nothing);
        }
        let delay = if self.quiet { MILLISECOND } else { self.dice.log(MILLISECOND, SECOND) };
        self.after(delay, Event::Connect(process));
    }

    pub(crate) fn reconnect(&mut self, process: usize) {
        self.disconnect(process);
    }

    /// The store tells its process something at once.
    fn tell(&mut self, process: usize, event: StoreEvent, news: News) {
        let packet = Packet { input: Input::Store(event), news };
        self.after(0, Event::Inside(process, Box::new(packet)));
    }

    // Messages.

    pub(crate) fn request(&mut self, process: usize, ticket: Ticket, ask: Ask) {
        let node = &mut self.processes[process];
        if !node.connected {
            let outcome = Outcome::Failed(StoreError::Disconnected("no connection".into()));
            return self.tell(process, StoreEvent::Completed { ticket, outcome }, News::Nothing);
        }
        let connection = node.connection;
        if node.open.len() > 32 {
            node.open.remove(0);
        }
        node.open.push((ticket, connection));
        let request = Request { process, connection, ticket, ask };
        if !self.quiet && self.dice.chance(self.plan.duplicates) {
            self.send(request.clone());
        }
        self.send(request);
    }

    fn send(&mut self, request: Request) {
        if let Some(delay) = self.delay(self.processes[request.process].slot, Kind::Request) {
            self.after(delay, Event::Arrive(Box::new(request)));
        }
    }

    /// How long a message takes; `None` when it is lost.
    fn delay(&mut self, slot: usize, kind: Kind) -> Option<u64> {
        let base = self.plan.slots[slot].latency;
        let base =
            base.unwrap_or_else(|| self.dice.between(self.plan.latency.0, self.plan.latency.1));
        if self.quiet {
            return Some(base);
        }
        let (lost, late) = match kind {
            Kind::Request => (self.plan.lost_requests, self.plan.late),
            Kind::Reply => (self.plan.lost_replies, self.plan.late),
            Kind::Notice => (self.plan.lost_notices, self.plan.late_notices),
        };
        if self.dice.chance(lost) {
            return None;
        }
        if !self.dice.chance(late) {
            return Some(base);
        }
        let delay = base + self.span();
        // What was sent before the faults stop arrives before they do.
        Some(delay.min(self.plan.quiet_from.saturating_sub(self.now).max(base)))
    }

    /// Whether a message gets through now; if not, it may do so when the link goes on.
    fn passes(&mut self, slot: usize, again: impl FnOnce() -> Event) -> bool {
        let until: Instant = self.mute_until[slot];
        if until <= self.now {
            return true;
        }
        if self.dice.one_in(2) {
            self.at(until + 1, again());
        }
        false
    }

    // At the server.

    pub(crate) fn arrive(&mut self, request: Box<Request>) {
        let slot = self.processes[request.process].slot;
        if !self.passes(slot, || Event::Arrive(request.clone())) {
            return;
        }
        match &request.ask {
            Ask::Read => self.glimpse(request),
            Ask::Create { first } => {
                let first = if self.plan.honours_first_seq { *first } else { 1 };
                self.server.create(first.max(1));
                self.note(|| format!("bucket is there, created by p{} or before", request.process));
                self.reply(&request, Outcome::Created, News::Nothing);
            }
            Ask::Write(_) => self.write(&request),
        }
    }

    fn glimpse(&mut self, request: Box<Request>) {
        let Some(bucket) = &self.server.bucket else {
            return self.reply(&request, Outcome::NoBucket, News::Missing);
        };
        let mut glimpse =
            Glimpse { incarnation: bucket.incarnation, record: bucket.record.clone() };
        if self.dice.chance(self.plan.stale) {
            let as_of = self.now.saturating_sub(self.dice.below(self.plan.lag));
            let stood = |(at, record): &&(Instant, Rc<Record>)| {
                *at <= as_of && record.incarnation == glimpse.incarnation
            };
            let stood = self.written.iter().rev().find(stood);
            glimpse.record = stood.map(|(_, record)| Rc::clone(record)).or(glimpse.record);
        }
        let latency = self.plan.latency.1;
        let late = !self.quiet && self.dice.chance(self.plan.late);
        let between = if late { self.span() / 4 } else { self.dice.below(latency) };
        self.after(between, Event::Confirm(request, glimpse));
    }

    pub(crate) fn confirm(&mut self, request: &Request, glimpse: Glimpse) {
        let Some(bucket) = &self.server.bucket else {
            return self.reply(request, Outcome::NoBucket, News::Missing);
        };
        if bucket.incarnation != glimpse.incarnation {
            return self.glimpse(Box::new(request.clone()));
        }
        let entry = glimpse.record.as_ref().map(|record| record.entry());
        let shown = Snapshot {
            incarnation: bucket.name.clone(),
            last_seq: bucket.last,
            pristine: bucket.is_pristine(),
            entry,
        };
        let Glimpse { incarnation, record } = glimpse;
        let news = News::Read { incarnation, last: bucket.last, record };
        self.reply(request, Outcome::Read(shown), news);
    }

    fn write(&mut self, request: &Request) {
        let Ask::Write(write) = &request.ask else { return };
        let before = self.server.bucket.clone();
        if write.expect.release.is_some() && self.dice.chance(self.plan.forgets) {
            return self.reply(request, Outcome::LostRace, News::Nothing);
        }
        let content = Content::Value(write.bytes.clone());
        match self.server.write(write.expect, content, Truth::Lease(write.lease.clone())) {
            Written::Stored { replaced, record } => {
                let revision = record.revision;
                self.check_commit(request, before.as_ref(), replaced.as_deref(), &record);
                self.announce(&record);
                let outcome = Outcome::Stored { revision };
                self.reply(request, outcome, News::Stored(record));
            }
            Written::LostRace => self.reply(request, Outcome::LostRace, News::Nothing),
            Written::NoBucket => {
                let error = StoreError::NoResponders("the bucket".into());
                self.reply(request, Outcome::Failed(error), News::Nothing);
            }
        }
    }

    /// Tells everybody of a new revision.
    pub(crate) fn announce(&mut self, record: &Rc<Record>) {
        self.note(|| format!("revision {} is {:?}", record.revision, record.truth));
        self.written.push_back((self.now, Rc::clone(record)));
        if self.written.len() > 64 {
            self.written.pop_front();
        }
        if let Some(lease) = record.lease().filter(|lease| !lease.is_released()) {
            self.overheard.keep_held(lease);
        }
        self.spring_ambushes();
        for slot in 0..self.running.len() {
            let Some(process) = self.running[slot] else { continue };
            if self.processes[process].connected {
                self.notify(process, record);
                if !self.quiet && self.dice.chance(self.plan.duplicates) {
                    self.notify(process, record);
                }
            }
        }
    }

    fn notify(&mut self, process: usize, record: &Rc<Record>) {
        let (event, news) = match self.plan.telling {
            Telling::Notices => {
                (StoreEvent::Notice(record.entry()), News::Heard(Rc::clone(record)))
            }
            Telling::Hints => (StoreEvent::Hint, News::Nothing),
            Telling::Nothing => return,
        };
        let packet = Packet { input: Input::Store(event), news };
        self.carry(process, packet, Kind::Notice);
    }

    /// Somebody who may publish tells a process of something that was never stored.
    pub(crate) fn whisper(&mut self, process: usize, entry: leasehold::store::Entry) {
        let packet = Packet::new(Input::Store(StoreEvent::Notice(entry)));
        self.carry(process, packet, Kind::Notice);
    }

    fn reply(&mut self, request: &Request, outcome: Outcome, news: News) {
        let event = StoreEvent::Completed { ticket: request.ticket, outcome };
        let packet = Packet { input: Input::Store(event), news };
        let slot = self.processes[request.process].slot;
        if let Some(delay) = self.delay(slot, Kind::Reply) {
            let event = Event::Deliver(request.process, request.connection, Box::new(packet));
            self.after(delay, event);
        }
    }

    fn carry(&mut self, process: usize, packet: Packet, kind: Kind) {
        let node = &self.processes[process];
        let connection = node.connection;
        if let Some(delay) = self.delay(node.slot, kind) {
            self.after(delay, Event::Deliver(process, connection, Box::new(packet)));
        }
    }

    // Back at the process.

    pub(crate) fn deliver(&mut self, process: usize, connection: u64, packet: Packet) {
        let node = &self.processes[process];
        let slot = node.slot;
        if !node.alive {
            return;
        }
        let again = || Event::Deliver(process, connection, Box::new(packet.clone()));
        if !self.passes(slot, again) {
            return;
        }
        if self.is_wanted(process, connection, &packet) {
            self.hear(process, packet);
        }
    }

    fn is_wanted(&mut self, process: usize, connection: u64, packet: &Packet) -> bool {
        let outlive = self.plan.answers_outlive_connections;
        let node = &mut self.processes[process];
        let current = node.connected && node.connection == connection;
        match &packet.input {
            Input::Store(StoreEvent::Completed { ticket, .. }) => {
                let Some(at) = node.open.iter().position(|open| open.0 == *ticket) else {
                    return false;
                };
                node.open.remove(at);
                current || outlive
            }
            _ => current,
        }
    }

    /// A length of time: often near one that decides something.
    pub(crate) fn span(&mut self) -> u64 {
        let timing = self.plan.slots[0].timing.clone();
        let (ttl, validity) = (nanos(timing.ttl()), nanos(timing.validity()));
        let timeout = nanos(timing.request_timeout());
        match self.dice.below(4) {
            0 => self.dice.log(MILLISECOND, timeout),
            1 => self.dice.log(timeout / 4, 4 * timeout),
            2 => {
                let near = self.dice.pick(&[validity, ttl, timeout, validity - timeout]);
                near * self.dice.between(80, 130) / 100
            }
            _ => self.dice.log(timeout, 3 * ttl),
        }
    }
}

fn disconnected(why: &str) -> StoreEvent {
    StoreEvent::Disconnected { error: StoreError::Disconnected(why.into()) }
}
