//! One fault: done to a cluster that is well, ended, and judged.

use std::thread::sleep;
use std::time::Duration;

use super::fault::{Fault, Hit};
use super::site::{Servers, Site};
use crate::nodes::process::number;
use crate::nodes::{NodeProcess, nanos, now, timeline};
use crate::support::wait::eventually;

/// What a loaded machine may add.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many nodes.
const NODES: usize = 3;

/// What becomes of the term in which the fault comes. A term of a second can end on a loaded
/// machine in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// It ends.
    Ends,
    /// It need not.
    MayGoOn,
}

/// Makes a test on each of the servers of one body, which is given its name and the servers.
macro_rules! on_servers {
    ($name:ident, [$($servers:ident),+], |$text:ident, $on:ident| $body:block) => {
        mod $name {
            use super::*;

            fn check($text: &str, $on: $crate::faults::site::Servers) {
                $body
            }

            $(
                #[test]
                fn $servers() {
                    check(stringify!($name), $crate::faults::case::$servers());
                }
            )+
        }
    };
}

/// Makes of one fault a test on each of the servers.
macro_rules! fault_on {
    ($name:ident, $fault:expr, $hold:expr, $term:expr) => {
        fault_on!($name, $fault, $hold, $term, [oldest, newest, three]);
    };
    ($name:ident, $fault:expr, $hold:expr, $term:expr, [$($servers:ident),+]) => {
        on_servers!($name, [$($servers),+], |name, servers| {
            $crate::faults::case::run(name, servers, $fault, $hold, $term);
        });
    };
}

/// One server of 2.9.10.
pub fn oldest() -> Servers {
    Servers::One(crate::support::version::Version::Oldest)
}

/// One server of 2.15.1.
pub fn newest() -> Servers {
    Servers::One(crate::support::version::Version::Newest)
}

/// Three servers of 2.15.1, three replicas.
pub fn three() -> Servers {
    Servers::Three
}

/// Does `fault` for `hold`, and returns when somebody leads again and all the history was judged.
///
/// # Panics
/// When anything was wrong.
#[track_caller]
pub fn run(name: &str, servers: Servers, fault: Fault, hold: Duration, term: Term) {
    let mut site = Site::new(servers, NODES, fault.needs());
    site.steady();
    let before = site.nodes().highest_epoch();
    let struck = site.leader();
    let begun = now();
    let remedy = fault.inflict(&mut site);
    sleep(hold);
    remedy(&mut site);
    if term == Term::Ends {
        eventually(PATIENCE, "another term", || {
            site.leader();
            site.nodes().highest_epoch() > before
        });
    }
    // Asked from here on, and so after the fault.
    site.settled();
    let (leaderless, terms) = (site.leaderless_since(begun).0, site.terms_since(begun));
    nothing_was_kept_back(&mut site);
    leader_judged_itself(&mut site, fault, struck, begun, hold);
    let findings = site.nodes().judge();
    println!("fault: {name} {} {leaderless} {terms}", servers.label());
    assert!(findings.is_clean(), "{findings:#?}");
}

/// Every term that a node's election counts was told to its application.
fn nothing_was_kept_back(site: &mut Site) {
    for seat in 0..site.size() {
        let node = site.node(seat);
        eventually(PATIENCE, "every term to be told", || {
            let led = node.count("terms");
            node.told("became") as u64 == led
        });
    }
}

/// A leader that hears of nothing ends its term by its own clock, and `is_leader()` never waits.
fn leader_judged_itself(site: &mut Site, fault: Fault, struck: usize, begun: u64, hold: Duration) {
    match fault {
        Fault::LinkFrozen(Hit::Leader)
        | Fault::LinkCut(Hit::Leader)
        | Fault::LinkMute(Hit::Leader)
        | Fault::LinkDeaf(Hit::Leader) => {
            let expired = (0..site.size()).map(|seat| {
                let node = site.node(seat);
                let slowest = node.count("slowest_is_leader");
                assert!(slowest < nanos(Duration::from_secs(1)), "is_leader() took {slowest} ns");
                terms_that_expired(node, begun)
            });
            assert!(expired.sum::<usize>() > 0, "the leader's term ends by its deadline");
        }
        Fault::Stopped(Hit::Leader) => {
            let leads = site.node(struck).answer_after_gap(hold / 2);
            assert!(!leads, "the first answer after the stop is no");
        }
        _ => {}
    }
}

/// How many terms ended by their deadline since `begun`: none before it, none long after it.
fn terms_that_expired(node: &NodeProcess, begun: u64) -> usize {
    let terms = timeline::of(0, node);
    let losses = node.events().iter().filter(|event| event["event"] == "lost");
    let expired = losses.filter(|loss| loss["cause"] == "expired: no renewal succeeded in time");
    let expired = expired.filter(|loss| number(loss, "at") >= begun).inspect(|loss| {
        let term = terms.iter().find(|term| term.epoch == number(loss, "epoch"));
        let deadline = term.expect("a term that was seen").deadline;
        let at = number(loss, "at");
        assert!(at >= deadline, "before its deadline: {loss}");
        assert!(at <= deadline + nanos(PATIENCE), "long after its deadline: {loss}");
    });
    expired.count()
}
