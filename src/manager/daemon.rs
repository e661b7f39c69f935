//! The daemon: everything started in order, and stopped in the opposite one.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use parking_lot::Mutex;

use super::hooks::{DaemonHooks, Forward, call};
use super::remote::Remote;
use super::{Manager, ManagerError, step};
use crate::clock::Clock;
use crate::error::StartError;
use crate::health::HealthHandler;
use crate::node::{Node, NodeHandle, Stopped};
use crate::request_server::{Handler, RequestServer};
use crate::service::{self, ServiceHandler, Status};
#[cfg(all(feature = "vip", target_os = "linux", not(leasehold_portable)))]
use crate::vip;

/// How long an earlier daemon of the same node has to answer. Where none listens, the server says
/// so at once.
const PREDECESSOR: Duration = Duration::from_secs(3);

/// Makes what holds the virtual IP.
#[cfg(all(feature = "vip", target_os = "linux", not(leasehold_portable)))]
pub(super) type MakeHolder =
    dyn Fn(Vec<vip::VirtualAddress>) -> Result<vip::Holder, vip::VipError> + Send + Sync;

/// The place of the one daemon that a manager may run.
#[derive(Debug)]
pub(super) struct Slot {
    state: Mutex<State>,
    stop: Sender<()>,
    stopped: Receiver<()>,
}

#[derive(Debug, Default)]
struct State {
    taken: bool,
    daemon: Option<Daemon>,
}

/// A running daemon, as others of its process see it.
#[derive(Clone, Debug)]
pub(super) struct Daemon {
    pub(super) node: NodeHandle,
    vip: VipWatch,
}

impl Daemon {
    pub(super) fn status(&self) -> Status {
        Status::of(&self.node, self.vip.is_held())
    }
}

impl Default for Slot {
    fn default() -> Self {
        let (stop, stopped) = bounded(1);
        Self { state: Mutex::default(), stop, stopped }
    }
}

impl Slot {
    pub(super) fn is_taken(&self) -> bool {
        self.state.lock().taken
    }

    pub(super) fn daemon(&self) -> Option<Daemon> {
        self.state.lock().daemon.clone()
    }

    /// Leaves word for the daemon, if there is one.
    pub(super) fn stop(&self) {
        let state = self.state.lock();
        if state.taken {
            // Full: it was told already.
            let _ = self.stop.try_send(());
        }
    }

    /// Takes the place until the guard is dropped.
    fn take(&self) -> Option<Taken<'_>> {
        let mut state = self.state.lock();
        if state.taken {
            return None;
        }
        state.taken = true;
        // What was meant for the one before.
        while self.stopped.try_recv().is_ok() {}
        Some(Taken(self))
    }
}

struct Taken<'a>(&'a Slot);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.state.lock() = State::default();
    }
}

/// Whether the virtual IP is here.
#[derive(Clone, Debug, Default)]
pub(super) struct VipWatch {
    #[cfg(all(feature = "vip", target_os = "linux", not(leasehold_portable)))]
    watch: Option<vip::Watch>,
}

impl VipWatch {
    #[cfg(all(feature = "vip", target_os = "linux", not(leasehold_portable)))]
    pub(super) fn is_held(&self) -> bool {
        self.watch.as_ref().is_some_and(vip::Watch::is_acquired)
    }

    #[cfg(not(all(feature = "vip", target_os = "linux", not(leasehold_portable))))]
    #[allow(clippy::unused_self, reason = "the signature that it has with virtual IPs")]
    pub(super) fn is_held(&self) -> bool {
        false
    }
}

impl Manager {
    /// Runs the daemon: the node, its virtual IP, health and service, until something comes on
    /// `stop` or nobody holds its other end any more, [`stop`](Self::stop) is called, or it is told
    /// to over NATS. Then the virtual IP and the lease are given back.
    ///
    /// Blocks. Starting takes at most the connect timeout (default 5 s) twice; stopping the stop
    /// timeout (default 5 s) and 5 s at the most, whatever hangs, beside the hooks of
    /// [`DaemonHooks`] itself, which it calls; usually milliseconds.
    ///
    /// # Errors
    /// [`ManagerError::AlreadyRunning`] when this manager runs one, or a daemon of this node id
    /// answers; otherwise why the node or its virtual IP could not be started. Nothing is left
    /// running.
    pub fn run(&self, stop: &Receiver<()>) -> Result<Stopped, ManagerError> {
        let Some(_taken) = self.slot.take() else { return Err(self.already_running()) };
        let hooks = self.options.hooks.as_ref();
        call(hooks, DaemonHooks::on_daemon_start);
        let result = self.serve(stop);
        call(hooks, DaemonHooks::on_daemon_stop);
        result
    }

    pub(super) fn already_running(&self) -> ManagerError {
        ManagerError::AlreadyRunning { node: self.config.node_id().to_owned() }
    }

    fn serve(&self, stop: &Receiver<()>) -> Result<Stopped, ManagerError> {
        self.check_predecessor()?;
        let (node, vip) = self.start_node()?;
        let daemon = Daemon { node: node.handle(), vip };
        let server = self.open_request_server(&daemon)?;
        self.slot.state.lock().daemon = Some(daemon.clone());
        let (cluster, name) = (self.config.cluster_id(), self.config.node_id());
        log::info!(cluster, node = name; "daemon started");
        call(self.options.hooks.as_ref(), |hooks| hooks.on_daemon_ready(&daemon.node));
        // A message and the end of all senders mean the same.
        select! {
            recv(stop) -> _ => {}
            recv(self.slot.stopped) -> _ => {}
        }
        log::info!(cluster, node = name; "daemon stops");
        // Questions are answered until the lease is given back.
        let stopped = node.stop();
        drop(server);
        Ok(stopped)
    }

    /// Refuses to be the second daemon of a node whose first one answers.
    fn check_predecessor(&self) -> Result<(), ManagerError> {
        let config = &self.config;
        let mut remote = match Remote::connect(config, config.connect_timeout()) {
            Ok(remote) => remote,
            Err(_) if config.start_disconnected() => return Ok(()),
            Err(error) => return Err(error),
        };
        let timeout = step(PREDECESSOR, config.connect_timeout());
        match remote.anybody(config.node_id(), timeout) {
            Ok(true) => Err(self.already_running()),
            Ok(false) => Ok(()),
            Err(error) => {
                // The record settles it, a little later.
                log::warn!("it is not known whether this node runs already: {error}");
                Ok(())
            }
        }
    }

    fn start_node(&self) -> Result<(Node, VipWatch), ManagerError> {
        let mut builder = Node::builder(self.config.clone());
        if let Some(hooks) = &self.options.hooks {
            builder = builder.hooks(Forward(hooks.clone()));
        }
        let vip = VipWatch::default();
        #[cfg(all(feature = "vip", target_os = "linux", not(leasehold_portable)))]
        let (builder, vip) = match self.vip_worker()? {
            Some(worker) => {
                let watch = Some(worker.watch());
                (builder.vip(worker), VipWatch { watch })
            }
            None => (builder, vip),
        };
        #[cfg(not(all(feature = "vip", target_os = "linux", not(leasehold_portable))))]
        if self.config.vip().is_some() {
            let why = "this build has none: they need Linux and the feature vip";
            return Err(ManagerError::Vip(why.into()));
        }
        Ok((builder.start()?, vip))
    }

    #[cfg(all(feature = "vip", target_os = "linux", not(leasehold_portable)))]
    fn vip_worker(&self) -> Result<Option<vip::Worker>, ManagerError> {
        let Some(wanted) = self.config.vip() else { return Ok(None) };
        let worker = || {
            let address = vip::VirtualAddress::new(wanted.address(), wanted.interface())?;
            let address = address.with_prefix(wanted.netmask())?;
            vip::Worker::start((self.options.holder)(vec![address])?)
        };
        worker().map(Some).map_err(|error| ManagerError::Vip(error.into()))
    }

    fn open_request_server(&self, daemon: &Daemon) -> Result<Option<RequestServer>, ManagerError> {
        let mut handlers: Vec<Box<dyn Handler>> = Vec::new();
        if self.options.health {
            let custom = self.custom.clone();
            handlers.push(Box::new(HealthHandler::of(daemon.node.clone(), custom)));
        }
        if self.options.service {
            let (vip, slot) = (daemon.vip.clone(), std::sync::Arc::clone(&self.slot));
            let options = service::Options::default()
                .control(self.options.control)
                .vip_held(move || vip.is_held())
                .on_stop(move || slot.stop());
            handlers.push(Box::new(ServiceHandler::new(daemon.node.clone(), options)));
        }
        if handlers.is_empty() {
            return Ok(None);
        }
        let server =
            RequestServer::open(self.config.connection(), "daemon", Clock::boot(), handlers);
        server.map(Some).map_err(|error| StartError::Thread(error).into())
    }
}
