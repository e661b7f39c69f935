//! What an operator does: looks, and asks daemons.

use std::thread::sleep;
use std::time::Duration;

use super::remote::Remote;
use super::view::{ClusterView, NodeView};
use super::watch::ClusterWatch;
use super::{Manager, ManagerError, NodeStatus, step};
use crate::clock::{Clock, Timestamp};
use crate::config::check_node_id;
use crate::error::{Refused, StoreError};
use crate::event::Role;
use crate::lease::Epoch;
use crate::node::{self, ControlCommand, NodeHandle};
use crate::observer::Observer;

/// How long one daemon has to answer one question.
const ANSWER: Duration = Duration::from_secs(1);
/// How often it is asked whether it has come about.
const POLL: Duration = Duration::from_millis(50);
/// How long is listened for who is there.
const LISTEN: Duration = Duration::from_millis(500);

/// What is left of a command's time.
#[derive(Clone, Copy)]
struct Limit(Timestamp);

impl Limit {
    fn new(timeout: Duration) -> Self {
        Self(Clock::boot().now() + timeout)
    }

    fn left(self) -> Duration {
        self.0.since(Clock::boot().now())
    }

    fn step(self, longest: Duration) -> Duration {
        step(longest, self.left())
    }

    fn check(self, waiting_for: &str) -> Result<(), ManagerError> {
        if self.left().is_zero() {
            return Err(ManagerError::TimedOut { waiting_for: waiting_for.to_owned() });
        }
        Ok(())
    }
}

/// A node's daemon: in this process, or somewhere else.
enum Target {
    Here(NodeHandle),
    There(Box<Remote>, String),
}

impl Target {
    fn status(&mut self, limit: Limit) -> Result<NodeStatus, ManagerError> {
        match self {
            Self::Here(node) => Ok(NodeStatus::of(node)),
            Self::There(remote, node) => {
                remote.status(node, limit.step(ANSWER)).map(|view| view.status)
            }
        }
    }

    fn control(&mut self, command: ControlCommand, limit: Limit) -> Result<(), ManagerError> {
        match self {
            Self::Here(node) => control(node, command, limit),
            Self::There(remote, node) => {
                let (name, body) = match &command {
                    ControlCommand::StepDown => ("stepdown", ""),
                    ControlCommand::Transfer { to } => ("transfer", to.as_str()),
                    // The caller has checked which node leads.
                    ControlCommand::Promote => ("promote", r#"{"force":true}"#),
                };
                remote.command(node, name, body.as_bytes(), limit.step(2 * ANSWER))
            }
        }
    }

    /// Waits until a node's status is what is wanted.
    fn wait(
        &mut self,
        limit: Limit,
        waiting_for: &str,
        mut look: impl FnMut(&NodeStatus) -> Result<bool, ManagerError>,
    ) -> Result<NodeStatus, ManagerError> {
        loop {
            limit.check(waiting_for)?;
            match self.status(limit) {
                Ok(status) if look(&status)? => return Ok(status),
                // It may be busy, or its server just gone.
                Ok(_) | Err(ManagerError::TimedOut { .. } | ManagerError::Store(_)) => {}
                Err(error) => return Err(error),
            }
            sleep(limit.step(POLL));
        }
    }
}

fn control(node: &NodeHandle, command: ControlCommand, limit: Limit) -> Result<(), ManagerError> {
    let name = node.config().node_id().to_owned();
    match node.control(command, limit.step(ANSWER)) {
        Ok(()) => Ok(()),
        Err(Refused::NotLeader { leader }) => Err(ManagerError::NotLeader { node: name, leader }),
        Err(refused) => Err(ManagerError::Refused { node: name, reason: refused.to_string() }),
    }
}

impl Manager {
    /// Connects, looks who is there, and leaves. Writes nothing and never leads.
    ///
    /// # Errors
    /// [`ManagerError::AlreadyRunning`] when this manager's daemon runs; [`ManagerError::Store`] or
    /// [`ManagerError::NotPermitted`] when the cluster cannot be read.
    pub fn join(&self, timeout: Duration) -> Result<ClusterView, ManagerError> {
        if self.is_running() {
            return Err(self.already_running());
        }
        let limit = Limit::new(timeout);
        let observer = self.observe(limit)?;
        self.view(&observer.status(), limit, limit.step(LISTEN))
    }

    /// How this node is: from the daemon in this manager, else as its daemon says, else, with
    /// `daemon` false, as an observer sees it. Writes nothing and never leads.
    ///
    /// Without a server it is a status, too: not connected, and `problem` says why.
    ///
    /// # Errors
    /// [`ManagerError::TimedOut`] when a daemon is there and does not answer.
    pub fn status(&self, timeout: Duration) -> Result<NodeStatus, ManagerError> {
        let limit = Limit::new(timeout);
        let unknown = NodeStatus::unknown(self.config.cluster_id(), self.config.node_id());
        let failed = |error: ManagerError| NodeStatus {
            connected: !matches!(error, ManagerError::Store(_)),
            problem: Some(error.to_string()),
            ..unknown.clone()
        };
        match self.target(self.config.node_id(), limit) {
            Ok((_, status)) => return Ok(status),
            Err(ManagerError::NoDaemon { .. } | ManagerError::NotPermitted(_)) => {}
            Err(error @ ManagerError::TimedOut { .. }) => return Err(error),
            Err(error) => return Ok(failed(error)),
        }
        match self.observe(limit) {
            Ok(observer) => Ok(observed(&unknown, &observer.status())),
            // It was reached a moment ago; it is the record that cannot be read.
            Err(error) => Ok(NodeStatus { connected: true, ..failed(error) }),
        }
    }

    /// Asks another node's daemon, or this one's.
    ///
    /// # Errors
    /// [`ManagerError::NoDaemon`], [`ManagerError::TimedOut`], [`ManagerError::NodeId`] when it is
    /// no node id, or that there is no server.
    pub fn query(&self, node_id: &str, timeout: Duration) -> Result<NodeView, ManagerError> {
        let limit = Limit::new(timeout);
        Remote::connect(&self.config, limit.left())?.status(node_id, limit.step(timeout))
    }

    /// The record as an observer reads it, and every node that answers within `listen`; all of it
    /// passes, unless nobody answers at all. Connecting comes before that, within the configured
    /// connect timeout (default 5 s). Writes nothing and never leads.
    ///
    /// # Errors
    /// [`ManagerError::Store`] without a server. What may not be read is said in `problem`.
    pub fn query_all(&self, listen: Duration) -> Result<ClusterView, ManagerError> {
        let limit = Limit::new(self.config.connect_timeout());
        let mut problem = None;
        let seen = match self.observe(limit) {
            Ok(observer) => Some(observer.status()),
            Err(ManagerError::Store(error)) if !error.may_pass() => {
                problem = Some(error.to_string());
                None
            }
            Err(ManagerError::NotPermitted(error)) => {
                problem = Some(error.to_string());
                None
            }
            Err(error) => return Err(error),
        };
        let mut remote = Remote::connect(&self.config, limit.left())?;
        let mut view = ClusterView { connected: true, problem, ..ClusterView::empty(&self.config) };
        view.server = remote.server();
        if let Some(seen) = seen {
            view.set_record(&seen);
        }
        view.set_nodes(remote.all(listen)?);
        Ok(view)
    }

    /// A live view, asked for anew each `interval`, 100 ms to 1 h; others are put into that range.
    /// Never fails for want of a server.
    ///
    /// # Errors
    /// [`ManagerError::Start`] when there are no more threads.
    pub fn watch(&self, interval: Duration) -> Result<ClusterWatch, ManagerError> {
        ClusterWatch::start(&self.config, interval)
    }

    /// Makes this node lead, and returns when it does. It takes part again if it was cooling down.
    /// While another node leads this fails, unless forced: then that one is asked to hand over.
    ///
    /// # Errors
    /// [`ManagerError::OtherLeader`] with its name; [`ManagerError::NoDaemon`] when this node's or
    /// the leader's daemon does not answer; [`ManagerError::TimedOut`]; [`ManagerError::Refused`].
    pub fn promote(&self, force: bool, timeout: Duration) -> Result<NodeStatus, ManagerError> {
        let (limit, own) = (Limit::new(timeout), self.config.node_id());
        let (mut target, status) = self.target(own, limit)?;
        if status.role == Role::Leader {
            return Ok(status);
        }
        let other = status.leader.filter(|leader| leader != own);
        if let Some(leader) = other.clone().filter(|_| !force) {
            return Err(ManagerError::OtherLeader { leader });
        }
        target.control(ControlCommand::Promote, limit)?;
        if let Some(leader) = &other {
            let (mut holder, _) = self.target(leader, limit)?;
            holder.control(ControlCommand::Transfer { to: own.to_owned() }, limit)?;
        }
        target.wait(limit, &format!("{own} to lead"), |status| match &status.leader {
            _ if status.role == Role::Leader => Ok(true),
            Some(leader) if leader != own && Some(leader) != other.as_ref() => {
                Err(ManagerError::OtherLeader { leader: leader.clone() })
            }
            _ => Ok(false),
        })
    }

    /// Has this node give the lead back, and returns when it has.
    ///
    /// # Errors
    /// [`ManagerError::NotLeader`] with the leader's name; [`ManagerError::NoDaemon`];
    /// [`ManagerError::TimedOut`]: it has begun, and is not done; [`ManagerError::Refused`].
    pub fn demote(&self, timeout: Duration) -> Result<NodeStatus, ManagerError> {
        let (limit, own) = (Limit::new(timeout), self.config.node_id());
        let (mut target, status) = self.target(own, limit)?;
        if status.role != Role::Leader && !status.resigning {
            let leader = status.leader.filter(|leader| leader != own);
            return Err(ManagerError::NotLeader { node: own.to_owned(), leader });
        }
        target.control(ControlCommand::StepDown, limit)?;
        target.wait(limit, &format!("{own} to give the lease back"), |status| {
            let holds = status.role == Role::Leader || status.lease_remaining_ms.is_some();
            Ok(!holds && !status.resigning)
        })
    }

    /// Has the present leader, whichever it is, hand over to another node, and returns when that
    /// leads. A cooldown of that node ends.
    ///
    /// # Errors
    /// [`ManagerError::NotLeader`] when nobody leads; [`ManagerError::NoDaemon`] when either does
    /// not answer; [`ManagerError::OtherLeader`] when a third one was quicker;
    /// [`ManagerError::TimedOut`]; [`ManagerError::Refused`]; [`ManagerError::NodeId`] when it is
    /// no node id.
    pub fn transfer(&self, to: &str, timeout: Duration) -> Result<NodeStatus, ManagerError> {
        check_node_id(to)?;
        let limit = Limit::new(timeout);
        let Some(leader) = self.leader(limit)? else {
            return Err(ManagerError::NotLeader { node: to.to_owned(), leader: None });
        };
        let (mut successor, status) = self.target(to, limit)?;
        if status.role == Role::Leader {
            return Ok(status);
        }
        let (mut holder, _) = self.target(&leader, limit)?;
        // It may be cooling down, or be unfit to lead: better heard before the lead is given up.
        successor.control(ControlCommand::Promote, limit)?;
        holder.control(ControlCommand::Transfer { to: to.to_owned() }, limit)?;
        successor.wait(limit, &format!("{to} to lead"), |status| match &status.leader {
            _ if status.role == Role::Leader => Ok(true),
            Some(other) if *other != leader && other != to => {
                Err(ManagerError::OtherLeader { leader: other.clone() })
            }
            _ => Ok(false),
        })
    }

    /// Ends this node's daemon, which gives back what it holds, and returns when it is gone.
    ///
    /// # Errors
    /// [`ManagerError::NoDaemon`] when none runs; [`ManagerError::TimedOut`];
    /// [`ManagerError::Refused`].
    pub fn leave(&self, timeout: Duration) -> Result<(), ManagerError> {
        let (limit, own) = (Limit::new(timeout), self.config.node_id());
        let waiting_for = format!("the daemon of {own} to end");
        if self.is_running() {
            self.stop();
            while self.is_running() {
                limit.check(&waiting_for)?;
                sleep(limit.step(POLL));
            }
            return Ok(());
        }
        let (mut target, before) = self.target(own, limit)?;
        if let Target::There(remote, node) = &mut target {
            remote.command(node, "stop", b"", limit.step(ANSWER))?;
        }
        // Somebody may start it again at once; that is another one.
        match target.wait(limit, &waiting_for, |status| Ok(status.session != before.session)) {
            Ok(_) | Err(ManagerError::NoDaemon { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Who leads: as the daemon here knows, else by the record.
    fn leader(&self, limit: Limit) -> Result<Option<String>, ManagerError> {
        match self.slot.node() {
            Some(node) => Ok(node.leader()),
            None => Ok(self.observe(limit)?.leader()),
        }
    }

    /// A node's daemon, with what it says first.
    fn target(&self, node: &str, limit: Limit) -> Result<(Target, NodeStatus), ManagerError> {
        let here = self.slot.node().filter(|_| node == self.config.node_id());
        let mut target = if let Some(here) = here {
            Target::Here(here)
        } else {
            let remote = Remote::connect(&self.config, limit.left())?;
            Target::There(Box::new(remote), node.to_owned())
        };
        let status = target.status(limit)?;
        Ok((target, status))
    }

    fn observe(&self, limit: Limit) -> Result<Observer, ManagerError> {
        let least = Duration::from_millis(100);
        let builder = self.config.to_builder().start_disconnected(false);
        let config = builder.connect_timeout(limit.left().max(least)).build()?;
        Ok(Observer::start(config)?)
    }

    fn view(
        &self,
        seen: &node::Status,
        limit: Limit,
        listen: Duration,
    ) -> Result<ClusterView, ManagerError> {
        let mut remote = Remote::connect(&self.config, limit.left())?;
        let mut view = ClusterView { connected: true, ..ClusterView::empty(&self.config) };
        view.server = remote.server();
        view.set_record(seen);
        match remote.all(listen) {
            Ok(nodes) => view.set_nodes(nodes),
            // The record can be read: that is what joining is about.
            Err(error @ StoreError::Permission(_)) => view.problem = Some(error.to_string()),
            Err(error) => return Err(error.into()),
        }
        Ok(view)
    }
}

fn observed(unknown: &NodeStatus, seen: &node::Status) -> NodeStatus {
    NodeStatus {
        leader: seen.leader.clone(),
        epoch: seen.epoch.map_or(0, Epoch::as_u64),
        revision: seen.revision,
        connected: seen.connected,
        ..unknown.clone()
    }
}
