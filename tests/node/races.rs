//! State that threads share, read and changed by several threads at once.
//!
//! `tests/run.sh --all` also builds these tests, and the standard library, with
//! `-Zsanitizer=thread` and `--cfg leasehold_tsan`: then every data race fails the process. A
//! planted race shows that it does.
#![allow(unsafe_code, reason = "calls of the C API, and a planted race")]

use std::ffi::CString;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use leasehold::capi::leasehold_code::{LEASEHOLD_E_HANDLE, LEASEHOLD_E_PANIC, LEASEHOLD_OK};
use leasehold::capi::{
    leasehold_code, leasehold_config, leasehold_config_free, leasehold_config_new,
    leasehold_config_set_number, leasehold_descriptor, leasehold_free, leasehold_is_leader,
    leasehold_last_error, leasehold_leader, leasehold_node, leasehold_start, leasehold_step_down,
    leasehold_token, leasehold_token_acquire, leasehold_token_epoch, leasehold_token_free,
    leasehold_token_is_valid, leasehold_wait_for_leadership,
};
use leasehold::clock::Clock;
use leasehold::store::memory::MemoryServer;
use leasehold::{Config, Event, Node};

use crate::support::server::NatsServer;
use crate::support::version::Version;

const PATIENCE: Duration = Duration::from_secs(120);
const THREADS: usize = 4;

fn member(server: &MemoryServer, name: &str) -> Node {
    let config = Config::builder("races", name, ["nats://localhost"])
        .lease_ttl(Duration::from_secs(3))
        .renew_interval(Duration::from_millis(100))
        .cooldown(Duration::ZERO)
        .build()
        .expect("valid");
    Node::builder(config).store(server.connect(Clock::boot())).start().expect("in memory")
}

/// Runs `work` while some threads run `others`. `work` must end them.
fn while_threads(others: impl Fn() + Sync, work: impl FnOnce()) {
    scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(&others);
        }
        work();
    });
}

/// Calls every method that reads, and takes an event.
fn read(node: &Node) -> usize {
    let token = node.leadership();
    let epoch = token.as_ref().and_then(|token| token.ensure().ok());
    // In this order: the later call may see a later term.
    let terms = node.stats().terms;
    let highest = node.status().epoch;
    let _pollable = node.events().pollable().expect("a descriptor");
    let event = node.events().try_next();
    let led = matches!(event, Some(Event::BecameLeader(_)));
    assert!(terms <= highest.map_or(0, leasehold::Epoch::as_u64));
    assert!(epoch.is_none_or(|epoch| epoch.as_u64() > 0));
    assert!(token.is_none_or(|token| token.remaining() < PATIENCE));
    usize::from(led && node.handle().leader() != Some(String::new()))
}

#[test]
fn nodes_are_read_while_they_change() {
    let server = MemoryServer::new();
    let nodes = ["a", "b"].map(|name| member(&server, name));
    let ended = AtomicBool::new(false);
    let terms = AtomicUsize::new(0);
    let read_on = || {
        while !ended.load(Ordering::Relaxed) {
            let led: usize = nodes.iter().map(read).sum();
            terms.fetch_add(led, Ordering::Relaxed);
        }
    };
    while_threads(read_on, || {
        for round in 0..20 {
            let led = |node: &&Node| node.is_leader();
            crate::support::wait::eventually(PATIENCE, "a leader", || {
                nodes.iter().any(|n| led(&n))
            });
            let _ = nodes[round % 2].set_meta(Some(round.into()));
            for node in &nodes {
                let _ = node.step_down();
            }
        }
        ended.store(true, Ordering::Relaxed);
    });
    assert!(terms.load(Ordering::Relaxed) > 0);
}

/// Handles that threads share, freed while they are used.
#[derive(Default)]
struct Shared {
    node: AtomicPtr<leasehold_node>,
    token: AtomicPtr<leasehold_token>,
    ended: AtomicBool,
    freed: AtomicUsize,
}

fn use_handles(shared: &Shared) {
    let mut buffer = [0; 300];
    while !shared.ended.load(Ordering::Relaxed) {
        let node = shared.node.load(Ordering::Relaxed);
        let (mut token, mut descriptor) = (null_mut(), 0);
        leasehold_is_leader(node);
        // SAFETY: the pointers are null or point to values of the right types.
        let codes = unsafe {
            [
                leasehold_token_acquire(node, &raw mut token),
                leasehold_leader(node, buffer.as_mut_ptr(), buffer.len(), null_mut()),
                leasehold_descriptor(node, &raw mut descriptor),
            ]
        };
        assert!(codes.iter().all(|code| *code != LEASEHOLD_E_PANIC));
        if codes[0] == LEASEHOLD_OK {
            let other = shared.token.swap(token, Ordering::Relaxed);
            shared.freed.fetch_add(1, Ordering::Relaxed);
            leasehold_token_free(other);
            assert!(!leasehold_token_is_valid(other) && leasehold_token_epoch(other) == 0);
        }
        leasehold_token_is_valid(shared.token.load(Ordering::Relaxed));
    }
}

fn ok(code: leasehold_code) {
    // SAFETY: it is never null and ends with a zero byte.
    let why = unsafe { std::ffi::CStr::from_ptr(leasehold_last_error()) };
    assert!(code == LEASEHOLD_OK, "{code:?}: {why:?}");
}

fn leading(url: &str) -> *mut leasehold_node {
    let (mut config, mut node): (*mut leasehold_config, *mut leasehold_node) =
        (null_mut(), null_mut());
    let text = |text: &str| CString::new(text).expect("no zero byte");
    let (cluster, name, url) = (text("races"), text("node"), text(url));
    // SAFETY: the texts end with a zero byte, and the pointers point to values of the right types.
    unsafe {
        let [cluster, name, url] = [&cluster, &name, &url].map(|text| text.as_ptr());
        ok(leasehold_config_new(cluster, name, url, &raw mut config));
        for (key, ms) in [(c"election.cooldownMs", 0), (c"nats.connectTimeoutMs", 60_000)] {
            ok(leasehold_config_set_number(config, key.as_ptr(), ms));
        }
        ok(leasehold_start(config, null(), &raw mut node));
    }
    ok(leasehold_config_free(config));
    ok(leasehold_wait_for_leadership(node, 120_000));
    node
}

#[test]
fn handles_of_the_c_api_are_used_while_they_are_freed() {
    let server = NatsServer::start(Version::Newest);
    let shared = Shared::default();
    shared.node.store(leading(&server.url()), Ordering::Relaxed);
    while_threads(
        || use_handles(&shared),
        || {
            for _ in 0..3 {
                sleep(Duration::from_millis(200));
                let node = shared.node.load(Ordering::Relaxed);
                ok(leasehold_step_down(node));
                ok(leasehold_free(node));
                assert_eq!(leasehold_free(node), LEASEHOLD_E_HANDLE);
                shared.node.store(leading(&server.url()), Ordering::Relaxed);
            }
            shared.ended.store(true, Ordering::Relaxed);
        },
    );
    ok(leasehold_free(shared.node.load(Ordering::Relaxed)));
    ok(leasehold_token_free(shared.token.load(Ordering::Relaxed)));
    assert!(shared.freed.load(Ordering::Relaxed) > 10);
}

#[cfg(leasehold_tsan)]
mod planted {
    use std::cell::UnsafeCell;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::{scope, yield_now};

    use super::PATIENCE;
    use crate::support::alone::test_name;
    use crate::support::process::Process;

    const ROLE: &str = "LEASEHOLD_TEST_RACER";

    struct Unordered(UnsafeCell<u64>);

    // SAFETY: none. The mistake is intended.
    unsafe impl Sync for Unordered {}

    static COUNTER: Unordered = Unordered(UnsafeCell::new(0));

    #[inline(never)]
    fn race() {
        // SAFETY: none, as above.
        unsafe { *COUNTER.0.get() += 1 };
    }

    /// Two threads take turns by a relaxed flag, which creates no happens-before. The sanitizer
    /// still has the whole first access when the second happens: it finds the race every time.
    fn race_by_turns() {
        let first_is_done = AtomicBool::new(false);
        scope(|scope| {
            scope.spawn(|| {
                while !first_is_done.load(Ordering::Relaxed) {
                    yield_now();
                }
                race();
            });
            // The other thread was started before, so its start orders nothing here.
            race();
            first_is_done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_planted_race_is_found() {
        if std::env::var_os(ROLE).is_some() {
            return race_by_turns();
        }
        let mut racer = Process::this_test(&test_name(), &[(ROLE, "racer")]);
        let status = racer.exited(PATIENCE);
        let said = racer.transcript();
        assert!(!status.success(), "{said}");
        assert!(said.contains("ThreadSanitizer: data race") && said.contains("planted::race"));
    }
}
