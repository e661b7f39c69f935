//! The order in which a queue and its readiness are changed, so that no wake-up is lost.
//!
//! Readiness is what a poller sees of a queue: set while there may be events. Between two calls of
//! these functions holds: *if an event is queued, readiness is set*. Each order has a reason. The
//! tests under `--cfg leasehold_loom` show that other orders lose a wake-up:
//!
//! * Queue, then set: a poller that wakes up earlier finds no event and clears readiness.
//! * Found empty, clear, **look again**: an event that was queued between the first look and the
//!   clearing has set readiness in vain.
//! * Found an event at the second look: set again. There may be more, and a poller that takes one
//!   event at a time returns only when it is woken.
//! * Attached later: set at once, for the events that were queued before.

use crate::sys::{Ordering, fence};

/// What a poller waits for.
pub(super) trait Readiness {
    fn set(&self);
    fn clear(&self);
}

/// Sets readiness for an event that was queued before the call.
pub(super) fn announce<'a, R: Readiness + 'a>(readiness: impl FnOnce() -> Option<&'a R>) {
    // If `attach` runs now and is not seen here, its poller will see the event.
    fence(Ordering::SeqCst);
    if let Some(readiness) = readiness() {
        readiness.set();
    }
}

/// Attaches readiness to a queue that may hold events.
pub(super) fn attach<'a, R: Readiness + 'a>(attach: impl FnOnce() -> &'a R) -> &'a R {
    let readiness = attach();
    fence(Ordering::SeqCst);
    readiness.set();
    readiness
}

/// Takes an event. Clears readiness when there is none.
pub(super) fn take<T>(
    pop: impl Fn() -> Option<T>,
    readiness: Option<&impl Readiness>,
) -> Option<T> {
    if let Some(found) = pop() {
        return Some(found);
    }
    let readiness = readiness?;
    readiness.clear();
    fence(Ordering::SeqCst);
    let found = pop()?;
    readiness.set();
    Some(found)
}

/// On systems without descriptors.
#[cfg(not(unix))]
#[derive(Debug)]
pub(super) enum Unsupported {}

#[cfg(not(unix))]
impl Readiness for Unsupported {
    fn set(&self) {}
    fn clear(&self) {}
}
