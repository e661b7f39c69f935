//! The store contract: submit and complete, never call and wait.
//!
//! A store holds one record under compare-and-set. The renewal loop submits [`Request`]s, each
//! under a [`Ticket`] of its own numbering, and goes on at once; [`Store::poll`] tells what
//! happened. So the loop can react to a deadline or a resignation while any number of answers are
//! missing.
//!
//! # What every store promises
//! 1. `submit` never blocks on the network, and `poll` not beyond its bound.
//! 2. A request is completed at most once with a definite outcome. [`Outcome::Unknown`] leaves the
//!    ticket open: a definite outcome may follow it. A store completes what is outstanding with
//!    `Unknown` at the instant it learns that the connection is gone; it keeps no timers for single
//!    requests (the election has them).
//! 3. [`Outcome::Stored`] and [`Outcome::Read`] are said only of what the server itself said.
//!    Whatever cannot be told for certain is `Unknown`.
//! 4. A write is stored only when its [`Expect`] holds at that instant, atomically; a store that
//!    cannot tell whether it holds says that it does not. A write that was submitted while
//!    disconnected is never stored later.
//! 5. A [`Snapshot`] is of one incarnation: the content was read between two moments at which that
//!    incarnation was there.
//! 6. `Connected` comes before the first completion that is not `Unknown` or `Failed`, and
//!    `Connected` and `Disconnected` alternate.
//! 7. Notices are hints: lost, late, repeated, reordered, forged.

pub mod memory;
pub mod nats;

use std::fmt;
use std::sync::Arc;

use crossbeam_channel::Receiver;

use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::lease::{Epoch, Lease, SessionId};

/// Names one request; numbered by whoever submits, never reused within a store's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Tells one bucket from a later one of the same name (JetStream: the stream's `created`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(Arc<str>);

impl Incarnation {
    /// The incarnation of that name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of one clean release, which no other write ever has: no session uses a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReleaseId {
    /// Who released.
    pub session: SessionId,
    /// The term.
    pub epoch: Epoch,
    /// The write's number in its session.
    pub write: u64,
}

impl ReleaseId {
    /// The name of `lease`, if that is a clean release.
    #[must_use]
    pub fn of(lease: &Lease) -> Option<Self> {
        let Lease { epoch, write, .. } = *lease;
        lease.session.filter(|_| lease.clean).map(|session| Self { session, epoch, write })
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "release.{}.{}.{}", self.session, self.epoch, self.write)
    }
}

/// What must hold at the instant a write is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expect {
    /// The revision that stands under the key; 0 when there must be none. A marker counts as a
    /// revision, as it does for JetStream.
    pub revision: u64,
    /// When set, also: the newest revision of the whole bucket.
    pub last_seq: Option<u64>,
    /// When set, also: the newest write into the whole bucket is the release of that name. A store
    /// that cannot tell says that it is not.
    pub release: Option<ReleaseId>,
}

impl Expect {
    /// That revision stands under the key.
    #[must_use]
    pub fn revision(revision: u64) -> Self {
        Self { revision, last_seq: None, release: None }
    }

    /// Nothing stands under the key, and nothing was written into the bucket since `last_seq`.
    #[must_use]
    pub fn nothing_since(last_seq: u64) -> Self {
        Self { revision: 0, last_seq: Some(last_seq), release: None }
    }

    /// That revision stands under the key, and it is the release of that name.
    #[must_use]
    pub fn release(revision: u64, id: ReleaseId) -> Self {
        Self { revision, last_seq: None, release: Some(id) }
    }
}

/// What is asked of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Read the record together with the bucket's incarnation and newest revision.
    Read,
    /// Store these bytes if the expectation holds.
    Write {
        /// The condition.
        expect: Expect,
        /// The write's name when it is a clean release, for the conditions of later ones.
        id: Option<ReleaseId>,
        /// The new content.
        value: Vec<u8>,
    },
    /// Create the bucket; its revisions start at `first_seq` where the server can do that.
    /// Completed by [`Outcome::Created`] also when the bucket was there already.
    CreateBucket {
        /// The first revision to be handed out.
        first_seq: u64,
    },
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The write was stored as this revision.
    Stored {
        /// Its revision.
        revision: u64,
    },
    /// The write was not stored: the expectation did not hold.
    LostRace,
    /// The answer to a read.
    Read(Snapshot),
    /// The answer to a read: there is no bucket.
    NoBucket,
    /// The bucket exists now.
    Created,
    /// The request had no effect and will have none.
    Failed(StoreError),
    /// Nobody knows whether the request had, has, or will have an effect.
    Unknown(StoreError),
}

/// One consistent look at the bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The bucket's incarnation.
    pub incarnation: Incarnation,
    /// The newest revision of the whole bucket.
    pub last_seq: u64,
    /// Nothing was ever stored in the bucket, as far as the bucket knows.
    pub pristine: bool,
    /// What stands under the key.
    pub entry: Option<Entry>,
}

/// What stands under the key, with its revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The revision.
    pub revision: u64,
    /// The content.
    pub content: Content,
}

/// The content of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Bytes, of whatever origin.
    Value(Vec<u8>),
    /// A delete or purge marker.
    Marker,
}

/// What a store tells, unasked or as an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreEvent {
    /// A request came to an end, or was given up as unknown.
    Completed {
        /// Which one.
        ticket: Ticket,
        /// How.
        outcome: Outcome,
    },
    /// Somebody says that this revision was stored.
    Notice(Entry),
    /// Something may have changed; nothing is known of it. A reason to read.
    Hint,
    /// There is a connection.
    Connected {
        /// The server, without secrets.
        server: String,
    },
    /// There is none any more, or an attempt to connect failed (then repeated for each attempt).
    Disconnected {
        /// Why.
        error: StoreError,
    },
    /// Something went wrong that belongs to no request: a permission violation, say.
    Problem(StoreError),
}

/// A record under compare-and-set; see the [module](self) for what it promises.
pub trait Store: Send {
    /// Sends a request. Its completion comes out of [`poll`](Self::poll). Never blocks.
    fn submit(&mut self, ticket: Ticket, request: Request);

    /// Returns the next thing that happened, or `None` as soon as `wake` holds a message (which is
    /// taken) or the clock reads `until`. What happened comes before `wake`, in order.
    fn poll(&mut self, wake: &Receiver<()>, until: Timestamp) -> Option<StoreEvent>;

    /// Gives the present connection up and builds a new one: it answers nothing in time.
    fn reconnect(&mut self);

    /// Closes the connection and ends what threads the store has, before `until`. What was
    /// submitted is unknown from then on.
    fn close(&mut self, until: Timestamp);
}
