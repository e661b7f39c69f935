//! A process that may have no more descriptors or threads; and what a node needs of them.

use std::fs::{self, File};
use std::thread::sleep;
use std::time::{Duration, Instant};

use leasehold::config::TransportChoice;
use leasehold::error::{StartError, StoreError};
use leasehold::{Config, Event, Node};
use nix::unistd::{Uid, getuid, setresuid};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::alone::alone;
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::{eventually, eventually_some};

const PATIENCE: Duration = Duration::from_secs(30);
/// An error "at once" comes within this time; the connect timeout is longer.
const AT_ONCE: Duration = Duration::from_secs(5);
/// What has not ended by then is left behind.
const SETTLED: Duration = Duration::from_secs(2);
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
            println!("measured: {left} descriptors: {took:.1?}: {:?}", result.as_ref().err());
            drop(taken);
            match result {
                Ok(_) => break,
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

/// Starts a node with one more thread each time, until there are some for its transport. Each start
/// is over at once.
fn with_few_threads(server: &NatsServer, transport: TransportChoice) -> Result<(), StartError> {
    // Root's threads have no limit.
    let (root, user) = (Uid::from_raw(0), Uid::from_raw(100_000 + std::process::id()));
    let is_root = getuid().is_root();
    if is_root {
        setresuid(user, user, root).expect("a user without other threads");
    }
    let maximum = getrlimit(Resource::Nproc).current.unwrap_or(u64::MAX);
    let starts = (1..).map(|threads| {
        limit(Resource::Nproc, threads);
        let begun = Instant::now();
        let result = start(server, transport).map(drop);
        assert!(begun.elapsed() < AT_ONCE, "{threads} threads: {:?}", begun.elapsed());
        // The next start must not count on threads that end during it.
        let begun = Instant::now();
        while !own_threads().is_empty() && begun.elapsed() < SETTLED {
            sleep(Duration::from_millis(1));
        }
        result
    });
    let mut starts = starts.skip_while(|result| matches!(result, Err(StartError::Thread(_))));
    let result = starts.next().expect("endless");
    limit(Resource::Nproc, maximum);
    if is_root {
        setresuid(root, root, root).expect("the saved user");
    }
    result
}

#[test]
fn a_start_without_threads_fails_at_once_with_direct() {
    alone(|| {
        let server = NatsServer::start(Version::Newest);
        let descriptors = count("fd");
        with_few_threads(&server, TransportChoice::Direct).expect("it needs one");
        eventually(PATIENCE, "the threads to end", || own_threads().is_empty());
        assert_eq!(count("fd"), descriptors);
    });
}

/// The crate panics; what it leaves behind is a known limit.
#[test]
fn a_start_without_threads_fails_at_once_with_nats_client() {
    alone(|| {
        let server = NatsServer::start(Version::Newest);
        // A thread of the test's own that ends meanwhile makes room for one more than was meant.
        // Then the node starts, and its threads have to end before the next try.
        let threads = count("task");
        let error = (0..10).find_map(|_| {
            eventually(PATIENCE, "the threads to end", || count("task") <= threads);
            match with_few_threads(&server, TransportChoice::NatsClient) {
                Err(StartError::Store(error)) => Some(error),
                _ => None,
            }
        });
        is_system(&error.expect("it needs several"), "cannot start ");
        start(&server, TransportChoice::NatsClient).expect("there are enough again");
    });
}

/// A node that loses its connection and gets no descriptor says so, and recovers.
fn out_of_descriptors(transport: TransportChoice) {
    alone(|| {
        let mut server = NatsServer::start(Version::Newest);
        let node = start(&server, transport).expect("there are enough");
        node.wait_for_leadership(PATIENCE).expect("alone");
        limit(Resource::Nofile, 64);
        let mut taken = all_but(0);
        // The test itself has no descriptor to wait for the server's end.
        server.signal(rustix::process::Signal::KILL);
        let error = eventually_some(PATIENCE, "the system's error", || {
            // The lost connection had some.
            taken.extend(all_but(0));
            match node.events().try_next()? {
                Event::Disconnected { error: error @ StoreError::System { .. } } => Some(error),
                Event::Problem(error @ StoreError::System { .. }) => Some(error),
                _ => None,
            }
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
