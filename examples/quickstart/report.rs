//! What a node reports, and what it is ordered: lines of JSON between processes.

use leasehold::{Epoch, Event};
use serde::{Deserialize, Serialize};

/// Something that happened to a node, or its answer.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    #[serde(rename = "event")]
    pub(crate) kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) leader: Option<String>,
    /// Of a census: what was asked with it.
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
    /// The answer to [`Order::Census`]: the epoch that it leads now, if any.
    Census,
    /// The answer to an order that was not carried out.
    Refused,
    /// Its process has ended.
    Gone,
}

/// What a node is told to do.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) enum Order {
    StepDown,
    /// To say whether it leads, when that term is known to have begun.
    Census {
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

    pub(crate) fn census(newest: u64, leads: Option<Epoch>) -> Self {
        let answer = Self::plain(Kind::Census, String::new());
        Self { epoch: leads.map(Epoch::as_u64), newest: Some(newest), ..answer }
    }

    pub(crate) fn plain(kind: Kind, text: String) -> Self {
        Self { kind, epoch: None, leader: None, newest: None, text }
    }
}
