//! A check of the application's that decides whether its node may lead.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use thiserror::Error;

use crate::node::NodeHandle;
use crate::task;

/// How often is checked, how long a check may take, and how many in a row count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateSettings {
    /// From the end of a check to the next. Default 1 s, 10 ms to 1 h.
    pub interval: Duration,
    /// A check that takes longer has failed. Default 1 s, 1 ms to 1 h. It is not cut off: the next
    /// begins only when it has returned, and it counts as failed once more for each interval until
    /// then.
    pub timeout: Duration,
    /// So many failures in a row make the node unhealthy. Default 3, 1 to 1000.
    pub fall: u32,
    /// So many successes in a row make it healthy again. Default 2, 1 to 1000.
    pub rise: u32,
}

impl Default for GateSettings {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { interval: second, timeout: second, fall: 3, rise: 2 }
    }
}

/// Why a gate does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GateError {
    /// A setting is out of its range.
    #[error("{setting} is {found}, must be {range}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        range: &'static str,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// Runs a check again and again, and tells the node by
/// [`set_healthy`](crate::Node::set_healthy) when it turns bad or good.
///
/// Threads: `leasehold-gate` keeps time, `leasehold-check` runs the check, so that one that hangs
/// is noticed. A check that panics has failed. The node counts as healthy until the first `fall`
/// failures. Dropping the gate stops both, waits for neither, and leaves the node as it is.
#[derive(Debug)]
pub struct Gate {
    healthy: Arc<AtomicBool>,
    _stop: Sender<()>,
}

impl Gate {
    /// Begins to check.
    ///
    /// # Errors
    /// [`GateError`]
    pub fn start(
        node: NodeHandle,
        settings: GateSettings,
        check: impl FnMut() -> bool + Send + 'static,
    ) -> Result<Self, GateError> {
        Self::start_telling(settings, check, move |healthy| node.set_healthy(healthy))
    }

    /// The same for whoever wants to hear of it; called on the gate's thread.
    ///
    /// # Errors
    /// [`GateError`]
    pub fn start_telling(
        settings: GateSettings,
        mut check: impl FnMut() -> bool + Send + 'static,
        tell: impl FnMut(bool) + Send + 'static,
    ) -> Result<Self, GateError> {
        settings.validate()?;
        let (asks, asked) = bounded::<()>(1);
        let (says, said) = bounded(1);
        task::spawn("leasehold-check", move || {
            for () in &asked {
                let good = catch_unwind(AssertUnwindSafe(&mut check)).unwrap_or(false);
                if says.send(good).is_err() {
                    return;
                }
            }
        })
        .map_err(GateError::Thread)?;
        let (stop, stopped) = bounded(0);
        let healthy = Arc::new(AtomicBool::new(true));
        let shared = Arc::clone(&healthy);
        let tally = Tally { settings, healthy: true, row: 0 };
        let keeper = Keeper { tally, asks, said, busy: false, stopped, shared, tell };
        task::spawn("leasehold-gate", move || keeper.run()).map_err(GateError::Thread)?;
        Ok(Self { healthy, _stop: stop })
    }

    /// What the node was told last.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::SeqCst)
    }
}

impl GateSettings {
    fn validate(&self) -> Result<(), GateError> {
        const HOUR: Duration = Duration::from_secs(3600);
        let durations = [
            ("interval", self.interval, Duration::from_millis(10), "10 ms to 1 h"),
            ("timeout", self.timeout, Duration::from_millis(1), "1 ms to 1 h"),
        ];
        for (setting, value, least, range) in durations {
            if value < least || value > HOUR {
                return Err(GateError::Setting { setting, found: format!("{value:?}"), range });
            }
        }
        for (setting, value) in [("fall", self.fall), ("rise", self.rise)] {
            if !(1..=1000).contains(&value) {
                let found = value.to_string();
                return Err(GateError::Setting { setting, found, range: "1 to 1000" });
            }
        }
        Ok(())
    }
}

/// Counts results in a row.
struct Tally {
    settings: GateSettings,
    healthy: bool,
    /// Results in a row that say otherwise.
    row: u32,
}

impl Tally {
    /// Takes a result. True when that changed what the node is.
    fn turned(&mut self, good: bool) -> bool {
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

struct Keeper<T> {
    tally: Tally,
    asks: Sender<()>,
    said: Receiver<bool>,
    /// A check was begun and has not returned.
    busy: bool,
    stopped: Receiver<()>,
    shared: Arc<AtomicBool>,
    tell: T,
}

impl<T: FnMut(bool)> Keeper<T> {
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
        // What that one says now is too late to count.
        if self.busy && self.said.try_recv().is_err() {
            return false;
        }
        self.busy = self.asks.send(()).is_ok();
        self.busy
    }

    fn result(&mut self) -> bool {
        let said = self.said.recv_timeout(self.tally.settings.timeout);
        self.busy = said.is_err();
        said.unwrap_or(false)
    }

    fn take(&mut self, good: bool) {
        if self.tally.turned(good) {
            if good {
                log::info!("healthy again");
            } else {
                log::warn!("unhealthy: the check failed {} times", self.tally.settings.fall);
            }
            self.shared.store(good, Ordering::SeqCst);
            (self.tell)(good);
        }
    }

    /// True when the gate was dropped.
    fn pause(&self) -> bool {
        let interval = self.tally.settings.interval;
        self.stopped.recv_timeout(interval) == Err(RecvTimeoutError::Disconnected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(fall: u32, rise: u32) -> Tally {
        let settings = GateSettings { fall, rise, ..GateSettings::default() };
        Tally { settings, healthy: true, row: 0 }
    }

    #[test]
    fn only_enough_in_a_row_turn_it() {
        let mut tally = tally(3, 2);
        for good in [false, false, true, false, false] {
            assert!(!tally.turned(good));
        }
        assert!(tally.turned(false));
        assert!(!tally.turned(true) && !tally.turned(false) && !tally.turned(true));
        assert!(tally.turned(true));
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let usual = GateSettings::default();
        for (settings, name) in [
            (GateSettings { interval: Duration::ZERO, ..usual }, "interval"),
            (GateSettings { timeout: Duration::MAX, ..usual }, "timeout"),
            (GateSettings { fall: 0, ..usual }, "fall"),
            (GateSettings { rise: 1001, ..usual }, "rise"),
        ] {
            let error = Gate::start_telling(settings, || true, |_| {}).unwrap_err();
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }

    #[test]
    fn a_check_that_hangs_or_panics_has_failed() {
        let settings = GateSettings {
            interval: Duration::from_millis(10),
            timeout: Duration::from_millis(20),
            fall: 2,
            rise: 1,
        };
        let (told, tells) = crossbeam_channel::unbounded();
        let (release, held) = bounded::<()>(0);
        let mut turn = 0;
        let check = move || {
            turn += 1;
            match turn {
                1 => held.recv().is_err(),
                2..=9 => panic!("a check of the test's"),
                _ => true,
            }
        };
        let gate = Gate::start_telling(settings, check, move |good| told.send(good).unwrap());
        let gate = gate.unwrap();
        let limit = Duration::from_secs(30);
        assert_eq!(tells.recv_timeout(limit), Ok(false), "it hangs");
        assert!(!gate.is_healthy());
        drop(release);
        assert_eq!(tells.recv_timeout(limit), Ok(true), "it works again");
        drop(gate);
    }
}
