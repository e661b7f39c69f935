//! A node's health as JSON. JSON from other nodes is not trusted.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::event::Role;
use crate::json;
use crate::text::excerpt;

/// Longest response that is parsed, in bytes.
pub const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// The health of a node, as the node itself reports it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Health {
    /// The node.
    pub node_id: String,
    /// `PRIMARY` or `PASSIVE` in JSON, as in go-cluster. Any other text is parsed as a follower.
    #[serde(serialize_with = "role")]
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
}

/// A response that cannot be parsed.
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

/// The response before it is checked: only the node id is required.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    node_id: String,
    role: Option<String>,
    leader: Option<String>,
    epoch: Option<i64>,
    uptime_ms: Option<i64>,
    timestamp: Option<i64>,
    custom: Option<Map<String, Value>>,
    connected: Option<bool>,
    stuck: Option<bool>,
    heartbeat_age_ms: Option<i64>,
    session: Option<String>,
}

impl Health {
    /// Parses a response: at most 64 KiB of JSON. Unknown fields are ignored, missing fields are
    /// zero or empty. Texts are cut at 300 bytes and made safe for a terminal.
    ///
    /// # Errors
    /// [`Malformed`] when it is too long, is not JSON, or has no node id.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let raw: Raw = read(bytes)?;
        Ok(Self {
            node_id: node_id(raw.node_id)?,
            role: role_from(raw.role.as_deref().unwrap_or_default()),
            leader: non_empty(raw.leader),
            epoch: count(raw.epoch),
            uptime_ms: count(raw.uptime_ms),
            timestamp: count(raw.timestamp),
            custom: raw.custom.unwrap_or_default(),
            connected: raw.connected,
            stuck: raw.stuck.unwrap_or_default(),
            heartbeat_age_ms: raw.heartbeat_age_ms.map(|age| count(Some(age))),
            session: non_empty(raw.session),
        })
    }
}

/// Parses a JSON object of at most [`MAX_RESPONSE_BYTES`].
pub(crate) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Malformed> {
    if bytes.len() > MAX_RESPONSE_BYTES {
        return Err(Malformed::TooLong);
    }
    json::from_slice(bytes).map_err(|error| Malformed::Unreadable(excerpt(&error.to_string())))
}

/// The id of the node that answers. An id that cannot be shown as it is could look like another.
pub(crate) fn node_id(text: String) -> Result<String, Malformed> {
    if text.is_empty() || excerpt(&text) != text {
        return Err(Malformed::Unreadable("it has no valid node id".to_owned()));
    }
    Ok(text)
}

/// A foreign text, made safe for a terminal; `None` for an empty one.
pub(crate) fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(|text| excerpt(&text))
}

/// A number that must not be negative; 0 when it is.
pub(crate) fn count(number: Option<i64>) -> u64 {
    number.and_then(|number| u64::try_from(number).ok()).unwrap_or_default()
}

/// The role in go-cluster's words.
pub(crate) fn role_text(role: Role) -> &'static str {
    match role {
        Role::Leader => "PRIMARY",
        Role::Follower => "PASSIVE",
    }
}

pub(crate) fn role_from(text: &str) -> Role {
    if text == role_text(Role::Leader) { Role::Leader } else { Role::Follower }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
pub(crate) fn role<S: Serializer>(role: &Role, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(role_text(*role))
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
                stuck, heartbeat_age_ms: age, session: None,
            };
            let bytes = serde_json::to_vec(&health).unwrap();
            prop_assert_eq!(Health::parse(&bytes).unwrap(), health);
        }
    }
}
