//! From the start of a node to its first term, on a bucket whose lease was released.

use std::time::Duration;

use super::handover::config;
use super::member::Member;
use super::report::Budget;
use super::stats::{Series, millis};
use super::yardstick::{Yardstick, create_bucket};
use super::{Bench, CLIENTS, settle};

pub(crate) fn measure(bench: &mut Bench) {
    let rounds = bench.rounds(100);
    let url = bench.server.url();
    bench.begin("start");
    let cluster = |party: &str| format!("start-{}-{party}", bench.loops);
    create_bucket(&url, &cluster("bare"), 1);
    let mut yardstick = Yardstick::new(&url, &cluster("bare"));
    let mut members = CLIENTS.map(|client| {
        let mut member = Member::start(&config(&url, client, &cluster(client.name())), "a", 1);
        member.became().expect("nobody else is there");
        member.ask("stop");
        member
    });
    let (mut starts, mut writes) = ([const { Vec::new() }; 2], Vec::new());
    for round in 0..rounds {
        settle(bench, Duration::from_millis(20));
        writes.push(yardstick.write());
        for (member, starts) in members.iter_mut().zip(&mut starts) {
            settle(bench, Duration::from_millis(20));
            member.forget();
            let asked = member.moment("start 1");
            starts.extend(member.became().map(|at| millis(asked, at)));
            member.ask("stop");
        }
        bench.progress.at(round + 1, rounds);
    }
    let what = "start of a node → it leads, beside one write";
    let columns = bench.columns(what, rounds, starts);
    bench.plot("start → leads", &columns);
    let row = bench.row(what, columns).beside(Series::new(writes));
    bench.report.row(row.within(Budget::Times { median: 6.0, p99: None }));
}
