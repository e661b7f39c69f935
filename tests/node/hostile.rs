//! Nodes in programs that mean no harm and do it all the same: floods of calls, queues that nobody
//! drains, calls out of hooks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use leasehold::clock::{Clock, Timestamp};
use leasehold::store::memory::{MemoryServer, MemoryStore};
use leasehold::store::{Request, Store, StoreEvent, Ticket};
use leasehold::{Config, Node, Refused};

use crate::support::wait::eventually;

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

/// A store that hangs on the renewal thread, as a logger could.
struct Hangs(MemoryStore, Arc<AtomicBool>);

impl Store for Hangs {
    fn submit(&mut self, ticket: Ticket, request: Request) {
        self.0.submit(ticket, request);
    }

    fn poll(&mut self, wake: &Receiver<()>, until: Timestamp) -> Option<StoreEvent> {
        while self.1.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        self.0.poll(wake, until)
    }

    fn reconnect(&mut self) {
        self.0.reconnect();
    }

    fn close(&mut self, until: Timestamp) {
        self.0.close(until);
    }
}

/// Nor is the caller held up by a loop that hangs; what was asked for is done when it goes on.
#[test]
fn a_command_to_a_loop_that_hangs_returns_and_stands() {
    let server = MemoryServer::new();
    let hangs = Arc::new(AtomicBool::new(false));
    let store = Hangs(server.connect(Clock::boot()), Arc::clone(&hangs));
    let node = Node::builder(config("a")).store(store).start().expect("in memory");
    node.wait_for_leadership(PATIENCE).expect("alone");
    hangs.store(true, Ordering::SeqCst);
    let asked = Instant::now();
    thread::scope(|scope| {
        let stepping = scope.spawn(|| node.step_down());
        let changing = scope.spawn(|| node.handle().set_meta(Some(7.into())));
        node.set_healthy(false);
        assert_eq!(stepping.join().expect("no panic"), Err(Refused::Stuck));
        changing.join().expect("no panic").expect("a short value");
    });
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    hangs.store(false, Ordering::SeqCst);
    eventually(PATIENCE, "the order", || node.promote() == Err(Refused::Unhealthy));
}
