//! The measurements, one after the other.

mod cost;
mod crash;
mod handover;
pub(crate) mod member;
mod options;
mod plot;
mod progress;
mod report;
mod smallest;
mod start;
mod stats;
mod token;
mod wake;
mod witness;
mod yardstick;

use std::time::{Duration, Instant};

use crate::support::server::NatsServer;
use crate::support::version::Version;
use options::{Mode, Options};
use progress::Progress;
use report::Report;
use stats::{Dice, Series};

/// What every measurement is given.
pub(crate) struct Bench {
    pub(crate) server: NatsServer,
    pub(crate) name: &'static str,
    pub(crate) quick: bool,
    pub(crate) dice: Dice,
    pub(crate) report: Report,
    pub(crate) progress: Progress,
}

impl Bench {
    /// How often something is measured: in a full run, and in a quick one.
    pub(crate) fn rounds(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// The series of a measurement of so many rounds. Rounds without a value are left out, and the
    /// report says how many.
    pub(crate) fn series(&mut self, what: &str, rounds: usize, values: Vec<f64>) -> Series {
        let missing = rounds - values.len();
        if missing > 0 {
            let server = self.name;
            self.report.note(format!("{what} ({server}): {missing} of {rounds} rounds left out"));
        }
        Series::new(values)
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
    if options.mode == Mode::Everything {
        cost::build();
    }
    let begun = Instant::now();
    let mut report = Report::new(&options);
    for version in options.servers.clone() {
        let server = NatsServer::start(version);
        let mut bench = Bench {
            server,
            name: name(version),
            quick: options.quick,
            dice: Dice::new(options.seed),
            report,
            progress: Progress::new(),
        };
        match options.mode {
            Mode::Everything => everything(&mut bench),
            Mode::SmallestTtl => smallest::measure(&mut bench),
            Mode::Handover => handover::measure(&mut bench),
            Mode::Threads => {}
        }
        report = bench.report;
    }
    if matches!(options.mode, Mode::Everything | Mode::Threads) {
        token::measure(&mut report, options.quick);
        wake::measure(&mut report, options.quick);
    }
    report.took = begun.elapsed();
    report.publish(&options);
}

fn everything(bench: &mut Bench) {
    handover::measure(bench);
    start::measure(bench);
    crash::measure(bench);
    cost::measure(bench);
}

/// A pause that lets everything settle, and is never in step with anything.
pub(crate) fn settle(bench: &mut Bench, least: Duration) {
    std::thread::sleep(least + Duration::from_micros(bench.dice.below(20_000)));
}
