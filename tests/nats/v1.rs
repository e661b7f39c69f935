//! Beside go-cluster v1 in one bucket: its records, its bucket, its deletes, and how it reads our
//! records.

use std::thread::sleep;
use std::time::{Duration, SystemTime};

use leasehold::utc::rfc3339;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::nodes::{Nodes, PATIENCE, config, nanos, now};
use crate::support::bucket::{Bucket, Entry};
use crate::support::nats::Client;
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::eventually;

/// A record as v1 writes it; the revision is 1 in a new bucket.
const LEASE: &str = include_str!("../fixtures/v1/lease.json");
/// A bucket as v1 makes it at a TTL of 3 s: records older than 6 s are removed, and the server
/// repeats nothing.
const BUCKET: &str = include_str!("../fixtures/v1/bucket.json");
/// The TTL that goes with it.
const TTL: Duration = Duration::from_secs(3);

/// A server with a bucket of v1's making, and a hand in it.
fn scene(version: Version) -> (NatsServer, Client) {
    let server = NatsServer::start(version);
    let client = Client::connect(&server.url());
    let bucket: Value = serde_json::from_str(BUCKET).expect("JSON");
    Bucket::of_cluster(&client, "orders").create(&bucket).expect("created");
    (server, client)
}

/// The record, with the types that v1 has in Go, all of them mandatory there or nearly so.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct V1Lease {
    node_id: String,
    epoch: i64,
    expires_at: String,
    acquired_at: String,
}

/// A peer of v1: its reads, writes and decisions, by the wall clock.
struct V1<'a> {
    bucket: Bucket<'a>,
    name: &'static str,
    lease: Option<V1Lease>,
}

impl<'a> V1<'a> {
    fn new(client: &'a Client, name: &'static str) -> Self {
        Self { bucket: Bucket::of_cluster(client, "orders"), name, lease: None }
    }

    /// The record as v1 sees it; a marker is none.
    fn read(&self) -> Option<(Entry, V1Lease)> {
        let entry = self.bucket.read("lease").ok()?;
        let lease = serde_json::from_slice(&entry.body).ok()?;
        (!entry.headers.contains("KV-Operation")).then_some((entry, lease))
    }

    /// One turn of a v1 that does not lead. True when it leads now.
    fn acquire(&mut self) -> bool {
        match self.read() {
            Some((_, lease)) if lease.node_id != self.name && !expired(&lease) => false,
            Some((entry, lease)) => {
                let mine = lease.node_id == self.name;
                self.write(lease.epoch + i64::from(!mine), entry.revision)
            }
            None => {
                let marker = self.bucket.read("lease").map_or(0, |marker| marker.revision);
                self.write(1, marker)
            }
        }
    }

    /// One turn of a v1 that leads. False when it has lost.
    fn renew(&mut self) -> bool {
        let (Some((entry, found)), Some(lease)) = (self.read(), &self.lease) else { return false };
        let own = found.node_id == self.name && found.epoch == lease.epoch;
        own && self.write(found.epoch, entry.revision)
    }

    fn write(&mut self, epoch: i64, expected: u64) -> bool {
        let now = SystemTime::now();
        let (expires_at, acquired_at) = (rfc3339(now + TTL), rfc3339(now));
        let lease = V1Lease { node_id: self.name.to_owned(), epoch, expires_at, acquired_at };
        let body = serde_json::to_vec(&lease).expect("a record");
        self.lease = Some(lease);
        self.bucket.compare_and_set("lease", expected, body).is_ok()
    }

    /// It deletes the record without looking.
    fn step_down(&mut self) {
        let until = (SystemTime::now() + TTL).duration_since(SystemTime::UNIX_EPOCH);
        let until = until.expect("after 1970").as_millis().to_string();
        self.bucket.put(&format!("cooldown-{}", self.name), until).expect("stored");
        self.bucket.delete_key("lease").expect("deleted");
        self.lease = None;
    }
}

/// The date and time of day in a record; v1 cannot read the record at all if it is not in this
/// format. The zone is checked and not applied: only v1's own fixture, of 2024, is not in UTC.
fn seconds(text: &str) -> &str {
    let shape = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0");
    let (seconds, rest) = text.split_at(19);
    let (fraction, zone) = rest.split_at(rest.find(['Z', '+', '-']).expect("a zone"));
    let is_fraction =
        fraction.strip_prefix('.').is_some_and(|digits| digits.parse::<u64>().is_ok());
    assert_eq!(shape(seconds), "0000-00-00T00:00:00", "RFC 3339");
    assert!(fraction.is_empty() || is_fraction, "RFC 3339");
    assert!(zone == "Z" || shape(&zone[1..]) == "00:00", "RFC 3339");
    seconds
}

fn expired(lease: &V1Lease) -> bool {
    seconds(&rfc3339(SystemTime::now())) > seconds(&lease.expires_at)
}

on_both_servers!(a_v1_record_is_waited_out_regardless_of_its_times, |version| {
    let (server, client) = scene(version);
    let written = now();
    Bucket::of_cluster(&client, "orders").put("lease", LEASE).expect("stored");
    let mut nodes = Nodes::started(config(&server.url()).lease_ttl(TTL), &["a"]);
    nodes[0].knows_leader("go-1");
    assert_eq!(nodes[0].status()["epoch"], 41);
    let win = nodes[0].became();
    assert_eq!(win.epoch, 42);
    assert!(win.challenged >= written + nanos(TTL));
});

on_both_servers!(our_record_is_respected_and_our_release_followed_by_v1, |version| {
    let (server, client) = scene(version);
    let mut v1 = V1::new(&client, "go-1");
    let mut nodes = Nodes::started(config(&server.url()).lease_ttl(TTL), &["a"]);
    let first = nodes[0].became().epoch;

    let (_, ours) = v1.read().expect("readable");
    assert_eq!((ours.node_id.as_str(), ours.epoch.unsigned_abs()), ("a", first));
    assert!(!expired(&ours) && seconds(&ours.acquired_at) < seconds(&ours.expires_at));
    assert!(!v1.acquire(), "it is held");

    assert!(!nodes[0].stop(), "released");
    let (_, released) = v1.read().expect("readable");
    assert!(expired(&released), "{released:?}");
    assert!(v1.acquire(), "it is free");
    assert_eq!(v1.lease.as_ref().map(|lease| lease.epoch.unsigned_abs()), Some(first + 1));

    let next = nodes.start("b");
    nodes[next].knows_leader("go-1");
    assert_eq!(nodes[next].status()["epoch"], first + 1);
});

on_both_servers!(a_v1_leader_holds_us_back_until_it_deletes_its_record, |version| {
    let (server, client) = scene(version);
    let mut v1 = V1::new(&client, "go-1");
    assert!(v1.acquire(), "there is no holder");
    let mut nodes = Nodes::started(config(&server.url()).lease_ttl(TTL), &["a", "b"]);
    for _ in 0..10 {
        sleep(TTL / 6);
        assert!(v1.renew(), "a renewed record is not taken");
    }
    nodes[0].knows_leader("go-1");
    let deleted = now();
    v1.step_down();
    let leader = nodes.leader();
    let win = nodes[leader].became();
    assert!(win.epoch > 1, "beyond that of v1");
    assert!(win.challenged >= deleted + nanos(TTL), "v1 may be at work yet");
    nodes.agree_on(leader);
});

on_both_servers!(a_node_yields_to_a_v1_peer_that_steals_by_its_clock, |version| {
    let (server, client) = scene(version);
    let mut v1 = V1::new(&client, "go-1");
    let mut nodes = Nodes::started(config(&server.url()).lease_ttl(TTL), &["a"]);
    let epoch = i64::try_from(nodes[0].became().epoch).expect("small");
    eventually(PATIENCE, "a theft between two renewals", || {
        let revision = v1.bucket.read("lease").expect("held").revision;
        v1.write(epoch + 1, revision)
    });
    assert_eq!(nodes[0].lost().cause, "superseded by go-1");
    assert!(v1.renew());
    nodes[0].knows_leader("go-1");
});

on_both_servers!(the_epoch_goes_on_after_the_record_aged_out, |version| {
    let (server, client) = scene(version);
    let bucket = Bucket::of_cluster(&client, "orders");
    let mut nodes = Nodes::started(config(&server.url()).lease_ttl(TTL), &["a"]);
    let first = nodes[0].became();
    nodes[0].kill();
    eventually(PATIENCE, "the record to age out", || bucket.read("lease").is_err());
    let next = nodes.start("b");
    let win = nodes[next].became();
    assert!(win.epoch > first.epoch);
});

#[test]
fn v1_would_read_the_fixture() {
    let lease: V1Lease = serde_json::from_str(LEASE).expect("its own record");
    assert!(expired(&lease) && seconds(&lease.acquired_at) < seconds(&lease.expires_at));
}
