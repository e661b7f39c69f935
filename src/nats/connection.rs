//! A connection to one of the servers, made again when it ends.
//!
//! [`Connection::poll`] does all work: it takes messages and reports of the transport in, sends the
//! messages that could not be sent at once, and starts attempts to connect. Nothing blocks on the
//! network: messages that the transport cannot take yet wait in a bounded outbox.
//!
//! # What is known of a message that was sent
//! Nothing, until a response arrives. A message is sent on the present connection or not at all:
//! messages that wait in the outbox when the connection ends are dropped. After
//! [`ConnectionEvent::Disconnected`], no response to an earlier request arrives any more. A message
//! is accepted only when the caller has taken all changes of the connection out, so a request never
//! belongs to another connection than the caller knows of.
//!
//! # One connection for each purpose
//! The lease store shares its connection with nothing else: a flood of requests would delay
//! renewals. And a renewal loop that gets no responses gives its connection up, which would
//! interrupt requests.

use std::collections::VecDeque;
use std::time::Duration;

use super::connector::{Attempted, Connector};
use super::message::Headers;
use super::server_error::is_about_credentials;
pub(crate) use super::transport::{ConnectionEvent, ConnectionOptions};
use super::transport::{Incoming, Outgoing, Peer, Sent, Transport};
use super::version::Version;
use crate::clock::{Clock, Timestamp};
use crate::config::connection::ConnectionSettings;
use crate::error::StoreError;
use crate::wait::Waker;

/// The longest single wait, so that a suspend is noticed.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// How soon a message is tried again that could not be sent.
const RESEND: Duration = Duration::from_millis(1);
/// How often a busy transport is asked again before a message has to wait.
const SPINS: u32 = 16;
/// How long after a server's error the end of the connection is put down to it.
const ERROR_COUNTS: Duration = Duration::from_secs(1);
/// Why a connection is given up whose server is mute.
pub(crate) const UNANSWERED: &str = "given up, as nothing responded in time";
/// Messages that wait to be sent; more are refused.
const MAX_OUTBOX: usize = 256;

/// See the [module](self). Owned by one thread.
pub(crate) struct Connection {
    clock: Clock,
    connector: Connector,
    transport: Box<dyn Transport>,
    /// The other end of the present connection.
    peer: Option<Peer>,
    outbox: VecDeque<Outgoing>,
    /// Begins and ends of connections that were not handed out yet.
    changes: VecDeque<ConnectionEvent>,
    /// The number of the last request.
    requests: u64,
    /// The server's last error, and when it came, for the case that the connection ends.
    last_error: Option<(Timestamp, String)>,
    /// An attempt to connect has failed since [failures](Self::take_failures) were last taken.
    failed: bool,
}

impl Connection {
    /// Starts to connect in the background and returns at once.
    ///
    /// # Errors
    /// [`StoreError::NoServers`]; [`StoreError::System`] when the operating system gives no
    /// descriptor or thread.
    pub(crate) fn new(
        settings: &ConnectionSettings,
        options: ConnectionOptions,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        if settings.servers.is_empty() {
            return Err(StoreError::NoServers);
        }
        let mut settings = settings.clone();
        if !options.purpose.is_empty() {
            settings.name = format!("{} {}", settings.name, options.purpose);
        }
        let transport = super::transport(settings.clone(), options, clock.clone())?;
        let mut connection = Self {
            connector: Connector::new(settings, clock.clone()),
            clock,
            transport,
            peer: None,
            outbox: VecDeque::new(),
            changes: VecDeque::new(),
            requests: 0,
            last_error: None,
            failed: false,
        };
        connection.connect();
        Ok(connection)
    }

    /// The server that is connected to, without secrets.
    pub(crate) fn server(&self) -> Option<&str> {
        self.peer.as_ref().map(|peer| peer.server.as_str())
    }

    /// Its version.
    pub(crate) fn version(&self) -> Version {
        self.peer.as_ref().map(|peer| peer.version).unwrap_or_default()
    }

    /// Whether `subject` is for responses to this connection.
    pub(crate) fn is_own_inbox(&self, subject: &str) -> bool {
        self.peer.as_ref().is_some_and(|peer| subject.starts_with(&peer.inbox_prefix))
    }

    /// Publishes a message, as soon as that is possible.
    ///
    /// # Errors
    /// [`StoreError::Disconnected`] when there is no connection, or too much is waiting already.
    /// The message is not sent later then.
    pub(crate) fn publish(
        &mut self,
        subject: &str,
        headers: Headers,
        body: Vec<u8>,
    ) -> Result<(), StoreError> {
        let subject = subject.to_owned();
        self.post(Outgoing { subject, reply: None, headers, body })
    }

    /// Publishes a message that expects responses, and returns the number that they carry. No other
    /// request of this connection has or will have that number.
    ///
    /// # Errors
    /// As for [`publish`](Self::publish).
    pub(crate) fn request(
        &mut self,
        subject: &str,
        headers: Headers,
        body: Vec<u8>,
    ) -> Result<u64, StoreError> {
        let number = self.requests + 1;
        let inbox = self.peer.as_ref().map(|peer| peer.inbox_prefix.as_str());
        let reply = Some(format!("{}.{number}", inbox.unwrap_or_default()));
        let subject = subject.to_owned();
        self.post(Outgoing { subject, reply, headers, body })?;
        self.requests = number;
        Ok(number)
    }

    /// Whether a message would be accepted.
    ///
    /// # Errors
    /// As for [`publish`](Self::publish).
    pub(crate) fn ready(&self) -> Result<(), StoreError> {
        let refused = |reason: &str| Err(StoreError::Disconnected(reason.into()));
        if self.peer.is_none() || !self.changes.is_empty() {
            return refused("there is no connection");
        }
        if self.outbox.len() >= MAX_OUTBOX {
            return refused("the connection takes nothing any more");
        }
        Ok(())
    }

    fn post(&mut self, message: Outgoing) -> Result<(), StoreError> {
        self.ready()?;
        self.outbox.push_back(message);
        self.flush();
        Ok(())
    }

    /// The error of the servers that were tried since the last [`ConnectionEvent::Disconnected`], if
    /// one of them has failed since the last call. Others are still to be tried.
    pub(crate) fn take_failures(&mut self) -> Option<StoreError> {
        std::mem::take(&mut self.failed).then(|| self.connector.failures())?
    }

    /// Responses are expected until `until`.
    pub(crate) fn expect_response(&mut self, until: Timestamp) {
        self.transport.expect_response(until);
    }

    /// Makes `subject` the subject of hints, if the connection has one.
    pub(crate) fn set_hints(&mut self, subject: &str) {
        self.transport.set_hints(subject);
    }

    /// Makes [`poll`](Self::poll) and [`wait`](Self::wait) return.
    pub(crate) fn waker(&self) -> Waker {
        self.transport.waker()
    }

    /// The next event, or `None` as soon as the waker was used or the clock reads `until`. Events
    /// from before a wake-up are returned before it.
    pub(crate) fn poll(&mut self, until: Timestamp) -> Option<ConnectionEvent> {
        loop {
            self.look();
            if let Some(event) = self.next() {
                return Some(event);
            }
            if !self.wait(until) {
                return None;
            }
        }
    }

    /// Takes the wake-ups so far, for [`wait`](Self::wait). To be called before
    /// [`next`](Self::next).
    pub(crate) fn look(&mut self) {
        self.transport.look();
    }

    /// The next event, without waiting.
    pub(crate) fn next(&mut self) -> Option<ConnectionEvent> {
        self.flush();
        if self.changes.is_empty() {
            if let Some(event) = self.receive() {
                return Some(event);
            }
            self.connect();
        }
        // In a flood of messages, `receive` makes a pause once in a while.
        self.changes.pop_front().or_else(|| self.receive())
    }

    /// Waits until there may be an event. False at once when there was a wake-up or the clock reads
    /// `until`.
    pub(crate) fn wait(&mut self, until: Timestamp) -> bool {
        let now = self.clock.now();
        if self.transport.take_wake() || now >= until {
            return false;
        }
        let at_most = until.since(now).min(self.idle_time(now));
        self.transport.wait(at_most);
        true
    }

    /// Gives the present connection up, for that reason, and makes a new one: with the next server
    /// if there are several.
    pub(crate) fn reconnect(&mut self, reason: &str) {
        self.lose(Some(reason));
        self.connect();
    }

    /// Closes the connection, and waits until `until` for what was sent and for threads.
    pub(crate) fn close(&mut self, until: Timestamp) {
        self.flush();
        self.peer = None;
        self.outbox.clear();
        self.changes.clear();
        self.connector.close();
        self.transport.close(until);
    }

    fn receive(&mut self) -> Option<ConnectionEvent> {
        self.peer.as_ref()?;
        let now = self.clock.now();
        loop {
            match self.transport.next(now)? {
                Incoming::Event(event) => return Some(event),
                Incoming::ServerError(text) => self.keep_error(text),
                Incoming::Closed(reason) => {
                    self.lose(reason);
                    return None;
                }
            }
        }
    }

    fn keep_error(&mut self, text: String) {
        let told = self.last_error.as_ref().is_some_and(|(_, last)| *last == text);
        if !told && !is_about_credentials(&text) {
            log::warn!("{}: server error: {text}", self.server().unwrap_or_default());
        }
        self.last_error = Some((self.clock.now(), text));
    }

    fn flush(&mut self) {
        while let Some(next) = self.outbox.front() {
            match send(&mut *self.transport, next) {
                Sent::Yes => drop(self.outbox.pop_front()),
                // A connection that has ended reports that after the messages it received.
                Sent::Busy | Sent::Closed => return,
            }
        }
    }

    /// Whether there is no connection, or only one whose server is about to shut down.
    fn wants_connection(&self) -> bool {
        self.peer.is_none() || self.transport.is_leaving()
    }

    fn connect(&mut self) {
        let (wanted, replacement) = (self.wants_connection(), self.peer.is_some());
        match self.connector.poll(&mut *self.transport, wanted, replacement) {
            Some(Attempted::Connected(peer)) => {
                self.end(Some("the server is shutting down (lame duck mode)"));
                self.last_error = None;
                let server = peer.server.clone();
                self.changes.push_back(ConnectionEvent::Connected { server });
                self.peer = Some(peer);
            }
            // While another connection stands, failed attempts make no difference.
            Some(_) if self.peer.is_some() => {}
            Some(Attempted::Failed) => self.failed = true,
            Some(Attempted::RoundFailed(error)) => {
                self.changes.push_back(ConnectionEvent::Disconnected { error });
            }
            None => {}
        }
    }

    fn lose(&mut self, reason: Option<&str>) {
        if self.end(reason) {
            self.transport.disconnect(self.clock.now());
            self.connector.lost();
        }
    }

    /// Reports the end of the present connection. False when there is none.
    fn end(&mut self, reason: Option<&str>) -> bool {
        let Some(peer) = self.peer.take() else { return false };
        self.outbox.clear();
        let error = self.disconnection(&peer.server, reason);
        self.changes.push_back(ConnectionEvent::Disconnected { error });
        true
    }

    fn disconnection(&mut self, server: &str, reason: Option<&str>) -> StoreError {
        let now = self.clock.now();
        let counts = |at: &Timestamp| reason.is_none() && now.since(*at) <= ERROR_COUNTS;
        let last_error = self.last_error.take().filter(|(at, _)| counts(at));
        match last_error.map(|(_, text)| text) {
            Some(text) if is_about_credentials(&text) => {
                StoreError::Authentication { server: server.into(), reason: text.into() }
            }
            text => {
                let reason = text.as_deref().or(reason).unwrap_or("the server closed it");
                StoreError::Disconnected(format!("{server}: {reason}").into())
            }
        }
    }

    /// How long nothing needs to be done if nothing happens.
    fn idle_time(&self, now: Timestamp) -> Duration {
        if !self.outbox.is_empty() {
            return RESEND;
        }
        let due = [self.transport.next_at(now), self.connector.next_at(self.wants_connection())];
        let due = due.into_iter().flatten().map(|at| at.since(now)).min();
        due.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close(Timestamp::ZERO);
    }
}

fn send(transport: &mut dyn Transport, message: &Outgoing) -> Sent {
    for _ in 0..SPINS {
        let sent = transport.send(message);
        if sent != Sent::Busy {
            return sent;
        }
        std::thread::yield_now();
    }
    Sent::Busy
}
