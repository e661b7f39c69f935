//! The life of a term, from the challenge to its loss.

use super::phase::{Challenge, EndedTerm, Phase, Term};
use super::record::{Observation, Record};
use super::requests::{Kind, OwnWrite, Purpose};
use super::view::ReadVerdict;
use super::{Change, Command, Election, Timestamp};
use crate::error::StoreError;
use crate::event::Cause;
use crate::lease::{Epoch, Lease};
use crate::store::{Expect, Ticket};

/// How often a challenge is repeated whose outcome stays unknown.
const CHALLENGE_TRIES: u32 = 3;

impl Election {
    pub(super) fn term(&self) -> Option<&Term> {
        match &self.phase {
            Phase::Holding { term, .. } => Some(term),
            Phase::Following | Phase::Challenging(_) | Phase::Releasing(_) | Phase::Stopped => None,
        }
    }

    fn term_mut(&mut self) -> Option<&mut Term> {
        match &mut self.phase {
            Phase::Holding { term, .. } => Some(term),
            Phase::Following | Phase::Challenging(_) | Phase::Releasing(_) | Phase::Stopped => None,
        }
    }

    // What ends by itself.

    pub(super) fn expire(&mut self, now: Timestamp) {
        let expired = match &self.phase {
            // Another thread may have found the deadline past before this one did. The cell of a
            // resigned term has ended anyway.
            Phase::Holding { term, resignation } => {
                now >= term.deadline || (resignation.is_none() && self.cell.has_ended())
            }
            Phase::Following | Phase::Challenging(_) | Phase::Releasing(_) | Phase::Stopped => {
                false
            }
        };
        if expired {
            self.lose(now, Cause::Expired);
        }
    }

    // What is to be asked next.

    /// Sends the next request, if one is due and none is awaited.
    pub(super) fn act(&mut self, now: Timestamp) {
        self.finish_drain(now);
        self.finish_stop();
        let busy = self.requests.pending().is_some() || self.out.command.is_some();
        if busy || !self.connected || now < self.schedule.not_before {
            return;
        }
        if self.challenge_unconfirmed(now) {
            return;
        }
        if self.schedule.next_read_at.is_some_and(|due| now >= due) {
            return self.read(now);
        }
        match &self.phase {
            Phase::Following => self.follow(now),
            Phase::Holding { term, .. } if now >= term.renew_at => {
                self.renew(now);
            }
            Phase::Releasing(release) => {
                let (epoch, successor) = (release.epoch, release.successor.clone());
                self.release(now, epoch, successor);
            }
            Phase::Challenging(_) | Phase::Holding { .. } | Phase::Stopped => {}
        }
    }

    fn follow(&mut self, now: Timestamp) {
        if let Some(cleanup) = self.take_leftover() {
            return self.release(now, cleanup.epoch, cleanup.successor);
        }
        if self.poll_at().is_none_or(|at| now >= at) {
            return self.read(now);
        }
        if !self.is_eligible(now) {
            return;
        }
        if self.view.bucket().is_missing() {
            return self.create_bucket(now);
        }
        let Some(plan) = self.challenge_plan() else { return };
        match self.confirming_read_at(&plan) {
            Some(from) if now >= from => self.read(now),
            None if now >= plan.at => self.challenge(now),
            _ => {}
        }
    }

    fn read(&mut self, now: Timestamp) {
        self.schedule.next_read_at = None;
        let ticket = self.requests.open(Kind::Read, now);
        self.out.command = Some(Command::Read(ticket));
    }

    fn create_bucket(&mut self, now: Timestamp) {
        let ticket = self.requests.open(Kind::Create, now);
        let first_seq = self.view.highest_epoch().saturating_add(1);
        self.out.command = Some(Command::CreateBucket { ticket, first_seq });
    }

    pub(super) fn write(&mut self, now: Timestamp, purpose: Purpose, expect: Expect, lease: Lease) {
        let ticket = self.requests.open(Kind::Write, now);
        debug_assert_eq!(ticket.0, lease.write, "a write bears the number of its request");
        let incarnation = self.view.bucket().incarnation().cloned();
        self.requests.remember(OwnWrite { lease: lease.clone(), purpose, incarnation, sent: now });
        self.out.command = Some(Command::Write { ticket, expect, lease });
    }

    pub(super) fn held_record(&self, epoch: Epoch) -> Lease {
        Lease {
            node_id: self.settings.node_id.clone(),
            session: Some(self.settings.session),
            epoch,
            write: self.requests.next_number(),
            ttl: Some(self.settings.timing.ttl()),
            clean: false,
            successor: None,
            meta: self.settings.meta.clone(),
        }
    }

    // Challenge.

    fn challenge(&mut self, now: Timestamp) {
        let Some(observed) = self.view.newest() else { return };
        let Some(epoch) = self.view.next_epoch(observed) else {
            return self.report_problem(StoreError::EpochsExhausted);
        };
        let (expect, revision) = (observed.expect(), observed.revision);
        if observed.lease().is_some_and(|lease| lease.session == Some(self.settings.session)) {
            self.leftover.retaken = revision;
        }
        self.send_challenge(now, epoch, expect, 1);
    }

    pub(super) fn send_challenge(
        &mut self,
        now: Timestamp,
        epoch: Epoch,
        expect: Expect,
        tries: u32,
    ) {
        let lease = self.held_record(epoch);
        let unknown = tries > 1;
        self.phase = Phase::Challenging(Challenge { epoch, expect, sent: now, tries, unknown });
        self.write(now, Purpose::Challenge, expect, lease);
    }

    pub(super) fn write_is_unknown(&mut self, now: Timestamp) {
        self.renewal_failed(now);
        if let Phase::Challenging(challenge) = &mut self.phase {
            challenge.unknown = true;
        }
    }

    /// The newest write had no effect; earlier ones of a challenge may still.
    pub(super) fn write_failed(&mut self, now: Timestamp) {
        self.renewal_failed(now);
        if matches!(&self.phase, Phase::Challenging(challenge) if !challenge.unknown) {
            self.phase = Phase::Following;
        }
    }

    pub(super) fn on_lost_race(&mut self, now: Timestamp) {
        self.counters.lost_races += 1;
        self.schedule.next_read_at = Some(now);
        self.write_failed(now);
    }

    fn after_read_while_challenging(&mut self, now: Timestamp, verdict: ReadVerdict) {
        let Phase::Challenging(challenge) = &self.phase else { return };
        // The same number in another bucket, or in one that went back, is another record. One that
        // was challenged by hearsay is read for the first time now.
        let same = match verdict {
            ReadVerdict::Unchanged | ReadVerdict::Behind => true,
            ReadVerdict::Changed => challenge.expect.release.is_some(),
            ReadVerdict::NewIncarnation | ReadVerdict::WentBack => false,
        };
        let standing = self.view.confirmed().filter(|s| same && s.meets(challenge.expect));
        // That may turn out to be left to somebody else for a moment.
        let left =
            |s: &Observation| s.lease().is_some_and(|lease| !self.successor_grace(lease).is_zero());
        let by_hearsay = challenge.expect.release.is_some();
        let unchanged = standing.filter(|s| !(by_hearsay && left(s))).map(Observation::expect);
        let in_time = now < challenge.sent + self.settings.timing.validity();
        if unchanged.is_none() && !self.own_record_stands(challenge.epoch) {
            // What it was conditional on is gone, or never was: none of its writes is stored, nor
            // can be but over a clean release.
            self.phase = Phase::Following;
        } else if let Some(expect) =
            unchanged.filter(|_| in_time && challenge.tries < CHALLENGE_TRIES && self.may_lead())
        {
            let epoch = challenge.epoch;
            self.send_challenge(now, epoch, expect, challenge.tries + 1);
        } else {
            self.abandon_challenge(now);
        }
    }

    /// Nothing ran under it. Should it turn out to be stored, it is released, and meanwhile the
    /// node stays back.
    pub(super) fn abandon_challenge(&mut self, now: Timestamp) {
        let Phase::Challenging(challenge) = &self.phase else { return };
        self.leftover.to_release = Some(EndedTerm { epoch: challenge.epoch, successor: None });
        self.phase = Phase::Following;
        self.schedule.back_off(now, self.settings.timing.ttl());
        self.schedule.next_read_at = Some(now);
    }

    pub(super) fn own_record_stands(&self, epoch: Epoch) -> bool {
        let lease = self.view.confirmed().and_then(|observed| observed.lease());
        lease.is_some_and(|lease| lease.epoch == epoch && self.is_held_here(lease))
    }

    fn may_lead(&self) -> bool {
        self.healthy && self.stop_by.is_none()
    }

    // Lead and renew.

    pub(super) fn on_stored(&mut self, now: Timestamp, ticket: Ticket, revision: u64) {
        let Some(write) = self.requests.write(ticket.0).cloned() else { return };
        if write.incarnation.as_ref() != self.view.bucket().incarnation() {
            // Stored in a bucket that is gone, and with it the term; but not its epoch.
            return self.view.remember_epoch(write.lease.epoch);
        }
        self.view.written(now, revision, write.lease.clone());
        if let Some(term) = self.term_mut().filter(|t| t.epoch == write.lease.epoch) {
            term.revision = term.revision.max(revision);
        }
        self.write_is_stored(now, &write, revision);
    }

    /// A write of ours is known to be stored, by its acknowledgement or by a read.
    fn write_is_stored(&mut self, now: Timestamp, write: &OwnWrite, revision: u64) {
        let until = write.sent + self.settings.timing.validity();
        let epoch = write.lease.epoch;
        match (&self.phase, write.purpose) {
            (Phase::Challenging(challenge), Purpose::Challenge) if challenge.epoch == epoch => {
                if now < until && self.may_lead() {
                    self.begin_term(write, revision, until);
                } else {
                    self.abandon_challenge(now);
                }
            }
            (Phase::Holding { term, .. }, _) if term.epoch == epoch => {
                self.extend(now, write.sent);
            }
            (Phase::Releasing(release), Purpose::Release) if release.epoch == epoch => {
                self.released(revision);
            }
            // Of an ended epoch: what it wrote is cleaned up when it is found standing.
            _ => {}
        }
    }

    fn begin_term(&mut self, write: &OwnWrite, revision: u64, until: Timestamp) {
        let epoch = write.lease.epoch;
        let renew_at = write.sent + self.settings.timing.renew_interval();
        // An earlier challenge that came to nothing may have had the same epoch. Nothing of it can
        // be stored any more, and what stands is not to be released but by this term's end.
        self.leftover.to_release = None;
        self.cell.begin(epoch, until);
        let term = Term { epoch, revision, deadline: until, renew_at };
        self.phase = Phase::Holding { term, resignation: None };
        self.counters.terms += 1;
        self.out.changes.push(Change::BecameLeader(epoch));
    }

    fn renew(&mut self, now: Timestamp) {
        let Some(standing) = self.view.confirmed() else { return };
        let expect = standing.expect();
        let renew_at = now + self.settings.timing.renew_interval();
        let Some(term) = self.term_mut() else { return };
        term.renew_at = renew_at;
        let epoch = term.epoch;
        let lease = self.held_record(epoch);
        self.write(now, Purpose::Renewal, expect, lease);
    }

    /// The renewal is to be repeated, as soon as a read has shown that it must be.
    fn renewal_failed(&mut self, now: Timestamp) {
        if let Some(term) = self.term_mut() {
            term.renew_at = now;
        }
    }

    fn extend(&mut self, now: Timestamp, sent: Timestamp) {
        let until = sent + self.settings.timing.validity();
        let renew_at = sent + self.settings.timing.renew_interval();
        let leading = matches!(self.phase, Phase::Holding { resignation: None, .. });
        if leading && !self.cell.extend(now, until) {
            return self.lose(now, Cause::Expired);
        }
        let Some(term) = self.term_mut() else { return };
        let news = until > term.deadline;
        term.deadline = term.deadline.max(until);
        term.renew_at = term.renew_at.max(renew_at);
        self.counters.renewals += u64::from(news);
    }

    // What a read says about a term.

    pub(super) fn after_read(&mut self, now: Timestamp, verdict: ReadVerdict) {
        if let Some((write, revision)) = self.own_write_read() {
            self.write_is_stored(now, &write, revision);
        }
        // Not to be believed yet. What is written meanwhile fails, and must not fail all the time.
        if verdict == ReadVerdict::Behind {
            self.schedule.not_before = now + self.settings.timing.retry_wait();
        }
        match &self.phase {
            Phase::Holding { .. } => self.check_term(now, verdict),
            Phase::Challenging(_) => self.after_read_while_challenging(now, verdict),
            Phase::Releasing(release) => {
                if !self.own_record_stands(release.epoch) {
                    self.phase = Phase::Following;
                }
            }
            Phase::Following | Phase::Stopped => {}
        }
    }

    /// The remembered write that the newest read shows. It counts as its acknowledgement, from when
    /// it was sent; a record whose write is forgotten is a base for the next one and no more.
    fn own_write_read(&self) -> Option<(OwnWrite, u64)> {
        if self.view.bucket().behind_since().is_some() {
            return None;
        }
        let observed = self.view.confirmed()?;
        let write = self.requests.write_of(observed.lease()?)?;
        let here = write.incarnation.as_ref() == self.view.bucket().incarnation();
        here.then(|| (write.clone(), observed.revision))
    }

    fn check_term(&mut self, now: Timestamp, verdict: ReadVerdict) {
        match verdict {
            ReadVerdict::NewIncarnation => return self.lose(now, Cause::BucketReplaced),
            ReadVerdict::WentBack => return self.lose(now, Cause::StoreWentBack),
            // The renewals go on; the deadline stands.
            ReadVerdict::Behind => return,
            ReadVerdict::Changed | ReadVerdict::Unchanged => {}
        }
        if let Some(cause) = self.cause_in_record() {
            self.lose(now, cause);
        }
    }

    fn cause_in_record(&mut self) -> Option<Cause> {
        let session = self.settings.session;
        let observed = self.view.confirmed()?;
        let (record, revision) = (observed.record.clone(), observed.revision);
        let term = self.term_mut()?;
        match record {
            Record::Lease(lease) if lease.session == Some(session) && lease.epoch == term.epoch => {
                term.revision = revision;
                None
            }
            Record::Lease(lease) => {
                let by = Some(lease.node_id).filter(|id| !id.is_empty());
                Some(Cause::Superseded { by })
            }
            Record::Marker => Some(Cause::Deleted),
            Record::Undecodable(_) => Some(Cause::Corrupted),
            // Purged, but nothing was written since our own newest write: to be renewed under both
            // conditions.
            Record::Absent if revision == term.revision => None,
            Record::Absent => Some(Cause::Deleted),
        }
    }

    pub(super) fn on_no_bucket(&mut self, now: Timestamp, sent: Timestamp) {
        self.view.bucket_missing(now, sent);
        match &self.phase {
            Phase::Holding { .. } => self.lose(now, Cause::BucketReplaced),
            Phase::Challenging(_) | Phase::Releasing(_) => self.phase = Phase::Following,
            Phase::Following | Phase::Stopped => {}
        }
    }

    /// Ends the term, then tells it.
    pub(super) fn end_term(&mut self, epoch: Epoch, cause: Cause) {
        self.cell.end();
        self.out.changes.push(Change::LostLeadership { epoch, cause });
    }

    /// The term ends without a release.
    pub(super) fn lose(&mut self, now: Timestamp, cause: Cause) {
        let Some(epoch) = self.held_epoch() else { return };
        self.end_term(epoch, cause);
        self.schedule.next_read_at = Some(now);
        if let Phase::Holding { resignation: Some(resignation), .. } = &self.phase {
            let late = Some(EndedTerm { epoch, successor: resignation.successor.clone() });
            *if resignation.drained {
                &mut self.leftover.to_release
            } else {
                &mut self.leftover.undrained
            } = late;
            self.schedule.cool_down(now, self.unreleased_cooldown());
        }
        self.phase = Phase::Following;
    }
}
