//! Nodes in programs that misuse them without intent: floods of calls, queues that are not drained,
//! a store that hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use leasehold::clock::{Clock, Timestamp};
use leasehold::store::memory::{MemoryServer, MemoryStore};
use leasehold::store::{Request, Store, StoreEvent, Ticket, Waker};
use leasehold::{Config, Node, Refused, SetMetaError};

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
fn a_flood_of_commands_delays_no_renewal() {
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

/// A resignation that finds the channel full waits in the backlog with its guard.
#[test]
fn a_stop_does_not_wait_for_a_guard_in_the_backlog() {
    let server = MemoryServer::new();
    let store = server.connect(Clock::boot());
    let link = store.link();
    let node = Node::builder(config("a")).store(store).start().expect("in memory");
    node.wait_for_leadership(PATIENCE).expect("alone");
    drop(node.events().try_next());
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
    assert!(!stopped.left_to_expire, "after {:?}", begun.elapsed());
}

/// A switch for a store that hangs.
#[derive(Default)]
struct Switch {
    on: AtomicBool,
    /// The renewal thread hangs.
    hangs: AtomicBool,
}

/// A store that hangs on the renewal thread, as a logger could.
struct Hanging(MemoryStore, Arc<Switch>);

impl Store for Hanging {
    fn submit(&mut self, ticket: Ticket, request: Request) {
        self.0.submit(ticket, request);
    }

    fn waker(&self) -> Waker {
        self.0.waker()
    }

    fn poll(&mut self, until: Timestamp) -> Option<StoreEvent> {
        while self.1.on.load(Ordering::SeqCst) {
            self.1.hangs.store(true, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(1));
        }
        self.0.poll(until)
    }

    fn reconnect(&mut self) {
        self.0.reconnect();
    }

    fn close(&mut self, until: Timestamp) {
        self.0.close(until);
    }
}

/// A renewal thread that hangs does not block callers. It carries out their commands later.
#[test]
fn a_command_returns_while_the_loop_hangs_and_is_carried_out_afterwards() {
    let server = MemoryServer::new();
    let switch = Arc::<Switch>::default();
    let store = Hanging(server.connect(Clock::boot()), Arc::clone(&switch));
    let node = Node::builder(config("a")).store(store).start().expect("in memory");
    node.wait_for_leadership(PATIENCE).expect("alone");
    switch.on.store(true, Ordering::SeqCst);
    eventually(PATIENCE, "the loop to hang", || switch.hangs.load(Ordering::SeqCst));
    let asked = Instant::now();
    thread::scope(|scope| {
        let stepping = scope.spawn(|| node.step_down());
        let changing = scope.spawn(|| node.set_meta(Some(7.into())));
        node.set_healthy(false);
        assert_eq!(stepping.join().expect("no panic"), Err(Refused::Stuck));
        let changed = changing.join().expect("no panic");
        assert!(matches!(changed, Err(SetMetaError::Refused(Refused::Stuck))), "{changed:?}");
    });
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    switch.on.store(false, Ordering::SeqCst);
    eventually(PATIENCE, "the command", || node.promote() == Err(Refused::Unhealthy));
    node.set_healthy(true);
    eventually(PATIENCE, "the value", || node.leader_meta() == Some(7.into()));
}
