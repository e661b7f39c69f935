//! Collects what is wished for; [`ConfigBuilder::build`] is the one place that judges it.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::Config;
use super::connection::{Auth, ConnectionSettings, Secret, Tls};
use super::error::ConfigError;
use super::vip::VipConfig;
use super::{ids, limits, reach, servers};
use crate::lease::MAX_META_BYTES;
use crate::timing::{DEFAULT_DRIFT_PERCENT, DEFAULT_RENEW_INTERVAL, DEFAULT_TTL, Timing};

/// A configuration in the making. Setters take anything; [`build`](Self::build) checks all of it.
///
/// Durations count in whole milliseconds, fractions are dropped. Each setter names its path in the
/// JSON file, default and range.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a builder does nothing until it is built"]
pub struct ConfigBuilder {
    pub(super) cluster_id: String,
    pub(super) node_id: String,
    pub(super) servers: Vec<Secret>,
    pub(super) auth: Auth,
    pub(super) nkey_file: Option<PathBuf>,
    pub(super) tls: Tls,
    pub(super) js_domain: Option<String>,
    pub(super) api_prefix: Option<String>,
    pub(super) inbox_prefix: Option<String>,
    pub(super) replicas: u64,
    pub(super) connect_timeout: Duration,
    pub(super) reconnect_wait: Duration,
    pub(super) start_disconnected: bool,
    pub(super) lease_ttl: Duration,
    pub(super) renew_interval: Duration,
    pub(super) request_timeout: Option<Duration>,
    pub(super) clock_drift_percent: u32,
    pub(super) cooldown: Option<Duration>,
    pub(super) drain_timeout: Duration,
    pub(super) stop_timeout: Duration,
    pub(super) strict_bootstrap: bool,
    pub(super) meta: Option<Value>,
    pub(super) event_capacity: usize,
    pub(super) vip: Option<VipConfig>,
}

impl ConfigBuilder {
    /// Who we are and where the servers are; everything else has a default.
    pub(super) fn new(cluster_id: String, node_id: String, servers: Vec<Secret>) -> Self {
        Self {
            cluster_id,
            node_id,
            servers,
            auth: Auth::None,
            nkey_file: None,
            tls: Tls::default(),
            js_domain: None,
            api_prefix: None,
            inbox_prefix: None,
            replicas: 1,
            connect_timeout: Duration::from_secs(5),
            reconnect_wait: Duration::from_secs(2),
            start_disconnected: false,
            lease_ttl: DEFAULT_TTL,
            renew_interval: DEFAULT_RENEW_INTERVAL,
            request_timeout: None,
            clock_drift_percent: DEFAULT_DRIFT_PERCENT,
            cooldown: None,
            drain_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(5),
            strict_bootstrap: false,
            meta: None,
            event_capacity: 256,
            vip: None,
        }
    }

    /// Another cluster than before. `clusterId`: 1 to 64 characters of `A-Z a-z 0-9 - _`.
    pub fn cluster_id(self, cluster_id: impl Into<String>) -> Self {
        Self { cluster_id: cluster_id.into(), ..self }
    }

    /// Another node than before. `nodeId`: as the cluster's, and `.` inside.
    pub fn node_id(self, node_id: impl Into<String>) -> Self {
        Self { node_id: node_id.into(), ..self }
    }

    /// Other servers than before. `nats.servers`: `nats://`, `tls://` or bare `host[:port]`,
    /// default port 4222, `user:password@` or `token@` percent-encoded, several in one text
    /// separated by commas; 1 to 64 in all.
    pub fn servers<S: Into<String>>(self, servers: impl IntoIterator<Item = S>) -> Self {
        Self { servers: servers.into_iter().map(Secret::new).collect(), ..self }
    }

    /// A credentials file as `nsc` writes it. `nats.credentials`, default none. Replaces other
    /// credentials given before, as the next four setters do.
    pub fn credentials_file(self, file: impl Into<PathBuf>) -> Self {
        self.auth(Auth::CredentialsFile(file.into()))
    }

    /// User and password. `nats.user`, `nats.password`, default none.
    pub fn user_password(self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.auth(Auth::UserPassword { user: user.into(), password: Secret::new(password) })
    }

    /// A token. `nats.token`, default none.
    pub fn token(self, token: impl Into<String>) -> Self {
        self.auth(Auth::Token(Secret::new(token)))
    }

    /// The seed of a user nkey (`SU…`). `nats.nkey`, default none.
    pub fn nkey_seed(self, seed: impl Into<String>) -> Self {
        self.auth(Auth::NkeySeed(Secret::new(seed)))
    }

    /// A file that holds the seed of a user nkey, read when the configuration is built; saving it
    /// saves the file's name, not the seed. `nats.nkeyFile`, default none.
    pub fn nkey_file(self, file: impl Into<PathBuf>) -> Self {
        Self { auth: Auth::None, nkey_file: Some(file.into()), ..self }
    }

    fn auth(self, auth: Auth) -> Self {
        Self { auth, nkey_file: None, ..self }
    }

    /// Transport security. `nats.tls.required`, `.ca`, `.cert`, `.key`; default: when the server or
    /// a `tls://` address asks for it, with the system's authorities.
    pub fn tls(self, tls: Tls) -> Self {
        Self { tls, ..self }
    }

    /// The JetStream domain, for leaf nodes. `nats.domain`, default none; one token. Excludes
    /// [`api_prefix`](Self::api_prefix).
    pub fn js_domain(self, domain: impl Into<String>) -> Self {
        Self { js_domain: Some(domain.into()), ..self }
    }

    /// Where the JetStream API answers, for imports from another account. `nats.apiPrefix`, default
    /// `$JS.API`; tokens without wildcards.
    pub fn api_prefix(self, prefix: impl Into<String>) -> Self {
        Self { api_prefix: Some(prefix.into()), ..self }
    }

    /// First token or tokens of reply subjects, for accounts that may not use all inboxes.
    /// `nats.inboxPrefix`, default `_INBOX`; tokens without wildcards.
    pub fn inbox_prefix(self, prefix: impl Into<String>) -> Self {
        Self { inbox_prefix: Some(prefix.into()), ..self }
    }

    /// Replicas of the bucket, when this node creates it: 1, 3 or 5. `nats.replicas`, default 1.
    pub fn replicas(self, replicas: u64) -> Self {
        Self { replicas, ..self }
    }

    /// How long one attempt to connect may take, handshake included, and how long a start waits for
    /// a server. `nats.connectTimeoutMs`, default 5 s, 100 ms to 300 s.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        Self { connect_timeout: whole(timeout), ..self }
    }

    /// The longest pause between attempts to connect; the first is immediate.
    /// `nats.reconnectWaitMs`, default 2 s, 10 ms to 300 s.
    pub fn reconnect_wait(self, wait: Duration) -> Self {
        Self { reconnect_wait: whole(wait), ..self }
    }

    /// Whether a node starts, and keeps trying, when no server can be reached within the connect
    /// timeout. `nats.startDisconnected`, default false: the start fails then.
    pub fn start_disconnected(self, start: bool) -> Self {
        Self { start_disconnected: start, ..self }
    }

    /// How long others wait before they take over a lease that is not renewed; one value per
    /// cluster. `election.leaseTtlMs`, default 10 s, 147 ms (123 ms with a request timeout, both at
    /// the default drift) to 1 h; bounded below by the renew interval too, see [`Timing::new`].
    pub fn lease_ttl(self, ttl: Duration) -> Self {
        Self { lease_ttl: whole(ttl), ..self }
    }

    /// How often the leader renews. `election.renewIntervalMs`, default 3 s, at least 60 ms (twice
    /// the request timeout, when that is given); bounded above by the TTL, see [`Timing::new`].
    pub fn renew_interval(self, interval: Duration) -> Self {
        Self { renew_interval: whole(interval), ..self }
    }

    /// How long an answer of a server is waited for. `election.requestTimeoutMs`, default a third
    /// of the renew interval or less (1 s with the defaults), 20 ms to half the renew interval.
    pub fn request_timeout(self, timeout: Duration) -> Self {
        Self { request_timeout: Some(whole(timeout)), ..self }
    }

    /// How far any one host's clock rate may depart from true time.
    /// `election.clockDriftPercent`, default 10, 1 to 50 percent.
    pub fn clock_drift_percent(self, percent: u32) -> Self {
        Self { clock_drift_percent: percent, ..self }
    }

    /// How long this node leaves the lead to others after a term of its own.
    /// `election.cooldownMs`, default the TTL (a little more after a term that lapsed), 0 to 24 h.
    pub fn cooldown(self, cooldown: Duration) -> Self {
        Self { cooldown: Some(whole(cooldown)), ..self }
    }

    /// How long the work may take to finish when the node steps down, before the lease is left to
    /// lapse instead of being released. `election.drainTimeoutMs`, default 10 s, 0 to 1 h.
    pub fn drain_timeout(self, timeout: Duration) -> Self {
        Self { drain_timeout: whole(timeout), ..self }
    }

    /// How long stopping a node may take, draining and releasing included.
    /// `election.stopTimeoutMs`, default 5 s, 100 ms to 1 h.
    pub fn stop_timeout(self, timeout: Duration) -> Self {
        Self { stop_timeout: whole(timeout), ..self }
    }

    /// Whether the first election in a new bucket waits a TTL, in case another bucket of this name
    /// was deleted under a live leader. `election.strictBootstrap`, default false.
    pub fn strict_bootstrap(self, strict: bool) -> Self {
        Self { strict_bootstrap: strict, ..self }
    }

    /// A value that the leader's record carries, an address for example. `election.meta`, default
    /// none; at most 4096 bytes of JSON. `null` is none.
    pub fn meta(self, meta: Value) -> Self {
        Self { meta: Some(meta).filter(|meta| !meta.is_null()), ..self }
    }

    /// How many events wait for a caller who does not fetch them, before the least important are
    /// dropped. `election.eventCapacity`, default 256, 16 to 65536.
    pub fn event_capacity(self, events: usize) -> Self {
        Self { event_capacity: events, ..self }
    }

    /// The virtual IP that follows the leader. `vip`, default none. It needs a lease that passes
    /// [`Timing::check_virtual_ip`]: at a renew interval of 3 s a TTL of at least 8.556 s.
    pub fn vip(self, vip: VipConfig) -> Self {
        Self { vip: Some(vip), ..self }
    }

    /// No virtual IP after all.
    pub fn without_vip(self) -> Self {
        Self { vip: None, ..self }
    }

    /// Checks all of it.
    ///
    /// # Errors
    /// The first field at fault, with what would be accepted. Reads one file, when all else is
    /// accepted: the nkey's, if any.
    pub fn build(self) -> Result<Config, ConfigError> {
        let (mut connection, timing) = self.check()?;
        if let Some(file) = &self.nkey_file {
            connection.auth = reach::seed_in(file)?;
        }
        Ok(Config { given: self, timing, connection })
    }

    /// Checks all but what is in a file, and does not block.
    pub(super) fn check(&self) -> Result<(ConnectionSettings, Timing), ConfigError> {
        ids::check_cluster_id(&self.cluster_id)?;
        ids::check_node_id(&self.node_id)?;
        let connection = self.connection()?;
        self.check_ranges()?;
        let timing = Timing::new(
            self.lease_ttl,
            self.renew_interval,
            self.request_timeout,
            self.clock_drift_percent,
        )?;
        if self.vip.is_some() {
            timing.check_virtual_ip()?;
        }
        self.meta.as_ref().map_or(Ok(()), check_meta)?;
        Ok((connection, timing))
    }

    fn check_ranges(&self) -> Result<(), ConfigError> {
        self.cooldown.map_or(Ok(()), |cooldown| limits::COOLDOWN.check_duration(cooldown))?;
        limits::DRAIN_TIMEOUT.check_duration(self.drain_timeout)?;
        limits::STOP_TIMEOUT.check_duration(self.stop_timeout)?;
        limits::EVENT_CAPACITY.check(self.event_capacity as u64)?;
        limits::CONNECT_TIMEOUT.check_duration(self.connect_timeout)?;
        limits::RECONNECT_WAIT.check_duration(self.reconnect_wait)?;
        limits::REPLICAS.check(self.replicas)?;
        if self.replicas % 2 == 1 { Ok(()) } else { Err(limits::REPLICAS.refuse(self.replicas)) }
    }

    fn connection(&self) -> Result<ConnectionSettings, ConfigError> {
        reach::check_tls(&self.tls)?;
        Ok(ConnectionSettings {
            servers: servers::parse_all(&self.servers)?,
            auth: reach::auth(&self.auth, self.nkey_file.as_deref())?,
            tls: self.tls.clone(),
            api_prefix: reach::api_prefix(self.js_domain.as_deref(), self.api_prefix.as_deref())?,
            inbox_prefix: reach::inbox_prefix(self.inbox_prefix.as_deref())?,
            connect_timeout: self.connect_timeout,
            reconnect_wait: self.reconnect_wait,
            name: format!("leasehold/{}/{}", self.cluster_id, self.node_id),
        })
    }

    /// Whether the file of this configuration is for its owner's eyes only.
    pub(super) fn holds_secret(&self) -> bool {
        let in_auth = match self.auth {
            Auth::UserPassword { .. } | Auth::Token(_) | Auth::NkeySeed(_) => true,
            Auth::None | Auth::CredentialsFile(_) => false,
        };
        in_auth || self.servers.iter().any(servers::holds_secret)
    }
}

/// Checks a value for the leader's record: at most [`MAX_META_BYTES`] of JSON, and not nested so
/// deeply that readers refuse it.
///
/// # Errors
/// Says how long it is, or that it is nested too deeply.
pub fn check_meta(meta: &Value) -> Result<(), ConfigError> {
    let text = meta.to_string();
    let refuse = |why: String| Err(ConfigError::invalid("election.meta", why));
    if text.len() > MAX_META_BYTES {
        return refuse(format!(
            "is {} bytes of JSON, must be at most {MAX_META_BYTES}",
            text.len()
        ));
    }
    // As deep as it will ever stand, in the file; a parser's bound on depth then refuses it here.
    let placed = format!("{{\"election\":{{\"meta\":{text}}}}}");
    if serde_json::from_str::<Value>(&placed).is_err() {
        return refuse("is nested too deeply".to_owned());
    }
    Ok(())
}

fn whole(duration: Duration) -> Duration {
    Duration::from_millis(limits::millis(duration))
}
