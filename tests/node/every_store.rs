//! What a node does on whichever store: each test runs in memory and on both servers.

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

/// The store that the nodes of one test share.
enum Ground {
    Memory(MemoryServer),
    Server(Box<NatsServer>),
}

impl Ground {
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
    ($name:ident, |$ground:ident| $body:block) => {
        mod $name {
            use super::*;

            fn check($ground: Ground) {
                $body
            }

            #[test]
            fn memory() {
                check(Ground::Memory(MemoryServer::new()));
            }

            #[test]
            fn oldest() {
                check(Ground::Server(Box::new(NatsServer::start(Version::Oldest))));
            }

            #[test]
            fn newest() {
                check(Ground::Server(Box::new(NatsServer::start(Version::Newest))));
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
fn leader_and_follower(ground: &Ground) -> (Node, Leadership, Node) {
    let first = ground.start("first");
    let token = became(&first);
    let second = ground.start("second");
    assert_eq!(second.wait_for_leader(PATIENCE).as_deref(), Ok("first"));
    (first, token, second)
}

on_every_store!(one_of_three_leads_and_all_agree, |ground| {
    let nodes = ["a", "b", "c"].map(|node| ground.start(node));
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

on_every_store!(a_step_down_waits_for_the_drain_and_then_hands_over, |ground| {
    let (first, token, second) = leader_and_follower(&ground);
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

on_every_store!(a_follower_refuses_to_step_down_and_names_the_leader, |ground| {
    let (first, _, second) = leader_and_follower(&ground);
    let refused = Refused::NotLeader { leader: Some("first".to_owned()) };
    assert_eq!(second.step_down(), Err(refused.clone()));
    let transfer = second.transfer_to("first");
    assert!(matches!(transfer, Err(TransferError::Refused(r)) if r == refused));
    assert!(first.is_leader());
});

on_every_store!(a_transfer_goes_to_the_named_node, |ground| {
    let nodes = ["a", "b", "c", "d", "e"].map(|node| ground.start(node));
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

on_every_store!(a_stop_releases_and_the_next_takes_over_at_once, |ground| {
    let start =
        |node: &str| ground.start_as(ground.config(node).lease_ttl(Duration::from_secs(3600)));
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

on_every_store!(a_promotion_ends_the_cooldown, |ground| {
    let node = ground.start_as(ground.config("a").cooldown(Duration::from_secs(3600)));
    node.wait_for_leadership(PATIENCE).expect("alone");
    node.step_down().expect("it leads");
    eventually(PATIENCE, "the end of the release", || node.promote().is_ok());
    assert_eq!(node.wait_for_leadership(PATIENCE).expect("promoted").epoch().as_u64(), 2);
});

on_every_store!(an_unhealthy_leader_steps_down_and_is_passed_over, |ground| {
    let start = |node: &str| ground.start_as(ground.config(node).cooldown(Duration::ZERO));
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

on_every_store!(the_leaders_meta_reaches_the_others, |ground| {
    let (first, _, second) = leader_and_follower(&ground);
    let meta = serde_json::json!({"address": "10.0.0.1:80"});
    first.set_meta(Some(meta.clone())).expect("short");
    eventually(PATIENCE, "the meta", || second.leader_meta().as_ref() == Some(&meta));
    let long = serde_json::Value::String("x".repeat(5_000));
    assert!(first.set_meta(Some(long)).is_err());
});
