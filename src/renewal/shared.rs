//! The state of the renewal loop that handles read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::LONGEST_WAIT_HOLDING;
use crate::clock::{Clock, Timestamp};
use crate::drain::WeakDrainGuard;
use crate::election::{Counters, Election};
use crate::error::StoreError;
use crate::lease::Epoch;
use crate::store::Incarnation;
use crate::sys::Line;

/// The state of a node, as its loop published it last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) leader: Option<(String, Epoch)>,
    /// When this node learned of the leader.
    pub(crate) leader_since: Timestamp,
    pub(crate) leader_meta: Option<serde_json::Value>,
    pub(crate) problem: Option<StoreError>,
    /// The store's.
    pub(crate) warnings: Vec<String>,
    /// That another node is in another bucket.
    pub(crate) mismatch: Option<String>,
    pub(crate) bucket: Option<Incarnation>,
    pub(crate) figures: Figures,
    /// Set when the loop has ended.
    pub(crate) stopped: Option<Stopped>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) highest_epoch: Option<Epoch>,
    pub(crate) held_until: Option<Timestamp>,
    pub(crate) revision: u64,
    pub(crate) connected: bool,
    pub(crate) resigning: bool,
    pub(crate) counters: Counters,
}

/// How a node stopped.
///
/// ```
/// # use std::time::Duration;
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = Node::builder(config).store(store).start()?;
/// let token = node.wait_for_leadership(Duration::from_secs(5))?;
/// let guard = token.hold(); // work that does not end
/// let stopped = node.stop_within(Duration::from_millis(100));
/// assert!(stopped.left_to_expire);
/// # drop(guard);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// The lease could not be released: other nodes wait until it expires.
    pub left_to_expire: bool,
}

impl Snapshot {
    /// The node id of the leader.
    pub(crate) fn leader_id(&self) -> Option<String> {
        self.leader.as_ref().map(|(leader, _)| leader.clone())
    }

    /// Takes over the state of `election`. True when that changed something.
    fn update(&mut self, now: Timestamp, election: &Election) -> bool {
        let figures = Figures {
            highest_epoch: election.highest_epoch(),
            held_until: election.held_until(),
            revision: election.revision(),
            connected: election.is_connected(),
            resigning: election.is_resigning(),
            counters: *election.counters(),
        };
        let changed = std::mem::replace(&mut self.figures, figures) != figures;
        let leader_changed = replace(&mut self.leader, election.reported_leader());
        if leader_changed {
            self.leader_since = now;
        }
        let meta_changed = replace(&mut self.leader_meta, election.leader_meta());
        let problem_changed = replace(&mut self.problem, election.problem());
        let bucket_changed = replace(&mut self.bucket, election.bucket());
        changed || leader_changed || meta_changed || problem_changed || bucket_changed
    }
}

/// Clones `new` only when it differs.
fn replace<T: Clone + PartialEq>(old: &mut Option<T>, new: Option<&T>) -> bool {
    let changed = old.as_ref() != new;
    if changed {
        *old = new.cloned();
    }
    changed
}

/// Written by the loop, read by any number of handles.
#[derive(Debug, Default)]
pub(crate) struct SharedState {
    snapshot: Mutex<Snapshot>,
    changed: Condvar,
    /// That of the present term, or of the next one.
    drain: Mutex<WeakDrainGuard>,
    pub(crate) heartbeat: Heartbeat,
    origin: Line,
}

impl SharedState {
    /// Calls `read` with the newest snapshot. A forked child gets an empty one, without a lock:
    /// a thread of the parent may have held it at the fork.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Snapshot) -> T) -> T {
        if self.is_inherited() {
            let stopped = Some(Stopped { left_to_expire: true });
            return read(&Snapshot { stopped, ..Snapshot::default() });
        }
        read(&self.snapshot.lock())
    }

    /// Whether this process is a forked child of the one that started the node.
    pub(crate) fn is_inherited(&self) -> bool {
        self.origin.is_inherited()
    }

    /// The drain of the present term, or of the next one. Not to be called in a forked child.
    pub(crate) fn drain(&self) -> WeakDrainGuard {
        self.drain.lock().clone()
    }

    pub(super) fn set_drain(&self, drain: WeakDrainGuard) {
        *self.drain.lock() = drain;
    }

    /// Waits until `find` finds something, for at most `timeout`. That is real time, also when the
    /// node has a clock that nothing moves.
    pub(crate) fn wait<T>(
        &self,
        timeout: Duration,
        mut find: impl FnMut(&Snapshot) -> Option<T>,
    ) -> Option<T> {
        let clock = Clock::boot();
        let until = clock.now() + timeout;
        let mut snapshot = self.snapshot.lock();
        loop {
            if let Some(found) = find(&snapshot) {
                return Some(found);
            }
            let left = until.since(clock.now());
            if left.is_zero() {
                return None;
            }
            // In slices: the timer stands still in suspend.
            self.changed.wait_for(&mut snapshot, left.min(LONGEST_WAIT_HOLDING));
        }
    }

    /// Shows the state of `election` to the handles, if it has changed.
    pub(super) fn publish(&self, now: Timestamp, election: &Election) {
        if self.snapshot.lock().update(now, election) {
            self.changed.notify_all();
        }
    }

    pub(super) fn set_warnings(&self, warnings: Vec<String>) {
        self.snapshot.lock().warnings = warnings;
    }

    /// Sets what is known of another node in another bucket.
    pub(crate) fn set_mismatch(&self, mismatch: Option<String>) {
        if !self.is_inherited() {
            self.snapshot.lock().mismatch = mismatch;
        }
    }

    pub(super) fn set_stopped(&self, stopped: Stopped) {
        self.snapshot.lock().stopped = Some(stopped);
        self.changed.notify_all();
    }
}

/// When the loop last turned and when it is due to turn again, on its clock. A store or a logger
/// that hangs delays both.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    last: AtomicU64,
    due: AtomicU64,
}

impl Heartbeat {
    pub(super) fn set_last(&self, at: Timestamp) {
        self.last.store(at.as_nanos(), Ordering::Relaxed);
    }

    pub(super) fn set_due(&self, at: Timestamp) {
        self.due.store(at.as_nanos(), Ordering::Relaxed);
    }

    pub(crate) fn last(&self) -> Timestamp {
        Timestamp::from_nanos(self.last.load(Ordering::Relaxed))
    }

    pub(crate) fn due(&self) -> Timestamp {
        Timestamp::from_nanos(self.due.load(Ordering::Relaxed))
    }
}
