//! Configuration: validated when it is built, so that an invalid one cannot be had.
//!
//! ```
//! use std::time::Duration;
//! use leasehold::config::Config;
//!
//! // Everything but these three has a default ...
//! let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
//! assert_eq!(config.lease_ttl(), Duration::from_secs(10));
//!
//! // ... and what is set is checked together, at the end.
//! let config = Config::builder("orders", "node-1", ["tls://a.example", "tls://b.example"])
//!     .credentials_file("/etc/orders/node-1.creds")
//!     .lease_ttl(Duration::from_secs(3))
//!     .renew_interval(Duration::from_secs(1))
//!     .build()?;
//!
//! let refused = config.to_builder().renew_interval(Duration::from_secs(3)).build();
//! assert!(refused.unwrap_err().to_string().contains("renew interval of at most"));
//! # Ok::<(), leasehold::config::ConfigError>(())
//! ```
//!
//! # The file
//! The JSON file has the keys of go-cluster v1, whose files load unchanged unless their ids or
//! timers are unsafe, and new ones that are all optional. Durations are whole milliseconds. Absent,
//! `null`, for texts empty, and 0 for `election.leaseTtlMs`, `election.renewIntervalMs` and
//! `vip.netmask` mean the same: the default, as go-cluster writes what is not set. An unknown key
//! is an error, as is a key that stands twice.
//!
//! ```
//! # use leasehold::config::Config;
//! let config = Config::from_json(r#"{
//!     "clusterId": "orders",
//!     "nodeId": "node-1",
//!     "nats": {
//!         "servers": ["tls://a.example:4222", "tls://b.example:4222"],
//!         "credentials": "/etc/orders/node-1.creds",
//!         "tls": { "required": true, "ca": "/etc/orders/ca.pem" },
//!         "replicas": 3
//!     },
//!     "vip": { "address": "192.168.1.100", "netmask": 24, "interface": "eth0" },
//!     "election": { "leaseTtlMs": 10000, "renewIntervalMs": 3000, "cooldownMs": 0 }
//! }"#)?;
//! assert_eq!(config.vip().map(ToString::to_string).as_deref(), Some("192.168.1.100/24"));
//!
//! let error = Config::from_json(r#"{ "clusterId": "orders", "nodId": "node-1" }"#).unwrap_err();
//! assert_eq!(error.to_string(), "nodId is not a known key, did you mean nodeId?");
//! # Ok::<(), leasehold::config::ConfigError>(())
//! ```

mod builder;
pub mod connection;
mod error;
mod file;
mod ids;
mod json;
mod limits;
mod reach;
mod servers;
mod tree;
pub(crate) mod vip;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

pub use builder::{ConfigBuilder, check_meta};
pub use connection::{Auth, Secret, Tls};
pub use error::ConfigError;
pub use file::MAX_FILE_BYTES;
pub use ids::{MAX_ID_LENGTH, check_cluster_id, check_node_id};
#[cfg(all(feature = "capi", unix))]
pub(crate) use limits::check_alone;
pub use servers::{DEFAULT_PORT, MAX_SERVERS};
pub use vip::{DEFAULT_NETMASK_V4, DEFAULT_NETMASK_V6, VipConfig};

use crate::timing::Timing;
use connection::ConnectionSettings;

/// Who a node is, how it reaches the servers, and how long everything may take. Always valid.
///
/// Printing it with `{:?}` shows no secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    given: ConfigBuilder,
    timing: Timing,
    connection: ConnectionSettings,
}

impl Config {
    /// A configuration with all defaults.
    ///
    /// # Errors
    /// See [`ConfigBuilder::build`].
    pub fn new<S: Into<String>>(
        cluster_id: impl Into<String>,
        node_id: impl Into<String>,
        servers: impl IntoIterator<Item = S>,
    ) -> Result<Self, ConfigError> {
        Self::builder(cluster_id, node_id, servers).build()
    }

    /// A configuration to set options of.
    pub fn builder<S: Into<String>>(
        cluster_id: impl Into<String>,
        node_id: impl Into<String>,
        servers: impl IntoIterator<Item = S>,
    ) -> ConfigBuilder {
        let servers = servers.into_iter().map(Secret::new).collect();
        ConfigBuilder::new(cluster_id.into(), node_id.into(), servers)
    }

    /// The same, to change options of: those of a file, for example, by a command line's.
    pub fn to_builder(&self) -> ConfigBuilder {
        self.given.clone()
    }

    /// Reads a configuration from the text of its file.
    ///
    /// # Errors
    /// What is wrong, by the field's path, with what would be accepted.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        Self::given_in(text)?.build()
    }

    /// Checks a text as [`from_json`](Self::from_json) does, but for what is in the file of an
    /// nkey: nothing is read, and nothing blocks.
    #[cfg(all(feature = "capi", unix))]
    pub(crate) fn check_json(text: &str) -> Result<(), ConfigError> {
        Self::given_in(text)?.check().map(drop)
    }

    fn given_in(text: &str) -> Result<ConfigBuilder, ConfigError> {
        if text.len() > MAX_FILE_BYTES {
            return Err(ConfigError::TooLong { limit: MAX_FILE_BYTES });
        }
        json::read(text)
    }

    /// Reads a configuration from a file of at most 1 MiB. A file that holds a secret and that
    /// everybody may read is logged as a warning.
    ///
    /// # Errors
    /// The file cannot be read, or as [`from_json`](Self::from_json), with the file's name.
    pub fn load(file: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let file = file.as_ref();
        let config = Self::from_json(&file::read(file)?);
        let config = config.map_err(|source| ConfigError::InFile {
            file: file.to_owned(),
            source: Box::new(source),
        })?;
        if config.given.holds_secret() && file::everybody_may_read(file) {
            log::warn!(file:% = file.display(); "everybody may read a file that holds a secret");
        }
        Ok(config)
    }

    /// The text of the configuration's file, **secrets in clear**. Options that are at their
    /// default are left out, except those that go-cluster v1 writes.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::write(&self.given)
    }

    /// Writes the configuration's file in one step: whoever reads it meets the old or the new one,
    /// whole, also after a crash. Missing folders are created. A file that holds a secret gets mode
    /// 0600, another keeps the mode it had.
    ///
    /// # Errors
    /// [`ConfigError::Write`]: the old file is there still, or the new one, whole.
    pub fn save(&self, file: impl AsRef<Path>) -> Result<(), ConfigError> {
        let file = file.as_ref();
        file::write(file, &self.to_json(), self.given.holds_secret())
            .map_err(|source| ConfigError::Write { file: file.to_owned(), source })
    }

    /// The cluster's name. `clusterId`, no default; 1 to 64 characters of `A-Z a-z 0-9 - _`.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.given.cluster_id
    }

    /// The node's name. `nodeId`, no default; as the cluster's, and `.` inside.
    #[must_use]
    pub fn node_id(&self) -> &str {
        &self.given.node_id
    }

    /// How the servers are reached: `nats.servers`, credentials, TLS, prefixes, connect timeout and
    /// reconnect wait.
    #[must_use]
    pub fn connection(&self) -> &ConnectionSettings {
        &self.connection
    }

    /// The servers as `scheme://host:port`, without credentials. `nats.servers`, no default.
    pub fn servers(&self) -> impl Iterator<Item = String> + '_ {
        self.connection.servers.iter().map(ToString::to_string)
    }

    /// Who we are to the servers. `nats.credentials`, or `.user` and `.password`, or `.token`, or
    /// `.nkey`, or `.nkeyFile`; default nobody.
    #[must_use]
    pub fn auth(&self) -> &Auth {
        &self.connection.auth
    }

    /// Transport security. `nats.tls`; default: as servers and addresses ask for.
    #[must_use]
    pub fn tls(&self) -> &Tls {
        &self.connection.tls
    }

    /// How long one attempt to connect may take, and how long a start waits for a server.
    /// `nats.connectTimeoutMs`, default 5 s, 100 ms to 300 s.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.given.connect_timeout
    }

    /// The longest pause between attempts to connect. `nats.reconnectWaitMs`, default 2 s, 10 ms to
    /// 300 s.
    #[must_use]
    pub fn reconnect_wait(&self) -> Duration {
        self.given.reconnect_wait
    }

    /// Whether a node starts when no server can be reached. `nats.startDisconnected`, default
    /// false.
    #[must_use]
    pub fn start_disconnected(&self) -> bool {
        self.given.start_disconnected
    }

    /// Replicas of a bucket that this node creates: 1, 3 or 5. `nats.replicas`, default 1.
    #[must_use]
    pub fn replicas(&self) -> u64 {
        self.given.replicas
    }

    /// The durations of the protocol, which fit together.
    #[must_use]
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// How long others wait before they take over a lease that is not renewed.
    /// `election.leaseTtlMs`, default 10 s, 147 ms to 1 h; see [`Timing::new`].
    #[must_use]
    pub fn lease_ttl(&self) -> Duration {
        self.timing.ttl()
    }

    /// How often the leader renews. `election.renewIntervalMs`, default 3 s; see [`Timing::new`].
    #[must_use]
    pub fn renew_interval(&self) -> Duration {
        self.timing.renew_interval()
    }

    /// How long an answer of a server is waited for. `election.requestTimeoutMs`, default derived,
    /// 1 s at 10 s / 3 s; 20 ms to half the renew interval.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        self.timing.request_timeout()
    }

    /// How far any one host's clock rate may depart from true time, in percent.
    /// `election.clockDriftPercent`, default 10, 1 to 50.
    #[must_use]
    pub fn clock_drift_percent(&self) -> u32 {
        self.timing.drift_percent()
    }

    /// How long this node stays back after a term that it gave back; `None`: the TTL. At least
    /// [`Timing::expiry_cooldown`] when the lease could not be released. A term that was lost
    /// starts no cooldown. `election.cooldownMs`, 0 to 24 h.
    #[must_use]
    pub fn cooldown(&self) -> Option<Duration> {
        self.given.cooldown
    }

    /// How long a drain may take before the lease is left to lapse. `election.drainTimeoutMs`,
    /// default 10 s, 0 to 1 h.
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        self.given.drain_timeout
    }

    /// How long stopping a node may take, draining and releasing included.
    /// `election.stopTimeoutMs`, default 5 s, 100 ms to 1 h.
    #[must_use]
    pub fn stop_timeout(&self) -> Duration {
        self.given.stop_timeout
    }

    /// Whether the first election in a new bucket waits a TTL. `election.strictBootstrap`, default
    /// false.
    #[must_use]
    pub fn strict_bootstrap(&self) -> bool {
        self.given.strict_bootstrap
    }

    /// The value that this node's record carries when it leads. `election.meta`, default none; at
    /// most 4096 bytes of JSON.
    #[must_use]
    pub fn meta(&self) -> Option<&Value> {
        self.given.meta.as_ref()
    }

    /// How many events wait for a caller who does not fetch them. `election.eventCapacity`, default
    /// 256, 16 to 65536.
    #[must_use]
    pub fn event_capacity(&self) -> usize {
        self.given.event_capacity
    }

    /// The virtual IP that follows the leader. `vip`, default none.
    #[must_use]
    pub fn vip(&self) -> Option<&VipConfig> {
        self.given.vip.as_ref()
    }
}

#[cfg(test)]
mod tests;
