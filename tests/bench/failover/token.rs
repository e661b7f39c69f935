//! What it costs to ask whether this node leads.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use leasehold::clock::Clock;
use leasehold::store::memory::MemoryServer;
use leasehold::{Config, Node};
use parking_lot::{Mutex, RwLock};

use super::report::{Budget, Report, Row, Unit};
use super::stats::Series;

/// Calls in one batch: a few milliseconds.
const CALLS: u32 = 50_000;

/// A node without a server, which leads again at once when it is its turn.
pub(crate) fn node(id: &str, memory: &MemoryServer) -> Node {
    let config = Config::builder("token", id, ["nats://127.0.0.1:1"])
        .lease_ttl(Duration::from_secs(60))
        .cooldown(Duration::ZERO)
        .build()
        .expect("a valid configuration");
    let store = memory.connect(Clock::boot());
    Node::builder(config).store(store).start().expect("memory is there")
}

fn leader() -> Node {
    let node = node("a", &MemoryServer::new());
    node.wait_for_leadership(Duration::from_secs(20)).expect("nobody else is there");
    node
}

/// Nanoseconds per call of `ask`, asked by so many threads at once: the slowest of them.
fn batch(threads: usize, ask: impl Fn() -> bool + Sync) -> f64 {
    let line = Barrier::new(threads);
    let one = || {
        line.wait();
        let begun = Instant::now();
        for _ in 0..CALLS {
            black_box(ask());
        }
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|one| one.join().expect("nothing panics")).fold(0.0, f64::max)
    })
}

/// What the same question costs otherwise.
fn others(threads: usize) -> [(&'static str, f64); 4] {
    let (flag, mutex, lock) = (AtomicU64::new(1), Mutex::new(1_u64), RwLock::new(1_u64));
    let boot = rustix::time::ClockId::Boottime;
    [
        ("clock", batch(threads, || rustix::time::clock_gettime(boot).tv_nsec >= 0)),
        ("atomic load", batch(threads, || flag.load(Ordering::SeqCst) == 1)),
        ("mutex", batch(threads, || *mutex.lock() == 1)),
        ("read lock", batch(threads, || *lock.read() == 1)),
    ]
}

pub(crate) fn measure(report: &mut Report, quick: bool) {
    let node = leader();
    let rounds = if quick { 40 } else { 400 };
    let mut asked = [Vec::new(), Vec::new()];
    let mut rest = [const { Vec::new() }; 4];
    for _ in 0..rounds {
        asked[0].push(batch(1, || node.is_leader()));
        for (list, (_, nanos)) in rest.iter_mut().zip(others(1)) {
            list.push(nanos);
        }
        asked[1].push(batch(2, || node.is_leader()));
    }
    // The least of many is what the code costs; the rest is what else the machine did.
    let least = |list: &Vec<f64>| Series::new(list.clone()).quantile(0.05);
    let [alone, both] = asked.each_ref().map(least);
    let [clock, load, mutex, read_lock] = rest.each_ref().map(least);
    let row = |what, ours, bare, median| {
        let [ours, bare] = [ours, bare].map(|nanos| Series::new(vec![nanos]));
        let row = Row::new(what, "–", vec![ours]).unit(Unit::Nanos).beside(bare);
        row.within(Budget::Times { median, p99: None })
    };
    let what = "is_leader(), beside a bare CLOCK_BOOTTIME";
    report.row(row(what, alone, clock, 1.3));
    let what = "is_leader() on two threads at once, beside one";
    report.row(row(what, both, alone, 1.2));
    report.note(format!(
        "the same question of an atomic flag costs {load:.1} ns, of a mutex {mutex:.1} ns, of a \
         read lock {read_lock:.1} ns: none of them knows when the lease is over"
    ));
    node.stop();
}
