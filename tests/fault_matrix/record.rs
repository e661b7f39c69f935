//! A record that is deleted or overwritten, its bucket too, and lies about it.

use std::time::Duration;

use crate::faults::case::Term::{Ends, MayGoOn};
use crate::faults::site::{Site, TTL};
use crate::faults::{Fault, Hit};
use crate::nodes::now;

/// What a loaded machine may add to a bound.
const GRACE: Duration = Duration::from_secs(5);
/// For something that happens at once.
const NONE: Duration = Duration::ZERO;

fault_on!(key_deleted, Fault::KeyDeleted, NONE, Ends);
fault_on!(bucket_deleted, Fault::BucketDeleted, NONE, Ends);
fault_on!(bucket_replaced, Fault::BucketReplaced, NONE, Ends);
fault_on!(record_corrupted, Fault::RecordCorrupted, NONE, Ends);
fault_on!(notices_forged, Fault::NoticesForged, Duration::from_secs(3), MayGoOn);

// A forger who never pauses delays the succession, by four times the TTL at the most.
on_servers!(leader_killed_under_forged_notices, [oldest, newest, three], |name, servers| {
    let mut site = Site::new(servers, 3, &[]);
    site.steady();
    let stop_forging = Fault::NoticesForged.inflict(&mut site);
    let begun = now();
    let start_again = Fault::Killed(Hit::Leader).inflict(&mut site);
    site.leader();
    let leaderless = site.leaderless_since(begun).0;
    start_again(&mut site);
    stop_forging(&mut site);
    site.settled();
    println!("fault: {name} {} {leaderless} {}", servers.label(), site.terms_since(begun));
    assert!(Duration::from_millis(leaderless) <= 4 * TTL + GRACE, "{leaderless} ms");
});
