//! Events, as a plain struct.

use std::ffi::c_char;

use super::text::{Sized32, cut, millis};
use crate::event::{Cause, Event, Reason};
use crate::lease::{Epoch, MAX_NODE_ID_BYTES};

/// What happened. Further kinds may be added: ignore an unknown one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum leasehold_event_kind {
    /// None: what a struct of zeros says.
    LEASEHOLD_NO_EVENT = 0,
    /// This node leads, under `epoch`. Start what the leader does.
    LEASEHOLD_BECAME_LEADER = 1,
    /// The term `epoch` is to be given back: `leasehold_is_leader` is false already, the lease is
    /// still held. Finish what is under way, then call `leasehold_drained` with this `epoch`. See
    /// `reason`. Queued only when somebody has asked for events before; who has not is not waited
    /// for.
    LEASEHOLD_RESIGNING = 2,
    /// The term `epoch` is over. Whatever is still done under it is stale. See `cause`, and
    /// `reason` where it was given back.
    LEASEHOLD_LOST_LEADERSHIP = 3,
    /// Another leader is known: `node_id`, under `epoch`; or none, when `node_id` is empty.
    LEASEHOLD_LEADER_CHANGED = 4,
    /// There is a connection.
    LEASEHOLD_CONNECTED = 5,
    /// The connection went away, or a first one could not be made.
    LEASEHOLD_DISCONNECTED = 6,
    /// Another process uses this node's id. Give it one of its own.
    LEASEHOLD_DUPLICATE_NODE_ID = 7,
    /// The cluster's record has another TTL than this node: `number` milliseconds.
    LEASEHOLD_TTL_MISMATCH = 8,
    /// The record, revision `number`, was overwritten with something that is none.
    LEASEHOLD_CORRUPT_RECORD = 9,
    /// The store complains; it is tried again.
    LEASEHOLD_PROBLEM = 10,
    /// `number` events were dropped here, as nobody took them.
    LEASEHOLD_MISSED = 11,
    /// Something that this version has no name for; `text` says it.
    LEASEHOLD_OTHER_EVENT = 99,
}

/// Why a term ended. Further causes may be added.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum leasehold_cause {
    /// None: the event is of another kind.
    LEASEHOLD_NO_CAUSE = 0,
    /// No renewal succeeded in time.
    LEASEHOLD_EXPIRED = 1,
    /// Somebody else wrote the record: `node_id`, if it is a holder.
    LEASEHOLD_SUPERSEDED = 2,
    /// The record was deleted.
    LEASEHOLD_DELETED = 3,
    /// The record was overwritten with something unreadable.
    LEASEHOLD_CORRUPTED = 4,
    /// The bucket was deleted or replaced.
    LEASEHOLD_BUCKET_REPLACED = 5,
    /// The bucket went back to an older state.
    LEASEHOLD_STORE_WENT_BACK = 6,
    /// It was given back, see `reason`.
    LEASEHOLD_RESIGNED = 7,
    /// It was to be given back, see `reason`, but `leasehold_drained` did not come in time: the
    /// lease lapses.
    LEASEHOLD_DRAIN_TIMED_OUT = 8,
    /// Something that this version has no name for; `text` says it.
    LEASEHOLD_OTHER_CAUSE = 99,
}

/// Why a leader gives its term back. Further reasons may be added.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum leasehold_reason {
    /// None: it does not.
    LEASEHOLD_NO_REASON = 0,
    /// It was asked to step down.
    LEASEHOLD_STEP_DOWN = 1,
    /// It was asked to hand over to `node_id`.
    LEASEHOLD_TRANSFER = 2,
    /// The node is to stop.
    LEASEHOLD_STOP = 3,
    /// The application reported itself unfit.
    LEASEHOLD_UNFIT = 4,
    /// Something that this version has no name for; `text` says it.
    LEASEHOLD_OTHER_REASON = 99,
}

/// Room for a node id of any record, with its zero byte.
pub const LEASEHOLD_NODE_ID_SIZE: usize = 264;
const _: () = assert!(LEASEHOLD_NODE_ID_SIZE > MAX_NODE_ID_BYTES);
/// Room for the line about an event, with its zero byte; what is longer is cut.
pub const LEASEHOLD_TEXT_SIZE: usize = 512;

/// Something that happened to a node. Set `size` to `sizeof` before it is filled.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct leasehold_event {
    /// `sizeof(leasehold_event)`.
    pub size: u32,
    /// What happened.
    pub kind: leasehold_event_kind,
    /// The term that it is about, or 0.
    pub epoch: u64,
    /// What the kind says, or 0.
    pub number: u64,
    /// Why a term ended.
    pub cause: leasehold_cause,
    /// Why a term is or was given back.
    pub reason: leasehold_reason,
    /// The node that it is about, or empty.
    pub node_id: [c_char; LEASEHOLD_NODE_ID_SIZE],
    /// One line about it for people.
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

    /// As C sees it. What the event holds, a token or a drain guard, stays with the caller.
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
            Event::Connected { .. } => new(kind::LEASEHOLD_CONNECTED),
            Event::Disconnected { .. } => new(kind::LEASEHOLD_DISCONNECTED),
            Event::DuplicateNodeId { .. } => new(kind::LEASEHOLD_DUPLICATE_NODE_ID),
            Event::TtlMismatch { theirs, .. } => {
                Self { number: millis(*theirs), ..new(kind::LEASEHOLD_TTL_MISMATCH) }
            }
            Event::CorruptRecord { revision, .. } => {
                Self { number: *revision, ..new(kind::LEASEHOLD_CORRUPT_RECORD) }
            }
            Event::Problem(_) => new(kind::LEASEHOLD_PROBLEM),
            Event::Missed { count } => Self { number: *count, ..new(kind::LEASEHOLD_MISSED) },
        }
    }

    /// The end of a term, or what hooks are told of one that is given back.
    pub(super) fn lost(epoch: Epoch, cause: &Cause) -> Self {
        use leasehold_cause as why;
        let lost = Event::LostLeadership { epoch, cause: cause.clone() };
        let kind = leasehold_event_kind::LEASEHOLD_LOST_LEADERSHIP;
        let new = Self { epoch: epoch.as_u64(), ..Self::new(kind, &lost.to_string()) };
        match cause {
            Cause::Expired => Self { cause: why::LEASEHOLD_EXPIRED, ..new },
            Cause::Superseded { by } => Self {
                cause: why::LEASEHOLD_SUPERSEDED,
                node_id: cut(by.as_deref().unwrap_or_default()),
                ..new
            },
            Cause::Deleted => Self { cause: why::LEASEHOLD_DELETED, ..new },
            Cause::Corrupted => Self { cause: why::LEASEHOLD_CORRUPTED, ..new },
            Cause::BucketReplaced => Self { cause: why::LEASEHOLD_BUCKET_REPLACED, ..new },
            Cause::StoreWentBack => Self { cause: why::LEASEHOLD_STORE_WENT_BACK, ..new },
            Cause::Resigned(reason) => {
                Self { cause: why::LEASEHOLD_RESIGNED, ..new }.because(reason)
            }
            Cause::DrainTimedOut(reason) => {
                Self { cause: why::LEASEHOLD_DRAIN_TIMED_OUT, ..new }.because(reason)
            }
        }
    }

    fn because(self, reason: &Reason) -> Self {
        use leasehold_reason as why;
        match reason {
            Reason::StepDown => Self { reason: why::LEASEHOLD_STEP_DOWN, ..self },
            Reason::Transfer { to } => {
                Self { reason: why::LEASEHOLD_TRANSFER, node_id: cut(to), ..self }
            }
            Reason::Stop => Self { reason: why::LEASEHOLD_STOP, ..self },
            Reason::Unhealthy => Self { reason: why::LEASEHOLD_UNFIT, ..self },
            // No callback of C's can panic.
            Reason::HookPanicked => Self { reason: why::LEASEHOLD_OTHER_REASON, ..self },
        }
    }
}
