//! Waits for events, a wake-up, or a moment, as every store's `poll` does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, bounded};

use crate::clock::{Clock, Timestamp};

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

/// The longest single sleep of a `poll`: timers of threads stand still in suspend, and a clock may
/// be moved by hand.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// The wait of a store that gets its events from a channel.
///
/// A [`Store`](crate::store::Store) keeps one of these. Its `waker` returns
/// [`waker`](Self::waker), its `poll` returns [`receive`](Self::receive).
///
/// ```
/// use crossbeam_channel::unbounded;
/// use leasehold::clock::{Clock, Timestamp};
/// use leasehold::store::Waiter;
///
/// let clock = Clock::boot();
/// let (sender, events) = unbounded();
/// let mut waiter = Waiter::default();
///
/// sender.send("stored")?;
/// waiter.waker().wake();
/// // Events from before the wake-up come before it.
/// assert_eq!(waiter.receive(&events, &clock, Timestamp::MAX), Some("stored"));
/// assert_eq!(waiter.receive(&events, &clock, Timestamp::MAX), None);
/// # Ok::<(), crossbeam_channel::SendError<&str>>(())
/// ```
#[derive(Debug)]
pub struct Waiter {
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
    /// Makes [`receive`](Self::receive) return, from any thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Waits for the next event, as [`Store::poll`](crate::store::Store::poll) has to: returns
    /// `None` as soon as the waker was used or `clock` reads `until`, and takes the wake-ups from
    /// before it. A channel without senders delivers what is in it and then nothing.
    pub fn receive<T>(
        &mut self,
        events: &Receiver<T>,
        clock: &Clock,
        until: Timestamp,
    ) -> Option<T> {
        loop {
            self.look();
            let connected = match events.try_recv() {
                Ok(event) => return Some(event),
                Err(error) => error.is_empty(),
            };
            let now = clock.now();
            if self.take() || now >= until {
                return None;
            }
            self.sleep(until.since(now).min(LONGEST_WAIT), |select| {
                if connected {
                    select.recv(events);
                }
            });
        }
    }

    /// The wake-ups that were not taken yet.
    pub(crate) fn wakes(&self) -> Receiver<()> {
        self.wakes.clone()
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

#[cfg(test)]
mod tests {
    use std::thread;

    use crossbeam_channel::unbounded;

    use super::*;

    #[test]
    fn a_wake_up_and_the_bound_end_the_wait_and_events_come_first() {
        let (clock, mut waiter) = (Clock::boot(), Waiter::default());
        let (sender, events) = unbounded();
        let until = clock.now() + Duration::from_millis(20);
        assert_eq!(waiter.receive(&events, &clock, until), None);
        assert!(clock.now() >= until);
        let waker = waiter.waker();
        let thread = thread::spawn(move || {
            sender.send(1).unwrap();
            waker.wake();
            waker.wake();
        });
        assert_eq!(waiter.receive(&events, &clock, Timestamp::MAX), Some(1));
        assert_eq!(waiter.receive(&events, &clock, Timestamp::MAX), None);
        thread.join().unwrap();
    }

    /// Select finds such a channel ready at once.
    #[test]
    fn a_channel_without_senders_is_waited_on_like_an_empty_one() {
        let (clock, mut waiter) = (Clock::boot(), Waiter::default());
        let (sender, events) = unbounded();
        sender.send(1).unwrap();
        drop(sender);
        assert_eq!(waiter.receive(&events, &clock, Timestamp::MAX), Some(1));
        let until = clock.now() + Duration::from_millis(20);
        assert_eq!(waiter.receive(&events, &clock, until), None);
        assert!(clock.now() >= until);
    }
}
