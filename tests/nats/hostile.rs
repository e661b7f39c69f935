//! Attacks through a real server, and secrets that must not leak into a log.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use leasehold::config::ConfigBuilder;
use leasehold::{Config, Node};

use crate::support::alone::alone;
use crate::support::nats::Client;
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::eventually;

const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than a term without renewals.
const FLOOD: Duration = Duration::from_secs(10);
/// A follower tells two things of a notice, heeds 256 of them between two reads, and finds the
/// forger out by the third read of a connection.
const EVENTS_OF_FORGERY: u64 = 2 * 256 * 3;
/// The forger's own client, and for each of two nodes that give up a connection in the flood: the
/// threads of the old one, those of the new one, and who connects.
const THREADS_IN_FLOOD: usize = 24;

fn config(server: &NatsServer, node: &str) -> ConfigBuilder {
    Config::builder("test", node, [server.url()])
        .lease_ttl(Duration::from_secs(8))
        .renew_interval(Duration::from_secs(1))
}

fn start(config: ConfigBuilder) -> Node {
    Node::start(config.build().expect("valid")).expect("a server")
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_ascii_whitespace().nth(1).expect("a number").parse().expect("a number")
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("Linux").count()
}

/// Ends the flood also when an assertion fails.
struct Flood<'a>(&'a AtomicBool);

impl Drop for Flood<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

on_both_servers!(a_flood_of_notices_costs_neither_the_lead_nor_memory, |version| {
    alone(|| survive_a_flood(version));
});

fn survive_a_flood(version: Version) {
    let server = NatsServer::start(version);
    let leader = start(config(&server, "leader"));
    let token = leader.wait_for_leadership(PATIENCE).expect("alone");
    let follower = start(config(&server, "follower"));
    let (forger, url) = (AtomicBool::new(true), server.url());
    let sent = AtomicU64::new(0);
    let (memory, before) = (resident_kib(), threads());
    thread::scope(|scope| {
        let flooding = Flood(&forger);
        scope.spawn(|| flood(&url, &forger, &sent));
        let until = Instant::now() + FLOOD;
        let mut peak = 0;
        while Instant::now() < until {
            thread::sleep(Duration::from_millis(20));
            peak = peak.max(resident_kib().saturating_sub(memory));
            let now = threads();
            assert!(now <= before + THREADS_IN_FLOOD, "{now} threads, {before} before");
        }
        let asked = Instant::now();
        follower.promote().expect("a follower");
        drop(flooding);
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        assert!(peak < 100_000, "{peak} KiB more");
    });
    eventually(PATIENCE, "the threads of the flood to end", || threads() <= before);
    let (sent, stats) = (sent.into_inner(), follower.stats());
    let bound = EVENTS_OF_FORGERY * (1 + stats.reconnects + stats.abandoned_connections);
    assert!(stats.events_missed < bound, "{stats:?} for {sent} notices");
    assert!(token.is_valid());
    assert!(!follower.is_leader());
    leader.stop();
    eventually(PATIENCE, "the follower", || follower.is_leader());
}

fn flood(url: &str, go_on: &AtomicBool, sent: &AtomicU64) {
    let nats = Client::connect(url);
    // A subscriber to the key learns the subject of the leader's acknowledgements.
    let write = nats.subscribe("$KV.cluster-test.lease").next(PATIENCE).expect("a renewal");
    let inbox = write.reply.expect("it wants an acknowledgement");
    let inbox = inbox.rsplit_once('.').expect("numbered").0.to_owned();
    while go_on.load(Ordering::SeqCst) {
        let revision = 1_000 + sent.fetch_add(1, Ordering::SeqCst);
        let revision = revision.to_string();
        let body = format!(
            r#"{{"node_id":"forger-{revision}","session":"{revision:0>32}","epoch":{revision},"ttl_ms":{}}}"#,
            1_000 + sent.load(Ordering::SeqCst) % 2
        );
        let headers = [
            ("Nats-Stream", "KV_cluster-test"),
            ("Nats-Subject", "$KV.cluster-test.lease"),
            ("Nats-Sequence", revision.as_str()),
        ];
        nats.publish_with_headers("cluster.test.kv.lease", &headers, body);
        nats.publish(&format!("{inbox}.999999"), "junk");
        nats.publish(&format!("{inbox}.{}", revision.len()), "junk");
        if revision.ends_with("000") {
            let _ = nats.round_trip();
        }
    }
}

static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps every line of every crate, key-values included.
struct Everything;

impl log::Log for Everything {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let values = ["cluster", "node", "server", "bucket"]
            .map(|key| record.key_values().get(key.into()).map(|value| value.to_string()));
        LOG.lock().unwrap().push(format!("{} {} {values:?}", record.target(), record.args()));
    }

    fn flush(&self) {}
}

fn capture() {
    let _ = log::set_logger(&Everything);
    log::set_max_level(log::LevelFilter::Trace);
}

/// Starts and stops a node; all its messages go into the log.
fn try_node(config: ConfigBuilder) {
    let config = config.connect_timeout(Duration::from_secs(3)).build().expect("valid");
    let say = |text: String| LOG.lock().unwrap().push(text);
    say(format!("{config:?}"));
    match Node::start(config) {
        Ok(node) => {
            let _ = node.wait_for_leadership(PATIENCE);
            say(format!("{node:?}"));
            while let Some(event) = node.events().try_next() {
                say(format!("{event} {event:?}"));
            }
            node.stop();
        }
        Err(error) => say(format!("{error} {error:?}")),
    }
}

on_both_servers!(no_secret_is_logged, |version| {
    alone(|| try_every_secret(version));
});

fn try_every_secret(version: Version) {
    capture();
    let user = NatsServer::builder(version).user("operator", "s3cr3t-right").start();
    for password in ["s3cr3t-right", "s3cr3t-wrong"] {
        try_node(config(&user, "a").user_password("operator", password));
        let address = user.url().replace("nats://", &format!("nats://operator:{password}@"));
        try_node(Config::builder("test", "a", [address]));
    }
    let token = NatsServer::builder(version).token("s3cr3t-token").start();
    for secret in ["s3cr3t-token", "s3cr3t-wrong"] {
        try_node(config(&token, "a").token(secret));
        let address = token.url().replace("nats://", &format!("nats://{secret}@"));
        try_node(Config::builder("test", "a", [address]));
    }
    let key = nkeys::KeyPair::new_user();
    let seed = key.seed().expect("new");
    let wrong = nkeys::KeyPair::new_user().seed().expect("new");
    let broken = format!("{}A", &seed[..seed.len() - 1]);
    let nkey = NatsServer::builder(version).nkey(&key.public_key()).start();
    let folder = tempfile::tempdir().expect("a folder");
    for (at, seed) in [&seed, &wrong, &broken].into_iter().enumerate() {
        try_node(config(&nkey, "a").nkey_seed(seed));
        let path = folder.path().join(format!("{at}.creds"));
        let text = format!(
            "-----BEGIN NATS USER JWT-----\neyJ0.s3cr3t.abc\n------END NATS USER JWT------\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        fs::write(&path, text).expect("written");
        try_node(config(&nkey, "a").credentials_file(path));
    }
    let logged = LOG.lock().unwrap();
    for secret in ["s3cr3t", &seed[4..20], &wrong[4..20], &seed, &wrong] {
        let lines: Vec<_> = logged.iter().filter(|line| line.contains(secret)).collect();
        assert_eq!(lines, Vec::<&String>::new(), "{secret} was logged");
    }
}

// The client gives up a connection on which a header block comes that it cannot read; servers pass
// any block on.
on_both_servers!(notices_with_broken_headers_do_not_depose, |version| {
    let server = NatsServer::start(version);
    let leader = start(config(&server, "leader"));
    let token = leader.wait_for_leadership(PATIENCE).expect("alone");
    let nats = Client::connect(&server.url());
    let until = Instant::now() + FLOOD;
    let mut sent = 0;
    while Instant::now() < until && token.is_valid() {
        nats.publish_with_headers("cluster.test.kv.lease", &[("X", "y\r\nno header")], "{}");
        sent += 1;
        thread::sleep(Duration::from_millis(5));
    }
    assert!(token.is_valid(), "deposed after {sent} notices: {:?}", leader.stats());
});
