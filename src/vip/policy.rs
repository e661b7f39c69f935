//! The choices of a holder, and how long the kernel may keep an address.
//!
//! The kernel removes an address by itself when its valid lifetime is over: after `SIGKILL`, under
//! `SIGSTOP`, in a hang. Lifetimes are whole seconds, and the removal comes between 0.02 s early
//! and 1.3 s late (rounding and batching in the kernel). Two seconds are therefore taken off
//! ([`KERNEL_MARGIN`]), and the rest is rounded down.
//!
//! That is no bound: the kernel removes addresses on a work queue, and on a machine with far too
//! little processor time this was seen half a minute late. No margin helps then. The holder's own
//! removal at the deadline does, where a holder still runs.

use std::time::Duration;

use crate::clock::Timestamp;

use super::error::VipError;

/// Taken off the remaining lease before it is given to the kernel as a lifetime.
pub const KERNEL_MARGIN: Duration = Duration::from_secs(2);

/// What to do when the interface already has the address at acquisition.
///
/// An address without this library's mark is never taken over.
///
/// ```
/// use std::time::Duration;
/// use leasehold::vip::{Existing, Holder, Policy};
///
/// # let clock = leasehold::clock::Clock::manual(leasehold::clock::Timestamp::from_nanos(1));
/// # let host = leasehold::vip::Memory::new(clock.clone(), ["eth0"]);
/// # let address = leasehold::vip::VirtualAddress::new("10.0.0.10".parse()?, "eth0")?;
/// # let mut holder = leasehold::vip::Holder::with_backend(
/// #     vec![address.clone()],
/// #     leasehold::vip::Policy::default(),
/// #     clock.clone(),
/// #     host.clone(),
/// # )?;
/// holder.acquire(clock.now() + Duration::from_secs(8))?;
/// # std::mem::forget(holder);
/// // That process was killed. The next one does not take its address over.
/// let policy = Policy::default().existing(Existing::Refuse);
/// let mut next = Holder::with_backend(vec![address], policy, clock.clone(), host)?;
/// assert!(next.acquire(clock.now() + Duration::from_secs(8)).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Existing {
    /// Take it over if a holder with the same policy left it: it has this library's mark, and is
    /// permanent exactly if the policy is.
    #[default]
    AdoptOurs,
    /// Refuse it, marked or not.
    Refuse,
}

/// The choices of a holder. The default is right for most.
///
/// ```
/// use std::time::Duration;
/// use leasehold::vip::Policy;
///
/// let policy = Policy::default().announce_at(&[Duration::ZERO, Duration::from_secs(1)])?;
/// # Ok::<(), leasehold::vip::VipError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    pub(crate) permanent: bool,
    pub(crate) existing: Existing,
    pub(crate) announcements: Vec<Duration>,
    /// Whether an IPv6 address may be a source of the host's own connections.
    source: bool,
}

/// Later announcements are for hosts that missed the first: a switch that relearns loses frames.
const SCHEDULE: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

const LAST_ANNOUNCEMENT: Duration = Duration::from_secs(60);
const MOST_ANNOUNCEMENTS: usize = 16;

impl Default for Policy {
    /// Kernel lifetimes that follow the lease, adoption of marked leftovers, announcements
    /// at 0, 100 ms, 500 ms, 1 s, 2 s and 5 s, and IPv6 addresses that are never a source.
    fn default() -> Self {
        let announcements = SCHEDULE.to_vec();
        let existing = Existing::default();
        Self { permanent: false, existing, announcements, source: false }
    }
}

impl Policy {
    /// Adds the address without a kernel lifetime: only this process removes it.
    ///
    /// A process that is killed, is stopped or hangs then leaves the address behind. Use this only
    /// for a lease that is too short for the kernel, see
    /// [`Timing::check_virtual_ip`](crate::timing::Timing::check_virtual_ip).
    #[must_use]
    pub const fn permanent(mut self) -> Self {
        self.permanent = true;
        self
    }

    /// What to do with an address that is there already.
    #[must_use]
    pub const fn existing(mut self, existing: Existing) -> Self {
        self.existing = existing;
        self
    }

    /// When to announce an address, counted from its acquisition; an empty list turns announcing
    /// off.
    ///
    /// Each announcement is two ARP frames (request and reply form) or one unsolicited neighbour
    /// advertisement.
    ///
    /// # Errors
    /// [`VipError::InvalidPolicy`] for more than 16 times, or one after 60 s.
    pub fn announce_at(mut self, times: &[Duration]) -> Result<Self, VipError> {
        if times.len() > MOST_ANNOUNCEMENTS || times.iter().any(|time| *time > LAST_ANNOUNCEMENT) {
            return Err(VipError::InvalidPolicy {
                what: "an announcement schedule",
                given: format!("{times:?}"),
                range: "at most 16 times, each up to 60 s",
            });
        }
        self.announcements = times.to_vec();
        self.announcements.sort_unstable();
        Ok(self)
    }

    /// Lets the host use a virtual IPv6 address as the source of its own connections, which break
    /// when the address moves.
    ///
    /// Without it the address has a preferred lifetime of 0, so the host takes another one (RFC
    /// 6724, rule 3). The kernel would prefer a virtual IP otherwise: it has the longest prefix.
    ///
    /// It has no effect on IPv4. There the kernel takes an address of the route's own network where
    /// the host has one. For a route without a gateway it takes the first address of the interface,
    /// unless the route names another (`ip route … src`).
    #[must_use]
    pub const fn may_be_source(mut self) -> Self {
        self.source = true;
        self
    }

    /// The kernel lifetimes of an address whose lease ends at `deadline`; `None` when too little is
    /// left, and the address must be removed.
    pub(crate) fn lifetime(
        &self,
        ipv6: bool,
        deadline: Timestamp,
        now: Timestamp,
    ) -> Option<Lifetime> {
        let valid = if self.permanent {
            (deadline > now).then_some(Lifetime::FOREVER)?
        } else {
            kernel_seconds(deadline, now)?
        };
        let preferred = if ipv6 && !self.source { 0 } else { valid };
        Some(Lifetime { valid, preferred })
    }
}

/// The lifetimes of an address in the kernel (`struct ifa_cacheinfo`), in seconds.
///
/// ```
/// use std::time::Duration;
/// use leasehold::vip::Lifetime;
///
/// # let clock = leasehold::clock::Clock::manual(leasehold::clock::Timestamp::from_nanos(1));
/// # let host = leasehold::vip::Memory::new(clock.clone(), ["eth0"]);
/// # let address = leasehold::vip::VirtualAddress::new("10.0.0.10".parse()?, "eth0")?;
/// # let mut holder = leasehold::vip::Holder::with_backend(
/// #     vec![address.clone()],
/// #     leasehold::vip::Policy::default(),
/// #     clock.clone(),
/// #     host.clone(),
/// # )?;
/// holder.acquire(clock.now() + Duration::from_secs(8))?;
/// let lifetime = host.lifetime(address.ip());
/// assert_eq!(lifetime, Some(Lifetime { valid: 6, preferred: 6 })); // 2 s less than the lease
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Lifetime {
    /// After this the kernel removes the address. Never 0; [`FOREVER`](Self::FOREVER) has no end.
    pub valid: u32,
    /// After this the host does not use the address as a source. At most `valid`.
    pub preferred: u32,
}

impl Lifetime {
    /// `INFINITY_LIFE_TIME` of `<net/addrconf.h>`.
    pub const FOREVER: u32 = u32::MAX;
}

/// Whole seconds to give to the kernel so that it removes the address before `deadline`; `None`
/// when less than one is left, and the address must be removed now.
fn kernel_seconds(deadline: Timestamp, now: Timestamp) -> Option<u32> {
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

    const NOW: Timestamp = Timestamp::from_nanos(5_000_000_000);
    const TEN: Timestamp = Timestamp::from_nanos(15_000_000_000);

    #[test]
    fn the_kernel_lifetime_follows_the_lease_unless_the_policy_is_permanent() {
        let leased = Policy::default().lifetime(false, TEN, NOW);
        assert_eq!(leased, Some(Lifetime { valid: 8, preferred: 8 }));
        let permanent = Policy::default().permanent().lifetime(false, TEN, NOW);
        assert_eq!(permanent, Some(Lifetime { valid: u32::MAX, preferred: u32::MAX }));
        assert_eq!(Policy::default().permanent().lifetime(false, NOW, NOW), None);
    }

    #[test]
    fn an_ipv6_address_is_a_source_only_where_that_is_allowed() {
        assert_eq!(Policy::default().lifetime(true, TEN, NOW).unwrap().preferred, 0);
        assert_eq!(
            Policy::default().may_be_source().lifetime(true, TEN, NOW).unwrap().preferred,
            8
        );
        assert_eq!(Policy::default().lifetime(false, TEN, NOW).unwrap().preferred, 8);
    }

    #[test]
    fn times_out_of_range_are_refused() {
        assert!(Policy::default().announce_at(&[Duration::from_secs(61)]).is_err());
        assert!(Policy::default().announce_at(&[Duration::ZERO; 17]).is_err());
        assert!(Policy::default().announce_at(&[]).is_ok());
    }
}
