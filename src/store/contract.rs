//! The contract of a [`Store`] as a test suite, for stores of your own. Feature `contract`.
//!
//! **Unstable**, as [`store`](super) is. Add the feature to your `[dev-dependencies]`:
//! `leasehold = { version = "0.1", features = ["contract"] }`.
//!
//! A [`TestServer`] is what your stores connect to, seen from outside: the suite makes stores of it
//! and injects faults. [`run_all`] tries every promise on a fresh server. It panics at the first
//! promise that is broken, and returns a [`Report`] that names the promises that were not tried,
//! because your server cannot do what they need. Each promise is also a function, in [`promises`],
//! for tests of their own names.
//!
//! # A store of your own
//! This one keeps the record in a table that the nodes of one process share. A table in a database
//! would do the same under a transaction, on a thread of the store's own: `submit` must not block.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use std::time::Duration;
//!
//! use crossbeam_channel::{Receiver, Sender, never, unbounded};
//! use leasehold::clock::{Clock, Timestamp};
//! use leasehold::store::contract::{self, TestServer, Unsupported};
//! use leasehold::store::{Content, Entry, Incarnation, Outcome, Request, Snapshot, Store};
//! use leasehold::store::{StoreEvent, Ticket, Waiter, Waker};
//! use leasehold::{Config, Node, StoreError};
//!
//! #[derive(Clone, Default)]
//! struct Table(Arc<Mutex<Rows>>);
//!
//! #[derive(Default)]
//! struct Rows {
//!     /// The newest revision, once the table was created.
//!     newest: Option<u64>,
//!     row: Option<Entry>,
//!     nodes: Vec<Sender<StoreEvent>>,
//! }
//!
//! impl Rows {
//!     fn execute(&mut self, request: Request) -> Outcome {
//!         let Some(newest) = self.newest else {
//!             return match request {
//!                 Request::Read => Outcome::NoBucket,
//!                 Request::Write { .. } => {
//!                     Outcome::Failed(StoreError::NoResponders("the table".into()))
//!                 }
//!                 Request::CreateBucket { .. } => {
//!                     self.newest = Some(0);
//!                     Outcome::Created
//!                 }
//!             };
//!         };
//!         match request {
//!             Request::CreateBucket { .. } => Outcome::Created,
//!             Request::Read => Outcome::Read(Snapshot {
//!                 incarnation: Incarnation::new("the only one"), // it is never deleted
//!                 last_seq: newest,
//!                 pristine: newest == 0,
//!                 entry: self.row.clone(),
//!             }),
//!             Request::Write { expect, value, .. } => {
//!                 let holds = expect.revision == self.row.as_ref().map_or(0, |row| row.revision)
//!                     && expect.last_seq.is_none_or(|last_seq| last_seq == newest)
//!                     && expect.release.is_none(); // it keeps no names of releases
//!                 if !holds {
//!                     return Outcome::LostRace;
//!                 }
//!                 let row = Entry { revision: newest + 1, content: Content::Value(value) };
//!                 (self.newest, self.row) = (Some(row.revision), Some(row.clone()));
//!                 self.nodes.retain(|node| node.send(StoreEvent::Notice(row.clone())).is_ok());
//!                 Outcome::Stored { revision: row.revision }
//!             }
//!         }
//!     }
//! }
//!
//! /// One node's store.
//! struct TableStore {
//!     table: Table,
//!     clock: Clock,
//!     sender: Sender<StoreEvent>,
//!     events: Receiver<StoreEvent>,
//!     waiter: Waiter,
//! }
//!
//! impl TableStore {
//!     fn new(table: &Table, clock: Clock) -> Self {
//!         let (sender, events) = unbounded();
//!         table.0.lock().unwrap().nodes.push(sender.clone());
//!         let (table, waiter) = (table.clone(), Waiter::default());
//!         let store = Self { table, clock, sender, events, waiter };
//!         store.report(StoreEvent::Connected { server: "the table".into() });
//!         store
//!     }
//!
//!     fn report(&self, event: StoreEvent) {
//!         let _ = self.sender.send(event); // fails once the store is closed
//!     }
//! }
//!
//! impl Store for TableStore {
//!     fn submit(&mut self, ticket: Ticket, request: Request) {
//!         let outcome = self.table.0.lock().unwrap().execute(request);
//!         self.report(StoreEvent::Completed { ticket, outcome });
//!     }
//!     fn waker(&self) -> Waker {
//!         self.waiter.waker()
//!     }
//!     fn poll(&mut self, until: Timestamp) -> Option<StoreEvent> {
//!         self.waiter.receive(&self.events, &self.clock, until)
//!     }
//!     fn clock(&self) -> Clock {
//!         self.clock.clone()
//!     }
//!     fn reconnect(&mut self) {
//!         let error = StoreError::Disconnected("given up".into());
//!         self.report(StoreEvent::Disconnected { error });
//!         self.report(StoreEvent::Connected { server: "the table".into() });
//!     }
//!     fn close(&mut self, _: Timestamp) {
//!         self.events = never();
//!     }
//! }
//!
//! impl TestServer for Table {
//!     fn connect(&mut self) -> Box<dyn Store> {
//!         Box::new(TableStore::new(self, Clock::boot()))
//!     }
//!     fn purge(&mut self) -> Result<(), Unsupported> {
//!         self.0.lock().unwrap().row = None;
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let report = contract::run_all(Table::default);
//! println!("{report}"); // "13 promises are kept", and each that was not tried
//! assert!(report.kept().contains(&"one_of_two_writers_wins"));
//!
//! let config = Config::without_servers("orders", "node-1").build()?;
//! let store = TableStore::new(&Table::default(), Clock::boot());
//! let node = Node::builder(config).store(store).start()?;
//! node.wait_for_leadership(Duration::from_secs(5))?;
//! # Ok(())
//! # }
//! ```

pub mod driver;
pub mod promises;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Entry, Store};
pub use promises::PROMISES;

/// What stores connect to, as a test sees it: it makes stores and injects faults.
///
/// Only [`connect`](Self::connect) is required. A fault that is not implemented is
/// [`Unsupported`], and the promises that need it are not tried. Each promise gets a fresh server,
/// without a bucket.
///
/// ```
/// use leasehold::clock::Clock;
/// use leasehold::store::Store;
/// use leasehold::store::contract::{TestServer, Unsupported};
/// use leasehold::store::memory::MemoryServer;
///
/// struct Server(MemoryServer); // in place of one of your own
///
/// impl TestServer for Server {
///     fn connect(&mut self) -> Box<dyn Store> {
///         Box::new(self.0.connect(Clock::boot()))
///     }
///     fn purge(&mut self) -> Result<(), Unsupported> {
///         self.0.purge();
///         Ok(())
///     }
/// }
/// # assert!(Server(MemoryServer::new()).cut().is_err());
/// ```
pub trait TestServer {
    /// Another node's store. It times its `poll` with [`Clock::boot`](crate::clock::Clock::boot),
    /// and need not be connected yet.
    fn connect(&mut self) -> Box<dyn Store>;

    /// Whether every node gets a notice of each stored write, as long as the connection stands.
    /// Default true: say so if your store has none, for example as it asks its database from time
    /// to time.
    fn sends_notices(&self) -> bool {
        true
    }

    /// Ends all connections, which the stores learn, and refuses new ones until
    /// [`heal`](Self::heal).
    ///
    /// # Errors
    /// [`Unsupported`], by default.
    fn cut(&mut self) -> Result<(), Unsupported> {
        Err(Unsupported::new("cut"))
    }

    /// Answers nothing, while connections stay open, until [`heal`](Self::heal).
    ///
    /// # Errors
    /// [`Unsupported`], by default.
    fn freeze(&mut self) -> Result<(), Unsupported> {
        Err(Unsupported::new("freeze"))
    }

    /// Ends a [`cut`](Self::cut) and a [`freeze`](Self::freeze). What was stored is still there.
    ///
    /// # Errors
    /// [`Unsupported`], by default.
    fn heal(&mut self) -> Result<(), Unsupported> {
        Err(Unsupported::new("heal"))
    }

    /// Overwrites the record under no condition, as a person with a command line does.
    ///
    /// # Errors
    /// [`Unsupported`], by default.
    fn overwrite(&mut self, bytes: &[u8]) -> Result<(), Unsupported> {
        let _ = bytes;
        Err(Unsupported::new("overwrite"))
    }

    /// Puts a delete marker on the key, which is a revision of its own.
    ///
    /// # Errors
    /// [`Unsupported`], by default.
    fn delete_key(&mut self) -> Result<(), Unsupported> {
        Err(Unsupported::new("delete_key"))
    }

    /// Removes the record without a trace: the newest revision of the bucket stays the same.
    ///
    /// # Errors
    /// [`Unsupported`], by default.
    fn purge(&mut self) -> Result<(), Unsupported> {
        Err(Unsupported::new("purge"))
    }

    /// Deletes the bucket. The next one is another incarnation.
    ///
    /// # Errors
    /// [`Unsupported`], by default.
    fn delete_bucket(&mut self) -> Result<(), Unsupported> {
        Err(Unsupported::new("delete_bucket"))
    }

    /// Sends every node a notice of a revision that was never stored.
    ///
    /// # Errors
    /// [`Unsupported`], by default.
    fn forge_notice(&mut self, notice: &Entry) -> Result<(), Unsupported> {
        let _ = notice;
        Err(Unsupported::new("forge_notice"))
    }
}

/// A promise of the contract: it panics when the store breaks it.
pub type Promise = fn(&mut dyn TestServer) -> Result<(), Unsupported>;

/// A server cannot do what a promise needs.
///
/// ```
/// use leasehold::store::contract::Unsupported;
///
/// // A fault that only some servers can have.
/// let freeze = |can_freeze: bool| can_freeze.then_some(()).ok_or(Unsupported::new("freeze"));
/// assert_eq!(freeze(false).unwrap_err().to_string(), "the server has no freeze");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported(&'static str);

impl Unsupported {
    /// Names what is missing, for the [`Report`].
    #[must_use]
    pub const fn new(missing: &'static str) -> Self {
        Self(missing)
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server has no {}", self.0)
    }
}

impl std::error::Error for Unsupported {}

/// Which promises were kept, and which were not tried.
///
/// ```
/// use leasehold::store::contract::{Report, run_all};
/// use leasehold::store::memory::MemoryServer;
///
/// let report: Report = run_all(MemoryServer::new);
/// for (promise, missing) in report.not_tried() {
///     println!("{promise} was not tried: {missing}");
/// }
/// assert!(report.kept().contains(&"one_of_two_writers_wins"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a promise that was not tried may be broken"]
pub struct Report {
    kept: Vec<&'static str>,
    not_tried: Vec<(&'static str, Unsupported)>,
}

impl Report {
    /// The promises that were tried, all of which were kept.
    #[must_use]
    pub fn kept(&self) -> &[&'static str] {
        &self.kept
    }

    /// The promises that were not tried, each with what the server lacks.
    #[must_use]
    pub fn not_tried(&self) -> &[(&'static str, Unsupported)] {
        &self.not_tried
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} promises are kept, {} not tried", self.kept.len(), self.not_tried.len())?;
        self.not_tried.iter().try_for_each(|(name, why)| write!(f, "\nnot tried: {name}: {why}"))
    }
}

/// Tries every promise on a server of its own, in the order of [`PROMISES`]. Takes some seconds.
///
/// # Panics
/// At the first promise that is broken, with its name.
///
/// # Example
/// ```
/// use leasehold::store::contract;
/// use leasehold::store::memory::MemoryServer;
///
/// let report = contract::run_all(MemoryServer::new);
/// assert_eq!(report.kept().len(), contract::PROMISES.len());
/// assert!(report.not_tried().is_empty(), "{report}");
/// ```
pub fn run_all<S: TestServer>(mut make: impl FnMut() -> S) -> Report {
    let mut report = Report::default();
    for &(name, promise) in PROMISES {
        let mut server = make();
        match catch_unwind(AssertUnwindSafe(|| promise(&mut server))) {
            Ok(Ok(())) => report.kept.push(name),
            Ok(Err(unsupported)) => report.not_tried.push((name, unsupported)),
            Err(panic) => panic!("the store breaks the promise {name}: {}", message(&*panic)),
        }
    }
    report
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic")
}
