//! Drives a store in a test: numbers its tickets, keeps its events, waits for outcomes.
//!
//! The promises are written with it. Use it for further tests of a store of your own:
//!
//! ```
//! use leasehold::clock::Clock;
//! use leasehold::store::Outcome;
//! use leasehold::store::contract::driver::Driver;
//! use leasehold::store::memory::MemoryServer;
//!
//! let mut node = Driver::new(Box::new(MemoryServer::new().connect(Clock::boot())));
//! node.wait_connected();
//! node.create();
//! let first = node.stored(0, "first");
//! assert_eq!(node.write(0, "again"), Outcome::LostRace);
//! assert_eq!(node.read().last_seq, first);
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::error::StoreError;
use crate::lease::{Epoch, SessionId};
use crate::store::{Content, Entry, Expect, Outcome, ReleaseId, Request, Snapshot, Store};
use crate::store::{StoreEvent, Ticket};

/// How long the waits take before they panic: longer than anything takes on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Long enough to see that nothing comes.
pub const SILENCE: Duration = Duration::from_millis(300);

/// A store under test. The methods that wait panic after [`PATIENCE`], with the events that came.
///
/// ```
/// use leasehold::clock::Clock;
/// use leasehold::store::contract::driver::Driver;
/// use leasehold::store::memory::MemoryServer;
/// use leasehold::store::{Outcome, Request};
///
/// let store = MemoryServer::new().connect(Clock::boot());
/// let mut node = Driver::new(Box::new(store));
/// node.wait_connected();
/// assert_eq!(node.ask(Request::Read), Outcome::NoBucket);
/// ```
pub struct Driver {
    /// The store.
    pub store: Box<dyn Store>,
    clock: Clock,
    tickets: u64,
    /// Events that came while another one was waited for.
    pub seen: VecDeque<StoreEvent>,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl Driver {
    /// A driver of that store. It waits by the [clock](Store::clock) of the store.
    #[must_use]
    pub fn new(store: Box<dyn Store>) -> Self {
        Self { clock: store.clock(), store, tickets: 0, seen: VecDeque::new() }
    }

    /// Submits a request under the next ticket.
    pub fn submit(&mut self, request: Request) -> Ticket {
        self.tickets += 1;
        self.store.submit(Ticket(self.tickets), request);
        Ticket(self.tickets)
    }

    /// The next event within `limit`, of those that were set aside first.
    pub fn next(&mut self, limit: Duration) -> Option<StoreEvent> {
        self.seen.pop_front().or_else(|| self.fresh(limit))
    }

    /// The next event that was not set aside, within `limit`.
    pub fn fresh(&mut self, limit: Duration) -> Option<StoreEvent> {
        self.store.poll(self.clock.now() + limit)
    }

    /// The first event of which `pick` makes something. Others are set aside.
    #[track_caller]
    pub fn wait<T>(&mut self, what: &str, pick: impl FnMut(&StoreEvent) -> Option<T>) -> T {
        match self.wait_within(PATIENCE, pick) {
            Some(found) => found,
            None => panic!("waited {PATIENCE:?} for {what}; saw {:?}", self.seen),
        }
    }

    fn wait_within<T>(
        &mut self,
        limit: Duration,
        mut pick: impl FnMut(&StoreEvent) -> Option<T>,
    ) -> Option<T> {
        let mut seen = self.seen.iter().enumerate();
        let found = seen.find_map(|(index, event)| Some((index, pick(event)?)));
        if let Some((index, found)) = found {
            self.seen.remove(index);
            return Some(found);
        }
        let until = self.clock.now() + limit;
        while let Some(event) = self.store.poll(until) {
            if let Some(found) = pick(&event) {
                return Some(found);
            }
            self.seen.push_back(event);
        }
        None
    }

    /// Waits for `Connected`, and returns the server's name.
    #[track_caller]
    pub fn wait_connected(&mut self) -> String {
        self.wait("a connection", |event| match event {
            StoreEvent::Connected { server } => Some(server.clone()),
            _ => None,
        })
    }

    /// Waits for `Disconnected`, and returns its error.
    #[track_caller]
    pub fn wait_disconnected(&mut self) -> StoreError {
        self.wait("a disconnection", |event| match event {
            StoreEvent::Disconnected { error } => Some(error.clone()),
            _ => None,
        })
    }

    /// Waits for a `Problem`, and returns its error.
    #[track_caller]
    pub fn wait_problem(&mut self) -> StoreError {
        self.wait("a problem", |event| match event {
            StoreEvent::Problem(error) => Some(error.clone()),
            _ => None,
        })
    }

    /// Waits for a notice.
    #[track_caller]
    pub fn wait_notice(&mut self) -> Entry {
        self.wait("a notice", |event| match event {
            StoreEvent::Notice(entry) => Some(entry.clone()),
            _ => None,
        })
    }

    /// Waits for the outcome of a request.
    #[track_caller]
    pub fn outcome(&mut self, wanted: Ticket) -> Outcome {
        self.wait("an outcome", outcome_of(wanted))
    }

    /// The outcome of a request, unless that takes longer than `limit`.
    pub fn outcome_within(&mut self, wanted: Ticket, limit: Duration) -> Option<Outcome> {
        self.wait_within(limit, outcome_of(wanted))
    }

    /// Submits a request, and waits for its outcome.
    #[track_caller]
    pub fn ask(&mut self, request: Request) -> Outcome {
        let ticket = self.submit(request);
        self.outcome(ticket)
    }

    /// Creates the bucket, whose first revision is 1.
    #[track_caller]
    pub fn create(&mut self) {
        assert_eq!(self.ask(Request::CreateBucket { first_seq: 1 }), Outcome::Created);
    }

    /// Reads the bucket, which must be there.
    #[track_caller]
    pub fn read(&mut self) -> Snapshot {
        match self.ask(Request::Read) {
            Outcome::Read(snapshot) => snapshot,
            other => panic!("a read came to {other:?}"),
        }
    }

    /// Writes over `revision`, and waits for the outcome.
    #[track_caller]
    pub fn write(&mut self, revision: u64, value: &str) -> Outcome {
        self.ask(write(revision, None, value))
    }

    /// Writes over `revision`, which must succeed, and returns the new revision.
    #[track_caller]
    pub fn stored(&mut self, revision: u64, value: &str) -> u64 {
        match self.write(revision, value) {
            Outcome::Stored { revision } => revision,
            other => panic!("a write came to {other:?}"),
        }
    }

    /// Stores the release of that number, which must succeed, and returns the new revision.
    #[track_caller]
    pub fn released(&mut self, expect: Expect, number: u64) -> u64 {
        match self.ask(release(expect, number)) {
            Outcome::Stored { revision } => revision,
            other => panic!("a release came to {other:?}"),
        }
    }

    /// Closes the store, within [`PATIENCE`].
    pub fn close(&mut self) {
        self.close_within(PATIENCE);
    }

    /// Closes the store, within `limit`.
    pub fn close_within(&mut self, limit: Duration) {
        self.store.close(self.clock.now() + limit);
    }

    /// The time of the store's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn outcome_of(wanted: Ticket) -> impl FnMut(&StoreEvent) -> Option<Outcome> {
    move |event| match event {
        StoreEvent::Completed { ticket, outcome } if *ticket == wanted => Some(outcome.clone()),
        _ => None,
    }
}

/// A write over `revision`, while `last_seq` is the newest revision of the bucket if it is given.
#[must_use]
pub fn write(revision: u64, last_seq: Option<u64>, value: &str) -> Request {
    write_if(Expect { last_seq, ..Expect::revision(revision) }, value)
}

/// A write under that condition.
#[must_use]
pub fn write_if(expect: Expect, value: &str) -> Request {
    Request::Write { expect, id: None, value: value.into() }
}

/// The release of that number.
#[must_use]
pub fn release(expect: Expect, number: u64) -> Request {
    Request::Write { expect, id: Some(release_id(number)), value: b"released".to_vec() }
}

/// The name of the release of that number, in the first term of one session.
#[must_use]
pub fn release_id(write: u64) -> ReleaseId {
    ReleaseId { session: SessionId::from_bits(1), epoch: first_epoch(), write }
}

#[allow(clippy::expect_used, reason = "the message names the invariant")]
fn first_epoch() -> Epoch {
    Epoch::new(1).expect("invariant: 1 is an epoch")
}

/// A revision with these bytes.
#[must_use]
pub fn value(revision: u64, value: &str) -> Entry {
    Entry { revision, content: Content::Value(value.into()) }
}

/// A revision that is a delete marker.
#[must_use]
pub fn marker(revision: u64) -> Entry {
    Entry { revision, content: Content::Marker }
}
