//! A node in a forked child of the process that started it.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use crate::clock::Clock;
use crate::store::memory::MemoryServer;
use crate::{Config, Event, Hooks, Leadership, Node, Refused, Status, WaitError};

const PATIENCE: Duration = Duration::from_secs(30);

struct NoHooks;

impl Hooks for NoHooks {}

/// Runs `check` in a child and expects true. The child kills itself: it must not run the exit
/// handlers of the parent and of the test harness.
#[allow(unsafe_code)]
fn in_a_child(check: impl FnOnce() -> bool) {
    // SAFETY: the child has this thread only. It takes no lock that another thread may have held:
    // the tests show that. The C library takes care of the lock of the allocator.
    match unsafe { fork() }.expect("a process") {
        ForkResult::Child => {
            if check() {
                let _ = raise(Signal::SIGKILL);
            }
            std::process::abort()
        }
        ForkResult::Parent { child } => {
            let ended = waitpid(child, None).expect("a child");
            assert!(matches!(ended, WaitStatus::Signaled(_, Signal::SIGKILL, _)), "{ended:?}");
        }
    }
}

fn leading(server: &MemoryServer) -> (Node, Leadership) {
    let config = Config::builder("orders", "node", ["127.0.0.1:4222"])
        .lease_ttl(Duration::from_secs(5))
        .renew_interval(Duration::from_millis(100))
        .build()
        .expect("valid");
    let builder = Node::builder(config).store(server.connect(Clock::boot())).hooks(NoHooks);
    let node = builder.start().expect("the store is in memory");
    let token = node.wait_for_leadership(PATIENCE).expect("alone");
    (node, token)
}

fn knows_nothing(status: &Status) -> bool {
    status.leader.is_none() && status.epoch.is_none() && !status.connected
}

fn refuses(node: &Node, token: &Leadership) -> bool {
    let since = Instant::now();
    let refused = [node.step_down(), node.promote(), node.begin_stop()];
    node.set_healthy(false);
    let waited = node.wait_for_leader(PATIENCE).err();
    let neither = [waited, node.wait_for_leadership(PATIENCE).err()];
    let events = node.events();
    let _ = events.receiver();
    let silent =
        events.try_next().is_none() && events.is_closed() && events.iter().next().is_none();
    !node.is_leader()
        && node.leadership().is_none()
        && token.ensure().is_err()
        && token.remaining().is_zero()
        && token.hold().is_none()
        && node.subscribe().is_closed()
        && refused.iter().all(|answer| *answer == Err(Refused::Forked))
        && neither.iter().all(|answer| *answer == Some(WaitError::Forked))
        && silent
        && knows_nothing(&node.status())
        && since.elapsed() < PATIENCE
}

/// The node is busy, so some forks happen while locks are held.
#[test]
fn a_child_neither_leads_nor_hangs_and_its_parent_still_leads() {
    let server = MemoryServer::new();
    let (node, token) = leading(&server);
    for _ in 0..20 {
        in_a_child(|| refuses(&node, &token));
        let _ = node.set_meta(Some(Instant::now().elapsed().subsec_nanos().into()));
    }
    assert!(token.is_valid() && node.is_leader());
    let first = node.events().next_timeout(PATIENCE);
    assert!(first.is_some(), "no child took an event of its parent");
}

#[test]
fn a_child_that_stops_its_node_does_not_stop_the_node_of_its_parent() {
    let server = MemoryServer::new();
    let (node, token) = leading(&server);
    let mut node = Some(node);
    in_a_child(|| {
        let since = Instant::now();
        let stopped = node.take().map(Node::stop);
        stopped.is_some_and(|stopped| stopped.left_to_expire) && since.elapsed() < PATIENCE / 2
    });
    let node = node.expect("the child stopped a copy");
    assert!(token.is_valid());
    let events = node.events();
    assert!(events.try_next().is_some(), "from now on a release waits for this queue");
    node.step_down().expect("it leads");
    let resigned = |event| matches!(event, Some(Event::Resigning { .. }));
    let next = || events.next_timeout(PATIENCE);
    assert!(std::iter::repeat_with(next).take(16).any(resigned), "the parent resigns");
    assert!(!node.stop().left_to_expire);
}

/// Otherwise the parent would lose a wake-up.
#[test]
fn a_child_does_not_clear_the_descriptor_of_its_parent() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let server = MemoryServer::new();
    let (node, _token) = leading(&server);
    let pollable = node.events().pollable().expect("a descriptor");
    in_a_child(|| {
        let events = node.events();
        events.try_next().is_none() && events.next_timeout(Duration::ZERO).is_none()
    });
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::new(&pollable, PollFlags::IN)];
    assert_eq!(poll(&mut fds, Some(&now)).expect("poll"), 1);
}
