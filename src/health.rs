//! How a node is, asked from outside: a question over NATS, answered on a thread of its own.
//!
//! A [`Responder`] answers on `cluster.<cluster>.health.<node>`, and to questions asked of all on
//! `cluster.<cluster>.health`. It has a connection and a thread of its own, so it also answers
//! while the election hangs, and says so. A [`Client`] asks. Neither writes anything anywhere.
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
//! let answer = health::query(&config, "node-1", Duration::from_secs(1))?;
//! println!("{} after {:?}", answer.value.role, answer.round_trip);
//! # Ok(())
//! # }
//! ```
//!
//! # Beside go-cluster
//! The subject of a node and the names in the JSON are those of go-cluster v1, whose checker asks
//! our nodes and is asked by our clients. The question to all is not known there.
//!
//! # What whoever asks may do
//! Asking needs no more than to publish on the subject. The asker chooses where the answer goes,
//! and the node sends it with its own permissions; so answers go to inboxes only, subjects whose
//! first token begins with `_` or is that of the node's own inbox prefix. The body of a question is
//! ignored.

mod answer;
mod client;
mod gate;
mod responder;

pub use answer::{Health, MAX_ANSWER_BYTES, Malformed};
pub use client::{Answer, Client, QueryError, query, query_all};
pub use gate::{Gate, GateError, GateSettings};
pub use responder::{CustomError, MAX_CUSTOM_BYTES, Responder};

pub(crate) use answer::{count, node_id, read, role, role_from, text};
pub(crate) use responder::{Custom, HealthHandler, millis};

/// Where the node answers: `cluster.<cluster>.health.<node>`.
#[must_use]
pub fn subject(cluster_id: &str, node_id: &str) -> String {
    format!("cluster.{cluster_id}.health.{node_id}")
}

/// Where all nodes of the cluster answer: `cluster.<cluster>.health`.
#[must_use]
pub fn subject_of_all(cluster_id: &str) -> String {
    format!("cluster.{cluster_id}.health")
}
