//! A stream's configuration: whether a lease can be kept in it, and where its notices come.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use crate::json::optional;
use crate::text::excerpt;

/// A stream's configuration, as far as it matters here.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct RawConfig {
    pub(super) name: String,
    pub(super) subjects: Vec<String>,
    pub(super) retention: String,
    pub(super) storage: String,
    pub(super) max_age: i64,
    pub(super) num_replicas: u8,
    pub(super) no_ack: bool,
    pub(super) sealed: bool,
    pub(super) first_seq: u64,
    pub(super) persist_mode: String,
    pub(super) mirror: Option<Present>,
    pub(super) sources: Option<Vec<Present>>,
    pub(super) subject_transform: Option<Present>,
    #[serde(deserialize_with = "optional")]
    pub(super) republish: Option<RawRepublish>,
}

/// A value that is there; its content is not kept.
#[derive(Debug, PartialEq)]
pub(super) struct Present;

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// Which stored messages the server repeats, and where.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct RawRepublish {
    pub(super) src: String,
    pub(super) dest: String,
    pub(super) headers_only: bool,
}

impl RawConfig {
    /// Why a lease cannot be kept here, if so. `discard`, `deny_delete`, a longer history and the
    /// like make no difference to a lease.
    pub(super) fn unsuitable(&self, key: &str) -> Option<String> {
        let file = self.storage.is_empty() || self.storage == "file";
        let limits = self.retention.is_empty() || self.retention == "limits";
        let async_writes = self.persist_mode == "async";
        let copied = self.sources.as_ref().is_some_and(|sources| !sources.is_empty());
        let reason = match () {
            () if !file => format!("storage is {:?}, and must be \"file\"", self.storage),
            () if !limits => format!("retention is {:?}, and must be \"limits\"", self.retention),
            () if async_writes => "persist_mode is \"async\", and must be \"default\"".into(),
            () if self.mirror.is_some() => "it mirrors another stream".into(),
            () if copied => "it is filled from other streams".into(),
            () if self.subject_transform.is_some() => "it renames its subjects".into(),
            () if self.sealed => "it is sealed, so nothing can be written".into(),
            () if self.no_ack => "no_ack is set, and writes must be acknowledged".into(),
            () if !self.subjects.iter().any(|filter| matches(filter, key)) => {
                format!("its subjects {:?} do not cover {key}", self.subjects)
            }
            () => return None,
        };
        Some(excerpt(&reason))
    }

    /// The subject on which the server repeats each message stored under `key`, with its content.
    pub(super) fn notice_subject(&self, key: &str) -> Option<String> {
        let republish = self.republish.as_ref().filter(|republish| !republish.headers_only)?;
        let filter = if republish.src.is_empty() { ">" } else { &republish.src };
        let matched = if let Some(prefix) = filter.strip_suffix('>') {
            key.strip_prefix(prefix)?
        } else {
            return (filter == key).then(|| republish.dest.clone()).filter(|dest| is_literal(dest));
        };
        let prefix = republish.dest.strip_suffix('>')?;
        Some(format!("{prefix}{matched}")).filter(|subject| is_literal(subject))
    }
}

/// A subject that can be subscribed to as it stands.
fn is_literal(subject: &str) -> bool {
    let clean = |token: &str| {
        !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic() && b != b'*' && b != b'>')
    };
    subject.len() <= 256 && subject.split('.').all(clean)
}

/// Whether a subject filter with NATS wildcards covers `subject`.
fn matches(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in filter.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "$KV.cluster-t.lease";

    #[test]
    fn filters_match_as_in_nats() {
        for filter in [">", "$KV.>", "$KV.*.lease", "$KV.cluster-t.*", KEY] {
            assert!(matches(filter, KEY), "{filter}");
        }
        for filter in ["", "$KV", "$KV.*", "$KV.cluster-t.lease.>", "$KV.cluster-t.leas"] {
            assert!(!matches(filter, KEY), "{filter}");
        }
    }

    #[test]
    fn the_subject_of_notices_follows_the_republish_rule() {
        let subject = |src: &str, dest: &str, headers_only| {
            let republish = RawRepublish { src: src.into(), dest: dest.into(), headers_only };
            RawConfig { republish: Some(republish), ..RawConfig::default() }.notice_subject(KEY)
        };
        let found = |text: &str| Some(text.to_owned());
        assert_eq!(
            subject("$KV.cluster-t.>", "cluster.t.kv.>", false),
            found("cluster.t.kv.lease")
        );
        assert_eq!(subject(">", "copy.>", false), found("copy.$KV.cluster-t.lease"));
        assert_eq!(subject("", "copy.>", false), found("copy.$KV.cluster-t.lease"));
        assert_eq!(subject(KEY, "copy.one", false), found("copy.one"));
        // Rules that are not supported, or not safe to subscribe to.
        assert_eq!(subject("$KV.cluster-t.>", "cluster.t.kv.>", true), None);
        assert_eq!(subject("$KV.*.lease", "copy.$1", false), None);
        assert_eq!(subject("$KV.other.>", "copy.>", false), None);
        assert_eq!(subject(KEY, "copy.one\r\nPUB x 0", false), None);
        assert_eq!(subject(KEY, "copy.>", false), None);
        assert_eq!(RawConfig::default().notice_subject(KEY), None);
    }
}
