//! Node processes that are killed, stopped, and starved of their processor.

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
const LONG: Duration = Duration::from_millis(2_500);

fault_on!(leader_killed, Fault::Killed(Hit::Leader), LONG, Ends);
fault_on!(follower_killed, Fault::Killed(Hit::Follower(0)), LONG, MayGoOn);
fault_on!(leader_stopped, Fault::Stopped(Hit::Leader), LONG, Ends);
fault_on!(follower_stopped, Fault::Stopped(Hit::Follower(0)), LONG, MayGoOn);
fault_on!(leader_starved, Fault::Starved(Hit::Leader), LONG, MayGoOn);
fault_on!(follower_starved, Fault::Starved(Hit::Follower(0)), LONG, MayGoOn);
