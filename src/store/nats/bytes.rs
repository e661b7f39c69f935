//! Checks this group's readers with any bytes. For tests and fuzzing only.
//!
//! Each function returns when the readers kept their promises, and panics when one did not: a
//! success that the bytes do not contain, an error that is no safe line for a log, a value that is
//! longer than allowed.

use std::time::Duration;

use serde_json::Value;

use super::bucket::BucketOptions;
use super::jetstream::{self, Ack, Found};
use super::notice::parse_notice;
use super::subjects::Subjects;
use crate::config::Config;
use crate::error::StoreError;
use crate::lease::MAX_RECORD_BYTES;
use crate::nats::version::Version;
use crate::nats::{PermissionViolation, bytes as wire};
use crate::store::{Content, Entry, Outcome};
use crate::text::printable;

/// Calls its argument once. So a caller measures the reader alone, without the checks.
pub type Around<'a> = &'a dyn Fn(&mut dyn FnMut());

#[allow(clippy::expect_used, reason = "the message names the invariant")]
fn within<T>(around: Around<'_>, read: impl Fn() -> T) -> T {
    let mut result = None;
    around(&mut || result = Some(read()));
    result.expect("invariant: `around` calls its argument")
}

fn subjects() -> Subjects {
    Subjects::new("cluster-t", "$JS.API")
}

/// An error must be a line for a log: short, and without control characters.
fn check_error(error: &StoreError) {
    let text = error.to_string();
    assert!(text.chars().count() < 1_000, "{} characters", text.len());
    assert_eq!(text, printable(&text));
}

fn check_entry(entry: &Entry) {
    assert!(entry.revision > 0);
    if let Content::Value(value) = &entry.content {
        assert!(value.len() <= MAX_RECORD_BYTES + 1, "{}", value.len());
    }
}

/// Compares with a reader of any JSON, where that one can read the bytes. It refuses deep nesting,
/// even in parts that our readers skip.
fn compare(bytes: &[u8], agrees: impl FnOnce(&Value) -> bool) {
    if let Ok(json) = serde_json::from_slice(bytes) {
        assert!(agrees(&json), "{json}");
    }
}

fn has_code(json: &Value, codes: &[u32]) -> bool {
    json["error"]["err_code"]
        .as_u64()
        .is_some_and(|code| codes.iter().any(|one| code == u64::from(*one)))
}

/// As the acknowledgement of a write.
pub fn acknowledgement(bytes: &[u8], around: Around<'_>) {
    let subjects = subjects();
    match within(around, || jetstream::parse_ack(bytes, &subjects.stream)) {
        Ok(Ack::Stored { revision }) => {
            assert!(revision > 0);
            compare(bytes, |json| {
                let stored = json["seq"] == revision && json["stream"] == subjects.stream;
                stored && json["error"].is_null()
            });
        }
        Ok(Ack::LostRace(error)) => {
            compare(bytes, |json| has_code(json, &jetstream::code::LOST_RACE));
            check_error(&error);
        }
        Ok(Ack::Refused(error)) | Err(error) => check_error(&error),
    }
}

/// As the response to the question for the message under the key.
pub fn message(bytes: &[u8], around: Around<'_>) {
    let subjects = subjects();
    match within(around, || jetstream::parse_get(bytes, &subjects.key)) {
        Ok(Found::Some(entry)) => {
            check_entry(&entry);
            compare(bytes, |json| {
                let json = &json["message"];
                json["subject"] == subjects.key && json["seq"] == entry.revision
            });
        }
        Ok(Found::NoMessage | Found::NoBucket) => {
            compare(bytes, |json| has_code(json, &[10037, 10059]));
        }
        Err(error) => check_error(&error),
    }
}

/// As the response to the questions for the stream and for the account, and to a creation.
pub fn stream(bytes: &[u8], around: Around<'_>) {
    let subjects = subjects();
    let options =
        BucketOptions { cluster_id: "t".into(), replicas: 1, min_max_age: Duration::from_secs(7) };
    match within(around, || jetstream::parse_info(bytes, &subjects.stream)) {
        Ok(Some(info)) => {
            compare(bytes, |json| {
                let state = &json["state"];
                json["config"]["name"] == subjects.stream
                    && state["last_seq"] == info.last_seq
                    && (!info.pristine || state["messages"] == 0)
            });
            let newest = Version::parse("2.15.1");
            let cluster = info.cluster.as_deref();
            let checked =
                within(around, || options.check(&info.config, cluster, &subjects, newest));
            match checked {
                Ok(warnings) => warnings.iter().for_each(|text| assert_eq!(*text, printable(text))),
                Err(error) => check_error(&error),
            }
            if let Some(subject) = within(around, || info.config.notice_subject(&subjects.key)) {
                let plain = |b: u8| b.is_ascii_graphic() && b != b'*' && b != b'>';
                assert!(subject.len() <= 256 && subject.bytes().all(plain), "{subject:?}");
            }
        }
        Ok(None) => {}
        Err(error) => check_error(&error),
    }
    match within(around, || jetstream::parse_create(bytes, &subjects.stream)) {
        Ok(Outcome::Created) => {}
        Ok(Outcome::Failed(error)) | Err(error) => check_error(&error),
        Ok(outcome) => panic!("{outcome:?}"),
    }
    if let Err(error) = within(around, || jetstream::parse_account(bytes)) {
        check_error(&error);
    }
}

/// As a notice, headers first as they are on the wire; and as an error of the server.
pub fn notice(bytes: &[u8], around: Around<'_>) {
    let subjects = subjects();
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let (block, data) = bytes.split_at(end);
    if let Some(message) = wire::message("cluster.t.kv.lease", block, data) {
        if let Some(entry) = within(around, || parse_notice(&message, &subjects)) {
            check_entry(&entry);
            assert!(matches!(entry.content, Content::Marker) || data.len() >= entry_length(&entry));
        }
    }
    if let Some(violation) = std::str::from_utf8(bytes).ok().and_then(PermissionViolation::parse) {
        assert!(violation.subject.len() < bytes.len());
    }
}

fn entry_length(entry: &Entry) -> usize {
    match &entry.content {
        Content::Value(value) => value.len(),
        Content::Marker => 0,
    }
}

/// As all that a server sends: the operations are the same, in whatever pieces the bytes arrive.
pub fn operations(bytes: &[u8], around: Around<'_>) {
    // One after the other, as a connection takes them: their sum is not the parser's memory.
    within(around, || _ = wire::each_operation(bytes, bytes.len(), drop));
    let operations = |piece| {
        let mut operations = Vec::new();
        let end = wire::each_operation(bytes, piece, |operation| operations.push(operation));
        (operations, end)
    };
    let whole = operations(bytes.len());
    for piece in [1, 2, 7, 64] {
        assert_eq!(operations(piece), whole, "in pieces of {piece}");
    }
}

/// As all that a server sends in a handshake.
#[allow(clippy::expect_used, reason = "the message names the invariant")]
pub fn handshake(bytes: &[u8], around: Around<'_>) {
    let config = Config::new("t", "n", ["nats://a.example", "nats://b.example"])
        .expect("invariant: a plain configuration is valid");
    if let Err(error) = within(around, || wire::handshake(&config, bytes)) {
        check_error(&error);
    }
    let version = Version::parse(&String::from_utf8_lossy(bytes)).to_string();
    assert_eq!(version, Version::parse(&version).to_string());
}

#[cfg(test)]
#[path = "bytes_tests.rs"]
mod tests;
