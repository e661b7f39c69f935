//! An observer: it follows an election without taking part.

use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Config;
use crate::error::StartError;
use crate::events::Events;
use crate::node::NodeHandle;
use crate::node::renewal_task::{RenewalTask, nats_store};
use crate::renewal::Parts;
use crate::store::Store;

/// Follows an election without ever writing: it creates no bucket and never leads.
///
/// It needs no permission to write. It learns of changes by notices, and reads the record once per
/// TTL or 30 s, whichever is longer.
///
/// It dereferences to a [`NodeHandle`] for what it sees: `observer.leader()`, `observer.status()`.
/// Its role is always [`Follower`](crate::Role::Follower). It refuses to step down, to transfer, to
/// be promoted and to [set a value](NodeHandle::set_meta). Dropping it stops it.
///
/// ```
/// use std::time::Duration;
/// use leasehold::clock::Clock;
/// use leasehold::{Config, Observer};
/// # use leasehold::{Node, store::memory::MemoryServer};
///
/// # let server = MemoryServer::new();
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = Node::builder(config).store(server.connect(Clock::boot())).start()?;
/// let config = Config::new("orders", "router-1", ["nats://127.0.0.1:4222"])?;
/// # let store = server.connect(Clock::boot());
/// # #[cfg(any())]
/// let observer = Observer::start(config)?;
/// # let observer = Observer::on(config, store)?;
/// let leader = observer.wait_for_leader(Duration::from_secs(5))?;
/// assert_eq!(leader, "node-1"); // send the requests there
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Observer(RenewalTask);

impl Observer {
    /// Starts an observer. Blocks as [`Node::start`](crate::Node::start) does.
    ///
    /// # Errors
    /// [`StartError`]: no thread is left running.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let store = nats_store(&config, Clock::boot())?;
        Self::on(config, store)
    }

    /// Starts an observer of another store. It works by the [clock](Store::clock) of the store.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn on(config: Config, store: impl Store + 'static) -> Result<Self, StartError> {
        let (config, clock, store) = (Arc::new(config), store.clock(), Box::new(store));
        let parts = Parts { config, store, clock, observer: true, sinks: Vec::new(), vip: None };
        RenewalTask::start(parts).map(Self)
    }

    /// A handle for other threads. It can be cloned and keeps nothing running.
    #[must_use]
    pub fn handle(&self) -> NodeHandle {
        self.0.handle.clone()
    }

    /// The events: leader and connection changes, and problems.
    #[must_use]
    pub fn events(&self) -> &Events {
        self.0.events()
    }

    /// Ends every thread. Blocks for at most the stop timeout (default 5 s), plus 2 s for a logger
    /// or a connection that hangs.
    pub fn stop(self) {
        drop(self);
    }
}

// As a node.
impl UnwindSafe for Observer {}
impl RefUnwindSafe for Observer {}

impl Deref for Observer {
    type Target = NodeHandle;

    fn deref(&self) -> &NodeHandle {
        &self.0.handle
    }
}
