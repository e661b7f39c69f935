//! The small world: which actions are possible next, and what they do.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::SystemTime;

use leasehold::clock::Timestamp;
use leasehold::election::{Change, Command, Input, Step};
use leasehold::error::StoreError;
use leasehold::event::Reason;
use leasehold::lease::{Lease, SessionId};
use leasehold::store::{Content, Expect, Outcome, StoreEvent, Ticket};

use super::node::{HostClock, Node};
use super::rules::Rule;
use super::settings::{Budget, Flaw, MILLISECOND, Setting, settings};
use super::store::{Record, Store};

#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) expect: Expect,
    pub(crate) lease: Lease,
    pub(crate) challenges: bool,
    pub(crate) sent: Timestamp,
    /// When its sender first observed the state that it is conditional on.
    pub(crate) seen: Option<Timestamp>,
}

#[derive(Clone, Debug)]
enum Payload {
    Read,
    /// The first half of a read: it has taken the record, and not yet asked for the bucket.
    HalfRead(Option<Record>),
    Write(Box<Write>),
    Event(StoreEvent),
}

/// A message on its way from or to a node's connection.
#[derive(Clone, Debug)]
struct Message {
    node: usize,
    session: SessionId,
    connection: u64,
    ticket: Ticket,
    payload: Rc<Payload>,
    /// It may arrive at any time, or never. A message that is not late arrives before time passes.
    late: bool,
}

impl Message {
    fn is_to_node(&self) -> bool {
        matches!(*self.payload, Payload::Event(_))
    }

    fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        format!("{self:?}").hash(&mut hasher);
        hasher.finish()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Deliver(usize),
    Lose(usize),
    Delay(usize),
    Double(usize),
    Tick(usize),
    /// Time passes until the next timer is due.
    Pass,
    Pause(usize),
    Resume(usize),
    Crash(usize),
    Resign(usize),
    Drained(usize),
    Delete,
    Purge,
}

#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) what: String,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    setting: Rc<Setting>,
    end: u64,
    pub(crate) now: u64,
    pub(crate) nodes: [Rc<Node>; 2],
    /// Since when a node stands still.
    paused: [Option<u64>; 2],
    /// How long its clock stood still, in a world with that flaw.
    paused_for: [u64; 2],
    pub(crate) store: Rc<Store>,
    messages: Vec<Message>,
    left: Budget,
    sessions: u128,
    /// The writes that were stored, by session and number.
    pub(crate) stored: Rc<BTreeSet<(u128, u64)>>,
    /// The highest epoch that was stored, and its session.
    pub(crate) ledger: (u64, Option<SessionId>),
    pub(crate) violation: Option<Violation>,
    /// The newest action began a term.
    pub(crate) began: bool,
}

impl World {
    /// One node leads, the other knows it, and no message is under way.
    pub(crate) fn new(setting: &Setting) -> Self {
        let mut world = Self {
            setting: Rc::new(setting.clone()),
            end: u64::MAX,
            now: 0,
            nodes: [0, 1].map(|at| Rc::new(Node::new(settings(at, at as u128 + 1)))),
            paused: [None; 2],
            paused_for: [0; 2],
            store: Rc::new(Store::empty()),
            messages: Vec::new(),
            left: Budget::NONE,
            sessions: 2,
            stored: Rc::default(),
            ledger: (0, None),
            violation: None,
            began: false,
        };
        world.receive(0, connected());
        while world.nodes[0].cell().is_none() || !world.messages.is_empty() {
            world.proceed();
        }
        world.receive(1, connected());
        while !world.messages.is_empty() {
            world.proceed();
        }
        world.end = world.now + setting.horizon;
        world.left = setting.budget;
        world
    }

    /// Takes the first action without a fault.
    fn proceed(&mut self) {
        let action = *self.actions().first().expect("timers never end");
        self.take(action);
    }

    pub(crate) fn key(&self) -> u64 {
        let mut messages: Vec<u64> = self.messages.iter().map(Message::key).collect();
        messages.sort_unstable();
        let mut hasher = DefaultHasher::new();
        let paused = self.paused.map(|since| since.filter(|_| self.has(Flaw::ClockStops)));
        let stands = self.paused.map(|since| since.is_some());
        (self.now, paused, stands, self.paused_for).hash(&mut hasher);
        (self.nodes[0].key(), self.nodes[1].key()).hash(&mut hasher);
        (messages, &self.left, &self.stored, self.ledger).hash(&mut hasher);
        format!("{:?}", self.store).hash(&mut hasher);
        hasher.finish()
    }

    /// What a node's clock reads.
    pub(crate) fn local(&self, node: usize) -> Timestamp {
        let mut clock = self.setting.clocks[node];
        if self.setting.flaw == Some(Flaw::ClockRaces) && node == 1 {
            clock.rate += 20;
        }
        let standing = self.paused[node].filter(|_| self.has(Flaw::ClockStops));
        let standing = standing.map_or(0, |since| self.now - since);
        clock.read(self.now - self.paused_for[node] - standing)
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.setting.flaw == Some(flaw)
    }

    // The possible actions.

    pub(crate) fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (at, message) in self.messages.iter().enumerate() {
            if self.messages[..at]
                .iter()
                .any(|earlier| Rc::ptr_eq(&earlier.payload, &message.payload))
            {
                continue;
            }
            if !(message.is_to_node() && self.paused[message.node].is_some()) {
                actions.push(Action::Deliver(at));
            }
            if !message.late && self.left.disturbances > 0 {
                actions.extend([Action::Lose(at), Action::Delay(at)]);
                // A read that arrives twice is answered twice, and the second answer is ignored.
                if matches!(*message.payload, Payload::Write(_) | Payload::Event(_)) {
                    actions.push(Action::Double(at));
                }
            }
        }
        actions.extend([0, 1].into_iter().filter(|node| self.is_due(*node)).map(Action::Tick));
        if let (true, Some(_)) = (self.is_quiet(), self.next_timer()) {
            actions.push(Action::Pass);
        }
        for node in [0, 1] {
            self.add_actions_of(node, &mut actions);
        }
        let asked = self.messages.iter().any(|message| !message.is_to_node());
        if self.left.deletions > 0 && self.store.record.is_some() && (asked || self.is_quiet()) {
            actions.extend([Action::Delete, Action::Purge]);
        }
        actions
    }

    /// The faults and commands that are possible at a node, where they make a difference: while the
    /// node has nothing to do, a fault might as well occur later.
    fn add_actions_of(&self, at: usize, actions: &mut Vec<Action>) {
        let node = &self.nodes[at];
        if node.model.undrained().is_some() && self.paused[at].is_none() {
            actions.push(Action::Drained(at));
        }
        let has_messages =
            self.messages.iter().any(|message| message.node == at && message.is_to_node());
        if !has_messages && !self.is_overdue(at) && !self.is_quiet() {
            return;
        }
        if self.paused[at].is_some() {
            return actions.push(Action::Resume(at));
        }
        if self.left.pauses > 0 {
            actions.push(Action::Pause(at));
        }
        if self.left.crashes > 0 {
            actions.push(Action::Crash(at));
        }
        if self.left.resignations > 0 && node.leads(self.local(at)).is_some() {
            actions.push(Action::Resign(at));
        }
    }

    fn is_overdue(&self, node: usize) -> bool {
        self.local(node) >= self.nodes[node].wake_at
    }

    fn is_due(&self, node: usize) -> bool {
        self.paused[node].is_none() && self.is_overdue(node)
    }

    fn is_quiet(&self) -> bool {
        let waits = |message: &Message| {
            message.late || (message.is_to_node() && self.paused[message.node].is_some())
        };
        self.messages.iter().all(waits) && !self.is_due(0) && !self.is_due(1)
    }

    /// The instant at which the next timer fires, within the horizon.
    fn next_timer(&self) -> Option<u64> {
        let running = [0, 1].into_iter().filter(|node| self.paused[*node].is_none());
        let fires = |node: usize| {
            let ahead = self.nodes[node].wake_at.since(self.local(node));
            let nanos = u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX);
            let clock = HostClock { origin: 0, ..self.setting.clocks[node] };
            self.now.saturating_add(clock.when(Timestamp::from_nanos(nanos)).max(1))
        };
        running.map(fires).min().filter(|at| *at <= self.end)
    }

    // Their effects.

    pub(crate) fn take(&mut self, action: Action) {
        self.began = false;
        match action {
            Action::Deliver(at) => {
                let message = self.messages.remove(at);
                self.deliver(&message);
            }
            Action::Lose(at) => {
                self.left.disturbances -= 1;
                self.messages.remove(at);
            }
            Action::Delay(at) => {
                self.left.disturbances -= 1;
                self.messages[at].late = true;
            }
            Action::Double(at) => {
                self.left.disturbances -= 1;
                self.messages.push(Message { late: true, ..self.messages[at].clone() });
            }
            Action::Tick(node) => self.receive(node, Input::Tick),
            Action::Pass => self.now = self.next_timer().unwrap_or(self.now),
            Action::Pause(node) => {
                self.left.pauses -= 1;
                self.paused[node] = Some(self.now);
            }
            Action::Resume(node) => self.resume(node),
            Action::Crash(node) => self.crash(node),
            Action::Resign(node) => {
                self.left.resignations -= 1;
                self.receive(node, Input::Resign(Reason::StepDown));
            }
            Action::Drained(node) => self.drained(node),
            Action::Delete => {
                self.left.deletions -= 1;
                Rc::make_mut(&mut self.store).write(Content::Marker, None);
                self.notify();
            }
            Action::Purge => {
                self.left.deletions -= 1;
                Rc::make_mut(&mut self.store).record = None;
            }
        }
        self.check_instant();
    }

    fn resume(&mut self, node: usize) {
        let since = self.paused[node].take().unwrap_or(self.now);
        if self.has(Flaw::ClockStops) {
            self.paused_for[node] += self.now - since;
        }
    }

    fn crash(&mut self, node: usize) {
        self.left.crashes -= 1;
        let session = self.nodes[node].session().bits();
        self.sessions += 1;
        let session = if self.has(Flaw::SessionAgain) { session } else { self.sessions };
        self.nodes[node] = Rc::new(Node::new(settings(node, session)));
        self.messages.retain(|message| !(message.node == node && message.is_to_node()));
        self.receive(node, connected());
    }

    fn drained(&mut self, at: usize) {
        let Some(epoch) = self.nodes[at].model.undrained() else { return };
        let mut node = self.nodes[at].replayed();
        node.model.asked = Some(epoch);
        if !self.has(Flaw::DrainsEarly) {
            node.model.drained.insert(epoch);
        }
        self.nodes[at] = Rc::new(node);
        self.receive(at, Input::Drained(epoch));
    }

    // Messages.

    fn send(&mut self, at: usize, node: &Node, ticket: Ticket, payload: Payload) {
        let (session, connection) = (node.session(), node.connection);
        let payload = Rc::new(payload);
        self.messages.push(Message { node: at, session, connection, ticket, payload, late: false });
    }

    fn deliver(&mut self, message: &Message) {
        match &*message.payload {
            Payload::Read => {
                let half_read = Payload::HalfRead(self.store.record.clone());
                self.messages.push(Message { payload: Rc::new(half_read), ..message.clone() });
            }
            Payload::HalfRead(record) => {
                let shown = self.store.show(record.as_ref());
                self.answer(message, Outcome::Read(shown));
            }
            Payload::Write(write) => {
                let outcome = self.store_write(write, message.node);
                self.answer(message, outcome);
            }
            Payload::Event(event) => {
                let node = &self.nodes[message.node];
                if (node.session(), node.connection) == (message.session, message.connection) {
                    self.receive(message.node, Input::Store(event.clone()));
                }
            }
        }
    }

    fn answer(&mut self, request: &Message, outcome: Outcome) {
        let node = &self.nodes[request.node];
        if (node.session(), node.connection) == (request.session, request.connection) {
            let event = StoreEvent::Completed { ticket: request.ticket, outcome };
            self.messages.push(Message {
                payload: Rc::new(Payload::Event(event)),
                late: false,
                ..request.clone()
            });
        }
    }

    fn store_write(&mut self, write: &Write, node: usize) -> Outcome {
        let held = self.has(Flaw::NoCondition) || self.store.holds(write.expect);
        if !held {
            return Outcome::LostRace;
        }
        if self.has(Flaw::LostWrite) && !write.challenges && !write.lease.is_released() {
            return Outcome::Stored { revision: self.store.last + 1 };
        }
        let bytes = write.lease.encode(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH);
        let before = (*self.store).clone();
        Rc::make_mut(&mut self.store).write(Content::Value(bytes), Some(write.lease.clone()));
        self.check_commit(node, write, &before);
        self.notify();
        Outcome::Stored { revision: self.store.last }
    }

    /// Notifies all nodes but the writer.
    fn notify(&mut self) {
        let Some(record) = &self.store.record else { return };
        let event = StoreEvent::Notice(record.entry());
        let by = record.lease.as_ref().and_then(|lease| lease.session);
        for at in [0, 1] {
            let node = Rc::clone(&self.nodes[at]);
            if node.connection > 0 && by != Some(node.session()) {
                self.send(at, &node, Ticket(0), Payload::Event(event.clone()));
            }
        }
    }

    // The loop of a node.

    fn receive(&mut self, at: usize, input: Input) {
        let mut node = self.nodes[at].replayed();
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now = self.local(at);
            node.model.receive(now, &input);
            if matches!(input, Input::Store(StoreEvent::Connected { .. })) {
                node.connection += 1;
            }
            let step = node.step(now, input);
            self.check_step(at, &mut node, now, &step);
            self.carry_out(at, &mut node, now, step, &mut inputs);
        }
        node.update_key();
        self.nodes[at] = Rc::new(node);
    }

    fn carry_out(
        &mut self,
        at: usize,
        node: &mut Node,
        sent: Timestamp,
        step: Step,
        next: &mut VecDeque<Input>,
    ) {
        match step.command {
            None | Some(Command::CreateBucket { .. }) => {}
            Some(Command::Read(ticket)) => self.send(at, node, ticket, Payload::Read),
            Some(Command::Write { ticket, expect, lease }) => {
                let challenges = node.election.held_epoch() != Some(lease.epoch);
                let challenges = challenges && !lease.is_released();
                let seen = node.model.seen.get(&(expect.revision, expect.last_seq)).copied();
                let write = Write { expect, lease, challenges, sent, seen };
                self.send(at, node, ticket, Payload::Write(Box::new(write)));
            }
            Some(Command::Reconnect) => {
                let error = StoreError::Disconnected("given up".into());
                next.extend([Input::Store(StoreEvent::Disconnected { error }), connected()]);
            }
        }
        for change in step.changes {
            if let Change::Resigning { epoch, .. } = change {
                node.model.works = Some(epoch);
            }
        }
    }

    pub(crate) fn demand(&mut self, rule: Rule, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            self.violation = Some(Violation { rule, what: what() });
        }
    }

    pub(crate) fn describe(&self, action: Action) -> String {
        let millis = self.now / MILLISECOND;
        match action {
            Action::Deliver(at) | Action::Lose(at) | Action::Delay(at) | Action::Double(at) => {
                let message = &self.messages[at];
                let text = format!("{:?}", message.payload);
                let text = text.split(", content: Value").next().unwrap_or_default();
                format!("{millis:5} ms: {action:?}: node {}: {text}", message.node)
            }
            other => format!("{millis:5} ms: {other:?}"),
        }
    }
}

fn connected() -> Input {
    Input::Store(StoreEvent::Connected { server: "store".to_owned() })
}
