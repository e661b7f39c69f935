//! From the start of a node to its first term, on a bucket whose lease was released.

use std::time::Duration;

use super::handover::config;
use super::member::Member;
use super::report::{Row, Unit};
use super::stats::{Series, millis};
use super::yardstick::Yardstick;
use super::{Bench, settle};

pub(crate) fn measure(bench: &mut Bench) {
    let rounds = bench.rounds(100, 10);
    let server = bench.name;
    bench.progress.begin(&format!("{server}: start"));
    let config = config(bench, "start");
    let mut yardstick = Yardstick::new(&bench.server.url(), "raw-start");
    let mut member = Member::start(&config, "a", 1);
    member.became().expect("nobody else is there");
    let (mut starts, mut writes) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        member.ask("stop");
        settle(bench, Duration::from_millis(20));
        writes.push(yardstick.write());
        member.forget();
        let asked = member.moment("start 1");
        if let Some(at) = member.became() {
            starts.push(millis(asked, at));
        }
        bench.progress.at(round + 1, rounds);
    }
    let (starts, writes) = (bench.series("start", rounds, starts), Series::new(writes));
    let what = "start of a node → it leads, median (probe and handshake included)";
    let (ours, bare) = (starts.median(), writes.median());
    bench.report.row(Row::ratio(what, server, Unit::Millis, ours, bare, 6.0));
    bench.report.series(&format!("start ({server})"), starts);
    bench.report.series(&format!("one write and its acknowledgement ({server})"), writes);
}
