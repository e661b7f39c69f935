//! Waits for room in a full channel, from which the application takes by itself.
//!
//! A channel tells its senders that there is room, and nobody else. So a thread waits on it as a
//! sender. It sleeps until an event was taken, whatever the clock of the node reads.

use std::io;
use std::time::Duration;

use crossbeam_channel::{Select, Sender, bounded};

use crate::event::Event;
use crate::task::Task;

/// How long dropping a watch waits for its thread, which ends at once.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// The thread that waits for room, when it is asked to.
#[derive(Debug)]
pub(super) struct RoomWatch {
    /// Dropped first, which ends the thread.
    wanted: Sender<()>,
    _task: Task,
}

impl RoomWatch {
    /// Starts a thread for the channel of `sender`. Each time that it is [asked](Self::ask) to, it
    /// calls `fill` whenever there is room, until that returns false.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub(super) fn start(
        sender: Sender<Event>,
        mut fill: impl FnMut() -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let (wanted, asked) = bounded(1);
        let task = Task::spawn("leasehold-events", END_TIMEOUT, move || {
            for () in &asked {
                let mut select = Select::new();
                select.send(&sender);
                // Ready when the watch was dropped: nobody asks in between.
                let end = select.recv(&asked);
                while select.ready() != end && fill() {}
            }
        })?;
        Ok(Self { wanted, _task: task })
    }

    /// Asks the thread to wait for room. Never blocks.
    pub(super) fn ask(&self) {
        // A full channel has the wish in it already.
        let _ = self.wanted.try_send(());
    }
}
