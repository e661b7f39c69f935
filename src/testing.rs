//! A term without a node, for tests of a program's own event handler.
//!
//! ```
//! use leasehold::testing::Term;
//! use leasehold::{Cause, Event, Leadership, Reason};
//!
//! #[derive(Default)]
//! struct Service {
//!     term: Option<Leadership>,
//! }
//!
//! impl Service {
//!     fn on_event(&mut self, event: Event) {
//!         match event {
//!             Event::BecameLeader(token) => self.term = Some(token),
//!             Event::Resigning { .. } | Event::LostLeadership { .. } => self.term = None,
//!             _ => {}
//!         }
//!     }
//! }
//!
//! let mut service = Service::default();
//! let mut term = Term::begin(7);
//! service.on_event(term.became_leader());
//! assert!(service.term.as_ref().is_some_and(Leadership::is_valid));
//!
//! service.on_event(term.resigning(Reason::StepDown));
//! assert!(service.term.is_none());
//! assert!(term.is_drained(), "the handler has dropped the drain guard");
//! service.on_event(term.lost(Cause::Resigned(Reason::StepDown)));
//! ```
//!
//! The other events have public fields: a test writes them as they are. For tests of a program with
//! its nodes, see [`store::memory`](crate::store::memory).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::drain::DrainGuard;
use crate::event::{Cause, Event, Reason};
use crate::leadership::{Leadership, TermCell};
use crate::lease::{Epoch, SessionId};

/// How long a term lasts, unless it is ended before.
const TERM: Duration = Duration::from_secs(10);

/// A term that a test begins and ends, in place of a node.
///
/// It lasts 10 s on a clock of its own, which stands still until the test moves it. Dropping it
/// ends it.
///
/// ```
/// use std::time::Duration;
/// use leasehold::testing::Term;
///
/// let term = Term::begin(7);
/// let token = term.leadership();
/// term.clock().advance(Duration::from_secs(10)); // no renewal has succeeded
/// assert!(token.ensure().is_err());
/// ```
#[derive(Debug)]
pub struct Term {
    cell: Arc<TermCell>,
    clock: Clock,
    token: Leadership,
    /// `None` once the term was resigned or lost.
    drain: Option<DrainGuard>,
    drained: Arc<AtomicBool>,
}

impl Term {
    /// Begins a term with a session of its own.
    ///
    /// # Panics
    /// If `epoch` is 0 or above [`Epoch::MAX`].
    #[must_use]
    pub fn begin(epoch: u64) -> Self {
        static SESSIONS: AtomicU64 = AtomicU64::new(1);
        let epoch = Epoch::try_from(epoch).unwrap_or_else(|error| panic!("{error}"));
        let session = SessionId::from_bits(SESSIONS.fetch_add(1, Ordering::Relaxed).into());
        let clock = Clock::manual(Timestamp::ZERO + TERM);
        let cell = Arc::new(TermCell::default());
        cell.begin(epoch, clock.now() + TERM);
        let drained = Arc::<AtomicBool>::default();
        let tells = Arc::clone(&drained);
        let drain = DrainGuard::new(move || tells.store(true, Ordering::SeqCst));
        let weak = drain.downgrade();
        let token = Leadership::new(Arc::clone(&cell), clock.clone(), epoch, session, weak);
        Self { cell, clock, token, drain: Some(drain), drained }
    }

    /// The token of the term.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.token.clone()
    }

    /// The clock of the term. [Advance](Clock::advance) it by 10 s, and the term has expired.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// [`Event::BecameLeader`] with the token.
    #[must_use]
    pub fn became_leader(&self) -> Event {
        Event::BecameLeader(self.leadership())
    }

    /// Gives the term up, as a node does: the token is invalid when this returns. The event has the
    /// drain guard; a second one delays nothing.
    #[must_use]
    pub fn resigning(&mut self, reason: Reason) -> Event {
        self.cell.end();
        let drain = self.drain.take().unwrap_or_else(|| DrainGuard::new(|| {}));
        Event::Resigning { epoch: self.token.epoch(), reason, drain }
    }

    /// Ends the term: the token is invalid when this returns.
    #[must_use]
    pub fn lost(&mut self, cause: Cause) -> Event {
        self.cell.end();
        self.drain = None;
        Event::LostLeadership { epoch: self.token.epoch(), cause }
    }

    /// Whether the term was given up or lost, and all its drain guards were dropped: a node would
    /// release the lease now.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.drained.load(Ordering::SeqCst)
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        self.cell.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_given_up_with_its_guard_and_drained_by_the_last() {
        let mut term = Term::begin(7);
        let token = term.leadership();
        let held = token.hold().expect("in force");
        let event = term.resigning(Reason::Stop);
        assert!(!token.is_valid() && token.hold().is_none());
        drop(event);
        assert!(!term.is_drained(), "work is held");
        drop(held);
        assert!(term.is_drained());
        assert!(matches!(term.resigning(Reason::Stop), Event::Resigning { .. }));
    }

    #[test]
    fn a_term_expires_on_its_own_clock_and_ends_when_it_is_dropped() {
        let term = Term::begin(7);
        let token = term.leadership();
        term.clock().advance(Duration::from_millis(9_999));
        assert!(token.is_valid());
        term.clock().advance(Duration::from_millis(1));
        assert!(!token.is_valid());
        let next = Term::begin(8).leadership();
        assert!(!next.is_valid() && next != token);
    }
}
