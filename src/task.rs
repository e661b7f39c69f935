//! Threads of this library: named, with small stacks, and with every signal blocked.

use std::io;
use std::mem::{forget, replace};
use std::thread::{Builder, JoinHandle, current};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, never};

use crate::sys::Line;

/// Enough for TLS and JSON with a wide margin; the default is 2 MiB.
const STACK_BYTES: usize = 512 * 1024;

/// A thread that is joined when this is dropped. Tell the thread to end before that.
#[derive(Debug)]
pub(crate) struct Task {
    /// `None` once it was joined or left behind.
    thread: Option<JoinHandle<()>>,
    /// Disconnected when the work is done.
    ended: Receiver<()>,
    patience: Duration,
    process: Line,
}

impl Task {
    /// Starts `work` on a thread. Dropping the task waits for its end for at most `patience`.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub(crate) fn spawn(
        name: &str,
        patience: Duration,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let (running, ended) = bounded(0);
        let thread = spawn(name, move || {
            let _running: Sender<()> = running;
            work();
        })?;
        Ok(Self { thread: Some(thread), ended, patience, process: Line::default() })
    }

    /// Waits until the work is done, for at most `timeout`, and says whether it is.
    pub(crate) fn has_ended_within(&self, timeout: Duration) -> bool {
        self.ended.recv_timeout(timeout).is_err_and(|error| error.is_disconnected())
    }

    /// Waits for the end of the thread, for at most `timeout`. False when it still runs: it is left
    /// behind.
    pub(crate) fn join(mut self, timeout: Duration) -> bool {
        self.wait(timeout)
    }

    fn wait(&mut self, timeout: Duration) -> bool {
        let Some(thread) = self.thread.take() else { return true };
        if self.process.is_inherited() {
            // A forked child has no such thread, and the thread may hold the channel's lock.
            forget((thread, replace(&mut self.ended, never())));
            return false;
        }
        // The work itself may drop the last handle to its own thread.
        if thread.thread().id() == current().id() {
            return false;
        }
        let ended = self.has_ended_within(timeout);
        if ended {
            // A panic was reported where it happened.
            drop(thread.join());
        }
        ended
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.wait(self.patience);
    }
}

/// Starts a thread that is never joined. Every signal is blocked on it, and on the threads that it
/// starts: the handlers of the program expect to run on the program's own threads.
///
/// # Errors
/// The system gives no more threads.
pub(crate) fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(move || {
        block_signals();
        work();
    })
}

#[cfg(all(unix, not(leasehold_portable)))]
fn block_signals() {
    // Fails for an invalid set of signals only.
    let _ = nix::sys::signal::SigSet::all().thread_block();
}

#[cfg(not(all(unix, not(leasehold_portable))))]
fn block_signals() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_ends_is_joined_and_one_that_does_not_is_left_behind() {
        let (stop, stopped) = bounded::<()>(0);
        let start = || {
            let stopped = stopped.clone();
            Task::spawn("task", Duration::ZERO, move || stopped.iter().for_each(drop)).unwrap()
        };
        let (first, second) = (start(), start());
        assert!(!second.has_ended_within(Duration::from_millis(1)));
        assert!(!first.join(Duration::from_millis(1)));
        drop(stop);
        assert!(second.has_ended_within(Duration::from_secs(30)));
        assert!(second.join(Duration::from_secs(30)));
    }

    #[test]
    fn a_task_that_panics_has_ended() {
        let task = Task::spawn("task", Duration::ZERO, || panic!("a test of panics")).unwrap();
        assert!(task.join(Duration::from_secs(30)));
    }
}
