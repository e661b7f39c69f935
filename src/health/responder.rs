//! Answers health requests for a node, or for a program without one.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Map, Value};
use thiserror::Error;

use super::buckets::BucketCheck;
use super::response::Health;
use super::{subject, subject_of_all};
use crate::clock::{Clock, Timestamp, millis};
use crate::config::Config;
use crate::error::{StartError, StoreError};
use crate::event::Role;
use crate::lease::Epoch;
use crate::nats::message::Message;
use crate::node::NodeHandle;
use crate::request_server::{Handler, RequestServer, Response};
use crate::text::excerpt;
use crate::utc;

/// The most that all custom values together may take as JSON, in bytes.
pub const MAX_CUSTOM_BYTES: usize = 32 * 1024;

/// Answers health requests until it is dropped.
///
/// It connects in the background, and reconnects when the connection is lost;
/// [`problem`](Self::problem) says why there is no connection. Dropping it closes the connection
/// and takes at most a second. Methods may be called from any thread and never wait for the
/// network.
///
/// ```no_run
/// use leasehold::Role;
/// use leasehold::health::Responder;
///
/// # let config = leasehold::Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// let responder = Responder::standalone(&config)?; // a program that elects by other means
/// responder.set_role(Role::Leader);
/// responder.set_custom("queue", 17)?;
/// if let Some(problem) = responder.problem() {
///     eprintln!("no health request arrives: {problem}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Responder {
    custom: Custom,
    standalone: Option<Arc<Mutex<Health>>>,
    server: RequestServer,
}

/// A value that cannot be added.
///
/// ```
/// use leasehold::health::{CustomError, MAX_CUSTOM_BYTES};
/// use leasehold::{Config, Manager};
///
/// let manager = Manager::new(Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?);
/// let list = vec!["order"; MAX_CUSTOM_BYTES];
/// let error = manager.set_custom("queue", &list).unwrap_err();
/// assert!(matches!(error, CustomError::TooLong { .. }));
/// manager.set_custom("queue", list.len())?; // send less
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CustomError {
    /// The value cannot be written as JSON.
    #[error("{key}: {source}")]
    Unwritable {
        /// The key of the value.
        key: String,
        /// The error of the JSON writer.
        source: serde_json::Error,
    },
    /// All values together would be too long.
    #[error("{key}: all custom values are {bytes} bytes of JSON, {MAX_CUSTOM_BYTES} at most")]
    TooLong {
        /// The key of the value.
        key: String,
        /// Their total length.
        bytes: usize,
    },
}

impl Responder {
    /// Answers for a node: its role, leader and epoch, and the state of its renewal thread.
    ///
    /// # Errors
    /// [`StartError::Thread`].
    pub fn of(node: NodeHandle) -> Result<Self, StartError> {
        let (custom, config) = (Custom::default(), node.config().clone());
        let handler = HealthHandler::of(node, custom.clone());
        Self::open(&config, handler, custom, None)
    }

    /// Answers for a program without a node, which sets the values itself, as go-cluster's checker
    /// does. It is a follower until [`set_role`](Self::set_role) says otherwise.
    ///
    /// # Errors
    /// [`StartError::Thread`].
    pub fn standalone(config: &Config) -> Result<Self, StartError> {
        let (custom, values) = (Custom::default(), Arc::<Mutex<Health>>::default());
        let started = Clock::boot().now();
        let source = Source::Standalone { values: Arc::clone(&values), started };
        let handler = HealthHandler::new(config, source, custom.clone());
        Self::open(config, handler, custom, Some(values))
    }

    fn open(
        config: &Config,
        handler: HealthHandler,
        custom: Custom,
        standalone: Option<Arc<Mutex<Health>>>,
    ) -> Result<Self, StartError> {
        let (connection, handlers) =
            (config.connection(), vec![Box::new(handler) as Box<dyn Handler>]);
        let server = RequestServer::open(connection, "health", Clock::boot(), handlers);
        Ok(Self { custom, standalone, server: server? })
    }

    /// Adds a value to every response, in place of an earlier value of that key. The value is
    /// copied during this call.
    ///
    /// # Errors
    /// [`CustomError`]: nothing has changed.
    pub fn set_custom(&self, key: &str, value: impl Serialize) -> Result<(), CustomError> {
        self.custom.set(key, value)
    }

    /// Removes a value from the responses. True when there was one.
    #[allow(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn remove_custom(&self, key: &str) -> bool {
        self.custom.0.lock().remove(key).is_some()
    }

    /// Sets the role of a [standalone](Self::standalone) responder. The responder of a node ignores
    /// it, as it does the next two.
    pub fn set_role(&self, role: Role) {
        self.set(|values| values.role = role);
    }

    /// Sets the leader of a [standalone](Self::standalone) responder.
    pub fn set_leader(&self, leader: Option<&str>) {
        self.set(|values| values.leader = leader.map(str::to_owned));
    }

    /// Sets the epoch of a [standalone](Self::standalone) responder.
    pub fn set_epoch(&self, epoch: Option<Epoch>) {
        self.set(|values| values.epoch = epoch.map_or(0, Epoch::as_u64));
    }

    fn set(&self, change: impl FnOnce(&mut Health)) {
        if let Some(values) = &self.standalone {
            change(&mut values.lock());
        }
    }

    /// Whether it is connected, so that requests reach it.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.server.server().is_some()
    }

    /// Why it is not connected, or what the server does not permit.
    #[must_use]
    pub fn problem(&self) -> Option<StoreError> {
        self.server.problem()
    }

    /// Stops answering, as dropping does.
    pub fn stop(self) {
        drop(self);
    }
}

/// The values that an application adds to the responses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Custom(Arc<Mutex<Map<String, Value>>>);

impl Custom {
    pub(crate) fn set(&self, key: &str, value: impl Serialize) -> Result<(), CustomError> {
        let key = key.to_owned();
        let value = match serde_json::to_value(value) {
            Ok(value) => value,
            Err(source) => return Err(CustomError::Unwritable { key, source }),
        };
        let mut all = self.0.lock();
        let before = all.insert(key.clone(), value);
        let bytes = serde_json::to_string(&*all).map_or(0, |text| text.len());
        if bytes <= MAX_CUSTOM_BYTES {
            return Ok(());
        }
        match before {
            Some(before) => all.insert(key.clone(), before),
            None => all.remove(&key),
        };
        Err(CustomError::TooLong { key, bytes })
    }
}

/// Where the values of the responses come from.
enum Source {
    Node(NodeHandle),
    /// The values that the program of a responder without a node has set.
    Standalone {
        values: Arc<Mutex<Health>>,
        started: Timestamp,
    },
}

/// Answers health requests.
pub(crate) struct HealthHandler {
    node_id: String,
    subject: String,
    subject_of_all: String,
    source: Source,
    custom: Custom,
    /// Of a node only.
    buckets: Option<BucketCheck>,
}

impl HealthHandler {
    pub(crate) fn of(node: NodeHandle, custom: Custom) -> Self {
        let config = node.config().clone();
        Self::new(&config, Source::Node(node), custom)
    }

    fn new(config: &Config, source: Source, custom: Custom) -> Self {
        let buckets = match &source {
            Source::Node(node) => Some(BucketCheck::new(node.clone())),
            Source::Standalone { .. } => None,
        };
        Self {
            node_id: config.node_id().to_owned(),
            subject: subject(config.cluster_id(), config.node_id()),
            subject_of_all: subject_of_all(config.cluster_id()),
            source,
            custom,
            buckets,
        }
    }

    fn health(&self) -> Health {
        let health = match &self.source {
            Source::Node(node) => of_node(node),
            Source::Standalone { values, started } => {
                let uptime_ms = millis(Clock::boot().now().since(*started));
                Health { uptime_ms, ..values.lock().clone() }
            }
        };
        Health {
            node_id: self.node_id.clone(),
            timestamp: utc::unix_millis(),
            custom: self.custom.0.lock().clone(),
            ..health
        }
    }
}

fn of_node(node: &NodeHandle) -> Health {
    let (status, thread) = (node.status(), node.thread_health());
    Health {
        role: status.role,
        leader: status.leader,
        epoch: status.epoch.map_or(0, Epoch::as_u64),
        uptime_ms: millis(node.uptime()),
        connected: Some(status.connected),
        stuck: thread.stuck,
        heartbeat_age_ms: Some(millis(thread.age)),
        session: Some(node.session().to_string()),
        bucket: status.bucket.as_deref().map(excerpt),
        ..Health::default()
    }
}

impl Handler for HealthHandler {
    fn subjects(&self) -> Vec<String> {
        vec![self.subject.clone(), self.subject_of_all.clone()]
    }

    #[allow(clippy::expect_used, reason = "the message names the invariant")]
    fn respond(&mut self, message: &Message) -> Option<Response> {
        if message.subject != self.subject && message.subject != self.subject_of_all {
            return None;
        }
        let body = serde_json::to_vec(&self.health()).expect("invariant: keys are texts");
        Some(Response { body, error: None })
    }

    fn question(&mut self, now: Timestamp) -> Option<String> {
        let due = self.buckets.as_mut()?.is_due(now);
        due.then(|| self.subject_of_all.clone())
    }

    fn take_response(&mut self, message: &Message) {
        if let Some(buckets) = &mut self.buckets {
            buckets.compare(&message.body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_values_overwrite_are_copied_and_have_a_limit() {
        let custom = Custom::default();
        let mut list = vec![1];
        custom.set("list", &list).unwrap();
        list.push(2);
        assert_eq!(custom.0.lock()["list"], serde_json::json!([1]));
        custom.set("list", "other").unwrap();
        assert_eq!(custom.0.lock()["list"], "other");

        let long = "x".repeat(MAX_CUSTOM_BYTES);
        let error = custom.set("list", &long).unwrap_err();
        assert!(error.to_string().contains("32768 at most"), "{error}");
        assert!(custom.set("new", &long).is_err());
        assert_eq!(custom.0.lock().len(), 1);
        assert_eq!(custom.0.lock()["list"], "other", "the earlier value is kept");

        let unwritable = std::collections::HashMap::from([((1, 2), 3)]);
        assert!(matches!(custom.set("map", unwritable), Err(CustomError::Unwritable { .. })));
    }
}
