//! Each promise of the contract as a function, which panics when the store breaks it.
//!
//! Each wants a fresh server without a bucket.
//!
//! # Errors
//! All return [`Unsupported`] when the server cannot do what they need. The promise was not tried
//! then, or not to its end.
//!
//! ```
//! use leasehold::store::contract::{TestServer, promises};
//! use leasehold::store::memory::MemoryServer;
//!
//! // One test of your own for each promise, or `run_all` for all.
//! promises::one_of_two_writers_wins(&mut MemoryServer::new())?;
//! # Ok::<(), leasehold::store::contract::Unsupported>(())
//! ```
#![allow(clippy::missing_errors_doc, reason = "the module documentation says it once")]

mod snapshots;
mod writes;

use std::thread;
use std::time::{Duration, Instant};

use super::driver::{Driver, PATIENCE, SILENCE, marker, value, write};
use super::{Promise, TestServer, Unsupported};
use crate::store::{Entry, Outcome, Request, StoreEvent};
pub use snapshots::{
    a_recreated_bucket_is_another_incarnation,
    an_empty_bucket_is_pristine_until_something_is_stored, creating_a_bucket_again_changes_nothing,
    markers_garbage_and_absence_are_distinguished,
};
pub use writes::{
    a_condition_may_name_the_release_to_overwrite,
    a_condition_that_names_another_release_does_not_hold,
    a_release_name_holds_only_while_it_is_the_newest_write,
    a_write_is_stored_only_on_the_revision_it_expects, a_write_while_disconnected_is_never_stored,
    a_write_without_a_bucket_stores_nothing, both_expectations_must_hold, one_of_two_writers_wins,
};

type Result = std::result::Result<(), Unsupported>;

/// Far below any timeout of a connection, far above what a loaded machine needs.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Lists functions with their names.
macro_rules! named {
    ($($name:ident,)*) => {
        &[$((stringify!($name), $name)),*]
    };
}

/// All promises with their names.
pub const PROMISES: &[(&str, Promise)] = named![
    poll_returns_at_its_bound_and_not_before,
    a_wake_up_ends_poll_after_earlier_events,
    a_wake_up_from_another_thread_arrives,
    a_frozen_server_blocks_neither_submit_nor_poll,
    every_request_is_completed_once,
    open_requests_are_unknown_when_the_connection_ends,
    a_write_is_stored_only_on_the_revision_it_expects,
    both_expectations_must_hold,
    one_of_two_writers_wins,
    a_write_while_disconnected_is_never_stored,
    a_write_without_a_bucket_stores_nothing,
    a_condition_that_names_another_release_does_not_hold,
    a_condition_may_name_the_release_to_overwrite,
    a_release_name_holds_only_while_it_is_the_newest_write,
    an_empty_bucket_is_pristine_until_something_is_stored,
    creating_a_bucket_again_changes_nothing,
    a_recreated_bucket_is_another_incarnation,
    markers_garbage_and_absence_are_distinguished,
    connected_and_disconnected_alternate,
    reconnecting_from_a_frozen_server_makes_open_requests_unknown,
    reconnecting_replaces_a_healthy_connection,
    every_node_gets_a_notice_of_a_stored_write,
    a_rejected_write_causes_no_notice,
    a_forged_notice_does_not_change_the_record,
    a_closed_store_returns_no_events,
    closing_on_a_frozen_server_keeps_its_bound,
    closing_one_store_leaves_others_connected,
];

/// A node's store, connected.
fn node(server: &mut dyn TestServer) -> Driver {
    let mut driver = Driver::new(server.connect());
    driver.wait_connected();
    driver
}

fn two_nodes(server: &mut dyn TestServer) -> [Driver; 2] {
    [node(server), node(server)]
}

fn entry(node: &mut Driver) -> Option<Entry> {
    node.read().entry
}

fn needs_notices(server: &dyn TestServer) -> Result {
    if server.sends_notices() { Ok(()) } else { Err(Unsupported::new("notices")) }
}

#[track_caller]
fn assert_at_once(begun: Instant) {
    assert!(begun.elapsed() < AT_ONCE, "it took {:?}", begun.elapsed());
}

#[track_caller]
fn assert_woken(node: &mut Driver) {
    let until = node.now() + AT_ONCE;
    assert_eq!(node.store.poll(until), None);
    assert!(node.now() < until, "the wake-up did not end poll");
}

#[track_caller]
fn assert_unknown(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Unknown(_)), "an open request came to {outcome:?}");
}

#[track_caller]
fn assert_not_stored(outcome: &Outcome) {
    let not_stored = matches!(outcome, Outcome::Failed(_) | Outcome::Unknown(_));
    assert!(not_stored, "a write that cannot be stored came to {outcome:?}");
}

// 1. Nothing blocks.

/// `poll` returns `None` when the clock reads its bound, not before.
pub fn poll_returns_at_its_bound_and_not_before(server: &mut dyn TestServer) -> Result {
    let mut node = node(server);
    for millis in [0, 1, 30] {
        let until = node.now() + Duration::from_millis(millis);
        assert_eq!(node.store.poll(until), None);
        assert!(node.now() >= until, "poll returned before its bound");
    }
    Ok(())
}

/// A wake-up ends `poll`, after the events that came before it. Several count as one.
pub fn a_wake_up_ends_poll_after_earlier_events(server: &mut dyn TestServer) -> Result {
    let mut node = node(server);
    let waker = node.store.waker();
    node.submit(Request::Read);
    let first = node.fresh(PATIENCE);
    assert!(matches!(first, Some(StoreEvent::Completed { .. })), "a read came to {first:?}");
    waker.wake();
    waker.wake();
    assert_woken(&mut node);
    let until = node.now() + Duration::from_millis(20);
    assert_eq!(node.store.poll(until), None);
    assert!(node.now() >= until, "two wake-ups ended two polls");
    Ok(())
}

/// A wake-up that comes while `poll` waits ends it.
pub fn a_wake_up_from_another_thread_arrives(server: &mut dyn TestServer) -> Result {
    let mut node = node(server);
    let waker = node.store.waker();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        waker.wake();
    });
    assert_woken(&mut node);
    drop(thread.join());
    Ok(())
}

/// `submit` does not block, and `poll` not beyond its bound, while the server answers nothing.
/// Needs [`freeze`](TestServer::freeze).
pub fn a_frozen_server_blocks_neither_submit_nor_poll(server: &mut dyn TestServer) -> Result {
    let mut node = node(server);
    node.create();
    server.freeze()?;
    let begun = Instant::now();
    for _ in 0..200 {
        node.submit(write(0, None, &"x".repeat(1000)));
        node.submit(Request::Read);
    }
    let until = node.now() + Duration::from_millis(50);
    while node.store.poll(until).is_some() {}
    assert!(node.now() >= until, "poll returned before its bound");
    assert_at_once(begun);
    server.heal()
}

// 2. One definite outcome each; unknown at the instant the connection ends.

/// Each of twenty requests has one outcome, a definite one.
pub fn every_request_is_completed_once(server: &mut dyn TestServer) -> Result {
    let mut node = node(server);
    node.create();
    let tickets: Vec<_> = (0..20)
        .map(|n| node.submit(if n % 2 == 0 { Request::Read } else { write(0, None, "x") }))
        .collect();
    for ticket in tickets {
        let outcome = node.outcome(ticket);
        assert!(!matches!(outcome, Outcome::Unknown(_)), "{ticket:?} came to {outcome:?}");
    }
    while let Some(event) = node.next(SILENCE) {
        assert!(!matches!(event, StoreEvent::Completed { .. }), "twice: {event:?}");
    }
    Ok(())
}

/// What is open when the connection ends is unknown at that instant. Needs
/// [`freeze`](TestServer::freeze) and [`cut`](TestServer::cut).
pub fn open_requests_are_unknown_when_the_connection_ends(server: &mut dyn TestServer) -> Result {
    let mut node = node(server);
    node.create();
    server.freeze()?;
    let tickets =
        [Request::Read, write(0, None, "x"), Request::Read].map(|request| node.submit(request));
    assert_eq!(node.fresh(SILENCE), None);
    server.cut()?;
    node.wait_disconnected();
    for ticket in tickets {
        assert_unknown(&node.outcome(ticket));
    }
    Ok(())
}

// 6. Connected and Disconnected alternate, and frame the answers.

/// `Connected` comes once for each connection. `Disconnected` may repeat, for each round of the
/// servers that failed. Needs [`cut`](TestServer::cut) and [`heal`](TestServer::heal).
pub fn connected_and_disconnected_alternate(server: &mut dyn TestServer) -> Result {
    let mut node = node(server);
    node.create();
    let mut connected = true;
    for _ in 0..2 {
        server.cut()?;
        node.wait_disconnected();
        server.heal()?;
        node.wait_connected();
        node.read();
    }
    while let Some(event) = node.next(SILENCE) {
        match event {
            StoreEvent::Connected { .. } => {
                assert!(!std::mem::replace(&mut connected, true), "connected twice");
            }
            StoreEvent::Disconnected { .. }
            | StoreEvent::AttemptFailed { .. }
            | StoreEvent::Hint => {}
            other => panic!("nothing else happened: {other:?}"),
        }
    }
    Ok(())
}

/// `reconnect` gives up a connection that answers nothing, at once. Needs
/// [`freeze`](TestServer::freeze) and [`heal`](TestServer::heal).
pub fn reconnecting_from_a_frozen_server_makes_open_requests_unknown(
    server: &mut dyn TestServer,
) -> Result {
    let mut node = node(server);
    node.create();
    server.freeze()?;
    let ticket = node.submit(Request::Read);
    let begun = Instant::now();
    node.store.reconnect();
    node.wait_disconnected();
    assert_unknown(&node.outcome(ticket));
    assert_at_once(begun);
    server.heal()?;
    node.wait_connected();
    assert_eq!(entry(&mut node), None);
    Ok(())
}

/// `reconnect` ends a healthy connection too, and builds a new one.
pub fn reconnecting_replaces_a_healthy_connection(server: &mut dyn TestServer) -> Result {
    let mut node = node(server);
    node.create();
    for _ in 0..3 {
        node.store.reconnect();
        node.wait_disconnected();
        node.wait_connected();
        node.read();
    }
    Ok(())
}

// 7. Notices.

/// Each node gets a notice of what is stored, with its content, also of a marker. Needs
/// [`sends_notices`](TestServer::sends_notices) and [`delete_key`](TestServer::delete_key).
pub fn every_node_gets_a_notice_of_a_stored_write(server: &mut dyn TestServer) -> Result {
    needs_notices(server)?;
    let mut nodes = two_nodes(server);
    nodes[0].create();
    // The first read may be what learns where notices come from.
    let _ = nodes.each_mut().map(Driver::read);
    let first = nodes[0].stored(0, "x");
    for node in &mut nodes {
        assert_eq!(node.wait_notice(), value(first, "x"));
    }
    server.delete_key()?;
    for node in &mut nodes {
        assert_eq!(node.wait_notice(), marker(first + 1));
    }
    Ok(())
}

/// A write that lost the race is announced to nobody. Needs
/// [`sends_notices`](TestServer::sends_notices).
pub fn a_rejected_write_causes_no_notice(server: &mut dyn TestServer) -> Result {
    needs_notices(server)?;
    let mut nodes = two_nodes(server);
    nodes[0].create();
    let _ = nodes.each_mut().map(Driver::read);
    assert_eq!(nodes[0].write(7, "x"), Outcome::LostRace);
    let first = nodes[0].stored(0, "y");
    assert_eq!(nodes[1].wait_notice(), value(first, "y"));
    assert!(nodes[1].seen.is_empty(), "before it came {:?}", nodes[1].seen);
    Ok(())
}

/// A notice that somebody forged changes no record. Needs
/// [`forge_notice`](TestServer::forge_notice).
pub fn a_forged_notice_does_not_change_the_record(server: &mut dyn TestServer) -> Result {
    needs_notices(server)?;
    let mut node = node(server);
    node.create();
    let first = node.stored(0, "x");
    assert_eq!(node.wait_notice(), value(first, "x"));
    let forged = value(u64::MAX, "mine");
    server.forge_notice(&forged)?;
    assert_eq!(node.wait_notice(), forged);
    assert_eq!(entry(&mut node), Some(value(first, "x")));
    Ok(())
}

// Closing.

/// A closed store returns no event, and connects no more. Closing twice is allowed.
pub fn a_closed_store_returns_no_events(server: &mut dyn TestServer) -> Result {
    let mut node = node(server);
    node.create();
    node.submit(Request::Read);
    node.close();
    let until = node.now() + Duration::from_millis(50);
    assert_eq!(node.store.poll(until), None);
    node.close();
    node.store.reconnect();
    assert_eq!(node.fresh(SILENCE), None);
    Ok(())
}

/// `close` keeps its bound while the server answers nothing. Needs
/// [`freeze`](TestServer::freeze).
pub fn closing_on_a_frozen_server_keeps_its_bound(server: &mut dyn TestServer) -> Result {
    let mut node = node(server);
    node.create();
    server.freeze()?;
    node.submit(Request::Read);
    let begun = Instant::now();
    node.close_within(Duration::from_millis(200));
    assert_at_once(begun);
    server.heal()
}

/// Closing one node's store does not touch the others.
pub fn closing_one_store_leaves_others_connected(server: &mut dyn TestServer) -> Result {
    let mut nodes = two_nodes(server);
    nodes[0].create();
    nodes[1].read();
    nodes[0].close();
    let first = nodes[1].stored(0, "x");
    assert_eq!(entry(&mut nodes[1]), Some(value(first, "x")));
    if server.sends_notices() {
        assert_eq!(nodes[1].wait_notice(), value(first, "x"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_promise_is_listed_once() {
        let files = [
            include_str!("promises.rs"),
            include_str!("promises/snapshots.rs"),
            include_str!("promises/writes.rs"),
        ];
        let functions: usize = files.iter().map(|file| file.matches("\npub fn ").count()).sum();
        assert_eq!(PROMISES.len(), functions);
        let names: std::collections::BTreeSet<_> = PROMISES.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), functions);
    }
}
