//! From the call that gives the lease back to the event in the other process.

use std::time::Duration;

use leasehold::Config;
use leasehold::config::{ConfigBuilder, TransportChoice};

use super::member::Member;
use super::report::Budget;
use super::stats::{Series, millis};
use super::yardstick::{Yardstick, create_bucket};
use super::{Bench, CLIENTS, settle};

/// The timers of the comparison with go-cluster; a step-down takes no longer with others.
pub(crate) fn config(url: &str, client: TransportChoice, cluster: &str) -> ConfigBuilder {
    Config::builder(cluster, "unnamed", [url])
        .transport(client)
        .lease_ttl(Duration::from_secs(1))
        .renew_interval(Duration::from_millis(300))
        .cooldown(Duration::ZERO)
}

/// Longer than a request timeout: by then a follower has read whom it follows.
const PAUSE: Duration = Duration::from_millis(120);
/// Between the parties of one round.
const BREATH: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    StepDown,
    Stop,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::StepDown => "step-down",
            Self::Stop => "stop",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::StepDown => "step_down",
            Self::Stop => "stop",
        }
    }
}

pub(crate) fn measure(bench: &mut Bench, way: Way) {
    let name = way.name();
    let rounds = bench.rounds(200);
    let url = bench.server.url();
    bench.begin(name);
    let cluster = |party: &str| format!("{name}-{}-{party}", bench.loops);
    let bare = cluster("bare");
    create_bucket(&url, &bare, 1);
    let mut yardstick = Yardstick::new(&url, &bare);
    let mut pairs =
        CLIENTS.map(|client| Pair::start(&config(&url, client, &cluster(client.name())), way));
    let hops = by_turns(bench, rounds, &mut yardstick, &mut pairs);
    let what = format!("{name} → the other process leads");
    let took_over = pairs.each_ref().map(|pair| pair.took_over.clone());
    let columns = bench.columns(&what, rounds, took_over);
    if way == Way::StepDown {
        bench.plot(&what, &columns);
        bench.plot_bare(&hops);
    }
    let row = bench.row(&what, columns).beside(hops);
    bench.report.row(row.within(Budget::Times { median: 1.3, p99: Some(4.0) }));
    if way == Way::Stop {
        let mut writes = Vec::new();
        for _ in 0..rounds {
            settle(bench, BREATH);
            writes.push(yardstick.write());
        }
        let writes = Series::new(writes);
        let what = "stop() returns, beside one write";
        let columns = bench.columns(what, rounds, pairs.map(|pair| pair.returned));
        let row = bench.row(what, columns).beside(writes);
        bench.report.row(row.within(Budget::Median(2.0)));
    }
}

/// The bare hops and a hand-over of each pair, in turn. The hops in milliseconds.
pub(crate) fn by_turns(
    bench: &mut Bench,
    rounds: usize,
    yardstick: &mut Yardstick,
    pairs: &mut [Pair; 2],
) -> Series {
    let mut hops = Vec::new();
    for round in 0..rounds {
        settle(bench, PAUSE);
        hops.push(yardstick.three_hops());
        for pair in pairs.iter_mut() {
            settle(bench, BREATH);
            pair.hand_over();
        }
        bench.progress.at(round + 1, rounds);
    }
    Series::new(hops)
}

/// Two members between which the lead goes to and fro.
pub(crate) struct Pair {
    way: Way,
    members: [Member; 2],
    leader: usize,
    /// Milliseconds until the other process led, of each hand-over.
    pub(crate) took_over: Vec<f64>,
    /// Milliseconds until the call returned.
    returned: Vec<f64>,
}

impl Pair {
    pub(crate) fn start(config: &ConfigBuilder, way: Way) -> Self {
        let mut members = [Member::start(config, "a", 1), Member::start(config, "b", 1)];
        let leader = usize::from(members[0].became().is_none());
        Self { way, members, leader, took_over: Vec::new(), returned: Vec::new() }
    }

    /// Nobody else does anything meanwhile: the members answer when it is over.
    fn hand_over(&mut self) {
        let other = 1 - self.leader;
        self.members[other].forget();
        let done = self.members[self.leader].ask(self.way.verb());
        let moment = |name: &str| done[name].as_u64().expect("a moment");
        let asked = moment("asked");
        self.took_over.extend(self.members[other].became().map(|at| millis(asked, at)));
        self.returned.push(millis(asked, moment("returned")));
        if self.way == Way::Stop {
            self.members[self.leader].ask("start 1");
        }
        self.leader = other;
    }
}
