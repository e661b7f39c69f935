//! Waiting for a node's events.

use std::time::{Duration, Instant};

use leasehold::{Cause, Epoch, Event, Leadership, Node};

/// Longer than any wait takes, even on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn next_of<T>(node: &Node, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(found) = node.events().next_timeout(PATIENCE).and_then(&mut pick) {
            return found;
        }
    }
    panic!("no {what} in {PATIENCE:?}");
}

pub(crate) fn became(node: &Node) -> Leadership {
    next_of(node, "BecameLeader", |event| match event {
        Event::BecameLeader(leadership) => Some(leadership),
        _ => None,
    })
}

pub(crate) fn lost(node: &Node) -> (Epoch, Cause) {
    next_of(node, "LostLeadership", |event| match event {
        Event::LostLeadership { epoch, cause } => Some((epoch, cause)),
        _ => None,
    })
}
