//! What single calls cost, beside what the same question costs otherwise.
//!
//! `cargo bench --bench micro`. Whether the budgets are met is what `--bench failover` tells; this
//! is for looking at one call after a change.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use divan::{Bencher, black_box};
use leasehold::clock::{Clock, Timestamp};
use leasehold::election::{Election, Input, Settings};
use leasehold::lease::{Epoch, Lease, SessionId};
use leasehold::store::memory::MemoryServer;
use leasehold::store::{Content, Entry, StoreEvent};
use leasehold::timing::Timing;
use leasehold::{Config, Node};
use parking_lot::{Mutex, RwLock};

fn main() {
    divan::main();
}

/// A node that leads, without a server.
fn leader() -> Node {
    let config = Config::builder("micro", "a", ["nats://127.0.0.1:1"])
        .lease_ttl(Duration::from_secs(60))
        .build()
        .expect("a valid configuration");
    let store = MemoryServer::new().connect(Clock::boot());
    let node = Node::builder(config).store(store).start().expect("memory is there");
    node.wait_for_leadership(Duration::from_secs(20)).expect("nobody else is there");
    node
}

fn record() -> Lease {
    Lease {
        node_id: "node-1".to_owned(),
        session: Some(SessionId::from_bits(7)),
        epoch: Epoch::new(3).expect("in range"),
        write: 9,
        ttl: Some(Duration::from_secs(10)),
        clean: false,
        successor: None,
        meta: Some(serde_json::json!({ "addr": "10.0.0.1:80" })),
    }
}

mod who_leads {
    use super::{AtomicU64, Bencher, Mutex, Ordering, RwLock, black_box, leader};

    #[divan::bench(threads = [1, 2])]
    fn is_leader(bencher: Bencher<'_, '_>) {
        let node = leader();
        bencher.bench(|| black_box(&node).is_leader());
    }

    #[divan::bench(threads = [1, 2])]
    fn token(bencher: Bencher<'_, '_>) {
        let node = leader();
        let token = node.leadership().expect("it leads");
        bencher.bench(|| black_box(&token).ensure().is_ok());
    }

    #[divan::bench(threads = [1, 2])]
    fn bare_clock() -> i64 {
        rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_nsec
    }

    #[divan::bench(threads = [1, 2])]
    fn atomic_flag(bencher: Bencher<'_, '_>) {
        let flag = AtomicU64::new(1);
        bencher.bench(|| black_box(&flag).load(Ordering::SeqCst) == 1);
    }

    #[divan::bench(threads = [1, 2])]
    fn mutex(bencher: Bencher<'_, '_>) {
        let flag = Mutex::new(true);
        bencher.bench(|| *black_box(&flag).lock());
    }

    #[divan::bench(threads = [1, 2])]
    fn read_lock(bencher: Bencher<'_, '_>) {
        let flag = RwLock::new(true);
        bencher.bench(|| *black_box(&flag).read());
    }
}

mod wire {
    use super::{Bencher, Lease, SystemTime, black_box, record};

    #[divan::bench]
    fn encode(bencher: Bencher<'_, '_>) {
        let lease = record();
        let wall = SystemTime::now();
        bencher.bench(|| black_box(&lease).encode(wall, wall));
    }

    #[divan::bench]
    fn decode(bencher: Bencher<'_, '_>) {
        let bytes = record().encode(SystemTime::now(), SystemTime::now());
        bencher.bench(|| Lease::decode(black_box(&bytes)));
    }
}

/// What a follower does with the notice of a renewal.
#[divan::bench]
fn step_of_a_notice(bencher: Bencher<'_, '_>) {
    let settings = Settings {
        node_id: "b".to_owned(),
        session: SessionId::from_bits(1),
        timing: Timing::default(),
        cooldown: Duration::ZERO,
        drain_timeout: Duration::from_secs(10),
        strict_bootstrap: false,
        observer: false,
        meta: None,
    };
    let content = Content::Value(record().encode(SystemTime::now(), SystemTime::now()));
    let mut election = Election::new(settings);
    let mut revision = 0;
    bencher.bench_local(|| {
        revision += 1;
        let entry = Entry { revision, content: content.clone() };
        let input = Input::Store(StoreEvent::Notice(entry));
        election.step(Timestamp::from_nanos(revision), input)
    });
}
