//! The election, as a function: time and events go in, changes and commands come out.
//!
//! **Unstable**: this module is public for simulators and may change in any minor version.
//!
//! An [`Election`] is the state machine of one node. It has no thread and no clock, and it does not
//! know NATS. Its caller reads the clock, calls [`Election::step`] and carries out the [`Step`]
//! that comes back. The renewal thread of a node is such a caller; the simulator in
//! `tests/simulation` is another.
//!
//! # Words
//! * The **record** is one JSON document under one key of one bucket. It is written by
//!   compare-and-set only, and never deleted. It names the **holder** of the lease.
//! * A **session** is one start of one node: 128 random bits.
//! * A **term** is a time during which one session holds the lease. It has a number, its **epoch**,
//!   which is higher than that of every earlier term.
//! * Every write of a session has a number that this session never uses again. So (session, epoch,
//!   number) names one write and no other.
//! * A holder **renews** its term by writing the record again. A node without a term **challenges**
//!   by writing the record in its own name, with a new epoch. A holder **releases** the lease by
//!   writing a record that names no holder and is marked `clean`.
//! * *D* is the lease TTL. *ρ* bounds how far the rate of any host's clock departs
//!   from true time. *L* = *D*·(1−*ρ*)/(1+*ρ*) is how long a stored write keeps its term valid.
//!
//! # Why at most one node leads
//! Let node A lead, and let node B take the lease over from it.
//!
//! 1. **A stops in time.** A counts its term from the moment *before* it sent the last write that
//!    was stored, and stops leading *L* later on its own clock. That clock may be slow, so this is
//!    at most *L*/(1−*ρ*) = *D*/(1+*ρ*) of true time after that moment.
//! 2. **B waits long enough.** B challenges only after it has known that write for *D* on its own
//!    clock. That clock may be fast, so this is at least *D*/(1+*ρ*) of true time after B first saw
//!    the write. B saw it after it was stored, and it was stored after A sent it.
//! 3. **Nothing came in between.** B's challenge is stored only if the revision that B waited for
//!    is still the newest. So no later renewal of A was stored, and both steps are about the same
//!    write.
//!
//! Hence A has stopped before B begins. A stale read or a late notice makes B wait longer, or makes
//! its challenge fail. Neither lets B begin earlier.
//!
//! B does not wait *D* in three cases, and in none of them is another node leading:
//!
//! * The record is a clean release. Its writer ended its term, and its work had stopped, before it
//!   sent the release.
//! * The record is a held one of B's own session, and B's term has ended.
//! * B found no bucket a moment ago, and the bucket that it finds now was never written to. This
//!   assumes that no operator deletes the bucket under a live leader. A node that saw a held record
//!   in the deleted bucket waits *D* all the same, and with `strict_bootstrap` every node does.
//!
//! No wall clock is read, and no two clocks are compared. The argument assumes that clock rates
//! stay within *ρ*, and that the store keeps what it has acknowledged. A lease cannot stop a
//! process between its check and its act; the epoch guards against that, see
//! [`fence`](crate::fence).
//!
//! # Rules that keep the argument true
//! * **A read is not a renewal.** A record that is read back proves that a write was stored. The
//!   term counts from when that write was sent, and only if this node remembers having sent it.
//! * **An ended term stays ended**, however late an acknowledgement arrives. `TermCell` enforces
//!   it.
//! * **Absence is an observation.** A deleted key has to be absent for *D*, like any held record.
//!   The challenge then has two conditions: there is no record, and nothing was written into the
//!   bucket since it was looked at. The second proves that no holder wrote meanwhile.
//! * **A challenge can succeed too late.** When its outcome is known only after *L*, the node does
//!   not lead, but its record may be the current one. The node overwrites it with a release once,
//!   and does not challenge again for *D* to 2·*D*. Otherwise one slow node would keep all others
//!   from ever waiting out *D*.
//! * **A notice proves nothing.** Every client that may publish on its subject can forge one. A
//!   notice may delay a challenge or cause a read. It never begins or ends a term.
//! * **A noticed release is challenged by its name.** This saves the read between two leaders. The
//!   revision alone would be no safe condition: a forger that guesses the revision of the holder's
//!   next renewal could have that renewal overwritten. So the condition names the release by its
//!   session, epoch and number, and holds only while that release is the newest write in the
//!   bucket. Its writer's work had stopped before it sent the release, and nothing was written
//!   after it. A notice that names a release which was never stored, or is not the newest write,
//!   only makes the challenge fail.
//! * **A store can go back**, restored from a backup or after a lost write. Lower revisions that
//!   were ignored for ever would stop the cluster. After two reads, *D* apart, that show less than
//!   is known, what they show counts.

use std::sync::Arc;

use crate::clock::{Clock, Timestamp};
use crate::error::StoreError;
use crate::leadership::TermCell;
use crate::lease::{Epoch, Lease};
use crate::store::{Incarnation, Outcome, Snapshot, StoreEvent, Ticket};

mod act;
mod challenge;
mod interface;
mod notice;
mod phase;
mod problems;
mod record;
mod reports;
mod requests;
mod resign;
mod schedule;
mod term;
#[cfg(test)]
mod tests;
mod view;

pub use interface::{Change, Command, Counters, Input, Settings, Step};
use notice::NoticeVerdict;
use phase::{Leftover, Phase};
use problems::Problems;
use reports::Reported;
use requests::{Kind, Requests};
use schedule::Schedule;
use view::{ReadVerdict, RecordView};

/// The election of one node; see the [module](self).
///
/// ```
/// use leasehold::clock::Timestamp;
/// use leasehold::election::{Command, Election, Input};
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
/// let connected = StoreEvent::Connected { server: "nats://a.example:4222".into() };
/// let step = election.step(Timestamp::from_nanos(1), Input::Store(connected));
/// assert!(matches!(step.command, Some(Command::Read(_)))); // it reads before it writes
/// ```
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
    problems: Problems,
    counters: Counters,
    connected: bool,
    healthy: bool,
    /// The node is to stop, by then at the latest.
    stop_by: Option<Timestamp>,
    /// The step that is being built.
    out: Step,
}

impl Election {
    /// An election that knows nothing yet. It sends no request before [`StoreEvent::Connected`].
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
            problems: Problems::default(),
            counters: Counters::default(),
            connected: false,
            healthy: true,
            stop_by: None,
            out: Step::default(),
        }
    }

    /// The cell that says whether this node leads, for the threads that ask.
    pub(crate) fn cell(&self) -> &Arc<TermCell> {
        &self.cell
    }

    /// The term in force when `clock` is read, which is during this call, and its deadline. Ends a
    /// term whose deadline is past.
    #[must_use]
    pub fn in_force(&self, clock: &Clock) -> Option<(Epoch, Timestamp)> {
        let (epoch, deadline) = self.cell.in_force(clock)?;
        Epoch::new(epoch).map(|epoch| (epoch, deadline))
    }

    /// Whether a resigned term is draining, or its release is being written.
    #[must_use]
    pub fn is_resigning(&self) -> bool {
        matches!(self.phase, Phase::Holding { resignation: Some(_), .. } | Phase::Releasing(_))
    }

    /// The epoch of the term that this node holds, led or resigned.
    #[must_use]
    pub fn held_epoch(&self) -> Option<Epoch> {
        self.term().map(|term| term.epoch)
    }

    /// The highest epoch this node knows, from reads, notices and own writes; `None` before the
    /// first.
    #[must_use]
    pub fn highest_epoch(&self) -> Option<Epoch> {
        let newest = self.view.newest().and_then(|newest| newest.lease());
        Epoch::new(self.view.highest_epoch).max(newest.map(|lease| lease.epoch))
    }

    /// The holder and epoch of the last [`Change::LeaderChanged`].
    #[must_use]
    pub fn reported_leader(&self) -> Option<&(String, Epoch)> {
        self.reported.leader.as_ref()
    }

    /// The value of the last [`Change::MetaChanged`].
    #[must_use]
    pub fn reported_meta(&self) -> Option<&serde_json::Value> {
        self.reported.meta.as_ref()
    }

    /// Whether the store is connected, and the connection was not given up.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Whether the current record says that this session holds the lease, as far as is known.
    #[must_use]
    pub fn has_unreleased_lease(&self) -> bool {
        let lease = self.view.confirmed().and_then(|confirmed| confirmed.lease());
        lease.is_some_and(|lease| self.is_own_held(lease))
    }

    /// Whether a record says that this session holds the lease. Its term may have ended.
    fn is_own_held(&self, lease: &Lease) -> bool {
        lease.session == Some(self.settings.session) && !lease.is_released()
    }

    /// The application value in the newest record known. While this node holds a term, that is its
    /// own record: a notice may be forged.
    #[must_use]
    pub fn leader_meta(&self) -> Option<&serde_json::Value> {
        let holds = self.term().is_some();
        let newest = if holds { self.view.confirmed() } else { self.view.newest() };
        newest?.lease()?.meta.as_ref()
    }

    /// The bucket that was read last; `None` before the first read, and while there is no bucket.
    #[must_use]
    pub fn bucket(&self) -> Option<&Incarnation> {
        self.view.bucket.incarnation()
    }

    /// The newest revision known, confirmed or noticed; 0 before the first.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.view.newest().map_or(0, |newest| newest.revision)
    }

    /// When the term that this node holds ends if no renewal succeeds.
    #[must_use]
    pub fn held_until(&self) -> Option<Timestamp> {
        self.term().map(|term| term.deadline)
    }

    /// Counters since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes an input and returns what to do.
    ///
    /// Read `now` from the clock after the input has arrived and before the step is carried out: a
    /// write counts from it.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Step {
        // Expiry comes before the input: when a renewal is acknowledged too late, a successor may
        // lead already.
        self.expire(now);
        self.handle(now, input);
        self.check_timeouts(now);
        self.act(now);
        self.report_leader(now);
        self.out.wake_at = self.wake_at(now);
        self.out.finished = matches!(self.phase, Phase::Stopped);
        std::mem::take(&mut self.out)
    }

    fn handle(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Tick => {}
            Input::Store(event) => self.on_store(now, event),
            Input::Resign(reason) => self.out.refused = self.resign(now, reason).err(),
            Input::Drained(epoch) => self.drained(epoch),
            Input::Promote => self.out.refused = self.promote().err(),
            Input::SetHealthy(healthy) => self.set_healthy(now, healthy),
            Input::SetMeta(meta) => self.out.refused = self.set_meta(now, meta).err(),
            Input::Stop { until } => self.stop(now, until),
        }
    }

    fn on_store(&mut self, now: Timestamp, event: StoreEvent) {
        match event {
            StoreEvent::Completed { ticket, outcome } => self.on_completed(now, ticket, outcome),
            StoreEvent::Notice(entry) => {
                let verdict = self.view.notice(now, entry, self.settings.session);
                self.on_notice(now, verdict);
            }
            // A holder learns of another node's write by its next renewal. Most hints are about
            // its own writes.
            StoreEvent::Hint if self.term().is_some() => {}
            StoreEvent::Hint => self.read_soon(now),
            StoreEvent::Connected { server } => self.on_connected(now, server),
            StoreEvent::Disconnected { error } => self.on_disconnected(now, error),
            // Told when the other servers have failed as well.
            StoreEvent::AttemptFailed { .. } => {}
            StoreEvent::Problem(error) => self.report_problem(error),
            // They are for people.
            StoreEvent::Warnings(_) => {}
        }
    }

    fn on_connected(&mut self, now: Timestamp, server: String) {
        self.connected = true;
        self.counters.connections += 1;
        // What was noticed before keeps its time.
        self.view.notices.trusted = true;
        self.requests.answered();
        self.schedule.not_before = now;
        self.schedule.next_read_at = Some(now);
        self.problems.connected();
        self.out.changes.push(Change::Connected { server });
    }

    fn on_disconnected(&mut self, now: Timestamp, error: StoreError) {
        let new = std::mem::take(&mut self.connected)
            || self.problems.connection.as_ref() != Some(&error);
        self.view.bucket.disconnected();
        self.schedule.read_first = true;
        if let Some(pending) = self.requests.abandon() {
            self.on_unknown(now, pending.kind);
        }
        if new {
            self.problems.connection = Some(error.clone());
            self.out.changes.push(Change::Disconnected { error });
        }
    }

    fn on_notice(&mut self, now: Timestamp, verdict: NoticeVerdict) {
        match verdict {
            NoticeVerdict::Ignored => {}
            // A leader reads before it gives up its term. Its deadline holds meanwhile.
            NoticeVerdict::Held if self.term().is_some() => self.read_soon(now),
            NoticeVerdict::Held => self.report_record(),
            NoticeVerdict::Unconfirmed => self.read_soon(now),
            // Read at once, unless `challenge_unconfirmed` challenges the release unread.
            NoticeVerdict::LikelyReleased => self.schedule.next_read_at = Some(now),
        }
    }

    fn on_completed(&mut self, now: Timestamp, ticket: Ticket, outcome: Outcome) {
        let pending = self.requests.close(ticket);
        self.report_outcome(ticket, pending, &outcome);
        if !matches!(outcome, Outcome::Unknown(_)) {
            self.requests.answered();
        }
        if let Some(pending) = pending {
            self.counters.last_round_trip = now.since(pending.sent);
        }
        match (outcome, pending) {
            // It counts however late it comes: what matters is when the write was sent.
            (Outcome::Stored { revision }, _) => self.on_stored(now, ticket, revision),
            (_, None) => {}
            (Outcome::LostRace, Some(_)) => self.on_lost_race(now),
            (Outcome::Read(shown), Some(read)) => self.on_read(now, read.sent, &shown),
            (Outcome::NoBucket, Some(read)) => self.on_no_bucket(now, read.sent),
            (Outcome::Created, Some(_)) => self.schedule.next_read_at = Some(now),
            (Outcome::Failed(_), Some(request)) => self.on_failed(now, request.kind),
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
        self.problems.record_shown(self.view.confirmed().map_or(0, |shown| shown.revision));
        if !matches!(verdict, ReadVerdict::Unchanged | ReadVerdict::Behind) {
            self.report_corruption();
        }
        self.after_read(now, verdict);
        // This may be the answer to an earlier read, and older than the notice that a read was to
        // confirm.
        if self.view.notices.unconfirmed().is_some() {
            self.read_soon(now);
        }
    }

    fn on_failed(&mut self, now: Timestamp, kind: Kind) {
        self.counters.failures += 1;
        let timing = &self.settings.timing;
        // A holder has to renew before its deadline and retries often. A follower has time.
        let held = self.term().is_some();
        let pause = if held { timing.retry_wait() } else { timing.renew_interval() };
        self.schedule.not_before = now + pause;
        // A holder that is not permitted to read may still be permitted to renew.
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
        let overdue = self.requests.overdue(now, timeout);
        if let Some(overdue) = overdue {
            self.on_unknown(now, overdue.kind);
        }
        if self.requests.gives_up_connection() {
            self.connected = false;
            self.counters.abandoned_connections += 1;
            self.out.command = Some(Command::Reconnect);
        } else if let Some(overdue) = overdue {
            self.report_silence(overdue.kind);
        }
        self.end_overdue_phase(now);
    }

    /// Makes a read due, at most one per request timeout: hints and notices can be forged. The
    /// first one of a term is due at once, as no notice has caused the reads from before the term.
    fn read_soon(&mut self, now: Timestamp) {
        let first = self.term().is_some_and(|term| !term.was_read);
        let last = self.view.last_read.filter(|_| !first);
        let spacing = self.settings.timing.request_timeout();
        let spaced = last.map_or(now, |last| last + spacing);
        self.schedule.read_by(spaced.max(now));
    }
}
