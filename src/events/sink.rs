//! The sending end of an event queue.
//!
//! When the backlog is full, it drops events in this order: connection and leader changes, oldest
//! first; then all events of the oldest term that is over. It never drops one half of a term. The
//! next event that is delivered is [`Event::Missed`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use parking_lot::Mutex;

use super::{Shared, readiness};
use crate::drain::DrainGuard;
use crate::event::Event;
use crate::lease::Epoch;

/// How many events wait behind a full channel before some are dropped.
const BACKLOG: usize = 64;

/// Owned by the renewal thread.
#[derive(Debug)]
pub(crate) struct EventSink {
    sender: Sender<Event>,
    /// For the events that are sent while the queue is being dropped.
    receiver: Receiver<Event>,
    backlog: VecDeque<Event>,
    shared: Arc<Shared>,
}

impl Drop for EventSink {
    fn drop(&mut self) {
        if self.is_wanted() {
            self.flush();
            *self.shared.rest.lock() = std::mem::take(&mut self.backlog);
        }
        self.shared.closed.store(true, Ordering::SeqCst);
        readiness::announce(|| self.shared.readiness());
    }
}

impl EventSink {
    pub(super) fn new(
        sender: Sender<Event>,
        receiver: Receiver<Event>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { sender, receiver, backlog: VecDeque::new(), shared }
    }

    /// Queues an event. A resignation is left out while the application has asked for no events,
    /// and once it takes none any more: the release must not wait for it.
    pub(crate) fn push(&mut self, event: Event) {
        let event = match event {
            Event::Resigning { .. } if !self.is_attached() || !self.is_wanted() => return,
            Event::Resigning { epoch, reason, drain } => {
                Event::Resigning { epoch, reason, drain: self.share(epoch, drain) }
            }
            event => event,
        };
        self.backlog.push_back(event);
        self.flush();
        while self.backlog.len() > BACKLOG && self.evict() {}
    }

    /// A guard that holds `drain` until it is dropped itself, or the queue says that this term is
    /// drained, or that no release waits for it.
    fn share(&self, epoch: Epoch, drain: DrainGuard) -> DrainGuard {
        let mut drains = self.shared.drains.lock();
        if drains.waived {
            return DrainGuard::new(|| {});
        }
        let shared = Arc::new(Mutex::new(Some(drain)));
        drains.newest = Some((epoch, Arc::clone(&shared)));
        // If the lock is held, its holder takes the guard, or this is a forked child and the
        // holder is a thread of the parent.
        DrainGuard::new(move || drop(shared.try_lock().and_then(|mut drain| drain.take())))
    }

    /// Moves events from the backlog into the channel, as many as fit.
    pub(crate) fn flush(&mut self) {
        self.fill();
        // It may have been dropped after it was last asked for, and found its channel empty.
        if !self.is_wanted() {
            self.backlog.clear();
            while self.receiver.try_recv().is_ok() {}
        }
    }

    fn fill(&mut self) {
        while let Some(event) = self.backlog.pop_front() {
            match self.sender.try_send(event) {
                Ok(()) => readiness::announce(|| self.shared.readiness()),
                Err(TrySendError::Full(event)) => return self.backlog.push_front(event),
                Err(TrySendError::Disconnected(_)) => return self.backlog.clear(),
            }
        }
    }

    fn is_attached(&self) -> bool {
        self.shared.attached.load(Ordering::SeqCst)
    }

    /// Whether the queue still exists. Drop the sink otherwise, with the events that wait in it.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.shared.dropped.load(Ordering::SeqCst)
    }

    /// Whether events wait for room in the channel.
    pub(crate) fn is_backed_up(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Drops the least important events. False when none may be dropped.
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
