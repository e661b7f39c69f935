//! The store contract: submit and complete, never call and wait.
//!
//! **Unstable**: this module is public for stores of your own and may change in any minor version.
//!
//! A store holds one record under compare-and-set. The renewal loop submits [`Request`]s, each
//! under a [`Ticket`] of its own numbering, and goes on at once; [`Store::poll`] returns events. So
//! the loop can react to a deadline or a resignation while any number of responses are missing.
//!
//! # What every store promises
//! 1. `submit` never blocks on the network, and `poll` not beyond its bound.
//! 2. A request is completed at most once with a definite outcome. [`Outcome::Unknown`] leaves the
//!    ticket open: a definite outcome may follow it. A store completes what is outstanding with
//!    `Unknown` at the instant it learns that the connection is gone; it keeps no timers for single
//!    requests (the election has them).
//! 3. [`Outcome::Stored`] and [`Outcome::Read`] are reported only if the server itself said so.
//!    An outcome that is not certain is `Unknown`.
//! 4. A write is stored only if its [`Expect`] holds at that instant, atomically. A store that
//!    cannot check a condition reports that it does not hold. A write that was submitted while
//!    disconnected is never stored later.
//! 5. A [`Snapshot`] is of one incarnation: the content was read between two moments at which that
//!    incarnation was there.
//! 6. `Connected` comes before the first completion that is not `Unknown` or `Failed`, and
//!    `Connected` and `Disconnected` alternate.
//! 7. Notices are hints: lost, late, repeated, reordered, forged.
//!
//! The feature `contract` has the promises as a test suite, and a store of one's own that passes
//! it: `leasehold::store::contract`. A store that gets its events from a channel waits with a
//! [`Waiter`]. [`Config::without_servers`](crate::Config::without_servers) makes a configuration
//! for it.

#[cfg(feature = "contract")]
pub mod contract;
pub mod memory;
pub mod nats;

use std::fmt;
use std::sync::Arc;

use crate::clock::{Clock, Timestamp};
use crate::error::StoreError;
use crate::lease::{Epoch, Lease, SessionId};
pub use crate::wait::{Waiter, Waker};

/// Names one request. The caller numbers them, and never reuses a number within a store's life.
///
/// ```
/// use leasehold::clock::{Clock, Timestamp};
/// use leasehold::store::memory::MemoryServer;
/// use leasehold::store::{Request, Store, StoreEvent, Ticket};
///
/// let mut store = MemoryServer::new().connect(Clock::boot());
/// store.submit(Ticket(7), Request::Read);
/// let completed = std::iter::from_fn(|| store.poll(Timestamp::ZERO)).last();
/// assert!(matches!(completed, Some(StoreEvent::Completed { ticket: Ticket(7), .. })));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Tells one bucket from a later one of the same name (JetStream: the stream's `created`).
///
/// ```
/// use leasehold::store::Incarnation;
///
/// let known = Incarnation::new("2026-11-30T08:00:00Z");
/// let shown = Incarnation::new("2026-11-30T09:30:00Z"); // deleted, and created again
/// assert_ne!(known, shown);
/// ```
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
///
/// ```
/// use leasehold::lease::Lease;
/// use leasehold::store::ReleaseId;
///
/// let json = r#"{"epoch":7,"session":"000000000000000000000000000000ab","n":12,"clean":true}"#;
/// let id = ReleaseId::of(&Lease::decode(json.as_bytes())?).expect("a clean release");
/// assert_eq!(id.to_string(), "release.000000000000000000000000000000ab.7.12");
/// # Ok::<(), leasehold::lease::Undecodable>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReleaseId {
    /// The session that released.
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

/// The condition that must hold at the instant a write is stored.
///
/// ```
/// use leasehold::store::Expect;
///
/// /// How a store of your own checks a condition, in the transaction that writes.
/// fn holds(expect: Expect, revision: u64, last_seq: u64) -> bool {
///     expect.revision == revision
///         && expect.last_seq.is_none_or(|seq| seq == last_seq)
///         && expect.release.is_none() // this store cannot check it
/// }
/// assert!(holds(Expect::revision(7), 7, 9));
/// assert!(!holds(Expect::nothing_since(8), 0, 9));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expect {
    /// The revision under the key; 0 when there must be none. A marker counts as a
    /// revision, as it does for JetStream.
    pub revision: u64,
    /// When set, also: the newest revision of the whole bucket.
    pub last_seq: Option<u64>,
    /// When set, also: the newest write into the whole bucket is the release of that name. A store
    /// that cannot check this reports a lost race.
    pub release: Option<ReleaseId>,
}

impl Expect {
    /// That revision is under the key.
    #[must_use]
    pub fn revision(revision: u64) -> Self {
        Self { revision, last_seq: None, release: None }
    }

    /// There is nothing under the key, and nothing was written into the bucket since `last_seq`.
    #[must_use]
    pub fn nothing_since(last_seq: u64) -> Self {
        Self { revision: 0, last_seq: Some(last_seq), release: None }
    }

    /// That revision is under the key, and it is the release of that name.
    #[must_use]
    pub fn release(revision: u64, id: ReleaseId) -> Self {
        Self { revision, last_seq: None, release: Some(id) }
    }
}

/// A request to a store.
///
/// ```
/// use leasehold::store::Request;
///
/// /// The first statement that a store in a database sends.
/// fn statement(request: &Request) -> &'static str {
///     match request {
///         Request::Read => "SELECT revision, value FROM lease",
///         Request::Write { .. } => "UPDATE lease SET value = ?, revision = ? WHERE revision = ?",
///         Request::CreateBucket { .. } => "CREATE TABLE IF NOT EXISTS lease (revision, value)",
///     }
/// }
/// assert!(statement(&Request::Read).starts_with("SELECT"));
/// ```
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

/// The outcome of a request.
///
/// ```
/// use leasehold::StoreError;
/// use leasehold::store::Outcome;
///
/// /// What a conditional UPDATE means for a store in a database.
/// fn outcome(changed_rows: Result<usize, String>, revision: u64) -> Outcome {
///     match changed_rows {
///         Ok(1) => Outcome::Stored { revision },
///         Ok(_) => Outcome::LostRace,
///         // It may have been committed.
///         Err(reason) => Outcome::Unknown(StoreError::Disconnected(reason.into())),
///     }
/// }
/// assert_eq!(outcome(Ok(0), 8), Outcome::LostRace);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The write was stored as this revision.
    Stored {
        /// Its revision.
        revision: u64,
    },
    /// The write was not stored: the expectation did not hold.
    LostRace,
    /// The result of a read.
    Read(Snapshot),
    /// The result of a read: there is no bucket.
    NoBucket,
    /// The bucket exists now.
    Created,
    /// The request had no effect and will have none.
    Failed(StoreError),
    /// It is unknown whether the request had, has, or will have an effect.
    Unknown(StoreError),
}

/// One consistent reading of the bucket.
///
/// ```
/// use leasehold::store::{Content, Entry, Incarnation, Outcome, Snapshot};
///
/// let entry = Entry { revision: 8, content: Content::Value(b"{}".to_vec()) };
/// let read = Outcome::Read(Snapshot {
///     incarnation: Incarnation::new("2026-11-30T08:00:00Z"),
///     last_seq: 9, // of another key
///     pristine: false,
///     entry: Some(entry),
/// });
/// # assert!(matches!(read, Outcome::Read(snapshot) if snapshot.last_seq == 9));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The bucket's incarnation.
    pub incarnation: Incarnation,
    /// The newest revision of the whole bucket.
    pub last_seq: u64,
    /// Nothing was ever stored in the bucket, as far as the bucket knows.
    pub pristine: bool,
    /// The revision under the key, if there is one.
    pub entry: Option<Entry>,
}

/// A revision under the key.
///
/// ```
/// # use std::time::Duration;
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
/// use leasehold::lease::Lease;
/// use leasehold::store::Content;
///
/// # let server = MemoryServer::new();
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = Node::builder(config).store(server.connect(Clock::boot())).start()?;
/// node.wait_for_leadership(Duration::from_secs(5))?;
/// let entry = server.entry().expect("the leader has written its record");
/// let Content::Value(bytes) = entry.content else { panic!("a marker") };
/// assert_eq!(Lease::decode(&bytes)?.node_id, "node-1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The revision.
    pub revision: u64,
    /// The content.
    pub content: Content,
}

/// The content of a revision.
///
/// ```
/// # use leasehold::{clock::Clock, store::{Request, Store, Ticket}};
/// use leasehold::store::Content;
/// use leasehold::store::memory::MemoryServer;
///
/// let server = MemoryServer::new();
/// # let mut store = server.connect(Clock::boot());
/// # store.submit(Ticket(1), Request::CreateBucket { first_seq: 1 });
/// server.overwrite("not a record"); // any client may write any bytes
/// let content = server.entry().map(|entry| entry.content);
/// assert_eq!(content, Some(Content::Value(b"not a record".to_vec())));
/// server.delete_key();
/// assert_eq!(server.entry().map(|entry| entry.content), Some(Content::Marker));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Bytes of any origin.
    Value(Vec<u8>),
    /// A delete or purge marker.
    Marker,
}

/// An event of a store.
///
/// ```
/// use leasehold::clock::{Clock, Timestamp};
/// use leasehold::store::memory::MemoryServer;
/// use leasehold::store::{Outcome, Request, Store, StoreEvent, Ticket};
///
/// let mut store = MemoryServer::new().connect(Clock::boot());
/// store.submit(Ticket(1), Request::Read);
/// store.link().cut();
/// let events: Vec<_> = std::iter::from_fn(|| store.poll(Timestamp::ZERO)).collect();
/// assert!(matches!(events[0], StoreEvent::Connected { .. }));
/// assert!(matches!(events[1], StoreEvent::Disconnected { .. }));
/// assert!(matches!(&events[2], StoreEvent::Completed { outcome: Outcome::Unknown(_), .. }));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum StoreEvent {
    /// A request has ended, or is unknown for now.
    Completed {
        /// Which one.
        ticket: Ticket,
        /// How.
        outcome: Outcome,
    },
    /// A notice that this revision was stored. It may be forged.
    Notice(Entry),
    /// Something may have changed: a reason to read.
    Hint,
    /// There is a connection.
    Connected {
        /// The server, without secrets.
        server: String,
    },
    /// The connection has ended, or every server was tried and none can be used. Repeated for each
    /// such round.
    Disconnected {
        /// Why. The same in each round, as long as the reasons are the same.
        error: StoreError,
    },
    /// Some servers were tried and cannot be used; others are still to be tried. Only a start that
    /// waits takes note of it. A store with one server has no such event.
    AttemptFailed {
        /// Why, for each server since the last `Disconnected`.
        error: StoreError,
    },
    /// A problem that belongs to no request, for example a denied permission.
    Problem(StoreError),
    /// Lasting conditions of the bucket that are no error and worth a warning, each a line of text.
    /// They replace those before. A node shows them in its [status](crate::Status::warnings).
    Warnings(Vec<String>),
}

/// A record under compare-and-set; see the [module](self) for what it promises.
///
/// ```
/// use leasehold::clock::{Clock, Timestamp};
/// use leasehold::store::{Request, Store, StoreEvent, Ticket, Waker};
///
/// /// Another store that logs its requests.
/// struct Logged<S>(S);
///
/// impl<S: Store> Store for Logged<S> {
///     fn submit(&mut self, ticket: Ticket, request: Request) {
///         println!("{ticket:?}: {request:?}");
///         self.0.submit(ticket, request);
///     }
///     fn waker(&self) -> Waker {
///         self.0.waker()
///     }
///     fn poll(&mut self, until: Timestamp) -> Option<StoreEvent> {
///         self.0.poll(until)
///     }
///     fn clock(&self) -> Clock {
///         self.0.clock()
///     }
///     fn reconnect(&mut self) {
///         self.0.reconnect();
///     }
///     fn close(&mut self, until: Timestamp) {
///         self.0.close(until);
///     }
/// }
/// # use leasehold::{Config, Node, store::memory::MemoryServer};
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let store = MemoryServer::new().connect(Clock::boot());
/// let node = Node::builder(config).store(Logged(store)).start()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Store: Send {
    /// Sends a request. Its completion comes out of [`poll`](Self::poll). Never blocks.
    fn submit(&mut self, ticket: Ticket, request: Request);

    /// Makes [`poll`](Self::poll) return, from any thread.
    fn waker(&self) -> Waker;

    /// Returns the next event, or `None` as soon as the [`waker`](Self::waker) was used or the
    /// clock reads `until`. Events come in order, and those from before a wake-up before it. Each
    /// `None` takes the wake-ups from before it.
    fn poll(&mut self, until: Timestamp) -> Option<StoreEvent>;

    /// The clock that times [`poll`](Self::poll): that of the machine by default. A node of this
    /// store works by it too.
    fn clock(&self) -> Clock {
        Clock::boot()
    }

    /// Gives the present connection up, as nothing responds in time, and builds a new one.
    fn reconnect(&mut self);

    /// Closes the connection and ends the threads of the store, before `until`. Requests that are
    /// open have an unknown outcome.
    fn close(&mut self, until: Timestamp);
}
