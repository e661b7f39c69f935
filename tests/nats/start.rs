//! Starting a node on a real server: errors are reported at once and clearly, and nothing hangs.

use std::time::{Duration, Instant};

use leasehold::config::ConfigBuilder;
use leasehold::{Config, Node, Observer};

use crate::nodes::{PATIENCE, config};
use crate::support::bucket::Bucket;
use crate::support::cluster::Cluster;
use crate::support::nats::Client;
use crate::support::port::Port;
use crate::support::proxy::Proxy;
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::{eventually, eventually_some};

const TIMEOUT: Duration = Duration::from_secs(2);
/// The time that a loaded machine may add to a bound.
const GRACE: Duration = Duration::from_secs(2);

/// The text of the error with which the start of a node fails, and then that of an observer.
#[track_caller]
fn refusals(config: ConfigBuilder) -> [String; 2] {
    let config = config.node_id("a").connect_timeout(TIMEOUT).build().expect("valid");
    let begun = Instant::now();
    let node = Node::start(config.clone()).expect_err("a refusal").to_string();
    let took = begun.elapsed();
    assert!(took < TIMEOUT + GRACE, "it took {took:?}");
    [node, Observer::start(config).expect_err("a refusal").to_string()]
}

#[track_caller]
fn assert_refused(config: ConfigBuilder, parts: &[&str]) {
    for text in refusals(config) {
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    }
}

/// A server with a bucket that another program made, whose configuration was changed.
pub(crate) fn with_bucket(version: Version, change: impl Fn(&mut serde_json::Value)) -> NatsServer {
    let server = NatsServer::start(version);
    let client = Client::connect(&server.url());
    let bucket = Bucket::of_cluster(&client, "orders");
    let mut config = bucket.usual_config();
    change(&mut config);
    bucket.create(&config).expect("created");
    server
}

on_both_servers!(a_bucket_in_memory_is_refused, |version| {
    let server = with_bucket(version, |bucket| bucket["storage"] = "memory".into());
    assert_refused(config(&server.url()), &["cluster-orders", "memory", "must be \"file\""]);
});

on_both_servers!(a_bucket_with_a_short_max_age_is_refused, |version| {
    let server = with_bucket(version, |bucket| {
        bucket["max_age"] = 1_000_000_000_u64.into();
        bucket["duplicate_window"] = 1_000_000_000_u64.into();
    });
    assert_refused(config(&server.url()), &["cluster-orders", "max_age is 1s", "more than 1.166s"]);
});

on_both_servers!(a_server_without_jetstream_is_refused, |version| {
    let server = NatsServer::builder(version).without_jetstream().start();
    assert_refused(config(&server.url()), &["JetStream"]);
});

on_both_servers!(wrong_credentials_are_refused, |version| {
    let server = NatsServer::builder(version).user("ada", "secret").start();
    let parts = ["credentials", "Authorization Violation"];
    assert_refused(config(&server.url()), &parts);
    assert_refused(config(&server.url()).user_password("ada", "wrong"), &parts);
    let right = config(&server.url()).node_id("a").user_password("ada", "secret");
    let node = Node::start(right.build().expect("valid")).expect("the right ones");
    node.wait_for_leadership(PATIENCE).expect("alone");
});

on_both_servers!(a_missing_permission_is_named, |version| {
    let server = NatsServer::builder(version).config(
        "authorization { users: [ { user: ada, password: secret, permissions: {
            publish: { deny: \"$JS.API.STREAM.CREATE.>\" } } } ] }",
    );
    let server = server.start();
    let config = config(&server.url()).node_id("a").user_password("ada", "secret");
    let node = Node::start(config.build().expect("valid")).expect("a missing bucket is no error");
    let problem = eventually_some(PATIENCE, "the problem", || match node.events().try_next() {
        Some(leasehold::Event::Problem(error)) => Some(error.to_string()),
        _ => None,
    });
    assert!(problem.contains("not permitted"), "{problem}");
    assert!(problem.contains("$JS.API.STREAM.CREATE.KV_cluster-orders"), "{problem}");
});

#[test]
fn an_unreachable_server_is_an_error_within_the_connect_timeout() {
    let port = Port::reserve();
    let address = port.address().to_string();
    let url = format!("nats://{address}");
    assert_refused(config(&url), &["no connection to", &address, "refused"]);
}

on_both_servers!(a_mute_server_is_an_error_within_the_connect_timeout, |version| {
    let server = NatsServer::start(version);
    let proxy = Proxy::start(server.address());
    proxy.freeze();
    assert_refused(config(&proxy.url()), &["no connection to", &proxy.address().to_string()]);
});

on_both_servers!(the_second_of_two_servers_is_found, |version| {
    let unused = Port::reserve();
    let server = NatsServer::start(version);
    let both =
        config(&server.url()).servers([format!("nats://{}", unused.address()), server.url()]);
    let node = Node::start(both.node_id("a").build().expect("valid")).expect("one is there");
    node.wait_for_leadership(PATIENCE).expect("alone");
});

/// Leads with the second of these servers, although the first one can be connected to.
#[track_caller]
fn leads_with_the_second(first: &str, second: &NatsServer) {
    // The timers of the default: its answers come in time.
    let config = Config::builder("orders", "a", [first.to_owned(), second.url()])
        .connect_timeout(PATIENCE)
        .build();
    let node = Node::start(config.expect("valid")).expect("the second one can be used");
    node.wait_for_leadership(PATIENCE).expect("alone");
    let client = Client::connect(&second.url());
    assert!(Bucket::of_cluster(&client, "orders").info().is_ok(), "it leads there");
}

on_both_servers!(a_server_that_refuses_the_credentials_is_passed_over, |version| {
    let first = NatsServer::builder(version).user("ada", "secret").start();
    leads_with_the_second(&first.url(), &NatsServer::start(version));
});

on_both_servers!(servers_that_all_refuse_are_all_named, |version| {
    let servers = [(); 3].map(|()| NatsServer::builder(version).user("ada", "secret").start());
    let urls = servers.each_ref().map(NatsServer::url);
    let named = urls.each_ref().map(String::as_str);
    let parts = [&named[..], &["refused the credentials: Authorization Violation"]].concat();
    assert_refused(config(&urls[0]).servers(urls.clone()), &parts);
});

on_both_servers!(a_start_waits_for_a_server_that_may_come_beside_one_that_refuses, |version| {
    let first = NatsServer::builder(version).user("ada", "secret").start();
    let mut second = NatsServer::builder(version).prepare();
    let config = Config::builder("orders", "a", [first.url(), second.url()])
        .connect_timeout(PATIENCE)
        .build();
    let start = std::thread::spawn(|| Node::start(config.expect("valid")));
    let refusals = || first.log().matches("uthentication error").count();
    eventually(PATIENCE, "a second round", || refusals() >= 3 || start.is_finished());
    second.launch();
    let node = start.join().expect("no panic").expect("the second one can be used");
    node.wait_for_leadership(PATIENCE).expect("alone");
});

on_both_servers!(a_server_without_jetstream_is_left_for_the_next, |version| {
    let first = NatsServer::builder(version).without_jetstream().start();
    leads_with_the_second(&first.url(), &NatsServer::start(version));
});

/// It answers every request, always that it cannot serve it.
#[test]
fn a_server_that_is_cut_off_from_its_cluster_is_left_for_the_next() {
    let cluster = Cluster::start(Version::Newest);
    cluster.isolate(0);
    let second = NatsServer::start(Version::Newest);
    leads_with_the_second(&cluster.urls()[0], &second);
}

on_both_servers!(a_node_started_disconnected_leads_once_the_server_comes, |version| {
    let mut server = NatsServer::builder(version).prepare();
    let config = config(&server.url()).node_id("a").start_disconnected(true);
    let begun = Instant::now();
    let node = Node::start(config.build().expect("valid")).expect("it starts anyway");
    assert!(begun.elapsed() < GRACE, "nothing was waited for");
    assert!(!node.is_leader() && !node.is_connected());
    server.launch();
    assert_eq!(node.wait_for_leadership(PATIENCE).expect("alone").epoch().as_u64(), 1);
});
