//! Runs many seeds on all cores, and prints the report.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::rules::Rule;
use super::trace::Trace;
use super::verdict::Violation;
use super::world::{Tally, World};

/// How many seeds run unless `LEASEHOLD_SEEDS` says otherwise.
const DEFAULT_SEEDS: u64 = if cfg!(debug_assertions) { 200 } else { 2_000 };
/// How many lines of a trace are printed without `LEASEHOLD_TRACE`.
const TAIL: usize = 80;

/// Runs one seed.
fn play(seed: u64, only: Option<Rule>, trace: Trace) -> World {
    let mut world = World::new(seed, only, trace);
    world.run();
    world.check_end();
    world
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} wants a whole number, not {text:?}")))
}

/// The only rule to check, if the environment names one.
fn only_rule() -> Option<Rule> {
    std::env::var("LEASEHOLD_RULE").ok().map(|text| rule(&text))
}

fn rule(text: &str) -> Rule {
    let unknown = || panic!("LEASEHOLD_RULE is {text:?}, must be one of {}", Rule::list());
    Rule::parse(text).unwrap_or_else(unknown)
}

/// Runs one seed or many, as the environment asks for.
pub(crate) fn main() {
    let only = only_rule();
    if let Some(seed) = number("LEASEHOLD_SEED") {
        let world = play(seed, only, Trace::kept());
        print(&report(seed, only, &world));
        assert!(world.verdict.violation.is_none(), "seed {seed} breaks a rule");
        return;
    }
    let count = number("LEASEHOLD_SEEDS").unwrap_or(DEFAULT_SEEDS);
    let first = number("LEASEHOLD_FIRST_SEED").unwrap_or(0);
    let outcome = search(first, count, only);
    print(&outcome.summary());
    if let Some((seed, _)) = outcome.failures.first_key_value() {
        print(&report(*seed, only, &play(*seed, only, Trace::kept())));
        panic!("{} of {} seeds break a rule", outcome.failures.len(), outcome.seeds);
    }
}

struct Search {
    seeds: u64,
    tally: Tally,
    failures: BTreeMap<u64, Violation>,
    seconds: f64,
}

/// Runs seeds until all are done, or until one fails, unless `LEASEHOLD_KEEP_GOING` is set.
fn search(first: u64, count: u64, only: Option<Rule>) -> Search {
    let started = Instant::now();
    let go_on = std::env::var_os("LEASEHOLD_KEEP_GOING").is_some();
    let (next, stop) = (AtomicU64::new(first), AtomicBool::new(false));
    let found = Mutex::new((Tally::default(), BTreeMap::new(), 0_u64));
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                break;
            }
            let world = play(seed, only, Trace::default());
            let mut found = found.lock().unwrap();
            found.0.add(&world.tally);
            found.2 += 1;
            if let Some(violation) = world.verdict.violation {
                found.1.insert(seed, violation);
                stop.store(!go_on, Ordering::Relaxed);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (tally, failures, seeds) = found.into_inner().unwrap();
    Search { seeds, tally, failures, seconds: started.elapsed().as_secs_f64() }
}

impl Search {
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    fn summary(&self) -> String {
        let hours = self.tally.node_nanos as f64 / 3.6e12;
        let Tally { terms, events, faults, excused, .. } = self.tally;
        let mut text = format!(
            "{} seeds, {hours:.0} node-hours, {terms} terms, {faults} faults, {events} events, \
             {excused} instants within the known limits, {} violations, \
             {:.1} s ({:.0} node-hours a minute)\n",
            self.seeds,
            self.failures.len(),
            self.seconds,
            hours * 60.0 / self.seconds
        );
        for (seed, violation) in self.failures.iter().take(40) {
            let _ = writeln!(text, "seed {seed}: {}: {}", violation.rule, violation.what);
        }
        text
    }
}

fn report(seed: u64, only: Option<Rule>, world: &World) -> String {
    let all = std::env::var_os("LEASEHOLD_TRACE").is_some();
    let count = if all { usize::MAX } else { TAIL };
    let mut text = world.trace.tail(count).join("\n");
    let Some(Violation { rule, what }) = &world.verdict.violation else {
        let _ = writeln!(text, "\nseed {seed} breaks no rule");
        return text;
    };
    // A run that checks one rule goes on after others are broken, and so must its repetition.
    let only = only.map(|rule| format!("LEASEHOLD_RULE={rule:?} ")).unwrap_or_default();
    let _ = write!(
        text,
        "\nseed {seed}: {rule}: {what}\nreplay: {only}LEASEHOLD_SEED={seed} cargo test --release \
         --test simulation   (LEASEHOLD_TRACE=1 prints the whole trace)\n"
    );
    text
}

/// Prints past the test harness, which does not show the output of a passing test.
fn print(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[test]
fn a_rule_is_named_by_its_code_or_its_name() {
    assert_eq!(rule("I7"), Rule::I7);
    assert_eq!(rule("HeldRecordWaits"), Rule::I7);
}

#[test]
#[should_panic(expected = "must be one of I1 SingleLeader, I2 EpochsRise")]
fn an_unknown_rule_is_refused() {
    rule("I77");
}
