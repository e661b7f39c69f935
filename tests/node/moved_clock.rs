//! Nodes on a clock that the test moves: nobody sleeps, and nothing depends on luck.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use leasehold::clock::{Clock, Timestamp};
use leasehold::store::memory::{MemoryLink, MemoryServer, MemoryStore};
use leasehold::store::{Request, Store, StoreEvent, Ticket, Waker};
use leasehold::{Cause, Config, Event, Node, Reason, StoreError, WaitError};

use crate::events::PATIENCE;

const TTL: Duration = Duration::from_secs(10);

/// A server, and the clock of its nodes.
struct Cluster {
    server: MemoryServer,
    clock: Clock,
}

impl Cluster {
    fn new() -> Self {
        Self::on(Clock::manual(Timestamp::ZERO))
    }

    fn on(clock: Clock) -> Self {
        Self { server: MemoryServer::new(), clock }
    }

    fn start(&self, node: &str) -> Node {
        self.start_linked(node).0
    }

    fn start_linked(&self, node: &str) -> (Node, MemoryLink) {
        let config = Config::without_servers("orders", node).cooldown(Duration::ZERO);
        let store = self.server.connect(self.clock.clone());
        let link = store.link();
        let node = Node::builder(config.build().expect("valid")).store(store);
        let node = node.start().expect("the store is in memory");
        self.server.settle();
        (node, link)
    }

    fn run_for(&self, duration: Duration) {
        self.server.run_for(&self.clock, duration);
    }

    /// As after a suspend.
    fn jump(&self, duration: Duration) {
        self.clock.advance(duration);
        self.server.settle();
    }
}

fn events(node: &Node) -> Vec<Event> {
    std::iter::from_fn(|| node.events().try_next()).collect()
}

#[test]
fn ninety_seconds_in_steps_keep_the_lead() {
    let cluster = Cluster::new();
    let node = cluster.start("first");
    let token = node.leadership().expect("alone");
    cluster.run_for(Duration::from_secs(90));
    assert!(token.is_valid() && node.stats().renewals >= 29, "{:?}", node.stats());
    assert_eq!(cluster.clock.now(), Timestamp::ZERO + Duration::from_secs(90));
}

#[test]
fn a_shifted_clock_runs_in_steps_too() {
    let cluster = Cluster::on(Clock::shifted());
    let node = cluster.start("first");
    let token = node.leadership().expect("alone");
    let begun = cluster.clock.now();
    cluster.run_for(Duration::from_secs(90));
    assert!(cluster.clock.now() >= begun + Duration::from_secs(90));
    assert!(token.is_valid() && node.stats().renewals >= 29, "{:?}", node.stats());
}

#[test]
fn steps_of_a_second_keep_the_lead() {
    let cluster = Cluster::new();
    let (first, second) = (cluster.start("first"), cluster.start("second"));
    let token = first.leadership().expect("it came first");
    for _ in 0..90 {
        cluster.jump(Duration::from_secs(1));
        assert!(token.is_valid() && second.leader().as_deref() == Some("first"));
    }
}

#[test]
fn a_jump_beyond_the_deadline_loses_the_lead_and_settling_reports_it() {
    let cluster = Cluster::new();
    let node = cluster.start("first");
    let token = node.leadership().expect("alone");
    cluster.jump(TTL);
    assert!(!token.is_valid());
    let events = events(&node);
    let lost = |event: &Event| matches!(event, Event::LostLeadership { cause: Cause::Expired, .. });
    assert!(events.iter().any(lost), "{events:?}");
}

/// Settling ends only if no node has something to do at the last moment of the clock, again and
/// again.
#[test]
fn the_longest_jump_loses_the_lead_once_and_nothing_spins() {
    for clock in [Clock::manual(Timestamp::ZERO), Clock::shifted()] {
        let cluster = Cluster::on(clock);
        let node = cluster.start("first");
        let token = node.leadership().expect("alone");
        cluster.jump(Duration::MAX);
        assert!(!token.is_valid());
        let next = node.leadership().expect("a new term for its own old record");
        cluster.jump(Duration::MAX);
        assert!(next.epoch() > token.epoch() && next.is_valid(), "the clock stands still");
    }
}

#[test]
fn a_leader_behind_a_cut_link_is_replaced_after_the_ttl_and_not_before() {
    let cluster = Cluster::new();
    let ((first, link), second) = (cluster.start_linked("first"), cluster.start("second"));
    link.cut();
    cluster.run_for(Duration::from_millis(9_999));
    assert!(!first.is_leader() && !second.is_leader());
    cluster.run_for(Duration::from_millis(1));
    assert!(second.is_leader());
    link.heal();
    cluster.server.settle();
    assert_eq!(first.leader().as_deref(), Some("second"));
}

/// Each round hands messages between the threads of both nodes. All of it is over when `settle`
/// returns.
#[test]
fn a_handover_is_over_when_the_nodes_have_settled() {
    let cluster = Cluster::new();
    let nodes = [cluster.start("first"), cluster.start("second")];
    for round in 0..500 {
        let (from, to) = (&nodes[round % 2], &nodes[(round + 1) % 2]);
        from.transfer_to(to.config().node_id()).expect("it leads");
        cluster.server.settle();
        assert!(to.is_leader() && !from.is_leader(), "round {round}");
        assert_eq!(from.leader().as_deref(), Some(to.config().node_id()), "round {round}");
    }
    assert_eq!(cluster.clock.now(), Timestamp::ZERO, "no time has passed");
}

/// The clock stands still, so that the TTL is never over.
#[test]
fn waits_end_in_real_time() {
    let cluster = Cluster::new();
    let (first, second) = (cluster.start("first"), cluster.start("second"));
    let short = Duration::from_millis(50);
    assert_eq!(second.wait_for_leadership(short).unwrap_err(), WaitError::TimedOut);
    assert_eq!(second.wait_for_leader(PATIENCE).as_deref(), Ok("first"));
    first.stop();
    second.wait_for_leadership(PATIENCE).expect("released");
}

/// The node's clock never reads the bound of the stop.
#[test]
fn a_stop_with_an_open_drain_ends_in_real_time() {
    let cluster = Cluster::new();
    let node = cluster.start("first");
    let (handle, queue) = (node.handle(), node.subscribe());
    let _work = node.leadership().expect("alone").hold();
    let begun = Instant::now();
    assert!(node.stop_within(Duration::from_millis(200)).left_to_expire);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert!(handle.has_stopped(), "the thread was left behind");
    let cause = queue.iter().find_map(|event| match event {
        Event::LostLeadership { cause, .. } => Some(cause),
        _ => None,
    });
    assert_eq!(cause, Some(Cause::DrainTimedOut(Reason::Stop)));
}

#[test]
fn an_error_of_the_store_is_a_problem_and_the_lead_is_kept() {
    let cluster = Cluster::new();
    let (node, link) = cluster.start_linked("first");
    let token = node.leadership().expect("alone");
    events(&node);
    let [full, denied] = ["full", "denied"].map(|text| StoreError::Permission(text.into()));
    link.fail_requests(1, full.clone());
    link.report_problem(denied.clone());
    cluster.server.settle();
    assert!(matches!(&events(&node)[..], [Event::Problem(error)] if *error == denied));
    cluster.run_for(Duration::from_secs(4));
    assert!(matches!(&events(&node)[..], [Event::Problem(error)] if *error == full));
    assert!(token.is_valid());
    assert_eq!(node.stats().failures, 1);
}

/// Counts how often it is woken and polled.
struct CountingStore(MemoryStore, Arc<Counts>);

#[derive(Default)]
struct Counts {
    wakes: AtomicU64,
    polls: AtomicU64,
}

impl Store for CountingStore {
    fn submit(&mut self, ticket: Ticket, request: Request) {
        self.0.submit(ticket, request);
    }

    fn waker(&self) -> Waker {
        let (inner, counts) = (self.0.waker(), Arc::clone(&self.1));
        Waker::new(move || {
            counts.wakes.fetch_add(1, Ordering::SeqCst);
            inner.wake();
        })
    }

    fn poll(&mut self, until: Timestamp) -> Option<StoreEvent> {
        self.1.polls.fetch_add(1, Ordering::SeqCst);
        self.0.poll(until)
    }

    fn clock(&self) -> Clock {
        self.0.clock()
    }

    fn reconnect(&mut self) {
        self.0.reconnect();
    }

    fn close(&mut self, until: Timestamp) {
        self.0.close(until);
    }
}

/// A node whose queues hold 16 events, with its link.
fn start_counted(cluster: &Cluster) -> (Node, MemoryLink, Arc<Counts>) {
    let counts = Arc::<Counts>::default();
    let store = cluster.server.connect(cluster.clock.clone());
    let link = store.link();
    let config = Config::without_servers("orders", "first").event_capacity(16);
    let node = Node::builder(config.build().expect("valid"));
    let node = node.store(CountingStore(store, Arc::clone(&counts))).start();
    cluster.server.settle();
    (node.expect("the store is in memory"), link, counts)
}

#[test]
fn a_clock_wakes_the_store_of_a_node_until_the_node_has_stopped() {
    let cluster = Cluster::new();
    let (node, _, counts) = start_counted(&cluster);
    let before = counts.wakes.load(Ordering::SeqCst);
    cluster.jump(Duration::from_secs(1));
    assert_eq!(counts.wakes.load(Ordering::SeqCst), before + 1);
    drop(node);
    assert_eq!(Arc::strong_count(&counts), 1, "the clock keeps nothing of the node");
}

/// Queues more events than the queues of `start_counted` have room for. Returns how many.
fn overfill(cluster: &Cluster, link: &MemoryLink) -> usize {
    for _ in 0..20 {
        link.cut();
        cluster.server.settle();
        link.heal();
        cluster.server.settle();
    }
    40
}

#[test]
fn a_full_queue_that_nobody_reads_costs_no_wake_ups() {
    let cluster = Cluster::new();
    let (node, link, counts) = start_counted(&cluster);
    let _never_asked = node.subscribe();
    let asked_once = node.subscribe();
    let _receiver = asked_once.receiver().clone();
    let polls_in_a_minute = || {
        let before = counts.polls.load(Ordering::SeqCst);
        cluster.run_for(Duration::from_secs(60));
        counts.polls.load(Ordering::SeqCst) - before
    };
    let normal = polls_in_a_minute();
    overfill(&cluster, &link);
    let full = polls_in_a_minute();
    assert!(full <= normal + 10, "{full} turns of the loop, {normal} before");
}

/// The renewal thread has nothing to do meanwhile, as its clock stands still.
#[test]
fn events_that_had_no_room_come_though_the_clock_stands_still() {
    let cluster = Cluster::new();
    let (node, link, _) = start_counted(&cluster);
    let (taken, other) = (node.subscribe(), node.subscribe());
    let receiver = other.receiver().clone();
    cluster.server.settle(); // both begin with `Connected`
    let queued = overfill(&cluster, &link) + 1;
    let is_link =
        |event: &Event| matches!(event, Event::Connected { .. } | Event::Disconnected { .. });
    let by_calls = std::iter::from_fn(|| taken.try_next()).filter(is_link).count();
    let in_time = || receiver.recv_timeout(PATIENCE).ok();
    let by_receiver = std::iter::from_fn(in_time).filter(is_link).take(queued).count();
    assert_eq!((by_calls, by_receiver), (queued, queued));
    assert_eq!((taken.missed(), other.missed()), (0, 0));
}
