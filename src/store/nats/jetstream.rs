//! JetStream's responses, as far as a lease needs them: pure functions over bytes.
//!
//! The formats are those of the NATS architecture decision records (ADR-1 for the JSON API, ADR-8
//! for key-value buckets). Every response is read into a private raw struct. One that does not fit
//! is [`Malformed`](StoreError::Malformed), which makes the outcome *unknown*.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::stream_config::RawConfig;
use crate::error::StoreError;
use crate::json::{self, optional};
use crate::lease::MAX_RECORD_BYTES;
use crate::store::{Content, Entry, Incarnation, Outcome};
use crate::text::excerpt;

/// Error codes (`err_code`) of the JetStream API.
pub(super) mod code {
    pub(super) const NO_MESSAGE: u32 = 10037;
    pub(super) const NOT_FOR_ACCOUNT: u32 = 10039;
    pub(super) const NAME_IN_USE: u32 = 10058;
    pub(super) const NO_STREAM: u32 = 10059;
    pub(super) const NOT_ENABLED: u32 = 10076;
    /// The newest message is not the named one, or its name is forgotten.
    const WRONG_LAST_MESSAGE: u32 = 10070;
    /// The expected revision does not hold.
    const WRONG_SEQUENCE: u32 = 10071;
    /// The same, found while another write was on its way through the replicas.
    const WRONG_SEQUENCE_IN_FLIGHT: u32 = 10164;
    /// A condition of the write did not hold.
    pub(in crate::store::nats) const LOST_RACE: [u32; 3] =
        [WRONG_LAST_MESSAGE, WRONG_SEQUENCE, WRONG_SEQUENCE_IN_FLIGHT];
}

/// The error part of any response.
#[derive(Debug, Deserialize)]
struct RawError {
    #[serde(default)]
    code: u32,
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

impl RawError {
    fn into_error(self) -> StoreError {
        let description = excerpt(&self.description);
        match self.err_code {
            code::NOT_ENABLED | code::NOT_FOR_ACCOUNT => StoreError::JetStream(description.into()),
            0 => StoreError::Server { code: self.code, description: description.into() },
            code => StoreError::Server { code, description: description.into() },
        }
    }

    /// The server may have begun, or another process may have responded for it.
    fn is_doubtful(&self) -> bool {
        !(400..500).contains(&self.code)
    }
}

#[derive(Deserialize)]
struct RawAck {
    #[serde(default, deserialize_with = "optional")]
    error: Option<RawError>,
    stream: Option<String>,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
}

/// The acknowledgement of a write.
#[derive(Debug, PartialEq)]
pub(super) enum Ack {
    Stored {
        revision: u64,
    },
    /// A condition of the write did not hold, by this error.
    LostRace(StoreError),
    /// The write was not stored, and will not be.
    Refused(StoreError),
}

/// Reads the acknowledgement of a write to `stream`.
///
/// A lost race carries `stream` and `seq` beside `error` (seen with code 10164), so the error is
/// looked at first.
///
/// # Errors
/// The write may have been stored, or may be stored later.
pub(super) fn parse_ack(body: &[u8], stream: &str) -> Result<Ack, StoreError> {
    let raw: RawAck = parse(body)?;
    match raw.error {
        Some(error) if code::LOST_RACE.contains(&error.err_code) => {
            return Ok(Ack::LostRace(error.into_error()));
        }
        Some(error) if error.is_doubtful() => return Err(error.into_error()),
        Some(error) => return Ok(Ack::Refused(error.into_error())),
        None => {}
    }
    match raw.seq {
        _ if raw.stream.as_deref() != Some(stream) => {
            Err(malformed("an acknowledgement of another stream"))
        }
        0 => Err(malformed("an acknowledgement without a revision")),
        _ if raw.duplicate => Err(malformed("an acknowledgement of a duplicate")),
        revision => Ok(Ack::Stored { revision }),
    }
}

/// The response to the question for the message under the key, when it is no other error.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    Some(Entry),
    /// There is a bucket, but nothing under the key.
    NoMessage,
    NoBucket,
}

#[derive(Deserialize)]
struct RawGet<'a> {
    #[serde(default, deserialize_with = "optional")]
    error: Option<RawError>,
    #[serde(borrow, default, deserialize_with = "optional")]
    message: Option<RawMessage<'a>>,
}

#[derive(Deserialize)]
struct RawMessage<'a> {
    subject: String,
    seq: u64,
    #[serde(borrow, default)]
    hdrs: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Cow<'a, str>,
}

/// Reads the response to `Subjects::get`.
pub(super) fn parse_get(body: &[u8], key: &str) -> Result<Found, StoreError> {
    let raw: RawGet<'_> = parse(body)?;
    if let Some(error) = raw.error {
        return match error.err_code {
            code::NO_MESSAGE => Ok(Found::NoMessage),
            code::NO_STREAM => Ok(Found::NoBucket),
            _ => Err(error.into_error()),
        };
    }
    let message = raw.message.ok_or_else(|| malformed("neither message nor error"))?;
    if message.subject != key || message.seq == 0 {
        return Err(malformed("a message that was not asked for"));
    }
    let headers = decode(&message.hdrs)?;
    let content = if is_marker(&String::from_utf8_lossy(&headers)) {
        Content::Marker
    } else {
        Content::Value(clip_value(&decode(&message.data)?))
    };
    Ok(Found::Some(Entry { revision: message.seq, content }))
}

/// The bucket, as the response to `Subjects::info` describes it.
#[derive(Debug, PartialEq)]
pub(super) struct Info {
    pub(super) incarnation: Incarnation,
    pub(super) last_seq: u64,
    pub(super) pristine: bool,
    /// The name of the servers' cluster, if they have one.
    pub(super) cluster: Option<String>,
    pub(super) config: RawConfig,
}

#[derive(Deserialize)]
struct RawInfo {
    #[serde(default, deserialize_with = "optional")]
    error: Option<RawError>,
    created: Option<String>,
    #[serde(default, deserialize_with = "optional")]
    state: Option<RawState>,
    #[serde(default, deserialize_with = "optional")]
    config: Option<RawConfig>,
    #[serde(default, deserialize_with = "optional")]
    cluster: Option<RawCluster>,
}

/// A server without a cluster names only itself here, as the leader.
#[derive(Deserialize)]
struct RawCluster {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct RawState {
    messages: u64,
    last_seq: u64,
}

/// Reads the response to `Subjects::info`; `None` when there is no bucket.
pub(super) fn parse_info(body: &[u8], stream: &str) -> Result<Option<Info>, StoreError> {
    let raw: RawInfo = parse(body)?;
    match raw.error {
        Some(error) if error.err_code == code::NO_STREAM => return Ok(None),
        Some(error) => return Err(error.into_error()),
        None => {}
    }
    let (Some(created), Some(state), Some(config)) = (raw.created, raw.state, raw.config) else {
        return Err(malformed("neither a stream nor an error"));
    };
    if config.name != stream || created.is_empty() || created.len() > 64 {
        return Err(malformed("another stream"));
    }
    // Not `state.first_seq`: a purge moves it up to `last_seq + 1`, and the bucket would look new.
    let pristine = state.messages == 0 && state.last_seq == config.first_seq.max(1) - 1;
    let incarnation = Incarnation::new(&created);
    let cluster = raw.cluster.map(|cluster| excerpt(&cluster.name));
    let cluster = cluster.filter(|name| !name.is_empty());
    Ok(Some(Info { incarnation, last_seq: state.last_seq, pristine, cluster, config }))
}

/// Reads the response to `Subjects::create`. A bucket of another configuration counts as created:
/// the read that follows shows whether it is suitable.
///
/// # Errors
/// The bucket may have been created.
pub(super) fn parse_create(body: &[u8], stream: &str) -> Result<Outcome, StoreError> {
    match parse(body)? {
        RawInfo { error: Some(error), .. } if error.err_code == code::NAME_IN_USE => {
            Ok(Outcome::Created)
        }
        // If the server created it nevertheless, the read that follows finds it.
        RawInfo { error: Some(error), .. } => Ok(Outcome::Failed(error.into_error())),
        RawInfo { config: Some(config), .. } if config.name == stream => Ok(Outcome::Created),
        _ => Err(malformed("neither a stream nor an error")),
    }
}

/// Reads the response to `Subjects::account`: whether the account has JetStream.
pub(super) fn parse_account(body: &[u8]) -> Result<(), StoreError> {
    #[derive(Deserialize)]
    struct RawResponse {
        #[serde(default, deserialize_with = "optional")]
        error: Option<RawError>,
    }
    parse::<RawResponse>(body)?.error.map_or(Ok(()), |error| Err(error.into_error()))
}

/// Whether a message's headers mark the key as deleted, purged, or expired by the server.
fn is_marker(headers: &str) -> bool {
    headers
        .lines()
        .filter_map(|line| line.split_once(':'))
        .any(|(name, value)| marks_deletion(name.trim(), value.trim()))
}

/// Whether a header of that name and value makes a message a marker.
pub(super) fn marks_deletion(name: &str, value: &str) -> bool {
    name.eq_ignore_ascii_case("Nats-Marker-Reason")
        || (name.eq_ignore_ascii_case("KV-Operation")
            && (value.eq_ignore_ascii_case("DEL") || value.eq_ignore_ascii_case("PURGE")))
}

/// Longer values are cut one byte above what is decodable: still undecodable, and small.
pub(super) fn clip_value(value: &[u8]) -> Vec<u8> {
    value[..value.len().min(MAX_RECORD_BYTES + 1)].to_vec()
}

pub(super) fn malformed(what: &str) -> StoreError {
    StoreError::Malformed(what.into())
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, StoreError> {
    json::from_slice(body).map_err(|error| malformed(&excerpt(&error.to_string())))
}

fn decode(text: &str) -> Result<Vec<u8>, StoreError> {
    STANDARD.decode(text).map_err(|_| malformed("base64"))
}

#[cfg(test)]
mod tests;
