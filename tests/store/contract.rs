//! The promises of the store contract, each kept by every store: the one in memory, and the one on
//! NATS with the oldest and the newest server. The promises are in the library, for stores of
//! anybody.

use leasehold::store::contract::{PROMISES, TestServer, Unsupported, promises};
use leasehold::store::memory::MemoryServer;
use leasehold::store::nats::NatsStore;
use leasehold::store::{Content, Entry, Store};

use crate::driver::{CLUSTER, nats_store};
use crate::support::bucket::Bucket;
use crate::support::nats::Client;
use crate::support::server::NatsServer;
use crate::support::version::Version;

struct Nats(NatsServer);

impl Nats {
    fn bucket(&self, act: impl FnOnce(&Bucket<'_>)) {
        let client = Client::connect(&self.0.url());
        act(&Bucket::of_cluster(&client, CLUSTER));
        client.round_trip().expect("a round trip");
    }
}

impl TestServer for Nats {
    fn connect(&mut self) -> Box<dyn Store> {
        Box::new(nats_store(&[self.0.url()], 1, |config| config))
    }

    fn cut(&mut self) -> Result<(), Unsupported> {
        self.0.kill();
        Ok(())
    }

    fn heal(&mut self) -> Result<(), Unsupported> {
        if self.0.id().is_some() {
            self.0.resume();
        } else {
            self.0.restart();
        }
        Ok(())
    }

    fn freeze(&mut self) -> Result<(), Unsupported> {
        self.0.pause();
        Ok(())
    }

    fn overwrite(&mut self, bytes: &[u8]) -> Result<(), Unsupported> {
        self.bucket(|bucket| _ = bucket.put("lease", text(bytes)).expect("stored"));
        Ok(())
    }

    fn delete_key(&mut self) -> Result<(), Unsupported> {
        self.bucket(|bucket| _ = bucket.delete_key("lease").expect("stored"));
        Ok(())
    }

    fn purge(&mut self) -> Result<(), Unsupported> {
        self.bucket(|bucket| drop(bucket.purge("lease").expect("purged")));
        Ok(())
    }

    fn delete_bucket(&mut self) -> Result<(), Unsupported> {
        self.bucket(|bucket| drop(bucket.delete().expect("deleted")));
        Ok(())
    }

    fn forge_notice(&mut self, notice: &Entry) -> Result<(), Unsupported> {
        let Content::Value(bytes) = &notice.content else { panic!("only values are forged") };
        let subject = format!("cluster.{CLUSTER}.kv.lease");
        self.bucket(|bucket| {
            bucket.forge_notice(&subject, "lease", notice.revision, text(bytes));
        });
        Ok(())
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the suite writes texts")
}

/// Makes a test for every kind of store of one promise.
macro_rules! on_every_store {
    ($name:ident, $suite:ident) => {
        mod $name {
            use super::*;

            fn check(mut server: impl TestServer) {
                assert_eq!($suite::$name(&mut server), Ok(()), "not tried to its end");
            }

            #[test]
            fn memory() {
                check(MemoryServer::new());
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

on_every_store!(poll_returns_at_its_bound_and_not_before, promises);
on_every_store!(a_wake_up_ends_poll_after_earlier_events, promises);
on_every_store!(a_wake_up_from_another_thread_arrives, promises);
on_every_store!(a_frozen_server_blocks_neither_submit_nor_poll, promises);
on_every_store!(every_request_is_completed_once, promises);
on_every_store!(open_requests_are_unknown_when_the_connection_ends, promises);
on_every_store!(a_write_is_stored_only_on_the_revision_it_expects, promises);
on_every_store!(both_expectations_must_hold, promises);
on_every_store!(one_of_two_writers_wins, promises);
on_every_store!(a_write_while_disconnected_is_never_stored, promises);
on_every_store!(a_write_without_a_bucket_stores_nothing, promises);
on_every_store!(a_condition_that_names_another_release_does_not_hold, promises);
on_every_store!(a_condition_may_name_the_release_to_overwrite, promises);
on_every_store!(a_release_name_holds_only_while_it_is_the_newest_write, promises);
on_every_store!(an_empty_bucket_is_pristine_until_something_is_stored, promises);
on_every_store!(creating_a_bucket_again_changes_nothing, promises);
on_every_store!(a_recreated_bucket_is_another_incarnation, promises);
on_every_store!(markers_garbage_and_absence_are_distinguished, promises);
on_every_store!(connected_and_disconnected_alternate, promises);
on_every_store!(reconnecting_from_a_frozen_server_makes_open_requests_unknown, promises);
on_every_store!(reconnecting_replaces_a_healthy_connection, promises);
on_every_store!(every_node_gets_a_notice_of_a_stored_write, promises);
on_every_store!(a_rejected_write_causes_no_notice, promises);
on_every_store!(a_forged_notice_does_not_change_the_record, promises);
on_every_store!(a_closed_store_returns_no_events, promises);
on_every_store!(closing_on_a_frozen_server_keeps_its_bound, promises);
on_every_store!(closing_one_store_leaves_others_connected, promises);

#[test]
fn every_promise_has_its_tests() {
    for (name, _) in PROMISES {
        let made = format!("on_every_store!({name}, promises);");
        assert!(include_str!("contract.rs").contains(&made), "no test of {name}");
    }
}

/// A compile-time reminder that a store can go to the renewal thread.
#[test]
fn stores_can_be_sent_to_another_thread() {
    fn sendable<T: Store + 'static>() {}
    sendable::<leasehold::store::memory::MemoryStore>();
    sendable::<NatsStore>();
}
