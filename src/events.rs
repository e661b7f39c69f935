//! The event queue between the renewal thread and the application.
//!
//! A crossbeam channel with a bounded backlog before it. The renewal thread never waits: what does
//! not fit into the channel stays in the backlog, and what does not fit there is dropped by rank —
//! connection and leader changes first, oldest first, then whole terms, never one half of one. The
//! next event delivered after a drop is [`Event::Missed`].
//!
//! Who waits with `poll(2)` gets a descriptor beside the channel; [`bell`] has the order in which
//! the two are handled.

mod bell;
#[cfg(unix)]
mod pollable;

use std::collections::VecDeque;
#[cfg(unix)]
use std::io;
use std::sync::Arc;
#[cfg(unix)]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use parking_lot::Mutex;

#[cfg(unix)]
pub use self::pollable::Pollable;

use crate::event::{DrainGuard, Event};
use crate::lease::Epoch;
use crate::sys::Line;
use bell::Bell;

/// How many events wait behind a full channel before some are dropped.
const BACKLOG: usize = 64;

/// The events of a node, for any number of threads; each event goes to one of them.
///
/// A clone is a promise, one of its [`receiver`](Self::receiver) too:
/// [`Node::stop`](crate::Node::stop) waits for the drain guards that a clone's owner has yet to
/// take out of the queue.
#[derive(Clone, Debug)]
pub struct Events {
    receiver: Receiver<Event>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Somebody wants to hear, and to be waited for.
    attached: AtomicBool,
    closed: AtomicBool,
    missed: AtomicU64,
    /// What had no room in the channel when the node ended. Filled before `closed` is set.
    rest: Mutex<VecDeque<Event>>,
    promise: Mutex<Promise>,
    #[cfg(unix)]
    pollable: OnceLock<Pollable>,
    /// In a forked child the queue is a copy that nobody fills, and its locks may be held.
    home: Line,
}

/// That the work of a term which is given back will be finished.
#[derive(Debug, Default)]
struct Promise {
    /// Taken back: nobody is waited for here any more.
    withdrawn: bool,
    /// What holds up the newest term that is given back, and its epoch.
    held: Option<(Epoch, Held)>,
}

type Held = Arc<Mutex<Option<DrainGuard>>>;

impl Shared {
    #[cfg(unix)]
    fn bell(&self) -> Option<&impl Bell> {
        self.pollable.get()
    }

    #[cfg(not(unix))]
    fn bell(&self) -> Option<&impl Bell> {
        None::<&bell::None>
    }
}

impl Events {
    /// The next event if there is one. Never blocks; takes nothing in a forked child.
    #[must_use]
    pub fn try_next(&self) -> Option<Event> {
        if self.shared.home.is_inherited() {
            return None;
        }
        bell::take(|| self.pop(), self.shared.bell())
    }

    fn pop(&self) -> Option<Event> {
        let queued = || self.receiver.try_recv().ok();
        let rest = || self.shared.rest.lock().pop_front();
        // Once it is closed, what is left in the channel came before the rest.
        let left = || self.shared.closed.load(Ordering::SeqCst).then(|| queued().or_else(rest));
        queued().or_else(|| left().flatten())
    }

    /// The next event, waited for at most so long. It takes that long too when there will be no
    /// more, so that a loop around it does not spin; see [`is_closed`](Self::is_closed).
    #[must_use]
    pub fn next_timeout(&self, timeout: Duration) -> Option<Event> {
        if self.shared.home.is_inherited() {
            sleep(timeout);
            return None;
        }
        match self.receiver.recv_timeout(timeout) {
            Ok(event) => Some(event),
            // A look that clears the descriptor.
            Err(RecvTimeoutError::Timeout) => self.try_next(),
            Err(RecvTimeoutError::Disconnected) => self.try_next().or_else(|| {
                sleep(timeout);
                None
            }),
        }
    }

    /// Whether the node has stopped and every event was taken; always in a forked child.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let closed = || self.shared.closed.load(Ordering::SeqCst);
        let empty = || self.receiver.is_empty() && self.shared.rest.lock().is_empty();
        self.shared.home.is_inherited() || (closed() && empty())
    }

    /// Every event until the node has stopped; blocks between them.
    #[must_use]
    pub fn iter(&self) -> EventIter<'_> {
        EventIter(self)
    }

    /// A descriptor that is readable while there are events, for main loops of `select`, `poll` or
    /// `epoll`. Made by the first call; all later ones give the same. It is readable at first, once
    /// without an event perhaps.
    ///
    /// Taking events from [`receiver`](Self::receiver) may leave it readable after the last one;
    /// [`try_next`](Self::try_next) puts that right.
    ///
    /// # Errors
    /// The process or the system has no descriptor left. Nothing is changed, and a later call tries
    /// again.
    #[cfg(unix)]
    pub fn pollable(&self) -> io::Result<Pollable> {
        let slot = &self.shared.pollable;
        if slot.get().is_none() {
            let new = Pollable::new()?;
            bell::hang(|| slot.get_or_init(|| new));
        }
        let pollable = slot.get().expect("invariant: it was made above");
        Ok(pollable.clone())
    }

    /// The channel itself, for `crossbeam_channel::select!`. What had no room in it when the node
    /// ended is to be had by [`try_next`](Self::try_next) only.
    #[must_use]
    pub fn receiver(&self) -> &Receiver<Event> {
        &self.receiver
    }

    /// How many events were dropped because nobody took them in time. None while nobody has asked
    /// for any; whoever asks late is told of those before, too.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed_counter().count()
    }

    pub(crate) fn missed_counter(&self) -> Missed {
        Missed(Arc::clone(&self.shared))
    }

    pub(crate) fn attach(&self) {
        self.shared.attached.store(true, Ordering::SeqCst);
    }

    /// Nobody is waited for here any more: neither for guards in the queue nor for those that were
    /// taken out of it. What is queued stays.
    #[cfg(all(feature = "capi", unix))]
    pub(crate) fn withdraw(&self) {
        let held = {
            let mut promise = self.shared.promise.lock();
            promise.withdrawn = true;
            promise.held.take()
        };
        drop(held.and_then(|(_, held)| held.lock().take()));
    }

    /// The work of a term that is given back has stopped, whether its event was taken out or not.
    /// Does nothing for another epoch.
    #[cfg(all(feature = "capi", unix))]
    pub(crate) fn drained(&self, epoch: Epoch) {
        let held = self.shared.promise.lock().held.take_if(|(of, _)| *of == epoch);
        drop(held.and_then(|(_, held)| held.lock().take()));
    }

    /// A queue in which nothing will ever be. The last handle to a queue takes along what is in it,
    /// and what its sink would still put there.
    pub(crate) fn nobodys() -> Self {
        queue(1).1
    }
}

/// How many events were dropped; no promise to take any.
#[derive(Clone, Debug)]
pub(crate) struct Missed(Arc<Shared>);

impl Missed {
    pub(crate) fn count(&self) -> u64 {
        let asked = self.0.attached.load(Ordering::SeqCst);
        if asked { self.0.missed.load(Ordering::Relaxed) } else { 0 }
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = Event;
    type IntoIter = EventIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Every event of a node until it has stopped; blocks between them. Ends at once in a forked child.
#[derive(Debug)]
pub struct EventIter<'a>(&'a Events);

impl Iterator for EventIter<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let Self(events) = self;
        if events.shared.home.is_inherited() {
            return None;
        }
        let next = || events.receiver.recv().ok().or_else(|| events.try_next());
        events.try_next().or_else(next)
    }
}

/// The sending end; owned by the renewal thread.
#[derive(Debug)]
pub(crate) struct EventSink {
    sender: Sender<Event>,
    backlog: VecDeque<Event>,
    shared: Arc<Shared>,
}

/// A queue whose channel holds `capacity` events.
pub(crate) fn queue(capacity: usize) -> (EventSink, Events) {
    let (sender, receiver) = bounded(capacity);
    let shared = Arc::<Shared>::default();
    let sink = EventSink { sender, backlog: VecDeque::new(), shared: Arc::clone(&shared) };
    (sink, Events { receiver, shared })
}

impl Drop for EventSink {
    fn drop(&mut self) {
        self.flush();
        *self.shared.rest.lock() = std::mem::take(&mut self.backlog);
        self.shared.closed.store(true, Ordering::SeqCst);
        bell::announce(|| self.shared.bell());
    }
}

impl EventSink {
    /// Whether a drain should wait for whoever takes events here.
    pub(crate) fn is_attached(&self) -> bool {
        self.shared.attached.load(Ordering::SeqCst)
    }

    /// The guard for an event of this queue: it holds up `drain` until it is dropped, or whoever
    /// has the queue says that the work of `epoch` has stopped, or that nobody is waited for.
    pub(crate) fn hold(&self, epoch: Epoch, drain: DrainGuard) -> DrainGuard {
        let mut promise = self.shared.promise.lock();
        if promise.withdrawn {
            return DrainGuard::new(|| {});
        }
        let held = Arc::new(Mutex::new(Some(drain)));
        promise.held = Some((epoch, Arc::clone(&held)));
        // Nobody else has the lock for another purpose than to take the guard; in a forked child
        // it may be had by a thread that is not there.
        DrainGuard::new(move || drop(held.try_lock().and_then(|mut held| held.take())))
    }

    pub(crate) fn push(&mut self, event: Event) {
        self.backlog.push_back(event);
        self.flush();
        while self.backlog.len() > BACKLOG && self.evict() {}
    }

    /// Moves what fits from the backlog into the channel.
    pub(crate) fn flush(&mut self) {
        while let Some(event) = self.backlog.pop_front() {
            match self.sender.try_send(event) {
                Ok(()) => bell::announce(|| self.shared.bell()),
                Err(TrySendError::Full(event)) => return self.backlog.push_front(event),
                Err(TrySendError::Disconnected(_)) => return self.backlog.clear(),
            }
        }
    }

    /// Whether something waits for room in the channel.
    pub(crate) fn is_backed_up(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Drops the oldest of what matters least. False when nothing may be dropped.
    fn evict(&mut self) -> bool {
        let passing = self.backlog.iter().position(|event| rank(event) == Rank::Passing);
        let dropped = if let Some(index) = passing {
            self.backlog.remove(index);
            1
        } else {
            self.evict_term()
        };
        self.count(dropped);
        dropped > 0
    }

    /// Drops all events of the oldest term that is whole in the backlog.
    fn evict_term(&mut self) -> u64 {
        let begun = |epoch| {
            self.backlog.iter().any(|event| {
                matches!(event, Event::BecameLeader(leadership) if leadership.epoch() == epoch)
            })
        };
        let whole = self.backlog.iter().find_map(|event| match event {
            Event::LostLeadership { epoch, .. } if begun(*epoch) => Some(*epoch),
            _ => None,
        });
        let Some(term) = whole else { return 0 };
        let before = self.backlog.len();
        self.backlog.retain(|event| rank(event) != Rank::Term(term));
        (before - self.backlog.len()) as u64
    }

    fn count(&mut self, dropped: u64) {
        if dropped == 0 {
            return;
        }
        self.shared.missed.fetch_add(dropped, Ordering::Relaxed);
        match self.backlog.front_mut() {
            Some(Event::Missed { count }) => *count += dropped,
            _ => self.backlog.push_front(Event::Missed { count: dropped }),
        }
    }
}

#[derive(PartialEq, Eq)]
enum Rank {
    Passing,
    Term(Epoch),
    Kept,
}

fn rank(event: &Event) -> Rank {
    match event {
        Event::BecameLeader(leadership) => Rank::Term(leadership.epoch()),
        Event::Resigning { epoch, .. } | Event::LostLeadership { epoch, .. } => Rank::Term(*epoch),
        Event::Missed { .. } => Rank::Kept,
        _ => Rank::Passing,
    }
}

#[cfg(all(test, leasehold_loom))]
mod explored_tests;
#[cfg(test)]
mod tests;
