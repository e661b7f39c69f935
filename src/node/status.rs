//! The state and the counters of a node at one moment.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::NodeHandle;
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::event::Role;
use crate::lease::Epoch;
use crate::renewal::Snapshot;

/// The state of a node at one moment.
///
/// ```
/// # use std::time::Duration;
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = Node::builder(config).store(store).start()?;
/// node.wait_for_leadership(Duration::from_secs(5))?;
/// let json = serde_json::to_value(node.status())?;
/// assert_eq!((&json["node_id"], &json["role"]), (&"node-1".into(), &"leader".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The cluster.
    pub cluster_id: String,
    /// The node.
    pub node_id: String,
    /// Whether the node leads.
    pub role: Role,
    /// Whether the node has resigned and its lease is not released yet.
    pub resigning: bool,
    /// The leader; `None` when no leader is known.
    pub leader: Option<String>,
    /// The highest epoch seen; `None` before the first record.
    pub epoch: Option<Epoch>,
    /// The newest revision of the record seen; 0 before the first.
    pub revision: u64,
    /// Whether the node is connected.
    pub connected: bool,
    /// What is wrong at present: why there is no connection, or why the server refuses what the
    /// node asks for. `None` once a request of that kind succeeds. A text in JSON.
    #[serde(serialize_with = "text")]
    pub problem: Option<StoreError>,
    /// The bucket that was read last: when it was created, as its server says. `None` before the
    /// first read, and while there is no bucket. Nodes that differ in this are two clusters.
    pub bucket: Option<String>,
    /// Lasting conditions that are no fault of the moment, such as a bucket with one replica in a
    /// cluster of servers. Each is a line of text.
    pub warnings: Vec<String>,
}

impl Status {
    pub(super) fn new(node: &NodeHandle, role: Role, snapshot: &Snapshot) -> Self {
        let figures = &snapshot.figures;
        Self {
            cluster_id: node.config().cluster_id().to_owned(),
            node_id: node.config().node_id().to_owned(),
            role,
            resigning: figures.resigning,
            leader: snapshot.leader_id(),
            epoch: figures.highest_epoch,
            revision: figures.revision,
            connected: figures.connected,
            problem: snapshot.problem.clone(),
            bucket: snapshot.bucket.as_ref().map(ToString::to_string),
            warnings: snapshot.warnings.iter().chain(&snapshot.mismatch).cloned().collect(),
        }
    }
}

/// The leader, as this node knows it: one reading of one record.
///
/// ```
/// # use std::time::Duration;
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = Node::builder(config).store(store).start()?;
/// node.wait_for_leader(Duration::from_secs(5))?;
/// let leader = node.leader_info().expect("a leader is known");
/// assert_eq!((leader.node_id.as_str(), leader.meta), ("node-1", None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LeaderInfo {
    /// The node id of the leader.
    pub node_id: String,
    /// The epoch of its term.
    pub epoch: Epoch,
    /// Its application value; see [`NodeHandle::set_meta`].
    pub meta: Option<serde_json::Value>,
    /// When this node learned that it leads, on the clock of this node.
    pub since: Timestamp,
}

impl LeaderInfo {
    /// `None` when no leader is known.
    pub(super) fn of(snapshot: &Snapshot) -> Option<Self> {
        let (node_id, epoch) = snapshot.leader.clone()?;
        let (meta, since) = (snapshot.leader_meta.clone(), snapshot.leader_since);
        Some(Self { node_id, epoch, meta, since })
    }
}

/// Counters since the node was started, and two durations. In JSON the durations are seconds.
///
/// ```
/// # use std::time::Duration;
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = Node::builder(config).store(store).start()?;
/// node.wait_for_leadership(Duration::from_secs(5))?;
/// assert_eq!(node.stats().terms, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Terms led.
    pub terms: u64,
    /// Renewals that moved the deadline.
    pub renewals: u64,
    /// Requests that the server refused.
    pub failures: u64,
    /// Requests whose outcome was unknown at first.
    pub unknown_outcomes: u64,
    /// Writes that lost against a write of another node.
    pub lost_races: u64,
    /// Connections made after the first.
    pub reconnects: u64,
    /// Connections given up because the server did not reply.
    pub abandoned_connections: u64,
    /// Events dropped because the application did not take them; see
    /// [`Events::missed`](crate::Events::missed). Events for hooks are not counted.
    pub events_missed: u64,
    /// From sending the newest request to its response.
    #[serde(rename = "last_round_trip_seconds", serialize_with = "seconds")]
    pub last_round_trip: Duration,
    /// How long the held lease lasts without another renewal; zero when none is held.
    #[serde(rename = "remaining_seconds", serialize_with = "seconds")]
    pub remaining: Duration,
}

impl Stats {
    pub(super) fn new(node: &NodeHandle, snapshot: &Snapshot) -> Self {
        let counters = &snapshot.figures.counters;
        let held_until = snapshot.figures.held_until.unwrap_or_default();
        Self {
            terms: counters.terms,
            renewals: counters.renewals,
            failures: counters.failures,
            unknown_outcomes: counters.unknown_outcomes,
            lost_races: counters.lost_races,
            reconnects: counters.connections.saturating_sub(1),
            abandoned_connections: counters.abandoned_connections,
            events_missed: node.missed.count(),
            last_round_trip: counters.last_round_trip,
            remaining: held_until.since(node.clock.now()),
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

#[allow(clippy::ref_option, reason = "serde calls it")]
fn text<S: Serializer>(error: &Option<StoreError>, serializer: S) -> Result<S::Ok, S::Error> {
    error.as_ref().map(ToString::to_string).serialize(serializer)
}
