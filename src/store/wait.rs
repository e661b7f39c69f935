//! The waiting that every store's `poll` does.

use std::time::Duration;

use crossbeam_channel::{Receiver, Select, TryRecvError, never};

/// What `poll` knows of its `wake` channel.
#[derive(Debug, Default)]
pub(super) struct Waiter {
    /// A message was taken, and not yet reported: something that happened before it came first.
    woken: bool,
    /// Nobody can send any more; such a channel is always ready, and would spin.
    deserted: bool,
}

impl Waiter {
    /// Takes a message from `wake`. To be called *before* looking for events, so that what happened
    /// before the wake-up is told before it.
    pub(super) fn look(&mut self, wake: &Receiver<()>) {
        match wake.try_recv() {
            Ok(()) => (self.woken, self.deserted) = (true, false),
            Err(TryRecvError::Empty) => self.deserted = false,
            Err(TryRecvError::Disconnected) => self.deserted = true,
        }
    }

    /// Whether there was a message that was not reported yet.
    pub(super) fn take(&mut self) -> bool {
        std::mem::take(&mut self.woken)
    }

    /// Sleeps until `wake` or `events` has something, at most so long. Takes nothing.
    pub(super) fn sleep<T>(&self, wake: &Receiver<()>, events: &Receiver<T>, at_most: Duration) {
        let nobody = never();
        let mut select = Select::new();
        select.recv(if self.deserted { &nobody } else { wake });
        select.recv(events);
        // Whatever is ready is found by whoever looks next.
        let _ = select.ready_timeout(at_most);
    }
}
