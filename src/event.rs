//! Events of a node, and the reasons why terms end.

use std::fmt;
use std::time::Duration;

use log::Level;
use serde::Serialize;

use crate::drain::DrainGuard;
use crate::error::StoreError;
use crate::leadership::Leadership;
use crate::lease::{Epoch, SessionId};
use crate::vip::VipEvent;

/// An event of a node. Events come in the order in which they happened.
///
/// [`BecameLeader`](Self::BecameLeader) and [`LostLeadership`](Self::LostLeadership) alternate: one
/// pair for each epoch led. A clone of [`Resigning`](Self::Resigning) holds a clone of its guard.
///
/// ```
/// use leasehold::{Event, Leadership};
///
/// fn on_event(event: Event, term: &mut Option<Leadership>) {
///     match event {
///         Event::BecameLeader(token) => *term = Some(token),
///         Event::Resigning { drain, .. } => {
///             *term = None; // end the work of the term ...
///             drop(drain); // ... and let the lease be released
///         }
///         Event::LostLeadership { .. } => *term = None,
///         other => println!("node-1 {other}"), // a line of text
///     }
/// }
/// # let mut begun = leasehold::testing::Term::begin(7);
/// # let mut term = None;
/// # on_event(begun.became_leader(), &mut term);
/// # assert!(term.is_some());
/// # on_event(begun.resigning(leasehold::Reason::Stop), &mut term);
/// # assert!(term.is_none() && begun.is_drained());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// This node leads. The token is valid for this term only.
    BecameLeader(Leadership),
    /// The term is being given up: the token is invalid already, the lease is still held. Finish
    /// the work of the term, then drop `drain`. The lease is released when every guard was dropped,
    /// or left to expire after the drain timeout.
    Resigning {
        /// The epoch of the term.
        epoch: Epoch,
        /// Why the term is given up.
        reason: Reason,
        /// Delays the release while it exists.
        drain: DrainGuard,
    },
    /// The term is over. Work that still runs under its token is stale.
    LostLeadership {
        /// The epoch of the term.
        epoch: Epoch,
        /// Why the term ended.
        cause: Cause,
    },
    /// The leader is another one now, or unknown. The leader may be this node. After a planned
    /// hand-over the next leader may come at once, without an event without a leader between.
    LeaderChanged {
        /// The node id of the leader; `None` when no leader is known.
        leader: Option<String>,
        /// The epoch of the leader; `None` when no leader is known.
        epoch: Option<Epoch>,
    },
    /// The application value of the leader is another one now: the leader has
    /// [set](crate::NodeHandle::set_meta) it, or another leader has another value. When the leader
    /// changes too, this comes after [`LeaderChanged`](Self::LeaderChanged).
    MetaChanged {
        /// The value; `None` when the leader has none, or no leader is known.
        meta: Option<serde_json::Value>,
    },
    /// The node has connected.
    Connected {
        /// The address of the server, without secrets.
        server: String,
    },
    /// The connection was lost, or every server was tried and none can be used. The latter is told
    /// once for an outage, and again only when a reason has changed.
    Disconnected {
        /// Why; with several servers, the reason of each.
        error: StoreError,
    },
    /// Another process uses this node's id. At most one of the two leads. Give each process an id
    /// of its own.
    DuplicateNodeId {
        /// The session of the other process.
        session: SessionId,
    },
    /// The record has another TTL than this node. All nodes of a cluster need the same.
    TtlMismatch {
        /// The TTL in the record.
        theirs: Duration,
        /// The TTL in the configuration of this node.
        ours: Duration,
    },
    /// Another node of the cluster is in another bucket of the same name, as far as it says: there
    /// are two clusters, and each may have a leader. A leaf node without `nats.domain` makes a
    /// bucket of its own, for one. Told by a node that answers [health](crate::health) requests.
    BucketMismatch {
        /// The other node's id.
        node_id: String,
        /// When its bucket was created, as its server says.
        theirs: String,
        /// When this node's bucket was created.
        ours: String,
    },
    /// The record was overwritten with something that is no record. The election goes on after a
    /// full TTL.
    CorruptRecord {
        /// The revision of the record.
        revision: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The store reported an error, or keeps silent about a kind of requests. The node tries again.
    /// Told once, and again when the error changes or comes back after a success. Until then it is
    /// in the [status](crate::Status::problem).
    Problem(StoreError),
    /// Something happened to a virtual IP that the node has.
    VirtualIp(VipEvent),
    /// Events were dropped here because the application did not take them: connection and leader
    /// changes first, then whole terms, never one half of a term.
    Missed {
        /// The number of dropped events.
        count: u64,
    },
}

impl Event {
    /// The epoch of the term or of the leader that the event is about.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::BecameLeader(leadership) => Some(leadership.epoch()),
            Self::Resigning { epoch, .. } | Self::LostLeadership { epoch, .. } => Some(*epoch),
            Self::LeaderChanged { epoch, .. } => *epoch,
            _ => None,
        }
    }

    /// The level at which the node logs it.
    pub(crate) fn level(&self) -> Level {
        match self {
            Self::DuplicateNodeId { .. }
            | Self::BucketMismatch { .. }
            | Self::CorruptRecord { .. } => Level::Error,
            Self::Disconnected { .. }
            | Self::TtlMismatch { .. }
            | Self::Problem(_)
            | Self::Missed { .. } => Level::Warn,
            Self::MetaChanged { .. } => Level::Debug,
            Self::VirtualIp(event) => event.level(),
            _ => Level::Info,
        }
    }
}

impl fmt::Display for Event {
    /// One line that continues the node's name: `leads, epoch 7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BecameLeader(leadership) => write!(f, "leads, epoch {}", leadership.epoch()),
            Self::Resigning { epoch, reason, .. } => write!(f, "resigns epoch {epoch}: {reason}"),
            Self::LostLeadership { epoch, cause } => write!(f, "has lost epoch {epoch}: {cause}"),
            Self::LeaderChanged { leader: Some(leader), epoch: Some(epoch) } => {
                write!(f, "learns that {leader} leads, epoch {epoch}")
            }
            Self::LeaderChanged { .. } => f.write_str("knows no leader"),
            Self::MetaChanged { meta: Some(_) } => f.write_str("learns the value of the leader"),
            Self::MetaChanged { meta: None } => f.write_str("knows no value of the leader"),
            Self::Connected { server } => write!(f, "is connected to {server}"),
            Self::Disconnected { error } => write!(f, "is disconnected: {error}"),
            Self::DuplicateNodeId { session } => {
                write!(f, "shares its node id with session {session}")
            }
            Self::TtlMismatch { theirs, ours } => {
                write!(f, "has a TTL of {ours:?}, the record one of {theirs:?}")
            }
            Self::BucketMismatch { node_id, theirs, ours } => write!(
                f,
                "finds two clusters: {node_id} uses a bucket created at {theirs}, and this node \
                 one created at {ours}"
            ),
            Self::CorruptRecord { revision, reason } => {
                write!(f, "finds revision {revision} corrupt: {reason}")
            }
            Self::Problem(error) => write!(f, "has a problem: {error}"),
            Self::VirtualIp(event) => event.fmt(f),
            Self::Missed { count } => write!(f, "has missed {count} events"),
        }
    }
}

/// Why a leader gives up its term.
///
/// ```
/// use leasehold::testing::Term;
/// use leasehold::{Event, Reason};
///
/// let mut term = Term::begin(7); // in place of a node
/// if let Event::Resigning { reason, drain, .. } = term.resigning(Reason::Stop) {
///     match reason {
///         Reason::Stop => println!("close the database"),
///         reason => println!("pause the work: {reason}"),
///     }
///     drop(drain);
/// }
/// assert!(term.is_drained());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// `step_down` was called.
    StepDown,
    /// `transfer_to` was called.
    Transfer {
        /// The node id of the wanted successor.
        to: String,
    },
    /// The node stops.
    Stop,
    /// The application reported the node as unhealthy.
    Unhealthy,
    /// [`Hooks::on_become_leader`](crate::Hooks::on_become_leader) panicked.
    HookPanicked,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StepDown => f.write_str("step-down"),
            Self::Transfer { to } => write!(f, "transfer to {to}"),
            Self::Stop => f.write_str("stop"),
            Self::Unhealthy => f.write_str("unhealthy"),
            Self::HookPanicked => f.write_str("hook panicked"),
        }
    }
}

/// Why a term ended.
///
/// ```
/// use leasehold::{Cause, Reason};
///
/// // A term that was given up in order is nothing to worry about.
/// let was_planned = |cause: &Cause| matches!(cause, Cause::Resigned(_));
/// assert!(was_planned(&Cause::Resigned(Reason::StepDown)));
/// let superseded = Cause::Superseded { by: Some("node-2".into()) };
/// assert!(!was_planned(&superseded));
/// assert_eq!(superseded.to_string(), "superseded by node-2");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// No renewal succeeded in time.
    Expired,
    /// Another process wrote the record.
    Superseded {
        /// The node id in the new record; `None` when it has no holder.
        by: Option<String>,
    },
    /// The record was deleted or purged.
    Deleted,
    /// The record was overwritten with something unreadable.
    Corrupted,
    /// The bucket was deleted, or replaced by another of the same name.
    BucketReplaced,
    /// The bucket went back to an older state.
    StoreWentBack,
    /// The leader resigned and its work has ended.
    Resigned(Reason),
    /// The leader resigned, but its work did not end within the drain timeout. The lease is not
    /// released: it expires.
    DrainTimedOut(Reason),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("expired: no renewal succeeded in time"),
            Self::Superseded { by: Some(by) } => write!(f, "superseded by {by}"),
            Self::Superseded { by: None } => f.write_str("superseded"),
            Self::Deleted => f.write_str("the record was deleted"),
            Self::Corrupted => f.write_str("the record was overwritten with garbage"),
            Self::BucketReplaced => f.write_str("the bucket was deleted or replaced"),
            Self::StoreWentBack => f.write_str("the bucket went back to an older state"),
            Self::Resigned(reason) => write!(f, "resigned: {reason}"),
            Self::DrainTimedOut(reason) => {
                write!(f, "{reason}, but the work did not end within the drain timeout")
            }
        }
    }
}

/// The role of a node.
///
/// ```
/// # use std::time::Duration;
/// use leasehold::Role;
///
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = Node::builder(config).store(store).start()?;
/// # node.wait_for_leadership(Duration::from_secs(5))?;
/// let accepts_writes = match node.role() {
///     Role::Leader => true,
///     Role::Follower => false,
/// };
/// assert!(accepts_writes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The node leads.
    Leader,
    /// The node does not lead.
    #[default]
    Follower,
}

impl fmt::Display for Role {
    /// `leader` or `follower`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_displayed_as_one_line() {
        let epoch = Epoch::new(7).unwrap();
        let told = |leader: Option<&str>| {
            let leader = leader.map(str::to_owned);
            Event::LeaderChanged { epoch: leader.as_ref().map(|_| epoch), leader }.to_string()
        };
        assert_eq!(told(Some("b")), "learns that b leads, epoch 7");
        assert_eq!(told(None), "knows no leader");
        let lost = Event::LostLeadership { epoch, cause: Cause::Resigned(Reason::StepDown) };
        assert_eq!(lost.to_string(), "has lost epoch 7: resigned: step-down");
        let error = StoreError::TimedOut;
        assert_eq!(
            Event::Disconnected { error }.to_string(),
            "is disconnected: no response in time"
        );
    }
}
