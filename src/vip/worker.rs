//! The thread that runs a holder for the terms of a node.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::clock::{Clock, OnAdvance, Timestamp};
use crate::task::Task;

use super::error::VipError;
use super::holder::{Extension, Holder};
use super::report::{Forward, VipEvent};
use super::state::SharedStates;

/// Until when a node leads; `None` once its term is over.
type Deadline = dyn Fn() -> Option<Timestamp> + Send;

/// The longest wait while an address is held: thread timers stop while the machine sleeps.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// How long dropping a worker waits for its thread. A kernel that holds its routing lock for longer
/// must not keep the application from ending.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Holds virtual IPs while a node leads, on the thread `leasehold-vip`.
///
/// Every method only sends a command to the thread and returns at once, so a slow kernel never
/// delays a renewal. The addresses are on their interfaces until the term's deadline. At the
/// deadline the thread removes them, also without a command.
///
/// Dropping a worker removes the addresses and waits for the thread, at most 2 s.
///
/// ```
/// use std::time::Duration;
/// use leasehold::vip::{VipEvent, Worker};
/// # use leasehold::vip::{Holder, Memory, Policy, VirtualAddress};
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
///
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let addresses = vec![VirtualAddress::new("10.0.0.10".parse()?, "eth0")?];
/// # let host = Memory::new(Clock::boot(), ["eth0"]);
/// # let holder = Holder::with_backend(addresses, Policy::default(), Clock::boot(), host)?;
/// let worker = Worker::start(holder)?;
/// let events = worker.events();
/// let node = Node::builder(config).store(store).vip(worker).start()?;
/// let event = events.recv_timeout(Duration::from_secs(5))?;
/// assert!(matches!(event, VipEvent::Acquired { .. })); // the node leads
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Worker {
    /// Dropped before the task: the thread ends when there is no sender any more.
    commands: Sender<Command>,
    /// Makes the thread look when a test moves the clock. It has a sender too.
    _on_advance: OnAdvance,
    _task: Task,
    /// A command to look is waiting already; one is enough for any number of renewals.
    look: Arc<AtomicBool>,
    states: Arc<SharedStates>,
    events: Receiver<VipEvent>,
    permanent: bool,
}

enum Command {
    Acquire(u64, Box<Deadline>),
    Look,
    Release(Box<dyn Send>),
    Forward(Forward),
}

impl Worker {
    /// Starts the thread. It first removes the addresses that an earlier holder left behind.
    ///
    /// # Errors
    /// [`VipError::System`] when a thread cannot be started.
    pub fn start(holder: Holder) -> Result<Self, VipError> {
        let (commands, inbox) = unbounded();
        let (look, states) = (Arc::<AtomicBool>::default(), Arc::<SharedStates>::default());
        states.publish(false, holder.states());
        let (events, clock) = (holder.events(), holder.clock());
        let permanent = holder.is_permanent();
        let again = (Arc::clone(&look), commands.clone());
        let on_advance = clock.on_advance(move || send_look(&again.0, &again.1));
        let thread = WorkerThread {
            holder,
            clock,
            inbox,
            look: Arc::clone(&look),
            states: Arc::clone(&states),
            term: None,
            until: None,
            guards: Vec::new(),
        };
        let purpose = "start the thread of the virtual IP";
        let task = Task::spawn("leasehold-vip", STOP_TIMEOUT, || thread.run())
            .map_err(|source| VipError::System { purpose, source })?;
        Ok(Self { commands, _on_advance: on_advance, _task: task, look, states, events, permanent })
    }

    /// Acquires the addresses for a term that has begun, and ends the term before it.
    ///
    /// `deadline` returns until when the node leads, `None` once the term has ended. The thread
    /// calls it often, so it must be cheap and must not block.
    pub fn acquire(&self, epoch: u64, deadline: impl Fn() -> Option<Timestamp> + Send + 'static) {
        self.send(Command::Acquire(epoch, Box::new(deadline)));
    }

    /// Makes the thread read the deadline again: the term was renewed or has ended. It takes next
    /// to no time, also on the thread that renews the lease.
    pub fn look(&self) {
        send_look(&self.look, &self.commands);
    }

    /// Removes the addresses, as the node steps down, and then drops `guard`. The lease is renewed
    /// meanwhile.
    ///
    /// A removal that fails is tried again. At the last deadline of the term `guard` is dropped in
    /// any case.
    pub fn release(&self, guard: impl Send + 'static) {
        self.send(Command::Release(Box::new(guard)));
    }

    /// Whether every address is held for a term that lasts, as of the thread's last look.
    #[must_use]
    pub fn is_acquired(&self) -> bool {
        self.states.all_held()
    }

    /// The states of the addresses, which outlive the worker. Then none is held.
    pub(crate) fn states(&self) -> Arc<SharedStates> {
        Arc::clone(&self.states)
    }

    /// Gives `to` all events from now on, on the worker's thread, which logs them only if `to`
    /// returns false.
    pub(crate) fn forward(&self, to: impl Fn(VipEvent) -> bool + Send + 'static) {
        self.send(Command::Forward(Box::new(to)));
    }

    /// The events of the addresses; see [`Holder::events`].
    #[must_use]
    pub fn events(&self) -> Receiver<VipEvent> {
        self.events.clone()
    }

    /// Whether the policy is [permanent](super::Policy::permanent).
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }

    fn send(&self, command: Command) {
        // It fails only after the thread has ended, which removes the addresses.
        let _ = self.commands.send(command);
    }
}

/// Sends a command to look, unless one is waiting already.
fn send_look(look: &AtomicBool, commands: &Sender<Command>) {
    if !look.swap(true, Ordering::AcqRel) {
        let _ = commands.send(Command::Look);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("acquired", &self.is_acquired()).finish_non_exhaustive()
    }
}

/// The state of the worker's thread. Dropped in this order: addresses before guards.
struct WorkerThread {
    holder: Holder,
    clock: Clock,
    inbox: Receiver<Command>,
    look: Arc<AtomicBool>,
    states: Arc<SharedStates>,
    term: Option<(u64, Box<Deadline>)>,
    /// The last deadline for which the addresses were held; `None` when they are surely gone.
    until: Option<Timestamp>,
    /// Filled when the node steps down, and dropped when the addresses are gone.
    guards: Vec<Box<dyn Send>>,
}

impl WorkerThread {
    fn run(mut self) {
        if let Err(error) = self.holder.sweep_stale() {
            log::warn!(error:%; "virtual IPs that were left behind cannot be removed");
        }
        loop {
            let wake_at = self.step();
            self.publish();
            match self.next_command(wake_at) {
                Ok(Command::Acquire(epoch, term)) => self.begin(epoch, term),
                Ok(Command::Look) => self.look.store(false, Ordering::Release),
                Ok(Command::Release(guard)) => self.guards.push(guard),
                Ok(Command::Forward(forward)) => self.holder.forward(forward),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // Before the guards are dropped, which means that the addresses are gone.
        let _ = self.holder.release();
        self.publish();
    }

    fn publish(&self) {
        self.states.publish(self.holder.is_acquired(), self.holder.states());
    }

    fn next_command(&self, wake_at: Option<Timestamp>) -> Result<Command, RecvTimeoutError> {
        match wake_at {
            Some(at) => self.inbox.recv_timeout(at.since(self.clock.now()).min(LONGEST_WAIT)),
            None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Begins a term. Everything that the term before it left to do is obsolete.
    fn begin(&mut self, epoch: u64, deadline: Box<Deadline>) {
        let _ = self.holder.release();
        self.guards.clear();
        self.until = None;
        self.term = Some((epoch, deadline));
    }

    /// Holds or removes the addresses, as the term says. Returns the latest time of the next step.
    fn step(&mut self) -> Option<Timestamp> {
        let now = self.clock.now();
        if let Some((epoch, deadline)) = self.term(now) {
            if self.until != Some(deadline) {
                self.extend(epoch, deadline);
            }
            return self.holder.tick().or(Some(deadline));
        }
        self.term = None;
        let gone = self.holder.release().is_ok();
        if gone || self.until.is_none_or(|until| until <= now) {
            self.until = None;
            self.guards.clear();
        }
        (!gone).then(|| now + LONGEST_WAIT)
    }

    /// The term's epoch and deadline, unless the term has ended or the node steps down.
    fn term(&self, now: Timestamp) -> Option<(u64, Timestamp)> {
        let (epoch, deadline) = self.term.as_ref().filter(|_| self.guards.is_empty())?;
        Some((*epoch, deadline().filter(|deadline| now < *deadline)?))
    }

    /// Acquires the addresses at the first call of a term, and extends them later. Failures are
    /// events, and the next renewal tries again.
    fn extend(&mut self, epoch: u64, deadline: Timestamp) {
        let lost = if self.until.replace(deadline).is_none() {
            self.holder.acquire(deadline).err()
        } else {
            match self.holder.extend(deadline) {
                Extension::Refreshed | Extension::Recreated => None,
                Extension::Lost(error) => Some(error),
            }
        };
        if let Some(error) = lost {
            log::debug!(epoch, error:%; "virtual IPs not held");
        }
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
