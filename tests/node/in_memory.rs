//! Nodes with their threads on the store in memory and its faults: tests that need no server.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use leasehold::clock::{Clock, Timestamp};
use leasehold::store::memory::{MemoryLink, MemoryServer};
use leasehold::{
    Cause, Config, DrainGuard, Epoch, Event, Events, Hooks, Leadership, Node, Observer, Reason,
    Refused, Role, SetMetaError, StartError, Stopped, WaitError,
};

use crate::events::{PATIENCE, became, lost};
use crate::support::wait::{eventually, eventually_some};

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

#[test]
fn before_the_first_read_no_leader_and_no_epoch_is_known() {
    let server = MemoryServer::new();
    let store = server.connect(Clock::boot());
    store.link().freeze();
    let config = config("a").to_builder().start_disconnected(true).build().expect("valid");
    let node = Node::builder(config).store(store).start().expect("starts anyway");
    assert_eq!((node.leader(), node.epoch(), node.role()), (None, None, Role::Follower));
    assert_eq!(node.wait_for_leader(Duration::from_millis(50)), Err(WaitError::TimedOut));
}

#[test]
fn a_start_without_a_response_fails_at_the_connect_timeout_and_stores_nothing() {
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
    let words = "no connection to nats://127.0.0.1:4222: no response within 200ms";
    assert_eq!(error.to_string(), words);
    assert_eq!(server.stored(), 0);
}

#[test]
fn a_release_does_not_wait_for_an_application_that_never_asked_for_events() {
    let server = MemoryServer::new();
    let (first, second) = (start(&server, "first"), start(&server, "second"));
    first.wait_for_leadership(PATIENCE).expect("alone at first");
    first.step_down().expect("it leads");
    second.wait_for_leadership(PATIENCE).expect("released at once");
}

/// The next drain guard of `events`, of a stop.
fn resigning(events: &Events) -> DrainGuard {
    eventually_some(PATIENCE, "Resigning", || match events.try_next() {
        Some(Event::Resigning { drain, reason: Reason::Stop, .. }) => Some(drain),
        _ => None,
    })
}

/// Asserts that `node`, which stops on another thread, renews its lease and does not release it.
fn assert_drains(server: &MemoryServer, stopper: &JoinHandle<Stopped>) {
    let stored = server.stored();
    eventually(PATIENCE, "a renewal during the drain", || server.stored() > stored);
    assert!(!stopper.is_finished());
}

/// A caller with one thread cannot drain the event that the stop itself queues. A clone of the
/// receiver that nobody takes from cannot either.
#[test]
fn a_stop_waits_for_nothing_in_the_nodes_own_queue() {
    let server = MemoryServer::new();
    let node = start(&server, "first");
    became(&node);
    let _receiver = node.events().receiver().clone();
    let begun = Instant::now();
    assert!(!node.stop_within(PATIENCE).left_to_expire);
    assert!(begun.elapsed() < PATIENCE / 2);
}

#[test]
fn a_stop_waits_for_a_subscriber_that_takes_events_until_its_guard_is_dropped() {
    let server = MemoryServer::new();
    let node = start(&server, "first");
    let events = node.subscribe();
    let token = became(&node);
    assert!(events.iter().any(|event| event_of(&event) == Some(token.epoch())));
    let stopper = thread::spawn(move || node.stop_within(PATIENCE));
    let drain = resigning(&events);
    assert_drains(&server, &stopper);
    drop(drain);
    assert!(!stopper.join().expect("no panic").left_to_expire);
    assert!(events.iter().any(|event| matches!(event, Event::LostLeadership { .. })));
}

/// The epoch of a `BecameLeader`.
fn event_of(event: &Event) -> Option<Epoch> {
    let Event::BecameLeader(token) = event else { return None };
    Some(token.epoch())
}

#[test]
fn a_subscriber_that_takes_no_events_holds_nothing_up() {
    let server = MemoryServer::new();
    let node = start(&server, "first");
    let events = node.subscribe();
    became(&node);
    let begun = Instant::now();
    assert!(!node.stop_within(PATIENCE).left_to_expire);
    assert!(begun.elapsed() < PATIENCE / 2);
    assert!(events.iter().any(|event| matches!(event, Event::LostLeadership { .. })));
}

/// Two workers that no event reaches: they registered before they began.
#[test]
fn a_stop_waits_for_work_that_is_held() {
    let server = MemoryServer::new();
    let node = start(&server, "first");
    let token = node.wait_for_leadership(PATIENCE).expect("alone");
    let guards = [token.hold().expect("in force"), became(&node).hold().expect("in force")];
    let stopper = thread::spawn(move || node.stop_within(PATIENCE));
    eventually(PATIENCE, "the end of the term", || !token.is_valid());
    assert!(token.hold().is_none(), "no work begins now");
    for guard in guards {
        assert_drains(&server, &stopper);
        drop(guard);
    }
    assert!(!stopper.join().expect("no panic").left_to_expire);
}

#[test]
fn a_step_down_waits_for_work_that_is_held_and_the_next_term_has_its_own() {
    let server = MemoryServer::new();
    let config = config("a").to_builder().cooldown(Duration::ZERO).build().expect("valid");
    let node = start_linked(&server, config).0;
    let token = node.wait_for_leadership(PATIENCE).expect("alone");
    let guard = token.hold().expect("in force");
    node.step_down().expect("it leads");
    let stored = server.stored();
    eventually(PATIENCE, "a renewal during the drain", || server.stored() > stored);
    assert!(node.status().resigning);
    drop(guard);
    let next = node.wait_for_leadership(PATIENCE).expect("alone");
    assert!(next.epoch() > token.epoch() && token.hold().is_none() && next.hold().is_some());
}

#[test]
fn a_begun_stop_comes_through_the_loop_and_ends_every_queue() {
    let server = MemoryServer::new();
    let node = start(&server, "first");
    let token = became(&node);
    let handle = node.handle();
    handle.begin_stop().expect("it runs");
    assert!(!node.is_leader());
    let drain = resigning(node.events());
    let late = node.subscribe();
    assert!(!node.has_stopped());
    assert_eq!(handle.wait_until_stopped(Duration::ZERO), Err(WaitError::TimedOut));
    drop(drain);
    assert_eq!(lost(&node), (token.epoch(), Cause::Resigned(Reason::Stop)));
    assert!(!handle.wait_until_stopped(PATIENCE).expect("in time").left_to_expire);
    assert!(!node.events().iter().any(|event| matches!(event, Event::LostLeadership { .. })));
    assert!(node.events().is_closed());
    let ends = |event| matches!(event, Event::LostLeadership { .. });
    assert!(late.iter().any(ends), "a subscriber of the last moment too");
    assert_eq!(handle.begin_stop(), Err(Refused::Stopped));
    let refused = handle.set_meta(None);
    assert!(matches!(refused, Err(SetMetaError::Refused(Refused::Stopped))), "{refused:?}");
    assert!(node.subscribe().is_closed());
    assert!(!node.stop().left_to_expire);
}

#[test]
fn a_subscriber_begins_with_the_present_state() {
    let server = MemoryServer::new();
    let node = start(&server, "a");
    node.set_meta(Some("here".into())).expect("short");
    let token = node.wait_for_leadership(PATIENCE).expect("alone");
    eventually(PATIENCE, "the value", || node.leader_meta() == Some("here".into()));
    let events = node.subscribe();
    let next = || events.next_timeout(PATIENCE).expect("an event");
    assert!(matches!(next(), Event::Connected { .. }));
    assert_eq!(event_of(&next()), Some(token.epoch()));
    let leads = |event| matches!(event, Event::LeaderChanged { leader: Some(id), .. } if id == "a");
    assert!(leads(next()));
    assert!(matches!(next(), Event::MetaChanged { meta: Some(meta) } if meta == "here"));
    node.step_down().expect("it leads");
    assert!(matches!(next(), Event::Resigning { .. }));
    assert!(matches!(next(), Event::LostLeadership { .. }));
}

#[test]
fn a_new_value_of_the_leader_is_told_to_all_with_its_leader() {
    let server = MemoryServer::new();
    let (first, second) = (start(&server, "first"), start(&server, "second"));
    let epoch = first.wait_for_leadership(PATIENCE).expect("alone at first").epoch();
    second.wait_for_leader(PATIENCE).expect("known");
    let observer = Observer::on(config("third"), server.connect(Clock::boot()));
    let observer = observer.expect("the store is in memory");
    let queues = [first.subscribe(), second.subscribe(), observer.subscribe()];
    let meta = |events: &Events| {
        eventually_some(PATIENCE, "a value", || match events.next_timeout(PATIENCE) {
            Some(Event::MetaChanged { meta }) => Some(meta),
            _ => None,
        })
    };
    first.set_meta(Some("x".into())).expect("short");
    for events in &queues {
        assert_eq!(meta(events), Some("x".into()));
    }
    let info = second.leader_info().expect("known");
    assert_eq!((info.node_id.as_str(), info.epoch), ("first", epoch));
    assert!(info.meta == Some("x".into()) && info.since <= Clock::boot().now());
    first.set_meta(Some(serde_json::Value::Null)).expect("short");
    for events in &queues {
        assert_eq!(meta(events), None, "`null` is no value");
    }
    first.set_meta(Some("y".into())).expect("short");
    for events in &queues {
        assert_eq!(meta(events), Some("y".into()));
    }
    first.step_down().expect("it leads");
    assert_eq!(meta(&queues[2]), None, "the next leader has none");
    assert!(second.wait_for_leadership(PATIENCE).expect("released").epoch() > epoch);
    eventually(PATIENCE, "the successor", || {
        observer.leader_info().is_some_and(|info| info.node_id == "second" && info.meta.is_none())
    });
}

#[test]
fn the_longest_stop_timeout_is_accepted() {
    let server = MemoryServer::new();
    let node = start(&server, "node");
    became(&node);
    assert!(!node.stop_within(Duration::MAX).left_to_expire);
}

#[test]
fn a_drain_that_never_ends_delays_a_stop_until_its_timeout_and_leaves_the_lease_to_expire() {
    let server = MemoryServer::new();
    let node = start(&server, "first");
    let guard = became(&node).hold();
    let begun = Instant::now();
    assert!(node.stop_within(Duration::from_millis(200)).left_to_expire);
    assert!(begun.elapsed() < PATIENCE);
    drop(guard);
    let entry = server.entry().expect("held");
    assert!(format!("{entry:?}").len() > 2);
    let next = start(&server, "next");
    assert!(!next.is_leader(), "it must wait out the TTL");
    assert_eq!(became(&next).epoch().as_u64(), 2);
}

#[test]
fn a_leader_without_a_connection_is_deposed_at_its_deadline_and_follows_later() {
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

/// A deadline would be judged by one clock and waited for by the other.
#[test]
fn a_node_with_another_clock_than_its_store_is_refused() {
    let moved = Clock::manual(Timestamp::ZERO);
    let start = |node: &Clock, store: &Clock| {
        let store = MemoryServer::new().connect(store.clone());
        let node = Node::builder(config("a")).store(store).clock(node.clone());
        node.start().map(drop)
    };
    for other in [Clock::boot(), Clock::shifted(), Clock::manual(Timestamp::ZERO)] {
        for (node, store) in [(&other, &moved), (&moved, &other)] {
            let error = start(node, store).expect_err("two clocks");
            assert!(matches!(error, StartError::ClockMismatch));
            let words = "the node was given another clock than that of its store";
            assert_eq!(error.to_string(), words);
        }
        start(&other, &other).expect("one clock");
    }
}

/// As after a suspend: the clock has jumped, and no timer has fired yet.
#[test]
fn a_leader_that_was_suspended_beyond_its_deadline_is_deposed() {
    let server = MemoryServer::new();
    let clock = Clock::shifted();
    let store = server.connect(clock.clone());
    let node = Node::builder(config("first")).store(store).start();
    let node = node.expect("the store is in memory");
    let token = became(&node);
    clock.advance(TTL);
    assert!(!token.is_valid());
    assert_eq!(lost(&node).1, Cause::Expired);
    assert_eq!(became(&node).epoch().as_u64(), 2, "a new term for its own old record");
}

/// Commands read once, right after the start.
#[test]
fn a_start_returns_after_the_record_that_it_read_is_published() {
    let server = MemoryServer::new();
    let first = start(&server, "first");
    first.wait_for_leadership(PATIENCE).expect("alone");
    for _ in 0..200 {
        let observer = Observer::on(config("eye"), server.connect(Clock::boot()));
        let observer = observer.expect("the store is in memory");
        assert_eq!(observer.leader().as_deref(), Some("first"));
        assert_eq!(observer.epoch().map(Epoch::as_u64), Some(1));
    }
}

#[test]
fn an_observer_sees_everything_and_writes_nothing() {
    let server = MemoryServer::new();
    let observer = Observer::on(config("eye"), server.connect(Clock::boot()));
    let observer = observer.expect("the store is in memory");
    assert_eq!((server.stored(), observer.leader()), (0, None));
    let first = start(&server, "first");
    first.wait_for_leadership(PATIENCE).expect("alone");
    assert_eq!(observer.wait_for_leader(PATIENCE).as_deref(), Ok("first"));
    assert_eq!(observer.status().role, Role::Follower);
    let refused = |refused: Result<(), SetMetaError>| {
        matches!(refused, Err(SetMetaError::Refused(Refused::Observer)))
    };
    assert!(refused(observer.set_meta(Some("x".into()))) && refused(observer.set_meta(None)));
    assert_eq!(observer.promote(), Err(Refused::Observer));
    assert_eq!(observer.step_down(), Err(Refused::NotLeader { leader: Some("first".into()) }));
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

/// The queue for `events` fills up. Hooks have a queue of their own.
#[test]
fn hooks_miss_no_event_while_the_application_takes_none() {
    let server = MemoryServer::new();
    let calls = Arc::<AtomicU32>::default();
    let few = config("first").to_builder().event_capacity(16).build().expect("a valid one");
    let node = Node::builder(few)
        .hooks(Counter(Arc::clone(&calls)))
        .store(server.connect(Clock::boot()))
        .start()
        .expect("the store is in memory");
    node.set_healthy(false);
    for garbage in 1..=100 {
        server.overwrite(format!("garbage {garbage}"));
        eventually(PATIENCE, "the call", || calls.load(Ordering::SeqCst) >= garbage);
    }
    assert_eq!(node.stats().events_missed, 0);
    assert!(node.events().try_next().is_some());
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
        panic!("a panic in a hook");
    }
}

#[test]
fn the_node_resigns_after_a_panic_in_on_become_leader() {
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
        panic!("a panic in a hook");
    }
}

/// The work may still run, so no other node may lead early.
#[test]
fn the_lease_is_left_to_expire_after_a_panic_in_on_lose_leadership() {
    let server = MemoryServer::new();
    let node = Node::builder(config("first"))
        .hooks(CannotStop)
        .store(server.connect(Clock::boot()))
        .start()
        .expect("the store is in memory");
    node.wait_for_leadership(PATIENCE).expect("alone");
    assert!(node.stop_within(Duration::from_millis(300)).left_to_expire);
    let second = start(&server, "second");
    assert_eq!(became(&second).epoch().as_u64(), 2);
}

#[test]
fn commands_from_many_threads_all_return() {
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
    let events = node.subscribe();
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
