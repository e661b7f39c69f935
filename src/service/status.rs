//! The status of a node as JSON: more than its health.

use serde::{Deserialize, Deserializer, Serialize};

use crate::clock::millis;
use crate::config::MAX_VIPS;
use crate::error::StoreError;
use crate::event::Role;
use crate::health::{Malformed, read, require_node_id, role, text};
use crate::lease::Epoch;
use crate::node::NodeHandle;
use crate::text::excerpt;
use crate::vip::VipState;

/// Warnings that are taken from a response.
const MAX_WARNINGS: usize = 16;

/// The status of a node, as its daemon reports it. Where no daemon answers, as the lease's record
/// shows it.
///
/// In JSON the first eight fields have go-cluster's names; the others follow the same style.
///
/// ```
/// use leasehold::service::NodeStatus;
///
/// let body = br#"{"nodeId":"node-1","role":"PRIMARY","epoch":7,"connected":true,"stuck":true}"#;
/// let status = NodeStatus::parse(body)?; // of a response to `cluster_orders.status.node-1`
/// let is_well = status.connected && !status.stuck;
/// assert!(!is_well);
/// # Ok::<(), leasehold::health::Malformed>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools, reason = "the format of the response")]
pub struct NodeStatus {
    /// The cluster.
    pub cluster_id: String,
    /// The node.
    pub node_id: String,
    /// `PRIMARY` or `PASSIVE` in JSON.
    #[serde(with = "role")]
    pub role: Role,
    /// The leader, as far as the node knows; an empty text in JSON when it does not know.
    #[serde(serialize_with = "text")]
    pub leader: Option<String>,
    /// The highest epoch seen; 0 before the first.
    pub epoch: u64,
    /// Whether the node holds the virtual IP.
    pub vip_held: bool,
    /// Milliseconds since the node was started; 0 without a daemon.
    pub uptime_ms: u64,
    /// Whether the daemon is connected to a server; without a daemon, whether the requester is.
    pub connected: bool,
    /// A daemon answered. Without one the values come from the lease's record.
    pub daemon: bool,
    /// The node is resigning: it has ended its term, and releases the lease after the drain.
    pub resigning: bool,
    /// The newest revision known; 0 before the first.
    pub revision: u64,
    /// The node's configured lease TTL, in milliseconds.
    pub lease_ttl_ms: u64,
    /// How long the node's lease lasts without another renewal, in milliseconds. `null` in JSON
    /// when the node holds no lease, or does not report it.
    pub lease_remaining_ms: Option<u64>,
    /// Milliseconds since the last turn of the renewal thread.
    pub heartbeat_age_ms: u64,
    /// The renewal thread is at least 2 s late.
    pub stuck: bool,
    /// Terms led since the node was started.
    pub terms: u64,
    /// The session of the node's start; empty without a daemon.
    pub session: String,
    /// The daemon's version of this library; empty without a daemon.
    pub version: String,
    /// The node's virtual IPs, at most [`MAX_VIPS`].
    pub vips: Vec<VipState>,
    /// Whether the links of all held virtual IPs are up; unknown while none is held.
    pub vip_link_up: Option<bool>,
    /// What is wrong at present: [`Status::problem`](crate::Status::problem), and the problems of
    /// virtual IPs. Without a daemon, why the status is incomplete.
    pub problem: Option<String>,
    /// The bucket that the node has read last, as [`Status::bucket`](crate::Status::bucket).
    pub bucket: Option<String>,
    /// Lasting conditions that are no fault of the moment, as
    /// [`Status::warnings`](crate::Status::warnings): 16 at most when it is parsed.
    #[serde(deserialize_with = "texts")]
    pub warnings: Vec<String>,
}

impl NodeStatus {
    /// A status that has only the names.
    pub(crate) fn unknown(cluster_id: &str, node_id: &str) -> Self {
        Self { cluster_id: cluster_id.to_owned(), node_id: node_id.to_owned(), ..Self::default() }
    }

    /// The status of a node of this process.
    pub(crate) fn of(node: &NodeHandle) -> Self {
        let (status, counters, thread) = (node.status(), node.stats(), node.thread_health());
        let (config, vips) = (node.config(), node.virtual_ips());
        Self {
            role: status.role,
            leader: status.leader,
            epoch: status.epoch.map_or(0, Epoch::as_u64),
            vip_held: node.holds_vip(),
            uptime_ms: millis(node.uptime()),
            connected: status.connected,
            daemon: true,
            resigning: status.resigning,
            revision: status.revision,
            lease_ttl_ms: millis(config.lease_ttl()),
            lease_remaining_ms: Some(millis(counters.remaining)).filter(|left| *left > 0),
            heartbeat_age_ms: millis(thread.age),
            stuck: thread.stuck,
            terms: counters.terms,
            session: node.session().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            vip_link_up: vips.iter().filter_map(|vip| vip.link_up).reduce(|all, up| all && up),
            problem: problem(status.problem.as_ref(), &vips),
            vips,
            bucket: status.bucket.as_deref().map(excerpt),
            warnings: status.warnings.iter().map(|text| excerpt(text)).collect(),
            ..Self::unknown(config.cluster_id(), config.node_id())
        }
    }

    /// Parses a daemon's response, of this library or of go-cluster v2: at most 64 KiB of JSON.
    /// Unknown fields are ignored, and missing fields are zero or empty. Texts are cut at 300 bytes
    /// and made safe for a terminal.
    ///
    /// # Errors
    /// [`Malformed`] when it is too long, is not JSON, or has no node id.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let status: Self = read(bytes)?;
        require_node_id(&status.node_id)?;
        let lease_remaining_ms = status.lease_remaining_ms.filter(|left| *left > 0);
        let vips = status.vips.into_iter().take(MAX_VIPS).map(printable_state).collect();
        Ok(Self { daemon: true, lease_remaining_ms, vips, ..status })
    }
}

/// What is wrong with the store and with virtual IPs.
fn problem(error: Option<&StoreError>, vips: &[VipState]) -> Option<String> {
    let of_store = error.map(|error| excerpt(&error.to_string()));
    let of_vip = |vip: &VipState| {
        let problem = vip.problem.as_ref()?;
        Some(format!("virtual IP {} on {}: {problem}", vip.address, vip.interface))
    };
    let problems: Vec<_> = of_store.into_iter().chain(vips.iter().filter_map(of_vip)).collect();
    (!problems.is_empty()).then(|| problems.join("; "))
}

/// Texts of another node are not trusted.
fn printable_state(vip: VipState) -> VipState {
    let mut vip = vip;
    for text in [&mut vip.address, &mut vip.interface].into_iter().chain(&mut vip.problem) {
        *text = excerpt(text);
    }
    vip
}

/// Texts that are not trusted, made safe for a terminal.
fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let shown = texts.iter().map(|text| excerpt(text)).filter(|text| !text.is_empty());
    Ok(shown.take(MAX_WARNINGS).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_eight_keys_are_those_of_go_cluster() {
        let status = NodeStatus { role: Role::Leader, ..NodeStatus::unknown("orders", "node-1") };
        let text = serde_json::to_string(&status).unwrap();
        let start = r#"{"clusterId":"orders","nodeId":"node-1","role":"PRIMARY","leader":"","epoch":0,"vipHeld":false,"uptimeMs":0,"connected":false,"#;
        assert!(text.starts_with(start), "{text}");
    }

    #[test]
    fn warnings_of_a_stranger_are_few_safe_lines() {
        let warnings = vec!["a\u{1b}[2J\u{202e}"; 1_000];
        let text = serde_json::json!({ "nodeId": "n", "warnings": warnings }).to_string();
        assert_eq!(NodeStatus::parse(text.as_bytes()).unwrap().warnings, ["a [2J"; MAX_WARNINGS]);
    }

    #[test]
    fn a_status_of_go_cluster_v2_is_parsed() {
        let text = r#"{"nodeId":"n","role":"PRIMARY","leader":"n","epoch":3,"uptimeMs":9,
            "connected":true}"#;
        let status = NodeStatus::parse(text.as_bytes()).unwrap();
        assert_eq!((status.role, status.epoch, status.connected), (Role::Leader, 3, true));
        assert!(status.daemon && !status.vip_held && status.cluster_id.is_empty());
        for bytes in [&b""[..], b"{}", b"{\"nodeId\":\"\"}", b"{\"nodeId\":\"n\",\"epoch\":\"1\"}"]
        {
            assert!(NodeStatus::parse(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = NodeStatus::parse(&bytes);
        }

        #[test]
        fn a_written_status_parses_to_the_same(
            node in "[a-z]{1,9}", epoch in 0..i64::MAX as u64, leads: bool, vip_held: bool,
            vip_address in proptest::option::of("[0-9./]{1,18}"), link_up: Option<bool>,
            problem in proptest::option::of("[a-z ]{1,9}"),
            warnings in proptest::collection::vec("[a-z ]{1,9}", 0..3),
            bucket in proptest::option::of("[0-9:Z-]{1,30}"),
        ) {
            let vip = |address| VipState { address, link_up, ..VipState::default() };
            let vips = vip_address.map(vip).into_iter().collect();
            let status = NodeStatus {
                role: if leads { Role::Leader } else { Role::Follower },
                leader: leads.then(|| node.clone()),
                epoch, vip_held, vips, problem, warnings, bucket, daemon: true,
                session: "s".into(), terms: epoch / 2,
                ..NodeStatus::unknown("c", &node)
            };
            let bytes = serde_json::to_vec(&status).unwrap();
            prop_assert_eq!(NodeStatus::parse(&bytes).unwrap(), status);
        }
    }
}
