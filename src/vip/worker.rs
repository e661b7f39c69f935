//! The thread that ties a holder to a term.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::clock::{Clock, Timestamp};
use crate::task::Task;

use super::error::VipError;
use super::holder::{Extension, Holder};
use super::report::VipEvent;

/// Until when a node leads; `None` once its term is over.
type Deadline = dyn Fn() -> Option<Timestamp> + Send;

/// No wait is longer than this while something is held: timers of threads stop in suspend.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// How long dropping a worker waits for its thread: a kernel that holds its routing lock for
/// longer than this must not keep the application from ending.
const FAREWELL: Duration = Duration::from_secs(2);

/// Holds virtual IPs for as long as a node leads, on a thread of its own.
///
/// Every method only leaves word and returns at once: the thread `leasehold-vip` does the rest, so
/// a kernel that is slow to answer never delays a renewal. The addresses are on their interfaces
/// while the term's deadline is ahead, and are removed at that deadline whether or not anybody
/// says anything.
///
/// Dropping a worker removes the addresses and waits for the thread, at most 2 s.
pub struct Worker {
    /// Dropped before the task: the thread ends when there is no sender any more.
    orders: Sender<Order>,
    _task: Task,
    /// A look is on its way already: one that is waiting serves for any number of renewals.
    look: Arc<AtomicBool>,
    held: Arc<AtomicBool>,
    events: Receiver<VipEvent>,
    permanent: bool,
}

enum Order {
    Acquire(u64, Box<Deadline>),
    Look,
    Release(Box<dyn Send>),
}

impl Worker {
    /// Starts the thread. It first removes what an earlier holder of these addresses left behind.
    ///
    /// # Errors
    /// [`VipError::System`] when there can be no further thread.
    pub fn start(holder: Holder) -> Result<Self, VipError> {
        let (orders, inbox) = unbounded();
        let (look, held) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (events, clock) = (holder.events(), holder.clock());
        let permanent = holder.is_permanent();
        let keeper = Keeper {
            holder,
            clock,
            inbox,
            look: Arc::clone(&look),
            held: Arc::clone(&held),
            term: None,
            until: None,
            guards: Vec::new(),
        };
        let purpose = "start the thread of the virtual IP";
        let task = Task::spawn("leasehold-vip", FAREWELL, || keeper.run())
            .map_err(|source| VipError::System { purpose, source })?;
        Ok(Self { orders, _task: task, look, held, events, permanent })
    }

    /// A term has begun: acquire the addresses. A term that was held before is over.
    ///
    /// `deadline` says until when the node leads, `None` once the term is over. It is read again at
    /// every step, on the worker's thread, so it must be cheap and must not block.
    pub fn acquire(&self, epoch: u64, deadline: impl Fn() -> Option<Timestamp> + Send + 'static) {
        self.order(Order::Acquire(epoch, Box::new(deadline)));
    }

    /// The term's deadline has moved, or the term is over: look at it again. Costs next to nothing
    /// and may be called from the thread that renews.
    pub fn look(&self) {
        if !self.look.swap(true, Ordering::AcqRel) {
            self.order(Order::Look);
        }
    }

    /// The node steps down: remove the addresses, and drop `guard` when they are gone and not
    /// before. The term's renewals go on meanwhile.
    ///
    /// Should the removal fail it is tried again; `guard` is dropped in any case at the deadline
    /// that the term had last.
    pub fn release(&self, guard: impl Send + 'static) {
        self.order(Order::Release(Box::new(guard)));
    }

    /// Whether every address is held under a live term, as of the worker's last look.
    #[must_use]
    pub fn is_acquired(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Where [`is_acquired`](Self::is_acquired) reads; false once the worker is gone.
    pub(crate) fn held(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.held)
    }

    /// What happens to the addresses; see [`Holder::events`].
    #[must_use]
    pub fn events(&self) -> Receiver<VipEvent> {
        self.events.clone()
    }

    /// Whether the kernel is to have the addresses for good; see
    /// [`Policy::permanent`](super::Policy::permanent).
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }

    fn order(&self, order: Order) {
        // The thread ends only when told to; were it gone, so would be its addresses.
        let _ = self.orders.send(order);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("acquired", &self.is_acquired()).finish_non_exhaustive()
    }
}

/// The state of the worker's thread. Dropped in this order: addresses before guards.
struct Keeper {
    holder: Holder,
    clock: Clock,
    inbox: Receiver<Order>,
    look: Arc<AtomicBool>,
    held: Arc<AtomicBool>,
    term: Option<(u64, Box<Deadline>)>,
    /// What the addresses were held until last; `None` when they are gone for certain.
    until: Option<Timestamp>,
    /// Not empty once the node steps down: dropped when the addresses are gone.
    guards: Vec<Box<dyn Send>>,
}

impl Keeper {
    fn run(mut self) {
        if let Err(error) = self.holder.sweep_stale() {
            log::warn!(error:%; "cannot look for virtual IPs left behind");
        }
        loop {
            let wake_at = self.step();
            self.held.store(self.holder.is_acquired(), Ordering::Release);
            match self.next_order(wake_at) {
                Ok(Order::Acquire(epoch, term)) => self.begin(epoch, term),
                Ok(Order::Look) => self.look.store(false, Ordering::Release),
                Ok(Order::Release(guard)) => self.guards.push(guard),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // Before the guards of a term, which say that the addresses are gone.
        let _ = self.holder.release();
        self.held.store(self.holder.is_acquired(), Ordering::Release);
    }

    fn next_order(&self, wake_at: Option<Timestamp>) -> Result<Order, RecvTimeoutError> {
        match wake_at {
            Some(at) => self.inbox.recv_timeout(at.since(self.clock.now()).min(LONGEST_WAIT)),
            None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// The next term: whatever the one before it left to do is of no use to anybody now.
    fn begin(&mut self, epoch: u64, deadline: Box<Deadline>) {
        let _ = self.holder.release();
        self.guards.clear();
        self.until = None;
        self.term = Some((epoch, deadline));
    }

    /// Brings the addresses in line with the term. Returns when to look again at the latest.
    fn step(&mut self) -> Option<Timestamp> {
        let now = self.clock.now();
        if let Some((epoch, deadline)) = self.lead(now) {
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

    /// The term and its deadline, unless it is over or stepped down from.
    fn lead(&self, now: Timestamp) -> Option<(u64, Timestamp)> {
        let (epoch, deadline) = self.term.as_ref().filter(|_| self.guards.is_empty())?;
        Some((*epoch, deadline().filter(|deadline| now < *deadline)?))
    }

    /// Acquires at the first call of a term, extends at the others. Failures were told as events,
    /// and the next renewal tries again.
    fn extend(&mut self, epoch: u64, deadline: Timestamp) {
        if self.until.replace(deadline).is_none() {
            if let Err(error) = self.holder.acquire(deadline) {
                log::warn!(epoch, error:%; "virtual IP not acquired");
            }
            return;
        }
        match self.holder.extend(deadline) {
            Extension::Refreshed => {}
            Extension::Recreated => log::info!(epoch; "virtual IP put back"),
            Extension::Lost(error) => log::debug!(epoch, error:%; "virtual IP not held"),
        }
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
