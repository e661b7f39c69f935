//! Nodes on every store: each test runs in memory and on both servers.

use std::thread::sleep;
use std::time::{Duration, Instant};

use leasehold::clock::Clock;
use leasehold::config::ConfigBuilder;
use leasehold::store::memory::MemoryServer;
use leasehold::{
    Cause, Config, Epoch, Event, Leadership, Node, Reason, Refused, Role, TransferError,
};

use crate::events::{PATIENCE, became, lost, next_of};
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::{eventually, eventually_some};

const TTL: Duration = Duration::from_secs(4);

/// The store that the nodes of a test share.
enum TestStore {
    Memory(MemoryServer),
    Server(Box<NatsServer>),
}

impl TestStore {
    fn config(&self, node: &str) -> ConfigBuilder {
        let url = match self {
            Self::Memory(_) => "127.0.0.1:4222".to_owned(),
            Self::Server(server) => server.url(),
        };
        let config = Config::builder("orders", node, [url]).lease_ttl(TTL);
        config.renew_interval(Duration::from_millis(300))
    }

    fn start(&self, node: &str) -> Node {
        self.start_as(self.config(node))
    }

    fn start_as(&self, config: ConfigBuilder) -> Node {
        let builder = Node::builder(config.build().expect("valid"));
        let builder = match self {
            Self::Memory(server) => builder.store(server.connect(Clock::boot())),
            Self::Server(_) => builder,
        };
        builder.start().expect("the store is there")
    }
}

/// Makes a test `name::memory`, `name::oldest` and `name::newest` of one body.
macro_rules! on_every_store {
    ($name:ident, |$store:ident| $body:block) => {
        mod $name {
            use super::*;

            fn check($store: TestStore) {
                $body
            }

            #[test]
            fn memory() {
                check(TestStore::Memory(MemoryServer::new()));
            }

            #[test]
            fn oldest() {
                check(TestStore::Server(Box::new(NatsServer::start(Version::Oldest))));
            }

            #[test]
            fn newest() {
                check(TestStore::Server(Box::new(NatsServer::start(Version::Newest))));
            }
        }
    };
}

fn leader_of(nodes: &[Node]) -> Option<usize> {
    let leaders: Vec<_> = (0..nodes.len()).filter(|at| nodes[*at].is_leader()).collect();
    assert!(leaders.len() <= 1, "two leaders");
    leaders.first().copied()
}

/// A leader, and another node that knows it.
fn leader_and_follower(store: &TestStore) -> (Node, Leadership, Node) {
    let first = store.start("first");
    let token = became(&first);
    let second = store.start("second");
    assert_eq!(second.wait_for_leader(PATIENCE).as_deref(), Ok("first"));
    (first, token, second)
}

on_every_store!(one_of_three_leads_and_all_agree, |store| {
    let nodes = ["a", "b", "c"].map(|node| store.start(node));
    let at = eventually_some(PATIENCE, "a leader", || leader_of(&nodes));
    let name = nodes[at].config().node_id().to_owned();
    for node in &nodes {
        eventually(PATIENCE, "agreement", || node.leader().as_ref() == Some(&name));
        assert_eq!(node.wait_for_leader(PATIENCE), Ok(name.clone()));
        assert_eq!(node.epoch().map(Epoch::as_u64), Some(1));
        assert!(node.is_connected());
    }
    assert_eq!(nodes[at].role(), Role::Leader);
    assert_eq!(nodes[at].leadership().map(|token| token.epoch().as_u64()), Some(1));
});

on_every_store!(a_step_down_releases_the_lease_after_the_drain, |store| {
    let (first, token, second) = leader_and_follower(&store);
    first.step_down().expect("it leads");
    assert!(!first.is_leader() && !token.is_valid(), "at once");
    let drain = next_of(&first, "Resigning", |event| match event {
        Event::Resigning { drain, reason: Reason::StepDown, .. } => Some(drain),
        _ => None,
    });
    assert_eq!((first.role(), first.status().resigning), (Role::Follower, true));
    // Longer than the TTL: the lease is renewed meanwhile, or else the other node would lead.
    let drained = Instant::now() + TTL + TTL / 3;
    while Instant::now() < drained {
        assert!(!second.is_leader());
        sleep(Duration::from_millis(10));
    }
    assert_eq!(second.leader().as_deref(), Some("first"));
    drop(drain);
    assert_eq!(lost(&first).1, Cause::Resigned(Reason::StepDown));
    assert_eq!(became(&second).epoch().as_u64(), 2);
    assert_eq!(second.stats().terms, 1);
});

on_every_store!(a_follower_refuses_to_step_down_and_names_the_leader, |store| {
    let (first, _, second) = leader_and_follower(&store);
    let refused = Refused::NotLeader { leader: Some("first".to_owned()) };
    assert_eq!(second.step_down(), Err(refused.clone()));
    let transfer = second.transfer_to("first");
    assert!(matches!(transfer, Err(TransferError::Refused(r)) if r == refused));
    assert!(first.is_leader());
});

on_every_store!(a_transfer_goes_to_the_named_node, |store| {
    let nodes = ["a", "b", "c", "d", "e"].map(|node| store.start(node));
    let at = eventually_some(PATIENCE, "a leader", || leader_of(&nodes));
    let to = (at + 3) % nodes.len();
    for node in &nodes {
        node.wait_for_leader(PATIENCE).expect("known");
    }
    let own = nodes[at].config().node_id().to_owned();
    let refused = nodes[at].transfer_to(&own);
    assert!(matches!(refused, Err(TransferError::Refused(Refused::TransferToSelf))));
    assert!(matches!(nodes[at].transfer_to("no node"), Err(TransferError::NodeId(_))));
    assert!(nodes[at].is_leader());
    nodes[at].transfer_to(nodes[to].config().node_id()).expect("it leads");
    let token = nodes[to].wait_for_leadership(PATIENCE).expect("it was named");
    assert_eq!(token.epoch().as_u64(), 2);
});

on_every_store!(a_stop_releases_and_the_next_node_leads_at_once, |store| {
    let start =
        |node: &str| store.start_as(store.config(node).lease_ttl(Duration::from_secs(3600)));
    let first = start("first");
    became(&first);
    let second = start("second");
    second.wait_for_leader(PATIENCE).expect("known");
    assert!(!first.stop().left_to_expire);
    assert_eq!(became(&second).epoch().as_u64(), 2);
    drop(second);
    let third = start("third");
    assert_eq!(became(&third).epoch().as_u64(), 3, "dropping releases too");
});

on_every_store!(a_promotion_ends_the_cooldown, |store| {
    let node = store.start_as(store.config("a").cooldown(Duration::from_secs(3600)));
    node.wait_for_leadership(PATIENCE).expect("alone");
    node.step_down().expect("it leads");
    eventually(PATIENCE, "the end of the release", || node.promote().is_ok());
    assert_eq!(node.wait_for_leadership(PATIENCE).expect("promoted").epoch().as_u64(), 2);
});

on_every_store!(an_unhealthy_leader_steps_down_and_does_not_challenge, |store| {
    let start = |node: &str| store.start_as(store.config(node).cooldown(Duration::ZERO));
    let first = start("first");
    became(&first);
    let second = start("second");
    second.wait_for_leader(PATIENCE).expect("known");
    first.set_healthy(false);
    let reason = next_of(&first, "Resigning", |event| match event {
        Event::Resigning { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(reason, Reason::Unhealthy);
    assert_eq!(lost(&first).1, Cause::Resigned(Reason::Unhealthy));
    assert_eq!(became(&second).epoch().as_u64(), 2);
    eventually(PATIENCE, "the end of the release", || first.promote() == Err(Refused::Unhealthy));
    second.step_down().expect("it leads");
    assert_eq!(became(&second).epoch().as_u64(), 3, "no other node is healthy");
    first.set_healthy(true);
    second.stop();
    assert_eq!(became(&first).epoch().as_u64(), 4, "healthy again");
});

on_every_store!(other_nodes_read_the_meta_of_the_leader, |store| {
    let (first, _, second) = leader_and_follower(&store);
    let meta = serde_json::json!({"address": "10.0.0.1:80"});
    first.set_meta(Some(meta.clone())).expect("short");
    eventually(PATIENCE, "the meta", || second.leader_meta().as_ref() == Some(&meta));
    let long = serde_json::Value::String("x".repeat(5_000));
    assert!(first.set_meta(Some(long)).is_err());
});
