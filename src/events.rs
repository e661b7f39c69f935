//! The event queue between the renewal thread and the application.
//!
//! A bounded crossbeam channel with a bounded backlog in front of it. The renewal thread never
//! waits: events that do not fit into the channel stay in the backlog, and when that is full the
//! least important are dropped. See [`sink`] for the order.
//!
//! Main loops that wait with `poll(2)` get a descriptor beside the channel. [`readiness`] says in
//! which order the two are used.

#[cfg(unix)]
mod pollable;
mod readiness;
mod sink;

use std::collections::VecDeque;
#[cfg(unix)]
use std::io;
use std::mem::forget;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
#[cfg(unix)]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use parking_lot::Mutex;

#[cfg(unix)]
pub use self::pollable::Pollable;
pub(crate) use self::sink::EventSink;

use crate::drain::DrainGuard;
use crate::event::Event;
use crate::lease::Epoch;
use crate::sys::Line;
use readiness::Readiness;

/// A queue with the events of a node. Any number of threads may take from it; each event goes to
/// one of them.
///
/// A node has one queue of its own, [`Node::events`](crate::Node::events), and one more for each
/// [`subscribe`](crate::NodeHandle::subscribe). Every queue gets every event.
///
/// ```
/// use std::time::Duration;
/// use leasehold::Event;
///
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = Node::builder(config).store(store).start()?;
/// let mut term = None;
/// while term.is_none() {
///     match node.events().next_timeout(Duration::from_millis(50)) {
///         Some(Event::BecameLeader(token)) => term = Some(token),
///         Some(event) => println!("{event}"),
///         None => println!("the other work of the loop"),
///     }
/// }
/// assert_eq!(node.events().missed(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What a release waits for
/// From the first time that events are asked for, the release of a lease waits for the drain guard
/// in the [`Event::Resigning`] of this queue, until that was dropped. A queue that is never asked
/// holds nothing up, and one that is dropped holds nothing up any more.
#[derive(Debug)]
pub struct Events {
    receiver: Receiver<Event>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The application takes events here: a release waits for its drain guards.
    attached: AtomicBool,
    /// The queue was dropped: nobody takes events any more.
    dropped: AtomicBool,
    closed: AtomicBool,
    missed: AtomicU64,
    /// Events that had no room in the channel when the node ended. Filled before `closed` is set.
    rest: Mutex<VecDeque<Event>>,
    drains: Mutex<Drains>,
    #[cfg(unix)]
    pollable: OnceLock<Pollable>,
    /// In a forked child the queue is a dead copy, and its locks may be held.
    origin: Arc<Line>,
}

/// The drain guards in the events of a queue.
#[derive(Debug, Default)]
struct Drains {
    /// No release waits for this queue any more.
    waived: bool,
    /// The newest resignation: its epoch, and the guard that its event holds.
    newest: Option<(Epoch, SharedGuard)>,
}

type SharedGuard = Arc<Mutex<Option<DrainGuard>>>;

impl Shared {
    fn new(origin: Arc<Line>) -> Self {
        Self {
            attached: AtomicBool::new(false),
            dropped: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            missed: AtomicU64::new(0),
            rest: Mutex::default(),
            drains: Mutex::default(),
            #[cfg(unix)]
            pollable: OnceLock::new(),
            origin,
        }
    }

    #[cfg(unix)]
    fn readiness(&self) -> Option<&impl Readiness> {
        self.pollable.get().map(Pollable::readiness)
    }

    #[cfg(not(unix))]
    fn readiness(&self) -> Option<&impl Readiness> {
        None::<&readiness::Unsupported>
    }
}

impl Events {
    /// The next event, if there is one. Never blocks. A forked child gets none.
    #[must_use]
    pub fn try_next(&self) -> Option<Event> {
        if self.shared.origin.is_inherited() {
            return None;
        }
        self.attach();
        readiness::take(|| self.pop(), self.shared.readiness())
    }

    fn pop(&self) -> Option<Event> {
        let queued = || self.receiver.try_recv().ok();
        let rest = || self.shared.rest.lock().pop_front();
        // After the end, events in the channel are older than the rest.
        let left = || self.shared.closed.load(Ordering::SeqCst).then(|| queued().or_else(rest));
        queued().or_else(|| left().flatten())
    }

    /// The next event. Blocks until there is one, for at most `timeout`. After the last event it
    /// blocks that long too, so that a loop around it does not spin: see
    /// [`is_closed`](Self::is_closed).
    #[must_use]
    pub fn next_timeout(&self, timeout: Duration) -> Option<Event> {
        if self.shared.origin.is_inherited() {
            sleep(timeout);
            return None;
        }
        self.attach();
        match self.receiver.recv_timeout(timeout) {
            Ok(event) => Some(event),
            // Clears the descriptor.
            Err(RecvTimeoutError::Timeout) => self.try_next(),
            Err(RecvTimeoutError::Disconnected) => self.try_next().or_else(|| {
                sleep(timeout);
                None
            }),
        }
    }

    /// Whether the node has stopped and every event was taken. Always true in a forked child.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let closed = || self.shared.closed.load(Ordering::SeqCst);
        let empty = || self.receiver.is_empty() && self.shared.rest.lock().is_empty();
        self.shared.origin.is_inherited() || (closed() && empty())
    }

    /// Iterates over all events until the node has stopped. Blocks while there is none.
    #[must_use]
    pub fn iter(&self) -> EventIter<'_> {
        EventIter(self)
    }

    /// A descriptor that is readable while there are events, for main loops of `select`, `poll` or
    /// `epoll`. The first call creates it, later calls return the same. It starts readable, even
    /// when there is no event.
    ///
    /// It may stay readable after the last event was taken from [`receiver`](Self::receiver).
    /// [`try_next`](Self::try_next) corrects that.
    ///
    /// # Errors
    /// The process or the system has no descriptor left. A later call tries again.
    #[cfg(unix)]
    #[allow(clippy::expect_used, reason = "the message names the invariant")]
    pub fn pollable(&self) -> io::Result<Pollable> {
        self.attach();
        let slot = &self.shared.pollable;
        if slot.get().is_none() {
            let new = Pollable::new()?;
            readiness::attach(|| slot.get_or_init(|| new).readiness());
        }
        let pollable = slot.get().expect("invariant: it was made above");
        Ok(pollable.clone())
    }

    /// The channel itself, for `crossbeam_channel::select!`. When it is disconnected, call
    /// [`try_next`](Self::try_next) for the last events: those that had no room in the channel when
    /// the node stopped.
    ///
    /// Take from the receiver, or from a clone of it, only while this `Events` exists. To take
    /// events on a thread that outlives it, [subscribe](crate::NodeHandle::subscribe) there.
    #[must_use]
    pub fn receiver(&self) -> &Receiver<Event> {
        self.attach();
        &self.receiver
    }

    /// How many events were dropped because the queue was full. 0 until the application has asked
    /// for its first event; from then on it includes those dropped before.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed_counter().count()
    }

    pub(crate) fn missed_counter(&self) -> MissedCounter {
        MissedCounter(Arc::clone(&self.shared))
    }

    /// From now on, releases wait for the drain guards of this queue.
    pub(crate) fn attach(&self) {
        if !self.shared.attached.load(Ordering::SeqCst) {
            self.shared.attached.store(true, Ordering::SeqCst);
        }
    }

    /// From now on, no release waits for a drain guard of this queue, whether its event was taken
    /// or not. The events stay.
    #[cfg(all(feature = "capi", unix))]
    pub(crate) fn waive_drains(&self) {
        let newest = {
            let mut drains = self.shared.drains.lock();
            drains.waived = true;
            drains.newest.take()
        };
        drop(newest.and_then(|(_, guard)| guard.lock().take()));
    }

    /// The work of the term has ended, whether its [`Event::Resigning`] was taken or not. Does
    /// nothing for another epoch.
    #[cfg(all(feature = "capi", unix))]
    pub(crate) fn drained(&self, epoch: Epoch) {
        let newest = self.shared.drains.lock().newest.take_if(|(of, _)| *of == epoch);
        drop(newest.and_then(|(_, guard)| guard.lock().take()));
    }

    /// Drops the events in the queue, with their drain guards, and those to come. Guards that were
    /// taken stay.
    pub(crate) fn abandon(&self) {
        self.shared.dropped.store(true, Ordering::SeqCst);
        // A clone of the receiver would keep them.
        while self.receiver.try_recv().is_ok() {}
    }
}

// The queue is changed by the channel only, in one step.
impl UnwindSafe for Events {}
impl RefUnwindSafe for Events {}

impl Drop for Events {
    fn drop(&mut self) {
        if self.shared.origin.is_inherited() {
            // The last receiver takes a lock, which a thread of the parent may hold.
            forget(self.receiver.clone());
        } else {
            self.abandon();
        }
    }
}

/// Reads how many events were dropped. It does not count as an owner of the queue.
#[derive(Clone, Debug)]
pub(crate) struct MissedCounter(Arc<Shared>);

impl MissedCounter {
    pub(crate) fn count(&self) -> u64 {
        let attached = self.0.attached.load(Ordering::SeqCst);
        if attached { self.0.missed.load(Ordering::Relaxed) } else { 0 }
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = Event;
    type IntoIter = EventIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// All events of a node until it has stopped; see [`Events::iter`]. Ends at once in a forked child.
///
/// ```
/// # use std::time::Duration;
/// use leasehold::Event;
///
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = Node::builder(config).store(store).start()?;
/// # node.wait_for_leadership(Duration::from_secs(5))?;
/// node.begin_stop()?; // in a signal handler's thread, for example
/// let lost = node.events().iter().filter(|event| matches!(event, Event::LostLeadership { .. }));
/// assert_eq!(lost.count(), 1); // returns when the node has stopped
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EventIter<'a>(&'a Events);

impl Iterator for EventIter<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let Self(events) = self;
        if events.shared.origin.is_inherited() {
            return None;
        }
        let next = || events.receiver.recv().ok().or_else(|| events.try_next());
        events.try_next().or_else(next)
    }
}

/// A queue whose channel holds `capacity` events.
pub(crate) fn queue(capacity: usize) -> (EventSink, Events) {
    queue_of(Arc::default(), capacity)
}

/// A queue that is dead in the forked children of the process of `origin`, and from its start in
/// such a child. Making it takes no lock that a thread of the parent may hold.
pub(crate) fn queue_of(origin: Arc<Line>, capacity: usize) -> (EventSink, Events) {
    let (sender, receiver) = bounded(capacity);
    let shared = Arc::new(Shared::new(origin));
    let sink = EventSink::new(sender, receiver.clone(), Arc::clone(&shared));
    (sink, Events { receiver, shared })
}

#[cfg(all(test, leasehold_loom))]
mod explored_tests;
#[cfg(test)]
mod tests;
