//! A node: one candidate for the lead, with the handles to it.

mod handle;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::error::{Refused, StartError, WaitError};
use crate::event::{Reason, Role};
use crate::events::{Events, queue};
use crate::hooks::{self, Hooks};
use crate::leadership::Leadership;
use crate::lease::{Epoch, SessionId};
use crate::renewal::View;
use crate::running::{Core, Running, Start, nats_store};
use crate::store::Store;
use crate::task::Task;
use crate::vip;

pub use crate::running::TransferError;
pub(crate) use handle::ControlCommand;
pub use handle::{NodeHandle, Pulse};

/// A member of a cluster, of which one at a time leads.
///
/// A started node does its work on its own threads. Every method may be called from any thread;
/// none waits for the network except where it says so. Dropping a node stops it as
/// [`stop`](Self::stop) does.
#[derive(Debug)]
pub struct Node {
    running: Running,
    /// Dropped, and so waited for, after the renewal thread has ended.
    _hooks: Option<Task>,
}

impl Node {
    /// Starts a node, and returns once the bucket was read or found missing.
    ///
    /// Blocks for at most the connect timeout (default 5 s), or not at all when the configuration
    /// says to start disconnected. A configured virtual IP follows the leader; it needs what
    /// [`vip`](crate::vip) says.
    ///
    /// # Errors
    /// [`StartError`]: nothing is left running.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::builder(config).start()
    }

    /// To start a node with hooks, on another store, or with another clock.
    #[must_use]
    pub fn builder(config: Config) -> NodeBuilder {
        NodeBuilder { config, hooks: None, store: None, clock: Clock::boot(), vip: None }
    }

    /// Whether this node leads now: a comparison of the clock with the term's deadline, wait-free,
    /// true whatever hangs elsewhere.
    #[inline]
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.running.cell.in_force(&self.running.clock).is_some()
    }

    /// [`Role::Leader`] while [`is_leader`](Self::is_leader).
    #[must_use]
    pub fn role(&self) -> Role {
        self.running.role()
    }

    /// The token of the present term, if this node leads.
    #[must_use]
    pub fn leadership(&self) -> Option<Leadership> {
        self.running.leadership()
    }

    /// The holder's node id; `None` when there is none, or none was heard of for a TTL.
    #[must_use]
    pub fn leader(&self) -> Option<String> {
        self.running.board.read(|view| view.leader.as_ref().map(|(leader, _)| leader.clone()))
    }

    /// The application value of the newest record; see [`set_meta`](Self::set_meta).
    #[must_use]
    pub fn leader_meta(&self) -> Option<serde_json::Value> {
        self.running.board.read(|view| view.leader_meta.clone())
    }

    /// The highest epoch seen; `None` before anything is known.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.running.board.read(|view| view.highest_epoch)
    }

    /// Whether there is a connection.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.running.board.read(|view| view.connected)
    }

    /// A handle that can be cloned and handed around, and keeps nothing running.
    #[must_use]
    pub fn handle(&self) -> NodeHandle {
        NodeHandle::new(self.running.core.clone())
    }

    /// This start's session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.running.session
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.running.config
    }

    /// What happens to this node. Whoever calls this is waited for: a resigned lease is released
    /// when the [`drain`](crate::Event::Resigning) of its event was dropped.
    #[must_use]
    pub fn events(&self) -> &Events {
        self.running.events.attach();
        &self.running.events
    }

    /// What happens to this node, for somebody who may keep it beyond the node's end; no promise
    /// yet.
    #[cfg(all(feature = "capi", unix))]
    pub(crate) fn queue(&self) -> Events {
        self.running.events.clone()
    }

    /// Everything at one moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let (role, running) = (self.role(), &self.running);
        running.board.read(|view| Status::of(running, role, view))
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let running = &self.running;
        running.board.read(|view| Stats::of(running, view))
    }

    /// Waits until a leader is known, and names it.
    ///
    /// # Errors
    /// [`WaitError`] when none is within `timeout`, or the node has stopped.
    pub fn wait_for_leader(&self, timeout: Duration) -> Result<String, WaitError> {
        self.running.wait(timeout, |view| view.leader.as_ref().map(|(leader, _)| leader.clone()))
    }

    /// Waits until this node leads.
    ///
    /// # Errors
    /// [`WaitError`] when it does not within `timeout`, or has stopped.
    pub fn wait_for_leadership(&self, timeout: Duration) -> Result<Leadership, WaitError> {
        self.running.wait(timeout, |_| self.leadership())
    }

    /// Gives the lead back: `is_leader()` is false when this returns, the lease is released once
    /// every drain guard is dropped, and the node stays back for its cooldown (default: the TTL).
    ///
    /// Waits for the next turn of the renewal thread only, and at most 5 s where that hangs. A
    /// second call joins the first.
    ///
    /// # Errors
    /// [`Refused::NotLeader`] with the leader's name, [`Refused::Stopped`], or [`Refused::Stuck`]:
    /// it has not begun to, and may yet.
    pub fn step_down(&self) -> Result<(), Refused> {
        self.running.orders.ask_resign(Reason::StepDown)
    }

    /// As [`step_down`](Self::step_down), for `node_id` to take over; others leave it the first
    /// second (or half a TTL, if that is less).
    ///
    /// # Errors
    /// [`TransferError::NodeId`] when it is no node id; [`TransferError::Refused`] as above, or
    /// when it is this node's own.
    pub fn transfer_to(&self, node_id: &str) -> Result<(), TransferError> {
        self.running.transfer_to(node_id)
    }

    /// Ends the cooldown: the node takes part in the election again. It takes nothing from a leader
    /// that lives. Does nothing on a leader.
    ///
    /// # Errors
    /// [`Refused`] while it resigns, when it is unhealthy, stuck, or has stopped.
    pub fn promote(&self) -> Result<(), Refused> {
        self.running.orders.ask(crate::election::Input::Promote)
    }

    /// Says whether this node is fit to lead. An unfit one does not challenge, and steps down if it
    /// leads: `is_leader()` is false when this returns. Healthy at the start.
    ///
    /// Waits for the next turn of the renewal thread only, and at most 5 s where that hangs.
    pub fn set_healthy(&self, healthy: bool) {
        self.running.set_healthy(healthy);
    }

    /// The value that this node's records carry from the next renewal on, which is brought forward
    /// to now when it leads. Waits for the next turn of the renewal thread only.
    ///
    /// # Errors
    /// [`ConfigError`] when it is longer than 4096 bytes of JSON.
    pub fn set_meta(&self, meta: Option<serde_json::Value>) -> Result<(), ConfigError> {
        self.running.set_meta(meta)
    }

    /// Gives back what is held and ends every thread, within the stop timeout (default 5 s), and
    /// after it at most 1 s more for a hook that does not return, and 2 s for a logger or a
    /// connection that hangs.
    ///
    /// The caller's own work for the term must have stopped, or stop as it finds its token invalid:
    /// the drain guards in this node's own queue are dropped. Guards taken before, those of hooks,
    /// and those in the queue of whoever holds a clone of [`Events`] are waited for; when they are
    /// not dropped in time, the lease is left to lapse. So it is when there is no connection.
    ///
    /// Events that nobody took go with the node; whoever wants them, the end of the term among
    /// them, makes a clone of [`Events`] before and takes them from it afterwards.
    #[allow(clippy::must_use_candidate, reason = "stopping is what one calls it for")]
    pub fn stop(self) -> Stopped {
        let bound = self.running.config.stop_timeout();
        self.stop_within(bound)
    }

    /// As [`stop`](Self::stop), with a bound of one's own.
    #[allow(clippy::must_use_candidate, reason = "stopping is what one calls it for")]
    pub fn stop_within(mut self, bound: Duration) -> Stopped {
        Stopped { left_to_lapse: !self.running.stop(bound) }
    }
}

/// How a node stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// The lease could not be released: it stands until its TTL has passed.
    pub left_to_lapse: bool,
}

/// To start a node otherwise than from its configuration alone.
pub struct NodeBuilder {
    config: Config,
    hooks: Option<Box<dyn Hooks>>,
    store: Option<Box<dyn Store>>,
    clock: Clock,
    vip: Option<vip::Worker>,
}

impl std::fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl NodeBuilder {
    /// Calls on a thread of their own, beside the event channel.
    #[must_use]
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.hooks = Some(Box::new(hooks));
        self
    }

    /// Another store than NATS: the one in memory, or one of your own.
    #[must_use]
    pub fn store(mut self, store: impl Store + 'static) -> Self {
        self.store = Some(Box::new(store));
        self
    }

    /// Another clock than the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Virtual IPs that follow the leader, in place of the configured one. They are on their
    /// interfaces while this node leads, gone from them before the lease is released, and at the
    /// deadline at the latest. [`Worker::events`](vip::Worker::events) says what happens to them.
    ///
    /// Starting fails with [`StartError::Vip`] when the lease is too short for the kernel to remove
    /// the addresses in time, unless their policy is
    /// [permanent](crate::vip::Policy::permanent).
    #[must_use]
    pub fn vip(mut self, worker: vip::Worker) -> Self {
        self.vip = Some(worker);
        self
    }

    /// See [`Node::start`].
    ///
    /// # Errors
    /// See [`Node::start`].
    pub fn start(self) -> Result<Node, StartError> {
        let Self { config, hooks, store, clock, vip } = self;
        let vip = match vip {
            Some(worker) => Some(check_lease(&config, worker)?),
            None => vip::from_config(&config).map_err(|error| StartError::Vip(error.into()))?,
        };
        let store = store.unwrap_or_else(|| Box::new(nats_store(&config, clock.clone())));
        let mut sinks = Vec::new();
        let hooks = hooks.map(|hooks| {
            let (sink, events) = queue(config.event_capacity());
            sinks.push(sink);
            (hooks, events)
        });
        let config = Arc::new(config);
        let start = Start { config, store, clock, observer: false, sinks, vip };
        let running = Running::start(start)?;
        let start_hooks = |(hooks, events)| {
            let orders = running.orders.clone();
            let give_back = move || {
                // Refused only when the term has ended already.
                let _ = orders.ask_resign(hooks::AFTER_PANIC);
            };
            hooks::start(hooks, events, give_back).map_err(StartError::Thread)
        };
        let hooks = hooks.map(start_hooks).transpose()?;
        Ok(Node { running, _hooks: hooks })
    }
}

fn check_lease(config: &Config, worker: vip::Worker) -> Result<vip::Worker, StartError> {
    if !worker.is_permanent() {
        config.timing().check_virtual_ip().map_err(|error| StartError::Vip(error.into()))?;
    }
    Ok(worker)
}

/// A node at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The cluster.
    pub cluster_id: String,
    /// The node.
    pub node_id: String,
    /// Whether it leads.
    pub role: Role,
    /// Whether it is giving a term back.
    pub resigning: bool,
    /// Who leads, as far as is known.
    pub leader: Option<String>,
    /// The highest epoch seen.
    pub epoch: Option<Epoch>,
    /// The newest revision known; 0 before the first.
    pub revision: u64,
    /// Whether there is a connection.
    pub connected: bool,
}

impl Status {
    pub(crate) fn of(running: &Core, role: Role, view: &View) -> Self {
        Self {
            cluster_id: running.config.cluster_id().to_owned(),
            node_id: running.config.node_id().to_owned(),
            role,
            resigning: view.resigning,
            leader: view.leader.as_ref().map(|(leader, _)| leader.clone()),
            epoch: view.highest_epoch,
            revision: view.revision,
            connected: view.connected,
        }
    }
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Terms led.
    pub terms: u64,
    /// Renewals that moved the deadline.
    pub renewals: u64,
    /// Requests the server refused.
    pub failures: u64,
    /// Requests whose outcome was not known at first.
    pub unknown_outcomes: u64,
    /// Writes that came second.
    pub lost_races: u64,
    /// Connections made after the first.
    pub reconnects: u64,
    /// Connections given up because nothing was answered.
    pub abandoned_connections: u64,
    /// Events dropped because nobody took them; 0 while nobody has asked for any. What hooks missed
    /// is told to them.
    pub events_missed: u64,
    /// From sending the newest request to its answer.
    pub last_round_trip: Duration,
    /// How long a held lease lasts without another renewal; zero when none is held.
    pub remaining: Duration,
}

impl Stats {
    pub(crate) fn of(running: &Core, view: &View) -> Self {
        let counters = &view.counters;
        let held_until = view.held_until.unwrap_or_default();
        Self {
            terms: counters.terms,
            renewals: counters.renewals,
            failures: counters.failures,
            unknown_outcomes: counters.unknown_outcomes,
            lost_races: counters.lost_races,
            reconnects: counters.connections.saturating_sub(1),
            abandoned_connections: counters.abandoned_connections,
            events_missed: running.missed.count(),
            last_round_trip: counters.last_round_trip,
            remaining: held_until.since(running.clock.now()),
        }
    }
}
