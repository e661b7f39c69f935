//! What the two ends of a queue share.

use std::sync::Arc;
#[cfg(unix)]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_channel::Sender;
use parking_lot::Mutex;

use super::backlog::Backlog;
#[cfg(unix)]
use super::pollable::Pollable;
use super::readiness::{self, Readiness};
use super::room::RoomWatch;
use crate::drain::DrainGuard;
use crate::event::Event;
use crate::lease::Epoch;
use crate::sys::Line;

#[derive(Debug)]
pub(super) struct Shared {
    /// The application takes events here: a release waits for its drain guards.
    pub(super) attached: AtomicBool,
    /// The application has the receiver: it may take events without a call of this module. Set
    /// under the lock of the backlog.
    pub(super) exposed: AtomicBool,
    /// The queue was dropped: nobody takes events any more. Set under the lock of the backlog.
    pub(super) dropped: AtomicBool,
    pub(super) missed: AtomicU64,
    /// Held for moments only, by the renewal thread and by threads that take events.
    pub(super) backlog: Mutex<Backlog>,
    pub(super) drains: Mutex<Drains>,
    #[cfg(unix)]
    pub(super) pollable: OnceLock<Pollable>,
    /// In a forked child the queue is a dead copy, and its locks may be held.
    pub(super) origin: Arc<Line>,
}

/// The drain guards in the events of a queue.
#[derive(Debug, Default)]
pub(super) struct Drains {
    /// No release waits for this queue any more.
    pub(super) waived: bool,
    /// The newest resignation: its epoch, and the guard that its event holds.
    pub(super) newest: Option<(Epoch, SharedGuard)>,
}

pub(super) type SharedGuard = Arc<Mutex<Option<DrainGuard>>>;

impl Shared {
    pub(super) fn new(origin: Arc<Line>, sender: Sender<Event>) -> Self {
        Self {
            attached: AtomicBool::new(false),
            exposed: AtomicBool::new(false),
            dropped: AtomicBool::new(false),
            missed: AtomicU64::new(0),
            backlog: Mutex::new(Backlog::new(sender)),
            drains: Mutex::default(),
            #[cfg(unix)]
            pollable: OnceLock::new(),
            origin,
        }
    }

    /// Queues an event. Returns what was dropped for it, which the caller drops without the lock.
    pub(super) fn push(self: &Arc<Self>, event: Event) -> Vec<Event> {
        let mut backlog = self.backlog.lock();
        if self.dropped.load(Ordering::SeqCst) {
            return vec![event];
        }
        backlog.add(event);
        self.fill(&mut backlog);
        let evicted = backlog.evict();
        self.missed.fetch_add(evicted.len() as u64, Ordering::Relaxed);
        self.watch(&mut backlog);
        evicted
    }

    /// Moves events into the channel, as many as fit.
    pub(super) fn fill(&self, backlog: &mut Backlog) {
        backlog.fill(|| readiness::announce(|| self.readiness()));
    }

    /// Has a thread wait for room, if events wait for it and the application may make it unnoticed.
    pub(super) fn watch(self: &Arc<Self>, backlog: &mut Backlog) {
        let needed = self.exposed.load(Ordering::SeqCst) && !backlog.is_watched;
        let Some(sender) = backlog.waits_for().filter(|_| needed).cloned() else { return };
        if backlog.watch.is_none() {
            let shared = Arc::clone(self);
            // Without a thread, the next event tries again.
            backlog.watch = RoomWatch::start(sender, move || shared.fill_watched()).ok();
        }
        backlog.is_watched = backlog.watch.as_ref().map(RoomWatch::ask).is_some();
    }

    /// Called by the thread that waits for room. False when it need not wait any more.
    fn fill_watched(&self) -> bool {
        let mut backlog = self.backlog.lock();
        self.fill(&mut backlog);
        backlog.is_watched = backlog.waits_for().is_some();
        backlog.is_watched
    }

    #[cfg(unix)]
    pub(super) fn readiness(&self) -> Option<&impl Readiness> {
        self.pollable.get().map(Pollable::readiness)
    }

    #[cfg(not(unix))]
    pub(super) fn readiness(&self) -> Option<&impl Readiness> {
        None::<&readiness::Unsupported>
    }
}
