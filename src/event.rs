//! What a node tells its application, and why terms end.

use std::fmt;
use std::sync::Arc;

use crate::error::StoreError;
use crate::leadership::Leadership;
use crate::lease::{Epoch, SessionId};

/// Something the application should know, in the order in which it happened.
///
/// [`BecameLeader`](Self::BecameLeader) and [`LostLeadership`](Self::LostLeadership) alternate, one
/// pair for each epoch led.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// This node leads. The token is good for this term only.
    BecameLeader(Leadership),
    /// The term is to be given back: the token is invalid already, the lease is still held. Finish
    /// what is under way, then drop `drain`; the lease is released when every guard is gone.
    Resigning {
        /// The term's epoch.
        epoch: Epoch,
        /// Why.
        reason: Reason,
        /// Holds the release back while it exists.
        drain: DrainGuard,
    },
    /// The term is over. Whatever is still done under its token is stale.
    LostLeadership {
        /// The term's epoch.
        epoch: Epoch,
        /// Why.
        cause: Cause,
    },
    /// Another holder is known, or none any more. It may be this node itself; between two holders
    /// there is a moment with none.
    LeaderChanged {
        /// Its node id; `None` when nobody holds the lease or nobody knows who does.
        leader: Option<String>,
        /// Its epoch, while there is a leader.
        epoch: Option<Epoch>,
    },
    /// There is a connection.
    Connected {
        /// The server, without secrets.
        server: String,
    },
    /// The connection went away, or a first one could not be made.
    Disconnected {
        /// Why.
        error: StoreError,
    },
    /// Another process uses this node's id. One of them leads at most; give it a name of its own.
    DuplicateNodeId {
        /// The other one's session.
        session: SessionId,
    },
    /// The record carries another time to live than this node's: a cluster needs one.
    TtlMismatch {
        /// What the record says.
        theirs: std::time::Duration,
        /// What is configured here.
        ours: std::time::Duration,
    },
    /// The record was overwritten with something that is none. A full TTL passes, then the election
    /// goes on.
    CorruptRecord {
        /// The revision of it.
        revision: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The store complains; it is tried again.
    Problem(StoreError),
    /// So many events were dropped here, because nobody took them: connection and leader changes
    /// first, then whole terms, never one half of one.
    Missed {
        /// How many.
        count: u64,
    },
}

impl fmt::Display for Event {
    /// One line for people, in words that follow the node's name: `leads, epoch 7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BecameLeader(leadership) => write!(f, "leads, epoch {}", leadership.epoch()),
            Self::Resigning { epoch, reason, .. } => write!(f, "resigns epoch {epoch}: {reason}"),
            Self::LostLeadership { epoch, cause } => write!(f, "has lost epoch {epoch}: {cause}"),
            Self::LeaderChanged { leader: Some(leader), epoch: Some(epoch) } => {
                write!(f, "hears that {leader} leads, epoch {epoch}")
            }
            Self::LeaderChanged { .. } => f.write_str("knows no leader"),
            Self::Connected { server } => write!(f, "is connected to {server}"),
            Self::Disconnected { error } => write!(f, "is disconnected: {error}"),
            Self::DuplicateNodeId { session } => {
                write!(f, "shares its node id with session {session}")
            }
            Self::TtlMismatch { theirs, ours } => {
                write!(f, "has a TTL of {ours:?}, the leader one of {theirs:?}")
            }
            Self::CorruptRecord { revision, reason } => {
                write!(f, "finds revision {revision} corrupt: {reason}")
            }
            Self::Problem(error) => write!(f, "has a problem: {error}"),
            Self::Missed { count } => write!(f, "has missed {count} events"),
        }
    }
}

/// Why a leader gives its term back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// `step_down` was called.
    StepDown,
    /// `transfer_to` was called.
    Transfer {
        /// The node it is meant for.
        to: String,
    },
    /// The node is to stop.
    Stop,
    /// The application reported itself unhealthy.
    Unhealthy,
    /// The become-leader hook panicked.
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
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// No renewal succeeded in time.
    Expired,
    /// Somebody else wrote the record.
    Superseded {
        /// The new holder, if it is one.
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
    /// It was given back, drained.
    Resigned(Reason),
    /// It was to be given back, but the drain did not end in time: the lease lapses.
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
            Self::DrainTimedOut(reason) => write!(f, "drain timed out after: {reason}"),
        }
    }
}

/// Whether this node leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It does.
    Leader,
    /// It does not.
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

/// Holds the release of a resigned lease back while work of its term goes on.
///
/// Clone it for each piece of work; the lease is released when the last clone is dropped, on
/// whatever thread. Dropping never blocks.
#[derive(Clone)]
pub struct DrainGuard {
    _work: Arc<Drain>,
}

impl DrainGuard {
    /// A guard whose last drop calls `drained`.
    pub(crate) fn new(drained: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self { _work: Arc::new(Drain(Some(Box::new(drained)))) }
    }
}

impl fmt::Debug for DrainGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DrainGuard")
    }
}

struct Drain(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Drop for Drain {
    fn drop(&mut self) {
        if let Some(drained) = self.0.take() {
            drained();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_as_a_line_about_its_node() {
        let epoch = Epoch::new(7).unwrap();
        let told = |leader: Option<&str>| {
            let leader = leader.map(str::to_owned);
            Event::LeaderChanged { epoch: leader.as_ref().map(|_| epoch), leader }.to_string()
        };
        assert_eq!(told(Some("b")), "hears that b leads, epoch 7");
        assert_eq!(told(None), "knows no leader");
        let lost = Event::LostLeadership { epoch, cause: Cause::Resigned(Reason::StepDown) };
        assert_eq!(lost.to_string(), "has lost epoch 7: resigned: step-down");
        let error = StoreError::TimedOut;
        assert_eq!(Event::Disconnected { error }.to_string(), "is disconnected: no answer in time");
    }
}
