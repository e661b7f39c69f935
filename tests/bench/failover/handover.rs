//! From the call that gives the lease back to the event in the other process.

use std::time::Duration;

use leasehold::Config;
use leasehold::config::ConfigBuilder;

use super::member::Member;
use super::report::{Row, Unit};
use super::stats::{Series, millis};
use super::witness::Witness;
use super::yardstick::Yardstick;
use super::{Bench, settle};

/// The timers of the comparison with go-cluster; a step-down takes no longer with others.
pub(crate) fn config(bench: &Bench, cluster: &str) -> ConfigBuilder {
    Config::builder(cluster, "unnamed", [bench.server.url()])
        .lease_ttl(Duration::from_secs(1))
        .renew_interval(Duration::from_millis(300))
        .cooldown(Duration::ZERO)
}

/// Longer than a request timeout: by then a follower has read whom it follows.
const PAUSE: Duration = Duration::from_millis(120);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    StepDown,
    Stop,
}

pub(crate) fn measure(bench: &mut Bench) {
    for (way, name, verb) in
        [(Way::StepDown, "step-down", "step_down"), (Way::Stop, "clean stop", "stop")]
    {
        let rounds = bench.rounds(500, 20);
        bench.progress.begin(&format!("{}: {name}", bench.name));
        let mut pair = Pair::start(bench, way, verb);
        let (ours, hops) = pair.rounds(bench, rounds);
        let parts = pair.profile(bench, (rounds / 10).max(5));
        let what = format!("{name} → the other process leads");
        let server = bench.name;
        let row = |share: &str, ours: f64, hops: f64, budget: f64| {
            Row::ratio(&format!("{what}, {share}"), server, Unit::Millis, ours, hops, budget)
        };
        let [release, challenge, told] = parts.map(|part| part.median());
        bench.report.note(format!(
            "{name} ({server}), beside an observer, medians: {release:.2} ms to the \
             notice of the release, {challenge:.2} ms on to that of the challenge, {told:.2} ms on \
             to the event"
        ));
        bench.report.row(row("median", ours.median(), hops.median(), 1.5));
        bench.report.row(row("p99", ours.p99(), hops.p99(), 4.0));
        bench.report.series(&format!("{name} ({server})"), ours);
        bench.report.series(&format!("three bare hops beside {name} ({server})"), hops);
    }
}

/// Two members between which the lead goes to and fro.
struct Pair {
    way: Way,
    verb: &'static str,
    cluster: String,
    members: [Member; 2],
    leader: usize,
}

impl Pair {
    fn start(bench: &Bench, way: Way, verb: &'static str) -> Self {
        let cluster = format!("handover-{verb}");
        let config = config(bench, &cluster);
        let mut members = [Member::start(&config, "a", 1), Member::start(&config, "b", 1)];
        let leader = usize::from(members[0].became().is_none());
        Self { way, verb, cluster, members, leader }
    }

    /// When it was asked for and when the other one had the event. Nobody else does anything
    /// meanwhile: the members answer when it is over, and no witness is told.
    fn hand_over(&mut self, bench: &mut Bench) -> Option<(u64, u64)> {
        let other = 1 - self.leader;
        self.members[other].forget();
        let asked = self.members[self.leader].moment(self.verb);
        let at = self.members[other].became();
        if at.is_none() {
            bench.report.note(format!("{}: nobody took over in {}", bench.name, self.verb));
        }
        if self.way == Way::Stop {
            self.members[self.leader].ask("start 1");
        }
        self.leader = other;
        at.map(|at| (asked, at))
    }

    /// In milliseconds, and the bare hops in turn with it.
    fn rounds(&mut self, bench: &mut Bench, rounds: usize) -> (Series, Series) {
        let mut yardstick = Yardstick::new(&bench.server.url(), &format!("raw-{}", self.verb));
        let (mut ours, mut hops) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            settle(bench, PAUSE);
            hops.push(yardstick.three_hops());
            settle(bench, Duration::from_millis(10));
            ours.extend(self.hand_over(bench).map(|(asked, at)| millis(asked, at)));
            bench.progress.at(round + 1, rounds);
        }
        (Series::new(ours), Series::new(hops))
    }

    /// Milliseconds to the notice of the release, from there to that of the challenge, and on to
    /// the event.
    fn profile(&mut self, bench: &mut Bench, rounds: usize) -> [Series; 3] {
        let witness = Witness::new(&bench.server.url(), &self.cluster);
        let mut parts = [const { Vec::new() }; 3];
        for _ in 0..rounds {
            settle(bench, PAUSE);
            let name = if self.leader == 0 { "b" } else { "a" };
            let Some((asked, at)) = self.hand_over(bench) else { continue };
            if let Some((released, taken)) = witness.last("").zip(witness.last(name)) {
                let moments = [asked, released, taken, at];
                for (part, pair) in parts.iter_mut().zip(moments.windows(2)) {
                    part.push(millis(pair[0], pair[1]));
                }
            }
        }
        parts.map(Series::new)
    }
}
