//! Requests the health of nodes.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::response::{Health, Malformed};
use super::{subject, subject_of_all};
use crate::config::{Config, InvalidId, check_node_id};
use crate::error::StoreError;
use crate::requester::{RequestError, Requester, TimedResponse};

/// The health of a node, and how long the response took.
///
/// ```no_run
/// use std::time::Duration;
/// use leasehold::{Config, health};
///
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// for response in health::query_all(&config, Duration::from_secs(1))? {
///     println!("{} after {:?}", response.health.node_id, response.round_trip);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HealthResponse {
    /// The health.
    pub health: Health,
    /// From sending the request to receiving the response.
    pub round_trip: Duration,
}

/// Why there is no response.
///
/// ```no_run
/// use std::time::Duration;
/// use leasehold::health::{self, QueryError};
///
/// # let config = leasehold::Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// match health::query(&config, "node-2", Duration::from_secs(1)) {
///     Ok(response) => println!("{}", response.health.role),
///     Err(QueryError::NoSuchNode { node }) => println!("{node} does not run"),
///     Err(QueryError::TimedOut { node, .. }) => println!("{node} hangs, or its network is slow"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The given text is not a valid node id.
    #[error(transparent)]
    NodeId(#[from] InvalidId),
    /// Nothing is subscribed to the node's subject: the node does not run, or has no responder.
    #[error("no node {node} answers")]
    NoSuchNode {
        /// The node.
        node: String,
    },
    /// A responder is subscribed, but did not answer in time.
    #[error("node {node} did not answer within {timeout:?}")]
    TimedOut {
        /// The node.
        node: String,
        /// The timeout of the request.
        timeout: Duration,
    },
    /// The response cannot be parsed.
    #[error("node {node}: {source}")]
    Malformed {
        /// The node.
        node: String,
        /// What is wrong with it.
        source: Malformed,
    },
    /// The server cannot be reached, or does not permit the request.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A connection for health requests to the nodes of a cluster. It reconnects when it was lost.
///
/// Every call blocks the caller, for at most its timeout.
///
/// ```no_run
/// use std::time::Duration;
/// use leasehold::health::Client;
///
/// # let config = leasehold::Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// let mut client = Client::connect(&config, Duration::from_secs(5))?;
/// for node_id in ["node-1", "node-2", "node-3"] {
///     match client.query(node_id, Duration::from_millis(500)) {
///         Ok(response) => println!("{node_id}: {}", response.health.role),
///         Err(error) => println!("{node_id}: {error}"),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Client {
    requester: Requester,
    cluster_id: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("cluster_id", &self.cluster_id).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects with the settings of `config`, within `timeout`.
    ///
    /// # Errors
    /// [`QueryError::Store`]
    pub fn connect(config: &Config, timeout: Duration) -> Result<Self, QueryError> {
        let requester = Requester::connect(config.connection(), timeout)?;
        Ok(Self { requester, cluster_id: config.cluster_id().to_owned() })
    }

    /// Connects with the first request.
    fn lazy(config: &Config) -> Result<Self, QueryError> {
        let requester = Requester::new(config.connection())?;
        Ok(Self { requester, cluster_id: config.cluster_id().to_owned() })
    }

    /// Requests the health of one node.
    ///
    /// # Errors
    /// [`QueryError`]. [`NoSuchNode`](QueryError::NoSuchNode) is returned at once, without waiting
    /// for the timeout.
    pub fn query(
        &mut self,
        node_id: &str,
        timeout: Duration,
    ) -> Result<HealthResponse, QueryError> {
        check_node_id(node_id)?;
        let node = node_id.to_owned();
        let response = self.requester.ask(&subject(&self.cluster_id, node_id), b"", timeout);
        let response = match response {
            Ok(response) => response,
            Err(RequestError::NoResponders) => return Err(QueryError::NoSuchNode { node }),
            Err(RequestError::TimedOut) => return Err(QueryError::TimedOut { node, timeout }),
            Err(RequestError::Store(error)) => return Err(error.into()),
        };
        match Health::parse(&response.message.body) {
            Ok(health) => Ok(HealthResponse { health, round_trip: response.round_trip }),
            Err(source) => Err(QueryError::Malformed { node, source }),
        }
    }

    /// Requests the health of all nodes, and returns the responses by node id.
    ///
    /// The number of nodes is not known, so this waits for the whole `timeout`, unless there is no
    /// node at all. Nodes of go-cluster v1 do not answer this request. Responses that cannot be
    /// parsed are left out.
    ///
    /// # Errors
    /// [`QueryError::Store`]
    pub fn query_all(&mut self, timeout: Duration) -> Result<Vec<HealthResponse>, QueryError> {
        let received = self.requester.ask_all(&[subject_of_all(&self.cluster_id)], timeout)?;
        let parse = |response: &TimedResponse| {
            let health = Health::parse(&response.message.body).ok()?;
            Some(HealthResponse { health, round_trip: response.round_trip })
        };
        let mut responses: Vec<_> = received.iter().filter_map(parse).collect();
        responses.sort_by_key(|one| (one.health.node_id.clone(), one.health.session.clone()));
        Ok(responses)
    }
}

/// Requests the health of one node, on a connection for this request alone. `timeout` includes
/// connecting.
///
/// # Errors
/// As [`Client::query`].
pub fn query(
    config: &Config,
    node_id: &str,
    timeout: Duration,
) -> Result<HealthResponse, QueryError> {
    Client::lazy(config)?.query(node_id, timeout)
}

/// Requests the health of all nodes, on a connection for this request alone. `timeout` includes
/// connecting.
///
/// # Errors
/// As [`Client::query_all`].
pub fn query_all(config: &Config, timeout: Duration) -> Result<Vec<HealthResponse>, QueryError> {
    Client::lazy(config)?.query_all(timeout)
}
