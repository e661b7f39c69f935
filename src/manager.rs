//! A daemon from a configuration, and the commands of an operator.
//!
//! [`Manager::run`] is the daemon: a node, its virtual IP, health, and the control service, until
//! it is stopped. The other methods are for operators, in this process or another one:
//!
//! ```no_run
//! use std::time::Duration;
//! use leasehold::{Config, Manager};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let manager = Manager::new(Config::load("cluster.json")?);
//! let view = manager.query_all(Duration::from_secs(1), Duration::from_secs(10))?;
//! for node in &view.nodes {
//!     println!("{} {} after {:?}", node.status.node_id, node.status.role, node.round_trip);
//! }
//!
//! let (stop, stopped) = crossbeam_channel::bounded::<()>(1); // a signal handler keeps `stop`
//! manager.run(&stopped)?;
//! # drop(stop);
//! # Ok(())
//! # }
//! ```
//!
//! # Commands never act as a node
//! go-cluster's commands start a second node with the id of the daemon's node: its `status` can
//! take the lease, and its `demote` deletes the lease of another process. Here a command only reads
//! the lease's record, and sends requests to the daemon's [service](crate::service). So `promote`,
//! `demote`, `transfer` and `leave` need a running daemon, and fail when none answers.
//! [`leave`](Manager::leave) ends the daemon; go-cluster's only steps down. When the daemon runs in
//! the same [`Manager`], commands reach it without a request.
//!
//! A command makes at most one connection, and its timeout is the deadline of the whole command.
//!
//! # Two daemons of one node
//! A daemon first sends a request to its own node id, and does not start when another daemon
//! answers. Two daemons may start at the same moment, or the first may hang during the request.
//! Then the lease decides: at most one of them leads, and each gets
//! [`Event::DuplicateNodeId`](crate::Event::DuplicateNodeId).

mod client;
mod command;
mod daemon;
mod error;
mod hooks;
mod operation;
mod survey;
mod view;
mod watch;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use crate::config::{Config, VipConfig};
use crate::health::{Custom, CustomError};
use crate::node::NodeHandle;
use crate::vip;

pub use crate::service::NodeStatus;
pub use error::ManagerError;
pub use hooks::DaemonHooks;
pub use survey::ReplicaAdvice;
pub use view::{ClusterView, NodeView};
pub use watch::{ClusterWatch, WatchEvent};

use daemon::CurrentDaemon;
use hooks::SharedHooks;

/// Runs the daemon of a node, and carries out operator commands; see the [module](self).
///
/// Threads may share it: [`run`](Self::run) on one, commands on others. A command may exceed its
/// timeout by a moment of scheduling, and by a second to close a silent connection.
///
/// ```no_run
/// use std::thread;
/// use std::time::Duration;
/// use leasehold::{Config, Manager};
///
/// let manager = Manager::new(Config::load("cluster.json")?);
/// let (stop, stopped) = crossbeam_channel::bounded::<()>(1);
/// let stopped = thread::scope(|scope| {
///     let daemon = scope.spawn(|| manager.run(&stopped));
///     println!("{:?}", manager.status(Duration::from_secs(5)));
///     drop(stop); // ends the daemon
///     daemon.join().expect("no panic")
/// })?;
/// println!("released: {}", !stopped.left_to_expire);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Manager {
    config: Config,
    health: bool,
    service: bool,
    control: bool,
    hooks: Option<SharedHooks>,
    vip: Option<Box<daemon::MakeWorker>>,
    custom: Custom,
    daemon: Arc<CurrentDaemon>,
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Manager {
    /// A manager without hooks, whose daemon has all other parts.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::builder(config).build()
    }

    /// A builder, for a daemon with hooks or without some parts.
    pub fn builder(config: Config) -> ManagerBuilder {
        ManagerBuilder(Manager {
            config,
            health: true,
            service: true,
            control: true,
            hooks: None,
            vip: None,
            custom: Custom::default(),
            daemon: Arc::default(),
        })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Writes the configuration's file, and replaces an existing one. Creates missing folders.
    /// Makes no connection.
    ///
    /// # Errors
    /// [`ManagerError::Config`]: an existing file is unchanged.
    pub fn init(&self, file: impl AsRef<Path>) -> Result<(), ManagerError> {
        Ok(self.config.save(file)?)
    }

    /// Whether the daemon of this manager runs, from the call of [`run`](Self::run) to its return.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.daemon.is_running()
    }

    /// The node of this manager's daemon, once it has started.
    #[must_use]
    pub fn node(&self) -> Option<NodeHandle> {
        self.daemon.node()
    }

    /// Tells this manager's daemon, if it runs, to stop: [`run`](Self::run) returns soon. Never
    /// blocks.
    pub fn stop(&self) {
        self.daemon.stop();
    }

    /// Adds a value to the health responses of the daemon, in this run and later ones.
    ///
    /// # Errors
    /// [`CustomError`]: nothing has changed.
    pub fn set_custom(&self, key: &str, value: impl Serialize) -> Result<(), CustomError> {
        self.custom.set(key, value)
    }
}

/// Builder of a [`Manager`], which chooses the parts of its daemon.
///
/// ```
/// use leasehold::{Config, Manager};
///
/// let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// let manager = Manager::builder(config)
///     .control(false) // other processes may look, and change nothing
///     .build();
/// assert!(!manager.is_running());
/// # Ok::<(), leasehold::config::ConfigError>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct ManagerBuilder(Manager);

impl ManagerBuilder {
    /// Hooks for the events of the daemon and its node.
    pub fn hooks(mut self, hooks: impl DaemonHooks) -> Self {
        self.0.hooks = Some(Arc::new(Mutex::new(Box::new(hooks))));
        self
    }

    /// Whether the daemon takes commands over NATS. Default true. Without it, `promote`, `demote`,
    /// `transfer` and `leave` of other processes are refused.
    pub fn control(mut self, on: bool) -> Self {
        self.0.control = on;
        self
    }

    /// Whether the daemon has the [service](crate::service). Default true.
    pub fn service(mut self, on: bool) -> Self {
        self.0.service = on;
        self
    }

    /// Whether the daemon answers [health](crate::health) requests. Default true.
    pub fn health(mut self, on: bool) -> Self {
        self.0.health = on;
        self
    }

    /// Makes the worker of the configured virtual IPs, each time the daemon starts: with another
    /// policy, or with `vip::Memory` in tests. Default:
    /// [`vip::from_config`].
    pub fn vip_with(
        mut self,
        make: impl Fn(&[VipConfig]) -> Result<vip::Worker, vip::VipError> + Send + Sync + 'static,
    ) -> Self {
        self.0.vip = Some(Box::new(make));
        self
    }

    /// Builds the manager. Starts nothing, and makes no connection.
    #[must_use]
    pub fn build(self) -> Manager {
        self.0
    }
}

/// The timeout of one step of several: the shorter of two durations, and not zero.
fn step(longest: Duration, left: Duration) -> Duration {
    longest.min(left).max(Duration::from_millis(1))
}
