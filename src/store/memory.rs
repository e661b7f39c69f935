//! The store in memory: for trying the library without a server, and for tests.
//!
//! A [`MemoryServer`] is the bucket and its faults. Every node gets a [`MemoryStore`] from
//! [`MemoryServer::connect`], and a test keeps that node's [`MemoryLink`] to cut, freeze and delay
//! it. Everything happens under one lock and without threads: a request is carried out inside
//! [`submit`](Store::submit), and only its response can be late. Faults act as on a TCP connection:
//! bytes sent into a frozen link arrive when it thaws, also after the sender gave the connection
//! up.
//!
//! With a clock that the test moves, [`MemoryServer::settle`] waits until the nodes have done what
//! is due, and [`MemoryServer::run_for`] lets time pass. The guide shows
//! [how to test a program](crate::guide::your_tests).

mod bucket;
#[cfg(feature = "contract")]
mod contract;
mod link;
mod settle;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::clock::{Clock, Timestamp};
use crate::error::StoreError;
use crate::store::{Content, Entry, Outcome, Request, Store, StoreEvent, Ticket, Waker};
use crate::wait::{LONGEST_WAIT, Waiter};

use bucket::Bucket;
pub use bucket::MemoryBackup;
pub use link::MemoryLink;
use link::Node;

/// A bucket that any number of nodes of this process share, with faults for tests.
///
/// Cloning is cheap; clones are the same server. The bucket does not exist until a node creates it.
///
/// ```
/// use std::time::Duration;
/// use leasehold::clock::Clock;
/// use leasehold::store::memory::MemoryServer;
/// use leasehold::{Config, Node};
///
/// let server = MemoryServer::new();
/// let start = |node_id: &str| -> Result<Node, Box<dyn std::error::Error>> {
///     let config = Config::new("orders", node_id, ["nats://127.0.0.1:4222"])?;
///     Ok(Node::builder(config).store(server.connect(Clock::boot())).start()?)
/// };
/// let (first, second) = (start("node-1")?, start("node-2")?);
/// let leader = first.wait_for_leader(Duration::from_secs(5))?;
/// assert_eq!(second.wait_for_leader(Duration::from_secs(5))?, leader);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct MemoryServer(Arc<Server>);

#[derive(Default)]
struct Server {
    shared: Mutex<Shared>,
    /// Notified when a node may have become idle.
    idle: Condvar,
}

/// The state behind the lock.
#[derive(Default)]
struct Shared {
    bucket: Option<Bucket>,
    /// Numbers the incarnations, and is never set back.
    incarnations: u64,
    stored: u64,
    requests: u64,
    nodes: Vec<Node>,
}

impl MemoryServer {
    /// A server without a bucket.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A node's connection; connected from the start. `clock` times [`Store::poll`] and delays, and
    /// is the clock of a node that is started with it.
    #[must_use]
    pub fn connect(&self, clock: Clock) -> MemoryStore {
        let waiter = Waiter::default();
        let mut shared = self.lock();
        let index = shared.nodes.len();
        let (node, signal) = Node::new(clock.clone(), waiter.wakes());
        shared.nodes.push(node);
        shared.nodes[index].connect();
        let link = MemoryLink { server: self.clone(), index };
        MemoryStore { link, clock, signal, waiter }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.shared.lock()
    }

    /// The revision under the key, if there is one.
    #[must_use]
    pub fn entry(&self) -> Option<Entry> {
        self.lock().bucket.as_ref().and_then(|bucket| bucket.entry.clone())
    }

    /// How many revisions were ever stored, in all incarnations.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.lock().stored
    }

    /// How many requests arrived.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.lock().requests
    }

    /// Puts a delete marker on the key, as a person with a command line does. The notice makes the
    /// leader read at once, and the read ends its term. After a forged notice, the next one is read
    /// a request timeout later.
    pub fn delete_key(&self) {
        self.lock().overwrite(Content::Marker);
    }

    /// Overwrites the record with `bytes`, under no condition.
    pub fn overwrite(&self, bytes: impl Into<Vec<u8>>) {
        self.lock().overwrite(Content::Value(bytes.into()));
    }

    /// Removes the record as a stream purge does: no node gets a notice, and the newest revision
    /// stays the same.
    pub fn purge(&self) {
        if let Some(bucket) = self.lock().bucket.as_mut() {
            bucket.entry = None;
        }
    }

    /// Deletes the bucket; the next one is another incarnation.
    pub fn delete_bucket(&self) {
        self.lock().bucket = None;
    }

    /// Sends every node a notice of a revision that was never stored.
    pub fn forge_notice(&self, entry: &Entry) {
        self.lock().notify(entry);
    }

    /// Remembers the bucket as it is.
    #[must_use]
    pub fn backup(&self) -> MemoryBackup {
        MemoryBackup(self.lock().bucket.clone())
    }

    /// Puts the bucket back to the backup, incarnation included: acknowledged writes are lost.
    pub fn restore(&self, backup: &MemoryBackup) {
        self.lock().bucket.clone_from(&backup.0);
    }
}

impl fmt::Debug for MemoryServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryServer").field("bucket", &self.lock().bucket).finish()
    }
}

impl Shared {
    fn overwrite(&mut self, content: Content) {
        if let Some(bucket) = self.bucket.as_mut() {
            let entry = bucket.store(content, None);
            self.stored += 1;
            self.notify(&entry);
        }
    }

    fn notify(&mut self, entry: &Entry) {
        for node in &mut self.nodes {
            node.notice(entry.clone());
        }
    }

    /// Responds to a request that has arrived.
    fn respond(&mut self, index: usize, request: Request) -> Outcome {
        self.requests += 1;
        match self.nodes[index].refusal() {
            Some(error) => Outcome::Failed(error),
            None => self.execute(request),
        }
    }

    /// Carries a request out.
    fn execute(&mut self, request: Request) -> Outcome {
        match request {
            Request::Read => match &self.bucket {
                Some(bucket) => Outcome::Read(bucket.snapshot()),
                None => Outcome::NoBucket,
            },
            Request::CreateBucket { first_seq } => {
                if self.bucket.is_none() {
                    self.incarnations += 1;
                    self.bucket = Some(Bucket::new(self.incarnations, first_seq));
                }
                Outcome::Created
            }
            Request::Write { expect, id, value } => {
                let Some(bucket) = self.bucket.as_mut() else {
                    return Outcome::Failed(StoreError::NoResponders("the bucket".into()));
                };
                if !bucket.holds(expect) {
                    return Outcome::LostRace;
                }
                let entry = bucket.store(Content::Value(value), id);
                self.stored += 1;
                self.notify(&entry);
                Outcome::Stored { revision: entry.revision }
            }
        }
    }

    /// Takes a request from a node, as far as its link lets it through.
    fn submit(&mut self, index: usize, ticket: Ticket, request: Request) {
        if let Some(request) = self.nodes[index].send(ticket, request) {
            let outcome = self.respond(index, request);
            self.nodes[index].answer(ticket, outcome);
        }
    }

    /// Lets the requests through that a frozen link held back.
    fn thaw(&mut self, index: usize) {
        for sent in self.nodes[index].thaw() {
            let outcome = self.respond(index, sent.request);
            if !sent.abandoned {
                self.nodes[index].answer(sent.ticket, outcome);
            }
        }
    }
}

/// One node's connection to a [`MemoryServer`].
///
/// ```
/// use leasehold::clock::Clock;
/// use leasehold::store::memory::MemoryServer;
/// use leasehold::{Config, Node};
///
/// let store = MemoryServer::new().connect(Clock::boot());
/// let link = store.link(); // kept to cut the connection; the node takes the store
/// let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// let node = Node::builder(config).store(store).start()?;
/// # drop(link);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MemoryStore {
    link: MemoryLink,
    clock: Clock,
    /// Holds a message when there may be something new to deliver.
    signal: Receiver<()>,
    waiter: Waiter,
}

impl MemoryStore {
    /// The handle that cuts, freezes and delays this node's connection.
    #[must_use]
    pub fn link(&self) -> MemoryLink {
        self.link.clone()
    }

    /// What to return from a poll, or how long to sleep. Under the server's lock as a whole: no
    /// event and no wake-up is taken while the node counts as idle.
    fn look(&mut self, until: Timestamp) -> ControlFlow<Option<StoreEvent>, Duration> {
        let mut shared = self.link.server.lock();
        let node = &mut shared.nodes[self.link.index];
        node.idle_until = None;
        self.waiter.look();
        while self.signal.try_recv().is_ok() {}
        let due = match node.next() {
            Ok(event) => return ControlFlow::Break(Some(event)),
            Err(due) => due.unwrap_or(Timestamp::MAX),
        };
        let now = self.clock.now();
        if self.waiter.take() || now >= until {
            return ControlFlow::Break(None);
        }
        node.idle_until = Some(until);
        self.link.server.0.idle.notify_all();
        ControlFlow::Continue(due.min(until).since(now).min(LONGEST_WAIT))
    }
}

impl Store for MemoryStore {
    fn submit(&mut self, ticket: Ticket, request: Request) {
        self.link.with(|shared, index| shared.submit(index, ticket, request));
    }

    fn waker(&self) -> Waker {
        self.waiter.waker()
    }

    fn poll(&mut self, until: Timestamp) -> Option<StoreEvent> {
        loop {
            match self.look(until) {
                ControlFlow::Break(result) => return result,
                ControlFlow::Continue(at_most) => {
                    self.waiter.sleep(at_most, |select| _ = select.recv(&self.signal));
                }
            }
        }
    }

    fn clock(&self) -> Clock {
        self.clock.clone()
    }

    fn reconnect(&mut self) {
        self.link.with(|shared, index| shared.nodes[index].reconnect());
    }

    fn close(&mut self, _until: Timestamp) {
        self.link.with(|shared, index| shared.nodes[index].close());
        self.link.server.0.idle.notify_all();
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.close(Timestamp::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Expect;

    /// A node that has seen its `Connected`, on a clock that stands still.
    fn node(server: &MemoryServer) -> (MemoryStore, Clock) {
        let clock = Clock::manual(Timestamp::from_nanos(1));
        let mut store = server.connect(clock.clone());
        assert!(matches!(next(&mut store), Some(StoreEvent::Connected { .. })));
        (store, clock)
    }

    fn next(store: &mut MemoryStore) -> Option<StoreEvent> {
        store.poll(Timestamp::ZERO)
    }

    fn ask(store: &mut MemoryStore, ticket: u64, request: Request) -> Outcome {
        store.submit(Ticket(ticket), request);
        loop {
            match next(store) {
                Some(StoreEvent::Completed { ticket: t, outcome }) if t.0 == ticket => {
                    return outcome;
                }
                Some(_) => {}
                None => panic!("no answer to {ticket}"),
            }
        }
    }

    fn write(revision: u64, last_seq: Option<u64>) -> Request {
        let expect = Expect { last_seq, ..Expect::revision(revision) };
        Request::Write { expect, id: None, value: b"x".to_vec() }
    }

    #[test]
    fn a_created_bucket_starts_where_it_was_asked_to() {
        let server = MemoryServer::new();
        let (mut store, _) = node(&server);
        assert_eq!(ask(&mut store, 1, Request::Read), Outcome::NoBucket);
        ask(&mut store, 2, Request::CreateBucket { first_seq: 8 });
        let Outcome::Read(snapshot) = ask(&mut store, 3, Request::Read) else { panic!() };
        assert_eq!((snapshot.last_seq, snapshot.pristine), (7, true));
        assert_eq!(ask(&mut store, 4, write(0, Some(7))), Outcome::Stored { revision: 8 });
        assert_eq!(ask(&mut store, 5, write(8, Some(7))), Outcome::LostRace);
    }

    #[test]
    fn a_request_sent_into_a_frozen_link_lands_with_the_thaw_though_it_was_given_up() {
        let server = MemoryServer::new();
        let (mut store, _) = node(&server);
        let link = store.link();
        ask(&mut store, 1, Request::CreateBucket { first_seq: 1 });
        link.freeze();
        store.submit(Ticket(2), write(0, None));
        assert_eq!(next(&mut store), None);
        store.reconnect();
        assert!(matches!(next(&mut store), Some(StoreEvent::Disconnected { .. })));
        assert!(matches!(
            next(&mut store),
            Some(StoreEvent::Completed { ticket: Ticket(2), outcome: Outcome::Unknown(_) })
        ));
        assert_eq!((server.stored(), next(&mut store)), (0, None));
        link.thaw();
        assert!(matches!(next(&mut store), Some(StoreEvent::Connected { .. })));
        assert_eq!(server.stored(), 1);
    }

    #[test]
    fn a_delayed_answer_comes_when_the_clock_says_so() {
        let server = MemoryServer::new();
        let (mut store, clock) = node(&server);
        store.link().delay_replies(Duration::from_millis(5));
        store.submit(Ticket(1), Request::Read);
        assert_eq!(next(&mut store), None);
        clock.advance(Duration::from_millis(5));
        assert!(matches!(next(&mut store), Some(StoreEvent::Completed { .. })));
    }

    #[test]
    fn requests_are_refused_as_often_as_was_asked_and_change_nothing() {
        let server = MemoryServer::new();
        let (mut store, _) = node(&server);
        ask(&mut store, 1, Request::CreateBucket { first_seq: 1 });
        let error = StoreError::Permission("a test".into());
        store.link().fail_requests(2, error.clone());
        for ticket in [2, 3] {
            assert_eq!(ask(&mut store, ticket, write(0, None)), Outcome::Failed(error.clone()));
        }
        assert_eq!((server.stored(), server.requests()), (0, 3));
        assert_eq!(ask(&mut store, 4, write(0, None)), Outcome::Stored { revision: 1 });
    }

    #[test]
    fn a_problem_arrives_over_the_link_and_only_while_connected() {
        let server = MemoryServer::new();
        let (mut store, _) = node(&server);
        let (link, error) = (store.link(), StoreError::JetStream("a test".into()));
        link.freeze();
        link.report_problem(error.clone());
        assert_eq!(next(&mut store), None);
        link.thaw();
        assert_eq!(next(&mut store), Some(StoreEvent::Problem(error.clone())));
        link.cut();
        link.report_problem(error);
        assert!(matches!(next(&mut store), Some(StoreEvent::Disconnected { .. })));
        assert_eq!(next(&mut store), None);
    }

    #[test]
    fn what_happened_comes_before_the_wake_up_and_the_wake_up_is_not_lost() {
        let server = MemoryServer::new();
        let (mut store, _) = node(&server);
        store.submit(Ticket(1), Request::Read);
        store.waker().wake();
        assert!(store.poll(Timestamp::MAX).is_some());
        assert_eq!(store.poll(Timestamp::MAX), None);
    }

    #[test]
    fn a_restored_backup_shows_lower_revisions_of_the_same_incarnation() {
        let server = MemoryServer::new();
        let (mut store, _) = node(&server);
        ask(&mut store, 1, Request::CreateBucket { first_seq: 1 });
        let backup = server.backup();
        ask(&mut store, 2, write(0, None));
        server.restore(&backup);
        let Outcome::Read(snapshot) = ask(&mut store, 3, Request::Read) else { panic!() };
        assert_eq!((snapshot.last_seq, snapshot.entry), (0, None));
    }
}
