//! The authorization block of the guide, on real servers: what each of its three users can do, and
//! that they can do no more.

use std::time::Duration;

use leasehold::health::QueryError;
use leasehold::manager::Manager;
use leasehold::{Event, ManagerError, Node, Role, StoreError, health};

use crate::daemons::{Daemon, PATIENCE, config};
use crate::support::nats::{Client, RequestError};
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::eventually;

const LIMIT: Duration = Duration::from_secs(20);
const LISTEN: Duration = Duration::from_millis(500);

/// The block, as it stands in the guide.
fn block() -> &'static str {
    let page = include_str!("../../src/guide/permissions.md");
    let start = page.find("authorization {").expect("the block's first line");
    let length = page[start..].find("```").expect("the block's end");
    &page[start..start + length]
}

/// The password that the block gives a user.
fn password(user: &str) -> &'static str {
    let (_, rest) = block().split_once(&format!("user: \"{user}\", password: \"")).expect("a user");
    rest.split('"').next().expect("a password")
}

fn server(version: Version) -> NatsServer {
    NatsServer::builder(version).config(block()).start()
}

/// A manager that connects as `user`.
fn manager(server: &NatsServer, user: &str, node: &str) -> leasehold::manager::ManagerBuilder {
    let config = config(&server.url(), node)
        .user_password(user, password(user))
        .inbox_prefix(format!("_INBOX_{user}"));
    Manager::builder(config.build().expect("a valid configuration"))
}

/// A stranger's client that connects as `user`.
fn client(server: &NatsServer, user: &str) -> Client {
    let url = format!("nats://{user}:{}@{}", password(user), server.address());
    Client::connect(&url)
}

/// Publishes on each of `subjects`, and is refused each time.
#[track_caller]
fn may_not_publish(client: &Client, subjects: &[&str]) {
    for subject in subjects {
        client.publish(subject, "forged");
        client.round_trip().unwrap();
        let complaints = client.complaints();
        let refusal = format!("Permissions Violation for Publish to \"{subject}\"");
        assert!(complaints.contains(&refusal), "{subject}: {complaints:?}");
    }
}

/// Subscribes to each of `subjects`, and is refused each time.
#[track_caller]
fn may_not_listen(client: &Client, subjects: &[&str]) {
    for subject in subjects {
        drop(client.subscribe(subject));
        client.round_trip().unwrap();
        let complaints = client.complaints();
        let refusal = format!("Permissions Violation for Subscription to \"{subject}\"");
        assert!(complaints.contains(&refusal), "{subject}: {complaints:?}");
    }
}

const WRITES: [&str; 6] = [
    "$KV.cluster-orders.lease",
    "$JS.API.STREAM.CREATE.KV_cluster-orders",
    "$JS.API.STREAM.DELETE.KV_cluster-orders",
    "$JS.API.STREAM.PURGE.KV_cluster-orders",
    "cluster.orders.kv.lease",
    "_INBOX_node.forged",
];

on_both_servers!(nodes_lead_hand_over_and_answer, |version| {
    let server = server(version);
    let one = Daemon::start(manager(&server, "node", "node-1"));
    let token = one.leads();
    let two = Daemon::start(manager(&server, "node", "node-2.rack"));
    two.node().wait_for_leader(PATIENCE).unwrap();
    let error = manager(&server, "node", "node-1").build().run(&crossbeam_channel::never());
    assert!(matches!(error, Err(ManagerError::AlreadyRunning { .. })), "{error:?}");
    one.stop().unwrap();
    let next = two.leads();
    assert!(next.epoch() > token.epoch());

    let witness = client(&server, "node");
    may_not_publish(
        &witness,
        &[
            "$JS.API.STREAM.DELETE.KV_cluster-orders",
            "$JS.API.STREAM.PURGE.KV_cluster-orders",
            "$JS.API.STREAM.UPDATE.KV_cluster-orders",
            "cluster.orders.kv.lease",
            "cluster_orders.control.node-2.rack.stepdown",
            "_INBOX_operator.x",
        ],
    );
    may_not_listen(&witness, &["$KV.>", "_INBOX_operator.>", ">"]);
    assert!(next.is_valid());
});

on_both_servers!(operators_may_command_and_not_write, |version| {
    let server = server(version);
    let one = Daemon::start(manager(&server, "node", "node-1"));
    one.leads();
    let two = Daemon::start(manager(&server, "node", "node-2"));
    two.node().wait_for_leader(PATIENCE).unwrap();
    let operator = manager(&server, "operator", "node-1").build();
    assert_eq!(operator.query_all(LISTEN, LIMIT).unwrap().nodes.len(), 2);
    operator.demote(LIMIT).unwrap();
    two.leads();
    assert_eq!(operator.promote(true, LIMIT).unwrap().role, Role::Leader);
    assert_eq!(operator.transfer("node-2", LIMIT).unwrap().node_id, "node-2");
    let mut one = one;
    operator.leave(LIMIT).unwrap();
    one.ended().unwrap();

    let witness = client(&server, "operator");
    may_not_publish(&witness, &WRITES);
    may_not_listen(&witness, &["$KV.>", "_INBOX_node.>", "cluster_orders.>", "$SRV.>"]);
    never_leads(&server, "operator", two);
});

on_both_servers!(readers_may_read_and_nothing_else, |version| {
    let server = server(version);
    let daemon = Daemon::start(manager(&server, "node", "node-1"));
    let token = daemon.leads();
    let reader = manager(&server, "reader", "node-1").build();
    let status = reader.status(LIMIT).unwrap();
    assert!(status.daemon && status.role == Role::Leader);
    let view = reader.query_all(LISTEN, LIMIT).unwrap();
    assert_eq!((view.leader.as_deref(), view.nodes.len()), (Some("node-1"), 1));
    assert_eq!(view.problem, None);
    let health = health::query(reader.config(), "node-1", LIMIT).unwrap().health;
    assert_eq!(health.role, Role::Leader);
    let none = health::query(reader.config(), "node-9", LIMIT);
    assert!(matches!(none, Err(QueryError::NoSuchNode { .. })), "{none:?}");
    let absent = manager(&server, "reader", "node-9").build();
    assert_eq!(absent.join(LIMIT).unwrap().leader.as_deref(), Some("node-1"));
    let status = absent.status(LIMIT).unwrap();
    assert_eq!((status.daemon, status.leader.as_deref()), (false, Some("node-1")));

    for (what, refused) in [
        ("demote", reader.demote(LIMIT).map(drop)),
        (
            "transfer",
            reader.transfer("node-1", LIMIT).map(drop).and(reader.demote(LIMIT).map(drop)),
        ),
        ("leave", reader.leave(LIMIT)),
        ("promote", manager(&server, "reader", "node-9").build().promote(true, LIMIT).map(drop)),
    ] {
        let error = refused.unwrap_err();
        let expected = match what {
            "promote" => matches!(error, ManagerError::NoDaemon { .. }),
            _ => matches!(error, ManagerError::NotPermitted(_)) && error.exit_code() == 7,
        };
        assert!(expected, "{what}: {error:?}");
    }
    let witness = client(&server, "reader");
    let pings = witness.request("$SRV.PING", "", LISTEN);
    // An inbox that is not the reader's own is not listened on: there is nothing to hear.
    assert_eq!(pings.unwrap_err(), RequestError::Timeout);
    may_not_publish(&witness, &WRITES);
    may_not_publish(&witness, &["cluster_orders.control.node-1.stepdown"]);
    may_not_listen(&witness, &["$KV.>", "_INBOX_node.>", "_INBOX_operator.>", "$SRV.>"]);
    // What he may not write himself, the node does not write for him.
    let stored = witness.subscribe("cluster.orders.kv.lease");
    for target in ["$KV.cluster-orders.lease", "cluster_orders.control.node-1.stepdown"] {
        witness.publish_with_reply("cluster.orders.health.node-1", target, "");
        witness.publish_with_reply("cluster_orders.status.node-1", target, "");
        witness.publish_with_reply("$SRV.STATS", target, "");
    }
    for _ in 0..3 {
        let renewal = stored.next(PATIENCE).expect("the lease is renewed").json();
        assert_eq!(renewal["node_id"], "node-1");
    }
    assert!(token.is_valid());
    never_leads(&server, "reader", daemon);
});

/// Once the last daemon has stopped, a node that connects as `user` does not lead: it may not
/// write.
fn never_leads(server: &NatsServer, user: &str, last: Daemon) {
    last.stop().unwrap();
    let node = Node::start(manager(server, user, "intruder").build().config().clone()).unwrap();
    let refused = |event: &Event| matches!(event, Event::Problem(StoreError::Permission(_)));
    eventually(PATIENCE, "the server to refuse its write", || {
        assert!(!node.is_leader());
        node.events().next_timeout(LISTEN).is_some_and(|event| refused(&event))
    });
    assert!(!node.is_leader() && node.stats().terms == 0);
}
