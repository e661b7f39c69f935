//! The whole of it: hosts with a node and virtual IPs each, a NATS server, and a client.
//!
//! Five hosts on a bridge: three with a node and a service behind the virtual IP, one with the NATS
//! server, one with a client that asks the service all the time. The leader steps down, is killed,
//! is stopped, loses all of its network, and then only the path to the server.

mod client;
mod history;
pub(crate) mod member;
mod witness;

use std::time::Duration;

use client::Client;
use history::History;
use leasehold::config::ConfigBuilder;
use serde_json::Value;
use witness::{Witness, add_controls};

use crate::netns::{Lab, ip, isolated, plug, unplug};
use crate::nodes::{NodeProcess, Nodes, PATIENCE, millis_between, now};
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::{eventually, eventually_some};

/// The nodes' names: the first is on host 10.0.0.1, and so on.
const NAMES: [&str; 3] = ["first", "second", "third"];
/// The number of the host with the NATS server.
const SERVER: usize = 4;
/// The number of the host with the client.
const CLIENT: usize = 5;
/// A hardware address that no host has.
const NOWHERE: &str = "02:00:00:00:00:99";

#[test]
fn requests_are_served_by_the_leader_alone_whatever_happens_to_it() {
    isolated(|| {
        let mut scene = Scene::new();
        scene.step_down();
        scene.kill();
        scene.stop_and_continue();
        scene.cut_off();
        scene.cut_off_from_the_server();
        scene.check();
    });
}

/// A TTL for which the kernel's lifetimes work: two seconds, renewed every half.
fn config(url: &str) -> ConfigBuilder {
    let (half, quarter) = (Duration::from_millis(500), Duration::from_millis(250));
    let config = crate::nodes::config(url).lease_ttl(Duration::from_secs(6));
    let config = config.renew_interval(half).request_timeout(quarter);
    let built = config.clone().build().unwrap();
    built.timing().check_virtual_ip().unwrap();
    config
}

struct Scene {
    nodes: Nodes,
    config: ConfigBuilder,
    client: Client,
    witness: Witness,
    _server: NatsServer,
    lab: Lab<5>,
    /// The place of the node that leads.
    leader: usize,
}

/// How the lead went from one node to another.
struct Handover {
    from: usize,
    /// When the leader was struck.
    struck: u64,
    /// When the next one sent its challenge.
    challenged: u64,
    gap: f64,
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::<5>::new();
        let host = &lab.hosts[SERVER - 1];
        let namespace = host.namespace().to_owned();
        let server =
            host.run(move || NatsServer::builder(Version::Newest).namespace(&namespace).start());
        let config = config(&format!("nats://10.0.0.{SERVER}:{}", server.address().port()));
        let mut nodes = Nodes::new(config.clone());
        for (host, name) in lab.hosts.iter().zip(NAMES) {
            start(&mut nodes, &config, host.namespace(), name);
        }
        let witness = Witness::start(&lab.hosts[..NAMES.len()]);
        let client = Client::start(&lab.hosts[CLIENT - 1]);
        let leader = nodes.leader();
        nodes[leader].became();
        client.served_by(nodes[leader].name());
        nodes.agree_on(leader);
        Self { nodes, config, client, witness, _server: server, lab, leader }
    }

    fn step_down(&mut self) {
        let handover = self.strike(|scene, leader| {
            scene.nodes[leader].order("step_down");
        });
        self.tell("step-down", &handover);
        // The next node need not wait until the lease expires.
        assert!(handover.gap < 3_000.0, "{}", handover.gap);
    }

    fn kill(&mut self) {
        let handover = self.crash(|scene, leader| scene.nodes[leader].kill());
        self.tell("SIGKILL", &handover);
        self.gone_before_the_challenge(&handover);
        let name = self.nodes[handover.from].name().to_owned();
        let namespace = self.lab.hosts[host_of(&name)].namespace();
        start(&mut self.nodes, &self.config, namespace, &name);
        self.nodes.agree_on(self.leader);
    }

    fn stop_and_continue(&mut self) {
        let handover = self.crash(|scene, leader| scene.nodes[leader].pause());
        self.tell("SIGSTOP", &handover);
        self.gone_before_the_challenge(&handover);
        let stopped = &mut self.nodes[handover.from];
        let declined = stopped.told("declined");
        stopped.resume();
        eventually(PATIENCE, "what was asked meanwhile to be declined", || {
            stopped.status();
            stopped.told("declined") > declined
        });
        self.nodes.agree_on(self.leader);
        let late = self.nodes[handover.from].events().iter();
        let late = late.filter(|event| event["event"] == "declined" && event["sent"] == true);
        let late = late.filter(|event| event["at"].as_u64() > Some(handover.challenged));
        assert_eq!(late.count(), 0, "there is no address to send from any more");
    }

    fn cut_off(&mut self) {
        let handover = self.crash(|scene, leader| {
            unplug(1 + host_of(scene.nodes[leader].name()));
        });
        self.tell("cut off from everything", &handover);
        self.gone_before_the_challenge(&handover);
        plug(1 + host_of(self.nodes[handover.from].name()));
        self.nodes.agree_on(self.leader);
    }

    fn cut_off_from_the_server(&mut self) {
        let handover = self.crash(|scene, leader| {
            let host = 1 + host_of(scene.nodes[leader].name());
            scene.lose_frames(host, SERVER);
            scene.lose_frames(SERVER, host);
        });
        self.tell("cut off from the server alone", &handover);
        self.gone_before_the_challenge(&handover);
        let name = self.nodes[handover.from].name();
        let served = self.client.last_served_by(name).expect("it did before");
        let served = millis_between(handover.struck, served);
        println!("          it went on serving for {served:.0} ms");
        assert!(served > 0.0, "its term was not over");
        let host = 1 + host_of(name);
        self.find_again(host, SERVER);
        self.find_again(SERVER, host);
        self.nodes.agree_on(self.leader);
    }

    /// Frames from one host to another go to an unknown address, without an error.
    fn lose_frames(&self, from: usize, to: usize) {
        let command = format!("neigh replace 10.0.0.{to} lladdr {NOWHERE} nud permanent dev eth0");
        self.lab.hosts[from - 1].run(move || ip(&command));
    }

    fn find_again(&self, from: usize, to: usize) {
        let command = format!("neigh del 10.0.0.{to} dev eth0");
        self.lab.hosts[from - 1].run(move || ip(&command));
    }

    /// Does something to the leader after which its kernel is to take the addresses away.
    fn crash(&mut self, blow: impl FnOnce(&mut Self, usize)) -> Handover {
        self.strike(|scene, leader| {
            blow(scene, leader);
            add_controls(&scene.lab.hosts[host_of(scene.nodes[leader].name())]);
        })
    }

    /// Does something to the leader, and returns when another node leads and serves.
    fn strike(&mut self, blow: impl FnOnce(&mut Self, usize)) -> Handover {
        let from = self.leader;
        let struck = now();
        blow(self, from);
        self.leader = eventually_some(PATIENCE, "another leader", || {
            let mut others = self.nodes.iter_mut().enumerate().filter(|(at, _)| *at != from);
            others.find_map(|(at, node)| (node.is_alive() && node.leads()).then_some(at))
        });
        let challenged = self.nodes[self.leader].became().challenged;
        let name = self.nodes[self.leader].name();
        let gap = self.client.gap_to(name, struck);
        self.client.served_by(name);
        Handover { from, struck, challenged, gap }
    }

    fn tell(&self, what: &str, handover: &Handover) {
        let [from, to] = [handover.from, self.leader].map(|at| self.nodes[at].name());
        println!("measured: {what}, {from} to {to}: gap {:.1} ms", handover.gap);
    }

    /// Nothing but the lease's end lets another node lead: the addresses must be gone by then.
    fn gone_before_the_challenge(&self, handover: &Handover) {
        let host = host_of(self.nodes[handover.from].name());
        let (gone, controls_gone) = self.witness.gone(host, handover.struck);
        let after = millis_between(handover.struck, gone);
        let before = millis_between(gone, handover.challenged);
        println!("          addresses gone after {after:.0} ms, {before:.0} ms before a challenge");
        let late = millis_between(handover.struck, controls_gone);
        let excused = gone <= controls_gone;
        assert!(before > 0.0 || excused, "what was to last 2 s was gone after {late:.0} ms");
    }

    fn check(mut self) {
        let answers = self.client.finish();
        let stays = self.witness.finish();
        self.nodes.check();
        let history = History::of(&self.nodes);
        history.check_answers(&answers);
        history.check_declined();
        history.check_conflicts();
        history.check_stays(&stays, &NAMES);
        let declined = answers.iter().filter(|answer| answer.epoch.is_none()).count();
        println!(
            "          {} answers in {} terms, {declined} of them refusals, none out of turn",
            answers.len(),
            history.terms(),
        );
    }
}

fn start(nodes: &mut Nodes, config: &ConfigBuilder, namespace: &str, name: &str) {
    let config = config.clone().node_id(name).build().expect("a valid configuration");
    nodes.add(NodeProcess::start_in(namespace, &config, &Value::Null));
}

/// The place of a node's host.
fn host_of(name: &str) -> usize {
    NAMES.iter().position(|known| *known == name).expect("one of the three")
}
