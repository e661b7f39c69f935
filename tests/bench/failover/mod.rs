//! The measurements, one after the other.

mod busy;
mod cost;
mod crash;
mod handover;
pub(crate) mod member;
mod options;
mod plot;
mod progress;
mod replicated;
mod report;
mod smallest;
mod start;
mod stats;
mod stream_leader;
mod token;
mod wake;
mod witness;
mod yardstick;

use std::time::{Duration, Instant};

use leasehold::config::TransportChoice;

use crate::support::server::NatsServer;
use crate::support::version::Version;
use busy::Busy;
use handover::Way;
use options::{Options, Part, What};
use progress::Progress;
use report::{Report, Row};
use stats::{Dice, Series};

/// What is compared, as columns.
pub(crate) const CLIENTS: [TransportChoice; 2] =
    [TransportChoice::Direct, TransportChoice::NatsClient];

/// What every measurement is given.
pub(crate) struct Bench {
    pub(crate) server: NatsServer,
    pub(crate) name: &'static str,
    pub(crate) options: Options,
    /// Endless loops beside.
    pub(crate) loops: usize,
    pub(crate) dice: Dice,
    pub(crate) report: Report,
    pub(crate) progress: Progress,
}

impl Bench {
    /// How often something is measured: unless the options say less, `full` times.
    pub(crate) fn rounds(&self, full: usize) -> usize {
        self.options.rounds.map_or(full, |rounds| rounds.min(full))
    }

    pub(crate) fn begin(&mut self, what: &str) {
        self.progress.begin(&format!("{}: {what}, {} endless loops", self.name, self.loops));
    }

    /// The series of a measurement of so many rounds. Rounds without a value are left out, and the
    /// report says how many.
    pub(crate) fn columns(
        &mut self,
        what: &str,
        rounds: usize,
        values: [Vec<f64>; 2],
    ) -> Vec<Series> {
        for (client, values) in CLIENTS.iter().zip(&values) {
            let (missing, server, loops) = (rounds - values.len(), self.name, self.loops);
            if missing > 0 {
                self.report.note(format!(
                    "{what} ({server}, {loops} loops, {}): {missing} of {rounds} rounds left out",
                    client.name()
                ));
            }
        }
        values.map(Series::new).into()
    }

    pub(crate) fn row(&self, what: &str, columns: Vec<Series>) -> Row {
        Row::new(what, self.name, columns).loops(self.loops)
    }

    /// Puts lines into the picture, which is of an idle machine.
    pub(crate) fn plot(&mut self, what: &str, columns: &[Series]) {
        for (client, series) in CLIENTS.iter().zip(columns) {
            self.line(&format!("{what}, {}", client.name()), series);
        }
    }

    /// The line of the yardstick.
    pub(crate) fn plot_bare(&mut self, hops: &Series) {
        self.line("three bare hops", hops);
    }

    fn line(&mut self, what: &str, series: &Series) {
        if self.loops == 0 {
            self.report.series(&format!("{what} ({})", self.name), series.clone());
        }
    }
}

pub(crate) fn name(version: Version) -> &'static str {
    match version {
        Version::Oldest => "2.9.10",
        Version::Newest => "2.15.1",
    }
}

pub(crate) fn run() {
    let options = Options::parse();
    for version in &options.servers {
        if let Err(missing) = version.find() {
            eprintln!("{missing}");
            std::process::exit(1);
        }
    }
    if options.wants(Part::Cost) {
        cost::build();
    }
    let begun = Instant::now();
    let mut report = Report::new(&options);
    for version in options.servers.clone() {
        let mut bench = Bench {
            server: NatsServer::start(version),
            name: name(version),
            dice: Dice::new(options.seed),
            options: options.clone(),
            loops: 0,
            report,
            progress: Progress::new(),
        };
        match options.what {
            What::Parts => measure(&mut bench),
            What::SmallestTtl => smallest::measure(&mut bench),
            What::StreamLeader => stream_leader::measure(&mut bench),
        }
        report = bench.report;
    }
    if options.wants(Part::Process) {
        token::measure(&mut report, options.rounds.is_some());
        wake::measure(&mut report, options.rounds.is_some());
    }
    report.took = begun.elapsed();
    report.publish(&options);
}

fn measure(bench: &mut Bench) {
    for loops in bench.options.busy.clone() {
        let _busy = Busy::start(loops);
        bench.loops = loops;
        part(bench, Part::StepDown, |bench| handover::measure(bench, Way::StepDown));
        part(bench, Part::Stop, |bench| handover::measure(bench, Way::Stop));
        part(bench, Part::Start, start::measure);
        part(bench, Part::Crash, |bench| crash::measure(bench, 1));
    }
    bench.loops = 0;
    if bench.options.rounds.is_none() {
        part(bench, Part::Crash, |bench| crash::measure(bench, 50));
    }
    part(bench, Part::Frozen, crash::frozen);
    part(bench, Part::Replicated, replicated::measure);
    part(bench, Part::Cost, cost::measure);
}

fn part(bench: &mut Bench, part: Part, measure: impl Fn(&mut Bench)) {
    if bench.options.wants(part) {
        measure(bench);
    }
}

/// A pause that lets everything settle, and is never in step with anything.
pub(crate) fn settle(bench: &mut Bench, least: Duration) {
    std::thread::sleep(least + Duration::from_micros(bench.dice.below(20_000)));
}
