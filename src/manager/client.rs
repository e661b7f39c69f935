//! A connection to a cluster: to the lease's record, and to the daemons of its nodes.

use std::time::Duration;

use super::view::{NodeView, RecordView};
use super::{ManagerError, NodeStatus};
use crate::config::{Config, check_node_id};
use crate::error::StoreError;
use crate::health::{self, Health};
use crate::requester::{RequestError, Requester, TimedResponse};
use crate::service::{self, ControlResponse};
use crate::text::excerpt;

/// Requests to the nodes of a cluster, and reads of its record, over one connection.
pub(super) struct ClusterClient {
    requester: Requester,
    config: Config,
}

impl ClusterClient {
    pub(super) fn connect(config: &Config, timeout: Duration) -> Result<Self, ManagerError> {
        let requester = Requester::connect(config.connection(), timeout)?;
        Ok(Self { requester, config: config.clone() })
    }

    /// Connects in the background.
    pub(super) fn new(config: &Config) -> Result<Self, ManagerError> {
        Ok(Self { requester: Requester::new(config.connection())?, config: config.clone() })
    }

    pub(super) fn server(&self) -> Option<String> {
        self.requester.server().map(str::to_owned)
    }

    /// The lease's record.
    pub(super) fn record(&mut self, timeout: Duration) -> Result<RecordView, StoreError> {
        Ok(RecordView::of(self.requester.read_record(&self.config, timeout)?))
    }

    /// Whether a daemon of a node answers; one of go-cluster counts too.
    pub(super) fn is_running(
        &mut self,
        node: &str,
        timeout: Duration,
    ) -> Result<bool, ManagerError> {
        let cluster = self.config.cluster_id();
        let subjects = [service::ping_subject(cluster, node), health::subject(cluster, node)];
        Ok(!self.requester.ask_any(&subjects, timeout)?.is_empty())
    }

    /// The status of one node's daemon; where the daemon is no micro service, from its health.
    pub(super) fn status(
        &mut self,
        node: &str,
        timeout: Duration,
    ) -> Result<NodeView, ManagerError> {
        check_node_id(node)?;
        let cluster = self.config.cluster_id();
        let subjects = [service::status_subject(cluster, node), health::subject(cluster, node)];
        let response = match self.requester.ask(&subjects[0], b"", timeout) {
            Err(RequestError::NoResponders) => {
                let health = self.requester.ask(&subjects[1], b"", timeout);
                health.map(|health| TimedResponse { request: 1, ..health })
            }
            status => status,
        };
        let late = || ManagerError::NoResponse { node: node.to_owned() };
        let response = response.map_err(|error| failed(error, node, late))?;
        // A response in the name of another node does not count.
        let view = self.view(&response).filter(|view| view.status.node_id == node);
        view.ok_or_else(|| refused(node, MALFORMED.to_owned()))
    }

    /// The node that sent a response: a status, or to the second request its health.
    fn view(&self, response: &TimedResponse) -> Option<NodeView> {
        let (cluster, body) = (self.config.cluster_id(), &response.message.body);
        let status = if response.request == 0 {
            NodeStatus { cluster_id: cluster.to_owned(), ..NodeStatus::parse(body).ok()? }
        } else {
            of_health(cluster, Health::parse(body).ok()?)
        };
        Some(NodeView { status, round_trip: response.round_trip, missed: 0 })
    }

    /// Every node that answers within `timeout`, by node id.
    pub(super) fn nodes(&mut self, timeout: Duration) -> Result<Vec<NodeView>, StoreError> {
        let cluster = self.config.cluster_id();
        let subjects = [service::status_subject_of_all(cluster), health::subject_of_all(cluster)];
        let mut responses = self.requester.ask_all(&subjects, timeout)?;
        // A status says more than a health, so it comes first.
        responses.sort_by_key(|response| response.request);
        let mut views: Vec<NodeView> = Vec::new();
        for view in responses.iter().filter_map(|response| self.view(response)) {
            if !views.iter().any(|known| known.identity() == view.identity()) {
                views.push(view);
            }
        }
        views.sort_by(|a, b| a.identity().cmp(&b.identity()));
        Ok(views)
    }

    /// Sends a control command to a node's daemon.
    pub(super) fn control(
        &mut self,
        node: &str,
        command: &str,
        body: &[u8],
        timeout: Duration,
    ) -> Result<(), ManagerError> {
        let subject = service::control_subject(self.config.cluster_id(), node, command);
        let response = match self.requester.ask(&subject, body, timeout) {
            Ok(response) => response,
            Err(RequestError::NoResponders) => {
                return Err(refused(node, "it takes no commands, or has just ended".to_owned()));
            }
            Err(error) => {
                let waiting_for = format!("a response of {node}");
                return Err(failed(error, node, || ManagerError::TimedOut { waiting_for }));
            }
        };
        let parsed: Option<ControlResponse> = health::read(&response.message.body).ok();
        let reason = match (parsed, response.message.service_error()) {
            (Some(ControlResponse { ok: true, .. }), None) => return Ok(()),
            (Some(ControlResponse { error: Some(error), .. }), _) => excerpt(&error),
            (_, Some((code, text))) => excerpt(&format!("{code}: {text}")),
            _ => MALFORMED.to_owned(),
        };
        Err(refused(node, reason))
    }
}

const MALFORMED: &str = "its response cannot be parsed";

fn of_health(cluster_id: &str, health: Health) -> NodeStatus {
    NodeStatus {
        role: health.role,
        leader: health.leader,
        epoch: health.epoch,
        uptime_ms: health.uptime_ms,
        // A go-cluster checker that answers has a connection.
        connected: health.connected.unwrap_or(true),
        daemon: true,
        stuck: health.stuck,
        heartbeat_age_ms: health.heartbeat_age_ms.unwrap_or_default(),
        session: health.session.unwrap_or_default(),
        bucket: health.bucket,
        ..NodeStatus::unknown(cluster_id, &health.node_id)
    }
}

fn refused(node: &str, reason: String) -> ManagerError {
    ManagerError::Refused { node: node.to_owned(), reason }
}

fn failed(error: RequestError, node: &str, late: impl FnOnce() -> ManagerError) -> ManagerError {
    match error {
        RequestError::NoResponders => ManagerError::NoDaemon { node: node.to_owned() },
        RequestError::TimedOut => late(),
        RequestError::Store(error) => error.into(),
    }
}
