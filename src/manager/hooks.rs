//! The hooks of a daemon: those of its node, and three more.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::StoreError;
use crate::event::{Cause, Event};
use crate::hooks::Hooks;
use crate::leadership::Leadership;
use crate::lease::Epoch;
use crate::node::NodeHandle;

/// Hooks for the events of a daemon. Those of [`Hooks`] are called on their own thread. The three
/// of this trait are called on the thread of [`Manager::run`](super::Manager::run), which waits for
/// them, so they must return soon. No two hooks are called at the same time. A panic of a hook is
/// logged.
///
/// ```
/// use leasehold::manager::DaemonHooks;
/// use leasehold::{Config, Hooks, Manager, NodeHandle};
///
/// struct Announcer;
///
/// impl Hooks for Announcer {}
///
/// impl DaemonHooks for Announcer {
///     fn on_daemon_ready(&mut self, node: &NodeHandle) {
///         println!("{} is ready", node.config().node_id()); // tell the supervisor
///     }
/// }
/// let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// let manager = Manager::builder(config).hooks(Announcer).build();
/// # Ok::<(), leasehold::config::ConfigError>(())
/// ```
pub trait DaemonHooks: Hooks {
    /// The daemon starts: the node does not run yet, and there is no connection.
    fn on_daemon_start(&mut self) {}

    /// The node has started, and the daemon answers requests.
    fn on_daemon_ready(&mut self, node: &NodeHandle) {
        let _ = node;
    }

    /// The daemon has stopped: the lease and the virtual IP are released, or left to expire. Also
    /// called when the daemon did not start. Not called while another hook hangs.
    fn on_daemon_stop(&mut self) {}
}

/// The hooks, shared by the two threads that call them.
pub(super) type SharedHooks = Arc<Mutex<Box<dyn DaemonHooks>>>;

/// How long a call waits for a hook that runs on the other thread.
const HOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// Calls a hook of the daemon, unless another hook hangs.
pub(super) fn call(hooks: Option<&SharedHooks>, call: impl FnOnce(&mut dyn DaemonHooks)) {
    let Some(hooks) = hooks else { return };
    let Some(mut hooks) = hooks.try_lock_for(HOOK_TIMEOUT) else {
        log::error!("a hook does not return, so another hook is skipped");
        return;
    };
    if catch_unwind(AssertUnwindSafe(|| call(hooks.as_mut()))).is_err() {
        log::error!("a hook panicked");
    }
}

/// Forwards the calls of the node.
pub(super) struct NodeHooks(pub(super) SharedHooks);

impl Hooks for NodeHooks {
    fn on_become_leader(&mut self, leadership: Leadership) {
        self.0.lock().on_become_leader(leadership);
    }

    fn on_lose_leadership(&mut self, epoch: Epoch, cause: &Cause) {
        self.0.lock().on_lose_leadership(epoch, cause);
    }

    fn on_leader_change(&mut self, leader: Option<&str>, epoch: Option<Epoch>) {
        self.0.lock().on_leader_change(leader, epoch);
    }

    fn on_connect(&mut self, server: &str) {
        self.0.lock().on_connect(server);
    }

    fn on_disconnect(&mut self, error: &StoreError) {
        self.0.lock().on_disconnect(error);
    }

    fn on_other(&mut self, event: Event) {
        self.0.lock().on_other(event);
    }
}
