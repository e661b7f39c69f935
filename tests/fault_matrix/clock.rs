//! Clocks that jump.

use std::time::Duration;

use crate::faults::case::Term::{Ends, MayGoOn};
use crate::faults::{Fault, Hit};

/// Longer than any term without renewals.
const LONG: Duration = Duration::from_millis(1_500);

fault_on!(leader_wall_clock_moved, Fault::WallClockMoved(Hit::Leader), LONG, MayGoOn);
fault_on!(follower_wall_clock_moved, Fault::WallClockMoved(Hit::Follower(0)), LONG, MayGoOn);
fault_on!(leader_suspended, Fault::LeaderSuspended, LONG, Ends);
