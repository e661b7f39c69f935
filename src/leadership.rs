//! Whether this node leads, decided by comparing the clock with a deadline.
//!
//! [`Leadership`] is the token of one term. A `TermCell` holds the epoch and the deadline of the
//! current term, and serves all terms of a node in turn. The renewal thread writes it; any number
//! of threads read it. Three rules make the answers consistent:
//!
//! 1. A thread that finds the deadline past marks the term as *ended*. No extension succeeds after
//!    that. So a token that was invalid once is never valid again, however late an acknowledgement
//!    arrives.
//! 2. The epoch changes only while the cell is ended, and a reader reads the deadline before and
//!    after the clock. So when it answers that a term is in force, one term covered that instant.
//! 3. The cell is ended before a release is sent, and before a loss is reported.
//!
//! A forked child finds every cell of its parent ended, because the kernel wipes the cell's memory
//! in the child.

use std::fmt;
#[cfg(all(feature = "capi", unix, not(leasehold_loom)))]
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::clock::{Clock, Timestamp};
use crate::drain::{DrainGuard, WeakDrainGuard};
use crate::fence::Token;
use crate::lease::{Epoch, SessionId};
use crate::sys::{AtomicU64, Line, Ordering};

const ENDED: u64 = 0;

/// The epoch and the deadline of the current term of a node.
#[derive(Default)]
pub(crate) struct TermCell(Line);

impl TermCell {
    #[inline]
    fn deadline(&self) -> &AtomicU64 {
        &self.0[0]
    }

    #[inline]
    fn epoch(&self) -> &AtomicU64 {
        &self.0[1]
    }

    /// Starts a term. The term before it must have ended.
    pub(crate) fn begin(&self, epoch: Epoch, deadline: Timestamp) {
        debug_assert_eq!(self.deadline().load(Ordering::SeqCst), ENDED, "a term is in force");
        self.epoch().store(epoch.as_u64(), Ordering::SeqCst);
        self.deadline().store(deadline.as_nanos(), Ordering::SeqCst);
    }

    /// Moves the deadline to `until`, never back. Returns false when the term has ended. A term
    /// whose deadline is at or before `now` ends by this call.
    #[must_use]
    pub(crate) fn extend(&self, now: Timestamp, until: Timestamp) -> bool {
        let mut deadline = self.deadline().load(Ordering::SeqCst);
        loop {
            if deadline == ENDED {
                return false;
            }
            let past = now.as_nanos() >= deadline;
            let next = if past { ENDED } else { deadline.max(until.as_nanos()) };
            match self.swap(deadline, next) {
                Ok(()) => return !past,
                Err(present) => deadline = present,
            }
        }
    }

    /// Ends the term, if there is one.
    pub(crate) fn end(&self) {
        self.deadline().store(ENDED, Ordering::SeqCst);
    }

    /// Whether the last term was ended. Does not look at the clock.
    #[must_use]
    pub(crate) fn has_ended(&self) -> bool {
        self.deadline().load(Ordering::SeqCst) == ENDED
    }

    /// The epoch and the deadline of the term in force at the instant at which `clock` is read,
    /// which is during this call; `None` in a forked child. It never blocks, and repeats its work
    /// only when a renewal comes in between, at most once per renew interval.
    #[inline]
    #[must_use]
    pub(crate) fn in_force(&self, clock: &Clock) -> Option<(u64, Timestamp)> {
        if self.0.is_inherited() {
            return None;
        }
        let epoch = self.epoch().load(Ordering::SeqCst);
        let before = self.deadline().load(Ordering::SeqCst);
        if before == ENDED {
            return None;
        }
        let now = clock.now();
        let deadline =
            if now.as_nanos() < before { before } else { self.expire(before, now.as_nanos())? };
        let unchanged = self.deadline().load(Ordering::SeqCst) != ENDED
            && self.epoch().load(Ordering::SeqCst) == epoch;
        unchanged.then_some((epoch, Timestamp::from_nanos(deadline)))
    }

    /// Ends a term whose deadline is past, unless it has been extended meanwhile.
    #[cold]
    fn expire(&self, mut deadline: u64, now: u64) -> Option<u64> {
        while now >= deadline {
            match self.swap(deadline, ENDED) {
                Ok(()) | Err(ENDED) => return None,
                Err(extended) => deadline = extended,
            }
        }
        Some(deadline)
    }

    /// The address of the cell, for [`Line::at_address`].
    #[cfg(all(feature = "capi", unix, not(leasehold_loom)))]
    pub(crate) fn address(&self) -> (*mut u64, u32) {
        self.0.address()
    }

    /// The cell in a line of memory. The line is not freed with it.
    #[cfg(all(feature = "capi", unix, not(leasehold_loom)))]
    pub(crate) fn borrowed(line: ManuallyDrop<Line>) -> ManuallyDrop<Self> {
        ManuallyDrop::new(Self(ManuallyDrop::into_inner(line)))
    }

    fn swap(&self, from: u64, to: u64) -> Result<(), u64> {
        self.deadline().compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).map(|_| ())
    }
}

impl fmt::Debug for TermCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TermCell")
            .field("epoch", self.epoch())
            .field("deadline", self.deadline())
            .finish()
    }
}

/// The right to act as leader in one term. It expires by itself and is never renewed once invalid.
///
/// Cheap to clone, and to check from any thread: one read of the clock and a few atomic loads, no
/// lock, no system call beyond the vDSO. Every check is about the instant at which it is made. An
/// effect that must not happen after the term has to be guarded by [`epoch`](Self::epoch) at the
/// place where it happens, see [`fence`](crate::fence).
///
/// ```
/// # use std::time::Duration;
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = Node::builder(config).store(store).start()?;
/// let token = node.wait_for_leadership(Duration::from_secs(5))?;
/// for order in ["a", "b"] {
///     let epoch = token.ensure()?; // before each step of the work
///     println!("ship {order} in epoch {epoch}"); // send the epoch with each write
/// }
/// node.step_down()?;
/// assert!(token.ensure().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Leadership {
    pub(crate) cell: Arc<TermCell>,
    clock: Clock,
    epoch: Epoch,
    session: SessionId,
    drain: WeakDrainGuard,
}

/// The term, and whether it is in force now: `Leadership { epoch: 7, session: …, valid: true }`.
#[allow(
    clippy::missing_fields_in_debug,
    reason = "the others are the same in all tokens of a node"
)]
impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leadership")
            .field("epoch", &format_args!("{}", self.epoch))
            .field("session", &format_args!("{}", self.session))
            .field("valid", &self.is_valid())
            .finish()
    }
}

/// Tokens are equal if they are of the same term.
impl PartialEq for Leadership {
    fn eq(&self, other: &Self) -> bool {
        (self.epoch, self.session) == (other.epoch, other.session)
    }
}

impl Eq for Leadership {}

impl Leadership {
    /// `drain` is that of the term. It exists from before the term begins until the term is
    /// resigned or lost.
    pub(crate) fn new(
        cell: Arc<TermCell>,
        clock: Clock,
        epoch: Epoch,
        session: SessionId,
        drain: WeakDrainGuard,
    ) -> Self {
        Self { cell, clock, epoch, session, drain }
    }

    /// The term's fencing number. Send it along with every effect.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The session that leads. A fencing gate may check it beside the epoch.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The fencing token of the term, for a [gate](crate::fence). It outlives the term: that a gate
    /// refuses it then is its purpose.
    #[must_use]
    pub fn token(&self) -> Token {
        Token::new(self.epoch, self.session)
    }

    /// Whether the term is in force now. Once this is false, it stays false.
    #[inline]
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.deadline().is_some()
    }

    /// Registers work of this term: when the node gives the term up, it releases the lease only
    /// after the guard was dropped. `None` once the term is over: do not begin the work then.
    ///
    /// The guard does not prolong the term. The work still has to ask the token before each step.
    /// Never blocks and takes no lock.
    #[must_use]
    pub fn hold(&self) -> Option<DrainGuard> {
        let guard = self.drain.upgrade()?;
        // Asked after the guard exists. If the term is in force now, it ends later, and its release
        // waits for this guard.
        self.is_valid().then_some(guard)
    }

    /// How long the term lasts if no renewal succeeds; zero once it has ended.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline().map_or(Duration::ZERO, |deadline| deadline.since(self.clock.now()))
    }

    /// When the term ends if no renewal succeeds; `None` once it has ended.
    #[inline]
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        let (epoch, deadline) = self.cell.in_force(&self.clock)?;
        (epoch == self.epoch.as_u64()).then_some(deadline)
    }

    /// The epoch while the term is in force.
    ///
    /// # Errors
    /// [`LeadershipLost`] once the term is over. Stop the work of the term then.
    #[inline]
    pub fn ensure(&self) -> Result<Epoch, LeadershipLost> {
        if self.is_valid() { Ok(self.epoch) } else { Err(LeadershipLost { epoch: self.epoch }) }
    }
}

/// The term is over.
///
/// ```
/// use leasehold::{Leadership, LeadershipLost};
///
/// fn ship(token: &Leadership, orders: &mut Vec<&str>) -> Result<(), LeadershipLost> {
///     while !orders.is_empty() {
///         token.ensure()?; // the rest is for the next leader
///         orders.pop();
///     }
///     Ok(())
/// }
/// # let token = leasehold::testing::Term::begin(7).leadership(); // its term is over
/// let lost = ship(&token, &mut vec!["a", "b"]).unwrap_err();
/// assert_eq!(lost.to_string(), "leadership of epoch 7 is over");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("leadership of epoch {epoch} is over")]
pub struct LeadershipLost {
    /// The epoch of the term.
    pub epoch: Epoch,
}

#[cfg(all(test, leasehold_loom))]
mod explored_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    fn epoch(number: u64) -> Epoch {
        Epoch::new(number).unwrap()
    }

    fn leading(deadline: u64) -> (Arc<TermCell>, Clock, Leadership) {
        let cell = Arc::new(TermCell::default());
        let clock = Clock::manual(at(1));
        cell.begin(epoch(4), at(deadline));
        let session = SessionId::from_bits(1);
        let drain = WeakDrainGuard::default();
        let token = Leadership::new(Arc::clone(&cell), clock.clone(), epoch(4), session, drain);
        (cell, clock, token)
    }

    #[test]
    fn a_token_expires_by_itself() {
        let (_cell, clock, token) = leading(5);
        assert_eq!(token.ensure(), Ok(epoch(4)));
        assert_eq!(token.remaining(), Duration::from_secs(4));
        assert_eq!(token.token(), Token::new(epoch(4), SessionId::from_bits(1)));
        clock.advance(Duration::from_secs(4));
        assert_eq!(token.ensure(), Err(LeadershipLost { epoch: epoch(4) }));
        assert_eq!(token.remaining(), Duration::ZERO);
    }

    #[test]
    fn an_extension_counts_only_before_the_deadline() {
        let (cell, _clock, token) = leading(5);
        assert!(cell.extend(at(4), at(9)));
        assert_eq!(token.deadline(), Some(at(9)));
        assert!(!cell.extend(at(9), at(12)));
        assert!(!cell.extend(at(3), at(12)), "it has ended");
    }

    #[test]
    fn an_extension_never_moves_the_deadline_back() {
        let (cell, _clock, token) = leading(5);
        assert!(cell.extend(at(2), at(3)));
        assert_eq!(token.deadline(), Some(at(5)));
    }

    /// A late acknowledgement must not bring back a term that another thread has found ended.
    #[test]
    fn a_term_found_past_its_deadline_is_never_extended() {
        let (cell, clock, token) = leading(5);
        clock.advance(Duration::from_secs(5));
        assert!(!cell.has_ended());
        assert!(!token.is_valid());
        assert!(cell.has_ended());
        assert!(!cell.extend(at(4), at(9)), "the renewal thread read its clock before");
    }

    #[test]
    fn debug_output_shows_epoch_and_deadline() {
        let (cell, _clock, _token) = leading(5);
        assert_eq!(format!("{cell:?}"), "TermCell { epoch: 4, deadline: 5000000000 }");
    }

    #[test]
    fn debug_output_of_a_token_is_its_term_and_whether_that_is_in_force() {
        let (_cell, clock, token) = leading(5);
        let shown = |valid| {
            let session = "00000000000000000000000000000001";
            format!("Leadership {{ epoch: 4, session: {session}, valid: {valid} }}")
        };
        assert_eq!(format!("{token:?}"), shown(true));
        clock.advance(Duration::from_secs(4));
        assert_eq!(format!("{token:?}"), shown(false));
    }

    #[test]
    fn work_is_registered_while_the_term_is_in_force_and_not_after_it() {
        let (cell, clock, token) = leading(5);
        assert!(token.hold().is_none(), "its term has no drain any more");
        let guard = DrainGuard::new(|| {});
        let token = Leadership { drain: guard.downgrade(), ..token };
        assert!(token.hold().is_some());
        cell.end();
        assert!(token.hold().is_none());
        cell.begin(epoch(6), at(9));
        assert!(token.hold().is_none(), "another term");
        assert!(clock.now() < at(9));
    }

    #[test]
    fn tokens_are_equal_if_they_are_of_the_same_term() {
        let (_, _, token) = leading(5);
        let (_, _, same) = leading(9);
        assert_eq!(token, same);
        assert_ne!(token, Leadership { epoch: epoch(5), ..same.clone() });
        assert_ne!(token, Leadership { session: SessionId::from_bits(2), ..same });
    }

    #[test]
    fn a_token_of_an_earlier_term_stays_invalid_in_a_later_one() {
        let (cell, _clock, token) = leading(5);
        cell.end();
        assert!(!token.is_valid());
        cell.begin(epoch(6), at(9));
        assert!(!token.is_valid());
        assert!(cell.in_force(&Clock::manual(at(2))).is_some());
    }
}
