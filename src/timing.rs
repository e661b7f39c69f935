//! The durations of the protocol, and which of them are accepted together.
//!
//! *D* is the lease TTL, and *ρ* bounds how far the clock rate of any one host
//! departs from true time. A leader counts its term as valid for *L = D·(1−ρ)/(1+ρ)* on its own
//! clock, from before it sent a write that was stored. A challenger waits *D* on its own clock,
//! from when it saw that write. While both clocks keep within the bound, *L* ends before *D* does;
//! see [`election`](crate::election).
//!
//! Validity is rounded down and waits are rounded up, to whole milliseconds.

use std::time::Duration;

use thiserror::Error;

use crate::lease::{MAX_TTL, MIN_TTL};

/// The default lease TTL.
pub const DEFAULT_TTL: Duration = Duration::from_secs(10);
/// The default time between renewals.
pub const DEFAULT_RENEW_INTERVAL: Duration = Duration::from_secs(3);
/// The default bound on a clock's rate error, in percent. Time daemons slew by up to 8.3 %.
pub const DEFAULT_DRIFT_PERCENT: u32 = 10;
/// The shortest request timeout, derived or given.
pub const MIN_REQUEST_TIMEOUT: Duration = Duration::from_millis(20);

/// Durations that are safe together. An unsafe combination cannot be built.
///
/// ```
/// use std::time::Duration;
/// use leasehold::timing::Timing;
///
/// let timing = Timing::new(Duration::from_secs(30), Duration::from_secs(10), None, 10)?;
/// assert_eq!(timing.validity(), Duration::from_millis(24_545)); // 30 s · 0.9 / 1.1
/// assert_eq!(timing.request_timeout(), Duration::from_millis(3_333));
/// # Ok::<(), leasehold::timing::TimingError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    ttl: u64,
    renew: u64,
    request_timeout: u64,
    drift: u64,
}

impl Default for Timing {
    /// 10 s, 3 s, 1 s, 10 %.
    fn default() -> Self {
        Self { ttl: 10_000, renew: 3_000, request_timeout: 1_000, drift: 10 }
    }
}

impl Timing {
    /// Checks the durations; fractions of a millisecond are dropped.
    ///
    /// * `ttl`: *D*, up to 1 h; at least 147 ms at a drift of 10 %, or 123 ms with a request
    ///   timeout.
    /// * `renew_interval`: *R*, at least 60 ms, or twice the request timeout that is given.
    /// * `request_timeout`: *rt*, 20 ms to *R*/2; `None` takes the lesser of *R*/3 and (*L*−*R*)/3.
    /// * `drift_percent`: *ρ*, 1 to 50.
    ///
    /// # Errors
    /// [`TimingError`] unless *R* + 3·*rt* ≤ *L*. A lost renewal, the read that finds out, and the
    /// next renewal have to fit into one term. The message names accepted values.
    pub fn new(
        ttl: Duration,
        renew_interval: Duration,
        request_timeout: Option<Duration>,
        drift_percent: u32,
    ) -> Result<Self, TimingError> {
        if !(1..=50).contains(&drift_percent) {
            return Err(TimingError::Drift { percent: drift_percent });
        }
        let smallest = Self::smallest_ttl(request_timeout.is_some(), drift_percent.into());
        if !(smallest..=MAX_TTL).contains(&ttl) {
            return Err(TimingError::Ttl { ttl, smallest });
        }
        let mut timing = Self {
            ttl: millis(ttl),
            renew: millis(renew_interval),
            request_timeout: 0,
            drift: drift_percent.into(),
        };
        timing.request_timeout = timing.choose_request_timeout(request_timeout)?;
        Ok(timing)
    }

    /// The shortest TTL, given the shortest renew interval and request timeout.
    fn smallest_ttl(request_timeout_given: bool, drift: u64) -> Duration {
        let shortest = millis(MIN_REQUEST_TIMEOUT);
        let renew = if request_timeout_given { 2 * shortest } else { 3 * shortest };
        ms(((renew + 3 * shortest) * (100 + drift)).div_ceil(100 - drift)).max(MIN_TTL)
    }

    fn choose_request_timeout(&self, given: Option<Duration>) -> Result<u64, TimingError> {
        let shortest = millis(MIN_REQUEST_TIMEOUT);
        let (per_renewal, timeout) = match given {
            Some(given) => (2, millis(given)),
            None => (3, shortest),
        };
        if timeout < shortest {
            return Err(TimingError::RequestTimeoutTooShort { given: ms(timeout) });
        }
        if given.is_some() && self.renew < per_renewal * timeout && self.renew >= 2 * shortest {
            return Err(TimingError::RequestTimeoutTooLong {
                given: ms(timeout),
                longest: ms(self.renew / per_renewal),
                renew_interval: ms(self.renew),
            });
        }
        if self.renew < per_renewal * timeout {
            return Err(TimingError::RenewIntervalTooShort {
                renew_interval: ms(self.renew),
                nearest: ms(per_renewal * timeout),
                request_timeout: ms(timeout),
            });
        }
        if self.renew.saturating_add(3 * timeout) > self.validity_ms() {
            return Err(self.too_long(timeout, per_renewal));
        }
        match given {
            Some(_) => Ok(timeout),
            None => Ok((self.renew / 3).min((self.validity_ms() - self.renew) / 3)),
        }
    }

    fn too_long(&self, timeout: u64, per_renewal: u64) -> TimingError {
        let needed = self.renew.saturating_add(3 * timeout);
        let longest = self.validity_ms().checked_sub(3 * timeout);
        let accepted = longest.filter(|longest| *longest >= per_renewal * timeout);
        let smallest_ttl = needed.saturating_mul(100 + self.drift).div_ceil(100 - self.drift);
        TimingError::RenewIntervalTooLong {
            renew_interval: ms(self.renew),
            request_timeout: ms(timeout),
            validity: self.validity(),
            ttl: self.ttl(),
            nearest_renew_interval: accepted.map(ms),
            nearest_ttl: Some(ms(smallest_ttl)).filter(|ttl| *ttl <= MAX_TTL),
        }
    }

    /// *D*: how long a challenger waits. Default 10 s.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        ms(self.ttl)
    }

    /// *R*: the time between renewals. Default 3 s.
    #[must_use]
    pub fn renew_interval(&self) -> Duration {
        ms(self.renew)
    }

    /// *rt*: how long to wait for a response. Default min(*R*/3, (*L*−*R*)/3), 1 s at 10 s / 3 s.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        ms(self.request_timeout)
    }

    /// *ρ*, in percent. Default 10.
    #[must_use]
    pub fn drift_percent(&self) -> u32 {
        u32::try_from(self.drift).unwrap_or(u32::MAX)
    }

    /// *L*: how long a term is valid, counted from before its newest stored write was sent. 8.181 s
    /// at 10 s.
    #[must_use]
    pub fn validity(&self) -> Duration {
        ms(self.validity_ms())
    }

    /// How long other nodes leave a release to its successor: min(1 s, *D*/2).
    #[must_use]
    pub fn successor_wait(&self) -> Duration {
        ms(1_000.min(self.ttl.div_ceil(2)))
    }

    /// The cooldown after a term that was resigned but expired without a release, long enough for
    /// other nodes to take over first: *D*·(1+*ρ*)/(1−*ρ*) + min(2 s, *D*/3).
    #[must_use]
    pub fn expiry_cooldown(&self) -> Duration {
        let slowest = (self.ttl * (100 + self.drift)).div_ceil(100 - self.drift);
        ms(slowest + 2_000.min(self.ttl.div_ceil(3)))
    }

    /// How long before a challenge its confirming read is sent: min(50 ms, *D*/10), enough for two
    /// round trips within one data centre.
    #[must_use]
    pub fn confirm_lead(&self) -> Duration {
        ms(50.min(self.ttl / 10))
    }

    /// The pause before a request that failed at once is sent again: *rt*/4.
    #[must_use]
    pub fn retry_wait(&self) -> Duration {
        ms(self.request_timeout.div_ceil(4))
    }

    /// The maximum age of a bucket has to be longer than this: 2·*R* + *rt*. With a shorter one the
    /// record would vanish under a live leader.
    #[must_use]
    pub fn shortest_max_age(&self) -> Duration {
        ms(2 * self.renew + self.request_timeout)
    }

    /// Checks whether the kernel can remove a virtual IP on behalf of the lease: *L* − 3 s ≥ *R* +
    /// *rt*. Then a stored renewal keeps the address until the next one is stored, even if that one
    /// takes its full timeout. The 3 s are the margin that the kernel needs, see
    /// [`vip`](crate::vip), and its granularity of 1 s.
    ///
    /// # Errors
    /// [`TimingError::TtlTooShortForVirtualIp`] with the smallest TTL that is accepted.
    pub fn check_virtual_ip(&self) -> Result<(), TimingError> {
        const KERNEL_MS: u64 = 3_000;
        if self.validity_ms() >= KERNEL_MS + self.renew + self.request_timeout {
            return Ok(());
        }
        // A request timeout that was not given grows with the TTL.
        let derived = (self.renew / 3).min((self.validity_ms() - self.renew) / 3);
        let longest = (self.renew / 3).min(KERNEL_MS / 2);
        let timeout = if self.request_timeout == derived { longest } else { self.request_timeout };
        let needed = KERNEL_MS + self.renew + timeout;
        Err(TimingError::TtlTooShortForVirtualIp {
            ttl: self.ttl(),
            smallest: ms((needed * (100 + self.drift)).div_ceil(100 - self.drift)),
            renew_interval: self.renew_interval(),
            request_timeout: self.request_timeout(),
        })
    }

    /// A warning about accepted durations that are risky: with *R* > *L*/2, one lost renewal may
    /// end a term.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        (self.renew > self.validity_ms() / 2).then(|| {
            format!(
                "renew interval {:?} is more than half of the {:?} that a term is valid: \
                 one lost renewal may end it",
                self.renew_interval(),
                self.validity()
            )
        })
    }

    fn validity_ms(&self) -> u64 {
        self.ttl * (100 - self.drift) / (100 + self.drift)
    }
}

/// Durations that are not safe together.
///
/// ```
/// use std::time::Duration;
/// use leasehold::timing::{Timing, TimingError};
///
/// let ttl = Duration::from_secs(10);
/// let error = Timing::new(ttl, Duration::from_secs(9), None, 10).unwrap_err();
/// eprintln!("{error}"); // names a renew interval and a TTL that are accepted
/// let TimingError::RenewIntervalTooLong { nearest_renew_interval, .. } = error else { panic!() };
/// assert!(nearest_renew_interval.is_some_and(|longest| longest > Duration::from_secs(8)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TimingError {
    /// The bound on the clock's rate error is out of range.
    #[error("clock drift is {percent} %, must be 1 % to 50 %")]
    Drift {
        /// What was given.
        percent: u32,
    },
    /// The lease TTL is out of range.
    #[error("lease TTL is {ttl:?}, must be {smallest:?} to 3600s")]
    Ttl {
        /// What was given.
        ttl: Duration,
        /// The smallest that is accepted, given the shortest renew interval and request timeout.
        smallest: Duration,
    },
    /// The request timeout is out of range.
    #[error("request timeout is {given:?}, must be at least 20ms")]
    RequestTimeoutTooShort {
        /// What was given.
        given: Duration,
    },
    /// The request timeout is too long for the renew interval.
    #[error(
        "request timeout is {given:?}, must be 20ms to {longest:?} with a renew interval of \
         {renew_interval:?}"
    )]
    RequestTimeoutTooLong {
        /// What was given.
        given: Duration,
        /// The longest that is accepted with this renew interval.
        longest: Duration,
        /// What was given.
        renew_interval: Duration,
    },
    /// The kernel could not remove a virtual IP in time, or would remove it between two renewals.
    #[error(
        "lease TTL is {ttl:?}, must be at least {smallest:?} with a virtual IP, a renew interval \
         of {renew_interval:?} and a request timeout of {request_timeout:?}"
    )]
    TtlTooShortForVirtualIp {
        /// What was given.
        ttl: Duration,
        /// The smallest that is accepted at this renew interval.
        smallest: Duration,
        /// What was given.
        renew_interval: Duration,
        /// What was given or derived.
        request_timeout: Duration,
    },
    /// The renew interval is too short for the request timeout.
    #[error(
        "renew interval is {renew_interval:?}, must be at least {nearest:?}{}",
        beside(" with", *.request_timeout)
    )]
    RenewIntervalTooShort {
        /// What was given.
        renew_interval: Duration,
        /// The nearest accepted renew interval.
        nearest: Duration,
        /// The request timeout in use.
        request_timeout: Duration,
    },
    /// A lost renewal could not be repeated within the term.
    #[error(
        "renew interval is {renew_interval:?}, too long for a lease TTL of {ttl:?}{}: take {}",
        beside(" and", *.request_timeout),
        proposal(
            nearest_renew_interval
                .map(|most| most.min(ms(millis(*.ttl) / 3).max(3 * *.request_timeout))),
            nearest_ttl.map(|least| least.max(renew_interval.saturating_mul(3)).min(MAX_TTL)),
        )
    )]
    RenewIntervalTooLong {
        /// What was given.
        renew_interval: Duration,
        /// The request timeout in use; the shortest one when it is derived.
        request_timeout: Duration,
        /// *L* at this TTL.
        validity: Duration,
        /// What was given.
        ttl: Duration,
        /// The longest renew interval that is accepted with this TTL, if one is.
        nearest_renew_interval: Option<Duration>,
        /// The shortest TTL that is accepted with this renew interval, if one is.
        nearest_ttl: Option<Duration>,
    },
}

/// Names a request timeout, unless it is the shortest one, which is in use when none was given.
fn beside(word: &str, request_timeout: Duration) -> String {
    if request_timeout == MIN_REQUEST_TIMEOUT {
        return String::new();
    }
    format!("{word} a request timeout of {request_timeout:?}")
}

/// The accepted values to propose instead: a TTL of three renew intervals where that is accepted.
fn proposal(renew_interval: Option<Duration>, ttl: Option<Duration>) -> String {
    let renew_interval = renew_interval.map(|interval| format!("a renew interval of {interval:?}"));
    let ttl = ttl.map(|ttl| format!("a lease TTL of {ttl:?}"));
    match (renew_interval, ttl) {
        (Some(renew_interval), Some(ttl)) => format!("{renew_interval} or {ttl}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "a shorter renew interval and request timeout".to_owned(),
    }
}

/// Whole milliseconds, capped far above every accepted value so that sums cannot overflow.
fn millis(duration: Duration) -> u64 {
    const CAP: u64 = 1 << 40;
    u64::try_from(duration.as_millis()).map_or(CAP, |millis| millis.min(CAP))
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(ttl: u64, renew: u64) -> Result<Timing, TimingError> {
        Timing::new(ms(ttl), ms(renew), None, DEFAULT_DRIFT_PERCENT)
    }

    #[test]
    fn new_accepts_the_defaults_unchanged() {
        assert_eq!(timing(10_000, 3_000).unwrap(), Timing::default());
        assert_eq!(Timing::default().validity(), ms(8_181));
    }

    #[test]
    fn usual_pairs_are_accepted_and_leave_time_for_write_read_write() {
        for (ttl, renew) in [(10_000, 3_000), (10_000, 5_000), (3_000, 1_000), (30_000, 10_000)] {
            let timing = timing(ttl, renew).unwrap();
            let rt = timing.request_timeout();
            assert!(timing.renew_interval() + 3 * rt <= timing.validity());
            assert!(rt <= timing.renew_interval() / 2);
        }
        assert_eq!(timing(1_000, 300).unwrap().request_timeout(), ms(100));
        assert_eq!(timing(250, 60).unwrap().request_timeout(), ms(20));
    }

    #[test]
    fn a_renew_interval_above_half_the_validity_gets_a_warning() {
        assert!(timing(10_000, 5_000).unwrap().warning().is_some());
        assert!(timing(11_000, 4_501).unwrap().warning().is_some());
        assert!(timing(11_000, 4_500).unwrap().warning().is_none());
        assert!(Timing::default().warning().is_none());
    }

    #[test]
    fn a_refusal_names_values_that_are_accepted() {
        let Err(TimingError::RenewIntervalTooLong { nearest_renew_interval, nearest_ttl, .. }) =
            timing(10_000, 9_000)
        else {
            panic!("accepted or refused for another reason")
        };
        let (nearest_renew_interval, nearest_ttl) =
            (nearest_renew_interval.unwrap(), nearest_ttl.unwrap());
        assert!(timing(10_000, millis(nearest_renew_interval)).is_ok());
        assert!(timing(10_000, millis(nearest_renew_interval) + 1).is_err());
        assert!(timing(millis(nearest_ttl), 9_000).is_ok());
        assert!(timing(millis(nearest_ttl) - 2, 9_000).is_err());
    }

    #[test]
    fn a_refusal_names_no_value_that_is_refused() {
        let message =
            |ttl, renew, rt| Timing::new(ms(ttl), ms(renew), rt, 10).unwrap_err().to_string();
        let proposed = |message: String| message.split_once(": take ").unwrap().1.to_owned();
        assert_eq!(
            proposed(message(10_000, 3_528_652, None)),
            "a renew interval of 3.333s",
            "no TTL is long enough"
        );
        assert!(timing(10_000, 3_333).is_ok());
        assert_eq!(
            message(3_000, 3_000, None),
            "renew interval is 3s, too long for a lease TTL of 3s: take a renew interval of 1s or \
             a lease TTL of 9s"
        );
        assert_eq!(
            proposed(message(147, 3_000, None)),
            "a renew interval of 60ms or a lease TTL of 9s"
        );
        assert_eq!(
            proposed(message(10_000, 6_000, Some(ms(3_000)))),
            "a lease TTL of 18.334s",
            "no renew interval has room for two such answers"
        );
        assert!(Timing::new(ms(18_334), ms(6_000), Some(ms(3_000)), 10).is_ok());
        assert_eq!(
            proposed(message(10_000, 3_000_000, Some(ms(705_000)))),
            "a shorter renew interval and request timeout"
        );
    }

    #[test]
    fn the_default_lease_has_room_for_a_virtual_ip() {
        assert_eq!(Timing::default().check_virtual_ip(), Ok(()));
    }

    #[test]
    fn a_lease_too_short_for_a_virtual_ip_is_refused_with_the_smallest_ttl_that_works() {
        for (ttl, renew, timeout) in [
            (3_000, 1_000, None),
            (3_000, 1_000, Some(300)),
            (3_000, 2_000, None),
            (9_000, 6_000, None),
        ] {
            let with = |ttl| Timing::new(ttl, ms(renew), timeout.map(ms), 10).unwrap();
            let refused = with(ms(ttl)).check_virtual_ip().unwrap_err();
            let TimingError::TtlTooShortForVirtualIp { smallest, .. } = refused else {
                panic!("{refused}")
            };
            assert!(with(smallest).check_virtual_ip().is_ok(), "{smallest:?}");
            assert!(with(ms(millis(smallest) - 2)).check_virtual_ip().is_err(), "{smallest:?}");
        }
    }

    #[test]
    fn derived_waits_have_their_documented_values() {
        let timing = Timing::default();
        assert_eq!(timing.expiry_cooldown(), ms(12_223 + 2_000));
        assert_eq!((timing.successor_wait(), timing.confirm_lead()), (ms(1_000), ms(50)));
        assert_eq!((timing.retry_wait(), timing.shortest_max_age()), (ms(250), ms(7_000)));
        let short = Timing::new(ms(301), ms(90), Some(ms(21)), 7).unwrap();
        assert_eq!(short.expiry_cooldown(), ms(347 + 101));
        assert_eq!((short.successor_wait(), short.confirm_lead()), (ms(151), ms(30)));
        assert_eq!((short.retry_wait(), short.shortest_max_age()), (ms(6), ms(201)));
        assert_eq!((short.drift_percent(), short.validity()), (7, ms(261)));
    }

    #[test]
    fn a_refusal_names_the_exact_bound() {
        let with = |renew, rt| Timing::new(ms(10_000), ms(renew), rt, 10).unwrap_err();
        let (given, longest) = (ms(1_501), ms(1_500));
        let renew_interval = ms(3_000);
        let refusal = TimingError::RequestTimeoutTooLong { given, longest, renew_interval };
        assert_eq!(with(3_000, Some(given)), refusal);
        let (renew_interval, nearest, request_timeout) = (ms(59), ms(60), ms(20));
        let refusal =
            TimingError::RenewIntervalTooShort { renew_interval, nearest, request_timeout };
        assert_eq!(with(59, None), refusal);
    }

    #[test]
    fn out_of_range_values_are_refused() {
        assert!(matches!(timing(146, 60), Err(TimingError::Ttl { .. })));
        assert!(timing(147, 60).is_ok());
        let tight = |ttl| Timing::new(ms(ttl), ms(40), Some(ms(20)), 10);
        assert!(matches!(tight(122), Err(TimingError::Ttl { .. })));
        assert!(tight(123).is_ok());
        assert!(matches!(timing(3_600_001, 60), Err(TimingError::Ttl { .. })));
        assert!(matches!(timing(1_000, 59), Err(TimingError::RenewIntervalTooShort { .. })));
        assert!(matches!(timing(1_000, 0), Err(TimingError::RenewIntervalTooShort { .. })));
        let with = |rt| Timing::new(ms(10_000), ms(3_000), Some(ms(rt)), 10);
        assert!(matches!(with(19), Err(TimingError::RequestTimeoutTooShort { .. })));
        assert!(matches!(with(1_501), Err(TimingError::RequestTimeoutTooLong { .. })));
        let hasty = Timing::new(ms(10_000), ms(39), Some(ms(20)), 10);
        assert!(matches!(hasty, Err(TimingError::RenewIntervalTooShort { .. })));
        assert!(with(1_500).is_ok());
        let drift = |percent| Timing::new(ms(10_000), ms(3_000), None, percent);
        assert!(matches!(drift(0), Err(TimingError::Drift { .. })));
        assert!(matches!(drift(51), Err(TimingError::Drift { .. })));
    }

    #[test]
    fn extreme_durations_are_refused_without_overflow() {
        let longest = Duration::MAX;
        assert!(Timing::new(longest, longest, None, 10).is_err());
        assert!(Timing::new(MAX_TTL, longest, Some(longest), 10).is_err());
        assert!(Timing::new(MAX_TTL, longest, None, 50).is_err());
    }

    #[test]
    fn a_leader_on_the_slowest_clock_ends_before_a_challenger_on_the_fastest_begins() {
        for ttl in [250, 1_000, 3_000, 10_000, 3_600_000] {
            let timing = timing(ttl, ttl / 4).unwrap();
            let true_time_of_validity = timing.validity().as_secs_f64() / 0.9;
            let true_time_of_wait = timing.ttl().as_secs_f64() / 1.1;
            assert!(true_time_of_validity <= true_time_of_wait);
        }
    }
}
