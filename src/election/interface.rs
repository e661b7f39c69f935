//! What goes into an election and what comes out of it.

use std::time::Duration;

use super::Timestamp;
use crate::error::{Refused, StoreError};
use crate::event::{Cause, Reason};
use crate::lease::{Epoch, Lease, SessionId};
use crate::store::{Expect, StoreEvent, Ticket};
use crate::timing::Timing;

/// Who takes part, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's id.
    pub node_id: String,
    /// This start's session: 128 random bits.
    pub session: SessionId,
    /// The durations.
    pub timing: Timing,
    /// How long the node stays back after a term it gave back. Default: the TTL; zero is allowed.
    pub cooldown: Duration,
    /// How long the work of a resigned term may take to end.
    pub drain_timeout: Duration,
    /// Wait a TTL even in a bucket that is surely new.
    pub strict_bootstrap: bool,
    /// Take no part: never write.
    pub observer: bool,
    /// The application value that the record carries while this node leads.
    pub meta: Option<serde_json::Value>,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time passed.
    Tick,
    /// The store tells something.
    Store(StoreEvent),
    /// Give the term back, because of `Reason`; a transfer names the successor.
    Resign(Reason),
    /// The work of that term has stopped.
    Drained(Epoch),
    /// End the cooldown.
    Promote,
    /// Whether this node is fit to lead.
    SetHealthy(bool),
    /// A new application value for the record.
    SetMeta(Option<serde_json::Value>),
    /// Give back what is held and stop, by then at the latest.
    Stop {
        /// The bound.
        until: Timestamp,
    },
}

/// What to do after one input, in this order: tell the changes, carry out the command, and call
/// again at `wake_at` if nothing happens before.
#[derive(Debug)]
#[must_use = "a step that is not carried out stalls the election"]
pub struct Step {
    /// Told first: a deposed leader must hear it before anything else happens.
    pub changes: Vec<Change>,
    /// At most one a step.
    pub command: Option<Command>,
    /// When to call again with [`Input::Tick`].
    pub wake_at: Timestamp,
    /// Why the input was refused, if it was; nothing changed then.
    pub refused: Option<Refused>,
    /// The election has stopped: drop it.
    pub finished: bool,
}

impl Step {
    /// Nothing to do, and no reason to be called again.
    pub(super) const fn empty() -> Self {
        Self {
            changes: Vec::new(),
            command: None,
            wake_at: Timestamp::MAX,
            refused: None,
            finished: false,
        }
    }
}

/// What changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A term began.
    BecameLeader(Epoch),
    /// The term's work is to stop; answer with [`Input::Drained`].
    Resigning {
        /// The term.
        epoch: Epoch,
        /// Why.
        reason: Reason,
    },
    /// The term ended.
    LostLeadership {
        /// The term.
        epoch: Epoch,
        /// Why.
        cause: Cause,
    },
    /// Another holder is known, or none.
    LeaderChanged(Option<(String, Epoch)>),
    /// The store is connected.
    Connected {
        /// To which server.
        server: String,
    },
    /// The store is not connected.
    Disconnected {
        /// Why.
        error: StoreError,
    },
    /// Another session uses this node's id.
    DuplicateNodeId(SessionId),
    /// The record's time to live is not the configured one.
    TtlMismatch(Duration),
    /// The record is undecodable.
    CorruptRecord {
        /// Its revision.
        revision: u64,
        /// What is wrong.
        reason: String,
    },
    /// The store complains.
    Problem(StoreError),
}

/// What to have the store do.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "one a step, and carried out at once")]
pub enum Command {
    /// Read the record.
    Read(Ticket),
    /// Write the record under that condition.
    Write {
        /// The request's number.
        ticket: Ticket,
        /// The condition.
        expect: Expect,
        /// The content.
        lease: Lease,
    },
    /// Create the bucket.
    CreateBucket {
        /// The request's number.
        ticket: Ticket,
        /// The first revision to be handed out.
        first_seq: u64,
    },
    /// Give the connection up and build another.
    Reconnect,
}

/// How often what happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Renewals that were stored.
    pub renewals: u64,
    /// Requests the store refused.
    pub failures: u64,
    /// Requests whose outcome was unknown at first.
    pub unknown_outcomes: u64,
    /// Writes that came second.
    pub lost_races: u64,
    /// Connections that were made.
    pub connections: u64,
    /// Connections given up because nothing was answered in time.
    pub abandoned_connections: u64,
    /// Terms led.
    pub terms: u64,
    /// From sending the newest answered request to its answer.
    pub last_round_trip: Duration,
}
