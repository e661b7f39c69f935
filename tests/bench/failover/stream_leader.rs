//! Which timers hold a term and its virtual IP when the server is killed that leads the stream.
//!
//! The other servers elect a new leader of the stream after 4 to 9 seconds, and nothing can be
//! renewed until then. Each set of timers has three buckets, so that a killed server leads the
//! stream of about one of them. The virtual IP is on a host in memory, which removes it when its
//! lifetime is over, as a kernel does.

use std::thread;
use std::time::{Duration, Instant};

use leasehold::Node;
use leasehold::clock::Clock;
use leasehold::vip::{Holder, Memory, Policy, VirtualAddress, Worker};

use super::handover::config;
use super::{Bench, CLIENTS};
use crate::support::cluster::Cluster;
use crate::support::wait::eventually;

/// TTL and interval, in milliseconds.
const TIMERS: [(u64, u64); 5] =
    [(10_000, 3_000), (15_000, 3_000), (17_000, 1_000), (20_000, 3_000), (30_000, 10_000)];
/// Buckets for each set of timers.
const BUCKETS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(10);

/// A node that leads a bucket of its own.
struct Leader {
    /// Index of its timers.
    timers: usize,
    stream: String,
    node: Node,
    host: Memory,
}

/// What a kill did to one leader.
#[derive(Clone, Copy, Default)]
struct Loss {
    /// The longest time without the address, and without the term.
    address: Duration,
    term: Duration,
}

impl Leader {
    fn start(urls: &[String], timers: usize, number: usize) -> Self {
        let (ttl, renew) = TIMERS[timers];
        let cluster = format!("timers-{ttl}-{renew}-{number}");
        let address = VirtualAddress::new("10.0.0.10".parse().unwrap(), "eth0").unwrap();
        let host = Memory::new(Clock::boot(), ["eth0"]);
        let (policy, memory) = (Policy::default(), host.clone());
        let holder = Holder::with_backend(vec![address], policy, Clock::boot(), memory).unwrap();
        let config = config(&urls.join(","), CLIENTS[0], &cluster)
            .lease_ttl(Duration::from_millis(ttl))
            .renew_interval(Duration::from_millis(renew))
            .replicas(3);
        let worker = Worker::start(holder).unwrap();
        let node = Node::builder(config.build().unwrap()).vip(worker).start().unwrap();
        Self { timers, stream: format!("KV_cluster-{cluster}"), node, host }
    }

    fn has_address(&self) -> bool {
        self.host.has("10.0.0.10".parse().unwrap())
    }

    fn is_well(&self) -> bool {
        self.node.is_leader() && self.has_address()
    }
}

pub(crate) fn measure(bench: &mut Bench) {
    let rounds = bench.rounds(60);
    bench.begin("stream leader killed");
    let mut servers = Cluster::start(bench.server.version());
    let urls = servers.urls();
    let numbers = (0..TIMERS.len()).flat_map(|timers| (0..BUCKETS).map(move |n| (timers, n)));
    let leaders: Vec<_> = numbers.map(|(timers, n)| Leader::start(&urls, timers, n)).collect();
    let mut losses: [Vec<Loss>; TIMERS.len()] = Default::default();
    for round in 0..rounds {
        bench.progress.at(round, rounds);
        all_well(&leaders);
        // At any moment between two renewals.
        let pause = Duration::from_micros(bench.dice.below(3_000_000));
        super::settle(bench, pause);
        let victim = round % urls.len();
        let struck: Vec<_> =
            leaders.iter().filter(|l| servers.stream_leader(&l.stream) == victim).collect();
        servers.server_mut(victim).kill();
        for (leader, loss) in struck.iter().zip(watch(&struck)) {
            losses[leader.timers].push(loss);
        }
        servers.server_mut(victim).launch();
        servers.wait_until_complete();
    }
    for ((ttl, renew), losses) in TIMERS.iter().zip(&losses) {
        bench.report.note(row(*ttl, *renew, losses));
    }
}

fn all_well(leaders: &[Leader]) {
    eventually(PATIENCE, "all lead and have their address", || leaders.iter().all(Leader::is_well));
}

/// Watches until a renewal of each has succeeded after the kill, and all is well.
fn watch(leaders: &[&Leader]) -> Vec<Loss> {
    let renewals: Vec<_> = leaders.iter().map(|leader| leader.node.stats().renewals).collect();
    let mut seen: Vec<_> = leaders.iter().map(|_| (Instant::now(), Instant::now())).collect();
    let mut losses = vec![Loss::default(); leaders.len()];
    let begun = Instant::now();
    loop {
        let now = Instant::now();
        let mut well = true;
        for (index, leader) in leaders.iter().enumerate() {
            let (address, term) = &mut seen[index];
            longest(leader.has_address(), now, address, &mut losses[index].address);
            longest(leader.node.is_leader(), now, term, &mut losses[index].term);
            well &= leader.is_well() && leader.node.stats().renewals > renewals[index] + 1;
        }
        if well {
            return losses;
        }
        assert!(begun.elapsed() < PATIENCE, "the stream has no leader again");
        thread::sleep(LOOK);
    }
}

/// Keeps the longest time in which something was not there.
fn longest(is_there: bool, now: Instant, seen: &mut Instant, longest: &mut Duration) {
    if is_there {
        *seen = now;
    } else {
        *longest = (*longest).max(now.duration_since(*seen));
    }
}

fn row(ttl: u64, renew: u64, losses: &[Loss]) -> String {
    let summary = |time: fn(&Loss) -> Duration| {
        let lost: Vec<_> = losses.iter().map(time).filter(|time| !time.is_zero()).collect();
        let longest = lost.iter().max().copied().unwrap_or_default();
        format!("{} times, for {:.1} s at most", lost.len(), longest.as_secs_f64())
    };
    let (address, term) = (summary(|loss| loss.address), summary(|loss| loss.term));
    let rounds = losses.len();
    format!(
        "TTL {ttl} ms, interval {renew} ms, {rounds} kills: address lost {address}; term {term}"
    )
}
