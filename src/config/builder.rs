//! The builder: collects settings, and checks them at the end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::Config;
use super::connection::{Secret, Tls, TransportChoice};
use super::error::ConfigError;
use super::nats::{connection, folder};
use super::options::{self, Row, row_doc};
use super::settings::{Setting, Settings};
use super::vip::VipConfig;
use crate::timing::Timing;

/// Builder of a [`Config`], validated by [`build`](Self::build). The default has no settings.
///
/// Each method names the key of the setting in the JSON file, its range and its default. Durations
/// count in whole milliseconds, fractions are dropped.
///
/// ```
/// use std::time::Duration;
/// use leasehold::config::ConfigBuilder;
///
/// let config = ConfigBuilder::default()
///     .cluster_id("orders")
///     .node_id("node-1")
///     .servers(["tls://a.example", "tls://b.example"])
///     .lease_ttl(Duration::from_secs(30))
///     .renew_interval(Duration::from_secs(10))
///     .build()?;
/// assert_eq!(config.lease_ttl(), Duration::from_secs(30));
/// # Ok::<(), leasehold::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "a builder does nothing until it is built"]
pub struct ConfigBuilder {
    pub(super) settings: Settings,
    /// The node has a store that needs no servers.
    pub(super) servers_are_optional: bool,
    /// The folder that relative paths count from, once there was one when it was built.
    pub(super) folder: Option<PathBuf>,
}

/// Methods that set one row of the option table.
macro_rules! setters {
    ($($name:ident($type:ty) => $row:ident, $value:expr;)*) => {
        impl ConfigBuilder {
            $(
                #[doc = row_doc!($row)]
                pub fn $name(self, value: $type) -> Self {
                    self.with(&options::$row, $value(value))
                }
            )*
        }
    };
}

setters! {
    cluster_id(impl Into<String>) => CLUSTER_ID, text;
    node_id(impl Into<String>) => NODE_ID, text;
    replicas(u64) => REPLICAS, Value::from;
    connect_timeout(Duration) => CONNECT_TIMEOUT, millis;
    reconnect_wait(Duration) => RECONNECT_WAIT, millis;
    start_disconnected(bool) => START_DISCONNECTED, Value::from;
    lease_ttl(Duration) => LEASE_TTL, millis;
    renew_interval(Duration) => RENEW_INTERVAL, millis;
    request_timeout(Duration) => REQUEST_TIMEOUT, millis;
    clock_drift_percent(u32) => CLOCK_DRIFT, Value::from;
    cooldown(Duration) => COOLDOWN, millis;
    drain_timeout(Duration) => DRAIN_TIMEOUT, millis;
    stop_timeout(Duration) => STOP_TIMEOUT, millis;
    strict_bootstrap(bool) => STRICT_BOOTSTRAP, Value::from;
    event_capacity(usize) => EVENT_CAPACITY, Value::from;
    js_domain(impl Into<String>) => DOMAIN, text;
    transport(TransportChoice) => TRANSPORT, transport_name;
    api_prefix(impl Into<String>) => API_PREFIX, text;
    inbox_prefix(impl Into<String>) => INBOX_PREFIX, text;
}

impl ConfigBuilder {
    fn with(mut self, row: &Row, value: Value) -> Self {
        self.settings.set(row, Some(Setting::Plain(value)));
        self
    }

    fn with_secret(mut self, row: &Row, text: impl Into<String>) -> Self {
        self.settings.set(row, Some(Setting::Secret(Secret::new(text))));
        self
    }

    #[doc = row_doc!(SERVERS)]
    pub fn servers<S: Into<String>>(mut self, servers: impl IntoIterator<Item = S>) -> Self {
        let servers = servers.into_iter().map(Secret::new).collect();
        self.settings.set(&options::SERVERS, Some(Setting::Secrets(servers)));
        self
    }

    #[doc = row_doc!(CREDENTIALS)]
    ///
    /// This method and the next four replace each other: the last call counts.
    pub fn credentials_file(self, file: impl AsRef<Path>) -> Self {
        self.without_auth().with(&options::CREDENTIALS, path(file))
    }

    /// User name and password: `nats.user` and `nats.password`.
    pub fn user_password(self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.without_auth()
            .with(&options::USER, text(user))
            .with_secret(&options::PASSWORD, password)
    }

    #[doc = row_doc!(TOKEN)]
    pub fn token(self, token: impl Into<String>) -> Self {
        self.without_auth().with_secret(&options::TOKEN, token)
    }

    #[doc = row_doc!(NKEY)]
    pub fn nkey_seed(self, seed: impl Into<String>) -> Self {
        self.without_auth().with_secret(&options::NKEY, seed)
    }

    #[doc = row_doc!(NKEY_FILE)]
    ///
    /// Saving the configuration saves the file's name, not the seed.
    pub fn nkey_file(self, file: impl AsRef<Path>) -> Self {
        self.without_auth().with(&options::NKEY_FILE, path(file))
    }

    fn without_auth(mut self) -> Self {
        use options::{CREDENTIALS, NKEY, NKEY_FILE, PASSWORD, TOKEN, USER};
        for row in [&CREDENTIALS, &USER, &PASSWORD, &TOKEN, &NKEY, &NKEY_FILE] {
            self.settings.set(row, None);
        }
        self
    }

    /// Transport security: `nats.tls`.
    pub fn tls(mut self, tls: Tls) -> Self {
        use options::{TLS_CA, TLS_CERT, TLS_FIRST, TLS_KEY, TLS_REQUIRED};
        let files = [(&TLS_CA, tls.ca_file), (&TLS_CERT, tls.cert_file), (&TLS_KEY, tls.key_file)];
        for (row, file) in files {
            self.settings.set(row, file.map(|file| Setting::Plain(path(file))));
        }
        self.with(&TLS_REQUIRED, tls.required.into()).with(&TLS_FIRST, tls.handshake_first.into())
    }

    #[doc = row_doc!(META)]
    ///
    /// `null` is none.
    pub fn meta(mut self, meta: Value) -> Self {
        let meta = Some(meta).filter(|meta| !meta.is_null());
        self.settings.set(&options::META, meta.map(Setting::Plain));
        self
    }

    /// Virtual IP, which the node holds while it leads: `vip`, default none. The timers must pass
    /// [`Timing::check_virtual_ip`]: at a renew interval of 3 s a TTL of at least 8.556 s.
    pub fn vip(self, vip: VipConfig) -> Self {
        let VipConfig { address, netmask, interface } = vip;
        self.with(&options::VIP_ADDRESS, text(address.to_string()))
            .with(&options::VIP_NETMASK, netmask.into())
            .with(&options::VIP_INTERFACE, interface.into())
    }

    /// Removes the virtual IP.
    pub fn without_vip(mut self) -> Self {
        self.settings.replace("vip", Settings::default());
        self
    }

    /// Sets the value at a key of the file, or a whole section, which replaces the one before.
    /// Checks each value on its own, not together with others. Reads no file.
    #[cfg(any(test, all(feature = "capi", unix)))]
    pub(crate) fn set(&mut self, key: &str, value: Value) -> Result<(), ConfigError> {
        let settings = super::json::read_at(key, value)?;
        settings.check_values()?;
        self.settings.replace(key, settings);
        Ok(())
    }

    /// Checks the settings, and makes relative paths of files absolute. They count from the current
    /// folder. In a builder of a configuration with such a path, they count from the folder that was
    /// current when that was built.
    ///
    /// # Errors
    /// The first field at fault, with what would be accepted. Reads one file, when everything else
    /// is accepted: that of `nats.nkeyFile`, if it is set.
    pub fn build(self) -> Result<Config, ConfigError> {
        let optional = self.servers_are_optional.then_some(&options::SERVERS);
        self.settings.check_combination(optional)?;
        // Before each value alone: these errors say what the other timers leave room for.
        let timing = self.timing()?;
        let vip = self.virtual_ip()?;
        if vip.is_some() {
            timing.check_virtual_ip()?;
        }
        let mut given = match vip.clone() {
            Some(vip) => self.vip(vip),
            None => self.without_vip(),
        };
        given.settings.check_values()?;
        given.folder = folder(&given.settings, given.folder)?;
        let connection = connection(&given.settings, given.folder.as_deref())?;
        Ok(Config { given, timing, connection, vip })
    }

    fn timing(&self) -> Result<Timing, ConfigError> {
        let settings = &self.settings;
        Ok(Timing::new(
            settings.duration(&options::LEASE_TTL),
            settings.duration(&options::RENEW_INTERVAL),
            settings.optional_duration(&options::REQUEST_TIMEOUT),
            u32::try_from(settings.number(&options::CLOCK_DRIFT)).unwrap_or(u32::MAX),
        )?)
    }

    /// Without an address there is no virtual IP, whatever else the section says: as in go-cluster.
    fn virtual_ip(&self) -> Result<Option<VipConfig>, ConfigError> {
        let settings = &self.settings;
        let Some(address) = settings.text(&options::VIP_ADDRESS) else { return Ok(None) };
        let interface = settings.text(&options::VIP_INTERFACE).unwrap_or_default();
        let vip = VipConfig::parse(address, interface)?;
        vip.with_netmask(settings.number(&options::VIP_NETMASK)).map(Some)
    }
}

fn text(text: impl Into<String>) -> Value {
    Value::String(text.into())
}

fn transport_name(choice: TransportChoice) -> Value {
    choice.name().into()
}

/// U+FFFD stands for bytes that are not UTF-8; the check of a path refuses it.
fn path(path: impl AsRef<Path>) -> Value {
    path.as_ref().to_string_lossy().into()
}

/// Whole milliseconds.
fn millis(duration: Duration) -> Value {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).into()
}
