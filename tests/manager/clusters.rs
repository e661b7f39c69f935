//! Two buckets of one name: a leaf node without a domain makes one of its own. Its daemons and
//! those of the hub hear each other, and say that there are two clusters.

use std::time::Duration;

use crossbeam_channel::Receiver;
use leasehold::manager::{Manager, WatchEvent};
use serde_json::json;

use crate::daemons::{Daemon, PATIENCE, config, operator, telling};
use crate::support::nats::Client;
use crate::support::port::Port;
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::{eventually, eventually_some};

/// How long all nodes have to answer a command.
const LISTEN: Duration = Duration::from_millis(500);
/// Nodes ask each other every 30 s.
const TWO_ROUNDS: Duration = Duration::from_secs(60 + 30);

/// A hub, and a leaf node that is connected to it. Both have JetStream, and neither has a domain.
fn hub_and_leaf(version: Version) -> [NatsServer; 2] {
    let port = Port::reserve();
    let listen = format!("leafnodes {{ listen: \"{}\" }}", port.address());
    let hub = NatsServer::builder(version).name("hub").config(&listen).start();
    let remote = format!("leafnodes {{ remotes: [ {{ url: \"nats://{}\" }} ] }}", port.address());
    let leaf = NatsServer::builder(version).name("leaf").config(&remote).start();
    eventually(PATIENCE, "the leaf to be connected", || {
        leaf.monitor().json("/leafz")["leafnodes"] == 1
    });
    [hub, leaf]
}

fn daemon(server: &NatsServer, node: &str) -> (Daemon, Receiver<String>) {
    let (hooks, told) = telling();
    let config = config(&server.url(), node).build().expect("valid");
    (Daemon::start(Manager::builder(config).hooks(hooks)), told)
}

/// Waits until a daemon has told that the other one is in another bucket.
#[track_caller]
fn told_of(told: &Receiver<String>, other: &str) {
    let line = format!("mismatch {other}");
    eventually(TWO_ROUNDS, &line, || told.try_iter().any(|said| said == line));
}

on_both_servers!(a_leaf_node_without_a_domain_is_told_to_be_a_second_cluster, |version| {
    let [hub, leaf] = hub_and_leaf(version);
    let (one, told_one) = daemon(&hub, "node-1");
    let first = one.leads();
    let (two, told_two) = daemon(&leaf, "node-2");
    // That is the fault: it leads beside the other.
    let second = two.leads();
    told_of(&told_two, "node-1");
    told_of(&told_one, "node-2");
    for (daemon, other) in [(&one, "node-2"), (&two, "node-1")] {
        let warnings = daemon.node().status().warnings;
        let says = format!("two clusters: {other} uses a bucket created at ");
        assert!(warnings.iter().any(|warning| warning.starts_with(&says)), "{warnings:?}");
    }
    for server in [&hub, &leaf] {
        let operator = operator(&server.url(), "node-1");
        let view = operator.query_all(LISTEN, PATIENCE).expect("both answer");
        let problem = view.problem.expect("two clusters");
        assert!(problem.starts_with("two clusters: the bucket created at "), "{problem}");
        assert!(problem.contains("has node-1") && problem.contains("has node-2"), "{problem}");
        let mut watch = operator.watch(Duration::from_millis(200)).expect("it starts");
        eventually(PATIENCE, "a view of two clusters", || match watch.next_timeout(LISTEN) {
            Some(WatchEvent::View(view)) => {
                view.problem.is_some_and(|problem| problem.starts_with("two clusters"))
            }
            _ => false,
        });
    }
    assert!(first.is_valid() && second.is_valid(), "nothing follows for the lead");
});

/// Anyone may answer the question. That comes to one report for each question.
#[test]
fn forged_answers_cause_a_report_and_nothing_else() {
    let server = NatsServer::start(Version::Newest);
    let forger = Client::connect(&server.url());
    let questions = forger.subscribe("cluster.orders.health");
    let (daemon, told) = daemon(&server, "node-1");
    let term = daemon.leads();
    let question = questions.next(PATIENCE).expect("it asks once it knows its bucket");
    let reply = question.reply.expect("a reply subject");
    assert_eq!(question.body, b"");
    let health_of =
        |node: &str, bucket: &str| json!({ "nodeId": node, "bucket": bucket }).to_string();
    for round in 0..100 {
        forger.publish(&reply, "garbage");
        forger.publish(&reply, health_of("evil", &format!("bucket {round}")));
        forger.publish(&reply, vec![b'['; 100_000]);
    }
    told_of(&told, "evil");
    let renewals = || daemon.node().stats().renewals;
    let before = renewals();
    eventually(PATIENCE, "further renewals", || renewals() > before + 2);
    assert!(term.is_valid());
    assert_eq!(daemon.node().status().warnings.len(), 1);
    // An answer to an earlier question does not count.
    let next = questions.next(TWO_ROUNDS).and_then(|question| question.reply);
    let next = next.expect("the next question");
    assert_ne!(next, reply);
    forger.publish(&reply, health_of("late", "another"));
    forger.publish(&next, health_of("new", "another"));
    let lines = eventually_some(PATIENCE, "the next report", || {
        let lines: Vec<_> = told.try_iter().filter(|line| line.starts_with("mismatch")).collect();
        Some(lines).filter(|lines| !lines.is_empty())
    });
    assert_eq!(lines, ["mismatch new"]);
    assert!(term.is_valid() && renewals() > before);
}
