//! The states of virtual IPs, for handles, status and operators to read.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// One virtual IP at one moment. In JSON the names are in camel case.
///
/// ```
/// use leasehold::vip::VipState;
///
/// let json = r#"{"address":"10.0.0.10/24","interface":"eth0","held":true,"linkUp":false}"#;
/// let state: VipState = serde_json::from_str(json)?; // of a daemon's status
/// let is_served = state.held && state.link_up != Some(false);
/// assert!(!is_served);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct VipState {
    /// The address, with the configured netmask or else its full length: `10.0.0.10/24`. On the
    /// interface it always has its full length.
    pub address: String,
    /// The name of the interface.
    pub interface: String,
    /// Whether the address is on the interface.
    pub held: bool,
    /// Whether the link of the interface is up; unknown while the address is not held.
    pub link_up: Option<bool>,
    /// What keeps the address from being held or from being reached; `None` when nothing does.
    pub problem: Option<String>,
}

/// The states of a worker's addresses, which its thread publishes.
#[derive(Debug, Default)]
pub(crate) struct SharedStates {
    all_held: AtomicBool,
    states: Mutex<Vec<VipState>>,
}

impl SharedStates {
    /// Whether every address is held. Takes no lock.
    pub(crate) fn all_held(&self) -> bool {
        self.all_held.load(Ordering::Acquire)
    }

    /// The states, in the order of the addresses. Not to be called in a forked child.
    pub(crate) fn read(&self) -> Vec<VipState> {
        self.states.lock().clone()
    }

    #[cfg(all(feature = "vip", target_os = "linux", not(leasehold_portable)))]
    pub(super) fn publish(&self, all_held: bool, states: Vec<VipState>) {
        *self.states.lock() = states;
        self.all_held.store(all_held, Ordering::Release);
    }
}
