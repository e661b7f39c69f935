//! Starts a node with more than its configuration.

use std::fmt;
use std::sync::Arc;

use super::Node;
use super::renewal_task::{RenewalTask, nats_store};
use crate::clock::Clock;
use crate::config::Config;
use crate::error::StartError;
use crate::event::Reason;
use crate::events::queue;
use crate::hooks::{self, Hooks};
use crate::renewal::Parts;
use crate::store::Store;
use crate::vip;

/// Starts a node with hooks, virtual IPs, another store or another clock; see [`Node::builder`].
///
/// ```
/// use leasehold::clock::Clock;
/// use leasehold::store::memory::MemoryServer;
/// use leasehold::{Config, Node};
///
/// let clock = Clock::shifted(); // a test moves it
/// let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// let node = Node::builder(config)
///     .store(MemoryServer::new().connect(clock.clone())) // and so the node has that clock
///     .start()?;
/// assert!(node.is_connected());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct NodeBuilder {
    config: Config,
    hooks: Option<Box<dyn Hooks>>,
    store: Option<Box<dyn Store>>,
    clock: Option<Clock>,
    vip: Option<vip::Worker>,
}

impl fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl NodeBuilder {
    pub(super) fn new(config: Config) -> Self {
        Self { config, hooks: None, store: None, clock: None, vip: None }
    }

    /// Callbacks on a thread of their own, in addition to [`Node::events`].
    #[must_use]
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.hooks = Some(Box::new(hooks));
        self
    }

    /// Another store. Default: NATS, with the servers of the configuration.
    #[must_use]
    pub fn store(mut self, store: impl Store + 'static) -> Self {
        self.store = Some(Box::new(store));
        self
    }

    /// Another clock, for tests with servers. Default: that of the [store](Store::clock), which is
    /// the boot-time clock of the machine unless you gave it another one.
    ///
    /// [`start`](Self::start) fails with [`StartError::ClockMismatch`] if a store of
    /// [`store`](Self::store) has another one.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Virtual IPs that follow the leader, in place of the configured one. Their interfaces have
    /// them while this node leads, and lose them before the lease is released and by the deadline
    /// of the term. [`Worker::events`](vip::Worker::events) says what happens to them.
    ///
    /// [`start`](Self::start) fails with [`StartError::Vip`] if the lease is too short for the
    /// kernel to remove the addresses in time, unless their policy is
    /// [permanent](crate::vip::Policy::permanent).
    #[must_use]
    pub fn vip(mut self, worker: vip::Worker) -> Self {
        self.vip = Some(worker);
        self
    }

    /// Starts the node; see [`Node::start`].
    ///
    /// # Errors
    /// [`StartError`]: no thread is left running.
    pub fn start(self) -> Result<Node, StartError> {
        let Self { config, hooks, store, clock, vip } = self;
        check_clocks(clock.as_ref(), store.as_deref())?;
        let vip = match vip {
            Some(worker) => Some(check_lease(&config, worker)?),
            None => vip::from_config(&config).map_err(|error| StartError::Vip(error.into()))?,
        };
        let store = match store {
            Some(store) => store,
            None => Box::new(nats_store(&config, clock.clone().unwrap_or_default())?),
        };
        let clock = clock.unwrap_or_else(|| store.clock());
        let mut sinks = Vec::new();
        let hooks = hooks.map(|hooks| {
            let (sink, events) = queue(config.event_capacity());
            sinks.push(sink);
            (hooks, events)
        });
        let config = Arc::new(config);
        let parts = Parts { config, store, clock, observer: false, sinks, vip };
        let renewal = RenewalTask::start(parts)?;
        let start_hooks = |(hooks, events)| {
            let handle = renewal.handle.clone();
            // Refused only when the term has ended already.
            let panicked = move || drop(handle.resign(Reason::HookPanicked));
            hooks::start(hooks, events, panicked).map_err(StartError::Thread)
        };
        let hooks = hooks.map(start_hooks).transpose()?;
        Ok(Node { renewal, _hooks: hooks })
    }
}

fn check_clocks(clock: Option<&Clock>, store: Option<&dyn Store>) -> Result<(), StartError> {
    match clock.zip(store) {
        Some((clock, store)) if !clock.runs_with(&store.clock()) => Err(StartError::ClockMismatch),
        _ => Ok(()),
    }
}

fn check_lease(config: &Config, worker: vip::Worker) -> Result<vip::Worker, StartError> {
    if !worker.is_permanent() {
        config.timing().check_virtual_ip().map_err(|error| StartError::Vip(error.into()))?;
    }
    Ok(worker)
}
