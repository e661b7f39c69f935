//! Links between a node and its servers that fall silent, are cut, deaf, or slow.

use std::time::Duration;

use crate::faults::case::Term::{Ends, MayGoOn};
use crate::faults::{Fault, Hit};

/// Longer than any term without renewals.
const LONG: Duration = Duration::from_millis(2_500);
/// A connection is made again within it.
const SHORT: Duration = Duration::from_millis(500);

fault_on!(leader_link_frozen, Fault::LinkFrozen(Hit::Leader), LONG, Ends);
fault_on!(follower_link_frozen, Fault::LinkFrozen(Hit::Follower(0)), LONG, MayGoOn);
fault_on!(leader_link_cut, Fault::LinkCut(Hit::Leader), LONG, Ends);
fault_on!(follower_link_cut, Fault::LinkCut(Hit::Follower(0)), LONG, MayGoOn);
fault_on!(leader_link_reset, Fault::LinkReset(Hit::Leader), SHORT, MayGoOn);
fault_on!(follower_link_reset, Fault::LinkReset(Hit::Follower(0)), SHORT, MayGoOn);
fault_on!(leader_not_heard, Fault::LinkMute(Hit::Leader), LONG, Ends);
fault_on!(follower_not_heard, Fault::LinkMute(Hit::Follower(0)), LONG, MayGoOn);
fault_on!(leader_hears_nothing, Fault::LinkDeaf(Hit::Leader), LONG, Ends);
fault_on!(follower_hears_nothing, Fault::LinkDeaf(Hit::Follower(0)), LONG, MayGoOn);
fault_on!(leader_link_slow, Fault::LinkSlow(Hit::Leader), LONG, MayGoOn);
fault_on!(follower_link_slow, Fault::LinkSlow(Hit::Follower(0)), LONG, MayGoOn);
