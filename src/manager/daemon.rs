//! The daemon: starts its parts in order, and stops them in the opposite order.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use parking_lot::Mutex;

use super::client::ClusterClient;
use super::hooks::{DaemonHooks, NodeHooks, call};
use super::{Manager, ManagerError, step};
use crate::clock::Clock;
use crate::config::VipConfig;
use crate::error::StartError;
use crate::health::HealthHandler;
use crate::node::{Node, NodeHandle, Stopped};
use crate::request_server::{Handler, RequestServer};
use crate::service::{self, ServiceHandler};
use crate::vip;

/// How long another daemon of the same node has to answer. Without one the server says so at once.
const OTHER_DAEMON_TIMEOUT: Duration = Duration::from_secs(3);

/// Makes the worker that holds the virtual IPs.
pub(super) type MakeWorker =
    dyn Fn(&[VipConfig]) -> Result<vip::Worker, vip::VipError> + Send + Sync;

/// The one daemon that a manager may run.
#[derive(Debug)]
pub(super) struct CurrentDaemon {
    phase: Mutex<Phase>,
    stop: Sender<()>,
    stopped: Receiver<()>,
}

#[derive(Debug)]
enum Phase {
    Idle,
    /// Until the node has started.
    Starting,
    Running(NodeHandle),
}

impl Default for CurrentDaemon {
    fn default() -> Self {
        let (stop, stopped) = bounded(1);
        Self { phase: Mutex::new(Phase::Idle), stop, stopped }
    }
}

impl CurrentDaemon {
    pub(super) fn is_running(&self) -> bool {
        !matches!(*self.phase.lock(), Phase::Idle)
    }

    /// The node of the daemon, once it has started.
    pub(super) fn node(&self) -> Option<NodeHandle> {
        match &*self.phase.lock() {
            Phase::Running(node) => Some(node.clone()),
            Phase::Idle | Phase::Starting => None,
        }
    }

    /// Tells the daemon to stop, if there is one.
    pub(super) fn stop(&self) {
        // Under the lock, so that a request never reaches a later daemon.
        let phase = self.phase.lock();
        if !matches!(*phase, Phase::Idle) {
            // Full: it was told already.
            let _ = self.stop.try_send(());
        }
    }

    /// Begins a daemon, which lasts until the guard is dropped; `None` when one runs.
    fn begin(&self) -> Option<DaemonGuard<'_>> {
        let mut phase = self.phase.lock();
        if !matches!(*phase, Phase::Idle) {
            return None;
        }
        *phase = Phase::Starting;
        // Requests to stop that came too late for the daemon before.
        while self.stopped.try_recv().is_ok() {}
        Some(DaemonGuard(self))
    }
}

struct DaemonGuard<'a>(&'a CurrentDaemon);

impl Drop for DaemonGuard<'_> {
    fn drop(&mut self) {
        *self.0.phase.lock() = Phase::Idle;
    }
}

impl Manager {
    /// Runs the daemon: the node, its virtual IP, health and service. It ends when `stop` receives
    /// a message or is disconnected, when [`stop`](Self::stop) is called, or at a request over
    /// NATS. Then it removes the virtual IP and releases the lease.
    ///
    /// Blocks. Starting takes at most twice the connect timeout (default 5 s). Stopping usually
    /// takes milliseconds, and at most the stop timeout (default 5 s), plus 5 s if something hangs,
    /// plus the time of the hooks of [`DaemonHooks`].
    ///
    /// # Errors
    /// [`ManagerError::AlreadyRunning`] when this manager already runs a daemon, or a daemon of
    /// this node id answers. Otherwise the node or its virtual IP could not be started. Nothing is
    /// left running.
    pub fn run(&self, stop: &Receiver<()>) -> Result<Stopped, ManagerError> {
        let Some(_guard) = self.daemon.begin() else { return Err(self.already_running()) };
        let hooks = self.hooks.as_ref();
        call(hooks, DaemonHooks::on_daemon_start);
        let result = self.serve(stop);
        call(hooks, DaemonHooks::on_daemon_stop);
        result
    }

    pub(super) fn already_running(&self) -> ManagerError {
        ManagerError::AlreadyRunning { node: self.config.node_id().to_owned() }
    }

    fn serve(&self, stop: &Receiver<()>) -> Result<Stopped, ManagerError> {
        self.check_other_daemon()?;
        let node = self.start_node()?;
        let handle = node.handle();
        let server = self.open_request_server(&handle)?;
        *self.daemon.phase.lock() = Phase::Running(handle.clone());
        let (cluster, name) = (self.config.cluster_id(), self.config.node_id());
        log::info!(cluster, node = name; "daemon started");
        call(self.hooks.as_ref(), |hooks| hooks.on_daemon_ready(&handle));
        // A message and the end of all senders mean the same.
        select! {
            recv(stop) -> _ => {}
            recv(self.daemon.stopped) -> _ => {}
        }
        log::info!(cluster, node = name; "daemon stops");
        // The daemon answers requests until the lease is released.
        let stopped = node.stop();
        drop(server);
        Ok(stopped)
    }

    /// Refuses to start when another daemon of this node answers.
    fn check_other_daemon(&self) -> Result<(), ManagerError> {
        let config = &self.config;
        let mut client = match ClusterClient::connect(config, config.connect_timeout()) {
            Ok(client) => client,
            Err(_) if config.start_disconnected() => return Ok(()),
            Err(error) => return Err(error),
        };
        let timeout = step(OTHER_DAEMON_TIMEOUT, config.connect_timeout());
        match client.is_running(config.node_id(), timeout) {
            Ok(true) => Err(self.already_running()),
            Ok(false) => Ok(()),
            Err(error) => {
                // The lease decides, a little later.
                log::warn!("whether this node runs already is not known: {error}");
                Ok(())
            }
        }
    }

    fn start_node(&self) -> Result<Node, ManagerError> {
        let mut builder = Node::builder(self.config.clone());
        if let Some(hooks) = &self.hooks {
            builder = builder.hooks(NodeHooks(hooks.clone()));
        }
        let vips = self.config.vips();
        if let Some(make) = self.vip.as_ref().filter(|_| !vips.is_empty()) {
            builder = builder.vip(make(vips).map_err(|error| StartError::Vip(error.into()))?);
        }
        Ok(builder.start()?)
    }

    fn open_request_server(
        &self,
        node: &NodeHandle,
    ) -> Result<Option<RequestServer>, ManagerError> {
        let mut handlers: Vec<Box<dyn Handler>> = Vec::new();
        if self.health {
            let custom = self.custom.clone();
            handlers.push(Box::new(HealthHandler::of(node.clone(), custom)));
        }
        if self.service {
            let daemon = std::sync::Arc::clone(&self.daemon);
            let options =
                service::Options::default().control(self.control).on_stop(move || daemon.stop());
            handlers.push(Box::new(ServiceHandler::new(node.clone(), options)));
        }
        if handlers.is_empty() {
            return Ok(None);
        }
        let server =
            RequestServer::open(self.config.connection(), "daemon", Clock::boot(), handlers);
        Ok(Some(server?))
    }
}
