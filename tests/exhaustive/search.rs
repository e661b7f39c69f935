//! Depth first through everything that can happen, each state once.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

use super::setting::Setting;
use super::world::{Action, Violation, World};

/// What a search came to.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) states: usize,
    transitions: u64,
    depth: usize,
    pub(crate) terms: u64,
    seconds: Duration,
    pub(crate) violation: Option<Violation>,
    trail: Vec<String>,
}

/// Alternate with `#`, for the way to a violation.
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
                write!(f, "\n{}", self.trail.join("\n"))?;
            }
            write!(f, "; after {} steps {rule} is broken: {what}", self.trail.len())?;
        }
        Ok(())
    }
}

/// Keys are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
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

/// A state on the way, and what is still to be tried in it.
struct Stop {
    world: World,
    left: Vec<Action>,
    said: String,
}

/// Goes through every state, until a promise is broken.
pub(crate) fn search(setting: &Setting) -> Report {
    let started = Instant::now();
    let mut report = Report::default();
    let mut visited = HashSet::<u64, BuildHasherDefault<AsItIs>>::default();
    let first = World::new(setting);
    visited.insert(first.key());
    let mut way = vec![stop(first)];
    while let Some(here) = way.last_mut() {
        let Some(action) = here.left.pop() else {
            way.pop();
            continue;
        };
        let mut world = here.world.clone();
        world.take(action);
        report.transitions += 1;
        report.terms += u64::from(world.began);
        if world.violation.is_some() {
            here.said = here.world.describe(action);
            report.trail = way.iter().map(|stop| stop.said.clone()).collect();
            report.violation = world.violation;
            break;
        }
        if visited.insert(world.key()) {
            here.said = here.world.describe(action);
            way.push(stop(world));
            report.depth = report.depth.max(way.len());
        }
    }
    report.states = visited.len();
    report.seconds = started.elapsed();
    report
}

fn stop(world: World) -> Stop {
    let mut left = world.actions();
    left.reverse();
    Stop { world, left, said: String::new() }
}
