//! The promises of the store contract, each kept by every store: the one in memory, and the one on
//! NATS with the oldest and the newest server.

use std::time::{Duration, Instant};

use leasehold::clock::{Clock, Timestamp};
use leasehold::store::memory::{MemoryLink, MemoryServer};
use leasehold::store::{Entry, Expect, Outcome, Request, Store, StoreEvent};

use crate::driver::{
    CLUSTER, Driver, PATIENCE, SILENCE, marker, release, release_id, value, write, write_if,
};
use crate::support::bucket::Bucket;
use crate::support::nats::Client;
use crate::support::server::NatsServer;
use crate::support::version::Version;

/// A server of some kind, seen from outside the stores.
trait Ground {
    /// Another node's store, connected.
    fn node(&mut self) -> Driver;
    /// Ends all connections, and refuses new ones.
    fn sever(&mut self);
    /// Undoes [`sever`](Self::sever), and a freeze.
    fn heal(&mut self);
    /// Nothing is answered, and no connection ends.
    fn freeze(&mut self);
    fn overwrite(&self, bytes: &str);
    fn delete_key(&self);
    fn purge(&self);
    fn delete_bucket(&self);
    fn forge_notice(&self, revision: u64, bytes: &str);
}

#[derive(Default)]
struct Memory {
    server: MemoryServer,
    links: Vec<MemoryLink>,
}

impl Ground for Memory {
    fn node(&mut self) -> Driver {
        let store = self.server.connect(Clock::boot());
        self.links.push(store.link());
        let mut driver = Driver::new(store);
        driver.wait_connected();
        driver
    }

    fn sever(&mut self) {
        self.links.iter().for_each(MemoryLink::cut);
    }

    fn heal(&mut self) {
        self.links.iter().for_each(|link| {
            link.thaw();
            link.heal();
        });
    }

    fn freeze(&mut self) {
        self.links.iter().for_each(MemoryLink::freeze);
    }

    fn overwrite(&self, bytes: &str) {
        self.server.overwrite(bytes);
    }

    fn delete_key(&self) {
        self.server.delete_key();
    }

    fn purge(&self) {
        self.server.purge();
    }

    fn delete_bucket(&self) {
        self.server.delete_bucket();
    }

    fn forge_notice(&self, revision: u64, bytes: &str) {
        self.server.forge_notice(&value(revision, bytes));
    }
}

struct Nats(NatsServer);

impl Nats {
    fn bucket(&self, act: impl FnOnce(&Bucket<'_>)) {
        let client = Client::connect(&self.0.url());
        act(&Bucket::of_cluster(&client, CLUSTER));
        client.round_trip().expect("a round trip");
    }
}

impl Ground for Nats {
    fn node(&mut self) -> Driver {
        Driver::connected(&[self.0.url()])
    }

    fn sever(&mut self) {
        self.0.kill();
    }

    fn heal(&mut self) {
        if self.0.id().is_some() {
            self.0.resume();
        } else {
            self.0.restart();
        }
    }

    fn freeze(&mut self) {
        self.0.pause();
    }

    fn overwrite(&self, bytes: &str) {
        self.bucket(|bucket| _ = bucket.put("lease", bytes).expect("stored"));
    }

    fn delete_key(&self) {
        self.bucket(|bucket| _ = bucket.delete_key("lease").expect("stored"));
    }

    fn purge(&self) {
        self.bucket(|bucket| drop(bucket.purge("lease").expect("purged")));
    }

    fn delete_bucket(&self) {
        self.bucket(|bucket| drop(bucket.delete().expect("deleted")));
    }

    fn forge_notice(&self, revision: u64, bytes: &str) {
        let subject = format!("cluster.{CLUSTER}.kv.lease");
        self.bucket(|bucket| bucket.forge_notice(&subject, "lease", revision, bytes));
    }
}

/// Makes a test for every kind of store of one body.
macro_rules! on_every_store {
    ($name:ident, |$ground:ident| $body:block) => {
        mod $name {
            use super::*;

            fn check(mut ground: impl Ground) {
                let $ground: &mut dyn Ground = &mut ground;
                $body
            }

            #[test]
            fn memory() {
                check(Memory::default());
            }

            #[test]
            fn oldest() {
                check(Nats(NatsServer::start(Version::Oldest)));
            }

            #[test]
            fn newest() {
                check(Nats(NatsServer::start(Version::Newest)));
            }
        }
    };
}

fn is_unknown(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unknown(_))
}

fn entry(driver: &mut Driver) -> Option<Entry> {
    driver.read().entry
}

// 1. Nothing blocks.

on_every_store!(a_frozen_server_blocks_neither_submit_nor_poll, |ground| {
    let mut node = ground.node();
    node.create();
    ground.freeze();
    let begun = Instant::now();
    for _ in 0..200 {
        node.submit(write(0, None, &"x".repeat(1000)));
        node.submit(Request::Read);
    }
    let until = node.now() + Duration::from_millis(50);
    while node.store.poll(until).is_some() {}
    // Far below any timeout of a connection, far above what a loaded machine needs.
    assert!(node.now() >= until);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    ground.heal();
});

on_every_store!(poll_returns_at_its_bound_and_not_before, |ground| {
    let mut node = ground.node();
    for millis in [0, 1, 30] {
        let until = node.now() + Duration::from_millis(millis);
        assert_eq!(node.store.poll(until), None);
        assert!(node.now() >= until);
    }
});

on_every_store!(a_wake_up_ends_poll_after_earlier_events, |ground| {
    let mut node = ground.node();
    let waker = node.store.waker();
    node.submit(Request::Read);
    let first = node.fresh(PATIENCE).expect("the answer");
    assert!(matches!(first, StoreEvent::Completed { .. }));
    waker.wake();
    waker.wake();
    assert_eq!(node.store.poll(Timestamp::MAX), None);
    // Several wake-ups are one: the bound holds now.
    let until = node.now() + Duration::from_millis(20);
    assert_eq!(node.store.poll(until), None);
    assert!(node.now() >= until);
});

on_every_store!(a_wake_up_from_another_thread_arrives, |ground| {
    let mut node = ground.node();
    let waker = node.store.waker();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        waker.wake();
    });
    assert_eq!(node.store.poll(node.now() + PATIENCE), None);
    drop(thread.join());
});

// 2. One definite outcome each; unknown at the instant the connection ends.

on_every_store!(every_request_is_completed_once, |ground| {
    let mut node = ground.node();
    node.create();
    let tickets: Vec<_> = (0..20)
        .map(|n| node.submit(if n % 2 == 0 { Request::Read } else { write(0, None, "x") }))
        .collect();
    for ticket in &tickets {
        assert!(!is_unknown(&node.outcome(*ticket)));
    }
    while let Some(event) = node.fresh(SILENCE) {
        assert!(!matches!(event, StoreEvent::Completed { .. }), "{event:?}");
    }
});

on_every_store!(open_requests_are_unknown_when_the_connection_ends, |ground| {
    let mut node = ground.node();
    node.create();
    ground.freeze();
    let tickets =
        [Request::Read, write(0, None, "x"), Request::Read].map(|request| node.submit(request));
    assert_eq!(node.fresh(SILENCE), None);
    ground.sever();
    node.wait_disconnected();
    for ticket in tickets {
        assert!(is_unknown(&node.outcome(ticket)));
    }
});

// 3. and 4. Writes are stored under their condition or not at all.

on_every_store!(a_write_is_stored_only_on_the_revision_it_expects, |ground| {
    let mut node = ground.node();
    node.create();
    let first = node.stored(0, "first");
    assert_eq!(node.write(0, "again"), Outcome::LostRace);
    assert_eq!(node.write(first + 1, "ahead"), Outcome::LostRace);
    assert_eq!(entry(&mut node), Some(value(first, "first")));
    let second = node.stored(first, "second");
    assert!(second > first);
    assert_eq!(entry(&mut node), Some(value(second, "second")));
});

on_every_store!(both_expectations_must_hold, |ground| {
    let mut node = ground.node();
    node.create();
    let first = node.stored(0, "first");
    ground.purge();
    assert_eq!(node.ask(write(0, Some(first + 1), "x")), Outcome::LostRace);
    assert_eq!(node.ask(write(first, Some(first), "x")), Outcome::LostRace);
    let stored = Outcome::Stored { revision: first + 1 };
    assert_eq!(node.ask(write(0, Some(first), "x")), stored);
});

on_every_store!(one_of_two_writers_wins, |ground| {
    let mut nodes = [ground.node(), ground.node()];
    nodes[0].create();
    let mut revision = 0;
    for round in 0..50 {
        let name = round.to_string();
        let tickets = nodes.each_mut().map(|node| node.submit(write(revision, None, &name)));
        let outcomes = [nodes[0].outcome(tickets[0]), nodes[1].outcome(tickets[1])];
        let winners: Vec<_> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Outcome::Stored { revision } => Some(*revision),
                Outcome::LostRace => None,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        revision = winners[0];
    }
});

on_every_store!(a_write_while_disconnected_is_never_stored, |ground| {
    let mut node = ground.node();
    node.create();
    let first = node.stored(0, "first");
    ground.sever();
    node.wait_disconnected();
    let outcome = node.write(first, "late");
    assert!(matches!(outcome, Outcome::Failed(_) | Outcome::Unknown(_)), "{outcome:?}");
    ground.heal();
    node.wait_connected();
    assert_eq!(entry(&mut node), Some(value(first, "first")));
    // Nor does it arrive after a later message.
    let second = node.stored(first, "second");
    assert_eq!(entry(&mut node), Some(value(second, "second")));
    assert_eq!(second, first + 1);
});

on_every_store!(a_write_without_a_bucket_stores_nothing, |ground| {
    let mut node = ground.node();
    let outcome = node.write(0, "x");
    assert!(matches!(outcome, Outcome::Failed(_) | Outcome::Unknown(_)), "{outcome:?}");
    node.create();
    assert_eq!(entry(&mut node), None);
});

on_every_store!(a_condition_may_name_the_release_to_overwrite, |ground| {
    let mut node = ground.node();
    node.create();
    node.read();
    let first = node.released(Expect::revision(0), 4);
    for expect in [
        Expect::release(first, release_id(5)),
        Expect::release(first + 1, release_id(4)),
        Expect::release(0, release_id(4)),
    ] {
        assert_eq!(node.ask(write_if(expect, "y")), Outcome::LostRace);
    }
    // Refused, and so it is nothing that a condition could name.
    assert_eq!(node.ask(release(Expect::revision(9), 7)), Outcome::LostRace);
    let refused = Expect::release(first, release_id(7));
    assert_eq!(node.ask(write_if(refused, "y")), Outcome::LostRace);
    assert_eq!(entry(&mut node), Some(value(first, "released")));
    let Outcome::Stored { revision } =
        node.ask(write_if(Expect::release(first, release_id(4)), "held"))
    else {
        panic!("the condition holds")
    };
    let again = Expect::release(revision, release_id(4));
    assert_eq!(node.ask(write_if(again, "y")), Outcome::LostRace, "over a held record");
});

on_every_store!(a_release_name_holds_only_while_it_is_the_newest_write, |ground| {
    let mut node = ground.node();
    node.create();
    node.read();
    let first = node.released(Expect::revision(0), 1);
    ground.overwrite("foreign");
    let over = Expect::release(first + 1, release_id(1));
    assert_eq!(node.ask(write_if(over, "y")), Outcome::LostRace);
    let third = node.released(Expect::revision(first + 1), 3);
    ground.purge();
    let purged = Expect::release(third, release_id(3));
    assert_eq!(node.ask(write_if(purged, "y")), Outcome::LostRace);
    ground.delete_bucket();
    node.create();
    node.read();
    let mut last = node.stored(0, "x");
    while last < third {
        last = node.stored(last, "x");
    }
    assert_eq!(node.ask(write_if(purged, "y")), Outcome::LostRace);
});

// 5. Snapshots.

on_every_store!(an_empty_bucket_is_pristine_until_something_is_stored, |ground| {
    let mut node = ground.node();
    assert_eq!(node.ask(Request::Read), Outcome::NoBucket);
    node.create();
    let snapshot = node.read();
    assert!(snapshot.pristine);
    assert_eq!((snapshot.last_seq, snapshot.entry), (0, None));
    let first = node.stored(0, "x");
    ground.purge();
    let snapshot = node.read();
    assert!(!snapshot.pristine, "something was stored once");
    assert_eq!((snapshot.last_seq, snapshot.entry), (first, None));
});

on_every_store!(creating_a_bucket_again_changes_nothing, |ground| {
    let mut nodes = [ground.node(), ground.node()];
    nodes[0].create();
    let first = nodes[0].stored(0, "x");
    nodes[1].create();
    assert_eq!(nodes[1].ask(Request::CreateBucket { first_seq: 70 }), Outcome::Created);
    let snapshots = nodes.each_mut().map(Driver::read);
    assert_eq!(snapshots[0], snapshots[1]);
    assert_eq!(snapshots[0].entry, Some(value(first, "x")));
});

on_every_store!(a_recreated_bucket_is_another_incarnation, |ground| {
    let mut nodes = [ground.node(), ground.node()];
    nodes[0].create();
    nodes[0].stored(0, "old");
    let before = nodes.each_mut().map(Driver::read);
    ground.delete_bucket();
    assert_eq!(nodes[1].ask(Request::Read), Outcome::NoBucket);
    nodes[1].create();
    let first = nodes[1].stored(0, "new");
    for (node, before) in nodes.iter_mut().zip(before) {
        let snapshot = node.read();
        assert_ne!(snapshot.incarnation, before.incarnation);
        assert_eq!(snapshot.entry, Some(value(first, "new")));
    }
});

on_every_store!(markers_garbage_and_absence_are_distinguished, |ground| {
    let mut node = ground.node();
    node.create();
    let first = node.stored(0, "x");
    ground.delete_key();
    assert_eq!(entry(&mut node), Some(marker(first + 1)));
    // A marker is a revision: a write must expect it.
    assert_eq!(node.write(0, "y"), Outcome::LostRace);
    let third = node.stored(first + 1, "y");
    ground.overwrite("}garbage{");
    assert_eq!(entry(&mut node), Some(value(third + 1, "}garbage{")));
    ground.purge();
    let snapshot = node.read();
    assert_eq!((snapshot.entry, snapshot.last_seq), (None, third + 1));
});

// 6. Connected and Disconnected alternate, and frame the answers.

on_every_store!(connected_and_disconnected_alternate, |ground| {
    let mut node = ground.node();
    node.create();
    let mut connected = true;
    for _ in 0..2 {
        ground.sever();
        node.wait_disconnected();
        ground.heal();
        node.wait_connected();
        node.read();
    }
    while let Some(event) = node.next(SILENCE) {
        match event {
            StoreEvent::Connected { .. } => {
                assert!(!std::mem::replace(&mut connected, true), "connected twice");
            }
            // Of each attempt that failed.
            StoreEvent::Disconnected { .. } => {}
            other => panic!("{other:?}"),
        }
    }
});

on_every_store!(reconnecting_from_a_frozen_server_makes_open_requests_unknown, |ground| {
    let mut node = ground.node();
    node.create();
    ground.freeze();
    let ticket = node.submit(Request::Read);
    let begun = Instant::now();
    node.store.reconnect();
    node.wait_disconnected();
    assert!(is_unknown(&node.outcome(ticket)));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    ground.heal();
    node.wait_connected();
    assert_eq!(entry(&mut node), None);
});

on_every_store!(reconnecting_replaces_a_healthy_connection, |ground| {
    let mut node = ground.node();
    node.create();
    for _ in 0..3 {
        node.store.reconnect();
        node.wait_disconnected();
        node.wait_connected();
        node.read();
    }
});

// 7. Notices.

on_every_store!(every_node_gets_a_notice_of_a_stored_write, |ground| {
    let mut nodes = [ground.node(), ground.node()];
    nodes[0].create();
    // The first read learns the subject of notices.
    let _ = nodes.each_mut().map(Driver::read);
    let first = nodes[0].stored(0, "x");
    ground.delete_key();
    for node in &mut nodes {
        assert_eq!(node.wait_notice(), value(first, "x"));
        assert_eq!(node.wait_notice(), marker(first + 1));
    }
});

on_every_store!(a_rejected_write_causes_no_notice, |ground| {
    let mut nodes = [ground.node(), ground.node()];
    nodes[0].create();
    let _ = nodes.each_mut().map(Driver::read);
    assert_eq!(nodes[0].write(7, "x"), Outcome::LostRace);
    let first = nodes[0].stored(0, "y");
    assert_eq!(nodes[1].wait_notice(), value(first, "y"));
    assert!(nodes[1].seen.is_empty(), "{:?}", nodes[1].seen);
});

on_every_store!(a_forged_notice_does_not_change_the_record, |ground| {
    let mut node = ground.node();
    node.create();
    let first = node.stored(0, "x");
    assert_eq!(node.wait_notice(), value(first, "x"));
    ground.forge_notice(u64::MAX, "mine");
    assert_eq!(node.wait_notice(), value(u64::MAX, "mine"));
    assert_eq!(entry(&mut node), Some(value(first, "x")));
});

// Closing.

on_every_store!(a_closed_store_returns_no_events, |ground| {
    let mut node = ground.node();
    node.create();
    node.submit(Request::Read);
    node.close();
    let until = node.now() + Duration::from_millis(50);
    assert_eq!(node.store.poll(until), None);
    node.close();
    node.store.reconnect();
    assert_eq!(node.fresh(SILENCE), None);
});

on_every_store!(closing_on_a_frozen_server_keeps_its_bound, |ground| {
    let mut node = ground.node();
    node.create();
    ground.freeze();
    node.submit(Request::Read);
    let begun = Instant::now();
    node.close_within(Duration::from_millis(200));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    ground.heal();
});

on_every_store!(closing_one_store_leaves_others_connected, |ground| {
    let mut nodes = [ground.node(), ground.node()];
    nodes[0].create();
    nodes[1].read();
    nodes[0].close();
    let first = nodes[1].stored(0, "x");
    assert_eq!(nodes[1].wait_notice(), value(first, "x"));
});

/// A compile-time reminder that a store can go to the renewal thread.
#[test]
fn stores_can_be_sent_to_another_thread() {
    fn sendable<T: Store + 'static>() {}
    sendable::<leasehold::store::memory::MemoryStore>();
    sendable::<leasehold::store::nats::NatsStore>();
}
