//! What the logs of all nodes of a cluster prove together.
//!
//! A term is taken to begin when its challenge was *sent*, which is its first deadline less the
//! validity: the one before must have ended by then already, not only by the time of the
//! acknowledgement. It ends with the last call of `is_leader()` that was answered with yes. Either
//! edge errs to the side that finds no fault where there is none.

use std::collections::BTreeMap;

use super::millis_between;
use super::process::{NodeProcess, number};

/// A term as its own node saw it.
#[derive(Clone, Debug)]
pub struct Term {
    /// Which process.
    pub node: usize,
    /// Its fencing number.
    pub epoch: u64,
    /// When its challenge was sent, or later.
    pub began: u64,
    /// When `is_leader()` was last seen true, or earlier.
    pub until: u64,
}

/// Checks the whole history of a cluster.
///
/// # Panics
/// When two nodes led at once, an epoch did not rise, or a node's events are not in pairs.
pub fn check(nodes: &[NodeProcess]) {
    let mut terms: Vec<_> = nodes.iter().enumerate().flat_map(|(at, node)| of(at, node)).collect();
    terms.sort_by_key(|term| term.began);
    for pair in terms.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        let overlap = millis_between(after.began, before.until);
        assert!(overlap <= 0.0, "two leaders for {overlap} ms: {}", tell(&terms, nodes));
        assert!(after.epoch > before.epoch, "an epoch did not rise: {}", tell(&terms, nodes));
    }
    nodes.iter().for_each(check_pairs);
}

/// The terms of one node.
pub fn of(at: usize, node: &NodeProcess) -> Vec<Term> {
    let mut terms = BTreeMap::<u64, Term>::new();
    let mut see = |epoch, began, until| {
        let new = Term { node: at, epoch, began, until };
        let term = terms.entry(epoch).or_insert(new);
        term.began = term.began.min(began);
        term.until = term.until.max(until);
    };
    let mut last_yes = 0;
    for sample in node.samples().iter().filter(|sample| number(sample, "epoch") > 0) {
        let began = number(sample, "deadline") - node.validity();
        // That of a term before this one is no evidence for this one.
        let newest = number(sample, "last_yes");
        let until = if newest > last_yes && newest >= began { newest } else { began };
        last_yes = newest;
        see(number(sample, "epoch"), began, until);
    }
    for event in node.events().iter().filter(|event| event["event"] == "became") {
        if let Some(deadline) = event["deadline"].as_u64() {
            let began = deadline - node.validity();
            see(number(event, "epoch"), began, began);
        }
    }
    terms.into_values().collect()
}

/// `became` and `lost` take turns, each pair of one epoch; so do the hooks.
fn check_pairs(node: &NodeProcess) {
    for (begin, end) in [("became", "lost"), ("hook_became", "hook_lost")] {
        let mut open = None;
        for event in node.events() {
            let epoch = &event["epoch"];
            if event["event"] == begin {
                assert_eq!(open.replace(epoch), None, "{}: {event}", node.name());
            } else if event["event"] == end {
                assert_eq!(open.take(), Some(epoch), "{}: {event}", node.name());
            }
        }
    }
}

fn tell(terms: &[Term], nodes: &[NodeProcess]) -> String {
    let origin = terms.first().map_or(0, |term| term.began);
    let since = |at| millis_between(origin, at);
    let lines = terms.iter().map(|term| {
        let (name, epoch) = (nodes[term.node].name(), term.epoch);
        format!("\n{name} epoch {epoch}: {:.3} to {:.3} ms", since(term.began), since(term.until))
    });
    lines.collect()
}
