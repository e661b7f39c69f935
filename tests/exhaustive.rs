//! Every interleaving of a small world, with the shipped election.
//!
//! The world has two nodes and a store. Timers fire, messages arrive and drains end in every
//! possible order, up to a horizon of true time. At every point the search also tries each possible
//! fault, as often as a budget allows: a message is lost, late or duplicated, a node stands still,
//! a node is killed and started again. The clocks run as far apart as the bound allows. A state
//! that was reached before is not explored again. The rules of the protocol are checked in every
//! state, see `simulation/rules.rs`.
//!
//! Further tests break one rule of the world each, and show that the search finds it.

#[path = "exhaustive/mod.rs"]
mod exhaustive;

use exhaustive::rules::Rule;
use exhaustive::search::{Report, search};
use exhaustive::settings::{Budget, Flaw, Setting};

/// How long the world runs, in milliseconds of true time: more than one and a half TTLs.
const HORIZON: u64 = 1_600;

fn explore(name: &str, setting: &Setting) -> Report {
    let report = search(setting);
    eprintln!("{name}: {report}");
    report
}

fn breaks_no_rule(name: &str, setting: &Setting) {
    let report = explore(name, setting);
    assert!(report.violation.is_none(), "{report:#}");
    assert!(report.terms > 0, "no second term ever began: {report}");
}

/// How far the clocks of leader and follower depart from true time, in percent: to the bound.
const SLOW_AND_FAST: [i64; 2] = [-10, 10];
const FAST_AND_SLOW: [i64; 2] = [10, -10];

/// One disturbed message, one pause and one crash. Without optimisation, two of the three at a
/// time.
fn inject_faults(clocks: [i64; 2]) {
    let all = Budget { disturbances: 1, pauses: 1, crashes: 1, ..Budget::NONE };
    if !cfg!(debug_assertions) {
        return breaks_no_rule("disturbance, pause, crash", &Setting::new(clocks, all, HORIZON));
    }
    for (name, budget) in [
        ("pause, crash", Budget { disturbances: 0, ..all }),
        ("disturbance, crash", Budget { pauses: 0, ..all }),
        ("disturbance, pause", Budget { crashes: 0, ..all }),
    ] {
        breaks_no_rule(name, &Setting::new(clocks, budget, HORIZON));
    }
}

#[test]
fn a_leader_on_the_slowest_clock_and_a_follower_on_the_fastest() {
    inject_faults(SLOW_AND_FAST);
}

#[test]
fn a_leader_on_the_fastest_clock_and_a_follower_on_the_slowest() {
    inject_faults(FAST_AND_SLOW);
}

#[test]
fn a_leader_that_steps_down() {
    let asked = Budget { disturbances: 1, resignations: 1, ..Budget::NONE };
    breaks_no_rule("disturbance, step-down", &Setting::new(SLOW_AND_FAST, asked, HORIZON));
}

#[test]
fn a_key_that_is_deleted_or_purged() {
    let deleted = Budget { disturbances: 1, deletions: 1, ..Budget::NONE };
    breaks_no_rule("disturbance, deletion", &Setting::new(SLOW_AND_FAST, deleted, HORIZON));
}

/// The first rule that is broken in a world with that flaw.
fn broken_by(flaw: Flaw, budget: Budget) -> Option<Rule> {
    let setting = Setting { flaw: Some(flaw), ..Setting::new(SLOW_AND_FAST, budget, HORIZON) };
    let report = explore(&format!("{flaw:?}"), &setting);
    report.violation.map(|violation| violation.rule)
}

const DISTURBANCE_AND_PAUSE: Budget = Budget { disturbances: 1, pauses: 1, ..Budget::NONE };

#[test]
fn a_store_that_ignores_conditions_is_found() {
    assert_eq!(broken_by(Flaw::NoCondition, DISTURBANCE_AND_PAUSE), Some(Rule::I4));
}

#[test]
fn a_clock_that_stops_in_a_pause_is_found() {
    assert_eq!(broken_by(Flaw::ClockStops, DISTURBANCE_AND_PAUSE), Some(Rule::I1));
}

#[test]
fn clocks_that_drift_beyond_the_bound_are_found() {
    assert_eq!(broken_by(Flaw::ClockRaces, DISTURBANCE_AND_PAUSE), Some(Rule::I1));
}

#[test]
fn a_store_that_loses_acknowledged_writes_is_found() {
    assert_eq!(broken_by(Flaw::LostWrite, DISTURBANCE_AND_PAUSE), Some(Rule::I5));
}

#[test]
fn a_reused_session_is_found() {
    let budget = Budget { crashes: 1, ..Budget::NONE };
    assert_eq!(broken_by(Flaw::SessionAgain, budget), Some(Rule::I14));
}

#[test]
fn work_that_goes_on_after_drained_is_found() {
    let budget = Budget { resignations: 1, ..Budget::NONE };
    assert_eq!(broken_by(Flaw::DrainsEarly, budget), Some(Rule::I8));
}
