//! Outages that a term survives: reset connections, a slow link, a restart of the server. The fault
//! matrix has those that end it; a hanging server is here.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use leasehold::config::ConfigBuilder;
use leasehold::{Config, Event, Node};

use crate::nodes::{Nodes, PATIENCE, config};
use crate::support::proxy::{Direction, Proxy};
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::eventually;

const TTL: Duration = Duration::from_secs(3);
/// The time that a loaded machine may add to a bound; without load it is some milliseconds.
const GRACE: Duration = Duration::from_secs(3);

/// A leader at 0 behind a wire with faults, and a follower at 1 that is not.
struct Scene {
    nodes: Nodes,
    proxy: Proxy,
    _server: NatsServer,
}

impl Scene {
    fn new(version: Version, change: impl Fn(ConfigBuilder) -> ConfigBuilder) -> Self {
        let server = NatsServer::start(version);
        let proxy = Proxy::start(server.address());
        let config = change(config(&server.url()));
        let mut nodes = Nodes::new(config.clone());
        nodes.start_as(config.node_id("a").servers([proxy.url()]));
        nodes[0].became();
        nodes.start("b");
        nodes.agree_on(0);
        Self { nodes, proxy, _server: server }
    }
}

on_both_servers!(a_cut_connection_does_not_cost_the_term, |version| {
    let mut scene = Scene::new(version, |config| config.lease_ttl(Duration::from_secs(10)));
    for cuts in 1..=3 {
        let renewals = scene.nodes[0].count("renewals");
        scene.proxy.cut();
        eventually(PATIENCE, "another connection", || scene.nodes[0].count("reconnects") >= cuts);
        eventually(PATIENCE, "a renewal", || scene.nodes[0].count("renewals") > renewals);
    }
    assert!(scene.nodes[0].leads());
    assert_eq!((scene.nodes[0].told("lost"), scene.nodes[0].told("disconnected")), (0, 3));
});

// A write is answered within the request timeout of 0.5 s, a read, which asks twice, is not.
on_both_servers!(a_slow_wire_does_not_cost_the_term, |version| {
    let (ttl, interval) = (Duration::from_secs(10), Duration::from_millis(1_500));
    let mut scene = Scene::new(version, |config| config.lease_ttl(ttl).renew_interval(interval));
    scene.proxy.delay(Direction::ToServer, Duration::from_millis(170));
    scene.proxy.delay(Direction::ToClient, Duration::from_millis(170));
    scene.proxy.cut();
    eventually(PATIENCE, "another connection", || scene.nodes[0].count("reconnects") > 0);
    let renewals = scene.nodes[0].count("renewals");
    eventually(PATIENCE, "five renewals", || scene.nodes[0].count("renewals") >= renewals + 5);
    assert_eq!(scene.nodes[0].told("lost"), 0);
});

on_both_servers!(a_stop_behind_a_frozen_link_returns_and_lets_the_lease_expire, |version| {
    let bound = Duration::from_millis(500);
    let mut scene = Scene::new(version, |config| config.lease_ttl(TTL).stop_timeout(bound));
    scene.proxy.freeze();
    let begun = Instant::now();
    assert!(scene.nodes[0].stop(), "nothing can be released");
    assert!(begun.elapsed() < bound + GRACE);
    assert_eq!(scene.nodes[1].became().epoch, 2);
});

on_both_servers!(a_term_survives_a_restart_of_the_server, |version| {
    let mut server = NatsServer::start(version);
    let ttl = Duration::from_secs(8);
    let mut nodes = Nodes::started(config(&server.url()).lease_ttl(ttl), &["a"]);
    nodes[0].became();
    nodes.start("b");
    nodes.agree_on(0);

    let renewals = nodes[0].count("renewals");
    server.restart();
    eventually(PATIENCE, "a renewal", || nodes[0].count("renewals") > renewals);
    assert!(nodes[0].leads());
    assert_eq!((nodes[0].told("lost"), &nodes[0].status()["epoch"]), (0, &1.into()));
});

/// A server that closes every connection, and how many it has closed.
fn closing_server() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("nats://{}", listener.local_addr().expect("an address"));
    let closed = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&closed);
    // Ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (url, closed)
}

#[test]
fn an_outage_of_all_servers_is_told_once_and_names_each() {
    let servers = [(); 3].map(|()| closing_server());
    let urls = servers.each_ref().map(|(url, _)| url.clone());
    let config = Config::builder("orders", "a", urls.clone())
        .start_disconnected(true)
        .reconnect_wait(Duration::from_millis(10));
    let node = Node::start(config.build().expect("valid")).expect("it starts anyway");
    let rounds = || servers.iter().map(|(_, closed)| closed.load(Ordering::SeqCst)).min();
    eventually(PATIENCE, "ten rounds", || rounds() >= Some(10));
    let told: Vec<_> = std::iter::from_fn(|| node.events().try_next()).collect();
    let [Event::Disconnected { error }] = &told[..] else { panic!("{told:?}") };
    let error = error.to_string();
    for url in &urls {
        assert!(error.contains(&format!("{url} (no INFO: it closed the connection")), "{error}");
    }
}

on_both_servers!(a_hanging_server_costs_only_the_term, |version| {
    let server = NatsServer::start(version);
    let mut nodes = Nodes::started(config(&server.url()).lease_ttl(TTL), &["a"]);
    nodes[0].became();
    nodes.start("b");
    nodes.agree_on(0);
    server.pause();
    let loss = nodes[0].lost();
    assert!(loss.at >= nodes[0].last_deadline());
    sleep(2 * TTL);
    server.resume();
    nodes.agree();
    // The log may come later than the status.
    eventually(PATIENCE, "a later term", || nodes.highest_epoch() > loss.epoch);
});
