//! Reads and commands a node from anywhere.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use super::{LeaderInfo, Stats, Status, Stopped};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, ConfigError, InvalidId, check_meta, check_node_id};
use crate::election::Input;
use crate::error::{Refused, WaitError};
use crate::event::{Event, Reason, Role};
use crate::events::{Events, MissedCounter};
use crate::leadership::{Leadership, TermCell};
use crate::lease::{Epoch, SessionId};
use crate::renewal::{Commands, SharedState, Snapshot};
use crate::vip::{SharedStates, VipState};

/// How late the renewal thread may be before it counts as stuck: more than any scheduling.
const TOLERANCE: Duration = Duration::from_secs(2);

/// Reads the state of a [`Node`](crate::Node) and commands it, from any thread.
///
/// Cheap to clone. A handle keeps nothing running: after the node has stopped, it shows the last
/// state, and commands fail with [`Refused::Stopped`]. In a forked child it shows an empty state,
/// and commands fail with [`Refused::Forked`].
///
/// No method waits for the network. Methods that read return at once. Commands wait until the
/// renewal thread has carried them out, which takes one turn of its loop, and for at most 5 s when
/// that thread hangs.
///
/// An [`Observer`](crate::Observer) has a handle too. It never leads: it refuses to step down, to
/// transfer, to be promoted and to set a value. [`set_healthy`](Self::set_healthy) has no effect.
///
/// ```
/// # use std::time::Duration;
/// use leasehold::NodeHandle;
///
/// /// Status and body of a response to an HTTP request, on any thread.
/// fn leader(node: &NodeHandle) -> (u16, String) {
///     match node.leader() {
///         Some(leader) => (200, leader),
///         None => (503, "no leader is known".into()),
///     }
/// }
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = Node::builder(config).store(store).start()?;
/// # node.wait_for_leader(Duration::from_secs(5))?;
/// assert_eq!(leader(&node.handle()), (200, "node-1".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct NodeHandle {
    pub(super) config: Arc<Config>,
    pub(super) session: SessionId,
    pub(super) clock: Clock,
    pub(crate) cell: Arc<TermCell>,
    pub(super) commands: Commands,
    pub(super) shared: Arc<SharedState>,
    pub(super) missed: MissedCounter,
    pub(super) started: Timestamp,
    pub(super) vips: Arc<SharedStates>,
}

// A panic of a caller cannot leave a node half-changed: its state belongs to the renewal thread.
impl UnwindSafe for NodeHandle {}
impl RefUnwindSafe for NodeHandle {}

/// Whether the renewal thread does its work.
///
/// ```
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = Node::builder(config).store(store).start()?;
/// let thread = node.thread_health();
/// if thread.stuck {
///     eprintln!("the renewal thread did nothing for {:?}", thread.age);
/// }
/// let is_alive = !thread.stuck; // the answer to a liveness probe
/// # assert!(is_alive);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadHealth {
    /// The time since the thread last did something. At most 5 s on an idle follower, 0.5 s on a
    /// leader.
    pub age: Duration,
    /// The thread is at least 2 s late and has not ended: a logger or a store of the application
    /// hangs, or the machine is overloaded. A term that the node holds ends at its deadline.
    pub stuck: bool,
}

/// A command that another process may give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ControlCommand {
    StepDown,
    Transfer { to: String },
    Promote,
}

/// Why a transfer was not begun.
///
/// ```
/// # use std::time::Duration;
/// use leasehold::{Refused, TransferError};
///
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = Node::builder(config).store(store).start()?;
/// # node.wait_for_leadership(Duration::from_secs(5))?;
/// let error = node.transfer_to("node 2").unwrap_err();
/// assert!(matches!(error, TransferError::NodeId(_)));
/// let error = node.transfer_to("node-1").unwrap_err();
/// assert!(matches!(error, TransferError::Refused(Refused::TransferToSelf)));
/// assert!(node.is_leader()); // nothing was begun
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The given id is not a valid node id.
    #[error(transparent)]
    NodeId(#[from] InvalidId),
    /// The node refused.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Why an application value was not set.
///
/// ```
/// use leasehold::{Refused, SetMetaError};
///
/// # use leasehold::{Config, Observer, clock::Clock, store::memory::MemoryServer};
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # let config = Config::new("orders", "eye", ["nats://127.0.0.1:4222"])?;
/// # let observer = Observer::on(config, store)?;
/// let error = observer.set_meta(Some("x".repeat(5000).into())).unwrap_err();
/// assert!(matches!(error, SetMetaError::Value(_))); // too long for any node
/// let error = observer.set_meta(Some("10.0.0.1".into())).unwrap_err();
/// assert!(matches!(error, SetMetaError::Refused(Refused::Observer)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetMetaError {
    /// The value is longer than 4096 bytes of JSON.
    #[error(transparent)]
    Value(#[from] ConfigError),
    /// The node refused.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl NodeHandle {
    // Read.

    /// Whether the node leads now. Compares the clock with the deadline of the term: no lock, and
    /// right even while other threads or the network hang.
    #[inline]
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.cell.in_force(&self.clock).is_some()
    }

    /// [`Role::Leader`] while [`is_leader`](Self::is_leader).
    #[must_use]
    pub fn role(&self) -> Role {
        if self.is_leader() { Role::Leader } else { Role::Follower }
    }

    /// The token of the current term, if the node leads.
    #[must_use]
    pub fn leadership(&self) -> Option<Leadership> {
        let (before, _) = self.cell.in_force(&self.clock)?;
        let drain = self.shared.drain();
        let (epoch, _) = self.cell.in_force(&self.clock)?;
        // Each term has its own drain. If a term ended here, it is not known which of the two this
        // is.
        let epoch = Epoch::new(epoch).filter(|_| epoch == before)?;
        let (cell, clock) = (Arc::clone(&self.cell), self.clock.clone());
        Some(Leadership::new(cell, clock, epoch, self.session, drain))
    }

    /// The node id of the leader. `None` when the lease is free, or no renewal was seen for a TTL.
    #[must_use]
    pub fn leader(&self) -> Option<String> {
        self.shared.read(Snapshot::leader_id)
    }

    /// The leader with its epoch, its application value, and since when it is known, all of one
    /// moment. `None` as [`leader`](Self::leader).
    #[must_use]
    pub fn leader_info(&self) -> Option<LeaderInfo> {
        self.shared.read(LeaderInfo::of)
    }

    /// The application value in the newest record; see [`set_meta`](Self::set_meta).
    #[must_use]
    pub fn leader_meta(&self) -> Option<serde_json::Value> {
        self.shared.read(|snapshot| snapshot.leader_meta.clone())
    }

    /// The highest epoch seen; `None` before the first record.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.shared.read(|snapshot| snapshot.figures.highest_epoch)
    }

    /// Whether the node is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.read(|snapshot| snapshot.figures.connected)
    }

    /// The state of the node at one moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let role = self.role();
        self.shared.read(|snapshot| Status::new(self, role, snapshot))
    }

    /// Whether the virtual IPs are on their interfaces, when they were checked last. False without
    /// virtual IPs.
    #[must_use]
    pub fn holds_vip(&self) -> bool {
        self.vips.all_held()
    }

    /// Each virtual IP, when it was checked last. Empty without virtual IPs, and in a forked child.
    #[must_use]
    pub fn virtual_ips(&self) -> Vec<VipState> {
        if self.shared.is_inherited() {
            return Vec::new();
        }
        let mut states = self.vips.read();
        // As configured, with the netmask; on the interface each address has its full length.
        for vip in self.config.vips() {
            let ip = vip.address().to_string();
            let is_it = |state: &&mut VipState| state.address.split('/').next() == Some(&ip);
            states.iter_mut().find(is_it).into_iter().for_each(|s| s.address = vip.to_string());
        }
        states
    }

    /// Counters since the node was started.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.read(|snapshot| Stats::new(self, snapshot))
    }

    /// Whether the renewal thread does its work.
    #[must_use]
    pub fn thread_health(&self) -> ThreadHealth {
        let (heartbeat, now) = (&self.shared.heartbeat, self.clock.now());
        let stuck = now.since(heartbeat.due()) > TOLERANCE && !self.has_stopped();
        ThreadHealth { age: now.since(heartbeat.last().max(self.started)), stuck }
    }

    /// Whether the node has stopped.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.shared.read(|snapshot| snapshot.stopped.is_some())
    }

    /// The time since the node was started.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.clock.now().since(self.started)
    }

    /// The session: random bits that tell this start of the node from all others.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Another queue of the node's events, for another listener: a thread, a part of the program, a
    /// library.
    ///
    /// It begins with the present state, as events: connected, leading, the leader and its value,
    /// as far as each is so. They arrive a moment after the call, as the renewal thread sends them.
    /// Then it gets every event, as [`Node::events`](crate::Node::events) does. See [`Events`] for
    /// what a release waits for. When the node has stopped, and in a forked child, the queue is
    /// closed from the start. It holds as many events as the queue of the node. Never blocks.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use leasehold::{Config, Event, Node, clock::Clock, store::memory::MemoryServer};
    /// # let store = MemoryServer::new().connect(Clock::boot());
    /// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
    /// # let node = Node::builder(config).store(store).start()?;
    /// let events = node.subscribe();
    /// let listener = std::thread::spawn(move || {
    ///     let terms = |event| matches!(event, Event::BecameLeader(_));
    ///     events.iter().filter(|event| terms(event.clone())).count()
    /// });
    /// node.wait_for_leadership(Duration::from_secs(5))?;
    /// node.stop(); // ends the iteration
    /// assert_eq!(listener.join().unwrap(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn subscribe(&self) -> Events {
        self.commands.subscribe(self.config.event_capacity())
    }

    // Wait.

    /// Blocks until a leader is known, and returns its node id. `timeout` is real time, also with a
    /// [manual clock](Clock::manual).
    ///
    /// # Errors
    /// [`WaitError::TimedOut`] after `timeout`, [`WaitError::Stopped`] when the node has stopped,
    /// [`WaitError::Forked`] in a forked child.
    pub fn wait_for_leader(&self, timeout: Duration) -> Result<String, WaitError> {
        self.wait(timeout, Snapshot::leader_id)
    }

    /// Blocks until this node leads, and returns its token. `timeout` is real time.
    ///
    /// # Errors
    /// As [`wait_for_leader`](Self::wait_for_leader).
    pub fn wait_for_leadership(&self, timeout: Duration) -> Result<Leadership, WaitError> {
        self.wait(timeout, |_| self.leadership())
    }

    /// Blocks until the node has stopped, and says how.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`] after `timeout`, [`WaitError::Forked`] in a forked child.
    pub fn wait_until_stopped(&self, timeout: Duration) -> Result<Stopped, WaitError> {
        let stopped = |snapshot: &Snapshot| snapshot.stopped;
        self.wait_for(timeout, stopped)
    }

    fn wait<T>(
        &self,
        timeout: Duration,
        mut find: impl FnMut(&Snapshot) -> Option<T>,
    ) -> Result<T, WaitError> {
        let found = self.wait_for(timeout, |snapshot| match snapshot.stopped {
            Some(_) => Some(Err(WaitError::Stopped)),
            None => find(snapshot).map(Ok),
        });
        found?
    }

    fn wait_for<T>(
        &self,
        timeout: Duration,
        find: impl FnMut(&Snapshot) -> Option<T>,
    ) -> Result<T, WaitError> {
        if self.shared.is_inherited() {
            return Err(WaitError::Forked);
        }
        self.shared.wait(timeout, find).ok_or(WaitError::TimedOut)
    }

    // Command.

    /// Gives up the lead: [`is_leader`](Self::is_leader) is false when this returns. The lease is
    /// released when every [drain guard](crate::DrainGuard) was dropped. Then the node does not
    /// take part in the election for its cooldown (default: the TTL). A second call joins the
    /// first.
    ///
    /// # Errors
    /// [`Refused::NotLeader`] with the id of the leader. [`Refused::Stuck`] when the renewal thread
    /// has not answered within 5 s: it may still step down later. [`Refused::Stopped`].
    pub fn step_down(&self) -> Result<(), Refused> {
        self.resign(Reason::StepDown)
    }

    /// As [`step_down`](Self::step_down), in favour of `node_id`: other nodes do not challenge for
    /// the first second after the release, or half a TTL if that is shorter.
    ///
    /// # Errors
    /// [`TransferError::NodeId`] for an invalid id. [`TransferError::Refused`] as for
    /// [`step_down`](Self::step_down), and for the id of this node itself.
    pub fn transfer_to(&self, node_id: &str) -> Result<(), TransferError> {
        check_node_id(node_id)?;
        Ok(self.resign(Reason::Transfer { to: node_id.to_owned() })?)
    }

    /// Begins the stop of the node, in order. A leader steps down for good: the events
    /// [`Resigning`](crate::Event::Resigning) with the reason [`Stop`](Reason::Stop) and
    /// [`LostLeadership`](crate::Event::LostLeadership) come as after a
    /// [`step_down`](Self::step_down), and [`is_leader`](Self::is_leader) is false when this
    /// returns. The lease is released when every drain guard was dropped, or left to expire after
    /// the stop timeout (default 5 s). Then every queue of events is
    /// [closed](Events::is_closed). [`Node::stop`](crate::Node::stop) waits for all that; a
    /// program that has only a handle waits by [`wait_until_stopped`](Self::wait_until_stopped).
    ///
    /// # Errors
    /// [`Refused::Stopped`] when the node has stopped. [`Refused::Stuck`] when the renewal thread
    /// has not answered within 5 s: it stops later.
    pub fn begin_stop(&self) -> Result<(), Refused> {
        let until = self.clock.now() + self.config.stop_timeout();
        self.commands.call(Input::Stop { until })
    }

    /// Ends the cooldown: the node takes part in the election again. It does not depose a leader.
    /// Does nothing when this node leads.
    ///
    /// # Errors
    /// [`Refused`] while the node resigns, is unhealthy or is stuck, and after it has stopped.
    pub fn promote(&self) -> Result<(), Refused> {
        self.commands.call(Input::Promote)
    }

    /// Says whether the node is fit to lead. An unhealthy node does not challenge, and steps down
    /// if it leads: [`is_leader`](Self::is_leader) is false when this returns. A node starts
    /// healthy.
    pub fn set_healthy(&self, healthy: bool) {
        // Fails when the node has stopped or has no term to give up. When the thread hangs, the
        // command stays queued.
        let _ = self.commands.call(Input::SetHealthy(healthy));
    }

    /// Sets the application value in the records of this node. Other nodes read it with
    /// [`leader_meta`](Self::leader_meta). A leader renews at once to publish it; another node
    /// publishes it when it leads. `null` is no value.
    ///
    /// # Errors
    /// [`SetMetaError::Value`] when `meta` is longer than 4096 bytes of JSON.
    /// [`SetMetaError::Refused`] by an observer, which never writes a record; after the node has
    /// stopped; and with [`Refused::Stuck`] when the renewal thread has not answered within 5 s: it
    /// may still set the value later.
    pub fn set_meta(&self, meta: Option<serde_json::Value>) -> Result<(), SetMetaError> {
        // The record cannot tell `null` from no value.
        let meta = meta.filter(|meta| !meta.is_null());
        if let Some(meta) = &meta {
            check_meta(meta)?;
        }
        Ok(self.commands.call(Input::SetMeta(meta))?)
    }

    pub(super) fn resign(&self, reason: Reason) -> Result<(), Refused> {
        self.commands.call(Input::Resign(reason))
    }

    /// Sets what the status says of another node in another bucket.
    pub(crate) fn set_mismatch(&self, mismatch: Option<String>) {
        self.shared.set_mismatch(mismatch);
    }

    /// Queues an event for every queue, the hooks and the log. Never blocks.
    pub(crate) fn tell(&self, event: Event) {
        self.commands.tell(event);
    }

    /// Carries out `command`, and waits for the renewal thread for at most `timeout`.
    pub(crate) fn control(
        &self,
        command: ControlCommand,
        timeout: Duration,
    ) -> Result<(), Refused> {
        let input = match command {
            ControlCommand::StepDown => Input::Resign(Reason::StepDown),
            ControlCommand::Transfer { to } => Input::Resign(Reason::Transfer { to }),
            ControlCommand::Promote => Input::Promote,
        };
        self.commands.call_within(timeout, input)
    }
}
