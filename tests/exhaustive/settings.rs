//! The settings of a search: the clocks, the durations, and how many faults may occur.

use std::time::Duration;

use leasehold::election::Settings;
use leasehold::lease::SessionId;
use leasehold::timing::Timing;

use super::node::HostClock;

pub(crate) const TTL: Duration = Duration::from_secs(1);
const RENEW: Duration = Duration::from_millis(500);
const REQUEST: Duration = Duration::from_millis(100);
pub(crate) const MILLISECOND: u64 = 1_000_000;

/// How many faults and commands may occur.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct Budget {
    /// Messages that are lost, late by any time, or duplicated.
    pub(crate) disturbances: u8,
    pub(crate) pauses: u8,
    pub(crate) crashes: u8,
    pub(crate) resignations: u8,
    pub(crate) deletions: u8,
}

impl Budget {
    pub(crate) const NONE: Self =
        Self { disturbances: 0, pauses: 0, crashes: 0, resignations: 0, deletions: 0 };
}

/// A rule of the world, broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The store ignores the conditions of writes.
    NoCondition,
    /// The store acknowledges renewals and does not store them.
    LostWrite,
    /// A node's clock stands still while the node does.
    ClockStops,
    /// The follower's clock runs faster than the bound allows.
    ClockRaces,
    /// A node that is started again uses its old session.
    SessionAgain,
    /// The application reports that its work has stopped, and goes on.
    DrainsEarly,
}

#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) clocks: [HostClock; 2],
    pub(crate) budget: Budget,
    /// How long the search goes on in true time, from when one node leads and the other knows.
    pub(crate) horizon: u64,
    pub(crate) flaw: Option<Flaw>,
}

impl Setting {
    /// Each clock's departure from true time in percent, and a horizon in milliseconds.
    pub(crate) fn new(drift: [i64; 2], budget: Budget, horizon: u64) -> Self {
        let clock = |at: usize| HostClock {
            origin: 1_000_000 * MILLISECOND * (at as u64 + 1),
            rate: 100_u64.saturating_add_signed(drift[at]),
        };
        let horizon = horizon * MILLISECOND;
        Self { clocks: [clock(0), clock(1)], budget, horizon, flaw: None }
    }
}

/// The settings of one node.
pub(crate) fn settings(at: usize, session: u128) -> Settings {
    Settings {
        node_id: format!("n{at}"),
        session: SessionId::from_bits(session),
        timing: Timing::new(TTL, RENEW, Some(REQUEST), 10).expect("the durations are accepted"),
        cooldown: TTL,
        drain_timeout: TTL,
        strict_bootstrap: false,
        observer: false,
        meta: None,
    }
}
