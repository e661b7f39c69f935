//! Configuration. It is validated when it is built: every [`Config`] is valid.
//!
//! ```
//! use std::time::Duration;
//! use leasehold::config::Config;
//!
//! // Everything but these three has a default ...
//! let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
//! assert_eq!(config.lease_ttl(), Duration::from_secs(10));
//!
//! // ... and all settings are checked together, at the end.
//! let config = Config::builder("orders", "node-1", ["tls://a.example", "tls://b.example"])
//!     .credentials_file("/etc/orders/node-1.creds")
//!     .lease_ttl(Duration::from_secs(3))
//!     .renew_interval(Duration::from_secs(1))
//!     .build()?;
//!
//! let refused = config.to_builder().renew_interval(Duration::from_secs(3)).build();
//! assert!(refused.unwrap_err().to_string().contains("take a renew interval of"));
//! # Ok::<(), leasehold::config::ConfigError>(())
//! ```
//!
//! # The file
//! The JSON file has the keys of go-cluster v1, and further keys that are all optional. Files of
//! go-cluster load unchanged unless their ids or timers are unsafe. Durations are whole
//! milliseconds. A key that is absent or `null`, and an empty text, mean the default. So does 0 for
//! `election.leaseTtlMs`, `election.renewIntervalMs` and `vip.netmask`, because go-cluster writes
//! numbers that are not set as 0. An unknown key is an error, as is a key that stands twice. The
//! [guide](crate::guide::configuration) has a table of all keys.
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
//! assert_eq!(config.vips()[0].to_string(), "192.168.1.100/24");
//!
//! let error = Config::from_json(r#"{ "clusterId": "orders", "nodId": "node-1" }"#).unwrap_err();
//! assert_eq!(error.to_string(), "nodId is not a known key, did you mean nodeId?");
//! # Ok::<(), leasehold::config::ConfigError>(())
//! ```

mod builder;
pub mod connection;
mod error;
pub(crate) mod file;
mod ids;
mod json;
mod nats;
mod options;
mod servers;
mod settings;
mod strict_json;
pub(crate) mod vip;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

pub use builder::ConfigBuilder;
pub use connection::{Auth, Secret, Tls, TransportChoice};
pub use error::ConfigError;
pub use file::MAX_FILE_BYTES;
pub use ids::{InvalidId, MAX_ID_LENGTH, check_cluster_id, check_node_id};
pub use options::{check_meta, options_markdown};
pub use servers::{DEFAULT_PORT, MAX_SERVERS};
#[cfg(all(feature = "capi", unix))]
pub(crate) use strict_json::parse as parse_json;
pub use vip::{DEFAULT_NETMASK_V4, DEFAULT_NETMASK_V6, MAX_VIPS, VipConfig};

use crate::timing::Timing;
use connection::ConnectionSettings;
use options::row_doc;

/// The configuration of a node. Always valid.
///
/// Printing it with `{:?}` shows no secret.
///
/// ```
/// use leasehold::Config;
///
/// let file = Config::from_json(r#"{
///     "clusterId": "orders", "nodeId": "node-1", "nats": { "servers": ["nats://a.example"] }
/// }"#)?;
/// let config = file.to_builder().node_id("node-2").build()?; // the command line says so
/// assert_eq!((config.cluster_id(), config.node_id()), ("orders", "node-2"));
/// assert_eq!(file.changed_keys(&config), ["nodeId"]);
/// # Ok::<(), leasehold::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    given: ConfigBuilder,
    timing: Timing,
    connection: ConnectionSettings,
    vips: Vec<VipConfig>,
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

    /// A builder with the settings that have no default.
    pub fn builder<S: Into<String>>(
        cluster_id: impl Into<String>,
        node_id: impl Into<String>,
        servers: impl IntoIterator<Item = S>,
    ) -> ConfigBuilder {
        ConfigBuilder::default().cluster_id(cluster_id).node_id(node_id).servers(servers)
    }

    /// A builder for a node with a store of its own, which needs no NATS servers: in memory, or
    /// [yours](crate::store).
    ///
    /// A node that is started without such a store fails with
    /// [`StoreError::NoServers`](crate::StoreError::NoServers). A file of this configuration cannot
    /// be loaded: there `nats.servers` is required.
    ///
    /// ```
    /// use leasehold::clock::Clock;
    /// use leasehold::store::memory::MemoryServer;
    /// use leasehold::{Config, Node};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = Config::without_servers("orders", "node-1").build()?;
    /// let error = Node::start(config.clone()).unwrap_err();
    /// assert_eq!(error.to_string(), "nats.servers is required to connect to NATS");
    ///
    /// let store = MemoryServer::new().connect(Clock::boot());
    /// Node::builder(config).store(store).start()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn without_servers(
        cluster_id: impl Into<String>,
        node_id: impl Into<String>,
    ) -> ConfigBuilder {
        let builder = ConfigBuilder { servers_are_optional: true, ..ConfigBuilder::default() };
        builder.cluster_id(cluster_id).node_id(node_id)
    }

    /// A builder with the same settings, for example to let a command line change those of a file.
    pub fn to_builder(&self) -> ConfigBuilder {
        self.given.clone()
    }

    /// Reads a configuration from the text of its file.
    ///
    /// # Errors
    /// The first field at fault, by its path, with what would be accepted.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        if text.len() > MAX_FILE_BYTES {
            return Err(ConfigError::TooLong { limit: MAX_FILE_BYTES });
        }
        ConfigBuilder { settings: json::read(text)?, ..ConfigBuilder::default() }.build()
    }

    /// Reads a configuration from a file of at most 1 MiB of UTF-8, with a byte order mark or
    /// without. Logs a warning when the file holds a secret and every user may read it.
    ///
    /// # Errors
    /// The file cannot be read, or as [`from_json`](Self::from_json), with the file's name.
    pub fn load(file: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let file = file.as_ref();
        let text = file::read_text(file, MAX_FILE_BYTES)
            .map_err(|source| ConfigError::Read { file: file.to_owned(), source })?;
        let config = Self::from_json(&text).map_err(|source| ConfigError::InFile {
            file: file.to_owned(),
            source: Box::new(source),
        })?;
        if config.given.settings.holds_secret() && file::everybody_may_read(file) {
            log::warn!(file:% = file.display(); "every user may read a file that holds a secret");
        }
        Ok(config)
    }

    /// The text of the configuration's file, **secrets in clear**. Options that are at their
    /// default are left out, except those that go-cluster v1 writes.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::write(&self.given.settings)
    }

    /// The keys of the file whose values differ in `other`, without the values: some are secret.
    /// `vip` stands for the second and further virtual IPs.
    #[must_use]
    pub fn changed_keys(&self, other: &Self) -> Vec<&'static str> {
        let (ours, theirs) = (&self.given.settings, &other.given.settings);
        let changed = options::ROWS.iter().filter(|row| ours.get(row) != theirs.get(row));
        let more = (ours.more() != theirs.more()).then_some(settings::LIST);
        changed.map(|row| row.path).chain(more).collect()
    }

    /// Writes the configuration's file in one step: a reader gets the old or the new file, whole,
    /// also after a crash. Missing folders are created. A file that holds a secret gets mode 0600;
    /// another one keeps its mode.
    ///
    /// # Errors
    /// [`ConfigError::Write`]: the old or the new file is there, whole.
    pub fn save(&self, file: impl AsRef<Path>) -> Result<(), ConfigError> {
        let file = file.as_ref();
        file::write(file, &self.to_json(), self.given.settings.holds_secret())
            .map_err(|source| ConfigError::Write { file: file.to_owned(), source })
    }

    /// How the servers are reached: addresses, credentials, TLS, prefixes, connect timeout and
    /// reconnect wait.
    #[must_use]
    pub fn connection(&self) -> &ConnectionSettings {
        &self.connection
    }

    /// The servers as `scheme://host:port`, without credentials. `nats.servers`. None when the
    /// configuration was built [without servers](Self::without_servers).
    pub fn servers(&self) -> impl Iterator<Item = String> + '_ {
        self.connection.servers.iter().map(ToString::to_string)
    }

    /// How the node authenticates. `nats.credentials`, or `.user` and `.password`, or `.token`, or
    /// `.nkey`, or `.nkeyFile`; default none.
    #[must_use]
    pub fn auth(&self) -> &Auth {
        &self.connection.auth
    }

    /// Transport security. `nats.tls`; by default TLS is used when a server or a `tls://` address
    /// asks for it, with the system's certificate authorities.
    #[must_use]
    pub fn tls(&self) -> &Tls {
        &self.connection.tls
    }

    #[doc = row_doc!(TRANSPORT)]
    #[must_use]
    pub fn transport(&self) -> TransportChoice {
        self.connection.transport
    }

    /// The durations of the protocol, which fit together.
    #[must_use]
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    #[doc = row_doc!(LEASE_TTL)]
    ///
    /// [`Timing::new`] says which timers fit together.
    #[must_use]
    pub fn lease_ttl(&self) -> Duration {
        self.timing.ttl()
    }

    #[doc = row_doc!(REQUEST_TIMEOUT)]
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        self.timing.request_timeout()
    }

    #[doc = row_doc!(CLOCK_DRIFT)]
    #[must_use]
    pub fn clock_drift_percent(&self) -> u32 {
        self.timing.drift_percent()
    }

    #[doc = row_doc!(EVENT_CAPACITY)]
    #[must_use]
    pub fn event_capacity(&self) -> usize {
        let capacity = self.given.settings.number(&options::EVENT_CAPACITY);
        usize::try_from(capacity).unwrap_or(usize::MAX)
    }

    /// The virtual IPs, which the node holds while it leads. `vip`, default none.
    #[must_use]
    pub fn vips(&self) -> &[VipConfig] {
        &self.vips
    }
}

/// Methods that return one setting.
macro_rules! getters {
    ($($name:ident -> $type:ty: $read:ident($row:ident);)*) => {
        impl Config {
            $(
                #[doc = row_doc!($row)]
                #[must_use]
                pub fn $name(&self) -> $type {
                    self.given.settings.$read(&options::$row)
                }
            )*
        }
    };
}

getters! {
    cluster_id -> &str: required_text(CLUSTER_ID);
    node_id -> &str: required_text(NODE_ID);
    replicas -> u64: number(REPLICAS);
    connect_timeout -> Duration: duration(CONNECT_TIMEOUT);
    reconnect_wait -> Duration: duration(RECONNECT_WAIT);
    start_disconnected -> bool: flag(START_DISCONNECTED);
    renew_interval -> Duration: duration(RENEW_INTERVAL);
    cooldown -> Option<Duration>: optional_duration(COOLDOWN);
    drain_timeout -> Duration: duration(DRAIN_TIMEOUT);
    stop_timeout -> Duration: duration(STOP_TIMEOUT);
    strict_bootstrap -> bool: flag(STRICT_BOOTSTRAP);
    meta -> Option<&Value>: plain(META);
}

#[cfg(test)]
mod tests;
