//! Many seeds on all cores, and the report.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::rules::Violation;
use super::trace::Trace;
use super::world::{Tally, World};

/// How many seeds run when nobody says.
const DEFAULT_SEEDS: u64 = if cfg!(debug_assertions) { 200 } else { 2_000 };
/// How many lines of a trace are shown when nobody says.
const TAIL: usize = 80;

/// Plays one seed.
fn play(seed: u64, trace: Trace) -> World {
    let mut world = World::new(seed, trace);
    world.run();
    world.judge();
    world
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} wants a whole number, not {text:?}")))
}

/// What the environment asks for: one seed, or so many.
pub(crate) fn main() {
    if let Some(seed) = number("LEASEHOLD_SEED") {
        let world = play(seed, Trace::kept());
        say(&report(seed, &world));
        assert!(world.verdict.violation.is_none(), "seed {seed} breaks a promise");
        return;
    }
    let count = number("LEASEHOLD_SEEDS").unwrap_or(DEFAULT_SEEDS);
    let first = number("LEASEHOLD_FIRST_SEED").unwrap_or(0);
    let outcome = search(first, count);
    say(&outcome.summary());
    if let Some((seed, _)) = outcome.failures.first_key_value() {
        say(&report(*seed, &play(*seed, Trace::kept())));
        panic!("{} of {} seeds break a promise", outcome.failures.len(), outcome.seeds);
    }
}

struct Search {
    seeds: u64,
    tally: Tally,
    failures: BTreeMap<u64, Violation>,
    seconds: f64,
}

/// Plays seeds until all are done or, unless told to go on, one fails.
fn search(first: u64, count: u64) -> Search {
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
            let world = play(seed, Trace::default());
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

fn report(seed: u64, world: &World) -> String {
    let all = std::env::var_os("LEASEHOLD_TRACE").is_some();
    let count = if all { usize::MAX } else { TAIL };
    let mut text = world.trace.tail(count).join("\n");
    match &world.verdict.violation {
        Some(Violation { rule, what }) => {
            let _ = write!(
                text,
                "\nseed {seed} breaks {rule}: {what}\nreplay: LEASEHOLD_SEED={seed} cargo test \
                 --release --test simulation   (LEASEHOLD_TRACE=1 for the whole trace)\n"
            );
        }
        None => {
            let _ = writeln!(text, "\nseed {seed} keeps every promise");
        }
    }
    text
}

/// Writes past the test harness, which would keep what a passing test says to itself.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
