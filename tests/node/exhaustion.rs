//! A process that may have no more descriptors or threads; and what a node needs of them.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use leasehold::config::TransportChoice;
use leasehold::error::{StartError, StoreError};
use leasehold::{Config, Event, Node};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::alone::alone;
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::{eventually, eventually_some};

const PATIENCE: Duration = Duration::from_secs(30);
/// An error "at once" comes within this time; the connect timeout is longer.
const AT_ONCE: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(20);

fn start(server: &NatsServer, transport: TransportChoice) -> Result<Node, StartError> {
    let config = Config::builder("orders", "node", [server.url()])
        .transport(transport)
        .connect_timeout(TIMEOUT)
        .reconnect_wait(Duration::from_millis(200))
        .build()
        .expect("valid");
    Node::start(config)
}

fn count(of: &str) -> usize {
    fs::read_dir(format!("/proc/self/{of}")).expect("procfs").count()
}

/// This library's threads.
fn own_threads() -> Vec<String> {
    let names = fs::read_dir("/proc/self/task").expect("procfs").flatten();
    let names = names.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("leasehold")).collect()
}

/// Lowers the limit of `resource`, for this process and those it starts.
fn limit(resource: Resource, current: u64) {
    let maximum = getrlimit(resource).maximum;
    setrlimit(resource, Rlimit { current: Some(current), maximum }).expect("no higher than before");
}

/// Takes descriptors until only `left` are left.
fn all_but(left: usize) -> Vec<File> {
    let mut taken: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    taken.truncate(taken.len() - left);
    taken
}

#[track_caller]
fn is_system(error: &StoreError, purpose: &str) {
    assert!(matches!(error, StoreError::System { .. }), "{error:?}");
    assert!(error.to_string().contains(purpose), "{error}");
}

/// A start with any number of descriptors too few fails at once, and leaves nothing.
fn without_descriptors(transport: TransportChoice) {
    alone(|| {
        let server = NatsServer::start(Version::Newest);
        drop(start(&server, transport).expect("there are enough"));
        limit(Resource::Nofile, 64);
        let (threads, descriptors) = (count("task"), count("fd"));
        let mut failures = 0;
        for left in 0.. {
            let taken = all_but(left);
            let begun = Instant::now();
            let result = start(&server, transport);
            let took = begun.elapsed();
            drop(taken);
            match result {
                Ok(node) => break drop(node),
                Err(StartError::Store(error)) => is_system(&error, "cannot "),
                Err(error) => panic!("{left} descriptors: {error:?}"),
            }
            assert!(took < AT_ONCE, "{left} descriptors: {took:?}");
            failures += 1;
        }
        assert!(failures >= 3, "{failures}");
        eventually(PATIENCE, "the threads to end", || count("task") <= threads);
        eventually(PATIENCE, "the descriptors to go", || count("fd") <= descriptors);
    });
}

#[test]
fn a_start_without_descriptors_fails_at_once_with_direct() {
    without_descriptors(TransportChoice::Direct);
}

#[test]
fn a_start_without_descriptors_fails_at_once_with_nats_client() {
    without_descriptors(TransportChoice::NatsClient);
}

/// A node that loses its connection and gets no descriptor says so, and recovers.
fn out_of_descriptors(transport: TransportChoice) {
    alone(|| {
        let mut server = NatsServer::start(Version::Newest);
        let node = start(&server, transport).expect("there are enough");
        node.wait_for_leadership(PATIENCE).expect("alone");
        limit(Resource::Nofile, 64);
        let taken = all_but(0);
        // The test itself has no descriptor to wait for the server's end.
        server.signal(rustix::process::Signal::KILL);
        let error = eventually_some(PATIENCE, "the system's error", || {
            node.events().try_next().and_then(|event| match event {
                Event::Disconnected { error: error @ StoreError::System { .. } } => Some(error),
                _ => None,
            })
        });
        is_system(&error, "cannot ");
        drop(taken);
        server.restart();
        eventually(PATIENCE, "a new connection", || node.is_connected());
        node.wait_for_leadership(PATIENCE).expect("alone");
    });
}

#[test]
fn a_node_without_descriptors_says_so_and_recovers_with_direct() {
    out_of_descriptors(TransportChoice::Direct);
}

#[test]
fn a_node_without_descriptors_says_so_and_recovers_with_nats_client() {
    out_of_descriptors(TransportChoice::NatsClient);
}

/// With `direct`, a node is one thread and nothing else.
#[test]
fn a_node_with_direct_is_one_thread() {
    alone(|| {
        let server = NatsServer::start(Version::Newest);
        let (threads, descriptors) = (count("task"), count("fd"));
        let node = start(&server, TransportChoice::Direct).expect("there is a server");
        node.wait_for_leadership(PATIENCE).expect("alone");
        assert_eq!(own_threads(), ["leasehold-renew\n"]);
        assert_eq!(count("task"), threads + 1);
        node.stop();
        assert_eq!(own_threads(), [""; 0]);
        // The kernel forgets a thread a moment after it was joined.
        eventually(PATIENCE, "the thread to go", || count("task") == threads);
        assert_eq!(count("fd"), descriptors);
    });
}
