//! The smallest TTL that is held, with the machine idle and with all cores busy.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use leasehold::Config;

use super::Bench;
use super::member::Member;
use super::report::{Row, Unit};

/// TTL and interval, in milliseconds; the smallest that the library takes first.
const TIMERS: [(u64, u64); 7] =
    [(150, 60), (200, 60), (250, 60), (350, 90), (500, 130), (1_000, 300), (2_000, 600)];

pub(crate) fn measure(bench: &mut Bench) {
    let length = Duration::from_secs(if bench.quick { 20 } else { 600 });
    for (busy, target) in [(false, 250.0), (true, 1_000.0)] {
        let how = if busy { "all cores busy" } else { "machine idle" };
        bench.progress.begin(&format!("{}: smallest TTL, {how}", bench.name));
        let smallest = hold(bench, busy, length);
        let minutes = length.as_secs_f64() / 60.0;
        let what = format!("smallest TTL held for {minutes:.1} minutes, {how}");
        bench.report.row(Row::limit(&what, bench.name, Unit::Millis, smallest, target));
    }
}

/// The smallest TTL from which on no cluster lost a term; each has a leader and a follower.
fn hold(bench: &mut Bench, busy: bool, length: Duration) -> f64 {
    let mut clusters: Vec<_> = TIMERS
        .iter()
        .map(|(ttl, renew)| {
            let config = Config::builder(format!("ttl-{ttl}-{busy}"), "x", [bench.server.url()])
                .lease_ttl(Duration::from_millis(*ttl))
                .renew_interval(Duration::from_millis(*renew));
            let mut leader = Member::start(&config, "leader", 1);
            leader.became();
            (*ttl, leader, Member::start(&config, "follower", 1))
        })
        .collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        if busy {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            for _ in 0..cores {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
        }
        let (begun, steps) = (Instant::now(), 100);
        for step in 1..=steps {
            thread::sleep((length * step / steps).saturating_sub(begun.elapsed()));
            bench.progress.at(step as usize, steps as usize);
        }
        over.store(true, Ordering::Relaxed);
    });
    let mut smallest = f64::INFINITY;
    for (ttl, leader, _follower) in clusters.iter_mut().rev() {
        let lost = leader.next("lost", Duration::ZERO).is_some();
        let told = if lost { "lost a term" } else { "held" };
        bench.report.note(format!("{}: TTL {ttl} ms {told}, busy: {busy}", bench.name));
        if lost {
            break;
        }
        smallest = Duration::from_millis(*ttl).as_secs_f64() * 1e3;
    }
    smallest
}
