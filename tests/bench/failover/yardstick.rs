//! What cannot be avoided: messages over the same kind of connection, and nothing else.

use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use serde_json::{Value, json};

use super::member::now;
use super::stats::millis;
use crate::support::bucket::Bucket;
use crate::support::nats::Client;

const LIMIT: Duration = Duration::from_secs(5);

/// Two connections: one writes; the other is told of it, writes in its turn, and waits until that
/// is acknowledged.
pub(crate) struct Yardstick {
    talker: Party,
    /// The moment of the taker's acknowledgement, and the revision.
    taken: Receiver<(u64, u64)>,
    taker: Option<JoinHandle<()>>,
    stop: nats::Connection,
    revision: u64,
}

/// One connection with an inbox of its own.
struct Party {
    connection: nats::Connection,
    key: String,
    inbox: String,
    replies: nats::Subscription,
    body: Vec<u8>,
}

impl Party {
    fn new(url: &str, key: String, text: &str) -> Self {
        let connection = nats::Options::new().connect(url).expect("the server is there");
        let inbox = connection.new_inbox();
        let replies = connection.subscribe(&inbox).expect("subscribed");
        let body = format!("{text}{}", "x".repeat(250)).into_bytes();
        Self { connection, key, inbox, replies, body }
    }

    fn send(&self, expected: u64) {
        let mut headers = nats::HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", expected.to_string());
        self.connection
            .publish_with_reply_or_headers(&self.key, Some(&self.inbox), Some(&headers), &self.body)
            .expect("sent");
    }

    /// The revision of the acknowledgement.
    fn stored(&self) -> Option<u64> {
        let reply = self.replies.next_timeout(LIMIT).ok()?;
        let reply: Value = serde_json::from_slice(&reply.data).ok()?;
        reply["seq"].as_u64().filter(|_| reply["error"].is_null())
    }
}

impl Yardstick {
    /// In a bucket of its own, that of the cluster `id`.
    pub(crate) fn new(url: &str, id: &str) -> Self {
        let client = Client::connect(url);
        let bucket = Bucket::of_cluster(&client, id);
        let told = format!("cluster.{id}.kv.lease");
        let mut config = bucket.usual_config();
        let (src, dest) = (bucket.subject(">"), format!("cluster.{id}.kv.>"));
        config["republish"] = json!({ "src": src, "dest": dest });
        bucket.create(&config).expect("the bucket of the yardstick");
        let first = Party::new(url, bucket.subject("lease"), "talker");
        let second = Party::new(url, bucket.subject("lease"), "taker");
        let stop = second.connection.clone();
        let notices = second.connection.subscribe(&told).expect("subscribed");
        second.connection.flush().expect("subscribed");
        let (tell, taken) = bounded(1);
        let thread = std::thread::spawn(move || {
            for notice in notices.iter().filter(|notice| notice.data.starts_with(b"talker")) {
                let sequence = notice.headers.as_ref().and_then(|all| all.get("Nats-Sequence"));
                let Some(revision) = sequence.and_then(|text| text.parse().ok()) else { return };
                second.send(revision);
                let Some(stored) = second.stored() else { return };
                if tell.send((now(), stored)).is_err() {
                    return;
                }
            }
        });
        Self { talker: first, taken, taker: Some(thread), stop, revision: 0 }
    }

    /// Write, notice, write, acknowledgement: in milliseconds.
    pub(crate) fn three_hops(&mut self) -> f64 {
        let begun = now();
        self.talker.send(self.revision);
        let (ended, revision) = self.taken.recv_timeout(LIMIT).expect("the taker goes on");
        self.talker.stored().expect("stored");
        self.revision = revision;
        millis(begun, ended)
    }

    /// Write and acknowledgement. The bytes are such that nobody takes notice.
    pub(crate) fn write(&mut self) -> f64 {
        let body = std::mem::replace(&mut self.talker.body, b"nobody".to_vec());
        let begun = now();
        self.talker.send(self.revision);
        self.revision = self.talker.stored().expect("stored");
        let ended = now();
        self.talker.body = body;
        millis(begun, ended)
    }
}

impl Drop for Yardstick {
    fn drop(&mut self) {
        // Ends the taker's subscription, and with it the thread.
        self.stop.clone().close();
        if let Some(taker) = self.taker.take() {
            let _ = taker.join();
        }
    }
}
