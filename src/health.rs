//! Health of nodes over NATS: each node answers health requests on a thread of its own.
//!
//! A [`Responder`] answers on `cluster.<cluster>.health.<node>`, and on `cluster.<cluster>.health`,
//! which reaches all nodes. It has its own connection and thread, so it also answers while the
//! election hangs, and says so. A [`Client`] sends the requests. Neither writes to the store.
//!
//! ```no_run
//! use std::time::Duration;
//! use leasehold::{Config, Node, health};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
//! let node = Node::start(config.clone())?;
//! let responder = health::Responder::of(node.handle())?;
//! responder.set_custom("queue", 17)?;
//!
//! let response = health::query(&config, "node-1", Duration::from_secs(1))?;
//! println!("{} after {:?}", response.health.role, response.round_trip);
//! # Ok(())
//! # }
//! ```
//!
//! # Two buckets
//! A responder of a node also asks the health of all nodes, once per TTL or 30 s, whichever is
//! longer, and compares their buckets with its own. Another one is told as
//! [`Event::BucketMismatch`](crate::Event::BucketMismatch): there are two clusters then.
//!
//! # Beside go-cluster
//! The subject of a node and the names in the JSON are those of go-cluster v1: its checker can ask
//! our nodes, and our clients can ask its checker. go-cluster v1 does not know the subject that
//! reaches all nodes.
//!
//! # Permissions of the requester
//! A requester needs permission to publish on the subject and no more. The requester also chooses
//! the reply subject, and the node publishes to it with the node's own permissions. Responses
//! therefore go to inboxes only: subjects whose first token begins with `_` or is that of the
//! node's inbox prefix. The body of a request is ignored.

mod buckets;
mod check;
mod client;
mod responder;
mod response;

pub use check::{HealthCheck, HealthCheckError, HealthCheckSettings};
pub use client::{Client, HealthResponse, QueryError, query, query_all};
pub use responder::{CustomError, MAX_CUSTOM_BYTES, Responder};
pub use response::{Health, MAX_RESPONSE_BYTES, Malformed};

pub(crate) use responder::{Custom, HealthHandler};
pub(crate) use response::{read, require_node_id, role, text};

/// The subject of one node: `cluster.<cluster>.health.<node>`.
#[must_use]
pub fn subject(cluster_id: &str, node_id: &str) -> String {
    format!("cluster.{cluster_id}.health.{node_id}")
}

/// The subject that reaches all nodes of a cluster: `cluster.<cluster>.health`.
#[must_use]
pub fn subject_of_all(cluster_id: &str) -> String {
    format!("cluster.{cluster_id}.health")
}
