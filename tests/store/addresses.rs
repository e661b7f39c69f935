//! Names with several addresses, of which some do not answer; and TLS with a name.
//!
//! In a network and a mount namespace with a hosts file of its own. Everything that is sent to a
//! dead address vanishes. The server listens on all IPv4 addresses.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use leasehold::config::{ConfigBuilder, Tls, TransportChoice};
use leasehold::error::StoreError;
use nix::sched::{CloneFlags, unshare};

use crate::driver::{Driver, on_nats};
use crate::netns::{ip, isolated};
use crate::support::alone::alone;
use crate::support::server::{Builder, NatsServer};
use crate::support::tls::Certificates;
use crate::support::version::Version;

/// The timeout of an attempt: whoever waits for a dead address exceeds the bound.
const TIMEOUT: Duration = Duration::from_secs(20);
/// It takes less than a second; a loaded machine gets more.
const BOUND: Duration = Duration::from_secs(10);

/// Names with their addresses, in the order of the system's resolver.
const NAMES: [(&str, &[&str]); 4] = [
    ("dead-ipv6-first", &["2001:db8::2", "10.9.0.9"]),
    ("dead-second", &["10.9.0.1", "10.9.0.2"]),
    ("both", &["10.9.0.1", "10.9.0.9"]),
    ("one-of-four", &["10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.9"]),
];

/// Runs `test` where these names are known, in a process of its own: threads that it starts for
/// other tests, too, would be in its namespaces.
fn with_names(test: impl FnOnce() + Send + 'static) {
    let inside = || {
        // Without ARP, frames go out to nobody, and nothing says that nobody is there.
        ip("link add void type veth peer name end");
        ip("link set void arp off up");
        ip("link set end up");
        ip("addr add 10.9.0.1/24 dev void");
        ip("addr add 2001:db8::1/64 dev void nodad");
        ip("route add local 10.9.0.9 dev lo src 10.9.0.1");
        let hosts = tempfile::NamedTempFile::new().expect("a temporary file");
        let lines = NAMES.iter().flat_map(|(name, addresses)| {
            addresses.iter().map(move |address| format!("{address} {name}\n"))
        });
        fs::write(&hosts, lines.collect::<String>()).expect("written");
        unshare(CloneFlags::CLONE_NEWNS).expect("the right to make a mount namespace");
        mount(&["--make-rprivate", "/"]);
        mount(&["--bind", &hosts.path().display().to_string(), "/etc/hosts"]);
        for (name, addresses) in NAMES {
            let found = (name, 1).to_socket_addrs().expect("a name of the hosts file");
            assert!(found.map(|one| one.ip().to_string()).eq(addresses.iter().copied()), "{name}");
        }
        test();
    };
    alone(|| isolated(inside));
}

fn mount(arguments: &[&str]) {
    let status = Command::new("mount").args(arguments).status();
    let status = status.expect("mount is missing: apt-get install mount");
    assert!(status.success(), "mount {arguments:?}: {status}");
}

/// A server in the namespace of the calling thread.
fn here(server: Builder) -> NatsServer {
    let (process, thread) = (std::process::id(), nix::unistd::gettid());
    server.namespace(&format!("/proc/{process}/task/{thread}/ns/net")).start()
}

fn store(
    server: &NatsServer,
    name: &str,
    set: impl FnOnce(ConfigBuilder) -> ConfigBuilder,
) -> Driver {
    let url = format!("nats://{name}:{}", server.address().port());
    on_nats(&[url], |config| set(config.connect_timeout(TIMEOUT)))
}

fn connects(transport: TransportChoice) {
    with_names(move || {
        let mut server = here(NatsServer::builder(Version::Newest));
        for (name, _) in NAMES {
            let begun = Instant::now();
            let mut driver = store(&server, name, |config| config.transport(transport));
            driver.wait_connected();
            let first = begun.elapsed();
            server.kill();
            driver.wait_disconnected();
            server.restart();
            let begun = Instant::now();
            driver.wait_connected();
            let again = begun.elapsed();
            println!("measured: {name}: connects in {first:.2?}, once more in {again:.2?}");
            assert!(first < BOUND && again < BOUND, "{name}: {first:?}, {again:?}");
        }
    });
}

#[test]
fn dead_addresses_delay_little_with_direct() {
    connects(TransportChoice::Direct);
}

#[test]
fn dead_addresses_delay_little_with_nats_client() {
    connects(TransportChoice::NatsClient);
}

/// A server that sends its INFO after `pause`, and `reply` once it has received PING.
fn serve(address: SocketAddr, pause: Duration, reply: &'static str) {
    let listener = TcpListener::bind(address).expect("a free address");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || talk(stream, pause, reply));
        }
    });
}

fn talk(mut stream: TcpStream, pause: Duration, reply: &str) -> io::Result<()> {
    thread::sleep(pause);
    stream.write_all(b"INFO {\"version\":\"2.15.1\",\"headers\":true}\r\n")?;
    let lines = BufReader::new(stream.try_clone()?).lines().map_while(Result::ok);
    for _ping in lines.filter(|line| line == "PING") {
        stream.write_all(reply.as_bytes())?;
    }
    Ok(())
}

/// The second address refuses while the first one is still in its handshake.
#[test]
fn an_address_that_refuses_does_not_end_the_handshake_with_another() {
    with_names(|| {
        let port = TcpListener::bind("0.0.0.0:0").and_then(|one| one.local_addr());
        let port = port.expect("a free port").port();
        let refusal = "-ERR 'Authorization Violation'\r\n";
        let (first, second) = (Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 9));
        serve((first, port).into(), Duration::from_secs(1), "PONG\r\n");
        serve((second, port).into(), Duration::ZERO, refusal);
        let mut driver = on_nats(&[format!("nats://both:{port}")], |config| {
            config.connect_timeout(TIMEOUT).transport(TransportChoice::Direct)
        });
        driver.wait_connected();
        assert!(driver.seen.is_empty(), "{:?}", driver.seen);
    });
}

fn has_the_name(transport: TransportChoice) {
    with_names(move || {
        let certificates = Certificates::of_server(&["dead-ipv6-first"]);
        let server = here(NatsServer::builder(Version::Newest).tls(&certificates));
        let tls = Tls { ca_file: Some(certificates.authority()), ..Tls::default() };
        let to = |name| store(&server, name, |config| config.transport(transport).tls(tls.clone()));
        to("dead-ipv6-first").wait_connected();
        let begun = Instant::now();
        // What an operator must put right is told at once: no dead address is waited for.
        let error = to("dead-second").wait_disconnected();
        assert!(matches!(error, StoreError::Tls { .. }), "{error:?}");
        assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    });
}

#[test]
fn a_certificate_is_for_the_name_with_direct() {
    has_the_name(TransportChoice::Direct);
}

#[test]
fn a_certificate_is_for_the_name_with_nats_client() {
    has_the_name(TransportChoice::NatsClient);
}
