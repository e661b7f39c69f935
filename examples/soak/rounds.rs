//! One fault after the other, in random order.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::faults::site::{Need, Servers, Site};
use crate::faults::{Fault, Hit};
use crate::footprint::Footprint;
use crate::nodes::{Findings, now};
use crate::rng::Rng;

/// How many nodes.
const NODES: usize = 5;

/// The seat whose process is never killed, so that its footprint is that of a long life.
const SPARED: usize = NODES - 1;

/// What one kind of fault has come to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Toll {
    pub(crate) times: u32,
    /// The longest time without a leader, in milliseconds.
    pub(crate) leaderless: u64,
}

/// What there is to report.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) findings: Findings,
    pub(crate) tolls: BTreeMap<String, Toll>,
    pub(crate) terms: usize,
    pub(crate) epoch: u64,
    /// In milliseconds, over the whole run.
    pub(crate) longest_leaderless: u64,
    pub(crate) all_leaderless: u64,
    pub(crate) lasted: Duration,
    /// At the start and at the end, of the process that was never killed.
    pub(crate) spared: [Footprint; 2],
    /// The largest of all, at the start and at the end.
    pub(crate) largest: [Footprint; 2],
}

impl Outcome {
    /// Whether nothing was wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.findings.is_clean() && !self.has_grown()
    }

    /// Whether a process took more in the end than it should.
    pub(crate) fn has_grown(&self) -> bool {
        self.spared[0].has_grown(self.spared[1]) || self.largest[0].has_grown(self.largest[1])
    }
}

/// A fault, another beside it, and for how long.
#[derive(Debug)]
struct Round {
    fault: Fault,
    beside: Option<Fault>,
    hold: Duration,
    rest: Duration,
}

impl Round {
    fn draw(rng: &mut Rng, three: bool) -> Self {
        let follower = Hit::Follower(rng.index(NODES));
        let hit = if rng.one_in(2) { Hit::Leader } else { follower };
        let fault = rng.pick(&Fault::all(hit, three));
        let other = Hit::Follower(rng.index(NODES));
        let beside = rng.pick(&Fault::links(other));
        let alone = !rng.one_in(4) || forgets(fault);
        // Three servers take seconds to agree anew.
        let longest = if three { 8_000 } else { 4_000 };
        Self {
            fault,
            beside: (!alone).then_some(beside),
            hold: Duration::from_millis(rng.log(100, longest)),
            rest: Duration::from_millis(rng.below(1_000)),
        }
    }

    /// Does it to the site, and returns when all is well again.
    fn play(&self, site: &mut Site) {
        let beside = self.beside.map(|fault| fault.inflict(site));
        let remedy = self.fault.inflict(site);
        sleep(self.hold);
        remedy(site);
        if let Some(remedy) = beside {
            remedy(site);
        }
        site.steady();
        sleep(self.rest);
    }

    /// The same, or something kinder to whoever is spared.
    fn sparing(mut self, site: &mut Site) -> Self {
        if let Fault::Killed(hit) = self.fault {
            if site.seat(hit) == SPARED {
                self.fault = Fault::Stopped(hit);
            }
        }
        self
    }
}

/// After such a fault only who has seen the lease knows of it: nobody may be kept from seeing it.
fn forgets(fault: Fault) -> bool {
    let forgetful = [Fault::StoreDeleted, Fault::BucketDeleted, Fault::BucketReplaced];
    forgetful.contains(&fault)
}

/// Plays rounds until the time is over, and judges.
pub(crate) fn play(arguments: &Arguments) -> Outcome {
    let mut rng = Rng::new(arguments.seed);
    let three = arguments.servers == Servers::Three;
    let mut site = Site::new(arguments.servers, NODES, &Need::ALL);
    site.steady();
    let first = footprints(&mut site);
    let (begun, start) = (now(), Instant::now());
    let mut tolls = BTreeMap::<String, Toll>::new();
    while start.elapsed() < arguments.length {
        let round = Round::draw(&mut rng, three).sparing(&mut site);
        println!("{:7.1} s  {}", start.elapsed().as_secs_f32(), describe(&round));
        let from = now();
        round.play(&mut site);
        let (_, leaderless) = site.leaderless_since(from);
        let toll = tolls.entry(round.fault.to_string()).or_default();
        toll.times += 1;
        toll.leaderless = toll.leaderless.max(leaderless);
    }
    let last = footprints(&mut site);
    let (all_leaderless, longest_leaderless) = site.leaderless_since(begun);
    let (terms, epoch) = (site.terms_since(0), site.nodes().highest_epoch());
    let lasted = start.elapsed();
    let findings = site.nodes().judge();
    let spared = [first[SPARED], last[SPARED]];
    let largest = [first, last].map(largest);
    Outcome {
        findings,
        tolls,
        terms,
        epoch,
        longest_leaderless,
        all_leaderless,
        lasted,
        spared,
        largest,
    }
}

fn describe(round: &Round) -> String {
    let beside = round.beside.map_or_else(String::new, |fault| format!(", and {fault}"));
    format!("{}{beside}, for {} ms", round.fault, round.hold.as_millis())
}

fn footprints(site: &mut Site) -> [Footprint; NODES] {
    std::array::from_fn(|seat| Footprint::of(site.node(seat).id()))
}

fn largest(of: [Footprint; NODES]) -> Footprint {
    of.into_iter().fold(Footprint::default(), |largest, one| Footprint {
        resident: largest.resident.max(one.resident),
        descriptors: largest.descriptors.max(one.descriptors),
        threads: largest.threads.max(one.threads),
    })
}
