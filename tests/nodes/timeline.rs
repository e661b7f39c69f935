//! The check of the logs of all nodes of a cluster.
//!
//! A term begins when its challenge was *sent*, which is its first deadline minus the validity: the
//! previous term must have ended by then, not only by the time of the acknowledgement. It ends with
//! the last call of `is_leader()` that returned true. Both ends are such that the check reports no
//! overlap that did not happen.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::millis_between;
use super::process::{NodeProcess, number};

/// How many terms before a faulty one are shown.
const CONTEXT: usize = 8;

/// A term in the log of its node.
#[derive(Clone, Debug)]
pub struct Term {
    /// The index of the process.
    pub node: usize,
    /// Its epoch.
    pub epoch: u64,
    /// When its challenge was sent, or later.
    pub began: u64,
    /// When `is_leader()` was last seen true, or earlier.
    pub until: u64,
    /// The last deadline seen.
    pub deadline: u64,
}

/// The violations in a history.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Two nodes that led at once.
    pub overlaps: Vec<String>,
    /// The longest such time, in nanoseconds.
    pub longest_overlap: u64,
    /// Epochs that did not rise from term to term, two sessions in one epoch among them.
    pub disorder: Vec<String>,
    /// Events that are missing or not in pairs.
    pub lost_events: Vec<String>,
}

impl Findings {
    /// Whether there is no violation.
    pub fn is_clean(&self) -> bool {
        self.all().next().is_none()
    }

    /// All violations.
    pub fn all(&self) -> impl Iterator<Item = &String> {
        self.overlaps.iter().chain(&self.disorder).chain(&self.lost_events)
    }
}

/// Checks the whole history of a cluster.
///
/// # Panics
/// When two nodes led at once, an epoch did not rise, or the events of a node are not in pairs.
pub fn check(nodes: &[NodeProcess]) {
    let findings = examine(nodes);
    assert!(findings.is_clean(), "{}", findings.all().cloned().collect::<Vec<_>>().join("\n"));
}

/// The violations in the whole history of a cluster.
pub fn examine(nodes: &[NodeProcess]) -> Findings {
    let mut findings = Findings::default();
    let mut terms: Vec<_> = nodes.iter().enumerate().flat_map(|(at, node)| of(at, node)).collect();
    terms.sort_by_key(|term| term.began);
    let mut last_until = 0;
    for (at, term) in terms.iter().enumerate() {
        if term.began < last_until {
            let overlap = last_until - term.began;
            findings.longest_overlap = findings.longest_overlap.max(overlap);
            let millis = millis_between(0, overlap);
            findings
                .overlaps
                .push(format!("two leaders for {millis} ms: {}", show(&terms, at, nodes)));
        }
        if at > 0 && term.epoch <= terms[at - 1].epoch {
            findings.disorder.push(format!("an epoch did not rise: {}", show(&terms, at, nodes)));
        }
        last_until = last_until.max(term.until);
    }
    findings.lost_events = nodes.iter().flat_map(lost_events).collect();
    findings
}

/// The terms of one node.
pub fn of(at: usize, node: &NodeProcess) -> Vec<Term> {
    let mut terms = BTreeMap::<u64, Term>::new();
    let mut see = |epoch, deadline, until| {
        let began = deadline - node.validity();
        let new = Term { node: at, epoch, began, until, deadline };
        let term = terms.entry(epoch).or_insert(new);
        term.began = term.began.min(began);
        term.until = term.until.max(until);
        term.deadline = term.deadline.max(deadline);
    };
    let mut last_yes = 0;
    for sample in node.samples().iter().filter(|sample| number(sample, "epoch") > 0) {
        let deadline = number(sample, "deadline");
        let began = deadline - node.validity();
        // A call during an earlier term proves nothing about this one.
        let newest = number(sample, "last_yes");
        let until = if newest > last_yes && newest >= began { newest } else { began };
        last_yes = newest;
        see(number(sample, "epoch"), deadline, until);
    }
    for event in node.events().iter().filter(|event| event["event"] == "became") {
        if let Some(deadline) = event["deadline"].as_u64() {
            see(number(event, "epoch"), deadline, deadline - node.validity());
        }
    }
    terms.into_values().collect()
}

/// The intervals from `from` to `to` without a leader. A term without a logged end lasts until its
/// deadline, or until its process was killed.
pub fn gaps(nodes: &[NodeProcess], from: u64, to: u64) -> Vec<(u64, u64)> {
    let mut led = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let mut terms = of(at, node);
        if let Some(last) = terms.last_mut() {
            last.until = end_of(last, node, to);
        }
        led.extend(terms.iter().map(|term| (term.began, term.until)));
    }
    led.sort_unstable();
    let mut gaps = Vec::new();
    let mut at = from;
    for (began, until) in led.into_iter().chain([(to, to)]) {
        if began.min(to) > at {
            gaps.push((at, began.min(to)));
        }
        at = at.max(until);
    }
    gaps
}

/// When the last term of a node ended, as far as is known `now`.
fn end_of(last: &Term, node: &NodeProcess, now: u64) -> u64 {
    let ended = |event: &Value| event["event"] == "lost" && event["epoch"] == last.epoch;
    if node.events().iter().any(ended) {
        return last.until;
    }
    last.until.max(last.deadline.min(node.ended().unwrap_or(now)))
}

/// Events that the application or its hooks did not get, or not in pairs. The last term of a
/// process that was ended may be missing: it had no time to log it.
fn lost_events(node: &NodeProcess) -> Vec<String> {
    let mut lost = Vec::new();
    let seen = of(0, node).iter().map(|term| term.epoch).collect::<BTreeSet<_>>();
    let seen = seen.iter().rev().skip(usize::from(!node.is_alive()));
    let seen = seen.copied().collect::<Vec<_>>();
    for (begin, end) in [("became", "lost"), ("hook_became", "hook_lost")] {
        let mut logged = BTreeSet::new();
        let mut open = None;
        for event in node.events() {
            let epoch = &event["epoch"];
            let in_turn = if event["event"] == begin {
                logged.extend(epoch.as_u64());
                open.replace(epoch).is_none()
            } else if event["event"] == end {
                open.take() == Some(epoch)
            } else {
                true
            };
            if !in_turn {
                lost.push(format!("{}: out of turn: {event}", node.name()));
            }
        }
        let missing = seen.iter().filter(|epoch| !logged.contains(epoch));
        lost.extend(missing.map(|epoch| format!("{}: no {begin} of {epoch}", node.name())));
    }
    let missed = node.events().iter().filter(|event| event["event"] == "missed");
    lost.extend(missed.map(|event| format!("{}: {event}", node.name())));
    lost
}

/// The term at index `last` and those before it.
fn show(terms: &[Term], last: usize, nodes: &[NodeProcess]) -> String {
    let terms = &terms[last.saturating_sub(CONTEXT)..=last];
    let origin = terms.first().map_or(0, |term| term.began);
    let since = |at| millis_between(origin, at);
    let lines = terms.iter().map(|term| {
        let (name, epoch) = (nodes[term.node].name(), term.epoch);
        format!("\n{name} epoch {epoch}: {:.3} to {:.3} ms", since(term.began), since(term.until))
    });
    lines.collect()
}
