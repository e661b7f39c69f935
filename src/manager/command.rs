//! The operator commands.

use std::time::Duration;

use super::client::ClusterClient;
use super::operation::Operation;
use super::view::{ClusterView, NodeView};
use super::watch::ClusterWatch;
use super::{Manager, ManagerError, NodeStatus};
use crate::config::check_node_id;
use crate::error::StoreError;
use crate::event::Role;
use crate::node::ControlCommand;

/// How long [`Manager::join`] waits for the responses of the nodes.
const LISTEN: Duration = Duration::from_millis(500);

impl Manager {
    /// Connects, reads the record and the statuses of the nodes, and disconnects. Writes nothing
    /// and never leads.
    ///
    /// # Errors
    /// [`ManagerError::AlreadyRunning`] when a daemon of this node runs;
    /// [`ManagerError::NoResponse`] when one is there and does not answer; [`ManagerError::Store`]
    /// or [`ManagerError::NotPermitted`] when the cluster cannot be read.
    pub fn join(&self, timeout: Duration) -> Result<ClusterView, ManagerError> {
        if self.is_running() {
            return Err(self.already_running());
        }
        let mut operation = Operation::new(self, timeout);
        match operation.status(self.config.node_id()) {
            Ok(_) => return Err(self.already_running()),
            Err(error @ (ManagerError::NoResponse { .. } | ManagerError::Store(_))) => {
                return Err(error);
            }
            // No daemon is known to run.
            Err(_) => {}
        }
        let record = operation.record()?;
        let listen = operation.deadline.step(LISTEN);
        let mut view = self.new_view(operation.client()?);
        view.set_record(&record);
        match operation.client()?.nodes(listen) {
            Ok(nodes) => view.set_nodes(nodes),
            // The record can be read, which is what joining needs.
            Err(error @ StoreError::Permission(_)) => view.problem = Some(error.to_string()),
            Err(error) => return Err(error.into()),
        }
        Ok(view)
    }

    /// The status of this node: from the daemon in this manager, else from its daemon elsewhere,
    /// else, with `daemon` false, from the lease's record. Writes nothing and never leads.
    ///
    /// A status without a server is `Ok`: `connected` is false, and `problem` says why.
    ///
    /// # Errors
    /// [`ManagerError::NoResponse`] when a daemon is there and does not answer.
    pub fn status(&self, timeout: Duration) -> Result<NodeStatus, ManagerError> {
        let mut operation = Operation::new(self, timeout);
        let unknown = NodeStatus::unknown(self.config.cluster_id(), self.config.node_id());
        let failed = |error: ManagerError| NodeStatus {
            connected: !matches!(error, ManagerError::Store(_)),
            problem: Some(error.to_string()),
            ..unknown.clone()
        };
        match operation.status(self.config.node_id()) {
            Ok(status) => return Ok(status),
            Err(ManagerError::NoDaemon { .. } | ManagerError::NotPermitted(_)) => {}
            Err(error @ ManagerError::NoResponse { .. }) => return Err(error),
            Err(error) => return Ok(failed(error)),
        }
        Ok(match operation.record() {
            Ok(record) => NodeStatus {
                leader: record.leader,
                epoch: record.epoch,
                revision: record.revision,
                bucket: record.bucket,
                connected: true,
                ..unknown
            },
            // The server answered a moment ago; only the record cannot be read.
            Err(error) => NodeStatus { connected: true, ..failed(error) },
        })
    }

    /// The status of another node's daemon, or of this one's.
    ///
    /// # Errors
    /// [`ManagerError::NoDaemon`], [`ManagerError::NoResponse`], [`ManagerError::NodeId`] when the
    /// text is no node id, [`ManagerError::Store`] without a server.
    pub fn query(&self, node_id: &str, timeout: Duration) -> Result<NodeView, ManagerError> {
        check_node_id(node_id)?;
        let mut operation = Operation::new(self, timeout);
        let deadline = operation.deadline;
        operation.client()?.status(node_id, deadline.left())
    }

    /// The lease's record, and the status of every node that answers within `listen`. That time
    /// passes, unless no node answers at all. `timeout` is the deadline of the whole command; it
    /// cuts `listen` short. Writes nothing and never leads.
    ///
    /// # Errors
    /// [`ManagerError::Store`] without a server. If the record cannot be read for another reason,
    /// `problem` says so.
    pub fn query_all(
        &self,
        listen: Duration,
        timeout: Duration,
    ) -> Result<ClusterView, ManagerError> {
        let mut operation = Operation::new(self, timeout);
        let mut view = self.new_view(operation.client()?);
        match operation.record() {
            Ok(record) => view.set_record(&record),
            Err(ManagerError::Store(error)) if error.may_pass() => return Err(error.into()),
            Err(error) => view.problem = Some(error.to_string()),
        }
        let listen = operation.deadline.step(listen);
        view.set_nodes(operation.client()?.nodes(listen)?);
        Ok(view)
    }

    /// A live view that is renewed each `interval`: 100 ms to 1 h, other values are put into that
    /// range. It starts without a server, too.
    ///
    /// # Errors
    /// [`ManagerError::Start`] when there are no more threads.
    pub fn watch(&self, interval: Duration) -> Result<ClusterWatch, ManagerError> {
        ClusterWatch::start(&self.config, interval)
    }

    /// Makes this node lead, and returns when it leads. A cooldown of this node ends. While another
    /// node leads this fails, unless forced: then the leader is asked to hand over.
    ///
    /// # Errors
    /// [`ManagerError::OtherLeader`] with its name; [`ManagerError::NoDaemon`] or
    /// [`ManagerError::NoResponse`] when this node's or the leader's daemon does not answer;
    /// [`ManagerError::TimedOut`]; [`ManagerError::Refused`].
    pub fn promote(&self, force: bool, timeout: Duration) -> Result<NodeStatus, ManagerError> {
        let (mut operation, own) = (Operation::new(self, timeout), self.config.node_id());
        let status = operation.status(own)?;
        if status.role == Role::Leader {
            return Ok(status);
        }
        let other = status.leader.filter(|leader| leader != own);
        if let Some(leader) = other.clone().filter(|_| !force) {
            return Err(ManagerError::OtherLeader { leader });
        }
        operation.control(own, ControlCommand::Promote)?;
        let result = match &other {
            Some(leader) => operation.hand_over(leader, own),
            None => operation.wait_for_lead(own, None),
        };
        match result {
            // It came to lead meanwhile.
            Err(ManagerError::OtherLeader { leader }) if force => operation.hand_over(&leader, own),
            result => result,
        }
    }

    /// Makes this node step down, and returns when its lease is released or has expired.
    ///
    /// # Errors
    /// [`ManagerError::NotLeader`] with the leader's name; [`ManagerError::NoDaemon`];
    /// [`ManagerError::NoResponse`];
    /// [`ManagerError::TimedOut`]: the node resigns, but has not released the lease yet;
    /// [`ManagerError::Refused`].
    pub fn demote(&self, timeout: Duration) -> Result<NodeStatus, ManagerError> {
        let (mut operation, own) = (Operation::new(self, timeout), self.config.node_id());
        let status = operation.status(own)?;
        if status.role != Role::Leader && !status.resigning {
            let leader = status.leader.filter(|leader| leader != own);
            return Err(ManagerError::NotLeader { node: own.to_owned(), leader });
        }
        operation.control(own, ControlCommand::StepDown)?;
        operation.wait(own, &format!("{own} to give the lease back"), |status| {
            let holds = status.role == Role::Leader || status.lease_remaining_ms.is_some();
            Ok(!holds && !status.resigning)
        })
    }

    /// Makes the present leader, whichever node it is, hand over to another node, and returns when
    /// that node leads. A cooldown of that node ends.
    ///
    /// # Errors
    /// [`ManagerError::NoLeader`]; [`ManagerError::NoDaemon`] or
    /// [`ManagerError::NoResponse`] when one of the two does not answer;
    /// [`ManagerError::OtherLeader`] when a third node took the lease first;
    /// [`ManagerError::TimedOut`]; [`ManagerError::Refused`]; [`ManagerError::NodeId`] when `to` is
    /// no node id.
    pub fn transfer(&self, to: &str, timeout: Duration) -> Result<NodeStatus, ManagerError> {
        check_node_id(to)?;
        let mut operation = Operation::new(self, timeout);
        let Some(leader) = operation.leader()? else {
            return Err(ManagerError::NoLeader { to: to.to_owned() });
        };
        let status = operation.status(to)?;
        if status.role == Role::Leader {
            return Ok(status);
        }
        operation.status(&leader)?;
        // The successor may be in its cooldown, or unhealthy: ask before the lease is given up.
        operation.control(to, ControlCommand::Promote)?;
        operation.hand_over(&leader, to)
    }

    /// Ends this node's daemon, which releases its lease, and returns when the daemon has ended.
    ///
    /// # Errors
    /// [`ManagerError::NoDaemon`] when none runs; [`ManagerError::NoResponse`];
    /// [`ManagerError::TimedOut`]; [`ManagerError::Refused`].
    pub fn leave(&self, timeout: Duration) -> Result<(), ManagerError> {
        let (mut operation, own) = (Operation::new(self, timeout), self.config.node_id());
        let waiting_for = format!("the daemon of {own} to end");
        if self.is_running() {
            self.stop();
            return operation.wait_until_stopped(&waiting_for);
        }
        let before = operation.status(own)?;
        operation.send(own, "stop", "")?;
        // A daemon that was started again at once has another session.
        match operation.wait(own, &waiting_for, |status| Ok(status.session != before.session)) {
            Ok(_) | Err(ManagerError::NoDaemon { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn new_view(&self, client: &ClusterClient) -> ClusterView {
        let server = client.server();
        ClusterView { connected: true, server, ..ClusterView::empty(&self.config) }
    }
}
