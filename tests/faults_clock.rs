//! Clocks that jump.

#[macro_use]
mod support;
mod nodes;
#[macro_use]
mod faults;

use std::time::Duration;

use faults::case::Term::{Ends, MayGoOn};
use faults::{Fault, Hit};

/// What a child process runs.
#[test]
fn node_process() {
    nodes::role::play();
}

/// Longer than any term without renewals.
const LONG: Duration = Duration::from_millis(1_500);

fault_on!(leader_wall_clock_moved, Fault::WallClockMoved(Hit::Leader), LONG, MayGoOn);
fault_on!(follower_wall_clock_moved, Fault::WallClockMoved(Hit::Follower(0)), LONG, MayGoOn);
fault_on!(leader_suspended, Fault::LeaderSuspended, LONG, Ends);
