//! One process: the election, the loop that drives it, and its application.

use std::collections::VecDeque;
use std::time::Duration;

use leasehold::clock::{Clock, Timestamp};
use leasehold::election::{Election, Input, Settings, Step};
use leasehold::lease::SessionId;
use leasehold::store::Ticket;
use leasehold::timing::Timing;

use super::clock::{HostClock, Instant};
use super::model::{Fact, Model};

/// An input on its way to the loop, with the fact behind it.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) input: Input,
    pub(crate) fact: Fact,
}

impl Packet {
    pub(crate) fn new(input: Input) -> Self {
        Self { input, fact: Fact::Nothing }
    }
}

/// Where the loop is stalled.
#[derive(Debug)]
pub(crate) enum Stalled {
    No,
    /// The clock was read for this input, and the step was not taken yet.
    BeforeStep(Timestamp, Packet),
    /// The step was not carried out yet.
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
    pub(crate) app_clock: Clock,
    app_clock_reads: Timestamp,
    pub(crate) alive: bool,
    pub(crate) healthy: bool,
    pub(crate) stopping: bool,
    pub(crate) inbox: VecDeque<Packet>,
    /// The loop is stalled until then.
    pub(crate) busy_until: Option<Instant>,
    pub(crate) stalled: Stalled,
    pub(crate) wakes: Instant,
    /// When the election wants to be called again.
    pub(crate) wake_at: Timestamp,
    pub(crate) steps: u64,
    /// How much later than planned the next timer fires, after a suspend.
    pub(crate) suspended: u64,
    pub(crate) connection: u64,
    pub(crate) connected: bool,
    pub(crate) open: Vec<Open>,
    pub(crate) model: Model,
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
            model: Model::new(settings.timing.ttl()),
            election: Election::new(settings),
            app_clock: Clock::manual(Timestamp::ZERO),
            app_clock_reads: Timestamp::ZERO,
            alive: true,
            healthy: true,
            stopping: false,
            inbox: VecDeque::new(),
            busy_until: None,
            stalled: Stalled::No,
            wakes: Instant::MAX,
            wake_at: Timestamp::MAX,
            steps: 0,
            suspended: 0,
            connection: 0,
            connected: false,
            open: Vec::new(),
        }
    }

    /// The epoch and the deadline in its cell, read with a clock at zero: a later one would end a
    /// term whose deadline is past.
    pub(crate) fn cell(&self, origin: &Clock) -> Option<(u64, Timestamp)> {
        let (epoch, deadline) = self.election.in_force(origin)?;
        Some((epoch.as_u64(), deadline))
    }

    pub(crate) fn leads(&self, origin: &Clock, at: Instant) -> Option<u64> {
        let (epoch, deadline) = self.cell(origin)?;
        (self.clock.read(at) < deadline).then_some(epoch)
    }

    /// Checks the token as the application does.
    pub(crate) fn check_token(&mut self, at: Instant) -> Option<u64> {
        let now = self.clock.read(at);
        self.app_clock.advance(now.since(self.app_clock_reads));
        self.app_clock_reads = self.app_clock_reads.max(now);
        self.election.in_force(&self.app_clock).map(|(epoch, _)| epoch.as_u64())
    }

    /// The longest sleep of the loop.
    pub(crate) fn longest_sleep(&self) -> Duration {
        if self.election.held_epoch().is_some() {
            Duration::from_millis(500)
        } else {
            Duration::MAX
        }
    }
}
