//! Hooks of a daemon: those of its node, and three of its own.

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

/// Calls for what happens to a daemon: those of [`Hooks`], on their own thread, and these, on the
/// thread of [`Manager::run`](super::Manager::run), which waits for them: leave word and return. No
/// two are made at once. One that panics is logged.
pub trait DaemonHooks: Hooks {
    /// The daemon starts: nothing runs yet, and nothing is connected.
    fn on_daemon_start(&mut self) {}

    /// The node has started, and questions are answered.
    fn on_daemon_ready(&mut self, node: &NodeHandle) {
        let _ = node;
    }

    /// Everything has stopped: the lease and the virtual IP are given back, or left to expire. Also
    /// called when the daemon did not start. Not called while another hook hangs.
    fn on_daemon_stop(&mut self) {}
}

/// The hooks, for both threads.
pub(super) type SharedHooks = Arc<Mutex<Box<dyn DaemonHooks>>>;

/// How long a call waits for a hook that runs on the other thread.
const PATIENCE: Duration = Duration::from_secs(1);

/// Makes a call of the daemon's own, unless another hook hangs.
pub(super) fn call(hooks: Option<&SharedHooks>, call: impl FnOnce(&mut dyn DaemonHooks)) {
    let Some(hooks) = hooks else { return };
    let Some(mut hooks) = hooks.try_lock_for(PATIENCE) else {
        log::error!("a hook does not return; another is left out");
        return;
    };
    if catch_unwind(AssertUnwindSafe(|| call(hooks.as_mut()))).is_err() {
        log::error!("a hook panicked");
    }
}

/// Hands the node's calls on.
pub(super) struct Forward(pub(super) SharedHooks);

impl Hooks for Forward {
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
