//! A snapshot is of one incarnation, and says what is under the key.

use super::{Result, entry, node, two_nodes};
use crate::store::contract::TestServer;
use crate::store::contract::driver::{Driver, marker, value};
use crate::store::{Outcome, Request};

/// A bucket is missing, then empty, then not pristine any more. The last part needs
/// [`purge`](TestServer::purge).
pub fn an_empty_bucket_is_pristine_until_something_is_stored(
    server: &mut dyn TestServer,
) -> Result {
    let mut node = node(server);
    assert_eq!(node.ask(Request::Read), Outcome::NoBucket);
    node.create();
    let snapshot = node.read();
    assert!(snapshot.pristine, "nothing was stored yet: {snapshot:?}");
    assert_eq!((snapshot.last_seq, snapshot.entry), (0, None));
    let first = node.stored(0, "x");
    assert!(!node.read().pristine, "something was stored");
    server.purge()?;
    let snapshot = node.read();
    assert!(!snapshot.pristine, "something was stored once");
    assert_eq!((snapshot.last_seq, snapshot.entry), (first, None));
    Ok(())
}

/// Creating a bucket that is there succeeds, and changes nothing.
pub fn creating_a_bucket_again_changes_nothing(server: &mut dyn TestServer) -> Result {
    let mut nodes = two_nodes(server);
    nodes[0].create();
    let first = nodes[0].stored(0, "x");
    nodes[1].create();
    assert_eq!(nodes[1].ask(Request::CreateBucket { first_seq: 70 }), Outcome::Created);
    let snapshots = nodes.each_mut().map(Driver::read);
    assert_eq!(snapshots[0], snapshots[1]);
    assert_eq!(snapshots[0].entry, Some(value(first, "x")));
    Ok(())
}

/// A bucket that was deleted and created again is told from the one before. Needs
/// [`delete_bucket`](TestServer::delete_bucket).
pub fn a_recreated_bucket_is_another_incarnation(server: &mut dyn TestServer) -> Result {
    let mut nodes = two_nodes(server);
    nodes[0].create();
    nodes[0].stored(0, "old");
    let before = nodes.each_mut().map(Driver::read);
    server.delete_bucket()?;
    assert_eq!(nodes[1].ask(Request::Read), Outcome::NoBucket);
    nodes[1].create();
    let first = nodes[1].stored(0, "new");
    for (node, before) in nodes.iter_mut().zip(before) {
        let snapshot = node.read();
        assert_ne!(snapshot.incarnation, before.incarnation);
        assert_eq!(snapshot.entry, Some(value(first, "new")));
    }
    Ok(())
}

/// A marker is a revision, bytes of any origin are a value, and nothing is nothing. Needs
/// [`delete_key`](TestServer::delete_key), [`overwrite`](TestServer::overwrite) and
/// [`purge`](TestServer::purge).
pub fn markers_garbage_and_absence_are_distinguished(server: &mut dyn TestServer) -> Result {
    let mut node = node(server);
    node.create();
    let first = node.stored(0, "x");
    server.delete_key()?;
    assert_eq!(entry(&mut node), Some(marker(first + 1)));
    assert_eq!(node.write(0, "y"), Outcome::LostRace, "a write must expect the marker");
    let third = node.stored(first + 1, "y");
    server.overwrite(b"}garbage{")?;
    assert_eq!(entry(&mut node), Some(value(third + 1, "}garbage{")));
    server.purge()?;
    let snapshot = node.read();
    assert_eq!((snapshot.entry, snapshot.last_seq), (None, third + 1));
    Ok(())
}
