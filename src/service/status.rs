//! What a daemon says of itself, in more words than health has.

use serde::{Deserialize, Serialize};

use crate::event::Role;
use crate::health::{Malformed, count, millis, node_id, read, role, role_from, text};
use crate::lease::Epoch;
use crate::node::NodeHandle;
use crate::text::excerpt;

/// A node of a cluster as it sees itself, or as an observer sees it where no daemon answers.
///
/// In JSON the first eight have go-cluster's names, and the others the same style.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools, reason = "the format of the answer")]
pub struct Status {
    /// The cluster.
    pub cluster_id: String,
    /// The node.
    pub node_id: String,
    /// `PRIMARY` or `PASSIVE` in JSON.
    #[serde(serialize_with = "role")]
    pub role: Role,
    /// Who leads, as far as is known; an empty text in JSON when nobody knows.
    #[serde(serialize_with = "text")]
    pub leader: Option<String>,
    /// The highest epoch seen; 0 before the first.
    pub epoch: u64,
    /// Whether the virtual IP is on this node.
    pub vip_held: bool,
    /// Milliseconds since the node was started; 0 without a daemon.
    pub uptime_ms: u64,
    /// Whether the daemon, or without one whoever asked, is connected to a server.
    pub connected: bool,
    /// A daemon answered. Without one this is what an observer sees.
    pub daemon: bool,
    /// It is giving its term back.
    pub resigning: bool,
    /// The newest revision known; 0 before the first.
    pub revision: u64,
    /// The time to live of leases, in milliseconds, as it is configured there.
    pub lease_ttl_ms: u64,
    /// How long the lease that this node holds lasts without another renewal, in milliseconds.
    /// `null` in JSON when it holds none, or does not say.
    pub lease_remaining_ms: Option<u64>,
    /// Milliseconds since the renewal thread last did something.
    pub heartbeat_age_ms: u64,
    /// The renewal thread is at least 2 s late.
    pub stuck: bool,
    /// Terms led since the node was started.
    pub terms: u64,
    /// The session of the node's start; empty without a daemon.
    pub session: String,
    /// The version of this library there; empty without a daemon.
    pub version: String,
    /// The virtual IP, as it is configured there.
    pub vip: Option<String>,
    /// Why nothing better is known.
    pub problem: Option<String>,
}

/// As it comes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    cluster_id: Option<String>,
    node_id: String,
    role: Option<String>,
    leader: Option<String>,
    epoch: Option<i64>,
    vip_held: Option<bool>,
    uptime_ms: Option<i64>,
    connected: Option<bool>,
    resigning: Option<bool>,
    revision: Option<i64>,
    lease_ttl_ms: Option<i64>,
    lease_remaining_ms: Option<i64>,
    heartbeat_age_ms: Option<i64>,
    stuck: Option<bool>,
    terms: Option<i64>,
    session: Option<String>,
    version: Option<String>,
    vip: Option<String>,
    problem: Option<String>,
}

impl Status {
    /// Nothing but names.
    pub(crate) fn unknown(cluster_id: &str, node_id: &str) -> Self {
        Self {
            cluster_id: cluster_id.to_owned(),
            node_id: node_id.to_owned(),
            role: Role::Follower,
            leader: None,
            epoch: 0,
            vip_held: false,
            uptime_ms: 0,
            connected: false,
            daemon: false,
            resigning: false,
            revision: 0,
            lease_ttl_ms: 0,
            lease_remaining_ms: None,
            heartbeat_age_ms: 0,
            stuck: false,
            terms: 0,
            session: String::new(),
            version: String::new(),
            vip: None,
            problem: None,
        }
    }

    /// What a node knows of itself.
    pub(crate) fn of(node: &NodeHandle) -> Self {
        let (status, figures, pulse) = (node.status(), node.stats(), node.pulse());
        let config = node.config();
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
            lease_remaining_ms: Some(millis(figures.remaining)).filter(|left| *left > 0),
            heartbeat_age_ms: millis(pulse.age),
            stuck: pulse.stuck,
            terms: figures.terms,
            session: node.session().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            vip: config.vip().map(ToString::to_string),
            ..Self::unknown(config.cluster_id(), config.node_id())
        }
    }

    /// Reads a daemon's answer: at most 64 KiB of JSON, of this library or of go-cluster v2.
    /// Unknown fields are ignored, missing ones are at their zero; texts are cut at 300 bytes
    /// and made safe for a terminal.
    ///
    /// # Errors
    /// [`Malformed`] when it is too long, no JSON, or names no node.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let raw: Raw = read(bytes)?;
        let words =
            |text: Option<String>| text.filter(|text| !text.is_empty()).map(|t| excerpt(&t));
        Ok(Self {
            cluster_id: words(raw.cluster_id).unwrap_or_default(),
            node_id: node_id(raw.node_id)?,
            role: role_from(raw.role.as_deref().unwrap_or_default()),
            leader: words(raw.leader),
            epoch: count(raw.epoch),
            vip_held: raw.vip_held.unwrap_or_default(),
            uptime_ms: count(raw.uptime_ms),
            connected: raw.connected.unwrap_or_default(),
            daemon: true,
            resigning: raw.resigning.unwrap_or_default(),
            revision: count(raw.revision),
            lease_ttl_ms: count(raw.lease_ttl_ms),
            lease_remaining_ms: Some(count(raw.lease_remaining_ms)).filter(|left| *left > 0),
            heartbeat_age_ms: count(raw.heartbeat_age_ms),
            stuck: raw.stuck.unwrap_or_default(),
            terms: count(raw.terms),
            session: words(raw.session).unwrap_or_default(),
            version: words(raw.version).unwrap_or_default(),
            vip: words(raw.vip),
            problem: words(raw.problem),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_eight_keys_are_go_clusters() {
        let status = Status { role: Role::Leader, ..Status::unknown("orders", "node-1") };
        let text = serde_json::to_string(&status).unwrap();
        let start = r#"{"clusterId":"orders","nodeId":"node-1","role":"PRIMARY","leader":"","epoch":0,"vipHeld":false,"uptimeMs":0,"connected":false,"#;
        assert!(text.starts_with(start), "{text}");
    }

    #[test]
    fn what_go_cluster_v2_says_is_read() {
        let text = r#"{"nodeId":"n","role":"PRIMARY","leader":"n","epoch":3,"uptimeMs":9,
            "connected":true}"#;
        let status = Status::parse(text.as_bytes()).unwrap();
        assert_eq!((status.role, status.epoch, status.connected), (Role::Leader, 3, true));
        assert!(status.daemon && !status.vip_held && status.cluster_id.is_empty());
        for bytes in [&b""[..], b"{}", b"{\"nodeId\":\"\"}", b"{\"nodeId\":\"n\",\"epoch\":\"1\"}"]
        {
            assert!(Status::parse(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Status::parse(&bytes);
        }

        #[test]
        fn what_is_written_is_read(
            node in "[a-z]{1,9}", epoch in 0..i64::MAX as u64, leads: bool, vip_held: bool,
            vip in proptest::option::of("[0-9./]{1,18}"),
            problem in proptest::option::of("[a-z ]{1,9}"),
        ) {
            let status = Status {
                role: if leads { Role::Leader } else { Role::Follower },
                leader: leads.then(|| node.clone()),
                epoch, vip_held, vip, problem, daemon: true, session: "s".into(), terms: epoch / 2,
                ..Status::unknown("c", &node)
            };
            let bytes = serde_json::to_vec(&status).unwrap();
            prop_assert_eq!(Status::parse(&bytes).unwrap(), status);
        }
    }
}
