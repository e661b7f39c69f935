//! The record, and its bucket, damaged by hand under a live leader: there are never two leaders,
//! and the epoch goes on.

use std::time::Duration;

use crate::nodes::{Nodes, PATIENCE, config, nanos, now};
use crate::support::bucket::Bucket;
use crate::support::nats::Client;
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::eventually;

/// Long enough that a loaded machine does not end the term before the damage does.
const TTL: Duration = Duration::from_secs(4);

/// A leader at 0, a follower at 1, and a client that changes their bucket.
struct Scene {
    nodes: Nodes,
    witness: Client,
    _server: NatsServer,
}

impl Scene {
    fn new(version: Version) -> Self {
        let server = NatsServer::start(version);
        let mut nodes =
            Nodes::started(config(&server.url()).lease_ttl(TTL).renew_interval(TTL / 5), &["a"]);
        nodes[0].became();
        nodes.start("b");
        nodes.agree_on(0);
        let witness = Client::connect(&server.url());
        Self { nodes, witness, _server: server }
    }

    fn bucket(&self) -> Bucket<'_> {
        Bucket::of_cluster(&self.witness, "orders")
    }

    /// Returns when a node leads under an epoch above `epoch`, and both agree on it.
    fn recovers_above(&mut self, epoch: u64) {
        eventually(PATIENCE, "a leader with a higher epoch", || {
            let leader = self.nodes.leader();
            self.nodes[leader].status()["epoch"].as_u64() > Some(epoch)
        });
        self.nodes.agree();
    }
}

fn marked(version: Version, damage: impl Fn(&Bucket<'_>) -> u64) {
    let mut scene = Scene::new(version);
    let marked = now();
    let revision = damage(&scene.bucket());
    assert_eq!(scene.nodes[0].lost().cause, "the record was deleted");
    scene.recovers_above(1);
    let leader = scene.nodes.leader();
    let next = scene.nodes[leader].became();
    assert!(next.challenged >= marked + nanos(TTL), "a marker is waited out");
    assert!(next.epoch > revision, "the epoch goes on from the marker's revision");
}

on_both_servers!(a_deleted_key_ends_the_term_and_the_epoch_goes_on, |version| {
    marked(version, |bucket| bucket.delete_key("lease").expect("deleted"));
});

on_both_servers!(a_purged_key_ends_the_term_and_the_epoch_goes_on, |version| {
    marked(version, |bucket| bucket.purge_key("lease").expect("purged"));
});

on_both_servers!(a_leader_rewrites_its_record_after_a_stream_purge, |version| {
    let scene = Scene::new(version);
    for _ in 0..3 {
        scene.bucket().purge("lease").expect("purged");
        eventually(PATIENCE, "the record", || scene.bucket().read("lease").is_ok());
    }
    let record = scene.bucket().read("lease").expect("written again").json();
    assert_eq!((&record["node_id"], &record["epoch"]), (&"a".into(), &1.into()));
    assert_eq!(scene.nodes[0].told("lost"), 0);
});

on_both_servers!(a_purged_key_without_a_leader_is_taken_with_a_higher_epoch, |version| {
    let mut scene = Scene::new(version);
    scene.nodes[0].kill();
    scene.bucket().purge("lease").expect("purged");
    assert!(scene.nodes[1].became().epoch > 1);
});

on_both_servers!(garbage_in_the_record_is_reported_and_recovered_from, |version| {
    let mut scene = Scene::new(version);
    let garbage = now();
    scene.bucket().put("lease", "not a lease").expect("stored");
    assert_eq!(scene.nodes[0].lost().cause, "the record was overwritten with garbage");
    scene.recovers_above(1);
    for node in scene.nodes.iter_mut() {
        assert!(
            node.told("corrupt") == 1,
            "{} reported it {} times",
            node.name(),
            node.told("corrupt")
        );
    }
    let leader = scene.nodes.leader();
    let next = scene.nodes[leader].became();
    assert!(next.challenged >= garbage + nanos(TTL), "garbage is waited out");
});

on_both_servers!(a_foreign_record_deposes_the_leader_and_is_waited_out, |version| {
    let mut scene = Scene::new(version);
    let stolen = now();
    let session = "0123456789abcdef0123456789abcdef";
    let record = serde_json::json!({
        "node_id": "thief", "session": session, "epoch": 7, "n": 1, "ttl_ms": 4_000,
    });
    scene.bucket().put("lease", record.to_string()).expect("stored");
    assert_eq!(scene.nodes[0].lost().cause, "superseded by thief");
    scene.recovers_above(7);
    let leader = scene.nodes.leader();
    let next = scene.nodes[leader].became();
    assert_eq!(next.epoch, 8);
    assert!(next.challenged >= stolen + nanos(TTL));
});

on_both_servers!(a_deleted_bucket_is_recreated_and_the_epoch_goes_on, |version| {
    let mut scene = Scene::new(version);
    scene.bucket().delete().expect("deleted");
    assert_eq!(scene.nodes[0].lost().cause, "the bucket was deleted or replaced");
    scene.recovers_above(1);
});

on_both_servers!(a_replaced_bucket_ends_the_term_and_the_epoch_goes_on, |version| {
    let mut scene = Scene::new(version);
    scene.bucket().delete().expect("deleted");
    scene.bucket().create(&scene.bucket().usual_config()).expect("created");
    assert_eq!(scene.nodes[0].lost().cause, "the bucket was deleted or replaced");
    scene.recovers_above(1);
});
