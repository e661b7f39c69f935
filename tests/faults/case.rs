//! One fault: done to a cluster that is well, ended, and judged.

use std::thread::sleep;
use std::time::Duration;

use super::fault::Fault;
use super::site::{Servers, Site};
use crate::nodes::now;
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
