//! Stopped processes, silent wires and servers that come and go.

use std::thread::sleep;
use std::time::{Duration, Instant};

use leasehold::config::ConfigBuilder;

use crate::nodes::process::Win;
use crate::nodes::{Nodes, PATIENCE, config, measured, millis_between, nanos};
use crate::support::proxy::{Direction, Proxy};
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::eventually;

const TTL: Duration = Duration::from_secs(3);
/// What a loaded machine may add to a bound; without load it is some milliseconds.
const GRACE: Duration = Duration::from_secs(3);

/// A leader at 0 behind a wire with faults, and a follower at 1 that is not.
struct Scene {
    nodes: Nodes,
    proxy: Proxy,
    first: Win,
    _server: NatsServer,
}

impl Scene {
    fn new(version: Version) -> Self {
        Self::with(version, |config| config.lease_ttl(TTL))
    }

    fn with(version: Version, change: impl Fn(ConfigBuilder) -> ConfigBuilder) -> Self {
        let server = NatsServer::start(version);
        let proxy = Proxy::start(server.address());
        let config = change(config(&server.url()));
        let mut nodes = Nodes::new(config.clone());
        nodes.start_as(config.node_id("a").servers([proxy.url()]));
        let first = nodes[0].became();
        nodes.start("b");
        nodes.agree_on(0);
        Self { nodes, proxy, first, _server: server }
    }

    /// The leader is deposed at its deadline and not before, without being told by anybody, and
    /// without `is_leader()` ever waiting; the other one follows. How late it was told, in ms.
    fn leader_loses_by_its_clock(&mut self) -> f64 {
        let loss = self.nodes[0].lost();
        assert_eq!(loss.cause, "expired: no renewal succeeded in time");
        assert_eq!(loss.epoch, self.first.epoch);
        let deadline = self.nodes[0].last_deadline();
        assert!(loss.at >= deadline, "before the deadline");
        assert!(loss.at <= deadline + nanos(GRACE), "long after the deadline");
        assert!(self.nodes[1].became().epoch > self.first.epoch);
        let slowest = self.nodes[0].count("slowest_is_leader");
        assert!(slowest < nanos(Duration::from_secs(1)), "is_leader() took {slowest} ns");
        millis_between(deadline, loss.at)
    }

    /// Everything is well again: all agree on one leader.
    fn heals(&mut self) {
        self.nodes.agree();
        assert_eq!(self.nodes[0].status()["connected"], true);
    }
}

on_both_servers!(a_leader_stopped_for_three_ttls_answers_no_when_it_goes_on, |version| {
    let server = NatsServer::start(version);
    let mut nodes = Nodes::started(config(&server.url()).lease_ttl(TTL), &["a"]);
    nodes[0].became();
    nodes.start("b");
    nodes.agree_on(0);
    assert!(nodes[0].leads());
    nodes[0].pause();
    sleep(3 * TTL);
    assert_eq!(nodes[1].became().epoch, 2);
    nodes[0].resume();
    assert!(!nodes[0].answer_after_gap(2 * TTL), "the first answer is no");
    assert_eq!(nodes[0].lost().epoch, 1);
    nodes.agree();
});

on_both_servers!(a_frozen_link_deposes_the_leader_at_its_deadline, |version| {
    let mut scene = Scene::new(version);
    scene.proxy.freeze();
    let late = scene.leader_loses_by_its_clock();
    measured(&format!("LostLeadership after the deadline, {version:?}"), vec![late]);
    scene.proxy.thaw();
    scene.heals();
});

on_both_servers!(a_leader_that_cannot_be_heard_loses_by_its_clock, |version| {
    let mut scene = Scene::new(version);
    scene.proxy.freeze_only(Direction::ToServer);
    scene.leader_loses_by_its_clock();
    scene.proxy.thaw();
    scene.heals();
});

// Its renewals are stored, but it does not know.
on_both_servers!(a_leader_that_hears_nothing_loses_by_its_clock, |version| {
    let mut scene = Scene::new(version);
    scene.proxy.freeze_only(Direction::ToClient);
    scene.leader_loses_by_its_clock();
    scene.proxy.thaw();
    scene.heals();
});

on_both_servers!(a_cut_connection_does_not_cost_the_term, |version| {
    let mut scene = Scene::with(version, |config| config.lease_ttl(Duration::from_secs(10)));
    for cuts in 1..=3 {
        let renewals = scene.nodes[0].count("renewals");
        scene.proxy.cut();
        eventually(PATIENCE, "another connection", || scene.nodes[0].count("reconnects") >= cuts);
        eventually(PATIENCE, "a renewal", || scene.nodes[0].count("renewals") > renewals);
    }
    assert!(scene.nodes[0].leads());
    assert_eq!((scene.nodes[0].told("lost"), scene.nodes[0].told("disconnected")), (0, 3));
});

on_both_servers!(an_unreachable_leader_loses_and_comes_back, |version| {
    let mut scene = Scene::new(version);
    scene.proxy.refuse();
    scene.proxy.cut();
    scene.leader_loses_by_its_clock();
    assert_eq!(scene.nodes[0].status()["connected"], false);
    scene.proxy.accept();
    eventually(PATIENCE, "a connection", || scene.nodes[0].status()["connected"] == true);
    scene.heals();
});

// A write is answered within the request timeout of 0.5 s, a read, which asks twice, is not.
on_both_servers!(a_slow_wire_does_not_cost_the_term, |version| {
    let (ttl, interval) = (Duration::from_secs(10), Duration::from_millis(1_500));
    let mut scene = Scene::with(version, |config| config.lease_ttl(ttl).renew_interval(interval));
    scene.proxy.delay(Direction::ToServer, Duration::from_millis(170));
    scene.proxy.delay(Direction::ToClient, Duration::from_millis(170));
    scene.proxy.cut();
    eventually(PATIENCE, "another connection", || scene.nodes[0].count("reconnects") > 0);
    let renewals = scene.nodes[0].count("renewals");
    eventually(PATIENCE, "five renewals", || scene.nodes[0].count("renewals") >= renewals + 5);
    assert_eq!(scene.nodes[0].told("lost"), 0);
});

on_both_servers!(a_stop_behind_a_frozen_link_returns_and_lets_the_lease_lapse, |version| {
    let bound = Duration::from_millis(500);
    let mut scene = Scene::with(version, |config| config.lease_ttl(TTL).stop_timeout(bound));
    scene.proxy.freeze();
    let begun = Instant::now();
    assert!(scene.nodes[0].stop(), "nothing can be released");
    assert!(begun.elapsed() < bound + GRACE);
    assert_eq!(scene.nodes[1].became().epoch, 2);
});

on_both_servers!(a_term_survives_a_restart_of_the_server_and_not_a_longer_absence, |version| {
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

    server.kill();
    let loss = nodes[0].lost();
    assert!(loss.at >= nodes[0].last_deadline());
    assert_eq!(loss.cause, "expired: no renewal succeeded in time");
    server.restart();
    let leader = nodes.leader();
    assert_eq!(nodes[leader].became().epoch, 2);
    nodes.agree_on(leader);
});

on_both_servers!(a_server_that_hangs_costs_the_term_and_nothing_else, |version| {
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
    assert!(nodes.highest_epoch() > loss.epoch);
});
