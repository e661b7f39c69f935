//! The contract's suite itself: it finds stores that break a promise, and says what it did not try.

use std::panic::{AssertUnwindSafe, catch_unwind};

use leasehold::clock::{Clock, Timestamp};
use leasehold::store::contract::{self, PROMISES, Promise, TestServer, Unsupported, promises};
use leasehold::store::memory::{MemoryServer, MemoryStore};
use leasehold::store::{Expect, Outcome, Request, Store, StoreEvent, Ticket, Waker};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    IgnoresConditions,
    ReturnsEarly,
    LosesWakeUps,
    CompletesTwice,
    TakesUnknownForLost,
}

/// A store in memory that breaks a promise.
struct BrokenStore {
    store: MemoryStore,
    server: MemoryServer,
    fault: Fault,
    /// To be returned once more.
    again: Option<StoreEvent>,
}

impl Store for BrokenStore {
    fn submit(&mut self, ticket: Ticket, mut request: Request) {
        if let (Fault::IgnoresConditions, Request::Write { expect, .. }) =
            (self.fault, &mut request)
        {
            let present = self.server.entry().map_or(0, |entry| entry.revision);
            *expect = Expect::revision(present);
        }
        self.store.submit(ticket, request);
    }

    fn waker(&self) -> Waker {
        let lost = self.fault == Fault::LosesWakeUps;
        if lost { Waker::new(|| ()) } else { self.store.waker() }
    }

    fn poll(&mut self, until: Timestamp) -> Option<StoreEvent> {
        if let Some(event) = self.again.take() {
            return Some(event);
        }
        let early = self.fault == Fault::ReturnsEarly;
        let event = self.store.poll(if early { Timestamp::ZERO } else { until })?;
        if self.fault == Fault::CompletesTwice && matches!(event, StoreEvent::Completed { .. }) {
            self.again = Some(event.clone());
        }
        Some(match (self.fault, event) {
            (
                Fault::TakesUnknownForLost,
                StoreEvent::Completed { ticket, outcome: Outcome::Unknown(_) },
            ) => StoreEvent::Completed { ticket, outcome: Outcome::LostRace },
            (_, event) => event,
        })
    }

    fn reconnect(&mut self) {
        self.store.reconnect();
    }

    fn close(&mut self, until: Timestamp) {
        self.store.close(until);
    }
}

struct Broken(MemoryServer, Fault);

impl TestServer for Broken {
    fn connect(&mut self) -> Box<dyn Store> {
        let (store, server) = (self.0.connect(Clock::boot()), self.0.clone());
        Box::new(BrokenStore { store, server, fault: self.1, again: None })
    }

    fn cut(&mut self) -> Result<(), Unsupported> {
        self.0.cut()
    }

    fn freeze(&mut self) -> Result<(), Unsupported> {
        self.0.freeze()
    }
}

fn is_found(fault: Fault, promise: Promise) {
    let mut server = Broken(MemoryServer::new(), fault);
    let tried = catch_unwind(AssertUnwindSafe(|| promise(&mut server)));
    assert!(tried.is_err(), "{fault:?} is not found: {tried:?}");
}

#[test]
fn writes_without_their_condition_are_found() {
    is_found(Fault::IgnoresConditions, promises::a_write_is_stored_only_on_the_revision_it_expects);
    is_found(Fault::IgnoresConditions, promises::one_of_two_writers_wins);
}

#[test]
fn a_poll_that_returns_early_is_found() {
    is_found(Fault::ReturnsEarly, promises::poll_returns_at_its_bound_and_not_before);
}

#[test]
fn a_lost_wake_up_is_found() {
    is_found(Fault::LosesWakeUps, promises::a_wake_up_ends_poll_after_earlier_events);
}

#[test]
fn a_lost_wake_up_from_another_thread_is_found() {
    is_found(Fault::LosesWakeUps, promises::a_wake_up_from_another_thread_arrives);
}

#[test]
fn a_second_outcome_is_found() {
    is_found(Fault::CompletesTwice, promises::every_request_is_completed_once);
}

#[test]
fn an_unknown_outcome_that_is_reported_as_definite_is_found() {
    let promise = promises::open_requests_are_unknown_when_the_connection_ends;
    is_found(Fault::TakesUnknownForLost, promise);
}

#[test]
fn a_broken_promise_is_named() {
    let run = || contract::run_all(|| Broken(MemoryServer::new(), Fault::ReturnsEarly));
    let panic = catch_unwind(run).expect_err("poll returns early");
    let message = panic.downcast_ref::<String>().expect("a formatted message");
    let named = "the store breaks the promise poll_returns_at_its_bound_and_not_before: poll ";
    assert!(message.starts_with(named), "{message}");
}

/// It makes stores and nothing else.
struct Plain(MemoryServer);

impl TestServer for Plain {
    fn connect(&mut self) -> Box<dyn Store> {
        Box::new(self.0.connect(Clock::boot()))
    }

    fn sends_notices(&self) -> bool {
        false
    }
}

#[test]
fn what_a_server_cannot_do_is_reported_as_not_tried() {
    let report = contract::run_all(|| Plain(MemoryServer::new()));
    assert_eq!(report.kept().len() + report.not_tried().len(), PROMISES.len());
    assert!(report.kept().contains(&"one_of_two_writers_wins"));
    for (name, missing) in [
        ("a_frozen_server_blocks_neither_submit_nor_poll", "freeze"),
        ("a_write_while_disconnected_is_never_stored", "cut"),
        ("both_expectations_must_hold", "purge"),
        ("a_recreated_bucket_is_another_incarnation", "delete_bucket"),
        ("markers_garbage_and_absence_are_distinguished", "delete_key"),
        ("a_release_name_holds_only_while_it_is_the_newest_write", "overwrite"),
        ("a_rejected_write_causes_no_notice", "notices"),
    ] {
        assert!(report.not_tried().contains(&(name, Unsupported::new(missing))), "{name}");
        let line = format!("\nnot tried: {name}: the server has no {missing}");
        assert!(report.to_string().contains(&line), "{report}");
    }
}
