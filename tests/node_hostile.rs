//! Nodes in programs that mean no harm and do it all the same: floods of calls, queues that nobody
//! drains, calls out of hooks.

mod support;

use std::thread;
use std::time::{Duration, Instant};

use leasehold::clock::Clock;
use leasehold::store::memory::MemoryServer;
use leasehold::{Config, Node};
use support::wait::eventually;

const PATIENCE: Duration = Duration::from_secs(30);

fn config(node: &str) -> Config {
    Config::builder("orders", node, ["127.0.0.1:4222"])
        .lease_ttl(Duration::from_secs(1))
        .renew_interval(Duration::from_millis(300))
        .event_capacity(16)
        .build()
        .expect("valid")
}

fn start(server: &MemoryServer, node: &str) -> Node {
    let store = server.connect(Clock::boot());
    Node::builder(config(node)).store(store).start().expect("the store is in memory")
}

#[test]
fn a_flood_of_orders_keeps_no_renewal_back() {
    let server = MemoryServer::new();
    let node = start(&server, "a");
    let token = node.wait_for_leadership(PATIENCE).expect("alone");
    let until = Instant::now() + Duration::from_secs(3);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while Instant::now() < until {
                    node.set_healthy(true);
                }
            });
        }
    });
    let asked = Instant::now();
    assert_eq!(node.promote(), Ok(()));
    println!("the queue took {:?}", asked.elapsed());
    assert!(token.is_valid(), "one term");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}

/// The guard of a resignation that found the queue full is not in it yet.
#[test]
fn a_stop_waits_for_no_guard_that_nobody_can_take() {
    let server = MemoryServer::new();
    let store = server.connect(Clock::boot());
    let link = store.link();
    let node = Node::builder(config("a")).store(store).start().expect("in memory");
    node.wait_for_leadership(PATIENCE).expect("alone");
    let _ = node.events();
    for round in 0..20 {
        link.cut();
        eventually(PATIENCE, "the cut", || !node.is_connected());
        link.heal();
        eventually(PATIENCE, &format!("the link {round}"), || node.is_connected());
    }
    let token = node.wait_for_leadership(PATIENCE).expect("alone");
    node.step_down().expect("it leads");
    assert!(!token.is_valid());
    let begun = Instant::now();
    let stopped = node.stop();
    assert!(!stopped.left_to_lapse, "after {:?}", begun.elapsed());
}
