//! Three servers of which one fails.

#[macro_use]
mod support;
mod nodes;
#[macro_use]
mod faults;

use std::time::Duration;

use faults::Fault;
use faults::case::Term::MayGoOn;

/// What a child process runs.
#[test]
fn node_process() {
    nodes::role::play();
}

/// Longer than an election of a stream leader commonly takes.
const LONG: Duration = Duration::from_secs(6);

fault_on!(stream_leader_killed, Fault::StreamLeaderKilled, LONG, MayGoOn, [three]);
fault_on!(stream_leader_isolated, Fault::StreamLeaderIsolated, LONG, MayGoOn, [three]);
fault_on!(stream_follower_isolated, Fault::StreamFollowerIsolated, LONG, MayGoOn, [three]);
fault_on!(rolling_restart, Fault::RollingRestart, Duration::ZERO, MayGoOn, [three]);
fault_on!(store_of_stream_leader_deleted, Fault::StoreDeleted, LONG, MayGoOn, [three]);
