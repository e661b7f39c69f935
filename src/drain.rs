//! Drain guards: the work of a term that its release waits for.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Weak};

/// Delays the release of a lease while work of its term goes on.
///
/// [`Leadership::hold`](crate::Leadership::hold) gives one to work that begins, and
/// [`Event::Resigning`](crate::Event::Resigning) brings one to each listener. Clone it for each
/// piece of work. The lease is released when the last guard of the term is dropped, on any thread,
/// or left to expire after the drain timeout (default 10 s; while the node stops, the stop timeout,
/// default 5 s). Dropping never blocks.
///
/// Meanwhile the node goes on renewing the lease, so no other node leads, although the token is
/// invalid: work that was begun may be finished, with the epoch of its term. If the connection is
/// lost for a TTL in that time, the lease expires all the same; [fencing](crate::fence) protects
/// the data then.
///
/// ```
/// # use std::time::Duration;
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = Node::builder(config).store(store).start()?;
/// let token = node.wait_for_leadership(Duration::from_secs(5))?;
/// let worker = std::thread::spawn(move || {
///     let Some(_guard) = token.hold() else { return }; // the term is over: nothing to do
///     // Work here, and ask `token.ensure()` before each step.
/// });
/// node.stop(); // releases the lease only after the worker has ended
/// # assert!(worker.is_finished() || worker.join().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DrainGuard(Arc<Drain>);

/// A drain guard that delays nothing. It becomes one that does while another one exists.
#[derive(Clone, Default)]
pub(crate) struct WeakDrainGuard(Weak<Drain>);

struct Drain(Option<Box<dyn FnOnce() + Send + Sync>>);

impl DrainGuard {
    /// A guard that calls `drained` when its last clone is dropped.
    pub(crate) fn new(drained: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Drain(Some(Box::new(drained)))))
    }

    pub(crate) fn downgrade(&self) -> WeakDrainGuard {
        WeakDrainGuard(Arc::downgrade(&self.0))
    }
}

impl WeakDrainGuard {
    /// `None` once the last guard was dropped. Takes no lock.
    pub(crate) fn upgrade(&self) -> Option<DrainGuard> {
        self.0.upgrade().map(DrainGuard)
    }
}

// Nothing of a guard is changed before it is dropped, so a panic leaves nothing half-changed.
impl UnwindSafe for DrainGuard {}
impl RefUnwindSafe for DrainGuard {}
impl UnwindSafe for WeakDrainGuard {}
impl RefUnwindSafe for WeakDrainGuard {}

impl fmt::Debug for DrainGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DrainGuard")
    }
}

impl fmt::Debug for WeakDrainGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakDrainGuard")
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        if let Some(drained) = self.0.take() {
            drained();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_last_guard_drains_and_no_later_one_can_be_had() {
        let times = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&times);
        let guard = DrainGuard::new(move || _ = counted.fetch_add(1, Ordering::SeqCst));
        let weak = guard.downgrade();
        let held = weak.upgrade().expect("one exists");
        drop(guard);
        assert_eq!(times.load(Ordering::SeqCst), 0, "another one is left");
        drop(held);
        assert_eq!(times.load(Ordering::SeqCst), 1);
        assert!(weak.upgrade().is_none());
    }
}
