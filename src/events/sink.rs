//! The sending end of an event queue.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use super::readiness;
use super::shared::Shared;
use crate::drain::DrainGuard;
use crate::event::Event;
use crate::lease::Epoch;

/// Owned by the renewal thread.
#[derive(Debug)]
pub(crate) struct EventSink(pub(super) Arc<Shared>);

impl Drop for EventSink {
    fn drop(&mut self) {
        let Self(shared) = self;
        let watch = {
            let mut backlog = shared.backlog.lock();
            shared.fill(&mut backlog);
            backlog.close()
        };
        drop(watch);
        readiness::announce(|| shared.readiness());
    }
}

impl EventSink {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
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
        let dropped = self.0.push(event);
        // Without the lock: it may hold the last guard of a term.
        drop(dropped);
    }

    /// A guard that holds `drain` until it is dropped itself, or the queue says that this term is
    /// drained, or that no release waits for it.
    fn share(&self, epoch: Epoch, drain: DrainGuard) -> DrainGuard {
        let mut drains = self.0.drains.lock();
        if drains.waived {
            return DrainGuard::new(|| {});
        }
        let shared = Arc::new(Mutex::new(Some(drain)));
        drains.newest = Some((epoch, Arc::clone(&shared)));
        // If the lock is held, its holder takes the guard, or this is a forked child and the
        // holder is a thread of the parent.
        DrainGuard::new(move || drop(shared.try_lock().and_then(|mut drain| drain.take())))
    }

    fn is_attached(&self) -> bool {
        self.0.attached.load(Ordering::SeqCst)
    }

    /// Whether the queue still exists. Drop the sink otherwise.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.0.dropped.load(Ordering::SeqCst)
    }
}
