//! Waits until the nodes have done what is due, and lets time pass for them.

use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use super::{MemoryServer, Shared};
use crate::clock::{Clock, Timestamp};

/// How long nodes may take, in real time: far more than any needs on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

impl MemoryServer {
    /// Waits until every node of this server has done everything that is due at the present time of
    /// its clock. After that, nothing happens until a clock is moved, a fault is injected, or a
    /// node gets a command.
    ///
    /// Takes as long as the nodes do, mostly less than a millisecond. It waits for the threads of
    /// nodes and observers (`leasehold-renew`): events are queued, and
    /// [`is_leader`](crate::NodeHandle::is_leader) is up to date. It does not wait for what your
    /// program does with that: hooks, threads that take events, health checks, virtual IPs. For a
    /// node that stops, wait with
    /// [`wait_until_stopped`](crate::NodeHandle::wait_until_stopped) after it.
    ///
    /// # Panics
    /// After 30 s of real time, with the reason. The usual one is a store that no node was started
    /// with: every [`MemoryStore`](super::MemoryStore) counts until it is closed or dropped.
    ///
    /// # Example
    /// ```
    /// # use std::time::Duration;
    /// # use leasehold::clock::{Clock, Timestamp};
    /// # use leasehold::store::memory::MemoryServer;
    /// # use leasehold::{Config, Node};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (server, clock) = (MemoryServer::new(), Clock::manual(Timestamp::ZERO));
    /// let config = Config::without_servers("orders", "node-1").build()?; // a TTL of 10 s
    /// let store = server.connect(clock.clone());
    /// let node = Node::builder(config).store(store).start()?;
    /// server.settle();
    /// assert!(node.is_leader());
    /// for _ in 0..90 {
    ///     clock.advance(Duration::from_secs(1));
    ///     server.settle(); // it renews
    /// }
    /// assert!(node.is_leader());
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn settle(&self) {
        drop(self.settled(PATIENCE));
    }

    /// Lets `duration` pass on `clock`, step by step: [settles](Self::settle), moves the clock to
    /// the next moment at which a node has something to do, and so on. So leaders keep their
    /// leases, and 90 s take some milliseconds.
    ///
    /// `clock` is a [manual](Clock::manual) or a [shifted](Clock::shifted) clock, the one that the
    /// nodes were started with. Nodes with other clocks are only waited for. One
    /// [`advance`](Clock::advance) beyond the deadline of a lease is different: it is a machine
    /// that was suspended, and its leader has lost the lease when it wakes up.
    ///
    /// # Panics
    /// As [`settle`](Self::settle); and when `clock` is the clock of the machine, which nothing
    /// moves.
    ///
    /// # Example
    /// ```
    /// # use std::time::Duration;
    /// # use leasehold::clock::{Clock, Timestamp};
    /// # use leasehold::store::memory::MemoryServer;
    /// # use leasehold::{Config, Node};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (server, clock) = (MemoryServer::new(), Clock::manual(Timestamp::ZERO));
    /// # let config = Config::without_servers("orders", "node-1").build()?;
    /// # let store = server.connect(clock.clone());
    /// # let node = Node::builder(config).store(store).start()?;
    /// let token = node.wait_for_leadership(Duration::from_secs(5))?;
    /// server.run_for(&clock, Duration::from_secs(90));
    /// assert!(token.is_valid()); // still the same term
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn run_for(&self, clock: &Clock, duration: Duration) {
        assert!(clock.is_movable(), "run_for needs a manual or a shifted clock");
        let end = (clock.now() + duration).min(Timestamp::LATEST);
        loop {
            let next = self.settled(PATIENCE).next_due(clock).unwrap_or(Timestamp::MAX);
            let now = clock.now();
            if now >= end {
                return;
            }
            clock.advance(next.min(end).since(now));
        }
    }

    /// The state of the server at a moment at which every node is idle.
    #[track_caller]
    fn settled(&self, patience: Duration) -> MutexGuard<'_, Shared> {
        let limit = Instant::now() + patience;
        let mut shared = self.lock();
        while shared.busy().is_some() {
            if !self.0.idle.wait_until(&mut shared, limit).timed_out() {
                continue;
            }
            if let Some((index, reason)) = shared.busy() {
                let (number, stores) = (index + 1, shared.nodes.len());
                panic!(
                    "not settled in {patience:?}: store {number} of {stores}, by the order of \
                     `connect`: {reason}"
                );
            }
        }
        shared
    }
}

impl Shared {
    /// The index of the first node that has something to do now, and why it has not done it.
    fn busy(&self) -> Option<(usize, &'static str)> {
        let mut nodes = self.nodes.iter().enumerate();
        nodes.find_map(|(index, node)| Some((index, node.rest()?.err()?)))
    }

    /// When a node whose clock is `clock` has something to do next.
    fn next_due(&self, clock: &Clock) -> Option<Timestamp> {
        let nodes = self.nodes.iter().filter(|node| node.moves_with(clock));
        nodes.filter_map(|node| node.rest()?.ok()).min()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;
    use crate::store::memory::{MemoryLink, MemoryStore};
    use crate::store::{Store, StoreEvent};

    const SHORT: Duration = Duration::from_millis(20);

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn refusal(server: &MemoryServer) -> String {
        let settled = catch_unwind(AssertUnwindSafe(|| drop(server.settled(SHORT))));
        *settled.expect_err("busy").downcast::<String>().expect("a formatted message")
    }

    #[test]
    fn a_server_without_nodes_is_settled() {
        let server = MemoryServer::new();
        let clock = Clock::manual(Timestamp::ZERO);
        server.settle();
        server.run_for(&clock, secs(90));
        assert_eq!(clock.now(), Timestamp::ZERO + secs(90));
        server.run_for(&clock, Duration::MAX);
        server.run_for(&clock, Duration::MAX);
        assert_eq!(clock.now(), Timestamp::LATEST, "it ends when the clock stands still");
        drop(server.connect(clock));
        server.settle();
    }

    #[test]
    fn a_store_that_nothing_polls_is_named() {
        let server = MemoryServer::new();
        let clock = Clock::manual(Timestamp::ZERO);
        let mut first = server.connect(clock.clone());
        let _second = server.connect(clock);
        assert!(refusal(&server).starts_with("not settled in 20ms: store 1 of 2, by the order"));
        first.close(Timestamp::ZERO);
        assert!(refusal(&server).contains("store 2 of 2"), "a closed store does not count");
    }

    #[test]
    fn the_clock_of_the_machine_does_not_run_in_steps() {
        let run = || MemoryServer::new().run_for(&Clock::boot(), secs(1));
        assert!(catch_unwind(run).is_err());
    }

    /// A thread that polls as a node does: each turn takes one event, or sleeps for `period`.
    fn poller(
        mut store: MemoryStore,
        clock: Clock,
        period: Duration,
        mut turn: impl FnMut() + Send + 'static,
    ) {
        let waker = store.waker();
        let on_advance = clock.on_advance(move || waker.wake());
        thread::spawn(move || {
            let _on_advance = on_advance;
            let mut next = Timestamp::ZERO;
            loop {
                match store.poll(next) {
                    Some(StoreEvent::Disconnected { .. }) => return,
                    Some(_) => {}
                    None if clock.now() >= next => {
                        turn();
                        next = clock.now() + period;
                    }
                    None => {}
                }
            }
        });
    }

    /// What is due by a jump is done when `settle` returns, however long it takes; and each moment
    /// at which something is due is visited once.
    #[test]
    fn each_due_moment_is_visited_and_waited_for() {
        let server = MemoryServer::new();
        let clock = Clock::manual(Timestamp::ZERO);
        let turns: [_; 2] = std::array::from_fn(|_| Arc::new(AtomicU64::new(0)));
        let links = [3, 5].map(|period| {
            let store = server.connect(clock.clone());
            let link = store.link();
            let turns = Arc::clone(&turns[usize::from(period == 5)]);
            poller(store, clock.clone(), secs(period), move || {
                thread::sleep(Duration::from_millis(1));
                turns.fetch_add(1, Ordering::SeqCst);
            });
            link
        });
        let counts = || turns.each_ref().map(|turns| turns.load(Ordering::SeqCst));
        server.settle();
        assert_eq!(counts(), [1, 1]);
        clock.advance(secs(3));
        server.settle();
        assert_eq!(counts(), [2, 1]);
        server.run_for(&clock, secs(27));
        assert_eq!((counts(), clock.now()), ([11, 7], Timestamp::ZERO + secs(30)));
        clock.advance(secs(30));
        server.settle();
        assert_eq!(counts(), [12, 8], "one jump is one moment");
        links.iter().for_each(MemoryLink::cut);
    }

    /// Between taking a wake-up and acting on it, a node is not idle.
    #[test]
    fn no_wake_up_is_overlooked() {
        let server = MemoryServer::new();
        let clock = Clock::manual(Timestamp::ZERO);
        let mut store = server.connect(clock.clone());
        let (link, waker) = (store.link(), store.waker());
        let (sender, commands) = channel();
        let done = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&done);
        let thread = thread::spawn(move || {
            loop {
                while commands.try_recv().is_ok() {
                    count.fetch_add(1, Ordering::SeqCst);
                }
                if let Some(StoreEvent::Disconnected { .. }) = store.poll(Timestamp::MAX) {
                    return;
                }
            }
        });
        for command in 1..=2000 {
            sender.send(()).expect("the thread runs");
            waker.wake();
            server.settle();
            assert_eq!(done.load(Ordering::SeqCst), command);
        }
        link.cut();
        thread.join().expect("no panic");
    }
}
