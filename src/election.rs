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
use crate::error::StoreError;
use crate::event::Role;
use crate::leadership::TermCell;
use crate::lease::{Epoch, Lease};
use crate::store::{Outcome, Snapshot, StoreEvent, Ticket};

mod bucket;
mod interface;
mod notice;
mod phase;
mod plan;
mod record;
mod reports;
mod requests;
mod resign;
mod schedule;
mod term;
#[cfg(test)]
mod tests;
mod unread;
mod view;

pub use interface::{Change, Command, Counters, Input, Settings, Step};
use notice::NoticeVerdict;
use phase::{Leftover, Phase};
use record::Record;
use reports::Reported;
use requests::{Kind, Requests};
use schedule::Schedule;
use view::{ReadVerdict, RecordView};

/// The election of one node; see the [module](self).
#[derive(Debug)]
pub struct Election {
    settings: Settings,
    cell: Arc<TermCell>,
    view: RecordView,
    requests: Requests,
    phase: Phase,
    schedule: Schedule,
    leftover: Leftover,
    reported: Reported,
    counters: Counters,
    connected: bool,
    healthy: bool,
    /// The node is to stop, by then at the latest.
    stop_by: Option<Timestamp>,
    /// The step that is being built.
    out: Step,
}

impl Election {
    /// An election that has seen nothing yet. It asks for nothing before
    /// [`StoreEvent::Connected`].
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            view: RecordView::new(settings.timing.ttl()),
            schedule: Schedule::new(settings.session),
            settings,
            cell: Arc::default(),
            requests: Requests::default(),
            phase: Phase::Following,
            leftover: Leftover::default(),
            reported: Reported::default(),
            counters: Counters::default(),
            connected: false,
            healthy: true,
            stop_by: None,
            out: Step::empty(),
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
        if matches!(self.phase, Phase::Holding { resignation: None, .. }) {
            Role::Leader
        } else {
            Role::Follower
        }
    }

    /// Whether a term is being given back: its work is brought to an end, or its lease released.
    #[must_use]
    pub fn is_resigning(&self) -> bool {
        matches!(self.phase, Phase::Holding { resignation: Some(_), .. } | Phase::Releasing(_))
    }

    /// The epoch of the term that this node holds, if it holds one.
    #[must_use]
    pub fn held_epoch(&self) -> Option<Epoch> {
        self.term().map(|term| term.epoch)
    }

    /// The highest epoch this node has seen or heard of; `None` before the first.
    #[must_use]
    pub fn highest_epoch(&self) -> Option<Epoch> {
        let heard = self.view.newest().and_then(|observed| observed.lease());
        Epoch::new(self.view.highest_epoch()).max(heard.map(|lease| lease.epoch))
    }

    /// The holder and epoch that were last told by [`Change::LeaderChanged`].
    #[must_use]
    pub fn reported_leader(&self) -> Option<&(String, Epoch)> {
        self.reported.leader.as_ref()
    }

    /// The configured time to live.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.settings.timing.ttl()
    }

    /// Whether a held record of this session stands, as far as is known.
    #[must_use]
    pub fn has_unreleased_lease(&self) -> bool {
        let lease = self.view.confirmed().and_then(|observed| observed.lease());
        lease.is_some_and(|lease| self.is_held_here(lease))
    }

    /// A record that says this session holds the lease, whether or not its term goes on.
    fn is_held_here(&self, lease: &Lease) -> bool {
        lease.session == Some(self.settings.session) && !lease.is_released()
    }

    /// The application value of the record that stands, whoever wrote it.
    #[must_use]
    pub fn leader_meta(&self) -> Option<&serde_json::Value> {
        self.view.newest()?.lease()?.meta.as_ref()
    }

    /// The newest revision known; 0 before the first.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.view.newest().map_or(0, |observed| observed.revision)
    }

    /// When a term that this node holds ends if no renewal succeeds.
    #[must_use]
    pub fn held_until(&self) -> Option<Timestamp> {
        self.term().map(|term| term.deadline)
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
        self.check_timeouts(now);
        self.act(now);
        self.report_leader(now);
        self.out.wake_at = self.wake_at(now);
        self.out.finished = matches!(self.phase, Phase::Stopped);
        std::mem::replace(&mut self.out, Step::empty())
    }

    fn take(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Tick => {}
            Input::Store(event) => self.on_store(now, event),
            Input::Resign(reason) => self.out.refused = self.resign(now, reason).err(),
            Input::Drained(epoch) => self.drained(epoch),
            Input::Promote => self.out.refused = self.promote().err(),
            Input::SetHealthy(healthy) => self.set_healthy(now, healthy),
            Input::SetMeta(meta) => self.set_meta(now, meta),
            Input::Stop { until } => self.stop(now, until),
        }
    }

    fn on_store(&mut self, now: Timestamp, event: StoreEvent) {
        match event {
            StoreEvent::Completed { ticket, outcome } => self.on_completed(now, ticket, outcome),
            StoreEvent::Notice(entry) => {
                let heard = self.view.notice(now, entry, self.settings.session);
                self.on_notice(now, heard);
            }
            // A holder learns of a foreign write by its next renewal; its own writes are hinted at
            // too.
            StoreEvent::Hint if self.term().is_some() => {}
            StoreEvent::Hint => self.read_soon(now),
            StoreEvent::Connected { server } => self.on_connected(now, server),
            StoreEvent::Disconnected { error } => self.on_disconnected(now, error),
            StoreEvent::Problem(error) => self.report_problem(error),
        }
    }

    fn on_connected(&mut self, now: Timestamp, server: String) {
        self.connected = true;
        self.counters.connections += 1;
        self.view.connected();
        self.requests.answered();
        self.schedule.not_before = now;
        self.schedule.next_read_at = Some(now);
        self.reported.problem = None;
        self.out.changes.push(Change::Connected { server });
    }

    fn on_disconnected(&mut self, now: Timestamp, error: StoreError) {
        let news =
            std::mem::take(&mut self.connected) || self.reported.problem.as_ref() != Some(&error);
        self.view.disconnected();
        self.schedule.read_first = true;
        if let Some(pending) = self.requests.abandon() {
            self.on_unknown(now, pending.kind);
        }
        if news {
            self.reported.problem = Some(error.clone());
            self.out.changes.push(Change::Disconnected { error });
        }
    }

    fn on_notice(&mut self, now: Timestamp, heard: NoticeVerdict) {
        match heard {
            NoticeVerdict::Ignored => {}
            // A leader confirms by a read before it deposes itself; its deadline stands meanwhile.
            NoticeVerdict::Held if self.term().is_some() => self.read_soon(now),
            NoticeVerdict::Held => self.report_record(),
            NoticeVerdict::Unconfirmed => self.read_soon(now),
            // At once, if not even that has to be waited for: see `challenge_unconfirmed`.
            NoticeVerdict::LikelyReleased => self.schedule.next_read_at = Some(now),
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
            (Outcome::Created, Some(_)) => self.schedule.next_read_at = Some(now),
            (Outcome::Failed(error), Some(request)) => self.on_failed(now, request.kind, error),
            (Outcome::Unknown(_), Some(request)) => {
                self.schedule.not_before = now + self.settings.timing.retry_wait();
                self.on_unknown(now, request.kind);
            }
        }
    }

    fn on_read(&mut self, now: Timestamp, sent: Timestamp, shown: &Snapshot) {
        let verdict = self.view.read(now, sent, shown);
        self.schedule.read_first = false;
        if verdict != ReadVerdict::Unchanged {
            self.report_record();
        }
        if let Some(Record::Undecodable(reason)) = self.changed_to(verdict) {
            let (reason, revision) = (reason.clone(), self.revision());
            self.out.changes.push(Change::CorruptRecord { revision, reason });
        }
        self.after_read(now, verdict);
        // The answer may be that of an earlier read, and older than the notice it was to settle.
        if self.view.needs_confirmation() {
            self.read_soon(now);
        }
    }

    fn changed_to(&self, verdict: ReadVerdict) -> Option<&Record> {
        match verdict {
            ReadVerdict::Unchanged | ReadVerdict::Behind => None,
            ReadVerdict::Changed | ReadVerdict::NewIncarnation | ReadVerdict::WentBack => {
                self.view.confirmed().map(|observed| &observed.record)
            }
        }
    }

    fn on_failed(&mut self, now: Timestamp, kind: Kind, error: StoreError) {
        self.counters.failures += 1;
        self.report_problem(error);
        let timing = &self.settings.timing;
        // A holder has until its deadline and tries often; a follower has all the time there is.
        let held = self.term().is_some();
        let pause = if held { timing.retry_wait() } else { timing.renew_interval() };
        self.schedule.not_before = now + pause;
        // A holder that may not read can still renew; whether it may, the next write tells.
        self.schedule.next_read_at =
            (!held || kind == Kind::Write).then_some(self.schedule.not_before);
        if kind == Kind::Write {
            self.write_failed(now);
        }
    }

    fn on_unknown(&mut self, now: Timestamp, kind: Kind) {
        self.counters.unknown_outcomes += 1;
        self.schedule.next_read_at = Some(now);
        if kind == Kind::Write {
            self.write_is_unknown(now);
        }
    }

    fn check_timeouts(&mut self, now: Timestamp) {
        let timeout = self.settings.timing.request_timeout();
        if let Some(overdue) = self.requests.overdue(now, timeout) {
            self.on_unknown(now, overdue.kind);
        }
        if self.requests.is_unresponsive() {
            self.connected = false;
            self.counters.abandoned_connections += 1;
            self.out.command = Some(Command::Reconnect);
        }
        self.end_overdue_phase(now);
    }

    /// A read is due, but not more often than one per request timeout: hints cost nothing to forge.
    fn read_soon(&mut self, now: Timestamp) {
        let spaced =
            self.view.last_read().map_or(now, |last| last + self.settings.timing.request_timeout());
        self.schedule.read_by(spaced.max(now));
    }
}
