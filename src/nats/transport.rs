//! The types that a [`Connection`](super::connection::Connection) and the client below it share.

use super::message::{Headers, Message};
use crate::error::StoreError;

/// The purpose of a connection, and how it is watched.
#[derive(Debug, Default)]
pub(crate) struct ConnectionOptions {
    /// Added to the connection's name on the server, if not empty.
    pub(crate) purpose: &'static str,
    /// Subjects that it is subscribed to as long as it stands.
    pub(crate) subjects: Vec<String>,
    /// A subject of hints, which are of use but not needed. When connections end again and again
    /// soon after they subscribed to it, the next ones do not.
    pub(crate) hints: Option<String>,
    /// Messages that may wait to be read on each subject; more are dropped.
    pub(crate) max_waiting: usize,
    /// Gives up a connection on which nothing arrives for 15 s, an echo included. Without it, the
    /// owner must notice missing responses and reconnect.
    pub(crate) keep_alive: bool,
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
    /// The client has ended, which it reports.
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

/// An event on a connection.
#[derive(Debug)]
pub(crate) enum ConnectionEvent {
    /// There is a connection, and the server has processed its subscriptions.
    Connected { server: String },
    /// The connection has ended, or an attempt to connect has failed.
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
