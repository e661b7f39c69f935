//! Every interleaving of a small world, over the shipped election.
//!
//! Two nodes and a store. A node's timer, a message's arrival, the end of a drain: whatever can
//! happen next is tried, in every order, up to a horizon of true time; and so is everything that
//! may go wrong, wherever it can, as often as the world's budget allows: messages lost, late and
//! twice, a node that stands still, a node that is killed and started again. The clocks run as far
//! apart as they may. States that were reached before are not gone through again. The promises are
//! checked in every state, by their names in the protocol.
//!
//! And the search is shown to see: worlds with one planted flaw each are found wanting.

#[path = "exhaustive/mod.rs"]
mod exhaustive;

use exhaustive::search::{Report, search};
use exhaustive::setting::{Budget, Flaw, Setting};

/// The world's true time, in milliseconds: more than one and a half TTLs.
const HORIZON: u64 = 1_600;

fn explore(name: &str, setting: &Setting) -> Report {
    let report = search(setting);
    eprintln!("{name}: {report}");
    report
}

fn keeps_every_promise(name: &str, setting: &Setting) {
    let report = explore(name, setting);
    assert!(report.violation.is_none(), "{report:#}");
    assert!(report.terms > 0, "no other term was ever seen: {report}");
}

/// The leader's clock and the follower's, as slow and as fast as they may run.
const SLOW_AND_FAST: [i64; 2] = [-10, 10];
const FAST_AND_SLOW: [i64; 2] = [10, -10];

/// One message upset, one pause and one crash; two of the three at a time where the build is not
/// optimised.
fn go_wrong(clocks: [i64; 2]) {
    let all = Budget { upsets: 1, pauses: 1, crashes: 1, ..Budget::NONE };
    if !cfg!(debug_assertions) {
        return keeps_every_promise("upset, pause, crash", &Setting::new(clocks, all, HORIZON));
    }
    for (name, budget) in [
        ("pause, crash", Budget { upsets: 0, ..all }),
        ("upset, crash", Budget { pauses: 0, ..all }),
        ("upset, pause", Budget { crashes: 0, ..all }),
    ] {
        keeps_every_promise(name, &Setting::new(clocks, budget, HORIZON));
    }
}

#[test]
fn a_leader_on_the_slowest_clock_and_a_follower_on_the_fastest() {
    go_wrong(SLOW_AND_FAST);
}

#[test]
fn a_leader_on_the_fastest_clock_and_a_follower_on_the_slowest() {
    go_wrong(FAST_AND_SLOW);
}

#[test]
fn a_leader_that_steps_down() {
    let asked = Budget { upsets: 1, resignations: 1, ..Budget::NONE };
    keeps_every_promise("upset, step-down", &Setting::new(SLOW_AND_FAST, asked, HORIZON));
}

#[test]
fn a_key_that_is_deleted_or_purged() {
    let deleted = Budget { upsets: 1, deletions: 1, ..Budget::NONE };
    keeps_every_promise("upset, deletion", &Setting::new(SLOW_AND_FAST, deleted, HORIZON));
}

/// Plants a flaw into the world; the promise that breaks first.
fn broken_by(flaw: Flaw, budget: Budget) -> String {
    let setting = Setting { flaw: Some(flaw), ..Setting::new(SLOW_AND_FAST, budget, HORIZON) };
    let report = explore(&format!("{flaw:?}"), &setting);
    report.violation.map(|violation| violation.rule.to_owned()).unwrap_or_default()
}

const UPSET_AND_PAUSE: Budget = Budget { upsets: 1, pauses: 1, ..Budget::NONE };

#[test]
fn a_store_that_ignores_conditions_is_found() {
    assert_eq!(broken_by(Flaw::NoCondition, UPSET_AND_PAUSE), "I4");
}

#[test]
fn a_clock_that_stands_still_in_a_pause_is_found() {
    assert_eq!(broken_by(Flaw::ClockStops, UPSET_AND_PAUSE), "I1");
}

#[test]
fn clocks_that_drift_beyond_the_bound_are_found() {
    assert_eq!(broken_by(Flaw::ClockRaces, UPSET_AND_PAUSE), "I1");
}

#[test]
fn a_store_that_forgets_what_it_acknowledged_is_found() {
    assert_eq!(broken_by(Flaw::LostWrite, UPSET_AND_PAUSE), "I5");
}

#[test]
fn a_session_that_is_used_again_is_found() {
    let budget = Budget { crashes: 1, ..Budget::NONE };
    assert_eq!(broken_by(Flaw::SessionAgain, budget), "I14");
}

#[test]
fn work_that_goes_on_after_its_drain_is_found() {
    let budget = Budget { resignations: 1, ..Budget::NONE };
    assert_eq!(broken_by(Flaw::DrainsEarly, budget), "I8");
}
