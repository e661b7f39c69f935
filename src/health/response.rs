//! A node's health as JSON. JSON from other nodes is not trusted.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::event::Role;
use crate::text::excerpt;

/// Longest response that is parsed, in bytes.
pub const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// The health of a node, as the node itself reports it.
///
/// ```
/// use leasehold::Role;
/// use leasehold::health::Health;
///
/// let body = br#"{"nodeId":"node-1","role":"PRIMARY","leader":"node-1","epoch":7}"#;
/// let health = Health::parse(body)?;
/// assert_eq!((health.role, health.epoch), (Role::Leader, 7));
/// assert_eq!(health.connected, None); // it did not say
/// # Ok::<(), leasehold::health::Malformed>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Health {
    /// The node.
    pub node_id: String,
    /// `PRIMARY` or `PASSIVE` in JSON, as in go-cluster. Any other text is parsed as a follower.
    #[serde(with = "role")]
    pub role: Role,
    /// The leader, as far as the node knows; an empty text in JSON when it does not know.
    #[serde(serialize_with = "text")]
    pub leader: Option<String>,
    /// The highest epoch that the node has seen; 0 before the first, and for a go-cluster v1 node.
    pub epoch: u64,
    /// Milliseconds since the node was started.
    pub uptime_ms: u64,
    /// The node's wall clock when it answered, in milliseconds since 1970.
    pub timestamp: u64,
    /// Values of the application; left out in JSON when there are none.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub custom: Map<String, Value>,
    /// Whether the election has a connection; unknown for a go-cluster v1 node and for a
    /// [standalone](super::Responder::standalone) responder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected: Option<bool>,
    /// The renewal thread is at least 2 s late.
    pub stuck: bool,
    /// Milliseconds since the last turn of the renewal thread; unknown in the cases of `connected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_age_ms: Option<u64>,
    /// The session of the node's start. It tells two nodes with the same node id apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The bucket that the node has read last: when it was created, as its server says. Unknown
    /// before the first read, and in the cases of `connected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
}

/// A response that cannot be parsed.
///
/// ```
/// use leasehold::health::{Health, Malformed};
///
/// // Any client may answer a request. What is no health does not count.
/// let bodies: [&[u8]; 2] = [b"pong", br#"{"nodeId":"node-1"}"#];
/// let nodes: Vec<_> = bodies.iter().filter_map(|body| Health::parse(body).ok()).collect();
/// assert_eq!(nodes.len(), 1);
/// assert!(matches!(Health::parse(bodies[0]), Err(Malformed::Unreadable(_))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Malformed {
    /// It is too long.
    #[error("the response is longer than {MAX_RESPONSE_BYTES} bytes")]
    TooLong,
    /// It is not a JSON object with the expected fields.
    #[error("the response cannot be parsed: {0}")]
    Unreadable(String),
}

impl Health {
    /// Parses a response: at most 64 KiB of JSON. Unknown fields are ignored, missing fields are
    /// zero or empty. Texts are cut at 300 bytes and made safe for a terminal.
    ///
    /// # Errors
    /// [`Malformed`] when it is too long, is not JSON, or has no node id.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let health: Self = read(bytes)?;
        require_node_id(&health.node_id)?;
        Ok(health)
    }
}

/// Parses a JSON object of at most [`MAX_RESPONSE_BYTES`] that is not trusted: a field that is
/// `null`, empty or negative counts as missing, and texts are made safe for a terminal.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    if bytes.len() > MAX_RESPONSE_BYTES {
        return Err(Malformed::TooLong);
    }
    let unreadable = |error: serde_json::Error| Malformed::Unreadable(excerpt(&error.to_string()));
    let mut fields: Map<String, Value> = serde_json::from_slice(bytes).map_err(unreadable)?;
    fields.retain(|key, value| match value {
        Value::Null => false,
        Value::Number(number) => number.as_i64().is_none_or(|number| number >= 0),
        Value::String(text) => {
            let shown = excerpt(text);
            // An id that cannot be shown as it is could look like another.
            let is_valid = !shown.is_empty() && (key != "nodeId" || shown == *text);
            *text = shown;
            is_valid
        }
        _ => true,
    });
    serde_json::from_value(Value::Object(fields)).map_err(unreadable)
}

/// Checks that a response names its node.
pub(crate) fn require_node_id(node_id: &str) -> Result<(), Malformed> {
    if node_id.is_empty() {
        return Err(Malformed::Unreadable("it has no valid node id".to_owned()));
    }
    Ok(())
}

/// Roles in go-cluster's words.
pub(crate) mod role {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::event::Role;

    const LEADER: &str = "PRIMARY";

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
    pub(crate) fn serialize<S: Serializer>(role: &Role, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(if *role == Role::Leader { LEADER } else { "PASSIVE" })
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Role, D::Error> {
        let text = String::deserialize(from)?;
        Ok(if text == LEADER { Role::Leader } else { Role::Follower })
    }
}

#[allow(clippy::ref_option, reason = "the signature that serde calls")]
pub(crate) fn text<S: Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_response_of_go_cluster_v1_is_parsed() {
        let text = r#"{"nodeId":"n","role":"PRIMARY","leader":"n","uptimeMs":5,"timestamp":7,
            "custom":{"a":[1,null]}}"#;
        let health = Health::parse(text.as_bytes()).unwrap();
        assert_eq!((health.role, health.leader.as_deref()), (Role::Leader, Some("n")));
        assert_eq!((health.epoch, health.uptime_ms, health.timestamp), (0, 5, 7));
        assert_eq!(health.custom["a"], json!([1, null]));
        assert_eq!((health.connected, health.session), (None, None));
        // Before its election has a result.
        let text = r#"{"nodeId":"n","role":"","leader":"","uptimeMs":0,"timestamp":7}"#;
        let health = Health::parse(text.as_bytes()).unwrap();
        assert_eq!((health.role, health.leader), (Role::Follower, None));
    }

    #[test]
    fn a_malformed_response_is_refused() {
        for bytes in [&b""[..], b"{}", b"[]", b"null", b"{\"nodeId\":\"\"}", b"{\"nodeId\":1}"] {
            assert!(matches!(Health::parse(bytes), Err(Malformed::Unreadable(_))), "{bytes:?}");
        }
        for id in ["a\\u001b[2Jb", "\\u202ea", "a\\u200b"] {
            let text = format!("{{\"nodeId\":\"{id}\"}}");
            assert!(Health::parse(text.as_bytes()).is_err(), "{id} could look like another");
        }
        let long = format!("{{\"nodeId\":\"n\",\"x\":\"{}\"}}", "x".repeat(MAX_RESPONSE_BYTES));
        assert_eq!(Health::parse(long.as_bytes()), Err(Malformed::TooLong));
        let deep = format!("{{\"nodeId\":\"n\",\"custom\":{}", "[".repeat(10_000));
        assert!(Health::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn control_characters_in_a_foreign_text_are_replaced() {
        let text = r#"{"nodeId":"a","leader":"\u009b2J"}"#;
        let health = Health::parse(text.as_bytes()).unwrap();
        assert_eq!(health.leader.as_deref(), Some(" 2J"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Health::parse(&bytes);
        }

        #[test]
        fn a_written_response_parses_to_the_same(
            node in "[a-z]{1,9}", leader in proptest::option::of("[a-z]{1,9}"),
            epoch in 0..i64::MAX as u64, leads: bool, stuck: bool,
            age in proptest::option::of(0..1_u64 << 40), connected: Option<bool>,
        ) {
            let role = if leads { Role::Leader } else { Role::Follower };
            let custom = Map::from_iter([("k".to_owned(), json!({ "v": epoch }))]);
            let health = Health {
                node_id: node, role, leader, epoch, uptime_ms: 1, timestamp: 2, custom, connected,
                stuck, heartbeat_age_ms: age, session: None, bucket: None,
            };
            let bytes = serde_json::to_vec(&health).unwrap();
            prop_assert_eq!(Health::parse(&bytes).unwrap(), health);
        }
    }
}
