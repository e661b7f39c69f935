//! Connections of the store on NATS: servers that are mute, frozen, gone, or hostile; and threads
//! and sockets that must not be left afterwards.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use leasehold::config::TransportChoice;
use leasehold::error::StoreError;
use leasehold::store::{Outcome, Request, StoreEvent};
use rustix::process::Signal;

use crate::driver::{PATIENCE, SILENCE, connected, on_nats, write};
use crate::support::alone::alone;
use crate::support::port::Port;
use crate::support::proxy::Proxy;
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::eventually;

fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("Linux").count()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux").count()
}

/// A server with its own handling of each connection.
struct Fake {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Fake {
    fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                serve(stream);
            }
        });
        Self { address, connections }
    }

    fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

const GREETING: &str = r#"{"server_id":"F","server_name":"F","version":"2.11.0","go":"","host":"h","port":1,"headers":true,"max_payload":1048576,"proto":1,"client_id":1"#;

fn greet(stream: &mut TcpStream, more: &str) {
    let _ = write!(stream, "INFO {GREETING}{more}}}\r\n");
}

/// Keeps a connection open for ever without a word.
fn keep(stream: TcpStream) {
    std::mem::forget(stream);
}

/// A hundred attempts with a server that falls silent in its handshake: no thread is left
fn a_hundred_attempts(serve: fn(TcpStream)) {
    alone(|| {
        let fake = Fake::start(serve);
        let before = threads();
        let mut driver = on_nats(&[fake.url()], |config| {
            config
                .connect_timeout(Duration::from_millis(100))
                .reconnect_wait(Duration::from_millis(10))
        });
        let mut most = 0;
        for _ in 0..100 {
            let error = driver.wait_disconnected();
            assert!(
                matches!(error, StoreError::Unreachable { .. } | StoreError::Tls { .. }),
                "{error:?}"
            );
            most = most.max(threads());
        }
        // Four that try, and four that read names and files for them.
        assert!(most <= before + 8, "{before} threads became {most}");
        driver.close();
        eventually(PATIENCE, "the attempt's thread to end", || threads() <= before);
        // The probes, and never a client. On a loaded machine a few end before they have begun.
        eventually(PATIENCE, "the connections", || fake.connections() >= 50);
        assert!(fake.connections() <= 101, "{}", fake.connections());
    });
}

#[test]
fn a_server_that_is_mute_from_the_start() {
    a_hundred_attempts(keep);
}

#[test]
fn a_server_that_is_mute_after_its_greeting() {
    a_hundred_attempts(|mut stream| {
        greet(&mut stream, "");
        keep(stream);
    });
}

#[test]
fn a_server_that_is_mute_within_tls() {
    a_hundred_attempts(|mut stream| {
        greet(&mut stream, ",\"tls_required\":true");
        keep(stream);
    });
}

/// Attempts to connect to a server that sends these bytes first; returns the error.
fn failure(first: &'static [u8]) -> String {
    let fake = Fake::start(move |mut stream| {
        let _ = stream.write_all(first);
        // The client's bytes are read, so that the connection ends in an orderly way.
        thread::spawn(move || {
            let mut lines = BufReader::new(stream).lines();
            while lines.next().is_some_and(|line| line.is_ok()) {}
        });
    });
    let mut driver =
        on_nats(&[fake.url()], |config| config.connect_timeout(Duration::from_millis(500)));
    driver.wait_disconnected().to_string()
}

#[test]
fn servers_of_other_protocols_are_recognised() {
    assert!(failure(b"HTTP/1.1 400 Bad Request\r\n\r\n").contains("not a NATS server"));
    assert!(failure(b"INFO {]\r\n").contains("not a NATS server"));
    assert!(failure(b"INFO {}\r\n").contains("no message headers"));
    assert!(failure(b"\xff\xfe\r\n").contains("not text"));
    let endless: &[u8] = Box::leak(vec![b'x'; 100_000].into_boxed_slice());
    assert!(failure(endless).contains("longer than the client can read"));
}

#[test]
fn an_unreachable_server_is_named_and_retried_with_pauses() {
    let port = Port::reserve();
    let url = format!("nats://{}", port.address());
    let begun = Instant::now();
    let mut driver = on_nats(std::slice::from_ref(&url), |config| {
        config.reconnect_wait(Duration::from_millis(400))
    });
    for _ in 0..8 {
        let error = driver.wait_disconnected();
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains(&url), "{error}");
    }
    // Half of 50, 100, 200, 400, 400, 400, 400 ms at the least.
    assert!(begun.elapsed() >= Duration::from_millis(975), "{:?}", begun.elapsed());
    let mut request = |request| driver.ask(request);
    assert!(matches!(request(Request::Read), Outcome::Failed(StoreError::Disconnected(_))));
    assert!(matches!(request(write(0, None, "x")), Outcome::Failed(StoreError::Disconnected(_))));
}

#[test]
fn a_host_name_without_address_is_reported() {
    let mut driver = on_nats(&["nats://no-such-host.invalid:4222".into()], |config| config);
    let error = driver.wait_disconnected();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
}

/// It answers every handshake and then hangs up.
#[test]
fn a_server_that_hangs_up_is_not_hammered() {
    let fake = Fake::start(|mut stream| {
        greet(&mut stream, "");
        let Ok(copy) = stream.try_clone() else { return };
        // The handshake, and the flush after the subscriptions: the inbox, and sometimes notices.
        let mut subscribed = false;
        for line in BufReader::new(copy).lines().map_while(Result::ok) {
            let ping = line.starts_with("PING");
            if ping && (stream.write_all(b"PONG\r\n").is_err() || subscribed) {
                return;
            }
            subscribed |= line.starts_with("SUB ");
        }
    });
    let begun = Instant::now();
    let mut driver =
        on_nats(&[fake.url()], |config| config.reconnect_wait(Duration::from_millis(300)));
    // After it was connected, or already before the store could say so.
    for _ in 0..6 {
        driver.wait_disconnected();
    }
    // Half of 50, 100, 200, 300, 300 ms at the least.
    assert!(begun.elapsed() >= Duration::from_millis(475), "{:?}", begun.elapsed());
}

on_both_servers!(another_server_of_the_list_is_used, |version| {
    let mut servers = [NatsServer::start(version), NatsServer::start(version)];
    let unused = Port::reserve();
    let urls = [format!("nats://{}", unused.address()), servers[0].url(), servers[1].url()];
    let mut driver = on_nats(&urls, |config| config);
    assert_eq!(driver.wait_connected(), servers[0].url());
    driver.create();
    servers[0].kill();
    driver.wait_disconnected();
    assert_eq!(driver.wait_connected(), servers[1].url());
    // They are no cluster: the bucket is not there.
    assert_eq!(driver.ask(Request::Read), Outcome::NoBucket);
});

on_both_servers!(a_connection_that_is_reset_is_replaced, |version| {
    let server = NatsServer::start(version);
    let proxy = Proxy::start(server.address());
    let mut driver = connected(&[proxy.url()]);
    driver.create();
    for _ in 0..5 {
        let ticket = driver.submit(Request::Read);
        proxy.cut();
        driver.wait_disconnected();
        let outcome = driver.outcome(ticket);
        assert!(matches!(outcome, Outcome::Unknown(_) | Outcome::Read(_)), "{outcome:?}");
        driver.wait_connected();
        driver.read();
    }
});

// A black hole that is filled until the socket takes no more.
on_both_servers!(a_full_socket_does_not_block_the_store, |version| {
    let server = NatsServer::start(version);
    let proxy = Proxy::start(server.address());
    let mut driver = connected(&[proxy.url()]);
    driver.create();
    proxy.freeze();
    let begun = Instant::now();
    let record = "x".repeat(16 * 1024);
    let mut refused = 0;
    for n in 0..2000 {
        driver.submit(write(0, None, &record));
        if n % 100 == 0 {
            while let Some(event) = driver.fresh(Duration::ZERO) {
                let failed = |outcome: &Outcome| {
                    matches!(outcome, Outcome::Failed(StoreError::Disconnected(_)))
                };
                match event {
                    StoreEvent::Completed { outcome, .. } if failed(&outcome) => refused += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert!(refused > 0, "32 MB went into the socket");
    driver.store.reconnect();
    driver.wait_disconnected();
    // A write that blocked would last until the thaw.
    assert!(begun.elapsed() < 2 * PATIENCE, "{:?}", begun.elapsed());
    proxy.thaw();
    driver.wait_connected();
    driver.read();
});

on_both_servers!(a_frozen_connection_that_was_given_up_ends_with_the_thaw, |version| {
    alone(|| {
        let server = NatsServer::start(version);
        let proxy = Proxy::start(server.address());
        let mut driver = connected(&[proxy.url()]);
        driver.create();
        let (before, open) = (threads(), descriptors());
        for _ in 0..5 {
            proxy.freeze();
            driver.submit(Request::Read);
            driver.store.reconnect();
            driver.wait_disconnected();
            proxy.thaw();
            driver.wait_connected();
            driver.read();
        }
        eventually(PATIENCE, "the old connections to end", || {
            let _ = driver.fresh(Duration::ZERO);
            threads() <= before && descriptors() <= open
        });
    });
});

/// Answers a client's handshake and its flush, then falls silent.
fn shake_hands(mut stream: TcpStream, silent: &Arc<Mutex<Vec<TcpStream>>>) {
    greet(&mut stream, "");
    let silent = Arc::clone(silent);
    thread::spawn(move || {
        let Ok(copy) = stream.try_clone() else { return };
        let lines = BufReader::new(copy).lines().map_while(Result::ok);
        let pings = lines.filter(|line| line.starts_with("PING"));
        // CONNECT, the client's own flush, and the one after the subscriptions.
        for _ in pings.take(3) {
            if stream.write_all(b"PONG\r\n").is_err() {
                return;
            }
        }
        silent.lock().expect("no panic").push(stream);
    });
}

#[test]
fn clients_that_cannot_end_are_limited_in_number() {
    let silent = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&silent);
    let fake = Fake::start(move |stream| shake_hands(stream, &keep));
    let mut driver = on_nats(&[fake.url()], |config| {
        // Its clients have threads, which a mute server keeps from ending.
        let config = config.transport(TransportChoice::NatsClient);
        config.reconnect_wait(Duration::from_millis(10))
    });
    let mut connected = 0;
    loop {
        match driver.next(PATIENCE).expect("it goes on trying") {
            StoreEvent::Connected { .. } => {
                connected += 1;
                driver.store.reconnect();
            }
            StoreEvent::Disconnected { error } => {
                if error.to_string().contains("earlier connections have not ended") {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(connected, 32);
    // They end with their peers, and others may come.
    silent.lock().expect("no panic").clear();
    driver.wait_connected();
}

#[test]
fn a_connection_whose_reader_panicked_is_replaced() {
    let calm = NatsServer::start(Version::Newest);
    let silent = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&silent);
    let fake = Fake::start(move |stream| shake_hands(stream, &keep));
    let mut driver =
        on_nats(&[fake.url(), calm.url()], |config| config.transport(TransportChoice::NatsClient));
    driver.wait_connected();
    eventually(PATIENCE, "the handshake to end", || !silent.lock().expect("no panic").is_empty());
    for stream in silent.lock().expect("no panic").iter_mut() {
        let _ = stream.write_all(&vec![b'x'; 40_000]);
    }
    let ticket = driver.submit(Request::Read);
    assert_eq!(driver.next(SILENCE), None);
    driver.store.reconnect();
    driver.wait_disconnected();
    assert!(matches!(driver.outcome(ticket), Outcome::Unknown(_)));
    assert_eq!(driver.wait_connected(), calm.url());
    driver.create();
}

on_both_servers!(two_hundred_stores_leave_nothing_behind, |version| {
    alone(|| {
        let server = NatsServer::start(version);
        connected(&[server.url()]).create();
        eventually(PATIENCE, "the first store to end", || threads() <= 4);
        let (before, open) = (threads(), descriptors());
        for round in 0..200 {
            let mut driver = connected(&[server.url()]);
            driver.read();
            // Closed, dropped, or reconnected and dropped.
            match round % 3 {
                0 => driver.close(),
                1 => driver.store.reconnect(),
                _ => {}
            }
        }
        eventually(PATIENCE, "all threads and sockets to end", || {
            threads() <= before && descriptors() <= open
        });
    });
});

#[test]
fn a_server_restarted_many_times_leaves_nothing_behind() {
    alone(|| {
        let mut server = NatsServer::start(Version::Newest);
        let mut driver = connected(&[server.url()]);
        driver.create();
        let (before, open) = (threads(), descriptors());
        for _ in 0..10 {
            server.kill();
            driver.wait_disconnected();
            server.restart();
            driver.wait_connected();
            driver.read();
        }
        eventually(PATIENCE, "the old connections to end", || {
            let _ = driver.fresh(Duration::ZERO);
            threads() <= before && descriptors() <= open
        });
    });
}

/// Signals of the program never interrupt a thread of ours, nor of the client.
#[test]
fn every_thread_blocks_signals() {
    alone(|| {
        let server = NatsServer::start(Version::Newest);
        let others: Vec<_> = tasks();
        let mut driver =
            on_nats(&[server.url()], |config| config.transport(TransportChoice::NatsClient));
        driver.wait_connected();
        let ours: Vec<_> = tasks().into_iter().filter(|task| !others.contains(task)).collect();
        assert!(ours.len() >= 2, "{ours:?}");
        for task in ours {
            let Ok(status) = fs::read_to_string(task.join("status")) else { continue };
            let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
            let mask = u64::from_str_radix(blocked.expect("a mask").trim(), 16).expect("a number");
            for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::USR1, Signal::CHILD] {
                let bit = 1 << (signal.as_raw() - 1);
                assert_ne!(mask & bit, 0, "{signal:?} in {status}");
            }
        }
        drop(driver);
    });
}

fn tasks() -> Vec<std::path::PathBuf> {
    fs::read_dir("/proc/self/task").expect("Linux").flatten().map(|task| task.path()).collect()
}

on_both_servers!(a_server_in_lame_duck_mode_is_replaced, |version| {
    let grace = "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"1s\"";
    let servers = [(); 2].map(|()| NatsServer::builder(version).config(grace).start());
    let mut driver = connected(&servers.each_ref().map(NatsServer::url));
    driver.create();
    servers[0].signal(Signal::USR2);
    let error = driver.wait_disconnected();
    assert!(error.to_string().contains("lame duck"), "{error}");
    assert_eq!(driver.wait_connected(), servers[1].url());
    driver.create();
    assert_eq!(driver.next(SILENCE), None);
});

on_both_servers!(a_single_server_in_lame_duck_mode_is_used_to_the_end, |version| {
    let grace = "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"2s\"";
    let server = NatsServer::builder(version).config(grace).start();
    let mut driver = connected(&[server.url()]);
    driver.create();
    server.signal(Signal::USR2);
    // Not by us.
    let error = driver.wait_disconnected().to_string();
    assert!(error.ends_with("closed it"), "{error}");
});
