//! The simulated world: its state, its event queue, and its main loop.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;

use leasehold::clock::{Clock, Timestamp};
use leasehold::lease::{Epoch, Lease, SessionId};
use leasehold::store::{Expect, Ticket};

use super::clock::{Instant, SECOND};
use super::commits::Ledger;
use super::forger::Recorded;
use super::gate::Gate;
use super::liveness::Liveness;
use super::plan::{Fault, Plan};
use super::process::{Packet, Process};
use super::rng::Rng;
use super::rules::Rule;
use super::server::{Record, Server};
use super::trace::Trace;
use super::verdict::Verdict;

/// The operation of a request.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Read,
    Write(Box<Write>),
    Create { first: u64 },
}

#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) expect: Expect,
    pub(crate) lease: Lease,
    pub(crate) bytes: Vec<u8>,
    pub(crate) sent: Timestamp,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) process: usize,
    pub(crate) connection: u64,
    pub(crate) ticket: Ticket,
    pub(crate) operation: Operation,
}

/// The first half of a read: the record, before INFO confirms the bucket.
#[derive(Clone, Debug)]
pub(crate) struct HalfRead {
    pub(crate) incarnation: u64,
    pub(crate) record: Option<Rc<Record>>,
}

/// An effect of a leader's work, on its way to the fencing gate.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    pub(crate) process: usize,
    pub(crate) epoch: u64,
    pub(crate) session: SessionId,
}

#[derive(Debug)]
pub(crate) enum Event {
    Start(usize),
    /// A message arrives at a process over a connection.
    Deliver(usize, u64, Box<Packet>),
    /// An input arises inside a process.
    Inside(usize, Box<Packet>),
    Arrive(Box<Request>),
    Confirm(Box<Request>, HalfRead),
    Wake(usize, Instant),
    /// A tick before the time that the election asked for.
    EarlyTick(usize),
    Resume(usize),
    Connect(usize),
    Drained(usize, Epoch),
    CheckToken(usize),
    Act(Effect),
    /// Injects the fault, and plans its next time.
    Inject(Fault),
    /// Injects the fault once.
    InjectOnce(Fault),
    Recover(usize),
    BackUp,
    Quiet,
}

struct Item {
    at: Instant,
    order: u64,
    event: Event,
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// The figures of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) node_nanos: u128,
    pub(crate) terms: u64,
    pub(crate) events: u64,
    pub(crate) faults: u64,
    /// Overlaps that the known limits allow.
    pub(crate) excused: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.node_nanos += other.node_nanos;
        self.terms += other.terms;
        self.events += other.events;
        self.faults += other.faults;
        self.excused += other.excused;
    }
}

pub(crate) struct World {
    pub(crate) now: Instant,
    queue: BinaryHeap<Reverse<Item>>,
    order: u64,
    /// Events in this second.
    spins: u64,
    pub(crate) rng: Rng,
    pub(crate) plan: Plan,
    pub(crate) server: Server,
    /// The newest writes, and when they were stored.
    pub(crate) written: VecDeque<(Instant, Rc<Record>)>,
    pub(crate) processes: Vec<Process>,
    /// The process that runs in each slot, if one does.
    pub(crate) running: Vec<Option<usize>>,
    /// No message passes on the link of that slot until then.
    pub(crate) mute_until: Vec<Instant>,
    /// That slot's connections are refused until then.
    pub(crate) refused_until: Vec<Instant>,
    pub(crate) quiet: bool,
    /// The faults that wait for the next write.
    pub(crate) after_next_write: Vec<Fault>,
    pub(crate) recorded: Recorded,
    /// A clock that always reads zero.
    pub(crate) origin: Clock,
    pub(crate) ledger: Ledger,
    pub(crate) gate: Gate,
    pub(crate) liveness: Liveness,
    pub(crate) verdict: Verdict,
    pub(crate) tally: Tally,
    pub(crate) trace: Trace,
}

impl World {
    pub(crate) fn new(seed: u64, only: Option<Rule>, trace: Trace) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(seed, &mut rng);
        let slots = plan.slots.len();
        let mut world = Self {
            now: 0,
            queue: BinaryHeap::new(),
            order: 0,
            spins: 0,
            rng,
            server: Server::default(),
            written: VecDeque::new(),
            processes: Vec::new(),
            running: vec![None; slots],
            mute_until: vec![0; slots],
            refused_until: vec![0; slots],
            quiet: false,
            after_next_write: Vec::new(),
            recorded: Recorded::default(),
            origin: Clock::manual(Timestamp::ZERO),
            ledger: Ledger::default(),
            gate: Gate::default(),
            liveness: Liveness::default(),
            verdict: Verdict::new(only),
            tally: Tally::default(),
            trace,
            plan,
        };
        world.schedule_start();
        world
    }

    fn schedule_start(&mut self) {
        self.trace.note(0, || format!("{:#?}", self.plan));
        if self.plan.starts_with_bucket {
            self.server.create(1);
        }
        for slot in 0..self.plan.slots.len() {
            let at = if self.rng.one_in(2) { 0 } else { self.rng.below(self.plan.longest_ttl()) };
            self.at(at, Event::Start(slot));
        }
        for (fault, mean) in self.plan.faults.clone() {
            let at = self.rng.wait(mean);
            self.at(at, Event::Inject(fault));
        }
        self.at(self.plan.quiet_from, Event::Quiet);
        if self.plan.has(Fault::Restore) {
            self.at(self.plan.longest_ttl(), Event::BackUp);
        }
    }

    pub(crate) fn at(&mut self, at: Instant, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Item { at: at.max(self.now), order: self.order, event }));
    }

    pub(crate) fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now.saturating_add(delay), event);
    }

    /// Runs to the end, or to the first broken rule.
    pub(crate) fn run(&mut self) {
        while let Some(Reverse(item)) = self.queue.pop() {
            if item.at > self.plan.end || self.verdict.violation.is_some() {
                break;
            }
            self.tally.events += 1;
            self.count_time(item.at);
            self.check_progress(item.at);
            self.now = item.at;
            self.handle(item.event);
            self.check_instant();
        }
        self.count_time(self.plan.end.max(self.now));
    }

    /// L1: a loop that spins without pause is a failure too.
    fn check_progress(&mut self, at: Instant) {
        if at / SECOND == self.now / SECOND {
            self.spins += 1;
        } else {
            self.spins = 0;
        }
        let spins = self.spins;
        self.verdict
            .demand(Rule::L1, spins < 50_000, || "50,000 events within one second".to_owned());
    }

    fn count_time(&mut self, until: Instant) {
        let alive = self.running.iter().flatten().count();
        self.tally.node_nanos += u128::from(until - self.now) * alive as u128;
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Start(slot) => self.start(slot),
            Event::Deliver(process, connection, packet) => {
                self.deliver(process, connection, *packet);
            }
            Event::Inside(process, packet) => self.receive(process, *packet),
            Event::Arrive(request) => self.arrive(request),
            Event::Confirm(request, half_read) => self.confirm(&request, half_read),
            Event::Wake(process, planned) => self.wake(process, planned),
            Event::EarlyTick(process) => self.early_tick(process),
            Event::Resume(process) => self.resume(process),
            Event::Connect(process) => self.connect(process),
            Event::Drained(process, epoch) => self.drained(process, epoch),
            Event::CheckToken(process) => self.check_token(process),
            Event::Act(effect) => self.act_on(&effect),
            Event::Inject(fault) => self.inject_repeatedly(fault),
            Event::InjectOnce(fault) => self.inject(fault),
            Event::Recover(process) => self.recover(process),
            Event::BackUp => self.back_up(),
            Event::Quiet => self.stop_faults(),
        }
    }

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        self.trace.note(self.now, text);
    }
}
