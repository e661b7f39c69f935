//! Waits for events, a wake-up, or a moment, as every store's `poll` does.

use std::time::Duration;

use crossbeam_channel::{Receiver, Select, TryRecvError, never};

/// The state of a `poll` with its `wake` channel.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// A message was taken and not yet reported, because events came before it.
    woken: bool,
    /// All senders are gone. Such a channel is always ready, so waiting on it would spin.
    disconnected: bool,
    never: Receiver<()>,
}

impl Default for Waiter {
    fn default() -> Self {
        Self { woken: false, disconnected: false, never: never() }
    }
}

impl Waiter {
    /// Takes a message from `wake`. To be called *before* looking for events, so that events from
    /// before the wake-up are reported before it.
    pub(crate) fn look(&mut self, wake: &Receiver<()>) {
        match wake.try_recv() {
            Ok(()) => (self.woken, self.disconnected) = (true, false),
            Err(TryRecvError::Empty) => self.disconnected = false,
            Err(TryRecvError::Disconnected) => self.disconnected = true,
        }
    }

    /// Whether there was a message that was not reported yet.
    pub(crate) fn take(&mut self) -> bool {
        std::mem::take(&mut self.woken)
    }

    /// Sleeps until `wake` or one of the channels that `add` adds is ready, for at most `at_most`.
    /// Takes no message.
    pub(crate) fn sleep<'a>(
        &'a self,
        wake: &'a Receiver<()>,
        at_most: Duration,
        add: impl FnOnce(&mut Select<'a>),
    ) {
        let mut select = Select::new();
        select.recv(if self.disconnected { &self.never } else { wake });
        add(&mut select);
        // The caller looks at all channels next.
        let _ = select.ready_timeout(at_most);
    }
}
