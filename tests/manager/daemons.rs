//! Daemons on threads of the test, each in a manager of its own, and hooks that tell what they
//! hear.
#![allow(dead_code, reason = "each test binary uses a part of this module")]
#![allow(unreachable_pub, reason = "`pub` marks what a part offers to the tests")]

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use leasehold::config::ConfigBuilder;
use leasehold::manager::{DaemonHooks, Manager, ManagerBuilder};
use leasehold::{
    Cause, Config, Epoch, Event, Hooks, Leadership, ManagerError, NodeHandle, Stopped,
};

use crate::support::wait::eventually;

/// Nothing that is waited for takes this long; a loaded machine may.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A configuration for tests: a TTL that no loaded machine exceeds, quick renewals, and
/// a cooldown in which any other node takes over.
pub fn config(url: &str, node: &str) -> ConfigBuilder {
    Config::builder("orders", node, [url])
        .renew_interval(Duration::from_millis(500))
        .reconnect_wait(Duration::from_millis(200))
        .cooldown(Duration::from_secs(3))
}

/// A manager as an operator has one, in a process of his own.
pub fn operator(url: &str, node: &str) -> Manager {
    Manager::new(config(url, node).build().expect("a valid configuration"))
}

/// A daemon that runs.
pub struct Daemon {
    pub manager: Arc<Manager>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<Result<Stopped, ManagerError>>>,
}

impl Daemon {
    /// Starts the daemon, and returns when it can be asked.
    #[track_caller]
    pub fn start(manager: ManagerBuilder) -> Self {
        let daemon = Self::launch(manager);
        let name = daemon.manager.config().node_id().to_owned();
        let asker = Manager::new(daemon.manager.config().clone());
        eventually(PATIENCE, "the daemon to answer", || {
            let ended = daemon.thread.as_ref().is_none_or(JoinHandle::is_finished);
            assert!(!ended, "the daemon has ended");
            asker.query(&name, PATIENCE).is_ok()
        });
        daemon
    }

    /// A daemon with all defaults.
    #[track_caller]
    pub fn of(url: &str, node: &str) -> Self {
        Self::start(Manager::builder(config(url, node).build().expect("a valid configuration")))
    }

    /// Starts it without waiting.
    pub fn launch(manager: ManagerBuilder) -> Self {
        let manager = Arc::new(manager.build());
        let (stop, stopped) = bounded(1);
        let runs = Arc::clone(&manager);
        let thread = thread::spawn(move || runs.run(&stopped));
        Self { manager, stop: Some(stop), thread: Some(thread) }
    }

    /// Its node.
    #[track_caller]
    pub fn node(&self) -> NodeHandle {
        self.manager.node().expect("it runs")
    }

    /// Returns when it leads.
    #[track_caller]
    pub fn leads(&self) -> Leadership {
        self.node().wait_for_leadership(PATIENCE).expect("it leads")
    }

    /// Tells it to stop by its channel, and returns how it did.
    #[track_caller]
    pub fn stop(mut self) -> Result<Stopped, ManagerError> {
        self.stop.take();
        self.ended()
    }

    /// Returns how it ended.
    #[track_caller]
    pub fn ended(&mut self) -> Result<Stopped, ManagerError> {
        let thread = self.thread.take().expect("asked once");
        eventually(PATIENCE, "the daemon to end", || thread.is_finished());
        thread.join().expect("no panic")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Hooks that tell each call as a line.
pub struct Telling(Sender<String>);

/// The hooks, and what they will tell.
pub fn telling() -> (Telling, Receiver<String>) {
    let (sender, told) = unbounded();
    (Telling(sender), told)
}

impl Telling {
    fn say(&self, line: impl Into<String>) {
        let _ = self.0.send(line.into());
    }
}

impl Hooks for Telling {
    fn on_become_leader(&mut self, leadership: Leadership) {
        self.say(format!("became {}", leadership.epoch()));
    }

    fn on_lose_leadership(&mut self, epoch: Epoch, _: &Cause) {
        self.say(format!("lost {epoch}"));
    }

    fn on_other(&mut self, event: Event) {
        match event {
            Event::DuplicateNodeId { .. } => self.say("duplicate"),
            Event::BucketMismatch { node_id, .. } => self.say(format!("mismatch {node_id}")),
            _ => {}
        }
    }

    fn on_leader_change(&mut self, leader: Option<&str>, _: Option<Epoch>) {
        self.say(format!("leader {}", leader.unwrap_or("none")));
    }
}

impl DaemonHooks for Telling {
    fn on_daemon_start(&mut self) {
        self.say("start");
    }

    fn on_daemon_ready(&mut self, node: &NodeHandle) {
        self.say(format!("ready {}", node.config().node_id()));
    }

    fn on_daemon_stop(&mut self) {
        self.say("stop");
    }
}
