//! The order in which a queue and its bell are handled, so that no wake-up is lost.
//!
//! A bell is what a poller sees of a queue: rung while there may be something in it. Between two
//! calls of these functions holds: *if something is queued, the bell is rung*. Each order has a
//! reason, and each other order that comes to mind loses a wake-up, which the tests under
//! `--cfg leasehold_loom` show:
//!
//! * Queue, then ring: a poller that is woken sooner finds nothing, and clears the bell.
//! * Found empty, clear, **look again**: what is queued between the first look and the clearing has
//!   rung in vain.
//! * Found something at the second look: ring again, for there may be more, and whoever takes one
//!   event at a time comes back for it only when woken.
//! * A bell that is hung later rings at once, for whatever was queued before.

use crate::sys::{Ordering, fence};

/// Something that a poller can wait for.
pub(super) trait Bell {
    fn ring(&self);
    fn clear(&self);
}

/// Rings for what was queued before the call.
pub(super) fn announce<'a, B: Bell + 'a>(bell: impl FnOnce() -> Option<&'a B>) {
    // Whoever hangs a bell that is not seen here will see what was queued.
    fence(Ordering::SeqCst);
    if let Some(bell) = bell() {
        bell.ring();
    }
}

/// Hangs a bell for a queue that may hold something.
pub(super) fn hang<'a, B: Bell + 'a>(hang: impl FnOnce() -> &'a B) -> &'a B {
    let bell = hang();
    fence(Ordering::SeqCst);
    bell.ring();
    bell
}

/// Takes what is queued; clears the bell when that is nothing.
pub(super) fn take<T>(pop: impl Fn() -> Option<T>, bell: Option<&impl Bell>) -> Option<T> {
    if let Some(found) = pop() {
        return Some(found);
    }
    let bell = bell?;
    bell.clear();
    fence(Ordering::SeqCst);
    let found = pop()?;
    bell.ring();
    Some(found)
}

/// Where there are no descriptors.
#[cfg(not(unix))]
#[derive(Debug)]
pub(super) enum None {}

#[cfg(not(unix))]
impl Bell for None {
    fn ring(&self) {}
    fn clear(&self) {}
}
