//! A connection to one of the servers, made again when it ends.
//!
//! [`Connection::poll`] does all work: it takes messages and reports of the client in, sends the
//! messages that could not be sent at once, and starts attempts to connect. Nothing blocks on the
//! network: attempts run on threads of their own, and messages that the client cannot take yet wait
//! in a bounded outbox.
//!
//! # What is known of a message that was sent
//! Nothing, until a response arrives. A message is sent on the present connection or not at all:
//! messages that wait in the outbox when the connection ends are dropped. After
//! [`ConnectionEvent::Disconnected`], no response to an earlier request arrives any more. A message
//! is accepted only when the caller has taken all changes of the connection out, so a request never
//! belongs to another connection than the caller knows of.
//!
//! # One connection for each purpose
//! The lease store shares its connection with nothing else. The client reads all subscriptions with
//! one thread and writes under one lock, so a flood of requests would delay renewals. And a renewal
//! loop that gets no responses gives its connection up, which would interrupt requests.

use std::collections::VecDeque;
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::message::Headers;
use super::nats_client::{Connector, NatsClient};
use super::server_error::is_about_credentials;
pub(crate) use super::transport::{ConnectionEvent, ConnectionOptions};
use super::transport::{Incoming, Outgoing, Sent};
use super::version::Version;
use crate::clock::{Clock, Timestamp};
use crate::config::connection::ConnectionSettings;
use crate::error::StoreError;
use crate::wait::Waiter;

/// The longest single wait, so that a suspend is noticed.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// How soon a message is tried again that could not be sent.
const RESEND: Duration = Duration::from_millis(1);
/// How often a busy client is asked again before a message has to wait.
const SPINS: u32 = 16;
/// Messages that wait to be sent; more are refused.
const MAX_OUTBOX: usize = 256;

/// See the [module](self). Owned by one thread.
pub(crate) struct Connection {
    clock: Clock,
    waiter: Waiter,
    connector: Connector,
    client: Option<Box<NatsClient>>,
    outbox: VecDeque<Outgoing>,
    /// Begins and ends of connections that were not handed out yet.
    changes: VecDeque<ConnectionEvent>,
    /// The number of the last request.
    requests: u64,
    /// The server's last error, for the case that the connection ends.
    last_error: Option<String>,
}

impl Connection {
    /// Starts to connect in the background and returns at once.
    pub(crate) fn new(
        settings: &ConnectionSettings,
        options: ConnectionOptions,
        clock: Clock,
    ) -> Self {
        let mut connection = Self {
            connector: Connector::new(settings, options, clock.clone()),
            clock,
            waiter: Waiter::default(),
            client: None,
            outbox: VecDeque::new(),
            changes: VecDeque::new(),
            requests: 0,
            last_error: None,
        };
        connection.connect();
        connection
    }

    /// The server that is connected to, without secrets.
    pub(crate) fn server(&self) -> Option<&str> {
        self.client.as_ref().map(|client| client.server.as_str())
    }

    /// Its version.
    pub(crate) fn version(&self) -> Version {
        self.client.as_ref().map(|client| client.version).unwrap_or_default()
    }

    /// Whether `subject` is for responses to this connection.
    pub(crate) fn is_own_inbox(&self, subject: &str) -> bool {
        self.client.as_ref().is_some_and(|client| subject.starts_with(&client.inbox_prefix))
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
        let inbox = self.client.as_ref().map(|client| client.inbox_prefix.as_str());
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
        if self.client.is_none() || !self.changes.is_empty() {
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

    /// Responses are expected until `until`.
    pub(crate) fn expect_response(&mut self, until: Timestamp) {
        if let Some(client) = &mut self.client {
            client.expect_response(until);
        }
    }

    /// Makes `subject` the subject of hints, if the connection has one.
    pub(crate) fn set_hints(&mut self, subject: &str) {
        self.connector.set_hints(subject);
    }

    /// The next event, or `None` as soon as `wake` holds a message (which is taken) or the clock
    /// reads `until`. Events from before a wake-up are returned before it.
    pub(crate) fn poll(
        &mut self,
        wake: &Receiver<()>,
        until: Timestamp,
    ) -> Option<ConnectionEvent> {
        loop {
            self.look_for(wake);
            if let Some(event) = self.next() {
                return Some(event);
            }
            if !self.wait(wake, until) {
                return None;
            }
        }
    }

    /// Takes a message from `wake`, for [`wait`](Self::wait). To be called before
    /// [`next`](Self::next).
    pub(crate) fn look_for(&mut self, wake: &Receiver<()>) {
        self.waiter.look(wake);
    }

    /// The next event, without waiting.
    pub(crate) fn next(&mut self) -> Option<ConnectionEvent> {
        self.connector.clear_wakes();
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

    /// Waits until there may be an event. False at once when `wake` held a message or the
    /// clock reads `until`.
    pub(crate) fn wait(&mut self, wake: &Receiver<()>, until: Timestamp) -> bool {
        let now = self.clock.now();
        if self.waiter.take() || now >= until {
            return false;
        }
        let at_most = until.since(now).min(self.idle_time(now));
        self.waiter.sleep(wake, at_most, |select| {
            self.connector.wait_on(select);
            if let Some(client) = &self.client {
                client.wait_on(select);
            }
        });
        true
    }

    /// Gives the present connection up and makes a new one.
    pub(crate) fn reconnect(&mut self) {
        self.lose(Some("given up, as nothing responded in time"));
        self.connect();
    }

    /// Closes the connection, and waits for its threads until `until`.
    pub(crate) fn close(&mut self, until: Timestamp) {
        self.client = None;
        self.outbox.clear();
        self.changes.clear();
        loop {
            // An attempt that still succeeds is dropped here.
            self.connector.close();
            if !self.connector.is_busy() || self.clock.now() >= until {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn receive(&mut self) -> Option<ConnectionEvent> {
        let now = self.clock.now();
        loop {
            match self.client.as_mut()?.next(now)? {
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
        if !is_about_credentials(&text) {
            log::warn!("{}: server error: {text}", self.server().unwrap_or_default());
        }
        self.last_error = Some(text);
    }

    fn flush(&mut self) {
        while let (Some(client), Some(next)) = (&mut self.client, self.outbox.front()) {
            match send(client, next) {
                Sent::Yes => drop(self.outbox.pop_front()),
                // A client that has ended reports that after the messages it received.
                Sent::Busy | Sent::Closed => return,
            }
        }
    }

    fn connect(&mut self) {
        match self.connector.poll(self.client.as_deref_mut()) {
            Some(Ok(client)) => {
                self.end(Some("the server is shutting down (lame duck mode)"));
                self.last_error = None;
                let server = client.server.clone();
                self.changes.push_back(ConnectionEvent::Connected { server });
                self.client = Some(client);
            }
            Some(Err(error)) if self.client.is_none() => {
                self.changes.push_back(ConnectionEvent::Disconnected { error });
            }
            // While another connection stands, a failed attempt makes no difference.
            Some(Err(_)) | None => {}
        }
    }

    fn lose(&mut self, reason: Option<&str>) {
        if let Some(client) = self.end(reason) {
            self.connector.lost(&client);
        }
    }

    /// Ends the present connection, if there is one.
    fn end(&mut self, reason: Option<&str>) -> Option<Box<NatsClient>> {
        let client = self.client.take()?;
        self.outbox.clear();
        let error = self.disconnection(&client.server, reason);
        self.changes.push_back(ConnectionEvent::Disconnected { error });
        Some(client)
    }

    fn disconnection(&mut self, server: &str, reason: Option<&str>) -> StoreError {
        let last_error = self.last_error.take().filter(|_| reason.is_none());
        match last_error {
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
        let client = self.client.as_deref();
        let echo_at = client.and_then(|client| client.next_at(now));
        let due = echo_at.into_iter().chain(self.connector.next_at(client));
        due.map(|at| at.since(now)).min().unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close(Timestamp::ZERO);
    }
}

fn send(client: &mut NatsClient, message: &Outgoing) -> Sent {
    for _ in 0..SPINS {
        let sent = client.send(message);
        if sent != Sent::Busy {
            return sent;
        }
        std::thread::yield_now();
    }
    Sent::Busy
}
