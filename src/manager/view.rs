//! A cluster at one moment: the lease's record, and the statuses of the daemons.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::NodeStatus;
use crate::clock::millis;
use crate::event::Role;
use crate::health::{Malformed, read, text};
use crate::lease::{Epoch, Lease};
use crate::node::Status;
use crate::store::{Content, Snapshot};
use crate::text::excerpt;

/// Nodes that are named of one bucket, where there are several buckets.
const NAMED: usize = 5;

/// A node that answered.
///
/// ```no_run
/// use std::time::Duration;
/// use leasehold::{Config, Manager};
///
/// let manager = Manager::new(Config::load("cluster.json")?);
/// let node = manager.query("node-2", Duration::from_secs(2))?;
/// if node.status.stuck {
///     eprintln!("{} hangs, and answered after {:?}", node.status.node_id, node.round_trip);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct NodeView {
    /// Its status.
    #[serde(flatten)]
    pub status: NodeStatus,
    /// From sending the request to receiving the status; `roundTripMs` in JSON, with fractions.
    #[serde(rename = "roundTripMs", serialize_with = "fractional_millis")]
    pub round_trip: Duration,
    /// How many requests in a row it has not answered since, in a
    /// [`ClusterWatch`](super::ClusterWatch); else 0.
    pub missed: u32,
}

impl NodeView {
    fn from_value(value: &Value) -> Result<Self, Malformed> {
        let status = NodeStatus::parse(value.to_string().as_bytes())?;
        let millis = value["roundTripMs"].as_f64().unwrap_or_default();
        let round_trip = Duration::try_from_secs_f64(millis / 1e3).unwrap_or_default();
        let missed = value["missed"].as_u64().and_then(|missed| missed.try_into().ok());
        Ok(Self { status, round_trip, missed: missed.unwrap_or_default() })
    }

    /// Node id and session: two daemons with one node id are two nodes.
    pub(super) fn identity(&self) -> (&str, &str) {
        (&self.status.node_id, &self.status.session)
    }
}

/// A cluster at one moment.
///
/// ```
/// use leasehold::manager::ClusterView;
///
/// // The output of `leasehold status --all --json`.
/// let output = r#"{"clusterId":"orders","leader":"node-1","nodes":[{"nodeId":"node-1"}]}"#;
/// let view = ClusterView::parse(output.as_bytes())?;
/// assert_eq!((view.leader.as_deref(), view.nodes.len()), (Some("node-1"), 1));
/// # Ok::<(), leasehold::health::Malformed>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct ClusterView {
    /// The cluster.
    pub cluster_id: String,
    /// Whether there is a connection to a server.
    pub connected: bool,
    /// The connected server.
    pub server: Option<String>,
    /// The holder of the lease, by its record; an empty text in JSON when there is none, or it is
    /// not known.
    #[serde(serialize_with = "text")]
    pub leader: Option<String>,
    /// The highest epoch; 0 before the first.
    pub epoch: u64,
    /// The record's revision; 0 before the first.
    pub revision: u64,
    /// The lease TTL of the requester's configuration, in milliseconds.
    pub lease_ttl_ms: u64,
    /// How long the lease lasts without another renewal, in milliseconds: the value of the holder's
    /// status less the time since. Unknown when the holder does not answer.
    pub lease_remaining_ms: Option<u64>,
    /// The bucket of the record: when it was created, as the server says. Unknown without a bucket.
    pub bucket: Option<String>,
    /// Every node that answers, by node id.
    #[serde(deserialize_with = "nodes")]
    pub nodes: Vec<NodeView>,
    /// Why the view is incomplete, or that the nodes use several buckets: two clusters then, each
    /// with its own leader.
    pub problem: Option<String>,
}

impl ClusterView {
    /// Parses the JSON of a view, such as the output of `leasehold status --all --json`: at most
    /// 64 KiB. Unknown fields are ignored, and texts are made safe for a terminal.
    ///
    /// # Errors
    /// [`Malformed`] when it is too long, is not JSON, or names no cluster, or has a node without a
    /// node id.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let view: Self = read(bytes)?;
        if view.cluster_id.is_empty() {
            return Err(Malformed::Unreadable("it names no cluster".to_owned()));
        }
        Ok(view)
    }

    pub(super) fn empty(config: &crate::config::Config) -> Self {
        Self {
            cluster_id: config.cluster_id().to_owned(),
            lease_ttl_ms: millis(config.lease_ttl()),
            ..Self::default()
        }
    }

    /// Takes the leader, epoch and revision from the record.
    pub(super) fn set_record(&mut self, record: &RecordView) {
        self.leader.clone_from(&record.leader);
        self.epoch = record.epoch;
        self.revision = record.revision;
        self.bucket.clone_from(&record.bucket);
    }

    /// Takes the nodes that answered. Leader and epoch come from them only when no record was read.
    pub(super) fn set_nodes(&mut self, nodes: Vec<NodeView>) {
        self.nodes = nodes;
        let leads = |node: &&NodeView| node.missed == 0 && node.status.role == Role::Leader;
        let leading = self.nodes.iter().filter(leads).max_by_key(|node| node.status.epoch);
        if self.epoch == 0 {
            self.leader = leading.map(|node| node.status.node_id.clone());
            self.epoch = self.nodes.iter().map(|node| node.status.epoch).max().unwrap_or_default();
        }
        let holder = leading.filter(|node| Some(&node.status.node_id) == self.leader.as_ref());
        self.lease_remaining_ms = holder.and_then(|node| node.status.lease_remaining_ms);
        let others = self.problem.iter().cloned();
        let problems: Vec<_> = self.several_clusters().into_iter().chain(others).collect();
        self.problem = Some(problems.join("; ")).filter(|problem| !problem.is_empty());
    }

    /// Says which nodes use which bucket, if there are several.
    fn several_clusters(&self) -> Option<String> {
        let mut buckets = BTreeMap::<&str, Vec<&str>>::new();
        for node in self.nodes.iter().filter(|node| node.missed == 0) {
            if let Some(bucket) = &node.status.bucket {
                buckets.entry(bucket).or_default().push(&node.status.node_id);
            }
        }
        if let Some(bucket) = &self.bucket {
            buckets.entry(bucket).or_default();
        }
        let count = match buckets.len() {
            0 | 1 => return None,
            2 => "two".to_owned(),
            count => count.to_string(),
        };
        let users = buckets
            .iter()
            .map(|(bucket, nodes)| format!("the bucket created at {bucket} has {}", names(nodes)));
        Some(format!("{count} clusters: {}", users.collect::<Vec<_>>().join(", ")))
    }
}

/// The users of a bucket, in words.
fn names(nodes: &[&str]) -> String {
    let shown = nodes[..nodes.len().min(NAMED)].join(" and ");
    match nodes.len() {
        0 => "no node that answers, and is the one read here".to_owned(),
        1..=NAMED => shown,
        count => format!("{shown} and {} more", count - NAMED),
    }
}

/// What the lease's record says.
pub(super) struct RecordView {
    pub(super) leader: Option<String>,
    pub(super) epoch: u64,
    pub(super) revision: u64,
    /// The bucket that it is in.
    pub(super) bucket: Option<String>,
}

impl RecordView {
    /// From a read of the record; `None` when there is no bucket.
    pub(super) fn of(snapshot: Option<Snapshot>) -> Self {
        let bucket = snapshot.as_ref().map(|shown| excerpt(&shown.incarnation.to_string()));
        let entry = snapshot.and_then(|snapshot| snapshot.entry);
        let lease = entry.as_ref().and_then(|entry| match &entry.content {
            Content::Value(bytes) => Lease::decode(bytes).ok(),
            Content::Marker => None,
        });
        Self {
            revision: entry.map_or(0, |entry| entry.revision),
            epoch: lease.as_ref().map_or(0, |lease| lease.epoch.as_u64()),
            leader: lease.filter(|lease| !lease.is_released()).map(|lease| lease.node_id),
            bucket,
        }
    }

    /// As an observer of this process knows it.
    pub(super) fn observed(status: &Status) -> Self {
        Self {
            leader: status.leader.clone(),
            epoch: status.epoch.map_or(0, Epoch::as_u64),
            revision: status.revision,
            bucket: status.bucket.as_deref().map(excerpt),
        }
    }
}

fn fractional_millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    serializer.serialize_f64(f64::from(micros) / 1e3)
}

fn nodes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<NodeView>, D::Error> {
    let values = Vec::<Value>::deserialize(from)?;
    values.iter().map(NodeView::from_value).collect::<Result<_, _>>().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(bucket: Option<&str>, nodes: &[(&str, Option<&str>)]) -> ClusterView {
        let bucket = bucket.map(str::to_owned);
        let mut view = ClusterView { bucket, ..ClusterView::default() };
        let node = |(node, bucket): &(&str, Option<&str>)| {
            let bucket = bucket.map(str::to_owned);
            let status = NodeStatus { bucket, ..NodeStatus::unknown("orders", node) };
            NodeView { status, round_trip: Duration::ZERO, missed: 0 }
        };
        view.set_nodes(nodes.iter().map(node).collect());
        view
    }

    #[test]
    fn nodes_in_several_buckets_are_several_clusters() {
        for same in [
            view(None, &[("a", Some("1")), ("b", Some("1")), ("c", None)]),
            view(Some("1"), &[("a", Some("1")), ("c", None)]),
            view(Some("1"), &[]),
        ] {
            assert_eq!(same.problem, None);
        }
        let two = view(Some("1"), &[("a", Some("1")), ("b", Some("2")), ("c", Some("1"))]);
        let says =
            "two clusters: the bucket created at 1 has a and c, the bucket created at 2 has b";
        assert_eq!(two.problem.as_deref(), Some(says));
        let read = view(Some("1"), &[("b", Some("2"))]).problem.unwrap();
        assert!(read.contains("the bucket created at 1 has no node that answers"), "{read}");
        let names: Vec<_> = (0..9).map(|number| format!("n{number}")).collect();
        let mut nodes: Vec<_> = names.iter().map(|name| (name.as_str(), Some("1"))).collect();
        nodes.extend([("x", Some("2")), ("y", Some("3"))]);
        let three = view(None, &nodes).problem.unwrap();
        assert!(three.starts_with("3 clusters: the bucket created at 1 has n0 and "), "{three}");
        assert!(three.contains("n4 and 4 more, "), "{three}");
    }

    #[test]
    fn a_written_view_parses_to_the_same() {
        let mut view = ClusterView::empty(
            &crate::Config::new("orders", "node-1", ["nats://127.0.0.1:4222"]).unwrap(),
        );
        let status = NodeStatus { daemon: true, ..NodeStatus::unknown("orders", "node-2") };
        view.nodes = vec![NodeView { status, round_trip: Duration::from_micros(412), missed: 2 }];
        view.leader = Some("node-2".into());
        view.lease_remaining_ms = Some(7);
        let bytes = serde_json::to_vec(&view).unwrap();
        assert_eq!(ClusterView::parse(&bytes).unwrap(), view);
        for bytes in [&b""[..], b"{}", br#"{"clusterId":"c","nodes":[{}]}"#] {
            assert!(ClusterView::parse(bytes).is_err(), "{bytes:?}");
        }
    }
}
