//! The store on NATS: buckets of every kind, responses of JetStream, and responses of an impostor.

use std::time::Duration;

use leasehold::error::StoreError;
use leasehold::store::{Outcome, Request, StoreEvent, Ticket};
use serde_json::{Value, json};

use crate::driver::{
    CLUSTER, Driver, PATIENCE, SILENCE, connected, nats_store, on_nats, value, write,
};
use crate::support::bucket::Bucket;
use crate::support::cluster::Cluster;
use crate::support::nats::{Client, Message, Subscription};
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::{eventually, eventually_some};

pub(crate) const WRITES: &str = "$KV.cluster-test.lease";
pub(crate) const GETS: &str = "$JS.API.STREAM.MSG.GET.KV_cluster-test";
pub(crate) const INFOS: &str = "$JS.API.STREAM.INFO.KV_cluster-test";
const NANOS: u64 = 1_000_000_000;

/// A server with a bucket that another program made.
fn with_bucket(version: Version, change: impl FnOnce(&mut Value)) -> NatsServer {
    let server = NatsServer::start(version);
    let client = Client::connect(&server.url());
    let bucket = Bucket::of_cluster(&client, CLUSTER);
    let mut config = bucket.usual_config();
    change(&mut config);
    bucket.create(&config).expect("created");
    server
}

/// Why a bucket like that is refused, as a read tells.
fn refusal(version: Version, change: impl FnOnce(&mut Value)) -> String {
    let server = with_bucket(version, change);
    let mut driver = connected(&[server.url()]);
    // It is there, so creating it succeeds; the read that follows decides.
    driver.create();
    match driver.ask(Request::Read) {
        Outcome::Failed(error @ StoreError::Bucket { .. }) => error.to_string(),
        other => panic!("the bucket was not refused: {other:?}"),
    }
}

on_both_servers!(the_bucket_is_created_as_specified, |version| {
    let server = NatsServer::start(version);
    let mut driver = connected(&[server.url()]);
    driver.create();
    let client = Client::connect(&server.url());
    let info = Bucket::of_cluster(&client, CLUSTER).info().expect("it is there");
    let config = &info["config"];
    assert_eq!(config["storage"], "file");
    assert_eq!(config["max_age"], 0);
    assert_eq!(config["max_msgs_per_subject"], 1);
    assert_eq!(config["num_replicas"], 1);
    assert_eq!(config["deny_delete"], true);
    assert_eq!(config["allow_rollup_hdrs"], true);
    assert_eq!(config["republish"]["dest"], "cluster.test.kv.>");
});

#[test]
fn the_newest_server_starts_revisions_as_requested() {
    let server = NatsServer::start(Version::Newest);
    let mut driver = connected(&[server.url()]);
    assert_eq!(driver.ask(Request::CreateBucket { first_seq: 8 }), Outcome::Created);
    let snapshot = driver.read();
    assert_eq!((snapshot.last_seq, snapshot.pristine), (7, true));
    assert_eq!(driver.ask(write(0, Some(7), "x")), Outcome::Stored { revision: 8 });
    assert!(!driver.read().pristine);
}

#[test]
fn the_oldest_server_ignores_the_first_revision() {
    let server = NatsServer::start(Version::Oldest);
    let mut driver = connected(&[server.url()]);
    assert_eq!(driver.ask(Request::CreateBucket { first_seq: 8 }), Outcome::Created);
    let snapshot = driver.read();
    assert_eq!((snapshot.last_seq, snapshot.pristine), (0, true));
}

on_both_servers!(memory_storage_is_refused, |version| {
    let message = refusal(version, |config| config["storage"] = "memory".into());
    assert!(message.contains("storage is \"memory\""), "{message}");
});

on_both_servers!(a_short_max_age_is_refused_with_the_figures, |version| {
    let message = refusal(version, |config| {
        config["max_age"] = (7 * NANOS).into();
        config["duplicate_window"] = NANOS.into();
    });
    assert!(message.contains("max_age is 7s"), "{message}");
    assert!(message.contains("more than 7s is accepted"), "{message}");
});

on_both_servers!(a_bucket_of_other_subjects_is_refused, |version| {
    let message = refusal(version, |config| config["subjects"] = json!(["other.>"]));
    assert!(message.contains("do not cover $KV.cluster-test.lease"), "{message}");
});

on_both_servers!(a_bucket_without_acknowledgements_is_refused, |version| {
    let message = refusal(version, |config| config["no_ack"] = true.into());
    assert!(message.contains("no_ack"), "{message}");
});

// Go-cluster's first version: it expires after twice the lease, nothing is repeated.
on_both_servers!(go_clusters_bucket_is_used_with_hints_instead_of_notices, |version| {
    let server = with_bucket(version, |config| {
        config["max_age"] = (20 * NANOS).into();
        config["duplicate_window"] = (20 * NANOS).into();
    });
    let mut nodes = [connected(&[server.url()]), connected(&[server.url()])];
    for node in &mut nodes {
        node.create();
        assert_eq!(node.read().entry, None);
        let warnings = node.wait("the warning about its age", |event| match event {
            StoreEvent::Warnings(warnings) => Some(warnings.clone()),
            _ => None,
        });
        assert!(matches!(&warnings[..], [warning] if warning.contains("max_age is 20s")));
        // It is subscribed to another subject from now on, and may have missed notices before.
        node.wait("the hint to read again", is_hint);
        // The answer comes after the new subscription was processed.
        node.read();
    }
    let first = nodes[0].stored(0, "x");
    nodes[1].wait("the hint of a write", is_hint);
    assert_eq!(nodes[1].read().entry, Some(value(first, "x")));
    // One's own writes are no news.
    assert_eq!(nodes[0].next(SILENCE), None);
    // The next connection listens there from the start.
    nodes[1].store.reconnect();
    nodes[1].wait_connected();
    nodes[0].stored(first, "y");
    nodes[1].wait("the hint of a write", is_hint);
});

fn is_hint(event: &StoreEvent) -> Option<()> {
    matches!(event, StoreEvent::Hint).then_some(())
}

on_both_servers!(another_republish_rule_is_followed, |version| {
    let server = with_bucket(version, |config| {
        config["republish"] = json!({ "src": ">", "dest": "copies.>" });
    });
    let mut driver = connected(&[server.url()]);
    driver.read();
    driver.wait("the hint to read again", is_hint);
    let first = driver.stored(0, "x");
    assert_eq!(driver.wait_notice(), value(first, "x"));
});

on_both_servers!(a_recreated_bucket_with_another_republish_rule_is_followed, |version| {
    let server = NatsServer::start(version);
    let mut driver = connected(&[server.url()]);
    driver.create();
    driver.stored(0, "x");
    driver.wait_notice();
    let client = Client::connect(&server.url());
    let bucket = Bucket::of_cluster(&client, CLUSTER);
    bucket.delete().expect("deleted");
    bucket.create(&bucket.usual_config()).expect("created");
    driver.read();
    driver.wait("the hint to read again", is_hint);
    // The read that follows the hint also follows the new subscription, to the same server.
    driver.read();
    bucket.put("lease", "y").expect("stored");
    driver.wait("the hint of a write", is_hint);
});

on_both_servers!(a_read_without_jetstream_reports_it, |version| {
    let server = NatsServer::builder(version).without_jetstream().start();
    let mut driver = connected(&[server.url()]);
    for request in [Request::Read, Request::CreateBucket { first_seq: 1 }] {
        let outcome = driver.ask(request);
        assert!(matches!(outcome, Outcome::Failed(StoreError::JetStream(_))), "{outcome:?}");
    }
});

on_both_servers!(an_account_without_jetstream_is_reported, |version| {
    let server = NatsServer::builder(version)
        .config("accounts { A { users: [ { user: u, password: p } ] }, B { jetstream: enabled } }")
        .start();
    let mut driver = on_nats(&[server.url()], |config| config.user_password("u", "p"));
    driver.wait_connected();
    let outcome = driver.ask(Request::Read);
    assert!(matches!(outcome, Outcome::Failed(StoreError::JetStream(_))), "{outcome:?}");
});

#[test]
fn several_replicas_are_refused_on_the_oldest_server() {
    let server = NatsServer::start(Version::Oldest);
    let mut driver = Driver::new(Box::new(nats_store(&[server.url()], 3, |config| config)));
    driver.wait_connected();
    let outcome = driver.ask(Request::CreateBucket { first_seq: 1 });
    let Outcome::Failed(error @ StoreError::Bucket { .. }) = outcome else { panic!("{outcome:?}") };
    assert!(error.to_string().contains("3 replicas need nats-server 2.11.0"), "{error}");
    assert_eq!(driver.ask(Request::Read), Outcome::NoBucket);
}

on_both_servers!(a_domain_is_found_by_its_prefix, |version| {
    let server = NatsServer::builder(version).jetstream("domain: hub").start();
    let mut driver = on_nats(&[server.url()], |config| config.js_domain("hub"));
    driver.wait_connected();
    driver.create();
    driver.read();
    let first = driver.stored(0, "x");
    assert_eq!(driver.wait_notice(), value(first, "x"));
    assert_eq!(driver.write(0, "y"), Outcome::LostRace);
    // Nothing answers for a domain that is not there.
    let mut stranger = on_nats(&[server.url()], |config| config.js_domain("elsewhere"));
    stranger.wait_connected();
    let outcome = stranger.ask(Request::Read);
    assert!(matches!(outcome, Outcome::Failed(StoreError::JetStream(_))), "{outcome:?}");
});

on_both_servers!(the_server_sees_one_connection_by_its_name, |version| {
    let server = NatsServer::start(version);
    let mut driver = connected(&[server.url()]);
    driver.create();
    let named = || {
        let connz = server.monitor().connz();
        let connections = connz["connections"].as_array().expect("a list").clone();
        connections.iter().filter(|c| c["name"] == "leasehold/test/node").count()
    };
    eventually(PATIENCE, "one connection", || named() == 1);
    driver.close();
    eventually(PATIENCE, "no connection", || named() == 0);
});

/// A client that responds instead of JetStream.
pub(crate) struct Impostor {
    server: NatsServer,
    client: Client,
}

impl Impostor {
    pub(crate) fn new(version: Version) -> Self {
        let server = NatsServer::builder(version).without_jetstream().start();
        let client = Client::connect(&server.url());
        Self { server, client }
    }

    pub(crate) fn listen(&self, subject: &str) -> Subscription {
        self.client.subscribe(subject)
    }

    pub(crate) fn driver(&self) -> Driver {
        connected(&[self.server.url()])
    }

    pub(crate) fn answer(&self, request: &Message, body: &str) {
        self.client.publish(request.reply.as_deref().expect("a reply subject"), body);
    }

    /// Answers the next request, which comes while the store is polled.
    #[track_caller]
    pub(crate) fn turn(&self, driver: &mut Driver, from: &Subscription, answer: &str) {
        let found = eventually_some(PATIENCE, "a request", || {
            let event = driver.fresh(Duration::from_millis(1));
            assert_eq!(event, None, "no outcome yet");
            from.next(Duration::from_millis(1))
        });
        self.answer(&found, answer);
    }
}

/// Lets the store send; requests leave it at once, but only its own thread takes answers in.
#[track_caller]
pub(crate) fn request(subscription: &Subscription) -> Message {
    subscription.next(PATIENCE).expect("a request")
}

on_both_servers!(every_code_of_a_lost_race_is_recognised, |version| {
    let impostor = Impostor::new(version);
    let writes = impostor.listen(WRITES);
    let mut driver = impostor.driver();
    for code in [10070, 10071, 10164] {
        let ticket = driver.submit(write(3, Some(4), "x"));
        let message = request(&writes);
        assert_eq!(message.header("Nats-Expected-Last-Subject-Sequence"), Some("3"));
        assert_eq!(message.header("Nats-Expected-Last-Sequence"), Some("4"));
        assert_eq!(message.header("Nats-Expected-Stream"), Some("KV_cluster-test"));
        let error = json!({ "code": 400, "err_code": code, "description": "wrong last sequence" });
        let body = json!({ "error": error, "stream": "KV_cluster-test", "seq": 0 });
        impostor.answer(&message, &body.to_string());
        assert_eq!(driver.outcome(ticket), Outcome::LostRace);
    }
});

on_both_servers!(an_unreadable_response_leaves_the_request_open, |version| {
    let impostor = Impostor::new(version);
    let writes = impostor.listen(WRITES);
    let mut driver = impostor.driver();
    let ticket = driver.submit(write(0, None, "x"));
    let message = request(&writes);
    for garbage in ["", "}", "\u{0}", r#"{"stream":"KV_other","seq":1}"#, r#"{"seq":0}"#] {
        impostor.answer(&message, garbage);
    }
    assert!(matches!(driver.outcome(ticket), Outcome::Unknown(StoreError::Malformed(_))));
    assert_eq!(driver.next(SILENCE), None, "unknown is reported once");
    impostor.answer(&message, r#"{"stream":"KV_cluster-test","seq":9}"#);
    assert_eq!(driver.outcome(ticket), Outcome::Stored { revision: 9 });
    impostor.answer(&message, r#"{"stream":"KV_cluster-test","seq":10}"#);
    assert_eq!(driver.next(SILENCE), None, "a definite outcome is the last one");
});

pub(crate) fn info(created: &str, last_seq: u64) -> String {
    json!({
        "config": {
            "name": "KV_cluster-test", "subjects": ["$KV.cluster-test.>"], "storage": "file",
            "num_replicas": 1,
            "republish": { "src": "$KV.cluster-test.>", "dest": "cluster.test.kv.>" },
        },
        "created": created,
        "state": { "messages": 1, "first_seq": 1, "last_seq": last_seq },
    })
    .to_string()
}

pub(crate) fn message(revision: u64, data: &str) -> String {
    json!({ "message": { "subject": WRITES, "seq": revision, "data": data } }).to_string()
}

on_both_servers!(a_read_counts_only_within_one_incarnation, |version| {
    let impostor = Impostor::new(version);
    let (gets, infos) = (impostor.listen(GETS), impostor.listen(INFOS));
    let mut driver = impostor.driver();
    let turn = |driver: &mut Driver, from: &Subscription, answer: &str| {
        impostor.turn(driver, from, answer);
    };
    let ticket = driver.submit(Request::Read);
    turn(&mut driver, &infos, &info("first", 5));
    turn(&mut driver, &gets, &message(5, "b2xk"));
    // The bucket was made anew between the two questions: the message may be of either.
    turn(&mut driver, &infos, &info("second", 1));
    turn(&mut driver, &gets, &message(1, "bmV3"));
    turn(&mut driver, &infos, &info("second", 1));
    let Outcome::Read(snapshot) = driver.outcome(ticket) else { panic!("it was read") };
    assert_eq!(snapshot.incarnation.to_string(), "second");
    assert_eq!(snapshot.entry, Some(value(1, "new")));
    // A bucket that changes all the time is given up.
    let ticket = driver.submit(Request::Read);
    for round in 0..4 {
        turn(&mut driver, &gets, &message(1, "bmV3"));
        turn(&mut driver, &infos, &info(&format!("round {round}"), 1));
    }
    assert!(matches!(driver.outcome(ticket), Outcome::Unknown(_)));
});

on_both_servers!(hostile_notices_are_ignored, |version| {
    let server = NatsServer::start(version);
    let mut driver = connected(&[server.url()]);
    driver.create();
    let client = Client::connect(&server.url());
    let subject = "cluster.test.kv.lease";
    client.publish(subject, "no headers");
    let stream = ("Nats-Stream", "KV_cluster-test");
    let key = ("Nats-Subject", WRITES);
    for headers in [
        vec![("Nats-Sequence", "1")],
        vec![stream, key],
        vec![stream, key, ("Nats-Sequence", "0")],
        vec![stream, key, ("Nats-Sequence", "-1")],
        vec![stream, key, ("Nats-Sequence", "18446744073709551616")],
        vec![stream, key, ("Nats-Sequence", "1"), ("Nats-Sequence", "2")],
        vec![stream, ("Nats-Subject", "$KV.cluster-test.other"), ("Nats-Sequence", "1")],
        vec![("Nats-Stream", "KV_other"), key, ("Nats-Sequence", "1")],
    ] {
        client.publish_with_headers(subject, &headers, "hostile");
    }
    client.round_trip().expect("a round trip");
    let first = driver.stored(0, "x");
    assert_eq!(driver.wait_notice(), value(first, "x"));
    assert!(driver.seen.is_empty(), "{:?}", driver.seen);
});

/// The outcome of a request, if there is one: a young cluster may swallow requests.
fn heard_of(node: &mut Driver, wanted: Ticket) -> Option<Outcome> {
    while let Some(event) = node.next(Duration::from_secs(3)) {
        match event {
            StoreEvent::Completed { ticket, outcome } if ticket == wanted => return Some(outcome),
            _ => {}
        }
    }
    None
}

/// Three replicas and two writers at once: one winner each time, whichever code the loser gets.
#[test]
fn replicated_writes_have_one_winner() {
    let cluster = Cluster::start(Version::Newest);
    let urls = cluster.urls();
    let mut nodes = [0, 1].map(|index| {
        let mut node = Driver::new(Box::new(nats_store(&urls[index..=index], 3, |config| config)));
        node.wait_connected();
        node
    });
    // The leader of a young cluster may not know all its peers yet, or answer nothing at all.
    let client = Client::connect(&urls[0]);
    let bucket = Bucket::of_cluster(&client, "test").limit(Duration::from_secs(2));
    let mut config = bucket.usual_config();
    config["num_replicas"] = json!(3);
    eventually(PATIENCE, "the bucket", || bucket.create(&config).is_ok());
    cluster.stream_leader("KV_cluster-test");
    let mut revision = 0;
    for round in 0..100 {
        let name = round.to_string();
        let tickets = nodes.each_mut().map(|node| node.submit(write(revision, None, &name)));
        let outcomes = [0, 1].map(|index| heard_of(&mut nodes[index], tickets[index]));
        let stored: Vec<_> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Some(Outcome::Stored { revision }) => Some(*revision),
                _ => None,
            })
            .collect();
        assert!(stored.len() <= 1, "{outcomes:?}");
        let snapshot = eventually_some(PATIENCE, "a read", || {
            let ticket = nodes[0].submit(Request::Read);
            match heard_of(&mut nodes[0], ticket) {
                Some(Outcome::Read(snapshot)) => Some(snapshot),
                _ => None,
            }
        });
        let Some(entry) = snapshot.entry else { continue };
        assert!(stored.first().is_none_or(|won| *won == entry.revision), "{outcomes:?} {entry:?}");
        revision = entry.revision;
    }
    assert!(revision >= 50, "one writer won most rounds, got {revision}");
}
