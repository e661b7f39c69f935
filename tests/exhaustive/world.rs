//! The small world: what can happen in it next, and what comes of it.

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
use super::setting::{Budget, Flaw, MILLISECOND, Setting, settings};
use super::store::{Record, Store};

#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) expect: Expect,
    pub(crate) lease: Lease,
    pub(crate) challenges: bool,
    pub(crate) sent: Timestamp,
    /// When its sender had first seen what it is conditional on.
    pub(crate) seen: Option<Timestamp>,
}

#[derive(Clone, Debug)]
enum Parcel {
    Read,
    /// A read that took the record and is still to learn of the bucket.
    Glimpse(Option<Record>),
    Write(Box<Write>),
    Event(StoreEvent),
}

/// A message on its way from or to a node's connection.
#[derive(Clone, Debug)]
struct Mail {
    node: usize,
    session: SessionId,
    connection: u64,
    ticket: Ticket,
    parcel: Rc<Parcel>,
    /// It may come at any time or never. What is not late comes before anything else happens.
    late: bool,
}

impl Mail {
    fn is_for_node(&self) -> bool {
        matches!(*self.parcel, Parcel::Event(_))
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
    /// Time passes until a timer is due.
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
    pub(crate) rule: &'static str,
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
    /// How long its clock did so, in a world with that flaw.
    stood: [u64; 2],
    pub(crate) store: Rc<Store>,
    mail: Vec<Mail>,
    left: Budget,
    sessions: u128,
    /// The writes that were stored, by session and number.
    pub(crate) stored: Rc<BTreeSet<(u128, u64)>>,
    /// The highest epoch that was stored, and whose it is.
    pub(crate) ledger: (u64, Option<SessionId>),
    pub(crate) violation: Option<Violation>,
    /// With the newest event a term was won.
    pub(crate) began: bool,
}

impl World {
    /// One node leads, the other knows it, and nothing is under way.
    pub(crate) fn new(setting: &Setting) -> Self {
        let mut world = Self {
            setting: Rc::new(setting.clone()),
            end: u64::MAX,
            now: 0,
            nodes: [0, 1].map(|at| Rc::new(Node::new(settings(at, at as u128 + 1)))),
            paused: [None; 2],
            stood: [0; 2],
            store: Rc::new(Store::empty()),
            mail: Vec::new(),
            left: Budget::NONE,
            sessions: 2,
            stored: Rc::default(),
            ledger: (0, None),
            violation: None,
            began: false,
        };
        world.hear(0, connected());
        while world.nodes[0].cell().is_none() || !world.mail.is_empty() {
            world.go_on();
        }
        world.hear(1, connected());
        while !world.mail.is_empty() {
            world.go_on();
        }
        world.end = world.now + setting.horizon;
        world.left = setting.budget;
        world
    }

    /// The one thing that happens next when nothing goes wrong.
    fn go_on(&mut self) {
        let action = *self.actions().first().expect("timers go on for ever");
        self.take(action);
    }

    pub(crate) fn key(&self) -> u64 {
        let mut mail: Vec<u64> = self.mail.iter().map(Mail::key).collect();
        mail.sort_unstable();
        let mut hasher = DefaultHasher::new();
        let paused = self.paused.map(|since| since.filter(|_| self.has(Flaw::ClockStops)));
        let stands = self.paused.map(|since| since.is_some());
        (self.now, paused, stands, self.stood).hash(&mut hasher);
        (self.nodes[0].key(), self.nodes[1].key()).hash(&mut hasher);
        (mail, &self.left, &self.stored, self.ledger).hash(&mut hasher);
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
        clock.read(self.now - self.stood[node] - standing)
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.setting.flaw == Some(flaw)
    }

    // What can happen.

    pub(crate) fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (at, mail) in self.mail.iter().enumerate() {
            if self.mail[..at].iter().any(|earlier| Rc::ptr_eq(&earlier.parcel, &mail.parcel)) {
                continue;
            }
            if !(mail.is_for_node() && self.paused[mail.node].is_some()) {
                actions.push(Action::Deliver(at));
            }
            if !mail.late && self.left.upsets > 0 {
                actions.extend([Action::Lose(at), Action::Delay(at)]);
                // A read that comes twice is answered twice, and the second answer is for nobody.
                if matches!(*mail.parcel, Parcel::Write(_) | Parcel::Event(_)) {
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
        let asked = self.mail.iter().any(|mail| !mail.is_for_node());
        if self.left.deletions > 0 && self.store.record.is_some() && (asked || self.is_quiet()) {
            actions.extend([Action::Delete, Action::Purge]);
        }
        actions
    }

    /// What may go wrong with a node, or be asked of it, wherever that makes a difference: a fault
    /// that strikes while nothing is there for the node to do might as well strike later.
    fn add_actions_of(&self, at: usize, actions: &mut Vec<Action>) {
        let node = &self.nodes[at];
        if node.shadow.works_on().is_some() && self.paused[at].is_none() {
            actions.push(Action::Drained(at));
        }
        let has_mail = self.mail.iter().any(|mail| mail.node == at && mail.is_for_node());
        if !has_mail && !self.is_overdue(at) && !self.is_quiet() {
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
        let waits =
            |mail: &Mail| mail.late || (mail.is_for_node() && self.paused[mail.node].is_some());
        self.mail.iter().all(waits) && !self.is_due(0) && !self.is_due(1)
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

    // What comes of it.

    pub(crate) fn take(&mut self, action: Action) {
        self.began = false;
        match action {
            Action::Deliver(at) => {
                let mail = self.mail.remove(at);
                self.deliver(&mail);
            }
            Action::Lose(at) => {
                self.left.upsets -= 1;
                self.mail.remove(at);
            }
            Action::Delay(at) => {
                self.left.upsets -= 1;
                self.mail[at].late = true;
            }
            Action::Double(at) => {
                self.left.upsets -= 1;
                self.mail.push(Mail { late: true, ..self.mail[at].clone() });
            }
            Action::Tick(node) => self.hear(node, Input::Tick),
            Action::Pass => self.now = self.next_timer().unwrap_or(self.now),
            Action::Pause(node) => {
                self.left.pauses -= 1;
                self.paused[node] = Some(self.now);
            }
            Action::Resume(node) => self.resume(node),
            Action::Crash(node) => self.crash(node),
            Action::Resign(node) => {
                self.left.resignations -= 1;
                self.hear(node, Input::Resign(Reason::StepDown));
            }
            Action::Drained(node) => self.drained(node),
            Action::Delete => {
                self.left.deletions -= 1;
                Rc::make_mut(&mut self.store).write(Content::Marker, None);
                self.announce();
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
            self.stood[node] += self.now - since;
        }
    }

    fn crash(&mut self, node: usize) {
        self.left.crashes -= 1;
        let session = self.nodes[node].session().bits();
        self.sessions += 1;
        let session = if self.has(Flaw::SessionAgain) { session } else { self.sessions };
        self.nodes[node] = Rc::new(Node::new(settings(node, session)));
        self.mail.retain(|mail| !(mail.node == node && mail.is_for_node()));
        self.hear(node, connected());
    }

    fn drained(&mut self, at: usize) {
        let Some(epoch) = self.nodes[at].shadow.works_on() else { return };
        let mut node = self.nodes[at].again();
        node.shadow.asked = Some(epoch);
        if !self.has(Flaw::DrainsEarly) {
            node.shadow.drained.insert(epoch);
        }
        self.nodes[at] = Rc::new(node);
        self.hear(at, Input::Drained(epoch));
    }

    // Messages.

    fn post(&mut self, at: usize, node: &Node, ticket: Ticket, parcel: Parcel) {
        let (session, connection) = (node.session(), node.connection);
        let parcel = Rc::new(parcel);
        self.mail.push(Mail { node: at, session, connection, ticket, parcel, late: false });
    }

    fn deliver(&mut self, mail: &Mail) {
        match &*mail.parcel {
            Parcel::Read => {
                let glimpse = Parcel::Glimpse(self.store.record.clone());
                self.mail.push(Mail { parcel: Rc::new(glimpse), ..mail.clone() });
            }
            Parcel::Glimpse(record) => {
                let shown = self.store.show(record.as_ref());
                self.answer(mail, Outcome::Read(shown));
            }
            Parcel::Write(write) => {
                let outcome = self.store_write(write, mail.node);
                self.answer(mail, outcome);
            }
            Parcel::Event(event) => {
                let node = &self.nodes[mail.node];
                if (node.session(), node.connection) == (mail.session, mail.connection) {
                    self.hear(mail.node, Input::Store(event.clone()));
                }
            }
        }
    }

    fn answer(&mut self, request: &Mail, outcome: Outcome) {
        let node = &self.nodes[request.node];
        if (node.session(), node.connection) == (request.session, request.connection) {
            let event = StoreEvent::Completed { ticket: request.ticket, outcome };
            self.mail.push(Mail {
                parcel: Rc::new(Parcel::Event(event)),
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
        self.announce();
        Outcome::Stored { revision: self.store.last }
    }

    /// Tells everybody but the writer, whose own notices are tried elsewhere.
    fn announce(&mut self) {
        let Some(record) = &self.store.record else { return };
        let event = StoreEvent::Notice(record.entry());
        let by = record.lease.as_ref().and_then(|lease| lease.session);
        for at in [0, 1] {
            let node = Rc::clone(&self.nodes[at]);
            if node.connection > 0 && by != Some(node.session()) {
                self.post(at, &node, Ticket(0), Parcel::Event(event.clone()));
            }
        }
    }

    // The loop of a node.

    fn hear(&mut self, at: usize, input: Input) {
        let mut node = self.nodes[at].again();
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now = self.local(at);
            node.shadow.hear(now, &input);
            if matches!(input, Input::Store(StoreEvent::Connected { .. })) {
                node.connection += 1;
            }
            let step = node.step(now, input);
            self.check_step(at, &mut node, now, &step);
            self.carry_out(at, &mut node, now, step, &mut inputs);
        }
        node.seal();
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
            Some(Command::Read(ticket)) => self.post(at, node, ticket, Parcel::Read),
            Some(Command::Write { ticket, expect, lease }) => {
                let challenges = node.election.held_epoch() != Some(lease.epoch);
                let challenges = challenges && !lease.is_released();
                let seen = node.shadow.seen.get(&(expect.revision, expect.last_seq)).copied();
                let write = Write { expect, lease, challenges, sent, seen };
                self.post(at, node, ticket, Parcel::Write(Box::new(write)));
            }
            Some(Command::Reconnect) => {
                let error = StoreError::Disconnected("given up".into());
                next.extend([Input::Store(StoreEvent::Disconnected { error }), connected()]);
            }
        }
        for change in step.changes {
            if let Change::Resigning { epoch, .. } = change {
                node.shadow.works = Some(epoch);
            }
        }
    }

    pub(crate) fn demand(
        &mut self,
        rule: &'static str,
        holds: bool,
        what: impl FnOnce() -> String,
    ) {
        if !holds && self.violation.is_none() {
            self.violation = Some(Violation { rule, what: what() });
        }
    }

    pub(crate) fn describe(&self, action: Action) -> String {
        let millis = self.now / MILLISECOND;
        match action {
            Action::Deliver(at) | Action::Lose(at) | Action::Delay(at) | Action::Double(at) => {
                let mail = &self.mail[at];
                let text = format!("{:?}", mail.parcel);
                let text = text.split(", content: Value").next().unwrap_or_default();
                format!("{millis:5} ms: {action:?}: node {}: {text}", mail.node)
            }
            other => format!("{millis:5} ms: {other:?}"),
        }
    }
}

fn connected() -> Input {
    Input::Store(StoreEvent::Connected { server: "store".to_owned() })
}
