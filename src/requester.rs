//! Sends requests to other nodes and reads the lease's record, on the caller's thread, under a
//! deadline.
//!
//! One requester has one connection, for any number of calls. A caller that needs both the record
//! and other nodes needs no second connection.

use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::config::connection::ConnectionSettings;
use crate::error::StoreError;
use crate::nats::connection::{Connection, ConnectionEvent, ConnectionOptions, UNANSWERED};
use crate::nats::message::{Headers, Message};
use crate::store::nats::BucketOptions;
use crate::store::nats::record::RecordClient;
use crate::store::{Outcome, Request, Snapshot, StoreEvent, Ticket};

/// The most responses that are taken to a request that all nodes answer.
const MAX_RESPONSES: usize = 4096;
/// A response's body is cut one byte above this, so that it is too long and small.
const MAX_BODY: usize = 64 * 1024;
/// How long one attempt to read the record may take, before another connection is tried.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause before the next attempt.
const READ_PAUSE: Duration = Duration::from_millis(50);

/// See the [module](self).
pub(crate) struct Requester {
    connection: Connection,
    api_prefix: String,
    clock: Clock,
    /// The servers, and why the last attempt with each failed since there was a connection.
    servers: Vec<(String, Option<StoreError>)>,
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequestError {
    /// Nothing is subscribed to the subject.
    NoResponders,
    /// No response in time. The request may have had an effect.
    TimedOut,
    /// There is no connection, or the server does not permit the request.
    Store(StoreError),
}

/// A response, and how long after the request it came.
#[derive(Debug)]
pub(crate) struct TimedResponse {
    pub(crate) message: Message,
    pub(crate) round_trip: Duration,
    /// The index of the request that it answers.
    pub(crate) request: usize,
}

impl Requester {
    /// Connects within `timeout`.
    ///
    /// # Errors
    /// That of the last attempt to connect; at once when waiting cannot help.
    pub(crate) fn connect(
        settings: &ConnectionSettings,
        timeout: Duration,
    ) -> Result<Self, StoreError> {
        let mut requester = Self::new(settings)?;
        let until = requester.clock.now() + timeout;
        requester.connected(until)?;
        Ok(requester)
    }

    /// Connects in the background.
    pub(crate) fn new(settings: &ConnectionSettings) -> Result<Self, StoreError> {
        let clock = Clock::boot();
        let options = ConnectionOptions {
            purpose: "requests",
            subjects: Vec::new(),
            hints: None,
            max_waiting: MAX_RESPONSES,
            keep_alive: true,
        };
        let connection = Connection::new(settings, options, clock.clone())?;
        let servers = settings.servers.iter().map(|server| (server.to_string(), None)).collect();
        Ok(Self { connection, api_prefix: settings.api_prefix.clone(), clock, servers })
    }

    /// The server that is connected to.
    pub(crate) fn server(&self) -> Option<&str> {
        self.connection.server()
    }

    fn connected(&mut self, until: Timestamp) -> Result<(), StoreError> {
        let mut problem = StoreError::TimedOut;
        // Waiting events are old. The present state of the connection is looked at last.
        loop {
            match self.connection.next() {
                Some(ConnectionEvent::Disconnected { error }) => {
                    if self.is_hopeless(&error) {
                        return Err(self.of_each_server(error));
                    }
                    problem = error;
                }
                Some(ConnectionEvent::Connected { .. }) => self.forget_reasons(),
                Some(_) => {}
                None if self.connection.ready().is_ok() => return Ok(()),
                None if self.connection.wait(until) => {}
                None => return Err(self.of_each_server(problem)),
            }
        }
    }

    fn forget_reasons(&mut self) {
        self.servers.iter_mut().for_each(|(_, reason)| *reason = None);
    }

    /// Takes note of a failed attempt. True when waiting cannot help: the error is that of every
    /// server, or each has one of its own that needs an operator.
    fn is_hopeless(&mut self, error: &StoreError) -> bool {
        let of = self.servers.iter_mut().find(|(server, _)| is_of_server(error, server));
        let Some((_, reason)) = of else { return !error.may_pass() };
        *reason = Some(error.clone());
        let refuses = |reason: &StoreError| !reason.may_pass();
        self.servers.iter().all(|(_, reason)| reason.as_ref().is_some_and(refuses))
    }

    /// The error that says of each of several servers why it cannot be used.
    fn of_each_server(&self, last: StoreError) -> StoreError {
        let of_one = self.servers.iter().any(|(server, _)| is_of_server(&last, server));
        let told = self.servers.iter().any(|(_, reason)| reason.is_some());
        // What no server can help must be read first.
        if self.servers.len() < 2 || !told || !(of_one || last.may_pass()) {
            return last;
        }
        let reasons = self.servers.iter().map(|(server, reason)| match reason {
            Some(StoreError::Unreachable { reason, .. }) => reason.to_string(),
            Some(reason) => reason.to_string(),
            None => format!("{server}: no result in time"),
        });
        StoreError::Unreachable {
            servers: format!("{} servers", self.servers.len()).into(),
            reason: reasons.collect::<Vec<_>>().join("; ").into(),
        }
    }

    /// Sends one request, and returns the first response.
    ///
    /// # Errors
    /// [`RequestError`].
    pub(crate) fn ask(
        &mut self,
        subject: &str,
        body: &[u8],
        timeout: Duration,
    ) -> Result<TimedResponse, RequestError> {
        let mut first = None;
        self.ask_until(&[subject.to_owned()], body, timeout, |response| {
            first = Some(response);
            true
        })?;
        first.ok_or(RequestError::TimedOut)
    }

    /// Sends a request on each subject, and returns all responses that come within `timeout`. That
    /// time passes, unless nothing is subscribed to any of the subjects.
    ///
    /// # Errors
    /// [`StoreError`] when there is no response and no connection, or no permission.
    pub(crate) fn ask_all(
        &mut self,
        subjects: &[String],
        timeout: Duration,
    ) -> Result<Vec<TimedResponse>, StoreError> {
        self.gather(subjects, timeout, MAX_RESPONSES)
    }

    /// Sends a request on each subject, and returns the first response to any of them, if one comes
    /// within `timeout`.
    ///
    /// # Errors
    /// As for [`ask_all`](Self::ask_all).
    pub(crate) fn ask_any(
        &mut self,
        subjects: &[String],
        timeout: Duration,
    ) -> Result<Vec<TimedResponse>, StoreError> {
        self.gather(subjects, timeout, 1)
    }

    /// Reads the lease's record; `None` when there is no bucket. Writes nothing.
    ///
    /// The rule is that of the lease store: the record counts only if the bucket is the incarnation
    /// that was known before. A read that comes to nothing is repeated until `timeout`.
    ///
    /// # Errors
    /// Why the last attempt came to nothing; at once when waiting cannot help.
    pub(crate) fn read_record(
        &mut self,
        config: &Config,
        timeout: Duration,
    ) -> Result<Option<Snapshot>, StoreError> {
        let until = self.clock.now() + timeout;
        let bucket = BucketOptions::of(config);
        loop {
            self.connected(until)?;
            let attempt_until = until.min(self.clock.now() + READ_TIMEOUT);
            match self.read_once(bucket.clone(), attempt_until) {
                Err(error) if !error.may_pass() || self.clock.now() + READ_PAUSE >= until => {
                    return Err(error);
                }
                Err(StoreError::TimedOut) => self.connection.reconnect(UNANSWERED),
                Err(_) => std::thread::sleep(READ_PAUSE),
                found => return found,
            }
        }
    }

    fn read_once(
        &mut self,
        bucket: BucketOptions,
        until: Timestamp,
    ) -> Result<Option<Snapshot>, StoreError> {
        let mut record = RecordClient::new(bucket, &self.api_prefix);
        self.connection.expect_response(until);
        record.submit(&mut self.connection, Ticket(0), Request::Read);
        loop {
            match record.next() {
                Some(StoreEvent::Completed { outcome, .. }) => return snapshot(outcome),
                Some(_) => {}
                None => {
                    let event = self.connection.poll(until);
                    record.handle(&mut self.connection, event.ok_or(StoreError::TimedOut)?);
                }
            }
        }
    }

    fn gather(
        &mut self,
        subjects: &[String],
        timeout: Duration,
        most: usize,
    ) -> Result<Vec<TimedResponse>, StoreError> {
        let mut responses = Vec::new();
        let ended = self.ask_until(subjects, b"", timeout, |response| {
            responses.push(response);
            responses.len() >= most
        });
        match ended {
            Ok(()) | Err(RequestError::NoResponders | RequestError::TimedOut) => Ok(responses),
            // Responses are worth more than the reason why there are no more.
            Err(RequestError::Store(_)) if !responses.is_empty() => Ok(responses),
            Err(RequestError::Store(error)) => Err(error),
        }
    }

    fn ask_until(
        &mut self,
        subjects: &[String],
        body: &[u8],
        timeout: Duration,
        mut take: impl FnMut(TimedResponse) -> bool,
    ) -> Result<(), RequestError> {
        let until = self.clock.now() + timeout;
        self.connected(until).map_err(RequestError::Store)?;
        self.connection.expect_response(until);
        let sent_at = self.clock.now();
        let mut open = Vec::new();
        for subject in subjects {
            let number = self.connection.request(subject, Headers::default(), body.to_vec());
            open.push(Some(number.map_err(RequestError::Store)?));
        }
        // A request is over; others may still be answered.
        let close = |open: &mut Vec<Option<u64>>, request: usize, why| {
            open[request] = None;
            if open.iter().any(Option::is_some) { Ok(()) } else { Err(why) }
        };
        loop {
            let event = self.connection.poll(until).ok_or(RequestError::TimedOut)?;
            match event {
                ConnectionEvent::Response { request: number, mut message } => {
                    let request = open.iter().position(|open| *open == Some(number));
                    let Some(request) = request else { continue };
                    if message.is_no_responders() {
                        close(&mut open, request, RequestError::NoResponders)?;
                        continue;
                    }
                    message.body.truncate(MAX_BODY + 1);
                    // The rest of a long body would be kept in memory with it.
                    message.body.shrink_to_fit();
                    let round_trip = self.clock.now().since(sent_at);
                    if take(TimedResponse { message, round_trip, request }) {
                        return Ok(());
                    }
                }
                ConnectionEvent::Denied { subject, publish: true, error } => {
                    let request = subjects.iter().position(|asked| *asked == subject);
                    if let Some(request) = request {
                        close(&mut open, request, RequestError::Store(error))?;
                    }
                }
                // No response can arrive.
                ConnectionEvent::Denied { error, .. } | ConnectionEvent::Disconnected { error } => {
                    return Err(RequestError::Store(error));
                }
                ConnectionEvent::Message(_)
                | ConnectionEvent::Connected { .. }
                | ConnectionEvent::HintsMissed => {}
            }
        }
    }
}

/// Whether an error of a connection is about that server.
fn is_of_server(error: &StoreError, server: &str) -> bool {
    let begins = |text: &str| text.strip_prefix(server).is_some_and(|rest| rest.starts_with(": "));
    match error {
        StoreError::Unreachable { reason, .. } => begins(reason),
        StoreError::Disconnected(reason) => begins(reason),
        StoreError::Authentication { server: of, .. } | StoreError::Tls { server: of, .. } => {
            **of == *server
        }
        _ => false,
    }
}

fn snapshot(outcome: Outcome) -> Result<Option<Snapshot>, StoreError> {
    match outcome {
        Outcome::Read(snapshot) => Ok(Some(snapshot)),
        Outcome::Failed(error) | Outcome::Unknown(error) => Err(error),
        // Nothing but a read was submitted.
        Outcome::NoBucket | Outcome::Created | Outcome::LostRace | Outcome::Stored { .. } => {
            Ok(None)
        }
    }
}
