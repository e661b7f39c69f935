//! The node with its threads, on the store in memory with its faults: everything that needs no
//! server.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use leasehold::clock::Clock;
use leasehold::store::memory::{MemoryLink, MemoryServer};
use leasehold::{
    Cause, Config, Epoch, Event, Hooks, Leadership, Node, Observer, Reason, Refused, Role,
    TransferError, WaitError,
};

use crate::support::wait::{eventually, eventually_some};

/// Nothing here takes long; a loaded machine may.
const PATIENCE: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_secs(4);

fn config(node: &str) -> Config {
    Config::builder("orders", node, ["127.0.0.1:4222"])
        .lease_ttl(TTL)
        .renew_interval(Duration::from_millis(300))
        .build()
        .expect("valid")
}

fn start(server: &MemoryServer, node: &str) -> Node {
    start_linked(server, config(node)).0
}

fn start_linked(server: &MemoryServer, config: Config) -> (Node, MemoryLink) {
    let store = server.connect(Clock::boot());
    let link = store.link();
    (Node::builder(config).store(store).start().expect("the store is in memory"), link)
}

fn leader_of(nodes: &[Node]) -> Option<usize> {
    let leaders: Vec<_> = (0..nodes.len()).filter(|at| nodes[*at].is_leader()).collect();
    assert!(leaders.len() <= 1, "two leaders");
    leaders.first().copied()
}

fn next_of<T>(node: &Node, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(found) = node.events().next_timeout(PATIENCE).and_then(&mut pick) {
            return found;
        }
    }
    panic!("no {what} in {PATIENCE:?}");
}

fn became(node: &Node) -> Leadership {
    next_of(node, "BecameLeader", |event| match event {
        Event::BecameLeader(leadership) => Some(leadership),
        _ => None,
    })
}

fn lost(node: &Node) -> (Epoch, Cause) {
    next_of(node, "LostLeadership", |event| match event {
        Event::LostLeadership { epoch, cause } => Some((epoch, cause)),
        _ => None,
    })
}

#[test]
fn one_of_three_leads_and_all_agree() {
    let server = MemoryServer::new();
    let nodes = ["a", "b", "c"].map(|node| start(&server, node));
    let at = eventually_some(PATIENCE, "a leader", || leader_of(&nodes));
    let name = nodes[at].config().node_id().to_owned();
    for node in &nodes {
        eventually(PATIENCE, "agreement", || node.leader().as_ref() == Some(&name));
        assert_eq!(node.wait_for_leader(PATIENCE), Ok(name.clone()));
        assert_eq!(node.epoch().map(Epoch::as_u64), Some(1));
    }
    assert_eq!(nodes[at].role(), Role::Leader);
    assert_eq!(nodes[at].leadership().map(|token| token.epoch().as_u64()), Some(1));
}

#[test]
fn before_anything_is_known_there_is_no_leader_and_no_epoch() {
    let server = MemoryServer::new();
    let store = server.connect(Clock::boot());
    store.link().freeze();
    let config = config("a").to_builder().start_disconnected(true).build().expect("valid");
    let node = Node::builder(config).store(store).start().expect("starts anyway");
    assert_eq!((node.leader(), node.epoch(), node.role()), (None, None, Role::Follower));
    assert_eq!(node.wait_for_leader(Duration::from_millis(50)), Err(WaitError::TimedOut));
}

#[test]
fn a_start_that_reaches_nothing_fails_in_time_and_leaves_nothing() {
    let server = MemoryServer::new();
    let store = server.connect(Clock::boot());
    store.link().freeze();
    let timeout = Duration::from_millis(200);
    // With the default timers no request times out before the start does.
    let config = Config::builder("orders", "a", ["127.0.0.1:4222"]).connect_timeout(timeout);
    let config = config.build().expect("valid");
    let begun = Instant::now();
    let error = Node::builder(config).store(store).start().expect_err("a frozen link");
    assert!(begun.elapsed() < PATIENCE);
    let words = "no connection to nats://127.0.0.1:4222: no answer within 200ms";
    assert_eq!(error.to_string(), words);
    assert_eq!(server.stored(), 0);
}

#[test]
fn a_step_down_waits_for_the_drain_and_then_hands_over() {
    let server = MemoryServer::new();
    let first = start(&server, "first");
    let token = became(&first);
    let second = start(&server, "second");
    eventually(PATIENCE, "the second to see the first", || second.leader().is_some());
    first.step_down().expect("it leads");
    assert!(!first.is_leader() && !token.is_valid(), "at once");
    let drain = next_of(&first, "Resigning", |event| match event {
        Event::Resigning { drain, reason: Reason::StepDown, .. } => Some(drain),
        _ => None,
    });
    let stored = server.stored();
    eventually(PATIENCE, "a renewal during the drain", || server.stored() > stored);
    assert!(!second.is_leader());
    assert_eq!(second.leader().as_deref(), Some("first"));
    drop(drain);
    assert_eq!(lost(&first).1, Cause::Resigned(Reason::StepDown));
    assert_eq!(became(&second).epoch().as_u64(), 2);
    assert_eq!(second.stats().terms, 1);
}

#[test]
fn who_never_asked_for_events_is_not_waited_for() {
    let server = MemoryServer::new();
    let (first, second) = (start(&server, "first"), start(&server, "second"));
    first.wait_for_leadership(PATIENCE).expect("alone at first");
    first.step_down().expect("it leads");
    second.wait_for_leadership(PATIENCE).expect("released at once");
}

#[test]
fn a_follower_refuses_to_step_down_and_names_the_leader() {
    let server = MemoryServer::new();
    let (first, second) = (start(&server, "first"), start(&server, "second"));
    first.wait_for_leadership(PATIENCE).expect("alone at first");
    second.wait_for_leader(PATIENCE).expect("known");
    let leader = Some("first".to_owned());
    assert_eq!(second.step_down(), Err(Refused::NotLeader { leader }));
}

#[test]
fn a_transfer_goes_to_the_named_node() {
    let server = MemoryServer::new();
    let nodes = ["a", "b", "c", "d", "e"].map(|node| start(&server, node));
    let at = eventually_some(PATIENCE, "a leader", || leader_of(&nodes));
    let to = (at + 3) % nodes.len();
    for node in &nodes {
        node.wait_for_leader(PATIENCE).expect("known");
    }
    let own = nodes[at].config().node_id().to_owned();
    let refused = nodes[at].transfer_to(&own);
    assert!(matches!(refused, Err(TransferError::Refused(Refused::TransferToSelf))));
    assert!(matches!(nodes[at].transfer_to("no node"), Err(TransferError::NodeId(_))));
    assert!(nodes[at].is_leader());
    nodes[at].transfer_to(nodes[to].config().node_id()).expect("it leads");
    let token = nodes[to].wait_for_leadership(PATIENCE).expect("it was named");
    assert_eq!(token.epoch().as_u64(), 2);
}

#[test]
fn a_stop_releases_and_the_next_takes_over_at_once() {
    let server = MemoryServer::new();
    let slow = |node: &str| {
        let hour = Duration::from_secs(3600);
        config(node).to_builder().lease_ttl(hour).build().expect("valid")
    };
    let first = start_linked(&server, slow("first")).0;
    became(&first);
    let second = start_linked(&server, slow("second")).0;
    second.wait_for_leader(PATIENCE).expect("known");
    assert!(!first.stop().left_to_lapse);
    assert_eq!(became(&second).epoch().as_u64(), 2);
    drop(second);
    let third = start_linked(&server, slow("third")).0;
    assert_eq!(became(&third).epoch().as_u64(), 3, "dropping releases too");
}

/// A single-threaded caller stops its node without draining what stopping puts into the queue.
#[test]
fn a_stop_does_not_wait_for_the_queue_of_its_own_caller_but_for_a_clone() {
    let server = MemoryServer::new();
    let node = start(&server, "first");
    became(&node);
    assert!(!node.stop().left_to_lapse);

    let node = start(&server, "second");
    became(&node);
    let clone = node.events().clone();
    let stopper = thread::spawn(move || node.stop_within(PATIENCE));
    let drain = eventually_some(PATIENCE, "Resigning", || match clone.try_next() {
        Some(Event::Resigning { drain, reason: Reason::Stop, .. }) => Some(drain),
        _ => None,
    });
    let stored = server.stored();
    eventually(PATIENCE, "a renewal during the drain", || server.stored() > stored);
    assert!(!stopper.is_finished());
    drop(drain);
    assert!(!stopper.join().expect("no panic").left_to_lapse);
    assert!(clone.iter().any(|event| matches!(event, Event::LostLeadership { .. })));
}

#[test]
fn a_drain_that_never_ends_does_not_hold_a_stop_beyond_its_bound_and_is_never_clean() {
    let server = MemoryServer::new();
    let node = start(&server, "first");
    became(&node);
    let clone = node.events().clone();
    let begun = Instant::now();
    assert!(node.stop_within(Duration::from_millis(200)).left_to_lapse);
    assert!(begun.elapsed() < PATIENCE);
    drop(clone);
    let entry = server.entry().expect("held");
    assert!(format!("{entry:?}").len() > 2);
    let next = start(&server, "next");
    assert!(!next.is_leader(), "it must wait out the TTL");
    assert_eq!(became(&next).epoch().as_u64(), 2);
}

#[test]
fn a_cut_off_leader_is_deposed_at_its_deadline_and_comes_back() {
    let server = MemoryServer::new();
    let (first, link) = start_linked(&server, config("first"));
    let token = became(&first);
    let second = start(&server, "second");
    second.wait_for_leader(PATIENCE).expect("known");
    link.freeze();
    let deadline = token.deadline().expect("in force");
    let (epoch, cause) = lost(&first);
    let clock = Clock::boot();
    assert!(clock.now() >= deadline, "not before");
    assert_eq!((epoch, cause), (token.epoch(), Cause::Expired));
    assert!(!first.is_leader());
    assert_eq!(became(&second).epoch().as_u64(), 2);
    link.thaw();
    eventually(PATIENCE, "the first to follow", || first.leader().as_deref() == Some("second"));
}

/// As after a suspend: the boot clock has jumped, no timer has fired, and the first look is a no.
#[test]
fn a_leader_that_was_suspended_finds_itself_deposed() {
    let server = MemoryServer::new();
    let clock = Clock::shifted();
    let store = server.connect(clock.clone());
    let node = Node::builder(config("first")).store(store).clock(clock.clone()).start();
    let node = node.expect("the store is in memory");
    let token = became(&node);
    clock.advance(TTL);
    assert!(!token.is_valid());
    assert_eq!(lost(&node).1, Cause::Expired);
    assert_eq!(became(&node).epoch().as_u64(), 2, "a new term for its own old record");
}

#[test]
fn an_unhealthy_leader_steps_down() {
    let server = MemoryServer::new();
    let node = start(&server, "first");
    became(&node);
    node.set_healthy(false);
    let reason = next_of(&node, "Resigning", |event| match event {
        Event::Resigning { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(reason, Reason::Unhealthy);
    assert_eq!(lost(&node).1, Cause::Resigned(Reason::Unhealthy));
    eventually(PATIENCE, "the end of the release", || node.promote() == Err(Refused::Unhealthy));
    node.set_healthy(true);
    node.promote().expect("fit again");
    assert_eq!(became(&node).epoch().as_u64(), 2);
}

#[test]
fn the_leaders_meta_reaches_the_others() {
    let server = MemoryServer::new();
    let (first, second) = (start(&server, "first"), start(&server, "second"));
    first.wait_for_leadership(PATIENCE).expect("alone at first");
    let meta = serde_json::json!({"address": "10.0.0.1:80"});
    first.set_meta(Some(meta.clone())).expect("short");
    eventually(PATIENCE, "the meta", || second.leader_meta().as_ref() == Some(&meta));
    let long = serde_json::Value::String("x".repeat(5_000));
    assert!(first.set_meta(Some(long)).is_err());
}

/// A command looks once, right after it has started.
#[test]
fn what_was_read_at_the_start_is_shown_when_the_start_returns() {
    let server = MemoryServer::new();
    let first = start(&server, "first");
    first.wait_for_leadership(PATIENCE).expect("alone");
    for _ in 0..200 {
        let observer = Observer::on(config("eye"), server.connect(Clock::boot()), Clock::boot());
        let observer = observer.expect("the store is in memory");
        assert_eq!(observer.leader().as_deref(), Some("first"));
        assert_eq!(observer.epoch().map(Epoch::as_u64), Some(1));
    }
}

#[test]
fn an_observer_sees_everything_and_writes_nothing() {
    let server = MemoryServer::new();
    let observer = Observer::on(config("eye"), server.connect(Clock::boot()), Clock::boot());
    let observer = observer.expect("the store is in memory");
    assert_eq!((server.stored(), observer.leader()), (0, None));
    let first = start(&server, "first");
    first.wait_for_leadership(PATIENCE).expect("alone");
    assert_eq!(observer.wait_for_leader(PATIENCE).as_deref(), Ok("first"));
    assert_eq!(observer.status().role, Role::Follower);
    first.stop();
    eventually(PATIENCE, "the release", || observer.leader().is_none());
    assert_eq!(observer.epoch().map(Epoch::as_u64), Some(1));
    let stored = server.stored();
    observer.stop();
    assert_eq!(server.stored(), stored);
}

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Hooks for Recorder {
    fn on_become_leader(&mut self, leadership: Leadership) {
        self.0.lock().unwrap().push(format!("+{}", leadership.epoch()));
    }

    fn on_lose_leadership(&mut self, epoch: Epoch, cause: &Cause) {
        self.0.lock().unwrap().push(format!("-{epoch} {cause}"));
    }
}

#[test]
fn hooks_are_called_in_pairs() {
    let server = MemoryServer::new();
    let recorder = Recorder::default();
    let node = Node::builder(config("first"))
        .hooks(recorder.clone())
        .store(server.connect(Clock::boot()))
        .start()
        .expect("the store is in memory");
    let calls = || recorder.0.lock().unwrap().clone();
    eventually(PATIENCE, "the first call", || calls() == ["+1"]);
    node.step_down().expect("it leads");
    eventually(PATIENCE, "the second call", || calls() == ["+1", "-1 resigned: step-down"]);
    eventually(PATIENCE, "the release", || !node.status().resigning);
    node.promote().expect("it has resigned");
    node.wait_for_leadership(PATIENCE).expect("alone");
    node.stop();
    let all = ["+1", "-1 resigned: step-down", "+2", "-2 resigned: stop"];
    assert_eq!(calls(), all, "stopping waits for the last call");
}

struct Counter(Arc<AtomicU32>);

impl Hooks for Counter {
    fn on_other(&mut self, _: Event) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The queue fills up that nobody asked for; what comes by hooks is told all the same.
#[test]
fn with_hooks_only_nothing_is_missed() {
    let server = MemoryServer::new();
    let told = Arc::<AtomicU32>::default();
    let few = config("first").to_builder().event_capacity(16).build().expect("a valid one");
    let node = Node::builder(few)
        .hooks(Counter(Arc::clone(&told)))
        .store(server.connect(Clock::boot()))
        .start()
        .expect("the store is in memory");
    node.set_healthy(false);
    for garbage in 1..=100 {
        server.overwrite(format!("garbage {garbage}"));
        eventually(PATIENCE, "the call", || told.load(Ordering::SeqCst) >= garbage);
    }
    assert_eq!(node.stats().events_missed, 0);
    assert!(node.events().missed() > 0, "more than the queue has room for");
}

struct Sleeper(Arc<AtomicU32>);

impl Hooks for Sleeper {
    fn on_become_leader(&mut self, leadership: Leadership) {
        let started = Instant::now();
        while leadership.is_valid() && started.elapsed() < 4 * TTL {
            thread::sleep(Duration::from_millis(5));
        }
        self.0.store(u32::from(leadership.is_valid()) + 1, Ordering::SeqCst);
    }
}

#[test]
fn a_hook_that_hangs_for_several_ttls_does_not_cost_the_lease() {
    let server = MemoryServer::new();
    let outcome = Arc::new(AtomicU32::new(0));
    let node = Node::builder(config("first"))
        .hooks(Sleeper(Arc::clone(&outcome)))
        .store(server.connect(Clock::boot()))
        .start()
        .expect("the store is in memory");
    eventually(PATIENCE, "the hook's end", || outcome.load(Ordering::SeqCst) > 0);
    assert_eq!(outcome.load(Ordering::SeqCst), 2, "valid to the end");
    assert_eq!(node.epoch().map(Epoch::as_u64), Some(1));
}

struct Panicker;

impl Hooks for Panicker {
    fn on_become_leader(&mut self, _: Leadership) {
        panic!("a hook's own fault");
    }
}

#[test]
fn a_become_leader_hook_that_panics_gives_the_term_back() {
    let server = MemoryServer::new();
    let node = Node::builder(config("first"))
        .hooks(Panicker)
        .store(server.connect(Clock::boot()))
        .start()
        .expect("the store is in memory");
    assert_eq!(lost(&node).1, Cause::Resigned(Reason::HookPanicked));
    let second = start(&server, "second");
    assert_eq!(became(&second).epoch().as_u64(), 2);
}

struct CannotStop;

impl Hooks for CannotStop {
    fn on_lose_leadership(&mut self, _: Epoch, _: &Cause) {
        panic!("a hook's own fault");
    }
}

/// Nobody knows how far it came with stopping the work, so nobody is let in early.
#[test]
fn a_lose_leadership_hook_that_panics_leaves_the_lease_to_lapse() {
    let server = MemoryServer::new();
    let node = Node::builder(config("first"))
        .hooks(CannotStop)
        .store(server.connect(Clock::boot()))
        .start()
        .expect("the store is in memory");
    node.wait_for_leadership(PATIENCE).expect("alone");
    assert!(node.stop_within(Duration::from_millis(300)).left_to_lapse);
    let second = start(&server, "second");
    assert_eq!(became(&second).epoch().as_u64(), 2);
}

#[test]
fn orders_from_many_threads_and_after_the_end_are_answered() {
    let server = MemoryServer::new();
    let node = Arc::new(start(&server, "first"));
    node.wait_for_leadership(PATIENCE).expect("alone");
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let node = Arc::clone(&node);
            thread::spawn(move || {
                for _ in 0..100 {
                    let _ = (node.step_down(), node.promote(), node.status(), node.is_leader());
                }
            })
        })
        .collect();
    for caller in callers {
        caller.join().expect("no panic");
    }
    let events = node.events().clone();
    let node = Arc::into_inner(node).expect("the callers are gone");
    node.stop_within(PATIENCE);
    let mut open = false;
    for event in &events {
        match event {
            Event::BecameLeader(_) => assert!(!std::mem::replace(&mut open, true)),
            Event::LostLeadership { .. } => assert!(std::mem::take(&mut open)),
            _ => {}
        }
    }
    assert!(!open);
}
