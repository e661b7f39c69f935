//! The errors of commands and daemons, sorted by what the operator does next.

use thiserror::Error;

use crate::config::{ConfigError, InvalidId};
use crate::error::{StartError, StoreError};

/// Why a command or a daemon failed. The text is one line, and says what helps.
///
/// ```no_run
/// use std::time::Duration;
/// use leasehold::{Config, Manager, ManagerError};
///
/// let manager = Manager::new(Config::load("cluster.json")?);
/// match manager.promote(false, Duration::from_secs(10)) {
///     Ok(status) => println!("leads in epoch {}", status.epoch),
///     Err(ManagerError::OtherLeader { leader }) => println!("{leader} leads already"),
///     Err(error) => {
///         eprintln!("{error}");
///         std::process::exit(error.exit_code().into());
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// The configuration is not valid, or its file cannot be written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The text is not a node id.
    #[error(transparent)]
    NodeId(#[from] InvalidId),
    /// The daemon's node did not start.
    #[error(transparent)]
    Start(StartError),
    /// No server can be reached, or its bucket cannot be used.
    #[error(transparent)]
    Store(StoreError),
    /// The virtual IP cannot be used on this host.
    #[error("virtual IP: {0}")]
    Vip(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Only the leader can do that.
    #[error("{node} is not the leader{}", leader.as_ref().map_or_else(
        || ", and no leader is known".to_owned(), |leader| format!(", {leader} is")))]
    NotLeader {
        /// The node that was asked.
        node: String,
        /// The leader, if one is known.
        leader: Option<String>,
    },
    /// No leader is known that could hand over.
    #[error("no leader is known, so no node can hand over to {to}")]
    NoLeader {
        /// The node that was to take over.
        to: String,
    },
    /// Another node leads. A forced promotion asks it to hand over.
    #[error("{leader} leads; transfer the lead, or force the promotion")]
    OtherLeader {
        /// The leader.
        leader: String,
    },
    /// No daemon answers for the node.
    #[error("no daemon of node {node} answers; start it, or check cluster id, node id and servers")]
    NoDaemon {
        /// The node.
        node: String,
    },
    /// A daemon is there and did not send its status in time. Nothing was requested of it.
    #[error("node {node} did not respond in time; see the log of its daemon, and try again")]
    NoResponse {
        /// The node.
        node: String,
    },
    /// The request did not take effect in time; it may still do so.
    #[error("timed out waiting for {waiting_for}")]
    TimedOut {
        /// What the command waited for.
        waiting_for: String,
    },
    /// A daemon of this node already runs, in this process or in another one that answers.
    #[error("a daemon of node {node} runs already; every daemon needs a node id of its own")]
    AlreadyRunning {
        /// The node.
        node: String,
    },
    /// The daemon refused the request.
    #[error("{node} refuses: {reason}")]
    Refused {
        /// The node that was asked.
        node: String,
        /// Why it refused.
        reason: String,
    },
    /// The server's permissions do not allow the request.
    #[error("{0}; `leasehold help permissions` has an authorization block")]
    NotPermitted(StoreError),
}

impl ManagerError {
    /// The exit code of a command: 1 failed, 2 configuration, 3 not the leader or another leads, 4
    /// no daemon answers, 5 no response or no effect in time, 6 already running, 7 refused or not
    /// permitted.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Start(_) | Self::Store(_) | Self::Vip(_) => 1,
            Self::Config(_) | Self::NodeId(_) => 2,
            Self::NotLeader { .. } | Self::NoLeader { .. } | Self::OtherLeader { .. } => 3,
            Self::NoDaemon { .. } => 4,
            Self::NoResponse { .. } | Self::TimedOut { .. } => 5,
            Self::AlreadyRunning { .. } => 6,
            Self::Refused { .. } | Self::NotPermitted(_) => 7,
        }
    }
}

impl From<StoreError> for ManagerError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Permission(_) => Self::NotPermitted(error),
            error => Self::Store(error),
        }
    }
}

impl From<StartError> for ManagerError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Store(error) => error.into(),
            StartError::Vip(error) => Self::Vip(error),
            error => Self::Start(error),
        }
    }
}
