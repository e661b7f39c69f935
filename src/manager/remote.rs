//! Daemons of other processes, by request.

use std::time::Duration;

use super::view::NodeView;
use super::{ManagerError, NodeStatus};
use crate::config::{Config, check_node_id};
use crate::error::StoreError;
use crate::health::{self, Health};
use crate::requester::{RequestError, Requester, TimedResponse};
use crate::service::{self, Reply};
use crate::text::excerpt;

/// A connection to ask daemons on.
pub(super) struct Remote {
    requester: Requester,
    cluster_id: String,
}

impl Remote {
    pub(super) fn connect(config: &Config, timeout: Duration) -> Result<Self, ManagerError> {
        let requester = Requester::connect(config.connection(), timeout)?;
        Ok(Self { requester, cluster_id: config.cluster_id().to_owned() })
    }

    /// Connects in the background.
    pub(super) fn lazy(config: &Config) -> Self {
        let requester = Requester::new(config.connection());
        Self { requester, cluster_id: config.cluster_id().to_owned() }
    }

    pub(super) fn server(&self) -> Option<String> {
        self.requester.server().map(str::to_owned)
    }

    /// Whether anybody answers for a node, a daemon of go-cluster included.
    pub(super) fn anybody(&mut self, node: &str, timeout: Duration) -> Result<bool, ManagerError> {
        let subjects = [
            service::ping_subject(&self.cluster_id, node),
            health::subject(&self.cluster_id, node),
        ];
        Ok(!self.requester.ask_any(&subjects, timeout)?.is_empty())
    }

    /// One node's daemon. Where it is no micro service, what its health says.
    pub(super) fn status(
        &mut self,
        node: &str,
        timeout: Duration,
    ) -> Result<NodeView, ManagerError> {
        check_node_id(node)?;
        let subjects = [
            service::status_subject(&self.cluster_id, node),
            health::subject(&self.cluster_id, node),
        ];
        match self.requester.ask(&subjects[0], b"", timeout) {
            Ok(heard) => self.read(&heard, node),
            Err(RequestError::NoResponders) => {
                let heard = self.requester.ask(&subjects[1], b"", timeout);
                let heard = heard.map_err(|unanswered| failed(unanswered, node))?;
                self.read(&TimedResponse { request: 1, ..heard }, node)
            }
            Err(unanswered) => Err(failed(unanswered, node)),
        }
    }

    fn read(&self, heard: &TimedResponse, node: &str) -> Result<NodeView, ManagerError> {
        // What speaks for another node is no answer of this one.
        let view = self.view(heard).filter(|view| view.status.node_id == node);
        view.ok_or_else(|| ManagerError::Refused {
            node: node.to_owned(),
            reason: "what it answers cannot be read".to_owned(),
        })
    }

    /// What was said: a status, or to the second question how healthy a node is.
    fn view(&self, heard: &TimedResponse) -> Option<NodeView> {
        let body = &heard.message.body;
        let status = if heard.request == 0 {
            let status = NodeStatus::parse(body).ok()?;
            NodeStatus { cluster_id: self.cluster_id.clone(), ..status }
        } else {
            of_health(&self.cluster_id, Health::parse(body).ok()?)
        };
        Some(NodeView { status, round_trip: heard.round_trip, missed: 0 })
    }

    /// Everybody who answers within `timeout`, by node id.
    pub(super) fn all(&mut self, timeout: Duration) -> Result<Vec<NodeView>, StoreError> {
        let subjects = [
            service::status_subject_of_all(&self.cluster_id),
            health::subject_of_all(&self.cluster_id),
        ];
        let mut heard = self.requester.ask_all(&subjects, timeout)?;
        // A status says more, so it comes first.
        heard.sort_by_key(|heard| heard.request);
        let mut views: Vec<NodeView> = Vec::new();
        for view in heard.iter().filter_map(|heard| self.view(heard)) {
            let same = |known: &&NodeView| known.identity() == view.identity();
            if !views.iter().any(|known| same(&known)) {
                views.push(view);
            }
        }
        views.sort_by(|a, b| a.identity().cmp(&b.identity()));
        Ok(views)
    }

    /// Has a node do something.
    pub(super) fn command(
        &mut self,
        node: &str,
        command: &str,
        body: &[u8],
        timeout: Duration,
    ) -> Result<(), ManagerError> {
        let subject = service::control_subject(&self.cluster_id, node, command);
        let refused = |reason: String| Err(ManagerError::Refused { node: node.to_owned(), reason });
        let heard = match self.requester.ask(&subject, body, timeout) {
            Ok(heard) => heard,
            Err(RequestError::NoResponders) => {
                return refused("it takes no commands, or has just ended".to_owned());
            }
            Err(unanswered) => return Err(failed(unanswered, node)),
        };
        let reply: Option<Reply> = health::read(&heard.message.body).ok();
        match (reply, heard.message.service_error()) {
            (Some(Reply { ok: true, .. }), None) => Ok(()),
            (Some(Reply { error: Some(error), .. }), _) => refused(excerpt(&error)),
            (_, Some((code, words))) => refused(excerpt(&format!("{code}: {words}"))),
            _ => refused("what it answers cannot be read".to_owned()),
        }
    }
}

fn of_health(cluster_id: &str, health: Health) -> NodeStatus {
    NodeStatus {
        role: health.role,
        leader: health.leader,
        epoch: health.epoch,
        uptime_ms: health.uptime_ms,
        // A checker of go-cluster that answers has a connection.
        connected: health.connected.unwrap_or(true),
        daemon: true,
        stuck: health.stuck,
        heartbeat_age_ms: health.heartbeat_age_ms.unwrap_or_default(),
        session: health.session.unwrap_or_default(),
        ..NodeStatus::unknown(cluster_id, &health.node_id)
    }
}

fn failed(unanswered: RequestError, node: &str) -> ManagerError {
    match unanswered {
        RequestError::NoResponders => ManagerError::NoDaemon { node: node.to_owned() },
        RequestError::TimedOut => {
            ManagerError::TimedOut { waiting_for: format!("an answer of {node}") }
        }
        RequestError::Store(error) => error.into(),
    }
}
