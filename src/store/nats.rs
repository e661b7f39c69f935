//! The store on a NATS server: a JetStream key-value bucket over core NATS requests.
//!
//! [`NatsStore::poll`] is where everything is done; nothing blocks on the network. The store has a
//! connection of its own, which is made again when it ends, or when [`NatsStore::reconnect`] gives
//! it up.
//!
//! # How an outcome becomes certain
//! * A write names the stream and the revision it expects; JetStream checks both and stores in one
//!   step. Its acknowledgement says *stored* only with a revision, the right stream and no error.
//!   Three error codes say *lost the race*, and other errors of the request itself (4xx) that the
//!   write was refused.
//! * A read asks for the message and *then* for the stream. The message counts only if the stream
//!   is the incarnation that was known before the first question; else both are asked again.
//! * Everything else is *unknown*: no response, an unreadable one, an error of the server (5xx),
//!   the end of the connection. A response that comes later still decides a request that is
//!   unknown, as long as its connection stands.
//!
//! # Names of releases
//! A clean release has its name as `Nats-Msg-Id`, and a condition that names one is sent as
//! `Nats-Expected-Last-Msg-Id` beside the revision. JetStream compares it with the name of the
//! stream's newest message, so only that very release satisfies it. After a write into another key
//! it does not, which costs no more than a read. Servers remember the names of two minutes over a
//! restart.
//!
//! With more than one replica the condition is not sent, and counts as not holding: nats-server
//! 2.15.1 checks that header only when a write is applied on each replica, and takes a mismatch
//! there for a failure to write. The whole stream stops then, for a race that was merely lost. When
//! a bucket gets its replicas while nodes run, each node learns of it by its next read.

mod bucket;
#[cfg(all(any(test, fuzzing), feature = "_servers"))]
#[doc(hidden)]
pub mod bytes;
mod exchange;
mod jetstream;
mod notice;
mod races;
pub(crate) mod record;
mod stream_config;
mod subjects;

use std::fmt;
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::config::connection::ConnectionSettings;
use crate::error::StoreError;
use crate::nats::connection::{Connection, ConnectionOptions, UNANSWERED};
use crate::store::{Outcome, Request, Store, StoreEvent, Ticket, Waker};

pub use bucket::BucketOptions;
pub(crate) use bucket::REPLICAS_SINCE;
use record::RecordClient;

/// Messages that may wait to be read on a subject; more are dropped, which is allowed for responses
/// and for notices.
const MAX_WAITING: usize = 1024;
/// Messages taken in at a time, so that a flood of useless ones does not keep the caller from its
/// deadline.
const BATCH: usize = 64;

/// How long a server that answers without serving is kept at the most.
const LONGEST_PATIENCE: Duration = Duration::from_secs(2);

/// A lease's record on a NATS server; see the [module](self).
///
/// Threads: with the transport `direct` one for a moment while a name is resolved or files are
/// read, else none. With `nats-client` those of the `nats` crate (two) while connected, one while
/// connecting, and one for a moment while a connection is put away. All of them block all signals.
///
/// ```no_run
/// use std::time::Duration;
/// use leasehold::clock::Clock;
/// use leasehold::store::nats::{BucketOptions, NatsStore};
/// use leasehold::store::{Request, Store, StoreEvent, Ticket};
///
/// # let config = leasehold::Config::new("orders", "reader", ["nats://127.0.0.1:4222"])?;
/// let clock = Clock::boot();
/// let mut store = NatsStore::new(config.connection(), BucketOptions::of(&config), clock.clone())?;
/// let until = clock.now() + Duration::from_secs(5);
/// while let Some(event) = store.poll(until) {
///     match event {
///         StoreEvent::Connected { .. } => store.submit(Ticket(1), Request::Read),
///         other => println!("{other:?}"), // the record is in a `Completed`
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct NatsStore {
    bucket: String,
    clock: Clock,
    connection: Connection,
    record: RecordClient,
    /// Since when the server has said of every request that it cannot serve it.
    useless_since: Option<Timestamp>,
    /// How long that may last before the next server is tried; `None` with one server.
    patience: Option<Duration>,
}

impl NatsStore {
    /// Starts to connect in the background and returns at once.
    ///
    /// The outcome comes out of [`poll`](Store::poll): `Connected`, or `Disconnected` after each
    /// round of the servers that failed. `clock` times pauses and waits.
    ///
    /// # Errors
    /// [`StoreError::NoServers`] when the settings name none; [`StoreError::System`] when the
    /// operating system gives no descriptor to wait on.
    pub fn new(
        settings: &ConnectionSettings,
        bucket: BucketOptions,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let options = ConnectionOptions {
            purpose: "",
            subjects: Vec::new(),
            hints: Some(bucket.notice_subject()),
            max_waiting: MAX_WAITING,
            // The renewal loop notices missing responses, and reconnects.
            keep_alive: false,
        };
        let patience = bucket.min_max_age.min(LONGEST_PATIENCE * 4) / 4;
        Ok(Self {
            useless_since: None,
            patience: (settings.servers.len() > 1).then_some(patience),
            bucket: bucket.bucket(),
            clock: clock.clone(),
            connection: Connection::new(settings, options, clock)?,
            record: RecordClient::new(bucket, &settings.api_prefix),
        })
    }

    /// The next event. A server that answers without serving is given up after a while, like one
    /// that does not answer: a member that is cut off from its cluster does that for ever. One that
    /// has no JetStream is given up at once.
    fn next(&mut self) -> Option<StoreEvent> {
        let Some(event) = self.record.next() else {
            let error = self.connection.take_failures()?;
            return Some(StoreEvent::AttemptFailed { error });
        };
        if matches!(event, StoreEvent::Connected { .. }) {
            // Perhaps another server.
            self.useless_since = None;
        }
        let StoreEvent::Completed { outcome, .. } = &event else { return Some(event) };
        if let (Some(useless), Some(patience)) = (is_useless(outcome), self.patience) {
            let now = self.clock.now();
            let since = self.useless_since.take().filter(|_| useless).unwrap_or(now);
            let never = matches!(outcome, Outcome::Failed(StoreError::JetStream(_)));
            if useless && (never || now.since(since) >= patience) {
                self.connection.reconnect("given up, as it cannot serve requests");
            } else if useless {
                self.useless_since = Some(since);
            }
        }
        Some(event)
    }

    fn take_in(&mut self) {
        for _ in 0..BATCH {
            let Some(event) = self.connection.next() else { return };
            self.record.handle(&mut self.connection, event);
        }
    }
}

/// Whether the server answered and says that it cannot serve the request now; `None` when it was
/// not asked, or said something else about the request.
fn is_useless(outcome: &Outcome) -> Option<bool> {
    /// JetStream's codes of a cluster, or of its leader, that is not available.
    const UNAVAILABLE: [u32; 3] = [503, 10_008, 10_009];
    match outcome {
        Outcome::Failed(error) | Outcome::Unknown(error) => match error {
            StoreError::Server { code, .. } => UNAVAILABLE.contains(code).then_some(true),
            StoreError::NoResponders(_) | StoreError::JetStream(_) | StoreError::Malformed(_) => {
                Some(true)
            }
            _ => None,
        },
        _ => Some(false),
    }
}

impl Store for NatsStore {
    fn submit(&mut self, ticket: Ticket, request: Request) {
        self.record.submit(&mut self.connection, ticket, request);
    }

    fn waker(&self) -> Waker {
        self.connection.waker()
    }

    fn poll(&mut self, until: Timestamp) -> Option<StoreEvent> {
        loop {
            if let Some(event) = self.next() {
                return Some(event);
            }
            self.connection.look();
            self.take_in();
            if let Some(event) = self.next() {
                return Some(event);
            }
            if !self.connection.wait(until) {
                return None;
            }
        }
    }

    fn clock(&self) -> Clock {
        self.clock.clone()
    }

    fn reconnect(&mut self) {
        // Responses that have arrived still count.
        self.take_in();
        self.connection.reconnect(UNANSWERED);
    }

    fn close(&mut self, until: Timestamp) {
        self.record.clear();
        self.connection.close(until);
    }
}

impl fmt::Debug for NatsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsStore")
            .field("bucket", &self.bucket)
            .field("server", &self.connection.server())
            .finish_non_exhaustive()
    }
}
