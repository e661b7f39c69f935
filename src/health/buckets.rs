//! Compares the bucket of a node with those of the other nodes of its cluster.
//!
//! A cluster has one bucket. Where its servers do not share their JetStream, two buckets of one
//! name can exist, and each has its own leader. A leaf node without `nats.domain` makes one of its
//! own, for example, while requests between nodes still pass. So each node asks the health of all
//! once in a while, and reports a node whose bucket is another one.
//!
//! Anyone may answer. What is forged causes one report in each round at most. It reaches no part of
//! the election.

use std::time::Duration;

use super::response::Health;
use crate::clock::Timestamp;
use crate::event::Event;
use crate::node::NodeHandle;
use crate::text::excerpt;

/// The shortest time between two questions.
const INTERVAL: Duration = Duration::from_secs(30);
/// Responses to one question that are looked at.
const MAX_RESPONSES: u32 = 4096;

/// See the [module](self).
pub(super) struct BucketCheck {
    node: NodeHandle,
    next_at: Timestamp,
    /// The other bucket that was found, and reported, since the last question but one.
    known: Option<String>,
    /// It was found again since the last question.
    found: bool,
    responses: u32,
}

impl BucketCheck {
    pub(super) fn new(node: NodeHandle) -> Self {
        Self { node, next_at: Timestamp::ZERO, known: None, found: false, responses: 0 }
    }

    /// Whether to ask now: as soon as this node knows its bucket, and from then on once per TTL or
    /// 30 s, whichever is longer.
    pub(super) fn is_due(&mut self, now: Timestamp) -> bool {
        if now < self.next_at || self.node.status().bucket.is_none() {
            return false;
        }
        if !std::mem::take(&mut self.found) && self.known.take().is_some() {
            log::info!("{} finds one cluster again", self.node.config().node_id());
            self.node.set_mismatch(None);
        }
        self.next_at = now + self.node.config().lease_ttl().max(INTERVAL);
        self.responses = 0;
        true
    }

    /// Takes a response, of any bytes.
    pub(super) fn compare(&mut self, body: &[u8]) {
        self.responses += 1;
        if self.found || self.responses > MAX_RESPONSES {
            return;
        }
        let Ok(health) = Health::parse(body) else { return };
        let (Some(ours), Some(theirs)) = (self.node.status().bucket, health.bucket) else { return };
        let (ours, own) = (excerpt(&ours), self.node.session().to_string());
        if theirs == ours || health.session == Some(own) {
            return;
        }
        self.found = true;
        if self.known.as_ref() != Some(&theirs) {
            self.known = Some(theirs.clone());
            self.report(health.node_id, theirs, ours);
        }
    }

    fn report(&self, node_id: String, theirs: String, ours: String) {
        self.node.set_mismatch(Some(format!(
            "two clusters: {node_id} uses a bucket created at {theirs}, and this node one created \
             at {ours}; nodes behind a leaf node need nats.domain"
        )));
        self.node.tell(Event::BucketMismatch { node_id, theirs, ours });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::node::Node;
    use crate::store::memory::MemoryServer;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn leader() -> Node {
        let config = Config::without_servers("orders", "node-1").build().unwrap();
        let store = MemoryServer::new().connect(Clock::boot());
        let node = Node::builder(config).store(store).start().unwrap();
        node.wait_for_leadership(PATIENCE).unwrap();
        node
    }

    /// The events of mismatches so far. The queue is taken up to the answer to a new value.
    fn mismatches(node: &Node, mark: u64) -> Vec<(String, String)> {
        node.set_meta(Some(mark.into())).unwrap();
        let mut found = Vec::new();
        loop {
            match node.events().next_timeout(PATIENCE).expect("the mark") {
                Event::MetaChanged { meta } if meta == Some(mark.into()) => return found,
                Event::BucketMismatch { node_id, theirs, .. } => found.push((node_id, theirs)),
                _ => {}
            }
        }
    }

    fn answer(node: &str, bucket: &str) -> Vec<u8> {
        format!(r#"{{"nodeId":"{node}","session":"{node}","bucket":"{bucket}"}}"#).into_bytes()
    }

    #[test]
    fn another_bucket_is_reported_once_and_until_no_node_is_in_it() {
        let node = leader();
        let ours = node.status().bucket.expect("it was read");
        let mut check = BucketCheck::new(node.handle());
        let mut now = Timestamp::ZERO;
        let mut due = |check: &mut BucketCheck| {
            assert!(check.is_due(now) && !check.is_due(now), "once");
            now = now + INTERVAL;
        };
        due(&mut check);
        check.compare(&answer("node-2", &ours));
        assert_eq!(mismatches(&node, 1), []);
        for (round, expected) in [(2, 1), (3, 0)] {
            check.compare(&answer("node-3", "other"));
            check.compare(&answer("node-4", "third"));
            assert_eq!(mismatches(&node, round).len(), expected, "the first of a round, once");
            let warnings = node.status().warnings;
            assert!(matches!(&warnings[..], [one] if one.starts_with("two clusters: node-3 uses")));
            due(&mut check);
        }
        due(&mut check);
        assert_eq!(node.status().warnings, [""; 0]);
        check.compare(&answer("node-3", "other"));
        assert_eq!(mismatches(&node, 4), [("node-3".to_owned(), "other".to_owned())], "again");
        assert!(node.is_leader());
    }

    #[test]
    fn what_names_no_other_bucket_is_nothing() {
        let node = leader();
        let mut check = BucketCheck::new(node.handle());
        assert!(check.is_due(Timestamp::ZERO));
        let session = node.session().to_string();
        let own = format!(r#"{{"nodeId":"node-1","session":"{session}","bucket":"before"}}"#);
        let long = format!(r#"{{"nodeId":"n","bucket":"{}"}}"#, "x".repeat(100_000));
        for body in [
            &b""[..],
            b"{}",
            b"\xff",
            br#"{"nodeId":"n"}"#,
            br#"{"nodeId":"n","bucket":""}"#,
            br#"{"nodeId":"n","bucket":null}"#,
            br#"{"nodeId":"n","bucket":[1]}"#,
            br#"{"bucket":"other"}"#,
            own.as_bytes(),
            long.as_bytes(),
        ] {
            check.compare(body);
        }
        assert_eq!(mismatches(&node, 1), []);
        for _ in 0..2 * MAX_RESPONSES {
            check.compare(b"");
        }
        check.compare(&answer("node-2", "other"));
        assert_eq!(mismatches(&node, 2), [], "no more of this round is looked at");
    }

    #[test]
    fn without_a_bucket_nothing_is_asked() {
        let config = Config::without_servers("orders", "node-1").start_disconnected(true);
        let store = MemoryServer::new().connect(Clock::boot());
        store.link().freeze();
        let node = Node::builder(config.build().unwrap()).store(store).start().unwrap();
        assert!(!BucketCheck::new(node.handle()).is_due(Timestamp::MAX));
    }
}
