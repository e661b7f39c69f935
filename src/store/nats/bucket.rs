//! The bucket: how it is created, and which existing ones will do.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use serde_json::json;

use super::jetstream::Subjects;
use crate::error::StoreError;
use crate::text::excerpt;

/// Replicated compare-and-set is atomic from this server version on.
pub(super) const REPLICAS_SINCE: Version = Version(2, 11, 0);

/// What the lease asks of its bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketOptions {
    /// The cluster's id; the bucket is `cluster-<id>`. Letters, digits, `-` and `_`.
    pub cluster_id: String,
    /// Copies of a bucket that is created here: 1 to 5. More than 1 needs nats-server 2.11.
    pub replicas: u8,
    /// A bucket whose `max_age` is this or shorter is refused: the record would expire under a live
    /// leader. Two renewal intervals and a request timeout.
    pub min_max_age: Duration,
}

impl BucketOptions {
    /// The bucket's name.
    #[must_use]
    pub fn bucket(&self) -> String {
        format!("cluster-{}", self.cluster_id)
    }

    /// Where the server repeats what was stored under the key, in a bucket that we created.
    pub(super) fn notice_subject(&self) -> String {
        format!("cluster.{}.kv.lease", self.cluster_id)
    }

    /// The body of the request to create the bucket.
    pub(super) fn create_body(&self, subjects: &Subjects, first_seq: u64) -> Vec<u8> {
        let source = format!("$KV.{}.>", self.bucket());
        json!({
            "name": subjects.stream,
            "subjects": [source],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_consumers": -1,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_age": 0,
            "max_msg_size": -1,
            "max_msgs_per_subject": 1,
            "num_replicas": self.replicas.max(1),
            "duplicate_window": 120_000_000_000_u64,
            "allow_direct": true,
            "allow_rollup_hdrs": true,
            "deny_delete": true,
            "first_seq": first_seq,
            "republish": { "src": source, "dest": format!("cluster.{}.kv.>", self.cluster_id) },
        })
        .to_string()
        .into_bytes()
    }

    fn refuse(&self, reason: String) -> StoreError {
        StoreError::Bucket { bucket: self.bucket().into(), reason: reason.into() }
    }

    /// Refuses more than one replica on a server whose compare-and-set has several winners then.
    ///
    /// # Errors
    /// [`StoreError::Bucket`] with both versions.
    pub(super) fn check_replicas(&self, replicas: u8, server: Version) -> Result<(), StoreError> {
        if replicas <= 1 || server >= REPLICAS_SINCE {
            return Ok(());
        }
        Err(self.refuse(format!(
            "{replicas} replicas need nats-server {REPLICAS_SINCE} or newer, and this is {server}: \
             before, one expected revision could have several winners; use 1 replica"
        )))
    }

    /// Tells whether an existing bucket can hold a lease; if so, with what warning.
    ///
    /// # Errors
    /// [`StoreError::Bucket`], saying what is wrong and what would be accepted.
    pub(super) fn check(
        &self,
        config: &RawConfig,
        subjects: &Subjects,
        server: Version,
    ) -> Result<Option<String>, StoreError> {
        self.check_replicas(config.num_replicas, server)?;
        if let Some(reason) = config.unsuitable(&subjects.key) {
            return Err(self.refuse(reason));
        }
        self.check_max_age(config.max_age)
    }

    fn check_max_age(&self, nanos: i64) -> Result<Option<String>, StoreError> {
        let age = Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
        if age.is_zero() {
            return Ok(None);
        }
        if age <= self.min_max_age {
            return Err(self.refuse(format!(
                "max_age is {age:?}: the record would expire under a live leader; 0 (none) or more \
                 than {:?} is accepted",
                self.min_max_age
            )));
        }
        Ok(Some(format!("max_age is {age:?}: a record left alone that long is removed")))
    }
}

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
    pub(super) republish: Option<RawRepublish>,
}

/// Something is there, and what it says is not kept.
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
    fn unsuitable(&self, key: &str) -> Option<String> {
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

    /// The subject on which the server repeats what is stored under `key`, contents and all.
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

/// A server's version, as far as it is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32, u32, u32);

impl Version {
    /// Reads `2.11.3`, `v2.11.3`, `2.12.0-beta.1`; whatever is missing or unreadable is 0.
    pub(super) fn parse(text: &str) -> Self {
        let mut numbers = text.trim_start_matches('v').split('.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..digits].parse().unwrap_or(0)
        });
        let mut next = || numbers.next().unwrap_or(0);
        Self(next(), next(), next())
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests;
