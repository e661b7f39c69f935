//! The election end to end: nodes that are processes of their own, on both servers.

use std::thread::sleep;
use std::time::Duration;

use crate::nodes::{Nodes, PATIENCE, config, measured, millis_between, nanos};
use crate::support::nats::Client;
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::eventually;

const NAMES: [&str; 3] = ["a", "b", "c"];

on_both_servers!(a_node_starts_passive_and_knows_nothing_before_it_is_connected, |version| {
    let mut server = NatsServer::builder(version).prepare();
    let disconnected = config(&server.url()).start_disconnected(true);
    let mut nodes = Nodes::started(disconnected, &["a"]);
    let status = nodes[0].status();
    assert_eq!(status["role"], "follower");
    assert!(status["leader"].is_null() && status["epoch"].is_null(), "{status}");
    assert_eq!(status["connected"], false);
    server.launch();
    server.wait_until_ready();
    assert_eq!(nodes[0].became().epoch, 1);
    assert_eq!(nodes[0].status()["connected"], true);
});

on_both_servers!(the_lead_is_kept_and_its_epoch_unchanged, |version| {
    let server = NatsServer::start(version);
    let ttl = Duration::from_secs(3);
    let mut nodes = Nodes::started(config(&server.url()).lease_ttl(ttl), &NAMES);
    let leader = nodes.leader();
    sleep(Duration::from_secs(5));
    assert!(nodes[leader].leads());
    for node in nodes.iter_mut() {
        assert_eq!(node.status()["epoch"], 1);
    }
    let renewals = nodes[leader].count("renewals");
    assert!(renewals >= 5, "{renewals} renewals in 5 s, one is due every 0.5 s");
});

on_both_servers!(a_step_down_fails_over_and_the_cooldown_holds_the_old_leader_back, |version| {
    let server = NatsServer::start(version);
    let ttl = Duration::from_secs(5);
    let mut nodes = Nodes::started(config(&server.url()).lease_ttl(ttl), &["a"]);
    assert_eq!(nodes[0].became().epoch, 1);
    nodes.start("b");
    nodes.agree_on(0);
    assert_eq!((nodes[0].told("hook_became"), nodes[0].told("hook_lost")), (1, 0));

    let asked = nodes[0].order("step_down")["asked"].as_u64().expect("a moment");
    assert_eq!(nodes[0].lost().cause, "resigned: step-down");
    assert_eq!(nodes[1].became().epoch, 2);
    nodes.agree_on(1);
    assert_eq!((nodes[0].told("hook_became"), nodes[0].told("hook_lost")), (1, 1));

    // Only the node in its cooldown is left.
    assert!(!nodes[1].stop(), "connected, and so released");
    let again = nodes[0].became();
    assert_eq!(again.epoch, 3);
    assert!(again.challenged >= asked + nanos(ttl), "the cooldown is one TTL");
});

// Every hand-over needs three hops: release, notice, challenge. A challenge by revision alone would
// not be safe before a read; the release's name makes it safe.
on_both_servers!(a_release_is_taken_over_by_its_name_before_it_is_read, |version| {
    let server = NatsServer::start(version);
    let mut nodes = Nodes::started(config(&server.url()).cluster_id("named"), &["a"]);
    nodes[0].became();
    nodes.start("b");
    nodes.agree_on(0);
    let client = Client::connect(&server.url());
    let writes = client.subscribe("$KV.cluster-named.lease");
    client.round_trip().expect("subscribed");
    nodes[0].order("step_down");
    assert_eq!(nodes[1].became().epoch, 2);
    let mut written = std::iter::from_fn(|| writes.next(PATIENCE));
    let name = written.find_map(|write| write.header("Nats-Msg-Id").map(str::to_owned));
    let name = name.expect("a release");
    assert!(name.starts_with("release."), "{name}");
    let challenge = written.next().expect("a challenge");
    assert_eq!(challenge.header("Nats-Expected-Last-Msg-Id"), Some(name.as_str()));
    assert_eq!(challenge.json()["epoch"], 2);
});

on_both_servers!(fifty_step_downs_in_a_row_hand_over_with_the_next_epoch, |version| {
    let server = NatsServer::start(version);
    let quick = config(&server.url()).cooldown(Duration::ZERO);
    let mut nodes = Nodes::started(quick, &["a"]);
    assert_eq!(nodes[0].became().epoch, 1);
    nodes.start("b");
    nodes.agree_on(0);
    let mut handovers = Vec::new();
    for epoch in 2..=51 {
        let (old, new) = (epoch % 2, (epoch + 1) % 2);
        let asked = nodes[old].order("step_down")["asked"].as_u64().expect("a moment");
        let win = nodes[new].became();
        assert_eq!(win.epoch, epoch as u64);
        handovers.push(millis_between(asked, win.at));
    }
    measured(&format!("handover by step-down, {version:?}"), handovers);
});

on_both_servers!(a_killed_leader_is_followed_a_ttl_after_its_last_renewal, |version| {
    let server = NatsServer::start(version);
    let ttl = Duration::from_secs(3);
    let mut beyond = Vec::new();
    for round in 0..3 {
        let cluster = config(&server.url()).cluster_id(format!("round-{round}")).lease_ttl(ttl);
        let mut nodes = Nodes::started(cluster, &["a"]);
        let first = nodes[0].became();
        nodes.start("b");
        nodes.agree_on(0);
        let deadline = nodes[0].last_deadline();
        // One that the other is there to see.
        eventually(PATIENCE, "a renewal", || {
            nodes[0].leads() && nodes[0].last_deadline() > deadline
        });
        nodes[0].kill();
        // It was sent a validity before the deadline that it gave, and seen after that.
        let renewed = nodes[0].last_deadline() - nodes[0].validity();
        assert!(renewed >= first.challenged);
        let next = nodes[1].became();
        assert!(next.epoch > first.epoch);
        let due = renewed + nanos(ttl);
        assert!(next.challenged >= due, "{} ms early", millis_between(next.challenged, due));
        beyond.push(millis_between(due, next.at));
    }
    assert!(beyond.iter().all(|late| *late < 10_000.0), "{beyond:?} ms late");
    measured(&format!("SIGKILL to next leader, beyond one TTL, {version:?}"), beyond);
});

on_both_servers!(the_epoch_goes_on_after_all_were_down, |version| {
    let mut server = NatsServer::start(version);
    let ttl = Duration::from_secs(1);
    let cluster = config(&server.url()).lease_ttl(ttl).renew_interval(Duration::from_millis(300));
    let mut nodes = Nodes::started(cluster, &["a", "b"]);
    nodes.agree();
    nodes.kill_all();
    server.kill();
    sleep(3 * ttl);
    server.restart();
    let highest = nodes.highest_epoch();
    let third = nodes.start("c");
    assert_eq!(nodes[third].became().epoch, highest + 1);
    nodes[third].stop();
    sleep(3 * ttl);
    let highest = nodes.highest_epoch();
    let fourth = nodes.start("d");
    assert_eq!(nodes[fourth].became().epoch, highest + 1);
});

on_both_servers!(one_of_two_processes_with_one_id_leads_and_the_duplicate_is_reported, |version| {
    let server = NatsServer::start(version);
    let mut nodes = Nodes::started(config(&server.url()), &["a"]);
    nodes[0].became();
    nodes.start("a");
    nodes[1].next("duplicate");
    assert!(nodes[0].leads() && !nodes[1].leads());
    nodes[0].order("step_down");
    assert_eq!(nodes[1].became().epoch, 2);
    nodes[0].next("duplicate");
});

on_both_servers!(a_stopped_node_leaves_no_connection_behind, |version| {
    let server = NatsServer::start(version);
    let mut nodes = Nodes::started(config(&server.url()), &NAMES);
    nodes.leader();
    let witness = Client::connect(&server.url());
    let connections = || server.monitor().varz()["connections"].as_u64();
    assert_eq!(connections(), Some(4), "one for each node, and the witness");
    for node in nodes.iter_mut() {
        assert!(!node.stop());
    }
    eventually(PATIENCE, "the connections to end", || connections() == Some(1));
    assert!(witness.is_connected());
});
