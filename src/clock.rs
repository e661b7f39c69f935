//! The clock of this library. It is not the wall clock, and on Linux it does not stop in suspend.
//!
//! On Linux a [`Timestamp`] is a reading of `CLOCK_BOOTTIME` (`clock_gettime(2)`), which runs while
//! the machine sleeps: a leader that was suspended beyond its deadline is deposed as soon as it
//! reads the clock. On other systems it is a [`std::time::Instant`], which may stop in suspend.
//! There the data must be protected by the epoch; see [`fence`](crate::fence).

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A moment on the boot-time clock of a host, in nanoseconds since boot.
///
/// Timestamps of different hosts cannot be compared, and the protocol never does. Arithmetic
/// saturates at both ends.
///
/// ```
/// use std::time::Duration;
/// use leasehold::clock::Timestamp;
///
/// let sent = Timestamp::from_nanos(2_000_000_000);
/// let deadline = sent + Duration::from_secs(8);
/// assert_eq!(deadline.since(sent), Duration::from_secs(8));
/// assert_eq!(sent.since(deadline), Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The origin of the clock.
    pub const ZERO: Self = Self(0);
    /// Later than any reading of a clock, by 146 years and more.
    pub const MAX: Self = Self(u64::MAX);
    /// What a test can move a clock to at most. So every wait of a node ends after this moment.
    pub(crate) const LATEST: Self = Self(i64::MAX as u64);

    /// The moment `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero if `self` is earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// A source of timestamps: the clock of the machine, or one that a test moves by hand.
///
/// Cloning is cheap; clones of a manual clock move together.
///
/// ```
/// use leasehold::clock::{Clock, Timestamp};
/// use std::time::Duration;
///
/// let clock = Clock::manual(Timestamp::from_nanos(1));
/// let before = clock.now();
/// clock.advance(Duration::from_secs(90));
/// assert_eq!(clock.now().since(before), Duration::from_secs(90));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    Boot,
    /// Boot time plus nanoseconds that a test adds, as if the machine had been suspended.
    Shifted(Arc<Movable>),
    Manual(Arc<Movable>),
}

/// The part of a clock that a test moves.
#[derive(Default)]
struct Movable {
    nanos: AtomicU64,
    /// Called after each move, by number.
    listeners: Mutex<BTreeMap<u64, Listener>>,
}

type Listener = Arc<dyn Fn() + Send + Sync>;

impl Movable {
    fn starting_at(at: Timestamp) -> Arc<Self> {
        let nanos = AtomicU64::new(at.min(Timestamp::LATEST).0);
        Arc::new(Self { nanos, listeners: Mutex::default() })
    }

    fn advance(&self, by: Duration) {
        let later = |now: u64| Some((Timestamp(now) + by).min(Timestamp::LATEST).0);
        let _ = self.nanos.fetch_update(Ordering::SeqCst, Ordering::SeqCst, later);
        // Called without the lock: a listener may be anything.
        let listeners = self.listeners().values().cloned().collect::<Vec<_>>();
        for listener in listeners {
            listener();
        }
    }

    fn add(&self, listener: Listener) -> u64 {
        let mut listeners = self.listeners();
        let number = listeners.last_key_value().map_or(0, |(last, _)| last + 1);
        listeners.insert(number, listener);
        number
    }

    fn listeners(&self) -> MutexGuard<'_, BTreeMap<u64, Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Movable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.nanos.fmt(f)
    }
}

/// Dropping it ends the calls that [`Clock::on_advance`] asked for.
#[must_use = "dropping it ends the calls"]
pub(crate) struct OnAdvance(Option<(Arc<Movable>, u64)>);

impl Drop for OnAdvance {
    fn drop(&mut self) {
        if let Some((movable, number)) = &self.0 {
            // Dropped without the lock.
            let _listener = movable.listeners().remove(number);
        }
    }
}

impl Clock {
    /// The boot-time clock of the machine. This is the default.
    #[must_use]
    pub const fn boot() -> Self {
        Self(Source::Boot)
    }

    /// A clock that reads `start`, at most 292 years, until [`advance`](Self::advance) moves it.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Movable::starting_at(start)))
    }

    /// The boot-time clock, which [`advance`](Self::advance) moves forward as a suspend does.
    #[must_use]
    pub fn shifted() -> Self {
        Self(Source::Shifted(Arc::default()))
    }

    /// The current time. Never blocks. On Linux it is one vDSO call.
    #[inline]
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::Boot => boot_time(),
            Source::Shifted(by) => {
                boot_time() + Duration::from_nanos(by.nanos.load(Ordering::SeqCst))
            }
            Source::Manual(at) => Timestamp(at.nanos.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual or shifted clock forward, and wakes every node that waits on it. Does nothing
    /// to the clock of the machine. After 292 years in total the clock stands still.
    ///
    /// Returns at once. What is due then happens on the threads of the nodes:
    /// [`MemoryServer::settle`](crate::store::memory::MemoryServer::settle) waits for it.
    pub fn advance(&self, by: Duration) {
        if let Some(movable) = self.movable() {
            movable.advance(by);
        }
    }

    /// Calls `listener`, which must not block, after each [`advance`](Self::advance) of this clock
    /// or of a clone, until the returned value is dropped. Never, when nothing moves this clock.
    pub(crate) fn on_advance(&self, listener: impl Fn() + Send + Sync + 'static) -> OnAdvance {
        let movable = self.movable();
        OnAdvance(movable.map(|movable| (Arc::clone(movable), movable.add(Arc::new(listener)))))
    }

    /// Whether [`advance`](Self::advance) moves this clock.
    pub(crate) fn is_movable(&self) -> bool {
        self.movable().is_some()
    }

    /// Whether both always read the same time: each is that of the machine, or they are clones of
    /// one that tests move.
    pub(crate) fn runs_with(&self, other: &Self) -> bool {
        self.moves_with(other) || !(self.is_movable() || other.is_movable())
    }

    /// Whether this clock and `other` are clones of one that tests move.
    pub(crate) fn moves_with(&self, other: &Self) -> bool {
        let both = self.movable().zip(other.movable());
        both.is_some_and(|(one, other)| Arc::ptr_eq(one, other))
    }

    fn movable(&self) -> Option<&Arc<Movable>> {
        match &self.0 {
            Source::Boot => None,
            Source::Shifted(movable) | Source::Manual(movable) => Some(movable),
        }
    }
}

#[cfg(all(target_os = "linux", not(leasehold_portable)))]
#[inline]
fn boot_time() -> Timestamp {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // The fields are signed because of other clocks. Boot time is never negative.
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Timestamp(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

#[cfg(not(all(target_os = "linux", not(leasehold_portable))))]
fn boot_time() -> Timestamp {
    use std::sync::OnceLock;
    use std::time::Instant;
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let origin = *ORIGIN.get_or_init(Instant::now);
    // One second ahead of the origin, so that no reading is the origin itself.
    Timestamp(1_000_000_000) + origin.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::MAX + Duration::from_secs(1), Timestamp::MAX);
        assert_eq!(Timestamp::ZERO - Duration::from_secs(1), Timestamp::ZERO);
        assert_eq!(Timestamp::ZERO.since(Timestamp::MAX), Duration::ZERO);
    }

    #[test]
    fn boot_time_moves_forward() {
        let clock = Clock::boot();
        let first = clock.now();
        assert!(first > Timestamp::ZERO);
        assert!(clock.now() >= first);
    }

    #[test]
    fn a_manual_clock_is_moved_by_hand_together_with_its_clones() {
        let clock = Clock::manual(Timestamp::from_nanos(5));
        let clone = clock.clone();
        clock.advance(Duration::from_nanos(2));
        assert_eq!(clone.now(), Timestamp::from_nanos(7));
    }

    #[test]
    fn an_advance_never_moves_a_clock_back() {
        let clock = Clock::manual(Timestamp::from_nanos(5));
        for _ in 0..2 {
            clock.advance(Duration::MAX);
            assert_eq!(clock.now(), Timestamp::LATEST);
        }
        assert_eq!(Clock::manual(Timestamp::MAX).now(), Timestamp::LATEST);
    }

    /// A wait that ends at the present moment would be over at once, and again at once.
    #[test]
    fn there_is_time_after_the_longest_advance() {
        for clock in [Clock::manual(Timestamp::ZERO), Clock::shifted()] {
            clock.advance(Duration::MAX);
            let year = Duration::from_secs(365 * 24 * 3600);
            let now = clock.now();
            assert_eq!((now + year).since(now), year);
        }
    }

    #[test]
    fn a_shifted_clock_can_be_moved_forward() {
        let clock = Clock::shifted();
        let before = clock.now();
        clock.advance(Duration::from_secs(3600));
        assert!(clock.now().since(before) >= Duration::from_secs(3600));
    }

    #[test]
    fn an_advance_calls_its_listeners_until_they_are_dropped() {
        let calls = Arc::new(AtomicU64::new(0));
        let counter = || {
            let calls = Arc::clone(&calls);
            move || _ = calls.fetch_add(1, Ordering::SeqCst)
        };
        for clock in [Clock::manual(Timestamp::ZERO), Clock::shifted()] {
            calls.store(0, Ordering::SeqCst);
            let first = clock.on_advance(counter());
            let second = clock.clone().on_advance(counter());
            clock.advance(Duration::from_secs(1));
            assert_eq!(calls.load(Ordering::SeqCst), 2);
            drop(first);
            clock.clone().advance(Duration::from_secs(1));
            assert_eq!(calls.load(Ordering::SeqCst), 3);
            drop(second);
            clock.advance(Duration::from_secs(1));
            assert_eq!(calls.load(Ordering::SeqCst), 3);
            assert_eq!(Arc::strong_count(&calls), 1, "nothing of a listener is kept");
        }
    }

    #[test]
    fn the_clock_of_the_machine_keeps_no_listeners() {
        let kept = Arc::new(());
        let clone = Arc::clone(&kept);
        let _guard = Clock::boot().on_advance(move || _ = &clone);
        assert_eq!(Arc::strong_count(&kept), 1);
        assert!(!Clock::boot().is_movable());
    }

    #[test]
    fn clones_move_together_and_others_do_not() {
        let clock = Clock::manual(Timestamp::ZERO);
        assert!(clock.moves_with(&clock.clone()));
        assert!(!clock.moves_with(&Clock::manual(Timestamp::ZERO)));
        assert!(!Clock::boot().moves_with(&Clock::boot()));
        assert!(clock.runs_with(&clock.clone()) && Clock::boot().runs_with(&Clock::boot()));
        for other in [Clock::boot(), Clock::shifted(), Clock::manual(Timestamp::ZERO)] {
            assert!(!clock.runs_with(&other) && !other.runs_with(&clock));
        }
    }
}
