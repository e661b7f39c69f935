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
}
