//! A node as a NATS micro service: any NATS tool can list, inspect and, if permitted, control it.
//!
//! The service's name is `cluster_<cluster>`. Each node is an instance of it, and the instance's id
//! is the session of the node's start. It answers `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS` (NATS
//! architecture decision 32) for all services, for its name and for its id. It has the endpoints of
//! go-cluster v2, and three more:
//!
//! | endpoint | subject | response or effect |
//! |---|---|---|
//! | `status` | `cluster_<cluster>.status.<node>` | [`NodeStatus`] |
//! | `status-all` | `cluster_<cluster>.status` | the same, by every node |
//! | `ping` | `cluster_<cluster>.ping.<node>` | `{"ok":true,"timestamp":…}` |
//! | `stepdown` | `cluster_<cluster>.control.<node>.stepdown` | steps down |
//! | `transfer` | `cluster_<cluster>.control.<node>.transfer` | hands over to the named node |
//! | `promote` | `cluster_<cluster>.control.<node>.promote` | ends the cooldown |
//! | `stop` | `cluster_<cluster>.control.<node>.stop` | ends the daemon |
//!
//! The endpoints under `control` exist only with [`Options::control`]; `stop` also needs
//! [`Options::on_stop`]. They answer `{"ok":true}` when the node has begun. A node that refuses
//! answers `{"ok":false,"error":…,"leader":…}` with the protocol's two error headers: 400
//! unreadable, 409 not in this state, 413 too long, 503 stopped or stuck.
//!
//! The server's permissions for these subjects decide which user may send a request; see
//! [`guide::permissions`](crate::guide::permissions). The module [`health`](crate::health) says
//! where responses may go.
//!
//! ```no_run
//! use leasehold::{Config, Node, service};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::start(Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?)?;
//! let service = service::Service::start(node.handle(), service::Options::default())?;
//! # drop(service);
//! # Ok(())
//! # }
//! ```

mod handler;
mod micro;
mod request;
mod status;

pub use handler::{Options, Service};
pub use micro::EndpointStats;
pub use request::{CommandError, MAX_REQUEST_BYTES, parse_promote, parse_transfer};
pub use status::NodeStatus;

pub(crate) use handler::{ControlResponse, ServiceHandler};

/// The service's name: `cluster_<cluster>`.
#[must_use]
pub fn name(cluster_id: &str) -> String {
    format!("cluster_{cluster_id}")
}

/// The subject on which a node answers with its status: `cluster_<cluster>.status.<node>`.
#[must_use]
pub fn status_subject(cluster_id: &str, node_id: &str) -> String {
    format!("cluster_{cluster_id}.status.{node_id}")
}

/// The subject of all nodes' statuses: `cluster_<cluster>.status`.
#[must_use]
pub fn status_subject_of_all(cluster_id: &str) -> String {
    format!("cluster_{cluster_id}.status")
}

/// The subject of a node's ping: `cluster_<cluster>.ping.<node>`.
#[must_use]
pub fn ping_subject(cluster_id: &str, node_id: &str) -> String {
    format!("cluster_{cluster_id}.ping.{node_id}")
}

/// The subject of a command to a node: `cluster_<cluster>.control.<node>.<command>`, with
/// `stepdown`, `transfer`, `promote` or `stop`.
#[must_use]
pub fn control_subject(cluster_id: &str, node_id: &str, command: &str) -> String {
    format!("cluster_{cluster_id}.control.{node_id}.{command}")
}
