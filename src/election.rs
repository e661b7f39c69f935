//! The election, as a function from what happened to what to do next.
//!
//! It knows no thread, no clock and no NATS: time and events come in through [`Election::step`],
//! changes and commands go out. The renewal thread drives one; so can a simulator, or a runtime of
//! one's own.
//!
//! # The record
//! One record under one key, written by compare-and-set only, never deleted. It names the holder,
//! its session (new for every start), the epoch of the term, and the number of the write, so that
//! (session, epoch, number) names one write and no other.
//!
//! # Why at most one node leads
//! 1. A leader counts its term from *before* it sent the last write that was stored, and ends it
//!    `L = D·(1−ρ)/(1+ρ)` later on its own clock: at the latest `D/(1+ρ)` of true time later.
//! 2. A challenger acts `D` on its own clock after it *saw* that write: at the earliest `D/(1+ρ)`
//!    of true time after. Seeing comes after storing, storing after sending.
//! 3. Its write is stored only if that revision is still the newest, so no renewal can have been
//!    stored meanwhile. Stale reads and late notices only make it wait longer or lose the race.
//! 4. Every other way to the lease passes through the holder: it released (`clean`) after its work
//!    had stopped; or the writer is the holder itself, whose own term has ended.
//!
//! No wall clock is read, and no clock of two hosts compared. What no lease can do is stop a
//! process between its check and its act: that is what the epoch is for, wherever the effect lands.
//!
//! # What is easily got wrong
//! * *A read is not a renewal.* A record that is read back proves a write stored; what counts is
//!   when that write was sent, and only if it is remembered.
//! * *An ended term stays ended*, whatever acknowledgement comes late. [`TermCell`] sees to it.
//! * *Absence is an observation.* A deleted key must stand for `D` like any record, and is then
//!   taken with two conditions, the second of which proves that nothing was written meanwhile.
//! * *A challenge whose outcome came too late* may stand in the store as a held record that nobody
//!   serves. It is overwritten by a release once, and its node stays back, or else one slow node
//!   would keep everyone from ever waiting out `D`.
//! * *A notice is hearsay.* It may delay a challenge, or hurry a read; it never makes or ends a
//!   term. A noticed release may be challenged before it is read, but a compare-and-set by revision
//!   would not make that safe: to whoever can guess the number of the holder's next renewal, it is
//!   that renewal which is overwritten. So a clean release has a name that no other write ever has
//!   (session, epoch, number), and such a challenge is stored only while the release of that name
//!   is the newest write of all. Its writer's work had stopped when it sent it, and nothing came
//!   after it. A forged notice can name a release that was never stored, that was refused, or that
//!   is no longer the newest: none of these stands, and the challenge has no effect. If it names
//!   the release that does stand, it told the truth.
//! * *A store that went back* would hang everyone who ignores lower revisions for ever: after two
//!   reads a TTL apart that show less than is known, what they show counts.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::{Refused, StoreError};
use crate::event::Role;
use crate::leadership::TermCell;
use crate::lease::{Epoch, Lease, SessionId};
use crate::store::{Outcome, Snapshot, StoreEvent, Ticket};

mod interface;
mod knowledge;
mod plan;
mod requests;
mod resign;
mod term;
#[cfg(test)]
mod tests;
mod unread;

pub use interface::{Change, Command, Counters, Input, Settings, Step};
use knowledge::{Finding, Heard, Knowledge, Seen};
use requests::{Kind, Requests};
use resign::{Cleanup, Cooldown};
use term::Phase;

/// The election of one node; see the [module](self).
#[derive(Debug)]
pub struct Election {
    settings: Settings,
    cell: Arc<TermCell>,
    knowledge: Knowledge,
    requests: Requests,
    phase: Phase,
    connected: bool,
    healthy: bool,
    /// A read is due then.
    look_at: Option<Timestamp>,
    /// No request before then: the last one failed at once.
    not_before: Timestamp,
    cooldown: Option<Cooldown>,
    /// No challenge before then: the last one came to nothing.
    back_off_until: Timestamp,
    /// An own record that nobody serves is to be overwritten by a release, once.
    cleanup: Option<Cleanup>,
    /// The newest term that was left to lapse before its work had stopped.
    lapsed: Option<Cleanup>,
    /// Nothing is challenged by hearsay before the next read.
    reads_first: bool,
    /// The own record that was already challenged without waiting.
    retaken: u64,
    stopping: Option<Timestamp>,
    told_leader: Option<(String, Epoch)>,
    told_ttl: Option<Duration>,
    told_problem: Option<StoreError>,
    twin: Option<(SessionId, u64)>,
    told_twin: Option<SessionId>,
    random: u64,
    counters: Counters,
    changes: Vec<Change>,
    command: Option<Command>,
    refused: Option<Refused>,
}

impl Election {
    /// An election that has seen nothing yet. It asks for nothing before
    /// [`StoreEvent::Connected`].
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let bits = settings.session.bits();
        #[allow(clippy::cast_possible_truncation, reason = "folds the random bits into a seed")]
        let random = (bits ^ (bits >> 64)) as u64;
        Self {
            knowledge: Knowledge::new(settings.timing.ttl()),
            settings,
            cell: Arc::default(),
            requests: Requests::default(),
            phase: Phase::Following,
            connected: false,
            healthy: true,
            look_at: None,
            not_before: Timestamp::ZERO,
            cooldown: None,
            back_off_until: Timestamp::ZERO,
            cleanup: None,
            lapsed: None,
            reads_first: true,
            retaken: 0,
            stopping: None,
            told_leader: None,
            told_ttl: None,
            told_problem: None,
            twin: None,
            told_twin: None,
            random,
            counters: Counters::default(),
            changes: Vec::new(),
            command: None,
            refused: None,
        }
    }

    /// The cell that says whether this node leads; shared with whoever asks.
    #[must_use]
    pub fn cell(&self) -> &Arc<TermCell> {
        &self.cell
    }

    /// Leader from the beginning of a term until it resigns or ends.
    #[must_use]
    pub fn role(&self) -> Role {
        if matches!(self.phase, Phase::Leading(_)) { Role::Leader } else { Role::Follower }
    }

    /// Whether a term is being given back: its work is brought to an end, or its lease released.
    #[must_use]
    pub fn is_resigning(&self) -> bool {
        matches!(self.phase, Phase::Draining(..) | Phase::Releasing(_))
    }

    /// The epoch of the term that this node holds, if it holds one.
    #[must_use]
    pub fn held_epoch(&self) -> Option<Epoch> {
        self.tenure().map(|tenure| tenure.epoch)
    }

    /// The highest epoch this node has seen or heard of; `None` before the first.
    #[must_use]
    pub fn highest_epoch(&self) -> Option<Epoch> {
        let heard = self.knowledge.newest().and_then(|sighting| sighting.lease());
        Epoch::new(self.knowledge.highest_epoch()).max(heard.map(|lease| lease.epoch))
    }

    /// The holder and epoch that were last told by [`Change::LeaderChanged`].
    #[must_use]
    pub fn reported_leader(&self) -> Option<&(String, Epoch)> {
        self.told_leader.as_ref()
    }

    /// The configured time to live.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.settings.timing.ttl()
    }

    /// Whether a held record of this session stands, as far as is known.
    #[must_use]
    pub fn has_unreleased_lease(&self) -> bool {
        let lease = self.knowledge.standing().and_then(|sighting| sighting.lease());
        lease.is_some_and(|lease| self.is_held_here(lease))
    }

    /// A record that says this session holds the lease, whether or not its term goes on.
    fn is_held_here(&self, lease: &Lease) -> bool {
        lease.session == Some(self.settings.session) && !lease.is_released()
    }

    /// The application value of the record that stands, whoever wrote it.
    #[must_use]
    pub fn leader_meta(&self) -> Option<&serde_json::Value> {
        self.knowledge.newest()?.lease()?.meta.as_ref()
    }

    /// The newest revision known; 0 before the first.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.knowledge.newest().map_or(0, |sighting| sighting.revision)
    }

    /// When a term that this node holds ends if no renewal succeeds.
    #[must_use]
    pub fn held_until(&self) -> Option<Timestamp> {
        self.tenure().map(|tenure| tenure.deadline)
    }

    /// How often what happened.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes in what happened and says what to do.
    ///
    /// `now` is read from the clock after the input was there, and before the step is carried out:
    /// a write counts from it.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Step {
        // Expiry before anything the input says: a renewal acknowledged too late may already
        // compete with a successor.
        self.expire(now);
        self.take(now, input);
        self.give_up_what_is_overdue(now);
        self.act(now);
        self.tell_leader(now);
        Step {
            wake_at: self.wake_at(now),
            changes: std::mem::take(&mut self.changes),
            command: self.command.take(),
            refused: self.refused.take(),
            finished: matches!(self.phase, Phase::Stopped),
        }
    }

    fn take(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Tick => {}
            Input::Store(event) => self.on_store(now, event),
            Input::Resign(reason) => self.refused = self.resign(now, reason).err(),
            Input::Drained(epoch) => self.drained(epoch),
            Input::Promote => self.refused = self.promote().err(),
            Input::SetHealthy(healthy) => self.set_healthy(now, healthy),
            Input::SetMeta(meta) => self.set_meta(now, meta),
            Input::Stop { until } => self.stop(now, until),
        }
    }

    fn on_store(&mut self, now: Timestamp, event: StoreEvent) {
        match event {
            StoreEvent::Completed { ticket, outcome } => self.on_completed(now, ticket, outcome),
            StoreEvent::Notice(entry) => {
                let heard = self.knowledge.notice(now, entry, self.settings.session);
                self.on_heard(now, heard);
            }
            // A holder learns of a foreign write by its next renewal; its own writes are hinted at
            // too.
            StoreEvent::Hint if self.tenure().is_some() => {}
            StoreEvent::Hint => self.look_when_allowed(now),
            StoreEvent::Connected { server } => self.on_connected(now, server),
            StoreEvent::Disconnected { error } => self.on_disconnected(now, error),
            StoreEvent::Problem(error) => self.tell_problem(error),
        }
    }

    fn on_connected(&mut self, now: Timestamp, server: String) {
        self.connected = true;
        self.counters.connections += 1;
        self.knowledge.connected();
        self.requests.answered();
        self.not_before = now;
        self.look_at = Some(now);
        self.told_problem = None;
        self.changes.push(Change::Connected { server });
    }

    fn on_disconnected(&mut self, now: Timestamp, error: StoreError) {
        let news =
            std::mem::take(&mut self.connected) || self.told_problem.as_ref() != Some(&error);
        self.knowledge.disconnected();
        self.reads_first = true;
        if let Some(pending) = self.requests.abandon() {
            self.outcome_is_unknown(now, pending.kind);
        }
        if news {
            self.told_problem = Some(error.clone());
            self.changes.push(Change::Disconnected { error });
        }
    }

    fn on_heard(&mut self, now: Timestamp, heard: Heard) {
        match heard {
            Heard::Nothing => {}
            // A leader confirms by a read before it deposes itself; its deadline stands meanwhile.
            Heard::News if self.tenure().is_some() => self.look_when_allowed(now),
            Heard::News => self.sight(),
            Heard::Doubtful => self.look_when_allowed(now),
            // At once, if not even that has to be waited for: see `challenge_unread`.
            Heard::Released => self.look_at = Some(now),
        }
    }

    fn on_completed(&mut self, now: Timestamp, ticket: Ticket, outcome: Outcome) {
        let pending = self.requests.close(ticket);
        if !matches!(outcome, Outcome::Unknown(_)) {
            self.requests.answered();
        }
        if let Some(pending) = pending {
            self.counters.last_round_trip = now.since(pending.sent);
        }
        match (outcome, pending) {
            // Counted however late it comes: what matters is when the write was sent.
            (Outcome::Stored { revision }, _) => self.on_stored(now, ticket, revision),
            (_, None) => {}
            (Outcome::LostRace, Some(_)) => self.on_lost_race(now),
            (Outcome::Read(shown), Some(read)) => self.on_read(now, read.sent, &shown),
            (Outcome::NoBucket, Some(read)) => self.on_no_bucket(now, read.sent),
            (Outcome::Created, Some(_)) => self.look_at = Some(now),
            (Outcome::Failed(error), Some(request)) => self.on_failed(now, request.kind, error),
            (Outcome::Unknown(_), Some(request)) => {
                self.not_before = now + self.settings.timing.retry_wait();
                self.outcome_is_unknown(now, request.kind);
            }
        }
    }

    fn on_read(&mut self, now: Timestamp, sent: Timestamp, shown: &Snapshot) {
        let finding = self.knowledge.read(now, sent, shown);
        self.reads_first = false;
        if finding != Finding::Unchanged {
            self.sight();
        }
        if let Some(Seen::Undecodable(reason)) = self.changed_to(finding) {
            let (reason, revision) = (reason.clone(), self.revision());
            self.changes.push(Change::CorruptRecord { revision, reason });
        }
        self.after_read(now, finding);
        // The answer may be that of an earlier read, and older than the notice it was to settle.
        if self.knowledge.is_in_doubt() {
            self.look_when_allowed(now);
        }
    }

    fn changed_to(&self, finding: Finding) -> Option<&Seen> {
        match finding {
            Finding::Unchanged | Finding::Behind => None,
            Finding::Changed | Finding::NewIncarnation | Finding::WentBack => {
                self.knowledge.standing().map(|sighting| &sighting.seen)
            }
        }
    }

    fn on_failed(&mut self, now: Timestamp, kind: Kind, error: StoreError) {
        self.counters.failures += 1;
        self.tell_problem(error);
        let timing = &self.settings.timing;
        // A holder has until its deadline and tries often; a follower has all the time there is.
        let held = self.tenure().is_some();
        let pause = if held { timing.retry_wait() } else { timing.renew_interval() };
        self.not_before = now + pause;
        // A holder that may not read can still renew; whether it may, the next write tells.
        self.look_at = (!held || kind == Kind::Write).then_some(self.not_before);
        if kind == Kind::Write {
            self.write_failed(now);
        }
    }

    fn outcome_is_unknown(&mut self, now: Timestamp, kind: Kind) {
        self.counters.unknown_outcomes += 1;
        self.look_at = Some(now);
        if kind == Kind::Write {
            self.write_is_unknown(now);
        }
    }

    fn give_up_what_is_overdue(&mut self, now: Timestamp) {
        let timeout = self.settings.timing.request_timeout();
        if let Some(overdue) = self.requests.overdue(now, timeout) {
            self.outcome_is_unknown(now, overdue.kind);
        }
        if self.requests.is_deaf() {
            self.connected = false;
            self.counters.abandoned_connections += 1;
            self.command = Some(Command::Reconnect);
        }
        self.give_up_phases(now);
    }

    /// A read is due, but not more often than one per request timeout: hints cost nothing to forge.
    fn look_when_allowed(&mut self, now: Timestamp) {
        let spaced = self
            .knowledge
            .last_read()
            .map_or(now, |last| last + self.settings.timing.request_timeout());
        let at = spaced.max(now);
        self.look_at = Some(self.look_at.map_or(at, |due| due.min(at)));
    }

    /// Tells what a newly seen record gives away of its cluster.
    fn sight(&mut self) {
        let Some(sighting) = self.knowledge.newest() else { return };
        let revision = sighting.revision;
        let Some(lease) = sighting.lease().filter(|lease| !lease.is_released()) else { return };
        let foreign = lease.session.filter(|session| *session != self.settings.session);
        let same_name = lease.node_id == self.settings.node_id;
        let ttl = lease.ttl.filter(|ttl| *ttl != self.settings.timing.ttl());
        if let Some(ttl) = ttl.filter(|ttl| self.told_ttl != Some(*ttl)) {
            self.told_ttl = Some(ttl);
            self.changes.push(Change::TtlMismatch(ttl));
        }
        // An observer may well bear the name of the node beside which it looks.
        if let (Some(session), true, false) = (foreign, same_name, self.settings.observer) {
            self.sight_twin(session, revision);
        }
    }

    /// A record of our name may be left from before a restart. A second one of the same session
    /// proves that it lives.
    fn sight_twin(&mut self, session: SessionId, revision: u64) {
        let lives = matches!(self.twin, Some((seen, at)) if seen == session && at < revision);
        if self.twin.is_none_or(|(seen, _)| seen != session) {
            self.twin = Some((session, revision));
        }
        if lives && self.told_twin != Some(session) {
            self.told_twin = Some(session);
            self.changes.push(Change::DuplicateNodeId(session));
        }
    }

    fn tell_problem(&mut self, error: StoreError) {
        if self.told_problem.as_ref() != Some(&error) {
            self.told_problem = Some(error.clone());
            self.changes.push(Change::Problem(error));
        }
    }

    fn tell_leader(&mut self, now: Timestamp) {
        let leader = self.leader(now);
        if leader != self.told_leader {
            self.told_leader.clone_from(&leader);
            self.changes.push(Change::LeaderChanged(leader));
        }
    }

    /// The next of a sequence that differs from session to session (splitmix64).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
