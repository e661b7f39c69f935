//! Events as a plain struct.

use std::ffi::c_char;

use super::text::{Sized32, cut};
use crate::clock::millis;
use crate::event::{Cause, Event, Reason};
use crate::lease::{Epoch, MAX_NODE_ID_BYTES};

/// The kind of an event. Later versions can add kinds: ignore an unknown one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum leasehold_event_kind {
    /// No event: the value in a struct of zeros.
    LEASEHOLD_NO_EVENT = 0,
    /// This node leads, in the term `epoch`. Start the leader's work.
    LEASEHOLD_BECAME_LEADER = 1,
    /// The node steps down from the term `epoch`; see `reason`. `leasehold_is_leader` is false
    /// already, and the lease is still held. Finish the work, then call `leasehold_drained` with
    /// this `epoch`. Queued only if the program has asked for events before; otherwise the node
    /// does not wait for it.
    LEASEHOLD_RESIGNING = 2,
    /// The term `epoch` is over; see `cause`, and `reason` if the node stepped down. Work that is
    /// still done for this term is stale.
    LEASEHOLD_LOST_LEADERSHIP = 3,
    /// The known leader changed: `node_id`, in the term `epoch`; none if `node_id` is empty.
    LEASEHOLD_LEADER_CHANGED = 4,
    /// The node connected to a server.
    LEASEHOLD_CONNECTED = 5,
    /// The connection was lost, or the first one failed.
    LEASEHOLD_DISCONNECTED = 6,
    /// Another process uses this node's id: give each its own.
    LEASEHOLD_DUPLICATE_NODE_ID = 7,
    /// The leader's TTL differs from this node's: `number` milliseconds.
    LEASEHOLD_TTL_MISMATCH = 8,
    /// Revision `number` of the record is unreadable.
    LEASEHOLD_CORRUPT_RECORD = 9,
    /// The store reported an error; the node retries.
    LEASEHOLD_PROBLEM = 10,
    /// `number` events were dropped at this point, because they were not taken in time.
    LEASEHOLD_MISSED = 11,
    /// The known leader's JSON value changed; ask `leasehold_leader_meta`.
    LEASEHOLD_META_CHANGED = 12,
    /// Something happened to a virtual IP of the node; `text` describes it.
    LEASEHOLD_VIRTUAL_IP = 13,
    /// `node_id` is in another bucket of the same name: there are two clusters, and each may have
    /// a leader. Told only if `leasehold_serve_health` was called.
    LEASEHOLD_BUCKET_MISMATCH = 14,
    /// Not known to this version of the header; `text` describes it.
    LEASEHOLD_OTHER_EVENT = 99,
}

/// Why a term ended. Later versions can add causes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum leasehold_cause {
    /// No term ended.
    LEASEHOLD_NO_CAUSE = 0,
    /// No renewal succeeded in time.
    LEASEHOLD_EXPIRED = 1,
    /// Another writer wrote the record: `node_id`, if it holds the lease.
    LEASEHOLD_SUPERSEDED = 2,
    /// The record was deleted.
    LEASEHOLD_DELETED = 3,
    /// The record was overwritten with something unreadable.
    LEASEHOLD_CORRUPTED = 4,
    /// The bucket was deleted or replaced.
    LEASEHOLD_BUCKET_REPLACED = 5,
    /// The bucket was restored to an older state.
    LEASEHOLD_STORE_WENT_BACK = 6,
    /// The node stepped down; see `reason`.
    LEASEHOLD_RESIGNED = 7,
    /// The node stepped down, see `reason`, but `leasehold_drained` was not called in time: the
    /// lease expires unreleased.
    LEASEHOLD_DRAIN_TIMED_OUT = 8,
    /// Not known to this version of the header; `text` describes it.
    LEASEHOLD_OTHER_CAUSE = 99,
}

/// Why a leader steps down. Later versions can add reasons.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum leasehold_reason {
    /// It does not step down.
    LEASEHOLD_NO_REASON = 0,
    /// `leasehold_step_down`, or an operator.
    LEASEHOLD_STEP_DOWN = 1,
    /// A transfer to `node_id`.
    LEASEHOLD_TRANSFER = 2,
    /// The node stops.
    LEASEHOLD_STOP = 3,
    /// The node was reported unhealthy.
    LEASEHOLD_UNFIT = 4,
    /// Not known to this version of the header; `text` describes it.
    LEASEHOLD_OTHER_REASON = 99,
}

/// The size of any node id with its zero byte.
pub const LEASEHOLD_NODE_ID_SIZE: usize = 264;
const _: () = assert!(LEASEHOLD_NODE_ID_SIZE > MAX_NODE_ID_BYTES);
/// The size of an event's text with its zero byte; a longer text is cut.
pub const LEASEHOLD_TEXT_SIZE: usize = 512;

/// An event of a node. Set `size` to `sizeof` before the call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct leasehold_event {
    /// `sizeof(leasehold_event)`.
    pub size: u32,
    /// The kind of the event.
    pub kind: leasehold_event_kind,
    /// The epoch of its term, or 0.
    pub epoch: u64,
    /// A number that depends on the kind, or 0.
    pub number: u64,
    /// Why a term ended.
    pub cause: leasehold_cause,
    /// Why the node steps down or stepped down.
    pub reason: leasehold_reason,
    /// The other node of the event, or empty.
    pub node_id: [c_char; LEASEHOLD_NODE_ID_SIZE],
    /// One line that describes the event.
    pub text: [c_char; LEASEHOLD_TEXT_SIZE],
}

// SAFETY: `repr(C)`, its first field is its size, and zero is a value of every field.
unsafe impl Sized32 for leasehold_event {
    const FIRST: usize = 808;
    const NAME: &'static str = "leasehold_event";
}
const _: () = assert!(leasehold_event::FIRST == size_of::<leasehold_event>());

impl leasehold_event {
    fn new(kind: leasehold_event_kind, text: &str) -> Self {
        Self {
            size: u32::try_from(size_of::<Self>()).unwrap_or(u32::MAX),
            kind,
            epoch: 0,
            number: 0,
            cause: leasehold_cause::LEASEHOLD_NO_CAUSE,
            reason: leasehold_reason::LEASEHOLD_NO_REASON,
            node_id: cut(""),
            text: cut(text),
        }
    }

    /// The event for C. The caller keeps the event's token or drain guard.
    pub(super) fn of(event: &Event) -> Self {
        use leasehold_event_kind as kind;
        let new = |kind| Self::new(kind, &event.to_string());
        match event {
            Event::BecameLeader(leadership) => {
                Self { epoch: leadership.epoch().as_u64(), ..new(kind::LEASEHOLD_BECAME_LEADER) }
            }
            Event::Resigning { epoch, reason, .. } => {
                Self { epoch: epoch.as_u64(), ..new(kind::LEASEHOLD_RESIGNING) }.because(reason)
            }
            Event::LostLeadership { epoch, cause } => Self::lost(*epoch, cause),
            Event::LeaderChanged { leader, epoch } => Self {
                epoch: epoch.map_or(0, Epoch::as_u64),
                node_id: cut(leader.as_deref().unwrap_or_default()),
                ..new(kind::LEASEHOLD_LEADER_CHANGED)
            },
            Event::MetaChanged { .. } => new(kind::LEASEHOLD_META_CHANGED),
            Event::Connected { .. } => new(kind::LEASEHOLD_CONNECTED),
            Event::Disconnected { .. } => new(kind::LEASEHOLD_DISCONNECTED),
            Event::DuplicateNodeId { .. } => new(kind::LEASEHOLD_DUPLICATE_NODE_ID),
            Event::TtlMismatch { theirs, .. } => {
                Self { number: millis(*theirs), ..new(kind::LEASEHOLD_TTL_MISMATCH) }
            }
            Event::BucketMismatch { node_id, .. } => {
                Self { node_id: cut(node_id), ..new(kind::LEASEHOLD_BUCKET_MISMATCH) }
            }
            Event::CorruptRecord { revision, .. } => {
                Self { number: *revision, ..new(kind::LEASEHOLD_CORRUPT_RECORD) }
            }
            Event::Problem(_) => new(kind::LEASEHOLD_PROBLEM),
            Event::VirtualIp(_) => new(kind::LEASEHOLD_VIRTUAL_IP),
            Event::Missed { count } => Self { number: *count, ..new(kind::LEASEHOLD_MISSED) },
        }
    }

    /// The end of a term.
    pub(super) fn lost(epoch: Epoch, cause: &Cause) -> Self {
        use leasehold_cause as why;
        let lost = Event::LostLeadership { epoch, cause: cause.clone() };
        let kind = leasehold_event_kind::LEASEHOLD_LOST_LEADERSHIP;
        let new = Self { epoch: epoch.as_u64(), ..Self::new(kind, &lost.to_string()) };
        let (cause, new) = match cause {
            Cause::Expired => (why::LEASEHOLD_EXPIRED, new),
            Cause::Superseded { by } => {
                let node_id = cut(by.as_deref().unwrap_or_default());
                (why::LEASEHOLD_SUPERSEDED, Self { node_id, ..new })
            }
            Cause::Deleted => (why::LEASEHOLD_DELETED, new),
            Cause::Corrupted => (why::LEASEHOLD_CORRUPTED, new),
            Cause::BucketReplaced => (why::LEASEHOLD_BUCKET_REPLACED, new),
            Cause::StoreWentBack => (why::LEASEHOLD_STORE_WENT_BACK, new),
            Cause::Resigned(reason) => (why::LEASEHOLD_RESIGNED, new.because(reason)),
            Cause::DrainTimedOut(reason) => (why::LEASEHOLD_DRAIN_TIMED_OUT, new.because(reason)),
        };
        Self { cause, ..new }
    }

    fn because(self, reason: &Reason) -> Self {
        use leasehold_reason as why;
        let (reason, to) = match reason {
            Reason::StepDown => (why::LEASEHOLD_STEP_DOWN, ""),
            Reason::Transfer { to } => (why::LEASEHOLD_TRANSFER, to.as_str()),
            Reason::Stop => (why::LEASEHOLD_STOP, ""),
            Reason::Unhealthy => (why::LEASEHOLD_UNFIT, ""),
            // Callbacks in C do not panic.
            Reason::HookPanicked => (why::LEASEHOLD_OTHER_REASON, ""),
        };
        Self { reason, node_id: cut(to), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_in_another_bucket_is_named() {
        let [node_id, theirs, ours] = ["node-2", "then", "now"].map(str::to_owned);
        let event = leasehold_event::of(&Event::BucketMismatch { node_id, theirs, ours });
        assert_eq!(event.kind, leasehold_event_kind::LEASEHOLD_BUCKET_MISMATCH);
        assert_eq!(event.node_id, cut::<LEASEHOLD_NODE_ID_SIZE>("node-2"));
        let text = "finds two clusters: node-2 uses a bucket created at then, and this node one \
                    created at now";
        assert_eq!(event.text, cut::<LEASEHOLD_TEXT_SIZE>(text));
    }
}
