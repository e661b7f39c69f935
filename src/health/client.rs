//! Asks nodes how they are.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::answer::{Health, Malformed};
use super::{subject, subject_of_all};
use crate::config::{Config, InvalidId, check_node_id};
use crate::error::StoreError;
use crate::requester::{RequestError, Requester};

/// What was said, and how long it took.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Answer<T> {
    /// The answer.
    pub value: T,
    /// From asking to hearing it.
    pub round_trip: Duration,
}

/// Why there is no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QueryError {
    /// That is no node's id.
    #[error(transparent)]
    NodeId(#[from] InvalidId),
    /// Nobody answers for that node: it does not run, or answers no questions.
    #[error("no node {node} answers")]
    NoSuchNode {
        /// The node.
        node: String,
    },
    /// Somebody listens, and said nothing in time.
    #[error("node {node} did not answer within {timeout:?}")]
    TimedOut {
        /// The node.
        node: String,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// What was said is no answer.
    #[error("node {node}: {source}")]
    Malformed {
        /// The node.
        node: String,
        /// What is wrong with it.
        source: Malformed,
    },
    /// The server cannot be reached, or forbids the question.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A connection to ask nodes of a cluster on. It is made again when it was lost.
///
/// Every call blocks the caller, within its timeout.
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
    /// Connects as `config` says, within `timeout`.
    ///
    /// # Errors
    /// [`QueryError::Store`]
    pub fn connect(config: &Config, timeout: Duration) -> Result<Self, QueryError> {
        let requester = Requester::connect(config.connection(), timeout)?;
        Ok(Self { requester, cluster_id: config.cluster_id().to_owned() })
    }

    /// Asks one node.
    ///
    /// # Errors
    /// [`QueryError`]; that there is no such node is known at once.
    pub fn query(
        &mut self,
        node_id: &str,
        timeout: Duration,
    ) -> Result<Answer<Health>, QueryError> {
        check_node_id(node_id)?;
        let node = node_id.to_owned();
        let heard = self.requester.ask(&subject(&self.cluster_id, node_id), b"", timeout);
        let heard = match heard {
            Ok(heard) => heard,
            Err(RequestError::NoResponders) => return Err(QueryError::NoSuchNode { node }),
            Err(RequestError::TimedOut) => return Err(QueryError::TimedOut { node, timeout }),
            Err(RequestError::Store(error)) => return Err(error.into()),
        };
        match Health::parse(&heard.message.body) {
            Ok(value) => Ok(Answer { value, round_trip: heard.round_trip }),
            Err(source) => Err(QueryError::Malformed { node, source }),
        }
    }

    /// Asks all nodes, and returns what they said within `timeout`, by node id. The whole of it
    /// passes, as nobody knows how many there are, unless there is none. Nodes of go-cluster v1
    /// answer only when they are asked by name; what is no answer is left out.
    ///
    /// # Errors
    /// [`QueryError::Store`]
    pub fn query_all(&mut self, timeout: Duration) -> Result<Vec<Answer<Health>>, QueryError> {
        let heard = self.requester.ask_all(&[subject_of_all(&self.cluster_id)], timeout)?;
        let mut answers: Vec<_> = heard
            .into_iter()
            .filter_map(|heard| {
                let value = Health::parse(&heard.message.body).ok()?;
                Some(Answer { value, round_trip: heard.round_trip })
            })
            .collect();
        let name =
            |answer: &Answer<Health>| (answer.value.node_id.clone(), answer.value.session.clone());
        answers.sort_by_key(name);
        Ok(answers)
    }
}

/// Asks one node, on a connection that is made for this question.
///
/// # Errors
/// As [`Client::query`].
pub fn query(
    config: &Config,
    node_id: &str,
    timeout: Duration,
) -> Result<Answer<Health>, QueryError> {
    check_node_id(node_id)?;
    Client::connect(config, timeout)?.query(node_id, timeout)
}

/// Asks all nodes, on a connection that is made for this question.
///
/// # Errors
/// As [`Client::query_all`].
pub fn query_all(config: &Config, timeout: Duration) -> Result<Vec<Answer<Health>>, QueryError> {
    Client::connect(config, timeout)?.query_all(timeout)
}
