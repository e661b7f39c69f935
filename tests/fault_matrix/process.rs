//! Node processes that are killed, stopped, and starved of their processor.

use std::time::Duration;

use crate::faults::case::Term::{Ends, MayGoOn};
use crate::faults::{Fault, Hit};

/// Longer than any term without renewals.
const LONG: Duration = Duration::from_millis(2_500);

fault_on!(leader_killed, Fault::Killed(Hit::Leader), LONG, Ends);
fault_on!(follower_killed, Fault::Killed(Hit::Follower(0)), LONG, MayGoOn);
fault_on!(leader_stopped, Fault::Stopped(Hit::Leader), LONG, Ends);
fault_on!(follower_stopped, Fault::Stopped(Hit::Follower(0)), LONG, MayGoOn);
fault_on!(leader_starved, Fault::Starved(Hit::Leader), LONG, MayGoOn);
fault_on!(follower_starved, Fault::Starved(Hit::Follower(0)), LONG, MayGoOn);
