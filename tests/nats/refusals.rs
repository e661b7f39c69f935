//! A server that refuses is told: as an event, once for each change, and as the problem in the
//! status, until a request of that kind succeeds.

use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use leasehold::config::ConfigBuilder;
use leasehold::{Event, Node, StoreError};
use serde_json::{Value, json};

use crate::nodes::{PATIENCE, config};
use crate::start::with_bucket;
use crate::support::bucket::Bucket;
use crate::support::codes::{Code, codes_of};
use crate::support::nats::{Client, Message, Plain};
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::{eventually, eventually_some};

const WRITE: &str = "$KV.cluster-orders.lease";
const GET: &str = "$JS.API.STREAM.MSG.GET.KV_cluster-orders";
const INFO: &str = "$JS.API.STREAM.INFO.KV_cluster-orders";
const CREATE: &str = "$JS.API.STREAM.CREATE.KV_cluster-orders";

/// What the impostor refuses: a subject, and the error.
#[derive(Debug, Default)]
struct Refusal {
    now: Mutex<Option<(&'static str, Code)>>,
    /// How many requests were refused.
    count: AtomicU32,
}

impl Refusal {
    fn set(&self, refused: Option<(&'static str, Code)>) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = refused;
    }

    fn of(&self, subject: &str) -> Option<Code> {
        let now = *self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let code = now.filter(|(refused, _)| *refused == subject).map(|(_, code)| code)?;
        self.count.fetch_add(1, Ordering::SeqCst);
        Some(code)
    }
}

/// A client in place of JetStream, with one bucket, that refuses what it is told to.
struct Impostor {
    refusal: Arc<Refusal>,
    connection: TcpStream,
    thread: Option<JoinHandle<()>>,
    server: NatsServer,
}

impl Impostor {
    fn start(version: Version) -> Self {
        let server = NatsServer::builder(version).without_jetstream().start();
        let mut client = Plain::connect(&server.url(), &[WRITE, GET, INFO, CREATE]);
        let (refusal, connection) = (Arc::<Refusal>::default(), client.handle());
        let refuses = Arc::clone(&refusal);
        let thread = thread::spawn(move || {
            let mut bucket = Memory::default();
            while let Some(message) = client.next() {
                let Some(reply) = message.reply.clone() else { continue };
                let response = match refuses.of(&message.subject) {
                    Some(code) => json!({ "error": code.error() }),
                    None => bucket.respond(&message),
                };
                client.publish(&reply, "nobody", &[], response.to_string().as_bytes());
            }
        });
        Self { refusal, connection, thread: Some(thread), server }
    }

    fn refuse(&self, subject: &'static str, code: Code) {
        self.refusal.count.store(0, Ordering::SeqCst);
        self.refusal.set(Some((subject, code)));
    }

    fn accept(&self) {
        self.refusal.set(None);
    }

    fn refused(&self) -> u32 {
        self.refusal.count.load(Ordering::SeqCst)
    }

    /// A node whose requests are repeated soon.
    fn node(&self) -> Node {
        let config = config(&self.server.url()).node_id("a");
        let config = config.request_timeout(Duration::from_millis(100)).build().expect("valid");
        Node::start(config).expect("it can be read")
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        let _ = self.connection.shutdown(Shutdown::Both);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The bucket of an impostor.
#[derive(Default)]
struct Memory {
    created: bool,
    revision: u64,
    record: Vec<u8>,
}

impl Memory {
    fn respond(&mut self, message: &Message) -> Value {
        let error = |status: u32, code: u32| json!({ "error": Code { code, status }.error() });
        match message.subject.as_str() {
            CREATE => {
                self.created = true;
                self.info()
            }
            _ if !self.created => error(404, 10059),
            INFO => self.info(),
            GET if self.revision == 0 => error(404, 10037),
            GET => json!({ "message": {
                "subject": WRITE, "seq": self.revision, "data": BASE64.encode(&self.record),
            } }),
            _ => {
                let expected = message.header("Nats-Expected-Last-Subject-Sequence");
                if expected != Some(&self.revision.to_string()) {
                    return error(400, 10071);
                }
                self.revision += 1;
                self.record.clone_from(&message.body);
                json!({ "stream": "KV_cluster-orders", "seq": self.revision })
            }
        }
    }

    fn info(&self) -> Value {
        json!({
            "config": {
                "name": "KV_cluster-orders", "subjects": ["$KV.cluster-orders.>"],
                "storage": "file", "num_replicas": 1,
            },
            "created": "2026-01-02T03:04:05Z",
            "state": { "messages": self.revision.min(1), "last_seq": self.revision },
        })
    }
}

/// The next problem that a node tells.
#[track_caller]
fn next_problem(node: &Node) -> StoreError {
    eventually_some(PATIENCE, "a problem", || match node.events().try_next() {
        Some(Event::Problem(error)) => Some(error),
        _ => None,
    })
}

/// The problems that were not taken yet.
fn problems(node: &Node) -> Vec<StoreError> {
    let problem = |event| match event {
        Event::Problem(error) => Some(error),
        _ => None,
    };
    std::iter::from_fn(|| node.events().try_next()).filter_map(problem).collect()
}

#[track_caller]
fn solved(node: &Node) {
    eventually(PATIENCE, "the problem to be over", || node.status().problem.is_none());
}

// A leader's renewals, with each code. The three codes of a lost race are told when no other write
// has come.
on_both_servers!(every_code_is_told_until_a_renewal_is_stored, |version| {
    let impostor = Impostor::start(version);
    let node = impostor.node();
    let term = node.wait_for_leadership(PATIENCE).expect("alone");
    for code in codes_of(version) {
        impostor.refuse(WRITE, code);
        // A leader renews at once.
        node.set_meta(Some(code.code.into())).expect("short");
        let error = next_problem(&node);
        assert!(error.to_string().contains(&code.description()), "{code:?}: {error}");
        assert_eq!(node.status().problem, Some(error), "{code:?}");
        assert!(term.is_valid(), "{code:?}");
        impostor.accept();
        solved(&node);
        assert_eq!(problems(&node), [], "{code:?}");
    }
});

on_both_servers!(a_code_that_stays_is_told_once, |version| {
    let impostor = Impostor::start(version);
    let node = impostor.node();
    node.wait_for_leadership(PATIENCE).expect("alone");
    for code in [(10077, 503), (10023, 503), (10047, 500), (10002, 400), (10164, 400)] {
        let code = Code { code: code.0, status: code.1 };
        impostor.refuse(WRITE, code);
        next_problem(&node);
        eventually(PATIENCE, "further refusals", || impostor.refused() >= 6);
        assert_eq!(problems(&node), [], "{code:?}");
        impostor.accept();
        solved(&node);
    }
});

// A node that finds no bucket, and may not make one; then one that may not read.
on_both_servers!(refused_creations_and_reads_are_told, |version| {
    let impostor = Impostor::start(version);
    for (code, status) in [(10023, 503), (10047, 500), (10027, 400)] {
        let code = Code { code, status };
        impostor.refuse(CREATE, code);
        let node = impostor.node();
        let error = next_problem(&node);
        assert!(error.to_string().contains(&code.description()), "{code:?}: {error}");
        assert_eq!(node.status().problem, Some(error));
    }
    impostor.accept();
    let leader = impostor.node();
    leader.wait_for_leadership(PATIENCE).expect("alone");
    let observer = leasehold::Observer::start(leader.config().clone()).expect("it can be read");
    let client = Client::connect(&impostor.server.url());
    for subject in [GET, INFO] {
        impostor.refuse(subject, Code { code: 10008, status: 503 });
        let problem = eventually_some(PATIENCE, "the problem", || {
            // Any message on the key is a reason to read.
            client.publish(WRITE, "news");
            observer.status().problem
        });
        assert!(problem.to_string().contains("10008"), "{problem}");
        impostor.accept();
        eventually(PATIENCE, "the problem to be over", || observer.status().problem.is_none());
    }
});

/// A start that comes to nothing says what the server said.
#[test]
fn a_start_with_a_server_that_keeps_refusing_names_the_code() {
    let impostor = Impostor::start(Version::Newest);
    impostor.refuse(INFO, Code { code: 10008, status: 503 });
    let config = config(&impostor.server.url()).node_id("a");
    let config = config.connect_timeout(Duration::from_secs(1)).build().expect("valid");
    let error = Node::start(config).expect_err("it cannot be read").to_string();
    assert!(error.contains("10008"), "{error}");
}

fn quick(url: &str) -> ConfigBuilder {
    let (ttl, renew) = (Duration::from_secs(3), Duration::from_millis(300));
    config(url).node_id("a").lease_ttl(ttl).renew_interval(renew)
}

/// A node in a bucket that another program made, whose configuration was changed like that, tells
/// that the stream refuses; with the usual configuration it leads.
#[track_caller]
fn told_until_mended(version: Version, change: impl Fn(&mut Value), says: &str) {
    let server = with_bucket(version, change);
    let client = Client::connect(&server.url());
    let bucket = Bucket::of_cluster(&client, "orders");
    bucket.put("other", "x").expect("room for one message of one byte");
    let node = Node::start(quick(&server.url()).build().expect("valid")).expect("suitable");
    let error = next_problem(&node);
    assert!(matches!(error, StoreError::Server { code: 10077, .. }), "{error}");
    assert!(error.to_string().contains(says), "{error}");
    assert_eq!(node.status().problem, Some(error.clone()));
    // It is refused again and again.
    let before = node.stats().unknown_outcomes;
    eventually(PATIENCE, "more refusals", || node.stats().unknown_outcomes >= before + 2);
    assert_eq!(problems(&node), []);
    bucket.update(&bucket.usual_config()).expect("updated");
    node.wait_for_leadership(PATIENCE).expect("alone");
    solved(&node);
}

on_both_servers!(a_stream_with_one_message_per_subject_is_told, |version| {
    let change = |config: &mut Value| config["discard_new_per_subject"] = true.into();
    told_until_mended(version, change, "per subject");
});

on_both_servers!(a_stream_of_100_bytes_is_told, |version| {
    told_until_mended(version, |config| config["max_bytes"] = 100.into(), "bytes");
});

on_both_servers!(a_stream_of_one_message_is_told, |version| {
    told_until_mended(version, |config| config["max_msgs"] = 1.into(), "messages");
});
