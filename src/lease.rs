//! The record under the key `lease`: its fields, its JSON, and how foreign bytes are decoded.
//!
//! The JSON is a superset of the record of go-cluster v1, so that both can share a bucket. The two
//! times in it are for people and for v1. The election never decides by them.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::{json, utc};

/// The longest application value in a record, in bytes of JSON text.
pub const MAX_META_BYTES: usize = 4096;
/// The longest record that is decoded, in bytes. A longer one is undecodable.
pub const MAX_RECORD_BYTES: usize = 16 * 1024;
/// The longest node id in a record, in bytes. This crate writes shorter ones; go-cluster writes
/// any.
pub const MAX_NODE_ID_BYTES: usize = 256;
/// The smallest `ttl_ms` that is decoded.
pub const MIN_TTL: Duration = Duration::from_millis(100);
/// The largest `ttl_ms` that is decoded.
pub const MAX_TTL: Duration = Duration::from_secs(3600);

/// The fencing number of a term: higher than that of every earlier term. 1 … `i64::MAX`, because
/// go-cluster's type is signed.
///
/// ```
/// use leasehold::Epoch;
///
/// let epoch = Epoch::new(7).unwrap();
/// assert_eq!("7".parse(), Ok(epoch));
/// assert_eq!((u64::from(epoch), epoch.to_string()), (7, "7".to_owned()));
/// assert_eq!(serde_json::from_str::<Epoch>("7").unwrap(), epoch);
/// assert!(Epoch::new(0).is_none() && "+7".parse::<Epoch>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u64", try_from = "u64")]
pub struct Epoch(NonZeroU64);

impl Epoch {
    /// The largest epoch.
    pub const MAX: u64 = i64::MAX.unsigned_abs();

    /// The epoch of that number; `None` outside 1 … [`Epoch::MAX`].
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).filter(|n| n.get() <= Self::MAX).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0.get()
    }
}

impl From<Epoch> for u64 {
    fn from(epoch: Epoch) -> Self {
        epoch.as_u64()
    }
}

impl TryFrom<u64> for Epoch {
    type Error = InvalidEpoch;

    fn try_from(number: u64) -> Result<Self, InvalidEpoch> {
        Self::new(number).ok_or(InvalidEpoch)
    }
}

impl FromStr for Epoch {
    type Err = InvalidEpoch;

    /// Reads decimal digits, without a sign.
    fn from_str(text: &str) -> Result<Self, InvalidEpoch> {
        // `parse` would accept a sign.
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number.and_then(Self::new).ok_or(InvalidEpoch)
    }
}

/// The text or number is no epoch.
///
/// ```
/// use leasehold::lease::{Epoch, InvalidEpoch};
///
/// // A resource refuses a request whose epoch is none.
/// let status = |header: &str| match header.parse::<Epoch>() {
///     Ok(_) => 200,
///     Err(InvalidEpoch) => 400,
/// };
/// assert_eq!((status("7"), status("0"), status("seven")), (200, 400, 400));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an epoch: must be a whole number from 1 to {}", Epoch::MAX)]
pub struct InvalidEpoch;

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// 128 random bits that tell one start of a node from every other, even of the same node id.
///
/// As text, and in JSON, it is 32 hexadecimal digits.
///
/// ```
/// use leasehold::SessionId;
///
/// let session = SessionId::from_bits(0xab);
/// let text = session.to_string();
/// assert_eq!(text, "000000000000000000000000000000ab");
/// assert_eq!(text.parse(), Ok(session));
/// assert_eq!(serde_json::to_value(session).unwrap(), text);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SessionId(u128);

impl SessionId {
    /// The session of these bits. Two running nodes must never share one: both could lead.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u128 {
        self.0
    }
}

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    /// Reads 32 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, InvalidSessionId> {
        let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let bits = u128::from_str_radix(text, 16).ok().filter(|_| hex);
        bits.map(Self).ok_or(InvalidSessionId)
    }
}

impl From<SessionId> for String {
    fn from(session: SessionId) -> Self {
        session.to_string()
    }
}

impl TryFrom<String> for SessionId {
    type Error = InvalidSessionId;

    fn try_from(text: String) -> Result<Self, InvalidSessionId> {
        text.parse()
    }
}

/// The text is no session id.
///
/// ```
/// use leasehold::lease::{InvalidSessionId, SessionId};
///
/// let stored = "000000ab"; // the file was cut off: restore it, do not guess
/// assert_eq!(stored.parse::<SessionId>(), Err(InvalidSessionId));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a session id: must be 32 hexadecimal digits")]
pub struct InvalidSessionId;

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// A decoded record.
///
/// ```
/// use leasehold::lease::Lease;
///
/// let bytes = br#"{"node_id":"node-1","epoch":7,"ttl_ms":10000}"#; // read by another client
/// let lease = Lease::decode(bytes)?;
/// assert_eq!((lease.node_id.as_str(), lease.epoch.as_u64()), ("node-1", 7));
/// assert!(!lease.is_released());
/// # Ok::<(), leasehold::lease::Undecodable>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    /// The holder's node id; empty once the lease was released.
    pub node_id: String,
    /// The holder's session; `None` in records of go-cluster v1.
    pub session: Option<SessionId>,
    /// The fencing number of the term.
    pub epoch: Epoch,
    /// The number of the write within its session; 0 in records of go-cluster v1.
    pub write: u64,
    /// How long a challenger waits after it first saw this revision; `None` in records of v1.
    pub ttl: Option<Duration>,
    /// This is a release, and the holder's work had stopped when it was written.
    pub clean: bool,
    /// The node that a release is meant for.
    pub successor: Option<String>,
    /// The leader's application value.
    pub meta: Option<serde_json::Value>,
}

impl Lease {
    /// Whether the record names no holder.
    #[must_use]
    pub fn is_released(&self) -> bool {
        self.node_id.is_empty()
    }

    /// The record as JSON. The two wall-clock times, of this write and of the first write of its
    /// term, are for people.
    #[must_use]
    #[allow(clippy::expect_used, reason = "the message names the invariant")]
    pub fn encode(&self, wall: SystemTime, acquired_at: SystemTime) -> Vec<u8> {
        let ttl = self.ttl.unwrap_or(Duration::ZERO);
        let expires =
            if self.is_released() { wall.checked_sub(ttl) } else { wall.checked_add(ttl) };
        let record = Json {
            node_id: self.node_id.clone(),
            session: self.session.map(|session| session.to_string()),
            epoch: self.epoch.as_u64(),
            n: self.write,
            ttl_ms: self.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
            clean: self.clean,
            successor: self.successor.clone(),
            meta: self.meta.clone(),
            expires_at: utc::rfc3339(expires.unwrap_or(wall)),
            acquired_at: utc::rfc3339(acquired_at),
        };
        serde_json::to_vec(&record).expect("invariant: a record has string keys only")
    }

    /// Decodes bytes of any origin.
    ///
    /// # Errors
    /// [`Undecodable`] says what is wrong with the bytes. The election waits a full TTL then.
    pub fn decode(bytes: &[u8]) -> Result<Self, Undecodable> {
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(Undecodable(format!(
                "{} bytes long, at most {MAX_RECORD_BYTES} are decoded",
                bytes.len()
            )));
        }
        let raw: Json = json::from_slice(bytes).map_err(|error| {
            // Only the position: the message of serde could quote the foreign bytes.
            Undecodable(format!("not a lease, line {} column {}", error.line(), error.column()))
        })?;
        raw.try_into()
    }
}

/// Why bytes are not a valid record.
///
/// ```
/// use leasehold::lease::Lease;
///
/// let error = Lease::decode(br#"{"node_id":"node-1","epoch":0}"#).unwrap_err();
/// assert!(error.to_string().starts_with("undecodable record: epoch is 0"));
/// // A node reports this as `Event::CorruptRecord`, and challenges after a TTL.
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("undecodable record: {0}")]
pub struct Undecodable(String);

/// The record in JSON. The two times are written only.
#[derive(Serialize, Deserialize)]
struct Json {
    #[serde(default)]
    node_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    epoch: u64,
    #[serde(default)]
    n: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    clean: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    successor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<serde_json::Value>,
    #[serde(skip_deserializing)]
    expires_at: String,
    #[serde(skip_deserializing)]
    acquired_at: String,
}

impl TryFrom<Json> for Lease {
    type Error = Undecodable;

    fn try_from(raw: Json) -> Result<Self, Undecodable> {
        let bad = |what: String| Err(Undecodable(what));
        let Some(epoch) = Epoch::new(raw.epoch) else {
            return bad(format!("epoch is {}, must be 1 to {}", raw.epoch, Epoch::MAX));
        };
        let ttl = raw.ttl_ms.map(Duration::from_millis);
        if let Some(ttl) = ttl.filter(|ttl| !(MIN_TTL..=MAX_TTL).contains(ttl)) {
            return bad(format!("ttl_ms is {}, must be 100 to 3600000", ttl.as_millis()));
        }
        let session = match raw.session.as_deref().map(str::parse) {
            Some(Err(_)) => return bad("session is not 32 hexadecimal digits".to_owned()),
            session => session.and_then(Result::ok),
        };
        for (field, id) in [("node_id", Some(&raw.node_id)), ("successor", raw.successor.as_ref())]
        {
            if id.is_some_and(|id| !is_presentable(id)) {
                let limit = format!("must be at most {MAX_NODE_ID_BYTES} bytes of visible text");
                return bad(format!("{field} {limit}"));
            }
        }
        // Records of v1 have no session, and do not promise that the holder's work had stopped.
        let clean = raw.clean && session.is_some() && raw.node_id.is_empty();
        Ok(Self {
            node_id: raw.node_id,
            session,
            epoch,
            write: raw.n,
            ttl,
            clean,
            successor: raw.successor,
            meta: raw.meta,
        })
    }
}

/// Whether an id of any origin can be shown as it is, in a log line and on a terminal. No control
/// character, line end or invisible character is allowed, and none that changes the direction of
/// text.
fn is_presentable(id: &str) -> bool {
    let visible =
        |c: char| c == ' ' || c.is_ascii_graphic() || (!c.is_ascii() && c.is_alphanumeric());
    id.len() <= MAX_NODE_ID_BYTES && id.chars().all(visible)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Lease {
        Lease {
            node_id: "a".to_owned(),
            session: Some(SessionId::from_bits(7)),
            epoch: Epoch::new(3).unwrap(),
            write: 9,
            ttl: Some(Duration::from_secs(10)),
            clean: false,
            successor: None,
            meta: Some(serde_json::json!({"addr": "10.0.0.1:80"})),
        }
    }

    #[test]
    fn decode_returns_what_encode_was_given() {
        let lease = held();
        assert_eq!(
            Lease::decode(&lease.encode(SystemTime::now(), SystemTime::now())).unwrap(),
            lease
        );
    }

    #[test]
    fn times_are_rfc_3339_and_a_release_has_expired() {
        let wall = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 5_000_000);
        let text = String::from_utf8(held().encode(wall, wall)).unwrap();
        assert!(text.contains("\"expires_at\":\"2023-11-14T22:13:30.005000Z\""), "{text}");
        let released = Lease { node_id: String::new(), clean: true, ..held() };
        let text = String::from_utf8(released.encode(wall, wall)).unwrap();
        assert!(text.contains("\"expires_at\":\"2023-11-14T22:13:10.005000Z\""), "{text}");
    }

    #[test]
    fn a_record_of_go_cluster_v1_is_decoded() {
        let bytes = br#"{"node_id":"n1","epoch":4,"expires_at":"2026-01-02T03:04:05.123456789Z",
            "acquired_at":"2026-01-02T03:03:55.123456789Z"}"#;
        let lease = Lease::decode(bytes).unwrap();
        assert_eq!((lease.node_id.as_str(), lease.epoch.as_u64()), ("n1", 4));
        assert_eq!((lease.session, lease.ttl, lease.write), (None, None, 0));
    }

    #[test]
    fn an_error_names_the_field_that_is_out_of_range() {
        for (bytes, names) in [
            (r#"{"epoch":0}"#, "epoch"),
            (r#"{"epoch":9223372036854775808}"#, "epoch"),
            (r#"{"epoch":1,"ttl_ms":99}"#, "ttl_ms"),
            (r#"{"epoch":1,"ttl_ms":3600001}"#, "ttl_ms"),
            (r#"{"epoch":1,"session":"+0000000000000000000000000000001"}"#, "session"),
            (r#"{"epoch":1,"session":"zz"}"#, "session"),
            (r#"{"epoch":-1}"#, "not a lease"),
            ("", "not a lease"),
            ("[]", "not a lease"),
            (r#"["n",null,1,1,null,false,null,null]"#, "not a lease"),
        ] {
            let error = Lease::decode(bytes.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(names), "{bytes}: {error}");
        }
    }

    /// Node ids are logged and shown. A foreign writer must not be able to forge a log line.
    #[test]
    fn an_id_that_could_forge_a_log_line_is_undecodable() {
        for id in ["a\\nb", "\\u001b[2J", "\\u0000", "\\u202eb", "\\u2028", &"a".repeat(257)] {
            for field in ["node_id", "successor"] {
                let bytes = format!(r#"{{"epoch":1,"{field}":"{id}"}}"#);
                let error = Lease::decode(bytes.as_bytes()).unwrap_err().to_string();
                assert!(error.contains(field) && error.len() < 100, "{bytes}: {error}");
            }
        }
        for id in ["", "node-1.example", "büro 7", "節点", "host:4222/x"] {
            let bytes = format!(r#"{{"epoch":1,"node_id":"{id}"}}"#);
            assert_eq!(Lease::decode(bytes.as_bytes()).unwrap().node_id, id);
        }
    }

    #[test]
    fn debug_output_names_sessions_and_epochs() {
        let session = SessionId::from_bits(0xab << 64);
        assert_eq!(session.bits(), 0xab << 64);
        assert_eq!(format!("{session:?}"), "SessionId(00000000000000ab0000000000000000)");
        assert_eq!(format!("{:?}", held().epoch), "Epoch(3)");
    }

    #[test]
    fn the_longest_record_is_decoded_and_a_longer_one_is_not() {
        let mut bytes = held().encode(SystemTime::now(), SystemTime::now());
        bytes.resize(16_384, b' ');
        assert_eq!(Lease::decode(&bytes), Ok(held()));
        bytes.push(b' ');
        assert!(Lease::decode(&bytes).is_err());
    }

    #[test]
    fn blanks_and_deep_nesting_are_undecodable() {
        assert!(Lease::decode(&vec![b' '; MAX_RECORD_BYTES + 1]).is_err());
        assert!(Lease::decode("[".repeat(MAX_RECORD_BYTES).as_bytes()).is_err());
    }

    #[test]
    fn a_held_record_or_one_without_session_is_never_clean() {
        let held = br#"{"node_id":"a","epoch":1,"clean":true}"#;
        assert!(!Lease::decode(held).unwrap().clean);
        let anonymous = br#"{"node_id":"","epoch":1,"clean":true}"#;
        assert!(!Lease::decode(anonymous).unwrap().clean);
    }
}
