//! Writes are stored under their condition or not at all.

use super::{Result, assert_not_stored, entry, node, two_nodes};
use crate::store::contract::driver::{Driver, release, release_id, value, write, write_if};
use crate::store::contract::{TestServer, Unsupported};
use crate::store::{Expect, Outcome, Request};

/// A write over another revision than the present one loses the race and changes nothing.
pub fn a_write_is_stored_only_on_the_revision_it_expects(server: &mut dyn TestServer) -> Result {
    let mut node = node(server);
    node.create();
    let first = node.stored(0, "first");
    assert_eq!(node.write(0, "again"), Outcome::LostRace);
    assert_eq!(node.write(first + 1, "ahead"), Outcome::LostRace);
    assert_eq!(entry(&mut node), Some(value(first, "first")));
    let second = node.stored(first, "second");
    assert!(second > first, "revision {second} follows {first}");
    assert_eq!(entry(&mut node), Some(value(second, "second")));
    Ok(())
}

/// A condition on the bucket's newest revision counts beside the one on the key. Needs
/// [`purge`](TestServer::purge).
pub fn both_expectations_must_hold(server: &mut dyn TestServer) -> Result {
    let mut node = node(server);
    node.create();
    let first = node.stored(0, "first");
    server.purge()?;
    assert_eq!(node.ask(write(0, Some(first + 1), "x")), Outcome::LostRace);
    assert_eq!(node.ask(write(first, Some(first), "x")), Outcome::LostRace);
    let stored = Outcome::Stored { revision: first + 1 };
    assert_eq!(node.ask(write(0, Some(first), "x")), stored);
    Ok(())
}

/// Of two writes over the same revision one is stored.
pub fn one_of_two_writers_wins(server: &mut dyn TestServer) -> Result {
    let mut nodes = two_nodes(server);
    nodes[0].create();
    let mut revision = 0;
    for round in 0..50 {
        let name = round.to_string();
        let tickets = nodes.each_mut().map(|node| node.submit(write(revision, None, &name)));
        let outcomes = [nodes[0].outcome(tickets[0]), nodes[1].outcome(tickets[1])];
        revision = match outcomes {
            [Outcome::Stored { revision }, Outcome::LostRace]
            | [Outcome::LostRace, Outcome::Stored { revision }] => revision,
            other => panic!("two writes over one revision came to {other:?}"),
        };
    }
    Ok(())
}

/// A write that is submitted without a connection is not stored, and not later either. Needs
/// [`cut`](TestServer::cut) and [`heal`](TestServer::heal).
pub fn a_write_while_disconnected_is_never_stored(server: &mut dyn TestServer) -> Result {
    let mut node = node(server);
    node.create();
    let first = node.stored(0, "first");
    server.cut()?;
    node.wait_disconnected();
    assert_not_stored(&node.write(first, "late"));
    server.heal()?;
    node.wait_connected();
    assert_eq!(entry(&mut node), Some(value(first, "first")));
    // Nor does it arrive after a later message.
    let second = node.stored(first, "second");
    assert_eq!(entry(&mut node), Some(value(second, "second")));
    assert_eq!(second, first + 1);
    Ok(())
}

/// Without a bucket nothing can be stored, and no bucket is created by the way.
pub fn a_write_without_a_bucket_stores_nothing(server: &mut dyn TestServer) -> Result {
    let mut node = node(server);
    assert_not_stored(&node.write(0, "x"));
    assert_eq!(node.ask(Request::Read), Outcome::NoBucket);
    node.create();
    assert_eq!(entry(&mut node), None);
    Ok(())
}

/// A condition that names another release than the present one loses the race, also in a store that
/// cannot check names.
pub fn a_condition_that_names_another_release_does_not_hold(server: &mut dyn TestServer) -> Result {
    let mut node = node(server);
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
    Ok(())
}

/// A condition may name the present release, once. Needs a store that checks names: another one
/// reports a lost race.
pub fn a_condition_may_name_the_release_to_overwrite(server: &mut dyn TestServer) -> Result {
    let mut node = node(server);
    node.create();
    node.read();
    let first = node.released(Expect::revision(0), 4);
    let held = held_over(&mut node, first, 4)?;
    let again = Expect::release(held, release_id(4));
    assert_eq!(node.ask(write_if(again, "y")), Outcome::LostRace, "over a held record");
    Ok(())
}

/// A release that anything was written after can be named no more. Needs a store that checks names,
/// and all that is done to the record: [`overwrite`](TestServer::overwrite),
/// [`purge`](TestServer::purge), [`delete_bucket`](TestServer::delete_bucket).
pub fn a_release_name_holds_only_while_it_is_the_newest_write(
    server: &mut dyn TestServer,
) -> Result {
    let mut node = node(server);
    node.create();
    node.read();
    let first = node.released(Expect::revision(0), 8);
    let held = held_over(&mut node, first, 8)?;
    let second = node.released(Expect::revision(held), 1);
    server.overwrite(b"foreign")?;
    let over = Expect::release(second + 1, release_id(1));
    assert_eq!(node.ask(write_if(over, "y")), Outcome::LostRace);
    let last = node.released(Expect::revision(second + 1), 3);
    server.purge()?;
    let purged = Expect::release(last, release_id(3));
    assert_eq!(node.ask(write_if(purged, "y")), Outcome::LostRace);
    server.delete_bucket()?;
    node.create();
    node.read();
    let mut newest = node.stored(0, "x");
    while newest < last {
        newest = node.stored(newest, "x");
    }
    assert_eq!(node.ask(write_if(purged, "y")), Outcome::LostRace);
    Ok(())
}

/// Overwrites the present release, by its name.
#[track_caller]
fn held_over(
    node: &mut Driver,
    revision: u64,
    number: u64,
) -> std::result::Result<u64, Unsupported> {
    match node.ask(write_if(Expect::release(revision, release_id(number)), "held")) {
        Outcome::Stored { revision } => Ok(revision),
        Outcome::LostRace => Err(Unsupported::new("conditions on the names of releases")),
        other => panic!("a write over a named release came to {other:?}"),
    }
}
