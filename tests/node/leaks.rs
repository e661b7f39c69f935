//! Stopped nodes leave no thread and no descriptor.

use std::fs::read_dir;
use std::time::Duration;

use leasehold::clock::Clock;
use leasehold::store::memory::MemoryServer;
use leasehold::{Config, Hooks, Node};

use crate::support::alone::alone;
use crate::support::wait::eventually;

const PATIENCE: Duration = Duration::from_secs(30);

struct NoHooks;

impl Hooks for NoHooks {}

fn count(of: &str) -> usize {
    read_dir(format!("/proc/self/{of}")).expect("procfs").count()
}

fn start_and_stop(server: &MemoryServer, round: u32) {
    let config = Config::builder("orders", "node", ["127.0.0.1:4222"])
        .lease_ttl(Duration::from_secs(1))
        .renew_interval(Duration::from_millis(300))
        .build()
        .expect("valid");
    let builder = Node::builder(config).store(server.connect(Clock::boot())).hooks(NoHooks);
    let node = builder.start().expect("the store is in memory");
    if round % 10 == 0 {
        node.wait_for_leadership(PATIENCE).expect("alone");
    }
    // The others are dropped.
    if round % 2 == 0 {
        node.stop();
    }
}

#[test]
fn two_hundred_starts_and_stops_leave_no_thread_and_no_descriptor() {
    alone(|| {
        let server = MemoryServer::new();
        start_and_stop(&server, 0);
        let (threads, descriptors) = (count("task"), count("fd"));
        for round in 1..=200 {
            start_and_stop(&server, round);
        }
        eventually(PATIENCE, "the threads to end", || count("task") <= threads);
        assert!(count("fd") <= descriptors, "{} descriptors, {descriptors} before", count("fd"));
    });
}
