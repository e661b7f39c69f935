//! What a leader's death costs beyond the wait that nobody can shorten, and how soon a leader that
//! is cut off hears that it is none.

use std::time::Duration;

use leasehold::config::ConfigBuilder;

use super::handover::config;
use super::member::Member;
use super::report::{Row, Unit};
use super::stats::{Series, millis};
use super::witness::Witness;
use super::{Bench, settle};
use crate::support::proxy::Proxy;

pub(crate) fn measure(bench: &mut Bench) {
    let server = bench.name;
    let killed = |seconds: f64, followers: usize| {
        let plural = if followers == 1 { "" } else { "s" };
        format!("SIGKILL → another leads, beyond D = {seconds} s, {followers} follower{plural}")
    };
    let rounds = bench.rounds(40, 2);
    let second = config(bench, "crash");
    let beyond = kill(bench, &second, "crash", 1, rounds);
    let (what, median) = (killed(1.0, 1), beyond.median());
    let row = Row::limit(&format!("{what}, median"), server, Unit::Millis, median, 5.0);
    bench.report.row(row);
    let row = Row::limit(&format!("{what}, p99"), server, Unit::Millis, beyond.p99(), 25.0);
    bench.report.row(row);
    bench.report.series(&format!("SIGKILL, beyond D = 1 s ({server})"), beyond);
    if !bench.quick {
        let three = config(bench, "crash-3")
            .lease_ttl(Duration::from_secs(3))
            .renew_interval(Duration::from_secs(1));
        let beyond = kill(bench, &three, "crash-3", 1, 6);
        let what = format!("{}, median", killed(3.0, 1));
        bench.report.row(Row::limit(&what, server, Unit::Millis, beyond.median(), 5.0));
        let crowd = config(bench, "crash-50");
        let beyond = kill(bench, &crowd, "crash-50", 50, 10);
        let what = format!("{}, median", killed(1.0, 50));
        bench.report.row(Row::limit(&what, server, Unit::Millis, beyond.median(), 5.0));
    }
    frozen(bench);
}

/// Kills the leader again and again. It is always a process of one node; its followers live in
/// another, and when one of them has taken over it gives the lease back to a new one.
fn kill(
    bench: &mut Bench,
    config: &ConfigBuilder,
    cluster: &str,
    followers: usize,
    rounds: usize,
) -> Series {
    bench.progress.begin(&format!("{}: SIGKILL, {followers} followers", bench.name));
    let timing = config.clone().build().expect("valid").timing().clone();
    let ttl = timing.ttl().as_secs_f64() * 1e3;
    let witness = Witness::new(&bench.server.url(), cluster);
    let mut beyond = Vec::new();
    for round in 0..rounds {
        let name = format!("victim-{round}");
        let mut victim = Member::start(config, &name, 1);
        victim.became().expect("nobody else is there");
        let mut others = Member::start(config, "heir", followers);
        // A renewal later the heirs have heard from it, as the witness has.
        settle(bench, timing.renew_interval() + Duration::from_millis(100));
        victim.kill();
        let heir = others.became();
        if let Some((at, last)) = heir.zip(witness.last(&name)) {
            beyond.push(millis(last, at) - ttl);
        }
        others.ask("stop");
        bench.progress.at(round + 1, rounds);
    }
    bench.series(&format!("SIGKILL, {cluster}"), rounds, beyond)
}

/// Nothing moves on the leader's link any more, and nobody tells it.
fn frozen(bench: &mut Bench) {
    let rounds = bench.rounds(30, 3);
    let server = bench.name;
    bench.progress.begin(&format!("{server}: frozen link"));
    let proxy = Proxy::start(bench.server.address());
    let config = config(bench, "frozen").servers([proxy.url()]);
    let mut member = Member::start(&config, "a", 1);
    let mut late = Vec::new();
    for round in 0..rounds {
        member.became().expect("nobody else is there");
        settle(bench, Duration::from_millis(100));
        proxy.freeze();
        // An acknowledgement that is through already may still move it.
        std::thread::sleep(Duration::from_millis(50));
        let deadline = member.ask("deadline")["deadline"].as_u64();
        let lost = member.next("lost", Duration::from_secs(20));
        let at = lost.and_then(|lost| lost["at"].as_u64());
        late.extend(deadline.zip(at).map(|(deadline, at)| millis(deadline, at)));
        proxy.thaw();
        bench.progress.at(round + 1, rounds);
    }
    let late = bench.series("frozen link", rounds, late);
    let what = "frozen link: LostLeadership is delivered after the deadline, p99";
    bench.report.row(Row::limit(what, server, Unit::Millis, late.p99(), 20.0));
    bench.report.series(&format!("LostLeadership after the deadline ({server})"), late);
}
