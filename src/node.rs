//! A node: a member of a cluster that takes part in the election.

mod builder;
mod handle;
pub(crate) mod renewal_task;
mod status;

use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};
#[cfg(all(feature = "capi", unix))]
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::error::StartError;
use crate::events::Events;
use crate::task::Task;
use renewal_task::RenewalTask;

pub use crate::renewal::Stopped;
pub use builder::NodeBuilder;
pub(crate) use handle::ControlCommand;
pub use handle::{NodeHandle, SetMetaError, ThreadHealth, TransferError};
pub use status::{LeaderInfo, Stats, Status};

/// A member of a cluster. At most one member leads at a time.
///
/// A node works on its own threads. What it can tell and do is in its [`NodeHandle`], to which it
/// dereferences: `node.is_leader()`, `node.step_down()`. The node itself is the owner. Dropping it
/// stops it, as [`stop`](Self::stop) does.
///
/// ```
/// # use std::time::Duration;
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryServer::new().connect(Clock::boot());
/// let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = Node::builder(config).store(store).start()?;
/// # #[cfg(any())]
/// let node = Node::start(config)?;
/// node.wait_for_leadership(Duration::from_secs(5))?;
/// let handle = node.handle(); // for other threads
/// std::thread::spawn(move || handle.step_down()).join().expect("no panic")?;
/// assert!(!node.is_leader());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Node {
    renewal: RenewalTask,
    /// Dropped after the renewal thread has ended, so that the hooks get the last events.
    _hooks: Option<Task>,
}

impl Node {
    /// Starts a node. Returns when the bucket was read or found missing.
    ///
    /// Blocks for at most the connect timeout (default 5 s), or not at all if the configuration
    /// says to start disconnected. A configured virtual IP follows the leader; see
    /// [`vip`](crate::vip) for what that needs.
    ///
    /// # Errors
    /// [`StartError`]: no thread is left running.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::builder(config).start()
    }

    /// Builds a node with hooks, virtual IPs, another store or another clock.
    #[must_use]
    pub fn builder(config: Config) -> NodeBuilder {
        NodeBuilder::new(config)
    }

    /// A handle for other threads. It can be cloned and keeps nothing running.
    #[must_use]
    pub fn handle(&self) -> NodeHandle {
        self.renewal.handle.clone()
    }

    /// The node's own queue of events. Once events were asked for, the release of a lease waits for
    /// the drain guard in its [`Event::Resigning`](crate::Event::Resigning): take the events until
    /// the node stops. Another thread that wants them too [subscribes](NodeHandle::subscribe).
    #[must_use]
    pub fn events(&self) -> &Events {
        self.renewal.events()
    }

    /// The node's own queue, which then outlives the node.
    #[cfg(all(feature = "capi", unix))]
    pub(crate) fn shared_events(&self) -> Arc<Events> {
        Arc::clone(&self.renewal.events)
    }

    /// Releases the lease, if this node holds it, and ends every thread. It
    /// [begins the stop](NodeHandle::begin_stop) and waits for its end.
    ///
    /// Blocks for at most the stop timeout (default 5 s), plus 1 s for a hook and 2 s for a logger
    /// or a connection that hangs.
    ///
    /// The release waits for the work of the term:
    /// * work that is [held](crate::Leadership::hold), and drain guards that were taken;
    /// * hooks, until `on_lose_leadership` has returned;
    /// * queues of [subscribers](NodeHandle::subscribe) that take events, until they have dropped
    ///   their drain guards.
    ///
    /// It does not wait for the node's own queue, because nobody can take from that during this
    /// call: its events are dropped. A main loop that has work to finish calls
    /// [`begin_stop`](NodeHandle::begin_stop) first, and takes events until the queue is
    /// [closed](Events::is_closed).
    ///
    /// If a guard is not dropped in time, or there is no connection, the lease is left to expire.
    #[allow(clippy::must_use_candidate, reason = "it is called to stop the node")]
    pub fn stop(self) -> Stopped {
        let timeout = self.config().stop_timeout();
        self.stop_within(timeout)
    }

    /// As [`stop`](Self::stop), with `timeout` instead of the configured stop timeout. A stop that
    /// was [begun](NodeHandle::begin_stop) before keeps its own end, if that is earlier.
    #[allow(clippy::must_use_candidate, reason = "it is called to stop the node")]
    pub fn stop_within(mut self, timeout: Duration) -> Stopped {
        self.renewal.stop(timeout)
    }
}

// As a handle; its threads are joined or left behind, never read.
impl UnwindSafe for Node {}
impl RefUnwindSafe for Node {}

impl Deref for Node {
    type Target = NodeHandle;

    fn deref(&self) -> &NodeHandle {
        &self.renewal.handle
    }
}
