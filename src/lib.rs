//! Leader election with epoch fencing over NATS JetStream KV, for programs without an async
//! runtime.

pub mod clock;
