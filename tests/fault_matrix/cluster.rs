//! Three servers of which one fails.

use std::time::Duration;

use crate::faults::Fault;
use crate::faults::case::Term::MayGoOn;

/// Longer than an election of a stream leader commonly takes.
const LONG: Duration = Duration::from_secs(6);

fault_on!(stream_leader_killed, Fault::StreamLeaderKilled, LONG, MayGoOn, [three]);
fault_on!(stream_leader_isolated, Fault::StreamLeaderIsolated, LONG, MayGoOn, [three]);
fault_on!(stream_follower_isolated, Fault::StreamFollowerIsolated, LONG, MayGoOn, [three]);
fault_on!(rolling_restart, Fault::RollingRestart, Duration::ZERO, MayGoOn, [three]);
fault_on!(store_of_stream_leader_deleted, Fault::StoreDeleted, LONG, MayGoOn, [three]);
