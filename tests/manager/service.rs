//! The micro service over real servers: found, inspected, and commanded by a client that is not
//! ours, if it is allowed.

use std::time::Duration;

use leasehold::config::ConfigBuilder;
use leasehold::service::{NodeStatus, Options, Service};
use leasehold::{Config, Node, Role};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::nats::{Client, Message, RequestError};
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::eventually;

const PATIENCE: Duration = Duration::from_secs(30);
/// How long one question may take; a loaded machine needs it.
const ANSWER: Duration = Duration::from_secs(10);

fn config(url: &str, node: &str) -> ConfigBuilder {
    Config::builder("orders", node, [url])
        .renew_interval(Duration::from_millis(500))
        .reconnect_wait(Duration::from_millis(200))
        // Longer than any test: who stays back does so to its end.
        .cooldown(Duration::from_secs(600))
}

/// A node with its service, which can be asked when this returns.
#[track_caller]
fn start(url: &str, name: &str, options: Options) -> (Node, Service) {
    let node = Node::start(config(url, name).build().unwrap()).unwrap();
    let service = Service::start(node.handle(), options).unwrap();
    eventually(PATIENCE, "the service to connect", || service.is_connected());
    (node, service)
}

fn controlled() -> Options {
    Options::default().control(true)
}

#[track_caller]
fn ask(client: &Client, subject: &str, body: &str) -> Message {
    client.request(subject, body, ANSWER).unwrap_or_else(|error| panic!("{subject}: {error:?}"))
}

/// A command's answer, and the error's code in its headers.
#[track_caller]
fn command(client: &Client, node: &str, command: &str, body: &str) -> (Value, Option<String>) {
    let answer = ask(client, &format!("cluster_orders.control.{node}.{command}"), body);
    let code = answer.header("Nats-Service-Error-Code").map(str::to_owned);
    assert_eq!(code.is_some(), answer.header("Nats-Service-Error").is_some());
    (answer.json(), code)
}

on_both_servers!(a_service_is_discovered_and_inspected, |version| {
    let server = NatsServer::start(version);
    let (node, service) = start(&server.url(), "node-1", controlled());
    node.wait_for_leadership(PATIENCE).unwrap();
    let client = Client::connect(&server.url());
    let id = node.session().to_string();
    for (verb, kind) in [("PING", "ping"), ("INFO", "info"), ("STATS", "stats")] {
        let of_id = format!("$SRV.{verb}.cluster_orders.{id}");
        for subject in [&format!("$SRV.{verb}"), &format!("$SRV.{verb}.cluster_orders"), &of_id] {
            let answer = ask(&client, subject, "").json();
            assert_eq!(answer["type"], format!("io.nats.micro.v1.{kind}_response"), "{subject}");
            assert_eq!((&answer["name"], &answer["id"]), (&json!("cluster_orders"), &json!(id)));
            assert_eq!(answer["metadata"], json!({ "clusterId": "orders", "nodeId": "node-1" }));
            assert_eq!(answer["version"], env!("CARGO_PKG_VERSION"));
        }
    }
    let foreign = client.request("$SRV.PING.cluster_other", "", ANSWER);
    assert_eq!(foreign.unwrap_err(), RequestError::NoResponders);

    let info = ask(&client, "$SRV.INFO.cluster_orders", "").json();
    let endpoints = info["endpoints"].as_array().unwrap();
    let subjects: Vec<_> = endpoints.iter().map(|one| one["subject"].as_str().unwrap()).collect();
    assert_eq!(
        subjects,
        [
            "cluster_orders.status.node-1",
            "cluster_orders.status",
            "cluster_orders.ping.node-1",
            "cluster_orders.control.node-1.stepdown",
            "cluster_orders.control.node-1.transfer",
            "cluster_orders.control.node-1.promote",
        ]
    );
    // The step-down last: while one is under way, a promotion is refused.
    for subject in subjects.into_iter().rev() {
        ask(&client, subject, "");
    }
    let stats = ask(&client, "$SRV.STATS.cluster_orders", "").json();
    assert!(stats["started"].as_str().unwrap().ends_with('Z'));
    for endpoint in stats["endpoints"].as_array().unwrap() {
        let refused = endpoint["name"] == "transfer";
        assert_eq!(endpoint["num_requests"], 1, "{endpoint}");
        assert_eq!(endpoint["num_errors"], u64::from(refused), "{endpoint}");
        assert_eq!(endpoint["last_error"].as_str().unwrap().starts_with("400:"), refused);
        assert!(
            endpoint["processing_time"].as_u64() >= endpoint["average_processing_time"].as_u64()
        );
    }
    assert_eq!(stats["endpoints"][0]["data"]["terms"], 1);
    assert_eq!(service.stats().iter().map(|one| one.requests).sum::<u64>(), 6);
});

on_both_servers!(status_and_ping_are_as_in_go_cluster_v2, |version| {
    let server = NatsServer::start(version);
    let (node, _service) = start(&server.url(), "node-1", Options::default());
    let epoch = node.wait_for_leadership(PATIENCE).unwrap().epoch().as_u64();
    let client = Client::connect(&server.url());
    let answer = ask(&client, "cluster_orders.status.node-1", "");
    let json = answer.json();
    for (key, value) in [
        ("nodeId", json!("node-1")),
        ("role", json!("PRIMARY")),
        ("leader", json!("node-1")),
        ("epoch", json!(epoch)),
        ("connected", json!(true)),
        ("clusterId", json!("orders")),
        ("vipHeld", json!(false)),
    ] {
        assert_eq!(json[key], value, "{key}");
    }
    assert!(json["uptimeMs"].is_u64());
    let status = NodeStatus::parse(&answer.body).unwrap();
    assert_eq!((status.role, status.daemon, status.terms), (Role::Leader, true, 1));
    assert!(status.lease_remaining_ms.is_some_and(|left| left > 0 && left <= status.lease_ttl_ms));

    let ping = ask(&client, "cluster_orders.ping.node-1", "anything").json();
    assert!(ping["ok"] == true && ping["timestamp"].as_u64() > Some(1_600_000_000_000));
});

on_both_servers!(without_control_no_command_has_an_endpoint, |version| {
    let server = NatsServer::start(version);
    let stop = Options::default().on_stop(|| panic!("nobody may stop it"));
    let (node, _service) = start(&server.url(), "node-1", stop);
    let token = node.wait_for_leadership(PATIENCE).unwrap();
    let client = Client::connect(&server.url());
    for command in ["stepdown", "transfer", "promote", "stop"] {
        let subject = format!("cluster_orders.control.node-1.{command}");
        let answer = client.request(&subject, "node-2", ANSWER);
        assert_eq!(answer.unwrap_err(), RequestError::NoResponders, "{command}");
    }
    assert!(token.is_valid());
});

on_both_servers!(step_down_transfer_and_promotion_work_by_command, |version| {
    let server = NatsServer::start(version);
    let url = server.url();
    let (one, _one) = start(&url, "node-1", controlled());
    one.wait_for_leadership(PATIENCE).unwrap();
    let (two, _two) = start(&url, "node-2", controlled());
    two.wait_for_leader(PATIENCE).unwrap();
    let client = Client::connect(&url);

    let (answer, code) = command(&client, "node-2", "stepdown", "");
    assert_eq!((answer["ok"].as_bool(), code.as_deref()), (Some(false), Some("409")));
    assert_eq!(
        (&answer["error"], &answer["leader"]),
        (&json!("not the leader, node-1 is"), &json!("node-1"))
    );
    let (answer, code) = command(&client, "node-2", "promote", "");
    assert_eq!((&answer["error"], code.as_deref()), (&json!("node-1 leads"), Some("409")));
    let (answer, code) = command(&client, "node-1", "transfer", "node-1");
    assert_eq!(
        (&answer["error"], code.as_deref()),
        (&json!("the node cannot transfer the lead to itself"), Some("409"))
    );

    let token = one.leadership().unwrap();
    let (answer, code) = command(&client, "node-1", "transfer", r#"{"to":"node-2"}"#);
    assert_eq!((&answer["ok"], code), (&json!(true), None));
    assert!(!token.is_valid(), "it leads no more when the answer is there");
    two.wait_for_leadership(PATIENCE).unwrap();

    assert_eq!(command(&client, "node-2", "stepdown", "").0["ok"], true);
    assert!(!two.is_leader());
    assert_eq!(command(&client, "node-1", "promote", r#"{"force":true}"#).0["ok"], true);
    one.wait_for_leadership(PATIENCE).unwrap();
    eventually(PATIENCE, "node-2 to be done", || !two.status().resigning);
    assert_eq!(command(&client, "node-2", "promote", r#"{"force":true}"#).0["ok"], true);
    assert!(one.is_leader(), "nothing is taken from a leader");
});

on_both_servers!(a_promotion_ends_the_cooldown, |version| {
    let server = NatsServer::start(version);
    let config = config(&server.url(), "node-1").cooldown(Duration::from_secs(3600));
    let node = Node::start(config.build().unwrap()).unwrap();
    let service = Service::start(node.handle(), controlled()).unwrap();
    eventually(PATIENCE, "the service to connect", || service.is_connected());
    node.wait_for_leadership(PATIENCE).unwrap();
    let client = Client::connect(&server.url());
    assert_eq!(command(&client, "node-1", "stepdown", "").0["ok"], true);
    eventually(PATIENCE, "the lease to be given back", || !node.status().resigning);
    assert_eq!(command(&client, "node-1", "promote", "").0["ok"], true);
    node.wait_for_leadership(PATIENCE).unwrap();
});

on_both_servers!(hostile_commands_do_nothing, |version| {
    let server = NatsServer::start(version);
    let (node, service) = start(&server.url(), "node-1", controlled());
    let token = node.wait_for_leadership(PATIENCE).unwrap();
    let client = Client::connect(&server.url());
    let long = "x".repeat(1025);
    for (name, body, code) in [
        ("transfer", "", "400"),
        ("transfer", "a b", "400"),
        ("transfer", "orders.>", "400"),
        ("transfer", "{\"to\":[]}", "400"),
        ("transfer", long.as_str(), "413"),
        ("promote", "yes", "400"),
        ("stepdown", long.as_str(), "413"),
        ("transfer", &"x".repeat(900_000), "413"),
    ] {
        let (answer, said) = command(&client, "node-1", name, body);
        assert_eq!((answer["ok"].as_bool(), said.as_deref()), (Some(false), Some(code)), "{name}");
    }
    // Without a wish for an answer nothing is done at all; nor where none may be sent.
    client.publish("cluster_orders.control.node-1.stepdown", "");
    client.publish_with_reply("cluster_orders.control.node-1.stepdown", "$KV.a", "");
    client.publish_with_reply(
        "cluster_orders.ping.node-1",
        "cluster_orders.control.node-1.stepdown",
        "",
    );
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        cases: 200,
        ..ProptestConfig::default()
    });
    let bodies = proptest::collection::vec(any::<u8>(), 0..64);
    let checked = runner.run(&bodies, |body| {
        // What happens to name a node is no garbage.
        prop_assume!(leasehold::service::parse_transfer(&body).is_err());
        let answer = client.request("cluster_orders.control.node-1.transfer", &body, ANSWER);
        let answer = answer.map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
        prop_assert_eq!(answer.header("Nats-Service-Error-Code"), Some("400"));
        Ok(())
    });
    checked.unwrap();
    ask(&client, "cluster_orders.ping.node-1", "");
    assert!(token.is_valid());
    assert!(service.problem().is_none());
});
