//! Leader election with epoch fencing over NATS JetStream KV, for programs without an async
//! runtime.

pub mod clock;
pub mod config;
pub mod election;
pub mod error;
pub mod event;
pub mod fence;
pub mod leadership;
pub mod lease;
pub mod store;
pub mod timing;
#[cfg(all(feature = "vip", target_os = "linux", not(leasehold_portable)))]
pub mod vip;
