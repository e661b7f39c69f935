//! The event queue, and everything that is in the world.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;

use leasehold::clock::{Clock, Timestamp};
use leasehold::lease::{Epoch, Lease, SessionId};
use leasehold::store::{Expect, Ticket};

use super::clock::{Instant, SECOND};
use super::commit::Ledger;
use super::dice::Dice;
use super::forger::Overheard;
use super::gate::Gate;
use super::liveness::Liveness;
use super::plan::{Fault, Plan};
use super::process::{Packet, Process};
use super::rules::{Rule, Verdict};
use super::server::{Record, Server};
use super::trace::Trace;

/// What a request asks for.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
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
    pub(crate) ask: Ask,
}

/// What was read under the key, until INFO confirms the bucket.
#[derive(Clone, Debug)]
pub(crate) struct Glimpse {
    pub(crate) incarnation: u64,
    pub(crate) record: Option<Rc<Record>>,
}

/// An effect of a leader's work, on its way to what it changes.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    pub(crate) process: usize,
    pub(crate) epoch: u64,
    pub(crate) session: SessionId,
}

#[derive(Debug)]
pub(crate) enum Event {
    Start(usize),
    /// Something arrives at a process over a connection.
    Deliver(usize, u64, Box<Packet>),
    /// Something happens inside a process.
    Inside(usize, Box<Packet>),
    Arrive(Box<Request>),
    Confirm(Box<Request>, Glimpse),
    Wake(usize, Instant),
    /// A look at the clock that nothing called for.
    Nudge(usize),
    Resume(usize),
    Connect(usize),
    Drained(usize, Epoch),
    Look(usize),
    Act(Effect),
    Strike(Fault),
    /// The same, but it does not come again by itself.
    StrikeOnce(Fault),
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

/// What a run came to.
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
    pub(crate) dice: Dice,
    pub(crate) plan: Plan,
    pub(crate) server: Server,
    /// The newest writes, and when they were stored.
    pub(crate) written: VecDeque<(Instant, Rc<Record>)>,
    pub(crate) processes: Vec<Process>,
    /// The process that runs in each slot, if one does.
    pub(crate) running: Vec<Option<usize>>,
    /// Nothing moves on that slot's link until then.
    pub(crate) mute_until: Vec<Instant>,
    /// That slot's connections are refused until then.
    pub(crate) refused_until: Vec<Instant>,
    pub(crate) quiet: bool,
    /// What strikes with the next write.
    pub(crate) ambush: Vec<Fault>,
    pub(crate) overheard: Overheard,
    /// Reads zero for ever.
    pub(crate) origin: Clock,
    pub(crate) ledger: Ledger,
    pub(crate) gate: Gate,
    pub(crate) liveness: Liveness,
    pub(crate) verdict: Verdict,
    pub(crate) tally: Tally,
    pub(crate) trace: Trace,
}

impl World {
    pub(crate) fn new(seed: u64, trace: Trace) -> Self {
        let mut dice = Dice::new(seed);
        let plan = Plan::draw(seed, &mut dice);
        let slots = plan.slots.len();
        let mut world = Self {
            now: 0,
            queue: BinaryHeap::new(),
            order: 0,
            spins: 0,
            dice,
            server: Server::default(),
            written: VecDeque::new(),
            processes: Vec::new(),
            running: vec![None; slots],
            mute_until: vec![0; slots],
            refused_until: vec![0; slots],
            quiet: false,
            ambush: Vec::new(),
            overheard: Overheard::default(),
            origin: Clock::manual(Timestamp::ZERO),
            ledger: Ledger::default(),
            gate: Gate::default(),
            liveness: Liveness::default(),
            verdict: Verdict::new(std::env::var("LEASEHOLD_RULE").ok()),
            tally: Tally::default(),
            trace,
            plan,
        };
        world.set_the_stage();
        world
    }

    fn set_the_stage(&mut self) {
        self.trace.note(0, || format!("{:#?}", self.plan));
        if self.plan.starts_with_bucket {
            self.server.create(1);
        }
        for slot in 0..self.plan.slots.len() {
            let at = if self.dice.one_in(2) { 0 } else { self.dice.below(self.plan.longest_ttl()) };
            self.at(at, Event::Start(slot));
        }
        for (fault, mean) in self.plan.faults.clone() {
            let at = self.dice.wait(mean);
            self.at(at, Event::Strike(fault));
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

    /// Runs to the end, or to the first broken promise.
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
            self.check_this_instant();
        }
        self.count_time(self.plan.end.max(self.now));
    }

    /// Time goes on: a loop that spins is a failure too.
    fn check_progress(&mut self, at: Instant) {
        if at / SECOND == self.now / SECOND {
            self.spins += 1;
        } else {
            self.spins = 0;
        }
        let spins = self.spins;
        self.verdict.demand(Rule::L1, spins < 50_000, || "time stands still".to_owned());
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
            Event::Inside(process, packet) => self.hear(process, *packet),
            Event::Arrive(request) => self.arrive(request),
            Event::Confirm(request, glimpse) => self.confirm(&request, glimpse),
            Event::Wake(process, planned) => self.wake(process, planned),
            Event::Nudge(process) => self.nudge(process),
            Event::Resume(process) => self.resume(process),
            Event::Connect(process) => self.connect(process),
            Event::Drained(process, epoch) => self.drained(process, epoch),
            Event::Look(process) => self.look(process),
            Event::Act(effect) => self.act_on(&effect),
            Event::Strike(fault) => self.strike_and_again(fault),
            Event::StrikeOnce(fault) => self.strike(fault),
            Event::Recover(process) => self.recover(process),
            Event::BackUp => self.back_up(),
            Event::Quiet => self.calm_down(),
        }
    }

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        self.trace.note(self.now, text);
    }
}
