//! One started node: the election, the loop around it, and its application.

use std::collections::VecDeque;
use std::time::Duration;

use leasehold::clock::{Clock, Timestamp};
use leasehold::election::{Election, Input, Settings, Step};
use leasehold::lease::SessionId;
use leasehold::store::Ticket;
use leasehold::timing::Timing;

use super::clock::{HostClock, Instant};
use super::shadow::{News, Shadow};

/// An input on its way into the loop.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) input: Input,
    pub(crate) news: News,
}

impl Packet {
    pub(crate) fn new(input: Input) -> Self {
        Self { input, news: News::Nothing }
    }
}

/// Where the loop stood still.
#[derive(Debug)]
pub(crate) enum Held {
    Nowhere,
    /// The clock was read for this input.
    BeforeStep(Timestamp, Packet),
    /// What the step said is not carried out yet.
    AfterStep(Box<Step>),
}

/// A request without a definite answer, and on which connection it was sent.
pub(crate) type Open = (Ticket, u64);

#[allow(clippy::struct_excessive_bools, reason = "each is a state of its own")]
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) slot: usize,
    pub(crate) name: String,
    pub(crate) session: SessionId,
    pub(crate) observer: bool,
    pub(crate) timing: Timing,
    pub(crate) clock: HostClock,
    pub(crate) election: Election,
    /// The clock as the application reads it.
    pub(crate) watch: Clock,
    watch_reads: Timestamp,
    pub(crate) alive: bool,
    pub(crate) healthy: bool,
    pub(crate) stopping: bool,
    pub(crate) inbox: VecDeque<Packet>,
    /// The loop stands still until then.
    pub(crate) busy_until: Option<Instant>,
    pub(crate) held: Held,
    pub(crate) wakes: Instant,
    /// When the election wants to be called again.
    pub(crate) wake_at: Timestamp,
    pub(crate) steps: u64,
    /// How much later than planned the next timer fires, after a suspend.
    pub(crate) suspended: u64,
    pub(crate) connection: u64,
    pub(crate) connected: bool,
    pub(crate) open: Vec<Open>,
    pub(crate) shadow: Shadow,
}

impl Process {
    pub(crate) fn new(slot: usize, settings: Settings, clock: HostClock) -> Self {
        Self {
            slot,
            name: settings.node_id.clone(),
            session: settings.session,
            observer: settings.observer,
            timing: settings.timing.clone(),
            clock,
            shadow: Shadow::new(settings.timing.ttl()),
            election: Election::new(settings),
            watch: Clock::manual(Timestamp::ZERO),
            watch_reads: Timestamp::ZERO,
            alive: true,
            healthy: true,
            stopping: false,
            inbox: VecDeque::new(),
            busy_until: None,
            held: Held::Nowhere,
            wakes: Instant::MAX,
            wake_at: Timestamp::MAX,
            steps: 0,
            suspended: 0,
            connection: 0,
            connected: false,
            open: Vec::new(),
        }
    }

    /// The epoch and the deadline in its cell, without looking at a clock: a look would end a term
    /// whose deadline is past.
    pub(crate) fn cell(&self, origin: &Clock) -> Option<(u64, Timestamp)> {
        self.election.cell().in_force(origin)
    }

    pub(crate) fn leads(&self, origin: &Clock, at: Instant) -> Option<u64> {
        let (epoch, deadline) = self.cell(origin)?;
        (self.clock.read(at) < deadline).then_some(epoch)
    }

    /// Looks at the token as the application does.
    pub(crate) fn look(&mut self, at: Instant) -> Option<u64> {
        let now = self.clock.read(at);
        self.watch.advance(now.since(self.watch_reads));
        self.watch_reads = self.watch_reads.max(now);
        self.election.cell().in_force(&self.watch).map(|(epoch, _)| epoch)
    }

    /// How long the loop sleeps at the most.
    pub(crate) fn longest_sleep(&self) -> Duration {
        if self.election.held_epoch().is_some() {
            Duration::from_millis(500)
        } else {
            Duration::MAX
        }
    }
}
