//! The inputs and outputs of an election.

use std::time::Duration;

use super::Timestamp;
use crate::error::{Refused, StoreError};
use crate::event::{Cause, Reason};
use crate::lease::{Epoch, Lease, SessionId};
use crate::store::{Expect, StoreEvent, Ticket};
use crate::timing::Timing;

/// The settings of one node, fixed from its start.
///
/// ```
/// use std::time::Duration;
/// use leasehold::SessionId;
/// use leasehold::election::{Election, Settings};
/// use leasehold::timing::Timing;
///
/// let timing = Timing::default();
/// let election = Election::new(Settings {
///     node_id: "node-1".into(),
///     session: SessionId::from_bits(1), // a simulator counts; a node takes random bits
///     cooldown: timing.ttl(),
///     drain_timeout: Duration::from_secs(10),
///     timing,
///     strict_bootstrap: false,
///     observer: false,
///     meta: None,
/// });
/// assert_eq!(election.held_epoch(), None);
/// ```
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's id.
    pub node_id: String,
    /// The session of this start: 128 random bits.
    pub session: SessionId,
    /// The durations.
    pub timing: Timing,
    /// How long this node does not challenge after a term that it resigned. Default: the TTL; zero
    /// is allowed.
    pub cooldown: Duration,
    /// How long the work of a resigned term may take to stop.
    pub drain_timeout: Duration,
    /// Wait a TTL even in a new bucket.
    pub strict_bootstrap: bool,
    /// Only observe: never write and never lead.
    pub observer: bool,
    /// The application value in the record while this node leads.
    pub meta: Option<serde_json::Value>,
}

/// Something that happened, or a command to this node.
///
/// ```
/// use leasehold::clock::Timestamp;
/// use leasehold::election::{Election, Input};
/// use leasehold::{Reason, Refused};
///
/// # let settings = leasehold::election::Settings {
/// #     node_id: "node-1".into(),
/// #     session: leasehold::SessionId::from_bits(1),
/// #     timing: leasehold::timing::Timing::default(),
/// #     cooldown: std::time::Duration::from_secs(10),
/// #     drain_timeout: std::time::Duration::from_secs(10),
/// #     strict_bootstrap: false,
/// #     observer: false,
/// #     meta: None,
/// # };
/// let mut election = Election::new(settings);
/// let now = Timestamp::from_nanos(1);
/// let step = election.step(now, Input::Resign(Reason::StepDown)); // there is no term
/// assert_eq!(step.refused, Some(Refused::NotLeader { leader: None }));
/// let step = election.step(now, Input::Stop { until: now });
/// assert!(step.finished);
/// ```
#[derive(Clone, Debug)]
pub enum Input {
    /// Time passed.
    Tick,
    /// The store reports an event.
    Store(StoreEvent),
    /// Resign the term, for that reason; a transfer names the successor.
    Resign(Reason),
    /// The work of that term has stopped.
    Drained(Epoch),
    /// End the cooldown, so that this node may challenge.
    Promote,
    /// Whether this node is fit to lead.
    SetHealthy(bool),
    /// A new application value for the record.
    SetMeta(Option<serde_json::Value>),
    /// Resign and release a term that is held, then stop.
    Stop {
        /// When to stop at the latest.
        until: Timestamp,
    },
}

/// What the caller does after one input, in this order: it reports the changes, carries out the
/// command, and calls again at `wake_at` unless there is an input before.
///
/// ```
/// use leasehold::clock::Timestamp;
/// use leasehold::election::{Command, Step};
/// use leasehold::store::{Request, Store};
///
/// fn carry_out(step: Step, store: &mut impl Store) -> Timestamp {
///     for change in &step.changes {
///         println!("{change:?}"); // tell the application
///     }
///     match step.command {
///         Some(Command::Read(ticket)) => store.submit(ticket, Request::Read),
///         Some(Command::Reconnect) => store.reconnect(),
///         _ => {} // the other two likewise
///     }
///     step.wake_at
/// }
/// # let server = leasehold::store::memory::MemoryServer::new();
/// # let mut store = server.connect(leasehold::clock::Clock::boot());
/// # let command = Some(Command::Read(leasehold::store::Ticket(1)));
/// # let step = Step { command, ..Step::default() };
/// # assert_eq!(carry_out(step, &mut store), Timestamp::ZERO);
/// # assert_eq!(server.requests(), 1);
/// ```
#[derive(Debug, Default)]
#[must_use = "a step that is not carried out stalls the election"]
pub struct Step {
    /// Report these first: a leader that lost its term must learn it before anything else happens.
    pub changes: Vec<Change>,
    /// At most one per step.
    pub command: Option<Command>,
    /// When to call again with [`Input::Tick`].
    pub wake_at: Timestamp,
    /// Why the input was refused, if it was. It changed nothing then.
    pub refused: Option<Refused>,
    /// The election has stopped. Drop it.
    pub finished: bool,
}

/// A change that the application should know.
///
/// ```
/// use leasehold::clock::Timestamp;
/// use leasehold::election::{Change, Election, Input};
/// use leasehold::store::StoreEvent;
///
/// # let settings = leasehold::election::Settings {
/// #     node_id: "node-1".into(),
/// #     session: leasehold::SessionId::from_bits(1),
/// #     timing: leasehold::timing::Timing::default(),
/// #     cooldown: std::time::Duration::from_secs(10),
/// #     drain_timeout: std::time::Duration::from_secs(10),
/// #     strict_bootstrap: false,
/// #     observer: false,
/// #     meta: None,
/// # };
/// let mut election = Election::new(settings);
/// let server = String::from("nats://a.example:4222");
/// let connected = StoreEvent::Connected { server: server.clone() };
/// let step = election.step(Timestamp::from_nanos(1), Input::Store(connected));
/// assert_eq!(step.changes, [Change::Connected { server }]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A term began.
    BecameLeader(Epoch),
    /// A term was resigned: its work is to stop. Answer with [`Input::Drained`] when it has.
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
    /// The leader, as far as this node knows; `None` when no leader is known.
    LeaderChanged(Option<(String, Epoch)>),
    /// The known leader's application value; `None` when it has none or no leader is known.
    MetaChanged(Option<serde_json::Value>),
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
    /// The record's TTL is not the configured one.
    TtlMismatch(Duration),
    /// The record is undecodable.
    CorruptRecord {
        /// Its revision.
        revision: u64,
        /// What is wrong.
        reason: String,
    },
    /// The store reported an error. It is tried again.
    Problem(StoreError),
}

/// A request to the store.
///
/// ```
/// use leasehold::clock::Timestamp;
/// use leasehold::election::{Command, Election, Input};
/// use leasehold::store::{Outcome, StoreEvent};
///
/// # let settings = leasehold::election::Settings {
/// #     node_id: "node-1".into(),
/// #     session: leasehold::SessionId::from_bits(1),
/// #     timing: leasehold::timing::Timing::default(),
/// #     cooldown: std::time::Duration::from_secs(10),
/// #     drain_timeout: std::time::Duration::from_secs(10),
/// #     strict_bootstrap: false,
/// #     observer: false,
/// #     meta: None,
/// # };
/// # let mut election = Election::new(settings);
/// # let now = Timestamp::from_nanos(1);
/// # let connected = StoreEvent::Connected { server: "nats://a.example:4222".into() };
/// # let step = election.step(now, Input::Store(connected));
/// let Some(Command::Read(ticket)) = step.command else { panic!("{step:?}") };
/// let completed = StoreEvent::Completed { ticket, outcome: Outcome::NoBucket };
/// let step = election.step(now, Input::Store(completed));
/// assert!(matches!(step.command, Some(Command::CreateBucket { first_seq: 1, .. })));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "one per step, and carried out at once")]
pub enum Command {
    /// Read the record.
    Read(Ticket),
    /// Write the record if a condition holds.
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
    /// Drop the connection and make another.
    Reconnect,
}

/// Counters since the start.
///
/// ```
/// use std::time::Duration;
/// use leasehold::clock::Timestamp;
/// use leasehold::election::{Election, Input};
/// use leasehold::store::StoreEvent;
///
/// # let settings = leasehold::election::Settings {
/// #     node_id: "node-1".into(),
/// #     session: leasehold::SessionId::from_bits(1),
/// #     timing: leasehold::timing::Timing::default(),
/// #     cooldown: std::time::Duration::from_secs(10),
/// #     drain_timeout: std::time::Duration::from_secs(10),
/// #     strict_bootstrap: false,
/// #     observer: false,
/// #     meta: None,
/// # };
/// # let mut election = Election::new(settings);
/// # let now = Timestamp::from_nanos(1);
/// let connected = StoreEvent::Connected { server: "nats://a.example:4222".into() };
/// let _ = election.step(now, Input::Store(connected)); // sends a read
/// let _ = election.step(now + Duration::from_secs(2), Input::Tick); // which is not answered
/// let counters = election.counters();
/// assert_eq!((counters.connections, counters.unknown_outcomes), (1, 1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Renewals that were stored.
    pub renewals: u64,
    /// Requests that failed: they had no effect.
    pub failures: u64,
    /// Requests whose outcome was unknown at first.
    pub unknown_outcomes: u64,
    /// Writes whose condition did not hold.
    pub lost_races: u64,
    /// Connections that were made.
    pub connections: u64,
    /// Connections dropped because two requests in a row were not answered in time.
    pub abandoned_connections: u64,
    /// Terms led.
    pub terms: u64,
    /// The time from sending the newest answered request to its answer.
    pub last_round_trip: Duration,
}
