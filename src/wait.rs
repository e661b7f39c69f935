//! The waiting that every store's `poll` does.

use std::time::Duration;

use crossbeam_channel::{Receiver, Select, TryRecvError, never};

/// What `poll` knows of its `wake` channel.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// A message was taken, and not yet reported: something that happened before it came first.
    woken: bool,
    /// Nobody can send any more; such a channel is always ready, and would spin.
    deserted: bool,
    nobody: Receiver<()>,
}

impl Default for Waiter {
    fn default() -> Self {
        Self { woken: false, deserted: false, nobody: never() }
    }
}

impl Waiter {
    /// Takes a message from `wake`. To be called *before* looking for events, so that what happened
    /// before the wake-up is told before it.
    pub(crate) fn look(&mut self, wake: &Receiver<()>) {
        match wake.try_recv() {
            Ok(()) => (self.woken, self.deserted) = (true, false),
            Err(TryRecvError::Empty) => self.deserted = false,
            Err(TryRecvError::Disconnected) => self.deserted = true,
        }
    }

    /// Whether there was a message that was not reported yet.
    pub(crate) fn take(&mut self) -> bool {
        std::mem::take(&mut self.woken)
    }

    /// Sleeps until `wake` or one of the channels that `add` names has something, at most so long.
    /// Takes nothing.
    pub(crate) fn sleep<'a>(
        &'a self,
        wake: &'a Receiver<()>,
        at_most: Duration,
        add: impl FnOnce(&mut Select<'a>),
    ) {
        let mut select = Select::new();
        select.recv(if self.deserted { &self.nobody } else { wake });
        add(&mut select);
        // Whatever is ready is found by whoever looks next.
        let _ = select.ready_timeout(at_most);
    }
}
