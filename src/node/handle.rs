//! A node seen from elsewhere: for responders, gates, and whoever does not own it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Stats, Status};
use crate::config::{Config, ConfigError};
use crate::election::Input;
use crate::error::{Refused, WaitError};
use crate::event::{Reason, Role};
use crate::leadership::Leadership;
use crate::lease::{Epoch, SessionId};
use crate::running::{Core, TransferError};

/// How late the renewal thread may be before it counts as stuck: more than any scheduling.
const TOLERANCE: Duration = Duration::from_secs(2);

/// A node, to look at and to command from anywhere.
///
/// Cheap to clone. It keeps nothing running and holds nothing up: when the node has stopped, it
/// shows what was last, and every command is refused with [`Refused::Stopped`]. Methods behave as
/// those of the same names of [`Node`](crate::Node).
#[derive(Clone, Debug)]
pub struct NodeHandle(Core);

/// Whether the renewal thread does its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pulse {
    /// Since it last took something up. At most 5 s on an idle follower, 0.5 s on a leader.
    pub age: Duration,
    /// It is at least 2 s late, and has not ended: a logger or a store of the application's hangs,
    /// or the machine gives it no time. A term that it holds ends at its deadline.
    pub stuck: bool,
}

/// A command that may come over NATS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ControlCommand {
    StepDown,
    Transfer { to: String },
    Promote,
}

impl NodeHandle {
    /// Gives the node a command, and waits for its renewal thread no longer than `bound`.
    pub(crate) fn control(&self, command: ControlCommand, bound: Duration) -> Result<(), Refused> {
        let input = match command {
            ControlCommand::StepDown => Input::Resign(Reason::StepDown),
            ControlCommand::Transfer { to } => Input::Resign(Reason::Transfer { to }),
            ControlCommand::Promote => Input::Promote,
        };
        self.0.orders.ask_within(bound, input)
    }

    pub(super) fn new(core: Core) -> Self {
        Self(core)
    }

    #[cfg(all(feature = "capi", unix))]
    pub(crate) fn cell(&self) -> &crate::leadership::TermCell {
        &self.0.cell
    }

    /// Whether the node leads now.
    #[inline]
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.0.cell.in_force(&self.0.clock).is_some()
    }

    /// [`Role::Leader`] while [`is_leader`](Self::is_leader).
    #[must_use]
    pub fn role(&self) -> Role {
        self.0.role()
    }

    /// The token of the present term, if the node leads.
    #[must_use]
    pub fn leadership(&self) -> Option<Leadership> {
        self.0.leadership()
    }

    /// The holder's node id, as far as is known.
    #[must_use]
    pub fn leader(&self) -> Option<String> {
        self.0.board.read(|view| view.leader.as_ref().map(|(leader, _)| leader.clone()))
    }

    /// The application value of the newest record.
    #[must_use]
    pub fn leader_meta(&self) -> Option<serde_json::Value> {
        self.0.board.read(|view| view.leader_meta.clone())
    }

    /// The highest epoch seen.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.0.board.read(|view| view.highest_epoch)
    }

    /// Whether there is a connection.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.board.read(|view| view.connected)
    }

    /// Everything at one moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let role = self.role();
        self.0.board.read(|view| Status::of(&self.0, role, view))
    }

    /// Whether the virtual IPs are on their interfaces here, as of the last look at them; false
    /// without any.
    #[must_use]
    pub fn holds_vip(&self) -> bool {
        self.0.vip_held.load(Ordering::Acquire)
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.board.read(|view| Stats::of(&self.0, view))
    }

    /// How the renewal thread does.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        let (last, due) = self.0.board.beat();
        let now = self.0.clock.now();
        let stuck = now.since(due) > TOLERANCE && !self.has_stopped();
        Pulse { age: now.since(last.max(self.0.started)), stuck }
    }

    /// Whether the node has stopped.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.0.board.read(|view| view.ended.is_some())
    }

    /// How long ago the node was started.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.0.clock.now().since(self.0.started)
    }

    /// The session of the node's start.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.0.session
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Waits until a leader is known, and names it.
    ///
    /// # Errors
    /// [`WaitError`] when none is within `timeout`, or the node has stopped.
    pub fn wait_for_leader(&self, timeout: Duration) -> Result<String, WaitError> {
        self.0.wait(timeout, |view| view.leader.as_ref().map(|(leader, _)| leader.clone()))
    }

    /// Waits until the node leads.
    ///
    /// # Errors
    /// [`WaitError`] when it does not within `timeout`, or has stopped.
    pub fn wait_for_leadership(&self, timeout: Duration) -> Result<Leadership, WaitError> {
        self.0.wait(timeout, |_| self.leadership())
    }

    /// Waits until the node holds no lease any more: it was released, or left to lapse.
    ///
    /// # Errors
    /// [`WaitError`] when it still does after `timeout`, or has stopped.
    pub fn wait_until_given_back(&self, timeout: Duration) -> Result<(), WaitError> {
        self.0.wait(timeout, |view| (!view.resigning && view.held_until.is_none()).then_some(()))
    }

    /// Gives the lead back.
    ///
    /// # Errors
    /// [`Refused::NotLeader`] with the leader's name, [`Refused::Stopped`], or after 5 s
    /// [`Refused::Stuck`].
    pub fn step_down(&self) -> Result<(), Refused> {
        self.0.orders.ask_resign(Reason::StepDown)
    }

    /// Gives the lead back, for `node_id` to take over.
    ///
    /// # Errors
    /// [`TransferError`] when it is no node id, or the node refuses.
    pub fn transfer_to(&self, node_id: &str) -> Result<(), TransferError> {
        self.0.transfer_to(node_id)
    }

    /// Ends the cooldown: the node takes part in the election again.
    ///
    /// # Errors
    /// [`Refused`] while it resigns, when it is unhealthy, stuck, or has stopped.
    pub fn promote(&self) -> Result<(), Refused> {
        self.0.orders.ask(Input::Promote)
    }

    /// Says whether the node is fit to lead.
    pub fn set_healthy(&self, healthy: bool) {
        self.0.set_healthy(healthy);
    }

    /// The value that the node's records carry from now on.
    ///
    /// # Errors
    /// [`ConfigError`] when it is longer than 4096 bytes of JSON.
    pub fn set_meta(&self, meta: Option<serde_json::Value>) -> Result<(), ConfigError> {
        self.0.set_meta(meta)
    }
}
