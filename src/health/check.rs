//! A health check of the application, which decides whether its node may lead.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use thiserror::Error;

use crate::node::NodeHandle;
use crate::task;

/// How often to check, how long a check may take, and how many results in a row count.
///
/// ```
/// use std::time::Duration;
/// use leasehold::health::{HealthCheck, HealthCheckSettings};
///
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = Node::builder(config).store(store).start()?;
/// let settings = HealthCheckSettings {
///     interval: Duration::from_millis(200),
///     fall: 5, // unhealthy after a second of failures
///     ..HealthCheckSettings::default()
/// };
/// let check = HealthCheck::start(node.handle(), settings, || true)?;
/// # drop(check);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheckSettings {
    /// From the end of a check to the next. Default 1 s, 10 ms to 1 h.
    pub interval: Duration,
    /// A check that takes longer counts as failed. Default 1 s, 1 ms to 1 h. The check is not
    /// interrupted: the next one begins only when it has returned, and until then each interval
    /// counts as one more failure.
    pub timeout: Duration,
    /// This many failures in a row make the node unhealthy. Default 3, 1 to 1000.
    pub fall: u32,
    /// This many successes in a row make it healthy again. Default 2, 1 to 1000.
    pub rise: u32,
}

impl Default for HealthCheckSettings {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { interval: second, timeout: second, fall: 3, rise: 2 }
    }
}

/// Why a health check does not start.
///
/// ```
/// use leasehold::health::{HealthCheck, HealthCheckError, HealthCheckSettings};
///
/// let settings = HealthCheckSettings { fall: 0, ..HealthCheckSettings::default() };
/// let error = HealthCheck::start_with(settings, || true, |_| {}).unwrap_err();
/// assert!(matches!(error, HealthCheckError::Setting { setting: "fall", .. }));
/// assert_eq!(error.to_string(), "fall is 0, must be 1 to 1000"); // correct the setting
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HealthCheckError {
    /// A setting is out of its range.
    #[error("{setting} is {found}, must be {range}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        found: String,
        /// The accepted range.
        range: &'static str,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// Runs a check of the application at intervals, and calls
/// [`set_healthy`](crate::NodeHandle::set_healthy) when the result changes.
///
/// It has two threads: `leasehold-check` runs the check, and `leasehold-health` measures its time,
/// so that a check that hangs is noticed. A check that panics counts as failed. The node counts as
/// healthy until the first `fall` failures. Dropping the value stops both threads without waiting
/// for them; the node keeps its last health.
///
/// ```
/// use std::fs;
/// use leasehold::health::{HealthCheck, HealthCheckSettings};
///
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = Node::builder(config).store(store).start()?;
/// # let folder = tempfile::tempdir()?;
/// let probe = folder.path().join("probe");
/// let check = HealthCheck::start(node.handle(), HealthCheckSettings::default(), move || {
///     fs::write(&probe, "").is_ok() // is the disk writable?
/// })?;
/// assert!(check.is_healthy());
/// drop(check); // ends the checks
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct HealthCheck {
    healthy: Arc<AtomicBool>,
    _stop: Sender<()>,
}

impl HealthCheck {
    /// Starts the checks of a node.
    ///
    /// # Errors
    /// [`HealthCheckError`]
    pub fn start(
        node: NodeHandle,
        settings: HealthCheckSettings,
        check: impl FnMut() -> bool + Send + 'static,
    ) -> Result<Self, HealthCheckError> {
        Self::start_with(settings, check, move |healthy| node.set_healthy(healthy))
    }

    /// As [`start`](Self::start), but calls `on_change` when the result changes, on the thread
    /// `leasehold-health`.
    ///
    /// # Errors
    /// [`HealthCheckError`]
    pub fn start_with(
        settings: HealthCheckSettings,
        mut check: impl FnMut() -> bool + Send + 'static,
        on_change: impl FnMut(bool) + Send + 'static,
    ) -> Result<Self, HealthCheckError> {
        settings.validate()?;
        let (begin, wanted) = bounded::<()>(1);
        let (done, results) = bounded(1);
        task::spawn("leasehold-check", move || {
            for () in &wanted {
                let good = catch_unwind(AssertUnwindSafe(&mut check)).unwrap_or(false);
                if done.send(good).is_err() {
                    return;
                }
            }
        })
        .map_err(HealthCheckError::Thread)?;
        let (stop, stopped) = bounded(0);
        let healthy = Arc::new(AtomicBool::new(true));
        let shared = Arc::clone(&healthy);
        let tally = Tally { settings, healthy: true, row: 0 };
        let timer = Timer { tally, begin, results, busy: false, stopped, shared, on_change };
        task::spawn("leasehold-health", move || timer.run()).map_err(HealthCheckError::Thread)?;
        Ok(Self { healthy, _stop: stop })
    }

    /// The current result; true until the first `fall` failures.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::SeqCst)
    }
}

impl HealthCheckSettings {
    fn validate(&self) -> Result<(), HealthCheckError> {
        const HOUR: Duration = Duration::from_secs(3600);
        let durations = [
            ("interval", self.interval, Duration::from_millis(10), "10 ms to 1 h"),
            ("timeout", self.timeout, Duration::from_millis(1), "1 ms to 1 h"),
        ];
        for (setting, value, least, range) in durations {
            if value < least || value > HOUR {
                return Err(HealthCheckError::Setting {
                    setting,
                    found: format!("{value:?}"),
                    range,
                });
            }
        }
        for (setting, value) in [("fall", self.fall), ("rise", self.rise)] {
            if !(1..=1000).contains(&value) {
                let found = value.to_string();
                return Err(HealthCheckError::Setting { setting, found, range: "1 to 1000" });
            }
        }
        Ok(())
    }
}

/// Counts results in a row.
struct Tally {
    settings: HealthCheckSettings,
    healthy: bool,
    /// Results in a row that differ from `healthy`.
    row: u32,
}

impl Tally {
    /// Counts a result. True when it changed `healthy`.
    fn count(&mut self, good: bool) -> bool {
        if good == self.healthy {
            self.row = 0;
            return false;
        }
        self.row += 1;
        let enough = if good { self.settings.rise } else { self.settings.fall };
        if self.row < enough {
            return false;
        }
        (self.healthy, self.row) = (good, 0);
        true
    }
}

/// The state of the thread that measures the time.
struct Timer<T> {
    tally: Tally,
    begin: Sender<()>,
    results: Receiver<bool>,
    /// A check was begun and has not returned.
    busy: bool,
    stopped: Receiver<()>,
    shared: Arc<AtomicBool>,
    on_change: T,
}

impl<T: FnMut(bool)> Timer<T> {
    fn run(mut self) {
        loop {
            let good = self.begin() && self.result();
            self.take(good);
            if self.pause() {
                return;
            }
        }
    }

    /// Begins a check. False while an earlier one has not returned.
    fn begin(&mut self) -> bool {
        // The result of an earlier check is too late to count.
        if self.busy && self.results.try_recv().is_err() {
            return false;
        }
        self.busy = self.begin.send(()).is_ok();
        self.busy
    }

    fn result(&mut self) -> bool {
        let result = self.results.recv_timeout(self.tally.settings.timeout);
        self.busy = result.is_err();
        result.unwrap_or(false)
    }

    fn take(&mut self, good: bool) {
        if self.tally.count(good) {
            if good {
                log::info!("healthy again");
            } else {
                log::warn!("unhealthy: the check failed {} times", self.tally.settings.fall);
            }
            self.shared.store(good, Ordering::SeqCst);
            (self.on_change)(good);
        }
    }

    /// True when the health check was dropped.
    fn pause(&self) -> bool {
        let interval = self.tally.settings.interval;
        self.stopped.recv_timeout(interval) == Err(RecvTimeoutError::Disconnected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(fall: u32, rise: u32) -> Tally {
        let settings = HealthCheckSettings { fall, rise, ..HealthCheckSettings::default() };
        Tally { settings, healthy: true, row: 0 }
    }

    #[test]
    fn only_enough_results_in_a_row_change_the_health() {
        let mut tally = tally(3, 2);
        for good in [false, false, true, false, false] {
            assert!(!tally.count(good));
        }
        assert!(tally.count(false));
        assert!(!tally.count(true) && !tally.count(false) && !tally.count(true));
        assert!(tally.count(true));
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let usual = HealthCheckSettings::default();
        for (settings, name) in [
            (HealthCheckSettings { interval: Duration::ZERO, ..usual }, "interval"),
            (HealthCheckSettings { timeout: Duration::MAX, ..usual }, "timeout"),
            (HealthCheckSettings { fall: 0, ..usual }, "fall"),
            (HealthCheckSettings { rise: 1001, ..usual }, "rise"),
        ] {
            let error = HealthCheck::start_with(settings, || true, |_| {}).unwrap_err();
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }

    #[test]
    fn a_check_that_hangs_or_panics_counts_as_failed() {
        let settings = HealthCheckSettings {
            interval: Duration::from_millis(10),
            timeout: Duration::from_millis(20),
            fall: 2,
            rise: 1,
        };
        let (sender, changes) = crossbeam_channel::unbounded();
        let (release, held) = bounded::<()>(0);
        let mut turn = 0;
        let check = move || {
            turn += 1;
            match turn {
                1 => held.recv().is_err(),
                2..=9 => panic!("the check of this test"),
                _ => true,
            }
        };
        let on_change = move |healthy| sender.send(healthy).unwrap();
        let running = HealthCheck::start_with(settings, check, on_change).unwrap();
        let limit = Duration::from_secs(30);
        assert_eq!(changes.recv_timeout(limit), Ok(false), "the check hangs");
        assert!(!running.is_healthy());
        drop(release);
        assert_eq!(changes.recv_timeout(limit), Ok(true), "the check works again");
    }
}
