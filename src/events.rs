//! The event queue between the renewal thread and the application.
//!
//! A bounded crossbeam channel with a bounded backlog in front of it. The renewal thread never
//! waits for the application: events that do not fit into the channel stay in the backlog, and when
//! that is full the least important are dropped. See [`backlog`] for the order, and for who moves
//! events on when there is room.
//!
//! Main loops that wait with `poll(2)` get a descriptor beside the channel. [`readiness`] says in
//! which order the two are used.

mod backlog;
#[cfg(unix)]
mod pollable;
mod readiness;
mod room;
mod shared;
mod sink;

#[cfg(unix)]
use std::io;
use std::mem::forget;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

#[cfg(unix)]
pub use self::pollable::Pollable;
pub(crate) use self::sink::EventSink;

use crate::event::Event;
#[cfg(all(feature = "capi", unix))]
use crate::lease::Epoch;
use crate::sys::Line;
use shared::Shared;

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
        let mut backlog = self.shared.backlog.lock();
        // Events in the channel are older.
        let event = self.receiver.try_recv().ok().or_else(|| backlog.take());
        self.shared.fill(&mut backlog);
        event
    }

    /// To be called after an event was taken from the channel itself, which makes room.
    pub(crate) fn fill(&self) {
        self.shared.fill(&mut self.shared.backlog.lock());
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
        if let Some(event) = self.pop() {
            return Some(event);
        }
        match self.receiver.recv_timeout(timeout) {
            Ok(event) => {
                self.fill();
                Some(event)
            }
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
        if self.shared.origin.is_inherited() {
            return true;
        }
        let backlog = self.shared.backlog.lock();
        backlog.is_closed() && backlog.is_empty() && self.receiver.is_empty()
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
    ///
    /// Once events had no room in the channel, a thread (`leasehold-events`) moves them on as soon
    /// as you take one. It sleeps otherwise, and ends with the queue or the node.
    #[must_use]
    pub fn receiver(&self) -> &Receiver<Event> {
        self.attach();
        self.expose();
        &self.receiver
    }

    /// The channel, for a caller that calls [`fill`](Self::fill) after each event that it takes.
    #[cfg(all(feature = "capi", unix))]
    pub(crate) fn channel(&self) -> &Receiver<Event> {
        self.attach();
        &self.receiver
    }

    /// From now on, events may be taken without a call of these methods.
    fn expose(&self) {
        let shared = &self.shared;
        // In a forked child the lock may be held by a thread of the parent.
        if !shared.exposed.load(Ordering::SeqCst) && !shared.origin.is_inherited() {
            let mut backlog = shared.backlog.lock();
            shared.exposed.store(true, Ordering::SeqCst);
            shared.watch(&mut backlog);
        }
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
        let waiting = {
            let mut backlog = self.shared.backlog.lock();
            self.shared.dropped.store(true, Ordering::SeqCst);
            (backlog.watch.take(), backlog.take_all())
        };
        // Without the lock: the thread may need it, and an event may hold the last guard of a term.
        drop(waiting);
        // A clone of the receiver would keep them. No event follows.
        while self.receiver.try_recv().is_ok() {}
    }
}

// No code of the caller runs while the queue is changed.
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
        let received = || events.receiver.recv().inspect(|_| events.fill()).ok();
        events.try_next().or_else(received).or_else(|| events.try_next())
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
    let shared = Arc::new(Shared::new(origin, sender));
    (EventSink::new(Arc::clone(&shared)), Events { receiver, shared })
}

#[cfg(all(test, leasehold_loom))]
mod explored_tests;
#[cfg(test)]
mod tests;
