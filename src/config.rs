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

mod builder;
pub mod connection;
mod error;
mod ids;
mod limits;
mod reach;
mod servers;
mod vip;

use std::time::Duration;

use serde_json::Value;

pub use builder::{ConfigBuilder, check_meta};
pub use connection::{Auth, Secret, Tls};
pub use error::ConfigError;
pub use ids::{MAX_ID_LENGTH, check_cluster_id, check_node_id};
pub use servers::{DEFAULT_PORT, MAX_SERVERS};
pub use vip::{DEFAULT_NETMASK_V4, DEFAULT_NETMASK_V6, VipConfig};

use crate::timing::Timing;
use connection::Connection;

/// Who a node is, how it reaches the servers, and how long everything may take. Always valid.
///
/// Printing it with `{:?}` shows no secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    given: ConfigBuilder,
    timing: Timing,
    connection: Connection,
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
    pub fn connection(&self) -> &Connection {
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

    /// Whether a node starts when no server can be reached. `nats.startDisconnected`, default false.
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
    /// `election.leaseTtlMs`, default 10 s, 100 ms to 1 h.
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

    /// How long this node leaves the lead to others after a term of its own; `None`: the TTL after a
    /// release, [`Timing::lapse_wait`] after a lapse. `election.cooldownMs`, 0 to 24 h.
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
