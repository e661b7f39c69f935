//! A store for tests: it numbers its tickets and keeps its events.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(unreachable_pub, reason = "`pub` marks what is offered to the tests")]

use std::collections::VecDeque;
use std::time::Duration;

use leasehold::clock::{Clock, Timestamp};
use leasehold::config::{Config, ConfigBuilder};
use leasehold::error::StoreError;
use leasehold::lease::{Epoch, SessionId};
use leasehold::store::nats::{BucketOptions, NatsStore};
use leasehold::store::{Content, Entry, Expect, Outcome, Request, Snapshot, Store};
use leasehold::store::{ReleaseId, StoreEvent, Ticket};

/// Longer than anything here takes on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Long enough to see that nothing comes.
pub const SILENCE: Duration = Duration::from_millis(300);
/// The cluster of these tests.
pub const CLUSTER: &str = "test";

pub struct Driver {
    pub store: Box<dyn Store>,
    clock: Clock,
    tickets: u64,
    /// Events that came while another one was waited for.
    pub seen: VecDeque<StoreEvent>,
}

impl Driver {
    pub fn new(store: impl Store + 'static) -> Self {
        let (store, seen) = (Box::new(store), VecDeque::new());
        Self { store, clock: Clock::boot(), tickets: 0, seen }
    }

    /// A store on these servers with the configuration that `set` makes.
    pub fn nats(servers: &[String], set: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Self {
        Self::new(nats_store(servers, 1, set))
    }

    /// The same, connected.
    pub fn connected(servers: &[String]) -> Self {
        let mut driver = Self::nats(servers, |config| config);
        driver.wait_connected();
        driver
    }

    pub fn submit(&mut self, request: Request) -> Ticket {
        self.tickets += 1;
        self.store.submit(Ticket(self.tickets), request);
        Ticket(self.tickets)
    }

    /// The next event within `limit`, of those set aside first.
    pub fn next(&mut self, limit: Duration) -> Option<StoreEvent> {
        self.seen.pop_front().or_else(|| self.fresh(limit))
    }

    /// The next event that is not set aside.
    pub fn fresh(&mut self, limit: Duration) -> Option<StoreEvent> {
        self.store.poll(self.clock.now() + limit)
    }

    /// The first event of which `pick` makes something; others are set aside.
    #[track_caller]
    pub fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(&StoreEvent) -> Option<T>) -> T {
        if let Some(index) = self.seen.iter().position(|event| pick(event).is_some()) {
            let event = self.seen.remove(index).expect("just found");
            return pick(&event).expect("picked before");
        }
        let until = self.clock.now() + PATIENCE;
        while let Some(event) = self.store.poll(until) {
            if let Some(found) = pick(&event) {
                return found;
            }
            self.seen.push_back(event);
        }
        panic!("waited too long for {what}; saw {:?}", self.seen);
    }

    #[track_caller]
    pub fn wait_connected(&mut self) -> String {
        self.wait("a connection", |event| match event {
            StoreEvent::Connected { server } => Some(server.clone()),
            _ => None,
        })
    }

    #[track_caller]
    pub fn wait_disconnected(&mut self) -> StoreError {
        self.wait("a disconnection", |event| match event {
            StoreEvent::Disconnected { error } => Some(error.clone()),
            _ => None,
        })
    }

    #[track_caller]
    pub fn wait_problem(&mut self) -> StoreError {
        self.wait("a problem", |event| match event {
            StoreEvent::Problem(error) => Some(error.clone()),
            _ => None,
        })
    }

    #[track_caller]
    pub fn wait_notice(&mut self) -> Entry {
        self.wait("a notice", |event| match event {
            StoreEvent::Notice(entry) => Some(entry.clone()),
            _ => None,
        })
    }

    #[track_caller]
    pub fn outcome(&mut self, wanted: Ticket) -> Outcome {
        self.wait("an outcome", |event| match event {
            StoreEvent::Completed { ticket, outcome } if *ticket == wanted => Some(outcome.clone()),
            _ => None,
        })
    }

    /// The outcome of `wanted`, unless that takes longer than `limit`.
    pub fn outcome_within(&mut self, wanted: Ticket, limit: Duration) -> Option<Outcome> {
        let outcome = |event: &StoreEvent| match event {
            StoreEvent::Completed { ticket, outcome } if *ticket == wanted => Some(outcome.clone()),
            _ => None,
        };
        if let Some(seen) = self.seen.iter().find_map(outcome) {
            return Some(seen);
        }
        let until = self.clock.now() + limit;
        while let Some(event) = self.store.poll(until) {
            if let Some(outcome) = outcome(&event) {
                return Some(outcome);
            }
            self.seen.push_back(event);
        }
        None
    }

    #[track_caller]
    pub fn ask(&mut self, request: Request) -> Outcome {
        let ticket = self.submit(request);
        self.outcome(ticket)
    }

    #[track_caller]
    pub fn create(&mut self) {
        assert_eq!(self.ask(Request::CreateBucket { first_seq: 1 }), Outcome::Created);
    }

    #[track_caller]
    pub fn read(&mut self) -> Snapshot {
        match self.ask(Request::Read) {
            Outcome::Read(snapshot) => snapshot,
            other => panic!("a read came to {other:?}"),
        }
    }

    #[track_caller]
    pub fn write(&mut self, revision: u64, value: &str) -> Outcome {
        self.ask(write(revision, None, value))
    }

    #[track_caller]
    pub fn stored(&mut self, revision: u64, value: &str) -> u64 {
        match self.write(revision, value) {
            Outcome::Stored { revision } => revision,
            other => panic!("a write came to {other:?}"),
        }
    }

    /// Stores the release of that number, which succeeds.
    #[track_caller]
    pub fn released(&mut self, expect: Expect, number: u64) -> u64 {
        match self.ask(release(expect, number)) {
            Outcome::Stored { revision } => revision,
            other => panic!("a release came to {other:?}"),
        }
    }

    pub fn close(&mut self) {
        self.store.close(self.clock.now() + PATIENCE);
    }

    pub fn close_within(&mut self, limit: Duration) {
        self.store.close(self.clock.now() + limit);
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

pub fn nats_store(
    servers: &[String],
    replicas: u8,
    set: impl FnOnce(ConfigBuilder) -> ConfigBuilder,
) -> NatsStore {
    let config = set(Config::builder(CLUSTER, "node", servers.to_vec())).build().expect("valid");
    let bucket =
        BucketOptions { cluster_id: CLUSTER.into(), replicas, min_max_age: Duration::from_secs(7) };
    NatsStore::new(config.connection(), bucket, Clock::boot()).expect("descriptors")
}

pub fn write(revision: u64, last_seq: Option<u64>, value: &str) -> Request {
    let expect = Expect { last_seq, ..Expect::revision(revision) };
    Request::Write { expect, id: None, value: value.into() }
}

/// A write under that condition.
pub fn write_if(expect: Expect, value: &str) -> Request {
    Request::Write { expect, id: None, value: value.into() }
}

/// The release of that number.
pub fn release(expect: Expect, number: u64) -> Request {
    Request::Write { expect, id: Some(release_id(number)), value: b"released".to_vec() }
}

/// The name of the release of that number, in the first term of the first session.
pub fn release_id(write: u64) -> ReleaseId {
    let epoch = Epoch::new(1).expect("in range");
    ReleaseId { session: SessionId::from_bits(1), epoch, write }
}

pub fn value(revision: u64, value: &str) -> Entry {
    Entry { revision, content: Content::Value(value.into()) }
}

pub fn marker(revision: u64) -> Entry {
    Entry { revision, content: Content::Marker }
}
