//! The store on a NATS server: a JetStream key-value bucket over core NATS requests.
//!
//! The blocking `nats` client is used as a transport only, and only in this file group. Its own
//! key-value and JetStream parts are not: their calls have no timeout, they take a lost race for a
//! success, and they keep writes for after a reconnect. What is left is some JSON over requests
//! with an inbox of our own.
//!
//! # How it works
//! [`NatsStore::poll`] is the only place where anything is done. It reads replies, notices and the
//! client's signals from channels, sends what could not be sent at once, and starts attempts to
//! connect. An attempt runs on a thread of its own, which first probes the server under
//! a deadline and then builds the client. Every disconnect is the end of that client; so is
//! [`NatsStore::reconnect`]. `link.rs` has the argument why sending never blocks and how a client
//! is put away.
//!
//! # How an outcome becomes certain
//! * A write names the stream and the revision it expects; JetStream checks both and stores in one
//!   step. The acknowledgement is read with suspicion: an error or a missing revision is never
//!   success, and both codes of a lost race are known.
//! * A read asks for the message and *then* for the stream: only when that is the incarnation which
//!   was known before the first question does the message count.
//! * What nobody answers, or answers unreadably, is unknown; a definite answer may still follow.
//!
//! # Names
//! A clean release bears its name as `Nats-Msg-Id`, and a condition that names one is sent as
//! `Nats-Expected-Last-Msg-Id` beside the revision. JetStream compares it with the name of the
//! stream's newest message, whatever that is, so nothing but that very release satisfies it; not
//! after a write into another key either, which costs no more than a read. Servers remember the
//! names of two minutes over a restart.
//!
//! With more than one replica the condition is not sent, and counts as not holding: nats-server
//! 2.15.1 checks that header only when a write is applied on each replica, and takes a mismatch
//! there for a failure to write. The whole stream stops then, for a race that was merely lost.
//! Where a bucket is given its replicas while nodes run, each node learns of it by its next read.
//!
//! # Limits
//! * The client reads a server's lines into a buffer of 4096 bytes and panics on a longer one. The
//!   probe refuses such a server; one that turns so later costs that connection its reading thread,
//!   and the silence that follows makes the renewal loop build a new one.
//! * The client does not limit the size of an incoming message.
//! * It gives up a connection on which headers come that it cannot read. `hearing.rs` says what
//!   keeps a forger of notices from making use of that; on the inbox there is no such remedy.
//! * Over TLS the client's flushing thread may read a reply that its reading thread then sees only
//!   with the next bytes. The renewal loop's timeout and read cover that.
//! * Servers that want TLS before their INFO (`handshake_first`) are not supported by the client.
#![allow(deprecated)] // The client is deprecated as a whole; see the guide, "dependencies".

mod auth;
mod bucket;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod bytes;
mod connector;
pub(crate) mod courier;
mod exchange;
mod handshake;
mod hearing;
mod jetstream;
mod link;
mod notice;
mod protocol;
mod tls;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::slice::from_ref;
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::clock::{Clock, Timestamp};
use crate::config::connection::ConnectionSettings;
use crate::error::StoreError;
use crate::store::wait::Waiter;
use crate::store::{Incarnation, Outcome, Request, Store, StoreEvent, Ticket};

pub use bucket::BucketOptions;
use connector::Connector;
use exchange::Exchanges;
use hearing::Hearing;
use jetstream::Subjects;
use link::{Failure, Link, Signal};

/// The longest single wait, so that a suspend is noticed.
const SLICE: Duration = Duration::from_millis(500);
/// How soon a message is tried again that could not be sent.
const RESEND: Duration = Duration::from_millis(1);
/// Replies and notices that may wait to be read; more are dropped, which is allowed for both.
const MAX_WAITING: usize = 1024;
/// Messages taken in at a time, so that a flood does not keep the caller from its deadline.
const BATCH: usize = 64;
/// Complaints that are remembered, so that each is told once.
const MAX_COMPLAINTS: usize = 64;

/// A lease's record on a NATS server; see the [module](self).
///
/// Threads: those of the client (two) while connected; one while connecting; one for a moment while
/// a connection is put away. Ours block all signals and so do the client's.
pub struct NatsStore {
    options: BucketOptions,
    subjects: Subjects,
    clock: Clock,
    waiter: Waiter,
    connector: Connector,
    signals: Receiver<Signal>,
    link: Option<Box<Link>>,
    exchanges: Exchanges,
    /// What could not be sent yet, in order.
    outbox: VecDeque<protocol::Message>,
    /// What happened and was not told yet.
    events: VecDeque<StoreEvent>,
    known: Option<Incarnation>,
    /// The bucket has more than one replica, or may have.
    replicated: bool,
    notice_subject: String,
    hearing: Hearing,
    /// A subject on which nobody says anything.
    silence: String,
    /// Subjects whose refusal was told on this connection.
    complaints: HashSet<String>,
    /// The server's last words, should the connection end.
    last_words: Option<String>,
    warned: Option<Incarnation>,
}

impl NatsStore {
    /// Starts to connect in the background and returns at once.
    ///
    /// The outcome comes out of [`poll`](Store::poll): `Connected`, or `Disconnected` after each
    /// attempt that failed. `clock` times pauses and waits.
    #[must_use]
    pub fn new(connection: ConnectionSettings, bucket: BucketOptions, clock: Clock) -> Self {
        let subjects = Subjects::new(&bucket.bucket(), &connection.api_prefix);
        let notice_subject = bucket.notice_subject();
        let silence = format!("{}.0", link::new_inbox(&connection.inbox_prefix));
        let (connector, signals) = Connector::new(connection, clock.clone(), MAX_WAITING);
        let mut store = Self {
            options: bucket,
            subjects,
            clock,
            waiter: Waiter::default(),
            connector,
            signals,
            link: None,
            exchanges: Exchanges::default(),
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            known: None,
            replicated: true,
            notice_subject,
            hearing: Hearing::default(),
            silence,
            complaints: HashSet::new(),
            last_words: None,
            warned: None,
        };
        store.work();
        store
    }

    /// Everything that can be done without waiting.
    fn work(&mut self) {
        self.receive();
        self.look_after_link();
        self.resend();
        self.connect();
    }

    /// Takes in what other threads left for us.
    fn receive(&mut self) {
        // Replies before signals: what arrived before a connection was lost still counts.
        self.receive_messages();
        for _ in 0..BATCH {
            let Ok(signal) = self.signals.try_recv() else { return };
            match signal {
                Signal::Attempt { number, result } => self.attempted(number, result),
                Signal::Look => {}
            }
        }
    }

    fn receive_messages(&mut self) {
        let Some(link) = &self.link else { return };
        let (inbox, notices) = (link.inbox.clone(), link.heard.first().cloned());
        let prefix = link.inbox_prefix.clone();
        for message in inbox.try_iter().take(BATCH) {
            if let Some(reply) = protocol::Reply::of(&message, &prefix) {
                self.replied(&reply);
            }
        }
        for message in notices.iter().flat_map(Receiver::try_iter).take(BATCH) {
            self.events.extend(self.noticed(&message));
        }
    }

    fn look_after_link(&mut self) {
        self.listen_again();
        let Some(link) = self.link.as_mut() else { return };
        if link.take_resubscribed() {
            // What happened between the last read and now was not heard.
            self.events.push_back(StoreEvent::Hint);
        }
        // Looked at first: what it said before it was lost is known then.
        let lost = link.is_lost();
        for words in link.take_complaints() {
            self.complained(&words);
        }
        if lost {
            self.lose(None);
        }
    }

    /// Starts an attempt when one is due: there is no connection, or its server is about to leave.
    fn connect(&mut self) {
        if !self.wants_connection() {
            return;
        }
        let listens = self.hearing.listens(self.clock.now());
        let subject = if listens { &self.notice_subject } else { &self.silence };
        if let Some(error) = self.connector.advance(self.link.is_some(), from_ref(subject)) {
            self.attempt_failed(error);
        }
    }

    fn wants_connection(&self) -> bool {
        self.link.as_ref().is_none_or(|link| link.is_lame())
    }

    fn attempted(&mut self, number: u64, result: Result<Box<Link>, Failure>) {
        if !self.connector.finished(number, result.is_ok()) {
            // It was given up meanwhile. A link ends when it is dropped.
            return;
        }
        match result {
            Err(failure) => {
                if failure.listened && self.link.is_none() {
                    self.ended_at_once();
                }
                self.attempt_failed(failure.error);
            }
            Ok(link) => {
                if self.link.is_some() {
                    self.lose(Some("the server is shutting down (lame duck mode)"));
                }
                self.connected(link);
            }
        }
    }

    fn connected(&mut self, link: Box<Link>) {
        log::debug!(cluster = self.options.cluster_id.as_str(), server = link.server.as_str();
            "connected");
        self.complaints.clear();
        self.last_words = None;
        self.hearing.begin(self.clock.now(), !link.listens_on(&self.silence));
        self.events.push_back(StoreEvent::Connected { server: link.server.clone() });
        self.link = Some(link);
        // It may be another server, and was not asked yet.
        self.replicated = true;
    }

    fn attempt_failed(&mut self, error: StoreError) {
        // While another connection stands, nobody needs to know.
        if self.link.is_none() {
            self.events.push_back(StoreEvent::Disconnected { error });
        }
    }

    /// Ends the present connection, if there is one: everything outstanding is unknown.
    fn lose(&mut self, reason: Option<&str>) {
        let Some(link) = self.link.take() else { return };
        self.connector.lost(link.number);
        self.stopped_hearing();
        let error = self.disconnection(&link.server, reason);
        drop(link);
        self.outbox.clear();
        self.events.push_back(StoreEvent::Disconnected { error: error.clone() });
        for ticket in self.exchanges.clear() {
            let outcome = Outcome::Unknown(error.clone());
            self.events.push_back(StoreEvent::Completed { ticket, outcome });
        }
    }

    /// A connection came to its end before it was ours.
    fn ended_at_once(&mut self) {
        let now = self.clock.now();
        self.hearing.begin(now, self.hearing.listens(now));
        self.stopped_hearing();
    }

    fn stopped_hearing(&mut self) {
        if self.hearing.end(self.clock.now()) {
            log::warn!(cluster = self.options.cluster_id.as_str();
                "connections end soon after they began to listen on {}; for a minute none does",
                self.notice_subject);
        }
    }

    fn disconnection(&mut self, server: &str, reason: Option<&str>) -> StoreError {
        let words = self.last_words.take();
        match (reason, words) {
            (None, Some(words)) if handshake::is_about_credentials(&words) => {
                StoreError::Authentication { server: server.into(), reason: words.into() }
            }
            (None, Some(words)) => StoreError::Disconnected(format!("{server}: {words}").into()),
            (None, None) => StoreError::Disconnected(format!("{server} closed it").into()),
            (Some(reason), _) => StoreError::Disconnected(format!("{server}: {reason}").into()),
        }
    }

    /// How long nothing needs to be done if nothing happens.
    fn idle_time(&self, now: Timestamp) -> Duration {
        if !self.outbox.is_empty() {
            return RESEND;
        }
        self.connector.idle_time(now, self.wants_connection()).min(SLICE)
    }

    fn sleep(&self, wake: &Receiver<()>, at_most: Duration) {
        self.waiter.sleep(wake, at_most, |select| {
            select.recv(&self.signals);
            if let Some(link) = &self.link {
                select.recv(&link.inbox);
                for heard in &link.heard {
                    select.recv(heard);
                }
            }
        });
    }
}

impl Store for NatsStore {
    fn submit(&mut self, ticket: Ticket, request: Request) {
        self.begin(ticket, request);
    }

    fn poll(&mut self, wake: &Receiver<()>, until: Timestamp) -> Option<StoreEvent> {
        loop {
            self.waiter.look(wake);
            if self.events.is_empty() {
                self.work();
            }
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let now = self.clock.now();
            if self.waiter.take() || now >= until {
                return None;
            }
            self.sleep(wake, until.since(now).min(self.idle_time(now)));
        }
    }

    fn reconnect(&mut self) {
        self.receive();
        self.lose(Some("given up, as it answered nothing in time"));
        self.connect();
    }

    fn close(&mut self, until: Timestamp) {
        self.connector.close();
        self.link = None;
        self.outbox.clear();
        self.exchanges.clear();
        self.events.clear();
        while self.connector.is_busy() && self.clock.now() < until {
            // A connection that still comes about is in the channel, and ends with its message.
            while self.signals.try_recv().is_ok() {}
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for NatsStore {
    fn drop(&mut self) {
        self.close(Timestamp::ZERO);
    }
}

impl fmt::Debug for NatsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsStore")
            .field("bucket", &self.options.bucket())
            .field("server", &self.link.as_ref().map(|link| &link.server))
            .finish_non_exhaustive()
    }
}
