//! Leader election with epoch fencing over NATS JetStream KV, for programs without an async
//! runtime.

pub mod clock;
pub mod config;
pub mod election;
pub mod error;
pub mod event;
mod events;
pub mod fence;
mod hooks;
pub mod leadership;
pub mod lease;
mod node;
mod observer;
mod renewal;
mod running;
pub mod store;
mod thread;
pub mod timing;
#[cfg(all(feature = "vip", target_os = "linux", not(leasehold_portable)))]
pub mod vip;

pub use config::Config;
pub use error::{Refused, StartError, StoreError, WaitError};
pub use event::{Cause, DrainGuard, Event, Reason, Role};
pub use events::Events;
pub use hooks::Hooks;
pub use leadership::{Leadership, LeadershipLost};
pub use lease::{Epoch, SessionId};
pub use node::{Node, NodeBuilder, Stats, Status, Stopped, TransferError};
pub use observer::Observer;
