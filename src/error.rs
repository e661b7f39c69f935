//! Errors, grouped by what the caller can do about them.

use std::sync::Arc;

use thiserror::Error;

/// An error of the store, or of the connection to it.
///
/// It does not say whether a request was applied:
/// [`Outcome::Failed`](crate::store::Outcome::Failed) and
/// [`Outcome::Unknown`](crate::store::Outcome::Unknown) do.
///
/// ```
/// use leasehold::{Event, StoreError};
///
/// /// Whether an operator has to act. The node tries again in any case.
/// fn needs_operator(event: &Event) -> bool {
///     match event {
///         Event::Disconnected { error } | Event::Problem(error) => !error.may_pass(),
///         _ => false,
///     }
/// }
/// let refused = StoreError::Credentials("/etc/orders/node-1.creds is missing".into());
/// assert!(needs_operator(&Event::Problem(refused)));
/// assert!(!needs_operator(&Event::Problem(StoreError::TimedOut)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No server could be reached. The node tries again. Check the addresses and the network.
    #[error("no connection to {servers}: {reason}")]
    Unreachable {
        /// The configured servers, without secrets. Only their number where the reason names each.
        servers: Arc<str>,
        /// Why the last attempt failed, or the last one with each server.
        reason: Arc<str>,
    },
    /// The configuration names no server, as one for a store that needs none
    /// ([`Config::without_servers`](crate::Config::without_servers)). Nothing was contacted.
    #[error("nats.servers is required to connect to NATS")]
    NoServers,
    /// The server refused the credentials. They must be changed, here or at the server.
    #[error("{server} refused the credentials: {reason}")]
    Authentication {
        /// The server.
        server: Arc<str>,
        /// The message of the server.
        reason: Arc<str>,
    },
    /// The credentials cannot be used: a file is missing, unreadable, or of another format. No
    /// server was contacted.
    #[error("unusable credentials: {0}")]
    Credentials(Arc<str>),
    /// The TLS handshake failed.
    #[error("TLS with {server} failed: {reason}")]
    Tls {
        /// The server.
        server: Arc<str>,
        /// Why.
        reason: Arc<str>,
    },
    /// The operating system refuses a thread, a descriptor or memory. Raise the limit that the
    /// process has reached (`ulimit -n`, `ulimit -u`, a cgroup's `pids.max`).
    #[error("cannot {purpose}: {reason}")]
    System {
        /// The purpose.
        purpose: Arc<str>,
        /// The system's error.
        reason: Arc<str>,
    },
    /// The account has no permission for a subject that is needed.
    #[error("not permitted: {0}")]
    Permission(Arc<str>),
    /// The server has no JetStream, or the account has no permission for it.
    #[error("JetStream is not available: {0}")]
    JetStream(Arc<str>),
    /// The settings of the bucket are not safe for a lease.
    #[error("bucket {bucket} is unsuitable: {reason}")]
    Bucket {
        /// The name of the bucket.
        bucket: Arc<str>,
        /// What is wrong, and which value would be accepted.
        reason: Arc<str>,
    },
    /// The server responded with another error.
    #[error("the server said {code}: {description}")]
    Server {
        /// The JetStream error code (`err_code`), or the HTTP-like status if there is none.
        code: u32,
        /// The message of the server.
        description: Arc<str>,
    },
    /// No program responds on the subject: the stream has no leader now, or JetStream is down.
    #[error("no responders for {0}")]
    NoResponders(Arc<str>),
    /// The connection was lost, or there was none.
    #[error("connection lost: {0}")]
    Disconnected(Arc<str>),
    /// The response cannot be parsed.
    #[error("response that cannot be parsed: {0}")]
    Malformed(Arc<str>),
    /// No response came in time.
    #[error("no response in time")]
    TimedOut,
    /// The record has the largest possible epoch, so no term can follow. Only a faulty or malicious
    /// writer sets it. Stop all nodes, because each remembers the highest epoch it saw. Delete the
    /// key, reset the fenced resources by hand, and start the nodes again.
    #[error("the record has the largest possible epoch; no term can follow it")]
    EpochsExhausted,
}

/// Whether the system has run out of a resource, so that trying again at once does not help.
#[cfg(all(unix, feature = "_servers"))]
pub(crate) fn is_exhausted(error: &std::io::Error) -> bool {
    use nix::errno::Errno::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    let codes = [EMFILE, ENFILE, ENOBUFS, ENOMEM].map(|code| code as i32);
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

#[cfg(all(not(unix), feature = "_servers"))]
pub(crate) fn is_exhausted(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::OutOfMemory
}

/// Why a node refused a command.
///
/// ```
/// # use std::time::Duration;
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
/// use leasehold::Refused;
///
/// # let server = MemoryServer::new();
/// # let start = |node_id: &str| -> Result<Node, Box<dyn std::error::Error>> {
/// #     let config = Config::new("orders", node_id, ["nats://127.0.0.1:4222"])?;
/// #     Ok(Node::builder(config).store(server.connect(Clock::boot())).start()?)
/// # };
/// # let leader = start("node-1")?;
/// # leader.wait_for_leadership(Duration::from_secs(5))?;
/// # let node = start("node-2")?;
/// # node.wait_for_leader(Duration::from_secs(5))?;
/// match node.step_down() {
///     Ok(()) => println!("the lease is released when the work has ended"),
///     Err(Refused::NotLeader { leader: Some(leader) }) => println!("ask {leader} instead"),
///     Err(refused) => eprintln!("not now: {refused}"),
/// }
/// # let leader = Some("node-1".into());
/// # assert_eq!(node.step_down(), Err(Refused::NotLeader { leader }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// Only the leader can carry out the command.
    #[error("not the leader{}", leader.as_ref().map(|l| format!(", {l} is")).unwrap_or_default())]
    NotLeader {
        /// The leader; `None` when no leader is known.
        leader: Option<String>,
    },
    /// The node is giving up its term. Try again when its lease is released.
    #[error("the node is stepping down; try again after that")]
    Resigning,
    /// The leader cannot transfer its term to itself.
    #[error("the node cannot transfer the lead to itself")]
    TransferToSelf,
    /// The application has reported the node as unhealthy.
    #[error("unhealthy")]
    Unhealthy,
    /// An observer does not take part in the election.
    #[error("an observer never leads")]
    Observer,
    /// The node is stopping or has stopped.
    #[error("stopped")]
    Stopped,
    /// The renewal thread has not answered within 5 s: a logger or a store of the application
    /// hangs. The command stays queued and is carried out later.
    #[error("the renewal thread does not answer")]
    Stuck,
    /// This process was forked from the one that started the node.
    #[error("this process was forked from the one that started the node")]
    Forked,
}

impl StoreError {
    #[cfg(feature = "_servers")]
    pub(crate) fn system(purpose: &str, error: &std::io::Error) -> Self {
        Self::System { purpose: purpose.into(), reason: error.to_string().into() }
    }

    /// Whether waiting may help: a server may start, a response may come later. Other errors
    /// need an operator.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Server { .. }
                | Self::NoResponders(_)
                | Self::Disconnected(_)
                | Self::TimedOut
        )
    }
}

/// Why a node did not start. No thread of it is left running.
///
/// ```
/// # use std::time::Duration;
/// # use leasehold::{Config, clock::Clock, store::memory::MemoryServer};
/// use leasehold::{Node, StartError};
///
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # store.link().cut();
/// # let config = Config::builder("orders", "node-1", ["nats://127.0.0.1:4222"])
/// #     .connect_timeout(Duration::from_millis(100))
/// #     .build()?;
/// # let builder = Node::builder(config).store(store);
/// match builder.start() {
///     Ok(node) => println!("{} has started", node.config().node_id()),
///     Err(StartError::Store(error)) if error.may_pass() => eprintln!("try again later: {error}"),
///     Err(error) => return Err(error.into()), // an operator has to act
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The store was not read within the connect timeout, or needs an operator; see
    /// [`StoreError::may_pass`].
    #[error(transparent)]
    Store(StoreError),
    /// The system gives no more threads.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The operating system gives no random bits for the session.
    #[error("no random bits for the session: {0}")]
    Random(String),
    /// The virtual IPs cannot be held: the source says why.
    #[error("virtual IP: {0}")]
    Vip(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a wait failed.
///
/// ```
/// use std::time::Duration;
/// use leasehold::WaitError;
///
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = Node::builder(config).store(store).start()?;
/// let token = loop {
///     match node.wait_for_leadership(Duration::from_secs(1)) {
///         Ok(token) => break token,
///         Err(WaitError::TimedOut) => println!("{:?} leads", node.leader()), // wait on
///         Err(error) => return Err(error.into()), // the node has stopped
///     }
/// };
/// assert!(token.is_valid());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The timeout has passed.
    #[error("timed out")]
    TimedOut,
    /// The node has stopped.
    #[error("stopped")]
    Stopped,
    /// This process was forked from the one that started the node.
    #[error("this process was forked from the one that started the node")]
    Forked,
}
