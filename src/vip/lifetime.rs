//! How long the kernel may keep an address: the lease, seen from the kernel's side.
//!
//! The kernel removes an address by itself when its valid lifetime is over: after `SIGKILL`, under
//! `SIGSTOP`, in a hang. Lifetimes are whole seconds, and the removal comes between 0.02 s early
//! and 1.3 s late (rounding and batching in the kernel). Two seconds are therefore taken off
//! ([`KERNEL_MARGIN`]), and what is left is rounded down.
//!
//! That is no bound: a work queue does it, and on a machine with far too little processor time it
//! was seen half a minute late. No margin would do then; the holder's own removal at the deadline
//! does, where there is a holder left.

use std::time::Duration;

use crate::clock::Timestamp;

/// Taken off what is left of the lease before it is given to the kernel as a lifetime.
pub const KERNEL_MARGIN: Duration = Duration::from_secs(2);

/// The margin and the granularity of one second: a lease must leave this much beyond a renewal.
const KERNEL_COST: Duration = Duration::from_secs(3);

/// A lease that is too short for the kernel to hold the address through one renewal.
///
/// Use a longer TTL or a shorter renew interval, or say
/// [`Policy::permanent`](super::Policy::permanent) and do without the kernel's removal.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
#[error(
    "a lease of {ttl:?} is too short for the kernel to remove the virtual IP: validity \
     {validity:?} - 3 s < renew interval {renew_interval:?} + request timeout \
     {request_timeout:?}; at this renew interval the smallest TTL is {smallest_ttl:?}"
)]
pub struct TtlTooShort {
    /// The lease TTL as configured.
    pub ttl: Duration,
    /// How long a leader may lead after a renewal: the TTL less the clocks' drift.
    pub validity: Duration,
    /// The renew interval as configured.
    pub renew_interval: Duration,
    /// The request timeout as configured.
    pub request_timeout: Duration,
    /// The smallest TTL that works at this renew interval and request timeout, rounded up to
    /// milliseconds.
    pub smallest_ttl: Duration,
}

/// Says whether the kernel can hold the address on behalf of the lease.
///
/// It can if `validity - 3 s >= renew interval + request timeout`: then a renewal that was
/// acknowledged keeps the address until the next one is, should that one need its full timeout.
/// `validity` is how long a leader leads after it sent a renewal; it is at most the `ttl`, the
/// difference being the clock drift allowed for.
///
/// With a TTL of 10 s, a renew interval of 3 s and a validity of 8.18 s the address outlives one
/// lost request, not two.
///
/// # Errors
/// [`TtlTooShort`] with the smallest TTL that works.
pub fn check_ttl(
    ttl: Duration,
    validity: Duration,
    renew_interval: Duration,
    request_timeout: Duration,
) -> Result<(), TtlTooShort> {
    let needed = KERNEL_COST.saturating_add(renew_interval).saturating_add(request_timeout);
    if validity >= needed {
        return Ok(());
    }
    let smallest_ttl = scale_up(needed, ttl, validity);
    Err(TtlTooShort { ttl, validity, renew_interval, request_timeout, smallest_ttl })
}

/// `needed · ttl / validity`, rounded up to milliseconds.
fn scale_up(needed: Duration, ttl: Duration, validity: Duration) -> Duration {
    let validity = validity.as_nanos().max(1);
    let nanos = needed.as_nanos().saturating_mul(ttl.as_nanos()).div_ceil(validity);
    Duration::from_millis(u64::try_from(nanos.div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

/// Whole seconds to give to the kernel so that it removes the address before `deadline`; `None`
/// when less than one is left, and the address must go now.
pub(crate) fn kernel_seconds(deadline: Timestamp, now: Timestamp) -> Option<u32> {
    let seconds = deadline.since(now).checked_sub(KERNEL_MARGIN)?.as_secs();
    // u32::MAX means "for ever" to the kernel.
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX - 1).min(u32::MAX - 1);
    (seconds > 0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_defaults_give_the_kernel_six_seconds() {
        let sent = Timestamp::ZERO + ms(1_000);
        assert_eq!(kernel_seconds(sent + ms(8_181), sent + ms(3)), Some(6));
    }

    #[test]
    fn the_lifetime_is_rounded_down_and_never_zero() {
        let deadline = Timestamp::ZERO + ms(10_000);
        assert_eq!(kernel_seconds(deadline, Timestamp::ZERO + ms(7_000)), Some(1));
        assert_eq!(kernel_seconds(deadline, Timestamp::ZERO + ms(7_001)), None);
        assert_eq!(kernel_seconds(deadline, deadline + ms(1)), None);
        assert_eq!(kernel_seconds(Timestamp::MAX, Timestamp::ZERO), Some(u32::MAX - 1));
    }

    #[test]
    fn the_defaults_leave_room_for_a_renewal_and_its_timeout() {
        assert_eq!(check_ttl(ms(10_000), ms(8_181), ms(3_000), ms(1_000)), Ok(()));
        assert_eq!(check_ttl(ms(7_000), ms(7_000), ms(3_000), ms(1_000)), Ok(()));
    }

    #[test]
    fn a_short_lease_is_refused_with_the_smallest_ttl_that_works() {
        let error = check_ttl(ms(3_000), ms(2_454), ms(1_000), ms(333)).unwrap_err();
        assert_eq!(error.smallest_ttl, ms(5_298));
        // The TTL it names works, the one below does not.
        let validity = |ttl: Duration| ttl * 2_454 / 3_000;
        assert!(check_ttl(ms(5_298), validity(ms(5_298)), ms(1_000), ms(333)).is_ok());
        assert!(check_ttl(ms(5_297), validity(ms(5_297)), ms(1_000), ms(333)).is_err());
    }
}
