//! Waits for events, a wake-up, or a moment, as every store's `poll` does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, bounded};

/// Makes a [`Store::poll`](crate::store::Store::poll) return.
///
/// Cheap to clone, and usable from every thread. A wake-up is kept until a poll takes it; several
/// that come before that count as one.
///
/// ```
/// use leasehold::store::Waker;
///
/// // A store that waits on a channel.
/// let (sender, receiver) = crossbeam_channel::bounded(1);
/// let waker = Waker::new(move || _ = sender.try_send(()));
/// waker.wake();
/// waker.wake();
/// assert_eq!(receiver.len(), 1);
/// ```
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() + Send + Sync>);

impl Waker {
    /// A waker that calls `wake`, which must not block.
    #[must_use]
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }

    /// Wakes the store. Never blocks.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}

/// The wake-ups of a `poll` that waits on channels.
#[derive(Debug)]
pub(crate) struct Waiter {
    waker: Waker,
    wakes: Receiver<()>,
    /// A wake-up was taken and not yet reported, because events came before it.
    woken: bool,
}

impl Default for Waiter {
    fn default() -> Self {
        let (sender, wakes) = bounded(1);
        // A full channel wakes as well. The waker keeps it connected.
        Self { waker: Waker::new(move || _ = sender.try_send(())), wakes, woken: false }
    }
}

impl Waiter {
    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Takes a wake-up. To be called *before* looking for events, so that events from before the
    /// wake-up are reported before it.
    pub(crate) fn look(&mut self) {
        self.woken |= self.wakes.try_recv().is_ok();
    }

    /// Whether there was a wake-up that was not reported yet.
    pub(crate) fn take(&mut self) -> bool {
        std::mem::take(&mut self.woken)
    }

    /// Sleeps until there is a wake-up or one of the channels that `add` adds is ready, for at most
    /// `at_most`. Takes nothing.
    pub(crate) fn sleep<'a>(&'a self, at_most: Duration, add: impl FnOnce(&mut Select<'a>)) {
        let mut select = Select::new();
        select.recv(&self.wakes);
        add(&mut select);
        // The caller looks at all channels next.
        let _ = select.ready_timeout(at_most);
    }
}
