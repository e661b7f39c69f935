//! Every interleaving of a term's renewal, its end and its readers, explored by a model checker:
//! `RUSTFLAGS="--cfg leasehold_loom" cargo test --release --lib explored`.

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use super::{ENDED, TermCell};
use crate::clock::{Clock, Timestamp};
use crate::lease::Epoch;
use crate::sys::Ordering;

const FIRST: u64 = 4;
const SECOND: u64 = 7;

fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(seconds)
}

/// The epoch and the deadline, in seconds, of the term in force when the clock reads `now`.
fn look(cell: &TermCell, now: u64) -> Option<(u64, u64)> {
    let found = cell.in_force(&Clock::manual(at(now)));
    found.map(|(epoch, deadline)| (epoch, deadline.as_nanos() / 1_000_000_000))
}

type Extend = fn(&TermCell, Timestamp, Timestamp) -> bool;
type Begin = fn(&TermCell, Epoch, Timestamp);
type Look = fn(&TermCell, u64) -> Option<(u64, u64)>;

fn leading_until(deadline: u64) -> Arc<TermCell> {
    let cell = Arc::new(TermCell::default());
    cell.begin(Epoch::new(FIRST).unwrap(), at(deadline));
    cell
}

/// A thread whose clock read 4 s extends a term from 5 s to 20 s. Another thread checks the term
/// twice, at 10 s.
fn explore_extension(extend: Extend) {
    loom::model(move || {
        let cell = leading_until(5);
        let reader = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || [look(&cell, 10), look(&cell, 10)])
        };
        let extended = extend(&cell, at(4), at(20));
        let seen = reader.join().unwrap();
        assert!(!extended || seen[0].is_some(), "extended after it was found past");
        assert!(seen[0].is_some() || seen[1].is_none(), "an ended term is in force again");
        assert!([None, Some((FIRST, 20))].contains(&seen[0]), "{seen:?}");
        assert_eq!(extended, look(&cell, 10).is_some(), "extend returned the wrong answer");
    });
}

/// A term until 9 s ends and one until 20 s begins, while another thread checks twice, at 5 s.
fn explore_succession(begin: Begin, look: Look) {
    loom::model(move || {
        let cell = leading_until(9);
        let reader = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || [look(&cell, 5), look(&cell, 5)])
        };
        cell.end();
        begin(&cell, Epoch::new(SECOND).unwrap(), at(20));
        for seen in reader.join().unwrap() {
            let of_one_term = [None, Some((FIRST, 9)), Some((SECOND, 20))].contains(&seen);
            assert!(of_one_term, "two terms in one: {seen:?}");
        }
    });
}

#[test]
fn a_term_found_past_its_deadline_is_never_extended() {
    explore_extension(TermCell::extend);
}

#[test]
fn epoch_and_deadline_are_of_one_term() {
    explore_succession(TermCell::begin, look);
}

// Each of these tests breaks the cell on purpose. The model checker has to find the fault.

#[test]
#[should_panic(expected = "extended after it was found past")]
fn extending_without_compare_and_exchange_is_found() {
    explore_extension(|cell, now, until| {
        let alive = cell.deadline().load(Ordering::SeqCst) > now.as_nanos();
        if alive {
            cell.deadline().store(until.as_nanos(), Ordering::SeqCst);
        }
        alive
    });
}

#[test]
#[should_panic(expected = "two terms in one")]
fn storing_the_deadline_before_the_epoch_is_found() {
    let begin = |cell: &TermCell, epoch: Epoch, deadline: Timestamp| {
        cell.deadline().store(deadline.as_nanos(), Ordering::SeqCst);
        cell.epoch().store(epoch.as_u64(), Ordering::SeqCst);
    };
    explore_succession(begin, look);
}

#[test]
#[should_panic(expected = "two terms in one")]
fn reading_the_deadline_only_once_is_found() {
    let look = |cell: &TermCell, now: u64| {
        let epoch = cell.epoch().load(Ordering::SeqCst);
        let deadline = cell.deadline().load(Ordering::SeqCst);
        let valid = deadline != ENDED && at(now).as_nanos() < deadline;
        valid.then_some((epoch, deadline / 1_000_000_000))
    };
    explore_succession(TermCell::begin, look);
}
