//! Connections, and the messages on them: delayed, lost, repeated, reordered.

use leasehold::election::Input;
use leasehold::error::StoreError;
use leasehold::store::{Outcome, Snapshot, StoreEvent, Ticket};

use super::clock::{Instant, MILLISECOND, SECOND};
use super::model::Fact;
use super::plan::{Notify, nanos};
use super::process::Packet;
use super::server::{Record, Truth, Written};
use super::world::{Event, HalfRead, Operation, Request, World};
use leasehold::store::Content;
use std::rc::Rc;

/// The kind of a message: each has its own rates of loss and delay.
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
            let retry = self.rng.log(50 * MILLISECOND, 2 * SECOND);
            self.after(retry, Event::Connect(process));
            return self.report(process, disconnected("refused"), Fact::Disconnected);
        }
        let node = &mut self.processes[process];
        node.connection += 1;
        node.connected = true;
        self.report(process, StoreEvent::Connected { server: "server".to_owned() }, Fact::Nothing);
    }

    /// The connection breaks, and the process learns it.
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
        self.report(process, disconnected("lost"), Fact::Disconnected);
        for (ticket, _) in lost {
            let outcome = Outcome::Unknown(StoreError::TimedOut);
            self.report(process, StoreEvent::Completed { ticket, outcome }, Fact::Nothing);
        }
        let delay = if self.quiet { MILLISECOND } else { self.rng.log(MILLISECOND, SECOND) };
        self.after(delay, Event::Connect(process));
    }

    pub(crate) fn reconnect(&mut self, process: usize) {
        self.disconnect(process);
    }

    /// The store of a process reports an event at once.
    fn report(&mut self, process: usize, event: StoreEvent, fact: Fact) {
        let packet = Packet { input: Input::Store(event), fact };
        self.after(0, Event::Inside(process, Box::new(packet)));
    }

    // Messages.

    pub(crate) fn request(&mut self, process: usize, ticket: Ticket, operation: Operation) {
        let node = &mut self.processes[process];
        if !node.connected {
            let outcome = Outcome::Failed(StoreError::Disconnected("no connection".into()));
            return self.report(process, StoreEvent::Completed { ticket, outcome }, Fact::Nothing);
        }
        let connection = node.connection;
        if node.open.len() > 32 {
            node.open.remove(0);
        }
        node.open.push((ticket, connection));
        let request = Request { process, connection, ticket, operation };
        if !self.quiet && self.rng.chance(self.plan.duplicates) {
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
            base.unwrap_or_else(|| self.rng.between(self.plan.latency.0, self.plan.latency.1));
        if self.quiet {
            return Some(base);
        }
        let (lost, late) = match kind {
            Kind::Request => (self.plan.lost_requests, self.plan.late),
            Kind::Reply => (self.plan.lost_replies, self.plan.late),
            Kind::Notice => (self.plan.lost_notices, self.plan.late_notices),
        };
        if self.rng.chance(lost) {
            return None;
        }
        if !self.rng.chance(late) {
            return Some(base);
        }
        let delay = base + self.span();
        // A message that was sent before the faults stop arrives before they do.
        Some(delay.min(self.plan.quiet_from.saturating_sub(self.now).max(base)))
    }

    /// Whether a message gets through now. If not, it may arrive when the link works again.
    fn passes(&mut self, slot: usize, again: impl FnOnce() -> Event) -> bool {
        let until: Instant = self.mute_until[slot];
        if until <= self.now {
            return true;
        }
        if self.rng.one_in(2) {
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
        match &request.operation {
            Operation::Read => self.half_read(request),
            Operation::Create { first } => {
                let first = if self.plan.honours_first_seq { *first } else { 1 };
                self.server.create(first.max(1));
                self.note(|| {
                    format!("the bucket exists, created by p{} or before", request.process)
                });
                self.reply(&request, Outcome::Created, Fact::Nothing);
            }
            Operation::Write(_) => self.write(&request),
        }
    }

    fn half_read(&mut self, request: Box<Request>) {
        let Some(bucket) = &self.server.bucket else {
            return self.reply(&request, Outcome::NoBucket, Fact::Missing);
        };
        let mut half_read =
            HalfRead { incarnation: bucket.incarnation, record: bucket.record.clone() };
        if self.rng.chance(self.plan.stale) {
            let as_of = self.now.saturating_sub(self.rng.below(self.plan.lag));
            let earlier = |(at, record): &&(Instant, Rc<Record>)| {
                *at <= as_of && record.incarnation == half_read.incarnation
            };
            let shown = self.written.iter().rev().find(earlier);
            half_read.record = shown.map(|(_, record)| Rc::clone(record)).or(half_read.record);
        }
        let latency = self.plan.latency.1;
        let late = !self.quiet && self.rng.chance(self.plan.late);
        let between = if late { self.span() / 4 } else { self.rng.below(latency) };
        self.after(between, Event::Confirm(request, half_read));
    }

    pub(crate) fn confirm(&mut self, request: &Request, half_read: HalfRead) {
        let Some(bucket) = &self.server.bucket else {
            return self.reply(request, Outcome::NoBucket, Fact::Missing);
        };
        if bucket.incarnation != half_read.incarnation {
            return self.half_read(Box::new(request.clone()));
        }
        let entry = half_read.record.as_ref().map(|record| record.entry());
        let shown = Snapshot {
            incarnation: bucket.name.clone(),
            last_seq: bucket.last,
            pristine: bucket.is_pristine(),
            entry,
        };
        let HalfRead { incarnation, record } = half_read;
        let fact = Fact::Read { incarnation, last: bucket.last, record };
        self.reply(request, Outcome::Read(shown), fact);
    }

    fn write(&mut self, request: &Request) {
        let Operation::Write(write) = &request.operation else { return };
        let before = self.server.bucket.clone();
        if write.expect.release.is_some() && self.rng.chance(self.plan.forgets) {
            return self.reply(request, Outcome::LostRace, Fact::Nothing);
        }
        let content = Content::Value(write.bytes.clone());
        match self.server.write(write.expect, content, Truth::Lease(write.lease.clone())) {
            Written::Stored { replaced, record } => {
                let revision = record.revision;
                self.check_commit(request, before.as_ref(), replaced.as_deref(), &record);
                self.announce(&record);
                let outcome = Outcome::Stored { revision };
                self.reply(request, outcome, Fact::Stored(record));
            }
            Written::LostRace => self.reply(request, Outcome::LostRace, Fact::Nothing),
            Written::NoBucket => {
                let error = StoreError::NoResponders("the bucket".into());
                self.reply(request, Outcome::Failed(error), Fact::Nothing);
            }
        }
    }

    /// Notifies all connected processes of a new revision.
    pub(crate) fn announce(&mut self, record: &Rc<Record>) {
        self.note(|| format!("revision {} is {:?}", record.revision, record.truth));
        self.written.push_back((self.now, Rc::clone(record)));
        if self.written.len() > 64 {
            self.written.pop_front();
        }
        if let Some(lease) = record.lease().filter(|lease| !lease.is_released()) {
            self.recorded.keep_held(lease);
        }
        self.inject_after_write();
        for slot in 0..self.running.len() {
            let Some(process) = self.running[slot] else { continue };
            if self.processes[process].connected {
                self.notify(process, record);
                if !self.quiet && self.rng.chance(self.plan.duplicates) {
                    self.notify(process, record);
                }
            }
        }
    }

    fn notify(&mut self, process: usize, record: &Rc<Record>) {
        let (event, fact) = match self.plan.notify {
            Notify::Notices => {
                (StoreEvent::Notice(record.entry()), Fact::Noticed(Rc::clone(record)))
            }
            Notify::Hints => (StoreEvent::Hint, Fact::Nothing),
            Notify::Nothing => return,
        };
        let packet = Packet { input: Input::Store(event), fact };
        self.carry(process, packet, Kind::Notice);
    }

    /// A forger publishes a notice to a process.
    pub(crate) fn send_forged(&mut self, process: usize, entry: leasehold::store::Entry) {
        let packet = Packet::new(Input::Store(StoreEvent::Notice(entry)));
        self.carry(process, packet, Kind::Notice);
    }

    fn reply(&mut self, request: &Request, outcome: Outcome, fact: Fact) {
        let event = StoreEvent::Completed { ticket: request.ticket, outcome };
        let packet = Packet { input: Input::Store(event), fact };
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
            self.receive(process, packet);
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

    /// A random length of time, often near a duration of the protocol.
    pub(crate) fn span(&mut self) -> u64 {
        let timing = self.plan.slots[0].timing.clone();
        let (ttl, validity) = (nanos(timing.ttl()), nanos(timing.validity()));
        let timeout = nanos(timing.request_timeout());
        match self.rng.below(4) {
            0 => self.rng.log(MILLISECOND, timeout),
            1 => self.rng.log(timeout / 4, 4 * timeout),
            2 => {
                let near = self.rng.pick(&[validity, ttl, timeout, validity - timeout]);
                near * self.rng.between(80, 130) / 100
            }
            _ => self.rng.log(timeout, 3 * ttl),
        }
    }
}

fn disconnected(why: &str) -> StoreEvent {
    StoreEvent::Disconnected { error: StoreError::Disconnected(why.into()) }
}
