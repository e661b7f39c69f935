//! One operator command: its deadline, and its connection.

use std::thread::sleep;
use std::time::Duration;

use super::client::ClusterClient;
use super::view::RecordView;
use super::{Manager, ManagerError, NodeStatus, step};
use crate::clock::{Clock, Timestamp};
use crate::error::Refused;
use crate::event::Role;
use crate::node::{ControlCommand, NodeHandle};

/// How long one daemon has to answer one request.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause between two status requests while a command waits for its effect.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The deadline of a command as a whole.
#[derive(Clone, Copy)]
pub(super) struct Deadline(Timestamp);

impl Deadline {
    fn new(timeout: Duration) -> Self {
        Self(Clock::boot().now() + timeout)
    }

    pub(super) fn left(self) -> Duration {
        self.0.since(Clock::boot().now())
    }

    /// A timeout for one step of several.
    pub(super) fn step(self, longest: Duration) -> Duration {
        step(longest, self.left())
    }
}

/// A command in progress. It connects once, when it first needs a connection; what concerns the
/// daemon of the own manager needs none.
pub(super) struct Operation<'a> {
    manager: &'a Manager,
    pub(super) deadline: Deadline,
    client: Option<ClusterClient>,
}

impl<'a> Operation<'a> {
    pub(super) fn new(manager: &'a Manager, timeout: Duration) -> Self {
        Self { manager, deadline: Deadline::new(timeout), client: None }
    }

    /// The connection.
    pub(super) fn client(&mut self) -> Result<&mut ClusterClient, ManagerError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => ClusterClient::connect(&self.manager.config, self.deadline.left())?,
        };
        Ok(self.client.insert(client))
    }

    /// The lease's record.
    pub(super) fn record(&mut self) -> Result<RecordView, ManagerError> {
        let deadline = self.deadline;
        Ok(self.client()?.record(deadline.left())?)
    }

    /// The leader, as the daemon of the own manager knows it, else by the record.
    pub(super) fn leader(&mut self) -> Result<Option<String>, ManagerError> {
        match self.manager.daemon.node() {
            Some(node) => Ok(node.leader()),
            None => Ok(self.record()?.leader),
        }
    }

    /// The status of a node's daemon.
    pub(super) fn status(&mut self, node: &str) -> Result<NodeStatus, ManagerError> {
        if let Some(local) = self.local(node) {
            return Ok(NodeStatus::of(&local));
        }
        let deadline = self.deadline;
        Ok(self.client()?.status(node, deadline.step(RESPONSE_TIMEOUT))?.status)
    }

    /// Gives a node's daemon a command.
    pub(super) fn control(
        &mut self,
        node: &str,
        command: ControlCommand,
    ) -> Result<(), ManagerError> {
        if let Some(local) = self.local(node) {
            let done = local.control(command, self.deadline.step(RESPONSE_TIMEOUT));
            return done.map_err(|refused| refused_by(node, refused));
        }
        match &command {
            ControlCommand::StepDown => self.send(node, "stepdown", ""),
            ControlCommand::Transfer { to } => self.send(node, "transfer", to),
            // The caller has checked which node leads.
            ControlCommand::Promote => self.send(node, "promote", r#"{"force":true}"#),
        }
    }

    /// Sends a control command to the daemon of another process.
    pub(super) fn send(
        &mut self,
        node: &str,
        command: &str,
        body: &str,
    ) -> Result<(), ManagerError> {
        let deadline = self.deadline;
        let timeout = deadline.step(2 * RESPONSE_TIMEOUT);
        self.client()?.control(node, command, body.as_bytes(), timeout)
    }

    /// Waits until a node's status is as wanted.
    pub(super) fn wait(
        &mut self,
        node: &str,
        waiting_for: &str,
        mut is_done: impl FnMut(&NodeStatus) -> Result<bool, ManagerError>,
    ) -> Result<NodeStatus, ManagerError> {
        loop {
            match self.status(node) {
                Ok(status) if is_done(&status)? => return Ok(status),
                // The daemon may be busy, or its connection may just have been lost.
                Ok(_) | Err(ManagerError::NoResponse { .. } | ManagerError::Store(_)) => {}
                Err(error) => return Err(error),
            }
            self.pause(waiting_for)?;
        }
    }

    /// Makes `leader` hand over to `to`, and waits until that node leads.
    ///
    /// The leader refuses when it stopped leading in the meantime. Then `to` may lead already.
    pub(super) fn hand_over(&mut self, leader: &str, to: &str) -> Result<NodeStatus, ManagerError> {
        let asked = self.control(leader, ControlCommand::Transfer { to: to.to_owned() });
        if let Err(error) = asked {
            let refused =
                matches!(error, ManagerError::Refused { .. } | ManagerError::NotLeader { .. });
            if !refused || self.status(leader)?.role == Role::Leader {
                return Err(error);
            }
        }
        self.wait_for_lead(to, Some(leader))
    }

    /// Waits until a node leads; fails when a node leads that is neither it nor `previous`.
    pub(super) fn wait_for_lead(
        &mut self,
        node: &str,
        previous: Option<&str>,
    ) -> Result<NodeStatus, ManagerError> {
        self.wait(node, &format!("{node} to lead"), |status| match &status.leader {
            _ if status.role == Role::Leader => Ok(true),
            Some(leader) if leader != node && Some(leader.as_str()) != previous => {
                Err(ManagerError::OtherLeader { leader: leader.clone() })
            }
            _ => Ok(false),
        })
    }

    /// Waits until the daemon of the own manager has ended.
    pub(super) fn wait_until_stopped(&self, waiting_for: &str) -> Result<(), ManagerError> {
        while self.manager.is_running() {
            self.pause(waiting_for)?;
        }
        Ok(())
    }

    fn pause(&self, waiting_for: &str) -> Result<(), ManagerError> {
        if self.deadline.left().is_zero() {
            return Err(ManagerError::TimedOut { waiting_for: waiting_for.to_owned() });
        }
        sleep(self.deadline.step(POLL_INTERVAL));
        Ok(())
    }

    /// The node of the own manager's daemon, if it is the named one.
    fn local(&self, node: &str) -> Option<NodeHandle> {
        self.manager.daemon.node().filter(|_| node == self.manager.config.node_id())
    }
}

fn refused_by(node: &str, refused: Refused) -> ManagerError {
    let node = node.to_owned();
    match refused {
        Refused::NotLeader { leader } => ManagerError::NotLeader { node, leader },
        refused => ManagerError::Refused { node, reason: refused.to_string() },
    }
}
