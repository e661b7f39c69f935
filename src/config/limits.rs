//! The ranges, each in one place: the file's messages, the builder's checks and the documentation
//! of the getters mean the same numbers.

use std::time::Duration;

use super::error::ConfigError;

/// A whole number's field: its path in the file, its unit, and what it may be.
#[derive(Debug)]
pub(super) struct Limit {
    pub(super) path: &'static str,
    unit: &'static str,
    min: u64,
    max: u64,
    /// The range, where it is more than two numbers.
    range: Option<&'static str>,
}

impl Limit {
    const fn new(path: &'static str, unit: &'static str, min: u64, max: u64) -> Self {
        Self { path, unit, min, max, range: None }
    }

    const fn reading(self, range: &'static str) -> Self {
        Self { range: Some(range), ..self }
    }

    /// The last part of the path.
    pub(super) fn key(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// `milliseconds (100 to 300000)`
    pub(super) fn expected(&self) -> String {
        match self.range {
            Some(range) => format!("{} ({range})", self.unit),
            None => format!("{} ({} to {})", self.unit, self.min, self.max),
        }
    }

    pub(super) fn check(&self, value: u64) -> Result<(), ConfigError> {
        if (self.min..=self.max).contains(&value) { Ok(()) } else { Err(self.refuse(value)) }
    }

    pub(super) fn refuse(&self, value: u64) -> ConfigError {
        ConfigError::Expected {
            path: self.path.to_owned(),
            expected: self.expected(),
            found: value.to_string(),
        }
    }

    pub(super) fn check_duration(&self, value: Duration) -> Result<(), ConfigError> {
        self.check(millis(value))
    }
}

/// Whole milliseconds; what is longer than any clock will run is cut.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const MS: &str = "milliseconds";
const HOUR: u64 = 3_600_000;

/// How long a term of an hour is valid, by the best clocks that can be configured.
const LONGEST_TERM: u64 = HOUR * 99 / 101;

// `Timing` checks these four together; here is what each can be at all, whatever the others are.
pub(super) const LEASE_TTL: Limit = Limit::new("election.leaseTtlMs", MS, 103, HOUR);
pub(super) const RENEW_INTERVAL: Limit =
    Limit::new("election.renewIntervalMs", MS, 40, LONGEST_TERM - 60);
pub(super) const REQUEST_TIMEOUT: Limit =
    Limit::new("election.requestTimeoutMs", MS, 20, LONGEST_TERM / 5);
pub(super) const CLOCK_DRIFT: Limit = Limit::new("election.clockDriftPercent", "percent", 1, 50);

pub(super) const COOLDOWN: Limit = Limit::new("election.cooldownMs", MS, 0, 24 * HOUR);
pub(super) const DRAIN_TIMEOUT: Limit = Limit::new("election.drainTimeoutMs", MS, 0, HOUR);
pub(super) const STOP_TIMEOUT: Limit = Limit::new("election.stopTimeoutMs", MS, 100, HOUR);
pub(super) const EVENT_CAPACITY: Limit =
    Limit::new("election.eventCapacity", "a number of events", 16, 65_536);
/// Of which the even ones are refused.
pub(super) const REPLICAS: Limit =
    Limit::new("nats.replicas", "a number of replicas", 1, 5).reading("1, 3 or 5");
pub(super) const CONNECT_TIMEOUT: Limit = Limit::new("nats.connectTimeoutMs", MS, 100, 300_000);
pub(super) const RECONNECT_WAIT: Limit = Limit::new("nats.reconnectWaitMs", MS, 10, 300_000);
pub(super) const NETMASK: Limit = Limit::new("vip.netmask", "a prefix length in bits", 0, 128)
    .reading("0 to 32 for IPv4, 0 to 128 for IPv6");

/// Whether a number can be a field's at all, whatever the others are. What is no number's field is
/// judged elsewhere.
#[cfg(all(feature = "capi", unix))]
pub(crate) fn check_alone(path: &str, value: u64) -> Result<(), ConfigError> {
    const ALL: [&Limit; 12] = [
        &LEASE_TTL,
        &RENEW_INTERVAL,
        &REQUEST_TIMEOUT,
        &CLOCK_DRIFT,
        &COOLDOWN,
        &DRAIN_TIMEOUT,
        &STOP_TIMEOUT,
        &EVENT_CAPACITY,
        &REPLICAS,
        &CONNECT_TIMEOUT,
        &RECONNECT_WAIT,
        &NETMASK,
    ];
    let Some(limit) = ALL.into_iter().find(|limit| limit.path == path) else { return Ok(()) };
    // Which stands for the default in files of go-cluster.
    let is_default = value == 0 && [LEASE_TTL.path, RENEW_INTERVAL.path].contains(&path);
    let is_even_replicas = value % 2 == 0 && path == REPLICAS.path;
    match (is_default, is_even_replicas) {
        (true, _) => Ok(()),
        (_, true) => Err(limit.refuse(value)),
        (false, false) => limit.check(value),
    }
}
