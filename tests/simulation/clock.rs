//! The clocks of the hosts. Each has its own origin and a fixed rate within the bound, and runs on
//! while its host is suspended.

use leasehold::clock::Timestamp;

/// Nanoseconds of true time since the beginning of the simulation.
pub(crate) type Instant = u64;

pub(crate) const MICROSECOND: u64 = 1_000;
pub(crate) const MILLISECOND: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;

const MILLION: u128 = 1_000_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct HostClock {
    pub(crate) origin: u64,
    /// How many nanoseconds it counts in a million nanoseconds of true time.
    pub(crate) rate: u64,
}

impl HostClock {
    pub(crate) fn read(&self, at: Instant) -> Timestamp {
        Timestamp::from_nanos(
            self.origin + narrow(u128::from(at) * u128::from(self.rate) / MILLION),
        )
    }

    /// The first instant at which the clock reads `local` or more.
    pub(crate) fn when(&self, local: Timestamp) -> Instant {
        let counted = u128::from(local.as_nanos().saturating_sub(self.origin));
        narrow((counted * MILLION).div_ceil(u128::from(self.rate)))
    }
}

fn narrow(nanos: u128) -> u64 {
    u64::try_from(nanos).unwrap_or(u64::MAX)
}
