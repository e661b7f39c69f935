//! Health over real servers: responses, and hostile requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use leasehold::clock::{Clock, Timestamp};
use leasehold::config::{ConfigBuilder, Tls, TransportChoice};
use leasehold::health::{self, Client, HealthCheck, HealthCheckSettings, QueryError, Responder};
use leasehold::store::memory::MemoryServer;
use leasehold::store::{Request, Store, StoreEvent, Ticket, Waker};
use leasehold::{Config, Node, Role};
use serde_json::{Value, json};

use crate::support::bucket::Bucket;
use crate::support::nats;
use crate::support::proxy::Proxy;
use crate::support::server::NatsServer;
use crate::support::tls::Certificates;
use crate::support::version::Version;
use crate::support::wait::{eventually, eventually_some};

const PATIENCE: Duration = Duration::from_secs(30);
/// How long one request may take; a loaded machine needs it.
const ANSWER: Duration = Duration::from_secs(10);
/// How long nothing is waited for.
const SILENCE: Duration = Duration::from_millis(500);

fn config(url: &str, node: &str) -> ConfigBuilder {
    Config::builder("orders", node, [url])
        .renew_interval(Duration::from_millis(500))
        .reconnect_wait(Duration::from_millis(200))
}

fn built(url: &str, node: &str) -> Config {
    config(url, node).build().expect("a valid configuration")
}

/// Returns when the responder can be asked.
#[track_caller]
fn ready(responder: &Responder) {
    eventually(PATIENCE, "the responder to connect", || responder.is_connected());
}

/// Sends a request from another client, and parses the response as JSON.
#[track_caller]
fn asked(client: &nats::Client, subject: &str) -> Value {
    client.request(subject, "", ANSWER).expect("an answer").json()
}

on_both_servers!(a_node_answers_the_checker_of_go_cluster, |version| {
    let server = NatsServer::start(version);
    let config = built(&server.url(), "node-1");
    let node = Node::start(config.clone()).unwrap();
    let responder = Responder::of(node.handle()).unwrap();
    ready(&responder);
    let epoch = node.wait_for_leadership(PATIENCE).unwrap().epoch().as_u64();
    responder.set_custom("load", "none yet").unwrap();
    responder.set_custom("load", 0.75).unwrap();
    let mut list = vec![Some(1), None];
    responder.set_custom("list", &list).unwrap();
    list.clear();

    let stranger = nats::Client::connect(&server.url());
    let answer = asked(&stranger, "cluster.orders.health.node-1");
    assert_eq!((&answer["nodeId"], &answer["role"]), (&json!("node-1"), &json!("PRIMARY")));
    assert_eq!((&answer["leader"], &answer["epoch"]), (&json!("node-1"), &json!(epoch)));
    let copied = json!({ "load": 0.75, "list": [1, null] });
    assert_eq!(answer["custom"], copied, "the newest values, as they were when they were set");
    assert!(answer["uptimeMs"].is_u64() && answer["timestamp"].as_u64() > Some(1_600_000_000_000));
    assert_eq!((&answer["stuck"], &answer["connected"]), (&json!(false), &json!(true)));

    node.step_down().unwrap();
    let passive = || asked(&stranger, "cluster.orders.health.node-1")["role"] == "PASSIVE";
    assert!(passive(), "it is a follower at once");
    assert!(responder.remove_custom("list") && !responder.remove_custom("list"));
    assert_eq!(asked(&stranger, "cluster.orders.health")["custom"], json!({ "load": 0.75 }));
});

on_both_servers!(a_client_finds_one_node_all_nodes_or_none, |version| {
    let server = NatsServer::start(version);
    let url = server.url();
    let mut client = Client::connect(&built(&url, "asker"), ANSWER).unwrap();
    assert_eq!(client.query_all(ANSWER).unwrap(), [], "without any node it returns at once");

    // As with go-cluster's checker, the program sets the values.
    let [one, two] = ["node-1", "node-2.rack"].map(|name| {
        let responder = Responder::standalone(&built(&url, name)).unwrap();
        ready(&responder);
        responder
    });
    two.set_role(Role::Leader);
    two.set_leader(Some("node-2.rack"));
    two.set_epoch(leasehold::Epoch::new(7));
    let health = client.query("node-2.rack", ANSWER).unwrap().health;
    assert_eq!((health.role, health.epoch), (Role::Leader, 7));
    assert_eq!((health.leader.as_deref(), health.connected), (Some("node-2.rack"), None));
    assert_eq!(client.query("node-1", ANSWER).unwrap().health.leader, None);

    let all = client.query_all(SILENCE * 2).unwrap();
    let names: Vec<_> = all.iter().map(|answer| answer.health.node_id.as_str()).collect();
    assert_eq!(names, ["node-1", "node-2.rack"]);

    let begun = Instant::now();
    let error = client.query("node-9", PATIENCE).unwrap_err();
    assert!(matches!(error, QueryError::NoSuchNode { ref node } if node == "node-9"), "{error}");
    assert!(begun.elapsed() < PATIENCE);
    assert!(matches!(client.query("", ANSWER), Err(QueryError::NodeId(_))));
    assert!(matches!(client.query("a.>", ANSWER), Err(QueryError::NodeId(_))));

    one.stop();
    let gone = |error: &QueryError| matches!(error, QueryError::NoSuchNode { .. });
    eventually(PATIENCE, "it to be gone", || {
        client.query("node-1", ANSWER).is_err_and(|error| gone(&error))
    });
});

on_both_servers!(a_silent_node_times_out_and_a_malformed_response_is_an_error, |version| {
    let server = NatsServer::start(version);
    let witness = nats::Client::connect(&server.url());
    let silent = witness.subscribe("cluster.orders.health.silent");
    let mut client = Client::connect(&built(&server.url(), "asker"), ANSWER).unwrap();
    let error = client.query("silent", SILENCE).unwrap_err();
    assert!(matches!(error, QueryError::TimedOut { .. }), "{error}");

    let question = silent.next(PATIENCE).expect("the question");
    witness.publish(&question.reply.expect("a reply subject"), r#"{"nodeId":"late"}"#);
    for malformed in [&b""[..], b"{", b"{}", &[0xff; 2000], &vec![b'['; 100_000]] {
        let asking = thread::scope(|scope| {
            let asking = scope.spawn(|| client.query("silent", ANSWER));
            let question = silent.next(PATIENCE).expect("the question");
            witness.publish(&question.reply.expect("a reply subject"), malformed);
            asking.join().expect("no panic")
        });
        let error = asking.unwrap_err();
        assert!(matches!(error, QueryError::Malformed { .. }), "{error}");
    }
});

// Both ways: our client asks a checker of go-cluster v1, and it asks our responder.
on_both_servers!(health_works_with_go_cluster_v1, |version| {
    let server = NatsServer::start(version);
    let checker = nats::Client::connect(&server.url());
    let subject = checker.subscribe("cluster.orders.health.v1");
    let says = json!({
        "nodeId": "v1", "role": "PASSIVE", "leader": "node-1", "uptimeMs": 12, "timestamp": 34,
        "custom": { "version": "1.0.0" }
    });
    let mut client = Client::connect(&built(&server.url(), "node-1"), ANSWER).unwrap();
    let answer = thread::scope(|scope| {
        let asking = scope.spawn(|| client.query("v1", ANSWER));
        let question = subject.next(PATIENCE).expect("the question");
        assert!(question.body.is_empty());
        checker.publish(&question.reply.expect("a reply subject"), says.to_string());
        asking.join().expect("no panic")
    });
    let health = answer.unwrap().health;
    assert_eq!((health.role, health.leader.as_deref()), (Role::Follower, Some("node-1")));
    assert_eq!((health.uptime_ms, health.timestamp, health.epoch), (12, 34, 0));
    assert_eq!(health.custom["version"], "1.0.0");

    let responder = Responder::standalone(&built(&server.url(), "node-1")).unwrap();
    ready(&responder);
    let answer = asked(&checker, "cluster.orders.health.node-1");
    // The types that it has in Go; a custom map that is missing is an empty one there.
    assert!(answer["nodeId"].is_string() && answer["role"] == "PASSIVE" && answer["leader"] == "");
    assert!(answer["uptimeMs"].is_i64() && answer["timestamp"].is_i64());
    assert_eq!(answer.get("custom"), None);
});

/// A store that hangs in the middle of its work, as a logger of the application's could.
struct Hangs<S>(S, Arc<AtomicBool>);

impl<S: Store> Store for Hangs<S> {
    fn submit(&mut self, ticket: Ticket, request: Request) {
        self.0.submit(ticket, request);
    }

    fn waker(&self) -> Waker {
        self.0.waker()
    }

    fn poll(&mut self, until: Timestamp) -> Option<StoreEvent> {
        while self.1.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        self.0.poll(until)
    }

    fn reconnect(&mut self) {
        self.0.reconnect();
    }

    fn close(&mut self, until: Timestamp) {
        self.0.close(until);
    }
}

on_both_servers!(health_is_answered_while_the_election_hangs, |version| {
    let server = NatsServer::start(version);
    let config = built(&server.url(), "node-1");
    let (memory, hangs) = (MemoryServer::new(), Arc::new(AtomicBool::new(false)));
    let store = Hangs(memory.connect(Clock::boot()), Arc::clone(&hangs));
    let node = Node::builder(config.clone()).store(store).start().unwrap();
    let responder = Responder::of(node.handle()).unwrap();
    ready(&responder);
    node.wait_for_leadership(PATIENCE).unwrap();
    let mut client = Client::connect(&config, ANSWER).unwrap();
    let mut health = || client.query("node-1", ANSWER).unwrap().health;
    eventually(PATIENCE, "it to lead and not be stuck", || {
        let health = health();
        health.role == Role::Leader && !health.stuck
    });

    hangs.store(true, Ordering::SeqCst);
    let stuck = eventually_some(PATIENCE, "it to say that it is stuck", || {
        Some(health()).filter(|health| health.stuck)
    });
    assert!(stuck.heartbeat_age_ms > Some(2000), "{stuck:?}");
    assert!(node.handle().thread_health().stuck);
    let deposed = eventually_some(PATIENCE, "the term to end by itself", || {
        Some(health()).filter(|health| health.role == Role::Follower)
    });
    assert!(deposed.stuck);

    hangs.store(false, Ordering::SeqCst);
    eventually(PATIENCE, "it to have come round", || !health().stuck);
});

// The asker chooses where the answer goes, and the node may publish there: on the record, where a
// heap of JSON would depose the leader, or on a control endpoint.
on_both_servers!(responses_are_sent_to_inboxes_only, |version| {
    let server = NatsServer::start(version);
    let config = built(&server.url(), "node-1");
    let node = Node::start(config.clone()).unwrap();
    let responder = Responder::of(node.handle()).unwrap();
    ready(&responder);
    let token = node.wait_for_leadership(PATIENCE).unwrap();

    let hostile = nats::Client::connect(&server.url());
    let targets = [
        "$KV.cluster-orders.lease",
        "cluster.orders.kv.lease",
        "$JS.API.STREAM.DELETE.KV_cluster-orders",
        "cluster_orders.control.node-1.stepdown",
        "cluster.orders.health.node-1",
        "orders.commands",
    ];
    let heard: Vec<_> = targets.map(|target| hostile.subscribe(target)).into();
    for target in targets {
        hostile.publish_with_reply("cluster.orders.health.node-1", target, "");
    }
    // Asked after them, so answered after them.
    asked(&hostile, "cluster.orders.health.node-1");
    for (target, heard) in targets.iter().zip(heard) {
        let answers = heard.drain().into_iter().filter(|message| {
            message.body.starts_with(b"{\"nodeId\"") && message.body.ends_with(b"}")
        });
        let answers = answers.filter(|message| message.json().get("uptimeMs").is_some());
        assert_eq!(answers.count(), 0, "{target}");
    }
    assert!(token.is_valid());
    let record = Bucket::of_cluster(&hostile, "orders").read("lease").unwrap().json();
    assert_eq!(record["node_id"], "node-1");
});

on_both_servers!(a_flood_of_requests_delays_no_renewal, |version| {
    let server = NatsServer::start(version);
    let node = Node::start(built(&server.url(), "node-1")).unwrap();
    let responder = Responder::of(node.handle()).unwrap();
    ready(&responder);
    let token = node.wait_for_leadership(PATIENCE).unwrap();
    let hostile = nats::Client::connect(&server.url());
    let inbox = hostile.inbox();
    let answers = hostile.subscribe(&inbox);
    let before = node.stats().renewals;
    let body = vec![b'x'; 10_000];
    while node.stats().renewals < before + 4 {
        for _ in 0..20 {
            hostile.publish_with_reply("cluster.orders.health.node-1", &inbox, &body);
        }
        answers.drain();
        thread::sleep(Duration::from_millis(1));
    }
    assert!(token.is_valid());
    assert_eq!(node.stats().abandoned_connections, 0);
    // What is behind too many others is dropped.
    let answer = eventually_some(PATIENCE, "an answer", || {
        hostile.request("cluster.orders.health.node-1", "", SILENCE).ok()
    });
    assert_eq!(answer.json()["role"], "PRIMARY");
});

// The client gives up a connection on which a header block comes that it cannot read, and its
// reading thread ends over a line that is longer than its buffer; servers pass both on.
on_both_servers!(messages_that_break_the_nats_crate_do_not_end_a_term, |version| {
    hostile_messages(version, TransportChoice::NatsClient);
});

on_both_servers!(no_message_ends_a_direct_connection, |version| {
    hostile_messages(version, TransportChoice::Direct);
});

fn hostile_messages(version: Version, transport: TransportChoice) {
    let server = NatsServer::start(version);
    let config = config(&server.url(), "node-1").transport(transport).build().unwrap();
    let node = Node::start(config.clone()).unwrap();
    let responder = Responder::of(node.handle()).unwrap();
    ready(&responder);
    let token = node.wait_for_leadership(PATIENCE).unwrap();
    let hostile = nats::Client::connect(&server.url());
    let subject = "cluster.orders.health.node-1";
    let answers = || hostile.request(subject, "", SILENCE).is_ok();
    eventually(PATIENCE, "an answer", answers);
    let connections = || server.monitor().varz()["total_connections"].clone();
    let before = connections();

    hostile.publish_with_headers(subject, &[("X", "y\r\nno header")], "");
    if transport == TransportChoice::NatsClient {
        eventually(PATIENCE, "the connection to be given up", || !responder.is_connected());
    }
    eventually(PATIENCE, "an answer again", answers);

    // PUB has a longest line, and the MSG that it becomes is a little longer.
    let longest = 4096 - "PUB   0\r\n".len() - subject.len();
    for shorter in 0..24 {
        hostile.publish_with_reply(subject, &"r".repeat(longest - shorter), "");
        hostile.round_trip().unwrap();
    }
    eventually(2 * PATIENCE, "an answer after all that", answers);
    assert!(token.is_valid() && node.stats().reconnects == 0);
    if transport == TransportChoice::Direct {
        assert_eq!(connections(), before, "no connection was made again");
    }
}

// A peer that vanished says nothing, and the responder asks nobody anything: only silence tells.
on_both_servers!(a_frozen_connection_is_replaced, |version| {
    let server = NatsServer::start(version);
    let proxy = Proxy::start(server.address());
    let responder = Responder::standalone(&built(&proxy.url(), "node-1")).unwrap();
    ready(&responder);
    proxy.freeze();
    eventually(2 * PATIENCE, "the responder to notice", || !responder.is_connected());
    proxy.thaw();
    ready(&responder);
    let mut client = Client::connect(&built(&server.url(), "asker"), ANSWER).unwrap();
    eventually(PATIENCE, "an answer again", || client.query("node-1", ANSWER).is_ok());
});

on_both_servers!(a_responder_reconnects_when_the_server_is_back, |version| {
    let mut server = NatsServer::start(version);
    let responder = Responder::standalone(&built(&server.url(), "node-1")).unwrap();
    ready(&responder);
    let mut client = Client::connect(&built(&server.url(), "asker"), ANSWER).unwrap();
    client.query("node-1", ANSWER).unwrap();
    server.stop();
    eventually(PATIENCE, "the responder to notice", || responder.problem().is_some());
    assert!(matches!(client.query("node-1", SILENCE), Err(QueryError::Store(_))));
    server.restart();
    eventually(PATIENCE, "an answer again", || client.query("node-1", ANSWER).is_ok());
});

on_both_servers!(health_works_over_tls, |version| {
    let certificates = Certificates::new();
    let server = NatsServer::builder(version).tls(&certificates).start();
    let tls = Tls { required: true, ca_file: Some(certificates.authority()), ..Tls::default() };
    let config = config(&server.url(), "node-1").tls(tls).build().unwrap();
    let responder = Responder::standalone(&config).unwrap();
    ready(&responder);
    let mut client = Client::connect(&config, ANSWER).unwrap();
    for _ in 0..50 {
        client.query("node-1", ANSWER).unwrap();
    }
    assert_eq!(client.query_all(SILENCE).unwrap().len(), 1);
});

#[test]
fn wrong_credentials_fail_at_once() {
    let server = NatsServer::builder(Version::Newest).user("me", "right").start();
    let wrong = config(&server.url(), "node-1").user_password("me", "wrong").build().unwrap();
    let begun = Instant::now();
    let error = health::query(&wrong, "node-1", PATIENCE).unwrap_err();
    assert!(matches!(error, QueryError::Store(_)), "{error}");
    assert!(begun.elapsed() < PATIENCE);
    let right = config(&server.url(), "node-1").user_password("me", "right").build().unwrap();
    let error = health::query(&right, "node-1", PATIENCE).unwrap_err();
    assert!(matches!(error, QueryError::NoSuchNode { .. }), "{error}");
    assert_eq!(health::query_all(&right, PATIENCE).unwrap(), []);
}

#[test]
fn a_failing_health_check_makes_the_node_step_down_until_it_succeeds() {
    let memory = MemoryServer::new();
    let config = config("nats://localhost", "node-1").cooldown(Duration::ZERO).build().unwrap();
    let node = Node::builder(config).store(memory.connect(Clock::boot())).start().unwrap();
    node.wait_for_leadership(PATIENCE).unwrap();
    let fit = Arc::new(AtomicBool::new(true));
    let (settings, seen) = (
        HealthCheckSettings {
            interval: Duration::from_millis(10),
            timeout: ANSWER,
            ..HealthCheckSettings::default()
        },
        Arc::clone(&fit),
    );
    let gate =
        HealthCheck::start(node.handle(), settings, move || seen.load(Ordering::SeqCst)).unwrap();
    assert!(gate.is_healthy() && node.is_leader());
    fit.store(false, Ordering::SeqCst);
    eventually(PATIENCE, "it to step down", || !node.is_leader());
    eventually(PATIENCE, "the gate to say so", || !gate.is_healthy());
    fit.store(true, Ordering::SeqCst);
    node.wait_for_leadership(PATIENCE).unwrap();
    assert!(gate.is_healthy());
}
