//! A depth-first search through all states, each once.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

use super::settings::Setting;
use super::world::{Action, Violation, World};

/// The result of a search.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) states: usize,
    transitions: u64,
    depth: usize,
    pub(crate) terms: u64,
    seconds: Duration,
    pub(crate) violation: Option<Violation>,
    steps: Vec<String>,
}

/// The alternate form, with `#`, lists the steps to a violation.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, transitions, depth, terms, seconds, .. } = self;
        write!(
            f,
            "{states} states, {transitions} transitions, {depth} deep, {terms} terms, \
             {:.1} s",
            seconds.as_secs_f64()
        )?;
        if let Some(Violation { rule, what }) = &self.violation {
            if f.alternate() {
                write!(f, "\n{}", self.steps.join("\n"))?;
            }
            write!(f, "; {rule} is broken after {} steps: {what}", self.steps.len())?;
        }
        Ok(())
    }
}

/// A hasher for keys that are hashes already.
#[derive(Default)]
struct KeepHash(u64);

impl Hasher for KeepHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a key is one number")
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// A state on the current path, and the actions that are still to be tried in it.
struct Visit {
    world: World,
    left: Vec<Action>,
    taken: String,
}

/// Visits every state, until a rule is broken.
pub(crate) fn search(setting: &Setting) -> Report {
    let started = Instant::now();
    let mut report = Report::default();
    let mut visited = HashSet::<u64, BuildHasherDefault<KeepHash>>::default();
    let first = World::new(setting);
    visited.insert(first.key());
    let mut path = vec![visit(first)];
    while let Some(here) = path.last_mut() {
        let Some(action) = here.left.pop() else {
            path.pop();
            continue;
        };
        let mut world = here.world.clone();
        world.take(action);
        report.transitions += 1;
        report.terms += u64::from(world.began);
        if world.violation.is_some() {
            here.taken = here.world.describe(action);
            report.steps = path.iter().map(|stop| stop.taken.clone()).collect();
            report.violation = world.violation;
            break;
        }
        if visited.insert(world.key()) {
            here.taken = here.world.describe(action);
            path.push(visit(world));
            report.depth = report.depth.max(path.len());
        }
    }
    report.states = visited.len();
    report.seconds = started.elapsed();
    report
}

fn visit(world: World) -> Visit {
    let mut left = world.actions();
    left.reverse();
    Visit { world, left, taken: String::new() }
}
