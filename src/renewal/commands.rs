//! Commands from handles to the renewal loop.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use crate::election::Input;
use crate::error::Refused;
use crate::event::Event;
use crate::events::{EventSink, Events, queue_of};
use crate::sys::Line;
use crate::wait::Waker;

/// How long a caller waits for the loop, which replies within one turn unless it hangs.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// A command in the queue of the loop.
#[derive(Debug)]
pub(super) enum Queued {
    /// For the election. `reply` gets the result when it was carried out.
    Input { input: Input, reply: Option<Reply> },
    /// Tells the present state to another queue, and all later events.
    Subscribe(EventSink),
    /// An event that is not of the election.
    Tell(Event),
}

pub(super) type Reply = Sender<Result<(), Refused>>;

/// Sends commands to the loop; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Commands {
    queue: Sender<Queued>,
    waker: Waker,
    origin: Arc<Line>,
}

/// The sender, which wakes the loop by `waker`, and the queue.
pub(super) fn commands(waker: Waker) -> (Commands, Receiver<Queued>) {
    let (queue, queued) = unbounded();
    (Commands { queue, waker, origin: Arc::default() }, queued)
}

impl Commands {
    /// Queues a command. Never blocks, and does nothing when the loop has ended.
    pub(crate) fn send(&self, input: Input) {
        self.queue(Queued::Input { input, reply: None });
    }

    /// Another queue of events. When the loop has ended, it is closed.
    pub(crate) fn subscribe(&self, capacity: usize) -> Events {
        let (sink, events) = queue_of(Arc::clone(&self.origin), capacity);
        self.queue(Queued::Subscribe(sink));
        events
    }

    /// Queues an event for all queues of events and the log. Never blocks. False when the loop has
    /// ended.
    pub(crate) fn tell(&self, event: Event) -> bool {
        self.queue(Queued::Tell(event))
    }

    /// Queues a command and waits until it was carried out, for at most 5 s.
    pub(crate) fn call(&self, input: Input) -> Result<(), Refused> {
        self.call_within(REPLY_TIMEOUT, input)
    }

    /// As [`call`](Self::call), for at most `timeout`. After [`Refused::Stuck`] the command is
    /// still queued.
    pub(crate) fn call_within(&self, timeout: Duration, input: Input) -> Result<(), Refused> {
        if self.origin.is_inherited() {
            return Err(Refused::Forked);
        }
        let (reply, result) = bounded(1);
        if !self.queue(Queued::Input { input, reply: Some(reply) }) {
            return Err(Refused::Stopped);
        }
        result.recv_timeout(timeout).unwrap_or_else(|error| match error {
            RecvTimeoutError::Disconnected => Err(Refused::Stopped),
            RecvTimeoutError::Timeout => Err(Refused::Stuck),
        })
    }

    /// False when the loop has ended.
    fn queue(&self, command: Queued) -> bool {
        // A forked child has no loop, and a thread of the parent may hold the channel's lock.
        if self.origin.is_inherited() {
            return false;
        }
        let sent = self.queue.send(command).is_ok();
        self.waker.wake();
        sent
    }
}
