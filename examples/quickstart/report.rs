//! Reports of a node and commands to it: lines of JSON between processes.

use leasehold::{Epoch, Event};
use serde::{Deserialize, Serialize};

/// An event of a node, or its answer to a command.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    #[serde(rename = "event")]
    pub(crate) kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) leader: Option<String>,
    /// In a leader check: the epoch that the check named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) newest: Option<u64>,
    /// For people.
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Connected,
    Disconnected,
    LeaderChanged,
    BecameLeader,
    Resigning,
    LostLeadership,
    /// Any other event.
    Other,
    /// The answer to [`Command::LeaderCheck`]: the epoch that the node leads now, if any.
    LeaderCheck,
    /// A command was refused.
    Refused,
    /// The process of the node has ended.
    Ended,
}

/// A command to a node.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) enum Command {
    StepDown,
    /// Report whether the node leads, now that the term `newest` has begun.
    LeaderCheck {
        newest: u64,
    },
}

impl Report {
    pub(crate) fn of(event: &Event) -> Self {
        let (kind, epoch, leader) = match event {
            Event::Connected { .. } => (Kind::Connected, None, None),
            Event::Disconnected { .. } => (Kind::Disconnected, None, None),
            Event::LeaderChanged { leader, epoch } => (Kind::LeaderChanged, *epoch, leader.clone()),
            Event::BecameLeader(leadership) => (Kind::BecameLeader, Some(leadership.epoch()), None),
            Event::Resigning { epoch, .. } => (Kind::Resigning, Some(*epoch), None),
            Event::LostLeadership { epoch, .. } => (Kind::LostLeadership, Some(*epoch), None),
            _ => (Kind::Other, None, None),
        };
        let text = event.to_string();
        Self { kind, epoch: epoch.map(Epoch::as_u64), leader, newest: None, text }
    }

    pub(crate) fn leader_check(newest: u64, leads: Option<Epoch>) -> Self {
        let answer = Self::plain(Kind::LeaderCheck, String::new());
        Self { epoch: leads.map(Epoch::as_u64), newest: Some(newest), ..answer }
    }

    pub(crate) fn plain(kind: Kind, text: String) -> Self {
        Self { kind, epoch: None, leader: None, newest: None, text }
    }
}
