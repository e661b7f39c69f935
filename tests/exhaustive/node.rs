//! A node: the shipped election, and what the checks know about it. The election is rebuilt from
//! its inputs wherever the search branches.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

use leasehold::clock::{Clock, Timestamp};
use leasehold::election::{Election, Input, Settings, Step};
use leasehold::lease::{Epoch, Lease, SessionId};
use leasehold::store::{Content, Entry, Outcome, Snapshot, StoreEvent};

/// The clock of a host: its origin, and how many nanoseconds it counts in a hundred nanoseconds of
/// true time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostClock {
    pub(crate) origin: u64,
    pub(crate) rate: u64,
}

impl HostClock {
    pub(crate) fn read(self, at: u64) -> Timestamp {
        Timestamp::from_nanos(self.origin + at * self.rate / 100)
    }

    /// The first instant at which it reads `local` or more.
    pub(crate) fn when(self, local: Timestamp) -> u64 {
        (local.as_nanos().saturating_sub(self.origin)).saturating_mul(100).div_ceil(self.rate)
    }
}

/// A write that was sent.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct Sent {
    pub(crate) session: Option<SessionId>,
    pub(crate) number: u64,
    pub(crate) epoch: Epoch,
    pub(crate) at: Timestamp,
    /// It was acknowledged or read back.
    pub(crate) known: bool,
}

/// What the checks know about a node, kept apart from what the election remembers.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Model {
    pub(crate) writes: Vec<Sent>,
    /// When each state of the store was first observed, by the condition that a write needs for it.
    pub(crate) seen: BTreeMap<(u64, Option<u64>), Timestamp>,
    pub(crate) term: Option<Epoch>,
    pub(crate) resigning: bool,
    /// The resigned term whose work is to stop.
    pub(crate) works: Option<Epoch>,
    /// The newest term that was reported drained.
    pub(crate) asked: Option<Epoch>,
    /// The terms whose work has stopped.
    pub(crate) drained: BTreeSet<Epoch>,
    /// The highest epoch that it led.
    pub(crate) led: u64,
    pub(crate) highest_epoch: u64,
    pub(crate) cooldown_until: Option<Timestamp>,
    /// The request that is awaited, since when, and whether it is a read.
    pub(crate) awaited: Option<(u64, Timestamp, bool)>,
    /// The read that the awaited one repeats.
    pub(crate) late_read: Option<u64>,
}

impl Model {
    /// The resigned term that was not reported drained yet.
    pub(crate) fn undrained(&self) -> Option<Epoch> {
        self.works.filter(|epoch| self.asked != Some(*epoch))
    }

    /// Takes an input.
    pub(crate) fn receive(&mut self, now: Timestamp, input: &Input) {
        match input {
            Input::Store(StoreEvent::Notice(entry)) => self.see(now, entry),
            Input::Store(StoreEvent::Disconnected { .. }) => {
                (self.awaited, self.late_read) = (None, None);
            }
            Input::Store(StoreEvent::Completed { ticket, outcome }) => {
                let answered = self.is_answered(ticket.0);
                match outcome {
                    Outcome::Stored { revision } => self.stored(now, ticket.0, *revision),
                    Outcome::Read(shown) if answered => self.read(now, shown),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn is_answered(&mut self, ticket: u64) -> bool {
        let awaited = self.awaited.is_some_and(|(awaited, ..)| awaited == ticket);
        let answered = awaited || self.late_read == Some(ticket);
        if answered {
            (self.awaited, self.late_read) = (None, None);
        }
        answered
    }

    fn stored(&mut self, now: Timestamp, number: u64, revision: u64) {
        self.know(number);
        self.seen.entry((revision, None)).or_insert(now);
    }

    fn read(&mut self, now: Timestamp, shown: &Snapshot) {
        let Some(entry) = &shown.entry else {
            self.seen.entry((0, Some(shown.last_seq))).or_insert(now);
            return;
        };
        self.see(now, entry);
        let Content::Value(bytes) = &entry.content else { return };
        let Ok(lease) = Lease::decode(bytes) else { return };
        self.highest_epoch = self.highest_epoch.max(lease.epoch.as_u64());
        if self.writes.iter().any(|write| write.session == lease.session) {
            self.know(lease.write);
        }
    }

    fn see(&mut self, now: Timestamp, entry: &Entry) {
        self.seen.entry((entry.revision, None)).or_insert(now);
    }

    fn know(&mut self, number: u64) {
        for write in self.writes.iter_mut().filter(|write| write.number == number) {
            write.known = true;
            self.highest_epoch = self.highest_epoch.max(write.epoch.as_u64());
        }
    }

    /// When the newest write of that epoch was sent for which `counts` holds.
    pub(crate) fn newest_sent(
        &self,
        epoch: u64,
        counts: impl Fn(&Sent) -> bool,
    ) -> Option<Timestamp> {
        let of = self.writes.iter().filter(|write| write.epoch.as_u64() == epoch && counts(write));
        of.map(|write| write.at).max()
    }
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) settings: Settings,
    log: Vec<(Timestamp, Input)>,
    pub(crate) election: Election,
    pub(crate) wake_at: Timestamp,
    pub(crate) connection: u64,
    pub(crate) model: Model,
    /// A hash of everything that decides what it does next.
    key: u64,
}

impl Node {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            election: Election::new(settings.clone()),
            settings,
            log: Vec::new(),
            wake_at: Timestamp::MAX,
            connection: 0,
            model: Model::default(),
            key: 0,
        }
    }

    pub(crate) fn session(&self) -> SessionId {
        self.settings.session
    }

    /// A copy of the node. An election cannot be cloned, but the same inputs rebuild it.
    pub(crate) fn replayed(&self) -> Self {
        let mut election = Election::new(self.settings.clone());
        for (now, input) in &self.log {
            let _ = election.step(*now, input.clone());
        }
        Self {
            settings: self.settings.clone(),
            log: self.log.clone(),
            election,
            wake_at: self.wake_at,
            connection: self.connection,
            model: self.model.clone(),
            key: self.key,
        }
    }

    pub(crate) fn step(&mut self, now: Timestamp, input: Input) -> Step {
        self.log.push((now, input.clone()));
        let step = self.election.step(now, input);
        self.wake_at = step.wake_at;
        step
    }

    /// The epoch in force and its deadline, read with a clock at zero.
    pub(crate) fn cell(&self) -> Option<(u64, Timestamp)> {
        let (epoch, deadline) = self.election.in_force(&Clock::manual(Timestamp::ZERO))?;
        Some((epoch.as_u64(), deadline))
    }

    pub(crate) fn leads(&self, now: Timestamp) -> Option<u64> {
        self.cell().filter(|(_, deadline)| now < *deadline).map(|(epoch, _)| epoch)
    }

    /// Call this when a step was carried out.
    pub(crate) fn update_key(&mut self) {
        let mut text = Digest(DefaultHasher::new());
        write!(text, "{:?}", self.election).expect("a digest accepts any text");
        (self.settings.session, self.wake_at, self.connection, &self.model).hash(&mut text.0);
        self.key = text.0.finish();
    }

    pub(crate) fn key(&self) -> u64 {
        self.key
    }
}

/// Hashes formatted text without storing it.
struct Digest(DefaultHasher);

impl std::fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
