//! What a leader's death costs beyond the wait that nobody can shorten, and how soon a leader that
//! is cut off hears that it is none.

use std::time::Duration;

use leasehold::config::{ConfigBuilder, TransportChoice};

use super::handover::config;
use super::member::Member;
use super::report::Budget;
use super::stats::{Series, millis};
use super::witness::Witness;
use super::yardstick::{Yardstick, create_bucket};
use super::{Bench, CLIENTS, settle};
use crate::support::proxy::Proxy;

/// Kills leaders, with so many followers in another process.
pub(crate) fn measure(bench: &mut Bench, followers: usize) {
    let rounds = bench.rounds(if followers == 1 { 40 } else { 10 });
    let url = bench.server.url();
    let name = format!("crash-{followers}-{}", bench.loops);
    bench.begin(&format!("SIGKILL, {followers} followers"));
    create_bucket(&url, &name, 1);
    let mut yardstick = Yardstick::new(&url, &name);
    let mut crashes = CLIENTS.map(|client| Crash::new(&url, client, &name));
    let (mut beyond, mut writes) = ([const { Vec::new() }; 2], Vec::new());
    for round in 0..rounds {
        writes.push(yardstick.write());
        for (crash, beyond) in crashes.iter_mut().zip(&mut beyond) {
            beyond.extend(crash.kill(bench, followers, round));
        }
        bench.progress.at(round + 1, rounds);
    }
    let plural = if followers == 1 { "" } else { "s" };
    let what = format!(
        "SIGKILL → another leads, beyond D = 1 s, {followers} follower{plural}, beside one write"
    );
    let columns = bench.columns(&what, rounds, beyond);
    if followers == 1 {
        bench.plot("SIGKILL, beyond D", &columns);
    }
    #[allow(clippy::cast_precision_loss)]
    let budget = if followers == 1 { 1.0 + bench.loops as f64 / 2.0 } else { 5.0 };
    let row = bench.row(&what, columns).beside(Series::new(writes));
    bench.report.row(row.within(Budget::Median(budget)));
}

/// The leader is always a process of one node; its followers live in another, and when one of them
/// has taken over it gives the lease back to a new one.
struct Crash {
    config: ConfigBuilder,
    witness: Witness,
}

impl Crash {
    fn new(url: &str, client: TransportChoice, name: &str) -> Self {
        let cluster = format!("{name}-{}", client.name());
        Self { config: config(url, client, &cluster), witness: Witness::new(url, &cluster) }
    }

    /// Milliseconds beyond D since the victim's last renewal.
    fn kill(&self, bench: &mut Bench, followers: usize, round: usize) -> Option<f64> {
        let timing = self.config.clone().build().expect("valid").timing().clone();
        let name = format!("victim-{round}");
        let mut victim = Member::start(&self.config, &name, 1);
        victim.became().expect("nobody else is there");
        let mut others = Member::start(&self.config, "heir", followers);
        // A renewal later the heirs have heard from it, as the witness has.
        settle(bench, timing.renew_interval() + Duration::from_millis(100));
        victim.kill();
        let taken = others.became().zip(self.witness.last(&name));
        others.ask("stop");
        taken.map(|(at, last)| millis(last, at) - timing.ttl().as_secs_f64() * 1e3)
    }
}

/// Nothing moves on the leader's link any more, and nobody tells it.
pub(crate) fn frozen(bench: &mut Bench) {
    let rounds = bench.rounds(30);
    bench.begin("frozen link");
    let proxy = Proxy::start(bench.server.address());
    let late = CLIENTS.map(|client| {
        let config = config(&proxy.url(), client, &format!("frozen-{}", client.name()));
        let mut member = Member::start(&config, "a", 1);
        (0..rounds).filter_map(|_| freeze(bench, &proxy, &mut member)).collect()
    });
    let what = "frozen link: LostLeadership is delivered after the deadline";
    let columns = bench.columns(what, rounds, late);
    let row = bench.row(what, columns);
    bench.report.row(row.within(Budget::P99(20.0)));
}

/// Milliseconds from the deadline to the event.
fn freeze(bench: &mut Bench, proxy: &Proxy, member: &mut Member) -> Option<f64> {
    member.became().expect("nobody else is there");
    settle(bench, Duration::from_millis(100));
    proxy.freeze();
    // An acknowledgement that is through already may still move it.
    std::thread::sleep(Duration::from_millis(50));
    let deadline = member.ask("deadline")["deadline"].as_u64();
    let lost = member.next("lost", Duration::from_secs(20));
    proxy.thaw();
    let at = lost?["at"].as_u64()?;
    Some(millis(deadline?, at))
}
