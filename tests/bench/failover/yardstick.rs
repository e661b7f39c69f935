//! What cannot be avoided: the messages themselves, by plain sockets on one thread.

use serde_json::json;

use super::member::now;
use super::stats::millis;
use crate::support::bucket::Bucket;
use crate::support::nats::{Client, Message, Plain};

const BODY: usize = 250;
const INBOXES: [&str; 2] = ["_INBOX.talker", "_INBOX.taker"];

/// Two connections: one writes; the other is told of it, writes in its turn, and reads the
/// acknowledgement.
pub(crate) struct Yardstick {
    talker: Plain,
    taker: Plain,
    stream: String,
    key: String,
    revision: u64,
}

impl Yardstick {
    /// In a bucket of its own, that of the cluster `id`, by the server that leads it.
    pub(crate) fn new(url: &str, id: &str) -> Self {
        let client = Client::connect(url);
        let bucket = Bucket::of_cluster(&client, id);
        let notices = format!("cluster.{id}.kv.lease");
        Self {
            talker: Plain::connect(url, &[INBOXES[0]]),
            taker: Plain::connect(url, &[INBOXES[1], &notices]),
            stream: bucket.stream(),
            key: bucket.subject("lease"),
            revision: 0,
        }
    }

    /// Write, notice, write, acknowledgement: in milliseconds.
    pub(crate) fn three_hops(&mut self) -> f64 {
        let begun = now();
        self.send(0, "talker");
        let noticed = wait(&mut self.taker, |message| {
            let revision = message.header("Nats-Sequence")?.parse().ok()?;
            (message.body.starts_with(b"talker") && revision > self.revision).then_some(revision)
        });
        self.revision = noticed;
        self.send(1, "taker");
        self.revision = acknowledged(&mut self.taker);
        let ended = now();
        acknowledged(&mut self.talker);
        millis(begun, ended)
    }

    /// Write and acknowledgement.
    pub(crate) fn write(&mut self) -> f64 {
        let begun = now();
        self.send(0, "nobody");
        self.revision = acknowledged(&mut self.talker);
        millis(begun, now())
    }

    /// A write such as the library's, by the talker (0) or the taker (1).
    fn send(&mut self, party: usize, text: &str) {
        let expected = self.revision.to_string();
        let id = format!("{text}-{expected}");
        let headers = [
            ("Nats-Expected-Stream", self.stream.as_str()),
            ("Nats-Expected-Last-Subject-Sequence", &expected),
            ("Nats-Msg-Id", &id),
        ];
        let body = format!("{text}{}", "x".repeat(BODY));
        let socket = if party == 0 { &mut self.talker } else { &mut self.taker };
        socket.publish(&self.key, INBOXES[party], &headers, body.as_bytes());
    }
}

/// Makes the bucket of the cluster `id`, whose writes are told as the library's are.
pub(crate) fn create_bucket(url: &str, id: &str, replicas: u64) {
    let client = Client::connect(url);
    let bucket = Bucket::of_cluster(&client, id);
    let mut config = bucket.usual_config();
    let (src, dest) = (bucket.subject(">"), format!("cluster.{id}.kv.>"));
    config["republish"] = json!({ "src": src, "dest": dest });
    config["num_replicas"] = replicas.into();
    bucket.create(&config).expect("a bucket");
}

/// Reads messages until `find` finds something.
fn wait<T>(socket: &mut Plain, mut find: impl FnMut(&Message) -> Option<T>) -> T {
    loop {
        let message = socket.next().expect("the server is there");
        if let Some(found) = find(&message) {
            return found;
        }
    }
}

/// The revision of the next acknowledgement.
fn acknowledged(socket: &mut Plain) -> u64 {
    wait(socket, |message| {
        let inbox = message.subject.starts_with("_INBOX.");
        inbox.then(|| message.json()["seq"].as_u64().expect("stored"))
    })
}
