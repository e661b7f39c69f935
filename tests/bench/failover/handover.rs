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
        let Rounds { ours, hops, parts } = rounds_of(bench, way, verb, rounds);
        let what = format!("{name} → the other process leads");
        let server = bench.name;
        let row = |share: &str, ours: f64, hops: f64, budget: f64| {
            Row::ratio(&format!("{what}, {share}"), server, Unit::Millis, ours, hops, budget)
        };
        let [release, challenge, told] = parts.map(|part| part.median());
        bench.report.note(format!(
            "{name} ({server}), medians: {release:.2} ms to the notice of the release, \
             {challenge:.2} ms on to that of the challenge, {told:.2} ms on to the event"
        ));
        bench.report.row(row("median", ours.median(), hops.median(), 1.5));
        bench.report.row(row("p99", ours.p99(), hops.p99(), 4.0));
        bench.report.series(&format!("{name} ({server})"), ours);
        bench.report.series(&format!("three bare hops beside {name} ({server})"), hops);
    }
}

struct Rounds {
    ours: Series,
    hops: Series,
    /// To the notice of the release, from there to that of the challenge, and on to the event.
    parts: [Series; 3],
}

fn rounds_of(bench: &mut Bench, way: Way, verb: &str, rounds: usize) -> Rounds {
    let cluster = format!("handover-{verb}");
    let config = config(bench, &cluster);
    let witness = Witness::new(&bench.server.url(), &cluster);
    let mut yardstick = Yardstick::new(&bench.server.url(), &format!("raw-{verb}"));
    let mut members = [Member::start(&config, "a", 1), Member::start(&config, "b", 1)];
    let mut leader = usize::from(members[0].became().is_none());
    let (mut ours, mut hops) = (Vec::new(), Vec::new());
    let mut parts = [const { Vec::new() }; 3];
    for round in 0..rounds {
        settle(bench, PAUSE);
        hops.push(yardstick.three_hops());
        settle(bench, Duration::from_millis(10));
        let other = 1 - leader;
        members[other].forget();
        let asked = members[leader].moment(verb);
        match members[other].became() {
            Some(at) => {
                ours.push(millis(asked, at));
                let name = if other == 0 { "a" } else { "b" };
                if let Some((released, taken)) = witness.last("").zip(witness.last(name)) {
                    let moments = [asked, released, taken, at];
                    for (part, pair) in parts.iter_mut().zip(moments.windows(2)) {
                        part.push(millis(pair[0], pair[1]));
                    }
                }
            }
            None => bench.report.note(format!("{}: nobody took over in {verb}", bench.name)),
        }
        if way == Way::Stop {
            members[leader].ask("start 1");
        }
        leader = other;
        bench.progress.at(round + 1, rounds);
    }
    Rounds { ours: Series::new(ours), hops: Series::new(hops), parts: parts.map(Series::new) }
}
