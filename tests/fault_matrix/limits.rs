//! What no lease can bear, and how far it goes: to the limits that are documented, and not beyond.

use std::thread::sleep;
use std::time::Duration;

use crate::faults::site::{Need, Servers, Site, TTL};
use crate::faults::{Fault, Hit};
use crate::nodes::{Findings, millis_between, now};
use crate::support::proxy::Proxy;
use crate::support::wait::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

/// Ends a history in which there may have been two leaders, for as long as a term is valid without
/// another renewal.
fn at_most_one_validity(name: &str, mut site: Site) -> Findings {
    let (servers, validity) = (site.servers().label(), site.node(0).validity());
    let findings = site.nodes().judge();
    let [two, limit] =
        [findings.longest_overlap, validity].map(|overlap| millis_between(0, overlap));
    println!("limit: {name} {servers} two leaders for {two:.0} ms, {limit:.0} at the most");
    assert!(findings.longest_overlap <= validity, "{findings:#?}");
    assert!(findings.lost_events.is_empty(), "{findings:#?}");
    findings
}

/// Nobody but the leader knows of the lease in the bucket that is deleted: the others are new.
fn bucket_deleted_among_strangers(servers: Servers, inflict: impl Fn(&Proxy)) -> Site {
    let mut site = Site::new(servers, 3, &[]);
    let leader = site.steady();
    let others = [1, 2].map(|step| (leader + step) % 3);
    for seat in others {
        site.node(seat).kill();
    }
    site.wires(leader).iter().for_each(inflict);
    Fault::BucketDeleted.inflict(&mut site)(&mut site);
    let deleted = now();
    for seat in others {
        site.start_node(seat);
    }
    eventually(PATIENCE, "a stranger to lead", || {
        site.revive_servers();
        site.terms_since(deleted) > 0
    });
    site.wires(leader).iter().for_each(Proxy::thaw);
    site.settled();
    site
}

on_servers!(bucket_deleted_among_strangers, [oldest, newest, three], |name, servers| {
    at_most_one_validity(name, super::bucket_deleted_among_strangers(servers, |_| {}));
});

on_servers!(bucket_deleted_behind_a_leader_cut_off, [oldest, newest, three], |name, servers| {
    let site = super::bucket_deleted_among_strangers(servers, Proxy::freeze);
    at_most_one_validity(name, site);
});

// To the follower the record has stood for a minute. Its term has the next epoch: what compares
// epochs is safe.
on_servers!(follower_clock_rushed, [oldest, newest, three], |name, servers| {
    let mut site = Site::new(servers, 3, &[Need::JumpingClocks]);
    site.steady();
    let follower = site.seat(Hit::Follower(0));
    // Something wakes it before it hears of the next renewal; once more, if that was quicker.
    eventually(PATIENCE, "the follower to lead", || {
        site.node(follower).order("jump 60000");
        site.node(follower).order("promote");
        sleep(2 * TTL / 10);
        site.node(follower).leads()
    });
    site.settled();
    let findings = at_most_one_validity(name, site);
    assert!(findings.disorder.is_empty(), "{findings:#?}");
});
