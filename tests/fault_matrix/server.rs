//! Servers that are killed, wiped, full, or sent away.

use std::time::Duration;

use crate::faults::Fault;
use crate::faults::case::Term::{Ends, MayGoOn};

/// Longer than any term without renewals.
const LONG: Duration = Duration::from_millis(2_500);

fault_on!(servers_killed, Fault::ServersKilled, LONG, Ends);
fault_on!(store_deleted, Fault::StoreDeleted, LONG, Ends, [oldest, newest]);
fault_on!(account_full, Fault::AccountFull, LONG, Ends, [newest, three]);
fault_on!(account_full_but_for_renewals, Fault::AccountFull, LONG, MayGoOn, [oldest]);
fault_on!(disk_full, Fault::DiskFull, LONG, Ends);
fault_on!(lame_duck, Fault::LameDuck, LONG, Ends, [oldest, newest]);
fault_on!(lame_duck_of_three, Fault::LameDuck, LONG, MayGoOn, [three]);
