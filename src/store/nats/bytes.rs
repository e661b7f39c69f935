//! Bytes of any origin through this group's readers, and what must hold whatever they are.
//!
//! For tests and fuzzing only. Each function returns when the readers kept their promises, and
//! panics when one did not: a success that the bytes do not say, an error that is no line for a
//! log, a value that is longer than it may be.

use std::time::Duration;

use serde_json::Value;

use super::bucket::BucketOptions;
use super::jetstream::{self, Found};
use super::notice::parse_notice;
use super::subjects::Subjects;
use crate::config::Config;
use crate::error::StoreError;
use crate::lease::MAX_RECORD_BYTES;
use crate::nats::version::Version;
use crate::nats::{PermissionViolation, bytes as wire};
use crate::store::{Content, Entry, Outcome};
use crate::text::printable;

/// Calls what it is given, once: so a caller measures the reader alone, without the checks.
pub type Around<'a> = &'a dyn Fn(&mut dyn FnMut());

fn within<T>(around: Around<'_>, read: impl Fn() -> T) -> T {
    let mut result = None;
    around(&mut || result = Some(read()));
    result.expect("invariant: `around` calls what it is given")
}

fn subjects() -> Subjects {
    Subjects::new("cluster-t", "$JS.API")
}

/// A line for a log: of sane length, and nothing in it moves a cursor.
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

/// Compares with what a reader says that knows nothing of the format. It does not follow
/// everywhere: too deep for it may be what ours has no need to look at.
fn compare(bytes: &[u8], agrees: impl FnOnce(&Value) -> bool) {
    if let Ok(said) = serde_json::from_slice(bytes) {
        assert!(agrees(&said), "{said}");
    }
}

fn has_code(said: &Value, codes: &[u32]) -> bool {
    said["error"]["err_code"]
        .as_u64()
        .is_some_and(|code| codes.iter().any(|one| code == u64::from(*one)))
}

/// As the acknowledgement of a write.
pub fn acknowledgement(bytes: &[u8], around: Around<'_>) {
    let subjects = subjects();
    match within(around, || jetstream::parse_ack(bytes, &subjects.stream)) {
        Ok(Outcome::Stored { revision }) => {
            assert!(revision > 0);
            compare(bytes, |said| {
                let stored = said["seq"] == revision && said["stream"] == subjects.stream;
                stored && said["error"].is_null()
            });
        }
        Ok(Outcome::LostRace) => compare(bytes, |said| has_code(said, &jetstream::code::LOST_RACE)),
        Ok(Outcome::Failed(error)) | Err(error) => check_error(&error),
        Ok(outcome) => panic!("{outcome:?}"),
    }
}

/// As the answer to the question for the message under the key.
pub fn message(bytes: &[u8], around: Around<'_>) {
    let subjects = subjects();
    match within(around, || jetstream::parse_get(bytes, &subjects.key)) {
        Ok(Found::Some(entry)) => {
            check_entry(&entry);
            compare(bytes, |said| {
                let said = &said["message"];
                said["subject"] == subjects.key && said["seq"] == entry.revision
            });
        }
        Ok(Found::NoMessage | Found::NoBucket) => {
            compare(bytes, |said| has_code(said, &[10037, 10059]));
        }
        Err(error) => check_error(&error),
    }
}

/// As the answer to the questions for the stream and for the account, and to a creation.
pub fn stream(bytes: &[u8], around: Around<'_>) {
    let subjects = subjects();
    let options =
        BucketOptions { cluster_id: "t".into(), replicas: 1, min_max_age: Duration::from_secs(7) };
    match within(around, || jetstream::parse_info(bytes, &subjects.stream)) {
        Ok(Found::Some(info)) => {
            compare(bytes, |said| {
                let state = &said["state"];
                said["config"]["name"] == subjects.stream
                    && state["last_seq"] == info.last_seq
                    && (!info.pristine || state["messages"] == 0)
            });
            let newest = Version::parse("2.15.1");
            let checked = within(around, || options.check(&info.config, &subjects, newest));
            if let Err(error) = checked {
                check_error(&error);
            }
            if let Some(subject) = within(around, || info.config.notice_subject(&subjects.key)) {
                let plain = |b: u8| b.is_ascii_graphic() && b != b'*' && b != b'>';
                assert!(subject.len() <= 256 && subject.bytes().all(plain), "{subject:?}");
            }
        }
        Ok(Found::NoMessage | Found::NoBucket) => {}
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

/// As a notice, headers first as they are on the wire; and as a complaint of the server.
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

/// As all that a server sends in a handshake.
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
