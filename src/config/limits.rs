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
}

impl Limit {
    const fn new(path: &'static str, unit: &'static str, min: u64, max: u64) -> Self {
        Self { path, unit, min, max }
    }

    /// The last part of the path.
    pub(super) fn key(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// `milliseconds (100 to 300000)`
    pub(super) fn expected(&self) -> String {
        format!("{} ({} to {})", self.unit, self.min, self.max)
    }

    pub(super) fn check(&self, value: u64) -> Result<(), ConfigError> {
        if (self.min..=self.max).contains(&value) {
            return Ok(());
        }
        Err(ConfigError::Expected {
            path: self.path.to_owned(),
            expected: self.expected(),
            found: value.to_string(),
        })
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

// The first three and the drift are checked by `Timing`; their ranges here serve the messages.
pub(super) const LEASE_TTL: Limit = Limit::new("election.leaseTtlMs", MS, 100, HOUR);
pub(super) const RENEW_INTERVAL: Limit = Limit::new("election.renewIntervalMs", MS, 40, HOUR);
pub(super) const REQUEST_TIMEOUT: Limit = Limit::new("election.requestTimeoutMs", MS, 20, HOUR);
pub(super) const CLOCK_DRIFT: Limit = Limit::new("election.clockDriftPercent", "percent", 1, 50);

pub(super) const COOLDOWN: Limit = Limit::new("election.cooldownMs", MS, 0, 24 * HOUR);
pub(super) const DRAIN_TIMEOUT: Limit = Limit::new("election.drainTimeoutMs", MS, 0, HOUR);
pub(super) const STOP_TIMEOUT: Limit = Limit::new("election.stopTimeoutMs", MS, 100, HOUR);
pub(super) const EVENT_CAPACITY: Limit =
    Limit::new("election.eventCapacity", "a number of events", 16, 65_536);
pub(super) const REPLICAS: Limit = Limit::new("nats.replicas", "a number of replicas", 1, 5);
pub(super) const CONNECT_TIMEOUT: Limit = Limit::new("nats.connectTimeoutMs", MS, 100, 300_000);
pub(super) const RECONNECT_WAIT: Limit = Limit::new("nats.reconnectWaitMs", MS, 10, 300_000);
pub(super) const NETMASK: Limit = Limit::new("vip.netmask", "a prefix length in bits", 0, 128);
