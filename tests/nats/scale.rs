//! Many nodes, few messages, forged notices, and no thread or descriptor left behind.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use leasehold::Node;
use leasehold::config::ConfigBuilder;
use serde_json::{Value, json};

use crate::nodes::{Nodes, PATIENCE, config};
use crate::support::alone::alone;
use crate::support::bucket::Bucket;
use crate::support::nats::Client;
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::eventually;

/// Long enough that no load costs a term.
const LONG: Duration = Duration::from_secs(30);

/// Starts that many nodes in the same instant.
fn start_at_once(config: &ConfigBuilder, count: usize) -> Vec<Node> {
    let (line, nodes) = (Barrier::new(count), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for number in 0..count {
            let config = config.clone().node_id(format!("node-{number}")).build().expect("valid");
            let (line, nodes) = (&line, &nodes);
            scope.spawn(move || {
                line.wait();
                nodes.lock().unwrap().push(Node::start(config).expect("the server is there"));
            });
        }
    });
    nodes.into_inner().unwrap()
}

fn stop_at_once(nodes: Vec<Node>) {
    thread::scope(|scope| {
        for node in nodes {
            scope.spawn(move || node.stop());
        }
    });
}

/// Returns the one that leads when all name it, under the epoch that they all know.
#[track_caller]
fn agreed(nodes: &[Node], epoch: u64) -> &Node {
    let knows = |node: &Node| node.epoch().map(leasehold::Epoch::as_u64) == Some(epoch);
    eventually(PATIENCE, "all to know of the epoch", || nodes.iter().all(knows));
    let leader = nodes.iter().find(|node| node.is_leader()).expect("a leader");
    let name = leader.config().node_id();
    eventually(PATIENCE, "all to agree", || {
        nodes.iter().all(|node| node.leader().as_deref() == Some(name))
    });
    let terms: u64 = nodes.iter().map(|node| node.stats().terms).sum();
    assert_eq!(terms, epoch, "one term an epoch");
    leader
}

on_both_servers!(one_of_twenty_nodes_started_at_once_leads_each_time, |version| {
    let server = NatsServer::start(version);
    for round in 0..20 {
        let cluster = config(&server.url()).cluster_id(format!("round-{round}")).lease_ttl(LONG);
        let nodes = start_at_once(&cluster, 20);
        agreed(&nodes, 1).step_down().expect("it leads");
        agreed(&nodes, 2);
        stop_at_once(nodes);
    }
});

/// The messages that each node's connection has sent so far, as the server counts them.
fn sent(server: &NatsServer) -> BTreeMap<String, u64> {
    let connections = server.monitor().connz();
    let connections = connections["connections"].as_array().expect("a list").iter();
    let mut sent = BTreeMap::new();
    for connection in connections {
        let name = connection["name"].as_str().unwrap_or_default().to_owned();
        let count = connection["in_msgs"].as_u64().expect("a count");
        assert_eq!(sent.insert(name.clone(), count), None, "two connections of {name}");
    }
    sent
}

/// The messages sent within some ten seconds, by node; `None` when the machine was too busy.
fn quiet_window(server: &NatsServer, nodes: &[Node]) -> Option<(u64, BTreeMap<String, u64>)> {
    let disturbances = || -> u64 {
        let stats = nodes.iter().map(|node| node.stats());
        stats.map(|s| s.unknown_outcomes + s.terms + s.lost_races + s.reconnects).sum()
    };
    let renewals = || nodes.iter().map(|node| node.stats().renewals).sum::<u64>();
    let (before, renewed, disturbed) = (sent(server), renewals(), disturbances());
    sleep(Duration::from_secs(10));
    let (after, renewed) = (sent(server), renewals() - renewed);
    let difference = |(name, count): (String, u64)| {
        let earlier = before.get(&name).copied().unwrap_or(0);
        (name, count - earlier)
    };
    let spent = after.into_iter().map(difference).collect();
    (disturbances() == disturbed).then_some((renewed, spent))
}

on_both_servers!(a_renewal_costs_one_message_and_followers_send_almost_none, |version| {
    let server = NatsServer::start(version);
    let (ttl, interval) = (Duration::from_secs(3), Duration::from_millis(750));
    let cluster = config(&server.url()).lease_ttl(ttl).renew_interval(interval);
    let nodes = start_at_once(&cluster, 6);
    eventually(PATIENCE, "a leader", || nodes.iter().any(|node| node.is_leader()));
    let (renewals, spent) = (0..5).find_map(|_| quiet_window(&server, &nodes)).expect("some quiet");
    let leader = nodes.iter().find(|node| node.is_leader()).expect("a leader");
    let leader = format!("leasehold/orders/{}", leader.config().node_id());
    assert_eq!(spent.len(), nodes.len(), "one connection a node: {spent:?}");
    for (name, messages) in &spent {
        if *name == leader {
            // One may be under way at either edge of the window.
            assert!(messages.abs_diff(renewals) <= 1, "{renewals} renewals: {spent:?}");
        } else {
            // Two confirming reads fit into a little more than 3·D, each of two questions.
            assert!(*messages <= 4, "{name}: {spent:?}");
        }
    }
    let all: u64 = spent.values().sum();
    println!("measured: {all} messages in 10 s of {renewals} renewals and 5 followers");
});

/// The next notice: its subject, the record's revision, and the record.
fn overhear(witness: &Client) -> (String, u64, Value) {
    let notices = witness.subscribe("cluster.orders.kv.>");
    let notice = notices.next(PATIENCE).expect("a renewal is noticed");
    let revision = notice.header("Nats-Sequence").and_then(|text| text.parse().ok());
    (notice.subject.clone(), revision.expect("a revision"), notice.json())
}

fn held_by_a_thief(record: &Value) -> String {
    let mut record = record.clone();
    record["node_id"] = "thief".into();
    record["session"] = "0123456789abcdef0123456789abcdef".into();
    record.to_string()
}

fn released_by_its_holder(record: &Value) -> String {
    let mut record = record.clone();
    record["node_id"] = "".into();
    record["clean"] = true.into();
    record["n"] = json!(record["n"].as_u64().expect("a number") + 1);
    record.to_string()
}

on_both_servers!(forged_notices_neither_depose_nor_stall, |version| {
    let server = NatsServer::start(version);
    let ttl = Duration::from_secs(4);
    let mut nodes = Nodes::started(config(&server.url()).lease_ttl(ttl), &["a"]);
    nodes[0].became();
    nodes.start("b");
    nodes.start("c");
    nodes.agree_on(0);
    let witness = Client::connect(&server.url());
    let bucket = Bucket::of_cluster(&witness, "orders");
    for _ in 0..10 {
        let (subject, revision, record) = overhear(&witness);
        bucket.forge_notice(&subject, "lease", u64::MAX, held_by_a_thief(&record));
        bucket.forge_notice(&subject, "lease", revision + 1, held_by_a_thief(&record));
        bucket.forge_notice(&subject, "lease", revision + 2, released_by_its_holder(&record));
        bucket.forge_notice(&subject, "lease", revision + 3, "garbage");
    }
    assert!(nodes[0].leads());
    nodes.agree_on(0);
    assert_eq!(nodes[0].told("lost"), 0);
    assert_eq!(nodes[0].status()["epoch"], 1);
    kill_amid_lies(&mut nodes, &witness);
});

/// The leader dies, while forged notices claim that it, or another node, still leads.
fn kill_amid_lies(nodes: &mut Nodes, witness: &Client) {
    let (subject, revision, record) = overhear(witness);
    let bucket = Bucket::of_cluster(witness, "orders");
    let enough = AtomicBool::new(false);
    nodes[0].kill();
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in revision + 1.. {
                let body = [record.to_string(), held_by_a_thief(&record)];
                bucket.forge_notice(&subject, "lease", number, &body[usize::from(number % 2 == 0)]);
                sleep(Duration::from_millis(50));
                if enough.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        let begun = Instant::now();
        let leader = nodes.leader();
        println!("measured: {:?} to the next leader amid lies, TTL 4 s", begun.elapsed());
        enough.store(true, Ordering::SeqCst);
        assert_eq!(nodes[leader].became().epoch, 2);
    });
}

on_both_servers!(fifty_starts_and_stops_leave_no_thread_and_no_descriptor, |version| {
    alone(|| {
        let server = NatsServer::start(version);
        start_and_stop_nodes(&server.url());
        let connections = || server.monitor().varz()["connections"].as_u64();
        eventually(PATIENCE, "the connections to end", || connections() == Some(0));
    });
});

fn start_and_stop_nodes(url: &str) {
    let count = |folder| fs::read_dir(folder).expect("Linux").count();
    let counts = || (count("/proc/self/task"), count("/proc/self/fd"));
    let cycle = || {
        let node = Node::start(config(url).node_id("a").build().expect("valid"));
        let node = node.expect("the server is there");
        node.wait_for_leadership(PATIENCE).expect("alone, or after a release");
        assert!(!node.stop().left_to_expire);
        counts()
    };
    // The first round makes the things that are made once and kept.
    let at_first = (0..5).map(|_| cycle()).min().expect("some");
    let most = (0..50).map(|_| cycle()).max().expect("some");
    println!("measured: {at_first:?} threads and descriptors at first, {most:?} at most");
    eventually(PATIENCE, "leftovers to go", || counts() <= at_first);
}
