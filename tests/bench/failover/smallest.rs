//! The smallest TTL that is held, with the machine idle and with all cores busy.

use std::thread;
use std::time::{Duration, Instant};

use leasehold::config::TransportChoice;

use super::busy::Busy;
use super::handover::config;
use super::member::Member;
use super::report::Budget;
use super::stats::Series;
use super::{Bench, CLIENTS};

/// TTL and interval, in milliseconds; the smallest that the library takes first.
const TIMERS: [(u64, u64); 7] =
    [(150, 60), (200, 60), (250, 60), (350, 90), (500, 130), (1_000, 300), (2_000, 600)];

pub(crate) fn measure(bench: &mut Bench) {
    let length = Duration::from_secs(bench.rounds(600) as u64);
    for (loops, target) in [(0, 250.0), (cores(), 1_000.0)] {
        bench.loops = loops;
        bench.begin("smallest TTL");
        let smallest = CLIENTS.map(|client| hold(bench, client, length));
        let what = format!("smallest TTL held for {} s", length.as_secs());
        let columns = smallest.map(|ttl| Series::new(vec![ttl]));
        let row = bench.row(&what, columns.into());
        bench.report.row(row.within(Budget::Median(target)));
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The smallest TTL from which on no cluster lost a term; each has a leader and a follower.
fn hold(bench: &mut Bench, client: TransportChoice, length: Duration) -> f64 {
    let loops = bench.loops;
    let mut clusters: Vec<_> = TIMERS
        .iter()
        .map(|(ttl, renew)| {
            let cluster = format!("ttl-{ttl}-{loops}-{}", client.name());
            let config = config(&bench.server.url(), client, &cluster)
                .lease_ttl(Duration::from_millis(*ttl))
                .renew_interval(Duration::from_millis(*renew));
            let mut leader = Member::start(&config, "leader", 1);
            leader.became();
            (*ttl, leader, Member::start(&config, "follower", 1))
        })
        .collect();
    let busy = Busy::start(loops);
    let (begun, steps) = (Instant::now(), 100);
    for step in 1..=steps {
        thread::sleep((length * step / steps).saturating_sub(begun.elapsed()));
        bench.progress.at(step as usize, steps as usize);
    }
    drop(busy);
    let mut smallest = f64::INFINITY;
    for (ttl, leader, _follower) in clusters.iter_mut().rev() {
        let lost = leader.next("lost", Duration::ZERO).is_some();
        let told = if lost { "lost a term" } else { "held" };
        let (server, client) = (bench.name, client.name());
        bench.report.note(format!("{server}: TTL {ttl} ms {told}, {loops} loops, {client}"));
        if lost {
            break;
        }
        smallest = Duration::from_millis(*ttl).as_secs_f64() * 1e3;
    }
    smallest
}
