//! A daemon from a configuration, and the commands that go with it.
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
//! # Commands never impersonate a node
//! go-cluster's commands start a node of the configured id beside the daemon's: its `status` can
//! take the lease, and its `demote` deletes another process's. Here a command reads, as an observer
//! that never writes, and *asks* the daemon, over the [service](crate::service). So `promote`,
//! `demote`, `transfer` and `leave` need a daemon that runs, and fail when none answers.
//! [`leave`](Manager::leave) ends the daemon; go-cluster's only steps down. When the daemon
//! runs in the same [`Manager`], they command it directly.
//!
//! # Two daemons of one node
//! A daemon first asks whether another daemon answers for its node id, and does not start if one
//! does. If two start at the same moment, or one hung when it was asked, the record decides: at
//! most one leads, and each one reports the other
//! ([`Event::DuplicateNodeId`](crate::Event::DuplicateNodeId)).
//!
//! # The virtual IP
//! Its netmask is that of the file. Without one it is 24 (IPv6: 128), as in go-cluster. A netmask
//! shorter than the address brings a route with it, and ties other addresses of that network to it;
//! see [`VirtualAddress::with_prefix`](crate::vip::VirtualAddress::with_prefix). `"netmask": 32`
//! (IPv6: 128) is right for nearly every virtual IP, and the safe choice.

mod client;
mod command;
mod daemon;
mod error;
mod hooks;
mod operation;
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
pub use view::{ClusterView, NodeView};
pub use watch::{ClusterWatch, WatchEvent};

use daemon::CurrentDaemon;
use hooks::SharedHooks;

/// A cluster's node as its operator sees it; see the [module](self).
///
/// It may be shared by threads: [`run`](Self::run) on one, commands on others. Timeouts bound a
/// command as a whole, give or take a moment of scheduling, and a second for a connection that has
/// gone silent.
pub struct Manager {
    config: Config,
    options: Options,
    custom: Custom,
    daemon: Arc<CurrentDaemon>,
}

/// What a daemon consists of.
struct Options {
    health: bool,
    service: bool,
    control: bool,
    hooks: Option<SharedHooks>,
    vip: Option<Box<daemon::MakeWorker>>,
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Manager {
    /// A manager without hooks, with everything a daemon can have.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::builder(config).build()
    }

    /// A manager with hooks, or without some parts.
    pub fn builder(config: Config) -> ManagerBuilder {
        let options =
            Options { health: true, service: true, control: true, hooks: None, vip: None };
        ManagerBuilder { config, options }
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

    /// Whether [`run`](Self::run) is under way in this manager.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.daemon.is_running()
    }

    /// The node of the daemon that runs in this manager, once it has started.
    #[must_use]
    pub fn node(&self) -> Option<NodeHandle> {
        self.daemon.node()
    }

    /// Ends the daemon of this manager, if one runs: [`run`](Self::run) returns soon. Never blocks.
    pub fn stop(&self) {
        self.daemon.stop();
    }

    /// Adds a value to the health answers of the daemon, of this run and of later ones.
    ///
    /// # Errors
    /// [`CustomError`]: nothing has changed.
    pub fn set_custom(&self, key: &str, value: impl Serialize) -> Result<(), CustomError> {
        self.custom.set(key, value)
    }
}

/// To choose what a daemon consists of.
#[must_use = "a builder does nothing until it is built"]
pub struct ManagerBuilder {
    config: Config,
    options: Options,
}

impl fmt::Debug for ManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl ManagerBuilder {
    /// Calls for what happens to the daemon and its node.
    pub fn hooks(mut self, hooks: impl DaemonHooks) -> Self {
        self.options.hooks = Some(Arc::new(Mutex::new(Box::new(hooks))));
        self
    }

    /// Whether the daemon can be commanded over NATS. Default true; off, `promote`, `demote`,
    /// `transfer` and `leave` of other processes are refused.
    pub fn control(mut self, on: bool) -> Self {
        self.options.control = on;
        self
    }

    /// Whether the daemon is a micro service at all. Default true.
    pub fn service(mut self, on: bool) -> Self {
        self.options.service = on;
        self
    }

    /// Whether the daemon answers health questions. Default true.
    pub fn health(mut self, on: bool) -> Self {
        self.options.health = on;
        self
    }

    /// Makes the worker of the virtual IP, each time a daemon starts that has one configured: with
    /// another policy, or over `vip::Memory` in tests. Default:
    /// [`vip::from_config`].
    pub fn vip_with(
        mut self,
        make: impl Fn(&VipConfig) -> Result<vip::Worker, vip::VipError> + Send + Sync + 'static,
    ) -> Self {
        self.options.vip = Some(Box::new(make));
        self
    }

    /// The manager. Nothing is started or connected to.
    #[must_use]
    pub fn build(self) -> Manager {
        let Self { config, options } = self;
        Manager { config, options, custom: Custom::default(), daemon: Arc::default() }
    }
}

/// The shorter of two durations, and not zero: a bound for one step of several.
fn step(longest: Duration, left: Duration) -> Duration {
    longest.min(left).max(Duration::from_millis(1))
}
