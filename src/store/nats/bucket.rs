//! The bucket: how it is created, and which existing ones are suitable.

use std::time::Duration;

use serde_json::json;

use super::stream_config::RawConfig;
use super::subjects::Subjects;
use crate::config::Config;
use crate::error::StoreError;
use crate::nats::version::Version;

/// Replicated compare-and-set is atomic from this server version on.
pub(crate) const REPLICAS_SINCE: Version = Version(2, 11, 0);

/// The bucket of a cluster, and the lease's requirements for it.
///
/// ```
/// use std::time::Duration;
/// use leasehold::Config;
/// use leasehold::store::nats::BucketOptions;
///
/// let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// let options = BucketOptions::of(&config);
/// assert_eq!(options.bucket(), "cluster-orders");
/// assert_eq!(options.min_max_age, Duration::from_secs(7)); // 2 · 3 s + 1 s
/// # Ok::<(), leasehold::config::ConfigError>(())
/// ```
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
    /// The bucket of the cluster that is configured.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            cluster_id: config.cluster_id().to_owned(),
            replicas: u8::try_from(config.replicas()).unwrap_or(u8::MAX),
            min_max_age: config.timing().shortest_max_age(),
        }
    }

    /// The bucket's name.
    #[must_use]
    pub fn bucket(&self) -> String {
        format!("cluster-{}", self.cluster_id)
    }

    /// The subject of notices: where a bucket that we created repeats the records it stored.
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

    /// Whether an existing bucket can hold a lease; if so, with the warnings that are due.
    /// `cluster` is the name of the servers' cluster, if they have one.
    ///
    /// # Errors
    /// [`StoreError::Bucket`], with the reason and with what would be accepted.
    pub(super) fn check(
        &self,
        config: &RawConfig,
        cluster: Option<&str>,
        subjects: &Subjects,
        server: Version,
    ) -> Result<Vec<String>, StoreError> {
        self.check_replicas(config.num_replicas, server)?;
        if let Some(reason) = config.unsuitable(&subjects.key) {
            return Err(self.refuse(reason));
        }
        let age = self.check_max_age(config.max_age)?;
        let single = cluster.filter(|_| config.num_replicas <= 1);
        let single = single.map(|cluster| single_replica(cluster, &subjects.stream, server));
        Ok(age.into_iter().chain(single).collect())
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

fn single_replica(cluster: &str, stream: &str, server: Version) -> String {
    let remedy = if server >= REPLICAS_SINCE {
        "stop all nodes, give the stream 3 replicas, and start them again".to_owned()
    } else {
        format!("more replicas need nats-server {REPLICAS_SINCE}, and this is {server}")
    };
    format!(
        "{stream} has one replica in the cluster {cluster:?}: no node leads while the server that \
         has it is down; {remedy}"
    )
}

#[cfg(test)]
mod tests;
