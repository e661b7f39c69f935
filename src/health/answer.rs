//! What a node says of itself, as JSON. What comes from elsewhere is not trusted.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::event::Role;
use crate::text::excerpt;

/// Longest answer that is read, in bytes.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Health {
    /// The node.
    pub node_id: String,
    /// `PRIMARY` or `PASSIVE` in JSON, as go-cluster has it; whatever else a node says is no
    /// leader.
    #[serde(serialize_with = "role")]
    pub role: Role,
    /// Who leads, as far as the node knows; an empty text in JSON when it does not.
    #[serde(serialize_with = "text")]
    pub leader: Option<String>,
    /// The highest epoch that the node has seen; 0 before the first, and of a go-cluster v1 node.
    pub epoch: u64,
    /// Milliseconds since the node was started.
    pub uptime_ms: u64,
    /// When it answered, by its wall clock, in milliseconds since 1970.
    pub timestamp: u64,
    /// What the application adds; left out in JSON when there is nothing.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub custom: Map<String, Value>,
    /// Whether the election has a connection; unknown of a go-cluster v1 node and of a responder
    /// that stands alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected: Option<bool>,
    /// The renewal thread is at least 2 s late.
    pub stuck: bool,
    /// Milliseconds since the renewal thread last did something; unknown as `connected` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_age_ms: Option<u64>,
    /// The session of the node's start: two of one node id are told apart by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// An answer that is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Malformed {
    /// It is longer than any answer.
    #[error("an answer of more than {MAX_ANSWER_BYTES} bytes")]
    TooLong,
    /// It is no JSON object with the fields of one.
    #[error("an answer that cannot be read: {0}")]
    Unreadable(String),
}

/// As it comes: nothing is required but the node's name.
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
    /// Reads an answer: at most 64 KiB of JSON. Unknown fields are ignored, missing ones are at
    /// their zero; texts are cut at 300 bytes and made safe for a terminal.
    ///
    /// # Errors
    /// [`Malformed`] when it is too long, no JSON, or names no node.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let raw: Raw = read(bytes)?;
        Ok(Self {
            node_id: node_id(raw.node_id)?,
            role: role_from(raw.role.as_deref().unwrap_or_default()),
            leader: raw.leader.filter(|leader| !leader.is_empty()).map(|leader| excerpt(&leader)),
            epoch: count(raw.epoch),
            uptime_ms: count(raw.uptime_ms),
            timestamp: count(raw.timestamp),
            custom: raw.custom.unwrap_or_default(),
            connected: raw.connected,
            stuck: raw.stuck.unwrap_or_default(),
            heartbeat_age_ms: raw.heartbeat_age_ms.map(|age| count(Some(age))),
            session: raw.session.filter(|session| !session.is_empty()).map(|text| excerpt(&text)),
        })
    }
}

/// Reads a JSON object within the bound.
pub(crate) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Malformed> {
    if bytes.len() > MAX_ANSWER_BYTES {
        return Err(Malformed::TooLong);
    }
    // An array would do for the parser.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Malformed::Unreadable("it is no object".to_owned()));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| Malformed::Unreadable(excerpt(&error.to_string())))
}

/// The id of the node that answers. One that cannot be shown as it is could pass for another.
pub(crate) fn node_id(text: String) -> Result<String, Malformed> {
    if text.is_empty() || excerpt(&text) != text {
        return Err(Malformed::Unreadable("it names no node".to_owned()));
    }
    Ok(text)
}

/// A number that may not be negative.
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
    fn what_go_cluster_v1_says_is_read() {
        let text = r#"{"nodeId":"n","role":"PRIMARY","leader":"n","uptimeMs":5,"timestamp":7,
            "custom":{"a":[1,null]}}"#;
        let health = Health::parse(text.as_bytes()).unwrap();
        assert_eq!((health.role, health.leader.as_deref()), (Role::Leader, Some("n")));
        assert_eq!((health.epoch, health.uptime_ms, health.timestamp), (0, 5, 7));
        assert_eq!(health.custom["a"], json!([1, null]));
        assert_eq!((health.connected, health.session), (None, None));
        // Before its election has told it anything.
        let text = r#"{"nodeId":"n","role":"","leader":"","uptimeMs":0,"timestamp":7}"#;
        let health = Health::parse(text.as_bytes()).unwrap();
        assert_eq!((health.role, health.leader), (Role::Follower, None));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for bytes in [&b""[..], b"{}", b"[]", b"null", b"{\"nodeId\":\"\"}", b"{\"nodeId\":1}"] {
            assert!(matches!(Health::parse(bytes), Err(Malformed::Unreadable(_))), "{bytes:?}");
        }
        for id in ["a\\u001b[2Jb", "\\u202ea", "a\\u200b"] {
            let text = format!("{{\"nodeId\":\"{id}\"}}");
            assert!(Health::parse(text.as_bytes()).is_err(), "{id} could pass for another");
        }
        let long = format!("{{\"nodeId\":\"n\",\"x\":\"{}\"}}", "x".repeat(MAX_ANSWER_BYTES));
        assert_eq!(Health::parse(long.as_bytes()), Err(Malformed::TooLong));
        let deep = format!("{{\"nodeId\":\"n\",\"custom\":{}", "[".repeat(10_000));
        assert!(Health::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn a_strangers_text_cannot_move_the_cursor() {
        let text = r#"{"nodeId":"a","leader":"\u009b2J"}"#;
        let health = Health::parse(text.as_bytes()).unwrap();
        assert_eq!(health.leader.as_deref(), Some(" 2J"));
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Health::parse(&bytes);
        }

        #[test]
        fn what_is_written_is_read(
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
