//! Names of releases, and conditions that contain one: on both servers, after restarts, and in a
//! cluster.

use std::time::Duration;

use leasehold::store::{Expect, Outcome};
use serde_json::json;

use crate::driver::{
    CLUSTER, Driver, PATIENCE, connected, nats_store, release, release_id, value, write_if,
};
use crate::support::bucket::Bucket;
use crate::support::cluster::Cluster;
use crate::support::nats::Client;
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::eventually;

const STREAM: &str = "KV_cluster-test";
const BY_REVISION: &str = "Nats-Expected-Last-Subject-Sequence";
const BY_NAME: &str = "Nats-Expected-Last-Msg-Id";

/// A write by hand; the code of the refusal, or none.
fn refusal(bucket: &Bucket<'_>, revision: u64, name: &str) -> Option<u64> {
    let revision = revision.to_string();
    let headers = [(BY_REVISION, revision.as_str()), (BY_NAME, name)];
    bucket.write("lease", &headers, "y").err().map(|refused| refused.code)
}

/// A server, and a store that has read its bucket.
fn start(version: Version) -> (NatsServer, Driver) {
    let server = NatsServer::start(version);
    let mut driver = connected(&[server.url()]);
    driver.create();
    driver.read();
    (server, driver)
}

on_both_servers!(both_conditions_are_checked_and_their_errors_differ, |version| {
    let (server, mut driver) = start(version);
    let name = release_id(1).to_string();
    let first = driver.released(Expect::revision(0), 1);
    let client = Client::connect(&server.url());
    let bucket = Bucket::of_cluster(&client, CLUSTER);
    let headers = bucket.read("lease").expect("it stands").headers;
    let stored = headers.lines().find_map(|line| line.strip_prefix("Nats-Msg-Id:"));
    assert_eq!(stored.map(str::trim), Some(name.as_str()));
    assert_eq!(refusal(&bucket, first, "release.of.another"), Some(10070));
    assert_eq!(refusal(&bucket, first + 1, &name), Some(10071));
    assert_eq!(driver.read().last_seq, first);
    assert_eq!(refusal(&bucket, first, &name), None);
    assert_eq!(driver.read().last_seq, first + 1);
});

on_both_servers!(a_write_into_another_key_costs_a_read, |version| {
    let (server, mut driver) = start(version);
    let first = driver.released(Expect::revision(0), 1);
    let client = Client::connect(&server.url());
    Bucket::of_cluster(&client, CLUSTER).put("other", "x").expect("stored");
    let named = write_if(Expect::release(first, release_id(1)), "y");
    assert_eq!(driver.ask(named), Outcome::LostRace);
    driver.stored(first, "y");
});

/// A server that starts anew reads the names again, and takes none for another.
fn after_a_restart(version: Version, end: fn(&mut NatsServer)) {
    let (mut server, mut driver) = start(version);
    let mut restart = |driver: &mut Driver| {
        end(&mut server);
        driver.wait_disconnected();
        server.restart();
        driver.wait_connected();
        driver.read();
    };
    let first = driver.released(Expect::revision(0), 1);
    restart(&mut driver);
    let wrong = Expect::release(first, release_id(9));
    assert_eq!(driver.ask(write_if(wrong, "y")), Outcome::LostRace);
    let right = Expect::release(first, release_id(1));
    assert_eq!(driver.ask(write_if(right, "y")), Outcome::Stored { revision: first + 1 });
    restart(&mut driver);
    let older = Expect::release(first + 1, release_id(1));
    assert_eq!(driver.ask(write_if(older, "z")), Outcome::LostRace);
    driver.stored(first + 1, "z");
}

on_both_servers!(release_names_survive_a_kill, |version| {
    after_a_restart(version, NatsServer::kill);
});

on_both_servers!(release_names_survive_an_orderly_restart, |version| {
    after_a_restart(version, NatsServer::stop);
});

// No session uses a name twice. If that happened, the second write would not be stored, and its
// acknowledgement would carry the first one's revision: that must not count for the second.
on_both_servers!(the_acknowledgement_of_a_duplicate_is_no_success, |version| {
    let (_server, mut driver) = start(version);
    let first = driver.released(Expect::revision(0), 1);
    let second = driver.stored(first, "x");
    let outcome = driver.ask(release(Expect::revision(second), 1));
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    assert_eq!(driver.read().entry, Some(value(second, "x")));
});

/// A cluster of three with a bucket of so many replicas, and a store that has read it.
fn cluster_of(replicas: u8) -> (Cluster, Driver) {
    let cluster = Cluster::start(Version::Newest);
    let urls = cluster.urls();
    let client = Client::connect(&urls[0]);
    let bucket = Bucket::of_cluster(&client, CLUSTER).limit(Duration::from_secs(2));
    let mut config = bucket.usual_config();
    config["num_replicas"] = json!(replicas);
    eventually(2 * PATIENCE, "the bucket", || bucket.create(&config).is_ok());
    if replicas > 1 {
        cluster.stream_leader(STREAM);
    }
    let mut driver = Driver::new(Box::new(nats_store(&urls[1..2], replicas, |config| config)));
    driver.wait_connected();
    // A young cluster swallows requests, and writes longer than reads.
    let client = Client::connect(&urls[1]);
    let bucket = Bucket::of_cluster(&client, CLUSTER).limit(Duration::from_secs(2));
    eventually(2 * PATIENCE, "a write", || bucket.put("other", "x").is_ok());
    eventually(2 * PATIENCE, "a read", || {
        let ticket = driver.submit(leasehold::store::Request::Read);
        let outcome = driver.outcome_within(ticket, Duration::from_secs(3));
        matches!(outcome, Some(Outcome::Read(_)))
    });
    (cluster, driver)
}

#[test]
fn one_replica_in_a_cluster_survives_a_wrong_name() {
    let (_cluster, mut driver) = cluster_of(1);
    let first = driver.released(Expect::revision(0), 1);
    let wrong = Expect::release(first, release_id(2));
    assert_eq!(driver.ask(write_if(wrong, "y")), Outcome::LostRace);
    let right = Expect::release(first, release_id(1));
    assert_eq!(driver.ask(write_if(right, "y")), Outcome::Stored { revision: first + 1 });
    driver.stored(first + 1, "z");
}

/// Three replicas would stop for good where the name does not match.
#[test]
fn with_three_replicas_no_name_is_sent() {
    let (cluster, mut driver) = cluster_of(3);
    let first = driver.released(Expect::revision(0), 1);
    for number in [1, 2] {
        let named = write_if(Expect::release(first, release_id(number)), "y");
        assert_eq!(driver.ask(named), Outcome::LostRace);
    }
    let client = Client::connect(&cluster.urls()[0]);
    let bucket = Bucket::of_cluster(&client, CLUSTER);
    let entry = bucket.read("lease").expect("it stands");
    assert!(!entry.headers.contains("Nats-Msg-Id"), "{}", entry.headers);
    assert_eq!(entry.revision, first);
    driver.stored(first, "z");
}
