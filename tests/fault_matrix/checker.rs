//! The checker of histories, on histories that were made up: it finds what it is there to find.

use std::time::Duration;

use serde_json::{Value, json};

use crate::nodes::{Findings, NodeProcess, Nodes, config};

/// The validity of a term, in the unit of the logs.
fn validity() -> u64 {
    crate::nodes::nanos(timed().build().expect("valid").timing().validity())
}

fn timed() -> leasehold::config::ConfigBuilder {
    config("nats://127.0.0.1:1").lease_ttl(Duration::from_secs(5))
}

/// The lines of a term whose challenge was sent at `began`, and of which a call that began at
/// `until` was the last to be answered with yes.
fn term(epoch: u64, began: u64, until: u64) -> Vec<Value> {
    let deadline = began + validity();
    let sample = |leads: bool| {
        json!({
            "event": "sample", "at": until, "epoch": epoch, "deadline": deadline,
            "last_yes": until, "leads": leads, "gap": 0,
        })
    };
    vec![
        json!({ "event": "became", "at": began, "epoch": epoch, "deadline": deadline }),
        json!({ "event": "hook_became", "at": began, "epoch": epoch }),
        sample(true),
        sample(false),
        json!({ "event": "lost", "at": until, "epoch": epoch, "cause": "expired" }),
        json!({ "event": "hook_lost", "at": until, "epoch": epoch }),
    ]
}

/// What is found in the logs of so many nodes.
fn found<const N: usize>(logs: [Vec<Value>; N]) -> Findings {
    let mut nodes = nodes_of(logs);
    nodes.judge()
}

fn nodes_of<const N: usize>(logs: [Vec<Value>; N]) -> Nodes {
    let mut nodes = Nodes::new(timed());
    for (log, name) in logs.into_iter().zip(["a", "b", "c"]) {
        let config = timed().node_id(name).build().expect("valid");
        nodes.take(NodeProcess::reciting(&config, &log));
    }
    nodes
}

fn without(mut log: Vec<Value>, event: &str, epoch: u64) -> Vec<Value> {
    log.retain(|line| line["event"] != event || line["epoch"] != epoch);
    log
}

#[test]
fn one_leader_after_the_other_is_fine() {
    let both = [[term(1, 1_000, 2_000), term(3, 4_000, 5_000)].concat(), term(2, 2_000, 4_000)];
    let findings = found(both);
    assert!(findings.is_clean(), "{findings:?}");
}

#[test]
fn two_leaders_for_a_nanosecond_are_found() {
    let findings = found([term(1, 1_000, 2_000), term(2, 1_999, 3_000)]);
    assert_eq!((findings.overlaps.len(), findings.longest_overlap), (1, 1), "{findings:?}");
    assert!(findings.disorder.is_empty() && findings.lost_events.is_empty(), "{findings:?}");
}

#[test]
fn two_leaders_are_found_also_behind_a_shorter_term() {
    let findings = found([term(1, 1_000, 9_000), term(2, 2_000, 3_000), term(3, 4_000, 9_500)]);
    assert_eq!((findings.overlaps.len(), findings.longest_overlap), (2, 7_000), "{findings:?}");
}

#[test]
fn an_epoch_that_does_not_rise_is_found() {
    for (first, second) in [(2, 1), (2, 2)] {
        let findings = found([term(first, 1_000, 2_000), term(second, 3_000, 4_000)]);
        assert_eq!((findings.disorder.len(), findings.overlaps.len()), (1, 0), "{findings:?}");
    }
}

#[test]
fn events_that_are_missing_are_found() {
    let log = || [term(1, 1_000, 2_000), term(2, 3_000, 4_000)].concat();
    for event in ["became", "lost", "hook_became", "hook_lost"] {
        let findings = found([without(log(), event, 1)]);
        assert!(!findings.lost_events.is_empty(), "{event}");
    }
    let missed = json!({ "event": "missed", "at": 5_000, "count": 2 });
    assert_eq!(found([[log(), vec![missed]].concat()]).lost_events.len(), 1);
}

#[test]
fn a_process_that_was_ended_need_not_have_told_its_last_term() {
    let mut log = [term(1, 1_000, 2_000), term(2, 3_000, 4_000)].concat();
    for event in ["became", "lost", "hook_became", "hook_lost"] {
        log = without(log, event, 2);
    }
    let findings = found([log]);
    assert!(findings.is_clean(), "{findings:?}");
}

#[test]
#[should_panic(expected = "two leaders")]
fn who_does_not_judge_is_judged_for() {
    let nodes = nodes_of([term(1, 1_000, 2_000), term(2, 1_500, 3_000)]);
    drop(nodes);
}

#[test]
fn times_without_a_leader_are_those_between_terms() {
    let mut nodes = nodes_of([term(1, 1_000, 2_000), term(2, 3_000, 4_000)]);
    nodes.judge();
    assert_eq!(nodes.gaps(500, 5_000), [(500, 1_000), (2_000, 3_000), (4_000, 5_000)]);
    assert_eq!(nodes.gaps(1_500, 3_500), [(2_000, 3_000)]);
}
