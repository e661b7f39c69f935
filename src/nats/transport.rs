//! The seam between a [`Connection`](super::connection::Connection) and the clients below it.

use std::time::Duration;

use super::message::{Headers, Message};
use super::version::Version;
use crate::clock::Timestamp;
use crate::config::connection::ServerAddress;
use crate::error::StoreError;
use crate::wait::Waker;

/// The purpose of a connection, and how it is watched.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionOptions {
    /// Added to the connection's name on the server, if not empty.
    pub(crate) purpose: &'static str,
    /// Subjects that it is subscribed to as long as it stands.
    pub(crate) subjects: Vec<String>,
    /// A subject of hints, which are of use but not needed.
    pub(crate) hints: Option<String>,
    /// Messages that may wait to be read on each subject. A client that queues drops more.
    pub(crate) max_waiting: usize,
    /// Gives up a connection on which nothing arrives for 15 s, though the server was made to send
    /// something. Without it, the owner must notice missing responses and reconnect.
    pub(crate) keep_alive: bool,
}

/// Makes connections to servers, and waits for what happens on them.
///
/// There is at most one *present* connection, and one attempt to make another. No call blocks but
/// [`wait`](Self::wait) and [`close`](Self::close).
pub(super) trait Transport: Send {
    /// Starts an attempt to connect. Its result comes out of [`finished`](Self::finished) before
    /// `timeout` has passed, or a moment later.
    ///
    /// # Errors
    /// The attempt could not be started.
    fn connect(
        &mut self,
        server: &ServerAddress,
        timeout: Duration,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Gives the attempt up.
    fn give_up(&mut self);

    /// The result of the attempt, once. The new connection is the present one from now on, and the
    /// server has processed its subscriptions.
    fn finished(&mut self, now: Timestamp) -> Option<Result<Peer, StoreError>>;

    /// The next report of the present connection. `None` when there is none, and after each batch
    /// of messages.
    fn next(&mut self, now: Timestamp) -> Option<Incoming>;

    /// Sends a message on the present connection.
    fn send(&mut self, message: &Outgoing) -> Sent;

    /// Makes `subject` the subject of hints, if the connection has one. Once a new subscription is
    /// in place, [`ConnectionEvent::HintsMissed`] is reported.
    fn set_hints(&mut self, subject: &str);

    /// A response is expected on the present connection until `until`.
    fn expect_response(&mut self, _until: Timestamp) {}

    /// Whether the server of the present connection is about to shut down.
    fn is_leaving(&self) -> bool;

    /// Ends the present connection.
    fn disconnect(&mut self, now: Timestamp);

    /// Makes [`wait`](Self::wait) return.
    fn waker(&self) -> Waker;

    /// Takes the wake-ups so far. To be called *before* looking for reports.
    fn look(&mut self);

    /// Whether there was a wake-up that was not reported yet.
    fn take_wake(&mut self) -> bool;

    /// When something needs to be done if nothing happens.
    fn next_at(&self, now: Timestamp) -> Option<Timestamp>;

    /// Waits until there may be a result, a report or a wake-up, for at most `at_most`.
    fn wait(&mut self, at_most: Duration);

    /// Ends everything; waits until `until` for what was sent to arrive, and for threads.
    fn close(&mut self, until: Timestamp);
}

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// The server's address, without secrets.
    pub(super) server: String,
    pub(super) version: Version,
    /// Responses come on subjects of this and a number.
    pub(super) inbox_prefix: String,
}

/// A message to be sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) subject: String,
    /// Where a response is expected, if one is.
    pub(crate) reply: Option<String>,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

/// The result of sending a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Yes,
    /// Not now: the client takes nothing at present.
    Busy,
    /// The connection has ended, which is reported.
    Closed,
}

/// A report of a client.
pub(crate) enum Incoming {
    Event(ConnectionEvent),
    /// The text of another error of the server.
    ServerError(String),
    /// The connection has ended. Without a reason, the server closed it.
    Closed(Option<&'static str>),
}

impl Incoming {
    /// The report of a server's `-ERR`.
    pub(super) fn error(text: String) -> Self {
        match super::PermissionViolation::parse(&text) {
            Some(violation) => {
                let (subject, publish) = (violation.subject.to_owned(), violation.publish);
                let error = StoreError::Permission(text.as_str().into());
                Self::Event(ConnectionEvent::Denied { subject, publish, error })
            }
            None => Self::ServerError(text),
        }
    }
}

/// An event on a connection.
#[derive(Debug)]
pub(crate) enum ConnectionEvent {
    /// There is a connection, and the server has processed its subscriptions.
    Connected { server: String },
    /// The connection has ended, or a round has failed: an attempt to connect to each server.
    Disconnected { error: StoreError },
    /// A response to the request of that number.
    Response { request: u64, message: Message },
    /// A message on one of the subjects.
    Message(Message),
    /// Hints may have been missed.
    HintsMissed,
    /// The server does not permit publishing on, or else subscribing to, a subject.
    Denied { subject: String, publish: bool, error: StoreError },
}

/// The report of a message that arrived. `own_inbox` says whether it came by the subscription to
/// the connection's inbox; there, only responses count.
pub(super) fn arrived(message: Message, inbox_prefix: &str, own_inbox: bool) -> Option<Incoming> {
    if !own_inbox {
        return Some(Incoming::Event(ConnectionEvent::Message(message)));
    }
    let number = message.subject.strip_prefix(inbox_prefix)?.strip_prefix('.')?.parse().ok();
    // Number 0 is no request's.
    let request = number.filter(|number| *number > 0)?;
    Some(Incoming::Event(ConnectionEvent::Response { request, message }))
}
