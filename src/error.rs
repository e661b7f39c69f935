//! Errors, sorted by what the caller can do about them.

use std::sync::Arc;

use thiserror::Error;

/// What a store complains of.
///
/// Whether a request had an effect is not said here but by
/// [`Outcome::Failed`](crate::store::Outcome::Failed) and
/// [`Outcome::Unknown`](crate::store::Outcome::Unknown).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No server answers. Check the addresses and the network; it is tried again.
    #[error("no connection to {servers}: {reason}")]
    Unreachable {
        /// The configured servers, without secrets.
        servers: Arc<str>,
        /// What the last attempt said.
        reason: Arc<str>,
    },
    /// The server refused the credentials. Retrying is of no use until they are changed.
    #[error("{server} refused the credentials: {reason}")]
    Authentication {
        /// The server.
        server: Arc<str>,
        /// Its words.
        reason: Arc<str>,
    },
    /// The credentials cannot be used, and no server was asked: a file is missing, unreadable, or
    /// not what it should be.
    #[error("unusable credentials: {0}")]
    Credentials(Arc<str>),
    /// TLS could not be agreed on.
    #[error("TLS with {server} failed: {reason}")]
    Tls {
        /// The server.
        server: Arc<str>,
        /// Why.
        reason: Arc<str>,
    },
    /// The account may not use a subject that is needed.
    #[error("not permitted: {0}")]
    Permission(Arc<str>),
    /// The server has no JetStream, or the account may not use it.
    #[error("JetStream is not available: {0}")]
    JetStream(Arc<str>),
    /// The bucket cannot hold a lease safely.
    #[error("bucket {bucket} is unsuitable: {reason}")]
    Bucket {
        /// Its name.
        bucket: Arc<str>,
        /// What is wrong, and what would be accepted.
        reason: Arc<str>,
    },
    /// The server answered with an error of its own.
    #[error("the server said {code}: {description}")]
    Server {
        /// JetStream's error code (`err_code`), or the HTTP-like status without one.
        code: u32,
        /// Its words.
        description: Arc<str>,
    },
    /// Nobody answers on the subject: no stream leader at present, or JetStream just went away.
    #[error("no responders for {0}")]
    NoResponders(Arc<str>),
    /// The connection went away, or there was none.
    #[error("connection lost: {0}")]
    Disconnected(Arc<str>),
    /// The answer makes no sense.
    #[error("unreadable answer: {0}")]
    Malformed(Arc<str>),
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The record carries the largest epoch there is: no term can follow. Only a mistaken or
    /// malicious writer brings it there. Stop every node, as each remembers the highest epoch it
    /// saw; delete the key; reset what is fenced by hand; start them again.
    #[error("the record carries the largest epoch there is; no term can follow it")]
    EpochsExhausted,
}

/// Why a node did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// Only the leader can do that.
    #[error("not the leader{}", leader.as_ref().map(|l| format!(", {l} is")).unwrap_or_default())]
    NotLeader {
        /// Who leads, as far as is known.
        leader: Option<String>,
    },
    /// The node is giving its term back; try again when that is done.
    #[error("resigning")]
    Resigning,
    /// A term cannot be transferred to the node that holds it.
    #[error("a transfer to oneself")]
    TransferToSelf,
    /// The node was reported unhealthy.
    #[error("unhealthy")]
    Unhealthy,
    /// An observer takes no part in the election.
    #[error("an observer never leads")]
    Observer,
    /// The node is stopping or has stopped.
    #[error("stopped")]
    Stopped,
    /// The renewal thread has not answered within 5 s: a logger or a store of the application's
    /// hangs. The order stands; it is carried out when that goes on.
    #[error("the renewal thread does not answer")]
    Stuck,
    /// The node is another process's: this one was forked from it.
    #[error("the node belongs to the process that this one was forked from")]
    Forked,
}

impl StoreError {
    /// Whether waiting may help: a server may come up, an answer may come late. What is not so is
    /// for a person to put right.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Server { .. }
            | Self::NoResponders(_)
            | Self::Disconnected(_)
            | Self::TimedOut => true,
            Self::Authentication { .. }
            | Self::Credentials(_)
            | Self::Tls { .. }
            | Self::Permission(_)
            | Self::JetStream(_)
            | Self::Bucket { .. }
            | Self::Malformed(_)
            | Self::EpochsExhausted => false,
        }
    }
}

/// Why a node did not start. Nothing of it is left running.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The store could not be read within the connect timeout, or never will be as it is.
    #[error(transparent)]
    Store(StoreError),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The operating system gave no random bits for the session.
    #[error("no random bits for the session: {0}")]
    Random(String),
    /// The virtual IPs cannot be held under this lease; the source says which would do.
    #[error("virtual IP: {0}")]
    Vip(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A wait that came to its end without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WaitError {
    /// It did not happen in time.
    #[error("timed out")]
    TimedOut,
    /// The node has stopped.
    #[error("stopped")]
    Stopped,
    /// The node is another process's: this one was forked from it.
    #[error("the node belongs to the process that this one was forked from")]
    Forked,
}
