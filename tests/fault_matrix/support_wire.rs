//! The faulty wire and the cluster of the test support tested.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::alone::alone;
use crate::support::bucket::Bucket;
use crate::support::cluster::Cluster;
use crate::support::nats::{Client, RequestError};
use crate::support::proxy::{Direction, Proxy};
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::eventually;

/// Nothing here takes long; a loaded machine may.
const PATIENCE: Duration = Duration::from_secs(60);

/// Long enough to see that nothing comes.
const SILENCE: Duration = Duration::from_millis(300);

/// Both ends of a connection through `proxy`, which forwards to `listener`.
fn connect(proxy: &Proxy, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(proxy.address()).expect("the proxy listens");
    let (server, _) = listener.accept().expect("the proxy connects");
    for end in [&client, &server] {
        end.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    }
    (client, server)
}

fn wire() -> (Proxy, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    (Proxy::start(listener.local_addr().expect("its address")), listener)
}

/// Connections are refused. A process that another test is just starting may hold the listening
/// socket for a moment, until it runs its own program.
fn refused(address: SocketAddr) {
    eventually(PATIENCE, "connections to be refused", || {
        let error = TcpStream::connect(address).err();
        error.is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
}

fn send(mut from: &TcpStream, text: &str) {
    from.write_all(text.as_bytes()).expect("the proxy takes it");
}

#[track_caller]
fn assert_arrives(mut at: &TcpStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    at.read_exact(&mut bytes).expect("it arrives");
    assert_eq!(bytes, text.as_bytes());
}

#[track_caller]
fn assert_silent(mut at: &TcpStream) {
    at.set_read_timeout(Some(SILENCE)).expect("a timeout");
    let error = at.read(&mut [0]).expect_err("nothing arrives");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    at.set_read_timeout(Some(PATIENCE)).expect("a timeout");
}

#[test]
fn both_directions_flow() {
    let (proxy, listener) = wire();
    let (client, server) = connect(&proxy, &listener);
    send(&client, "ping");
    assert_arrives(&server, "ping");
    send(&server, "pong!");
    assert_arrives(&client, "pong!");
    assert_eq!(proxy.connections(), 1);
    assert_eq!(
        (proxy.forwarded(Direction::ToServer), proxy.forwarded(Direction::ToClient)),
        (4, 5)
    );
}

#[test]
fn an_orderly_end_passes_after_all_that_was_sent() {
    let (proxy, listener) = wire();
    let (client, mut server) = connect(&proxy, &listener);
    let much = "0123456789".repeat(300_000);
    let expected = much.len();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        server.read_to_string(&mut text).expect("an orderly end");
        (server, text.len())
    });
    send(&client, &much);
    client.shutdown(Shutdown::Write).expect("half closed");
    let (server, received) = reader.join().expect("a reader");
    assert_eq!(received, expected);
    send(&server, "answer");
    assert_arrives(&client, "answer");
}

#[test]
fn a_frozen_wire_holds_everything_and_tells_nothing() {
    let (proxy, listener) = wire();
    let (client, server) = connect(&proxy, &listener);
    proxy.freeze();
    send(&client, "held");
    send(&server, "back");
    assert_silent(&server);
    assert_silent(&client);
    // Somebody new is let in and hears nothing; somebody who hangs up is not missed.
    let other = TcpStream::connect(proxy.address()).expect("the proxy listens");
    assert_silent(&other);
    drop(other);
    proxy.thaw();
    assert_arrives(&server, "held");
    assert_arrives(&client, "back");
}

#[test]
fn a_black_hole_can_be_one_way() {
    let (proxy, listener) = wire();
    let (client, server) = connect(&proxy, &listener);
    proxy.freeze_only(Direction::ToClient);
    send(&client, "request");
    assert_arrives(&server, "request");
    send(&server, "answer");
    assert_silent(&client);
    proxy.freeze_only(Direction::ToServer);
    assert_arrives(&client, "answer");
    send(&client, "lost?");
    assert_silent(&server);
    proxy.thaw();
    assert_arrives(&server, "lost?");
}

#[test]
fn a_cut_wire_resets_both_ends_and_serves_again() {
    let (proxy, listener) = wire();
    let (client, server) = connect(&proxy, &listener);
    proxy.freeze();
    proxy.cut();
    for mut end in [&client, &server] {
        let error = end.read(&mut [0]).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    proxy.thaw();
    let (client, server) = connect(&proxy, &listener);
    send(&client, "again");
    assert_arrives(&server, "again");
}

#[test]
fn a_refusing_wire_keeps_what_stands() {
    let (proxy, listener) = wire();
    let (client, server) = connect(&proxy, &listener);
    proxy.refuse();
    refused(proxy.address());
    send(&client, "still here");
    assert_arrives(&server, "still here");
    proxy.accept();
    connect(&proxy, &listener);
}

#[test]
fn delays_add_up_and_keep_the_order() {
    let (proxy, listener) = wire();
    let (client, server) = connect(&proxy, &listener);
    proxy.delay(Direction::ToServer, Duration::from_millis(80));
    proxy.delay(Direction::ToClient, Duration::from_millis(40));
    let start = Instant::now();
    send(&client, "request");
    assert_arrives(&server, "request");
    send(&server, "answer");
    assert_arrives(&client, "answer");
    assert!(start.elapsed() >= Duration::from_millis(120));
    proxy.delay(Direction::ToServer, Duration::ZERO);
    send(&client, "quick");
    assert_arrives(&server, "quick");
}

#[test]
fn stalls_lose_nothing() {
    let (proxy, listener) = wire();
    let (client, server) = connect(&proxy, &listener);
    proxy.stall(7, 2, Duration::from_millis(20));
    let start = Instant::now();
    for round in 0..50 {
        let text = format!("{round:04}");
        send(&client, &text);
        assert_arrives(&server, &text);
    }
    assert!(start.elapsed() >= Duration::from_millis(50), "{:?}", start.elapsed());
}

#[test]
fn a_dropped_wire_leaves_no_thread_and_no_listener() {
    alone(|| {
        let threads = || fs::read_dir("/proc/self/task").expect("procfs").count();
        let before = threads();
        let (proxy, listener) = wire();
        let (client, _server) = connect(&proxy, &listener);
        let address = proxy.address();
        let more = (0..50).map(|_| wire()).collect::<Vec<_>>();
        assert_eq!(threads(), before + 51);
        drop(more);
        drop(proxy);
        refused(address);
        assert!((&client).read(&mut [0]).is_err());
        eventually(PATIENCE, "the threads to end", || threads() == before);
    });
}

on_both_servers!(a_server_behind_a_frozen_wire_is_heard_again, |version| {
    let server = NatsServer::start(version);
    let proxy = Proxy::start(server.address());
    let client = Client::connect(&proxy.url());
    proxy.freeze();
    assert_eq!(client.request("$JS.API.INFO", "", SILENCE), Err(RequestError::Timeout));
    assert!(client.is_connected());
    proxy.thaw();
    client.round_trip().expect("a round trip");
    proxy.cut();
    eventually(PATIENCE, "the connection to end", || !client.is_connected());
    assert_eq!(client.round_trip(), Err(RequestError::Disconnected));
    assert_eq!(client.request("$JS.API.INFO", "", PATIENCE), Err(RequestError::Disconnected));
});

/// The stream of [`bucket`].
const STREAM: &str = "KV_cluster-three";

/// The bucket of three replicas as `client` sees it, for asks that may be lost.
fn bucket(client: &Client) -> Bucket<'_> {
    Bucket::of_cluster(client, "three").limit(Duration::from_secs(2))
}

/// Creates the bucket and writes "one".
fn create_bucket(client: &Client) {
    let mut config = bucket(client).usual_config();
    config["num_replicas"] = json!(3);
    eventually(PATIENCE, "a bucket of three replicas", || bucket(client).create(&config).is_ok());
    write(client, 0, "one");
}

/// Writes over the revision `expected` until it is stored. A new stream leader is announced before
/// it listens: until then nobody answers, or the old one is sent the write and it is lost in
/// silence.
fn write(client: &Client, expected: u64, text: &str) {
    eventually(PATIENCE, "a write that is stored", || {
        let answer = bucket(client).compare_and_set("lease", expected, text);
        answer == Ok(expected + 1) || holds(client, text)
    });
}

fn holds(client: &Client, text: &str) -> bool {
    bucket(client).read("lease").is_ok_and(|entry| entry.body == text.as_bytes())
}

#[test]
fn a_killed_stream_leader_is_replaced_and_catches_up() {
    let mut cluster = Cluster::start(Version::Newest);
    create_bucket(&Client::connect(&cluster.urls()[0]));
    let leader = cluster.stream_leader(STREAM);

    cluster.server_mut(leader).kill();
    let next = cluster.stream_leader_where(STREAM, |index| index != leader);
    write(&Client::connect(&cluster.urls()[next]), 1, "two");

    cluster.server_mut(leader).restart();
    let client = Client::connect(&cluster.urls()[leader]);
    eventually(PATIENCE, "the restarted server to catch up", || holds(&client, "two"));
}

#[test]
fn an_isolated_stream_leader_is_replaced_while_its_clients_stay() {
    let cluster = Cluster::start(Version::Newest);
    create_bucket(&Client::connect(&cluster.urls()[0]));
    let leader = cluster.stream_leader(STREAM);
    let inside = Client::connect(&cluster.urls()[leader]);

    cluster.isolate(leader);
    let next = cluster.stream_leader_where(STREAM, |index| index != leader);
    inside.round_trip().expect("its client still reaches it");
    write(&Client::connect(&cluster.urls()[next]), 1, "two");

    cluster.rejoin(leader);
    eventually(PATIENCE, "the isolated server to catch up", || holds(&inside, "two"));
}
