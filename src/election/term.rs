//! The life of a term, from the challenge to its loss.

use super::knowledge::{Finding, Seen, Sighting};
use super::requests::{Kind, OwnWrite, Purpose};
use super::resign::{Cleanup, Release, Resignation};
use super::{Change, Command, Election, Timestamp};
use crate::error::StoreError;
use crate::event::Cause;
use crate::lease::{Epoch, Lease};
use crate::store::{Expect, Ticket};

/// How often a challenge is repeated whose outcome stays unknown.
const CHALLENGE_TRIES: u32 = 3;

#[derive(Debug)]
pub(super) enum Phase {
    Following,
    Challenging(Challenge),
    Leading(Tenure),
    /// `is_leader()` is false already; renewals go on while the work of the term ends.
    Draining(Tenure, Resignation),
    /// The term has ended; the record is to say so.
    Releasing(Release),
    Stopped,
}

#[derive(Debug)]
pub(super) struct Challenge {
    epoch: Epoch,
    expect: Expect,
    pub(super) sent: Timestamp,
    tries: u32,
    /// One of its writes may still be stored.
    unknown: bool,
}

/// A term that is held.
#[derive(Clone, Debug)]
pub(super) struct Tenure {
    pub(super) epoch: Epoch,
    /// The newest own revision.
    revision: u64,
    pub(super) deadline: Timestamp,
    pub(super) renew_at: Timestamp,
}

impl Election {
    pub(super) fn tenure(&self) -> Option<&Tenure> {
        match &self.phase {
            Phase::Leading(tenure) | Phase::Draining(tenure, _) => Some(tenure),
            Phase::Following | Phase::Challenging(_) | Phase::Releasing(_) | Phase::Stopped => None,
        }
    }

    fn tenure_mut(&mut self) -> Option<&mut Tenure> {
        match &mut self.phase {
            Phase::Leading(tenure) | Phase::Draining(tenure, _) => Some(tenure),
            Phase::Following | Phase::Challenging(_) | Phase::Releasing(_) | Phase::Stopped => None,
        }
    }

    // What ends by itself.

    pub(super) fn expire(&mut self, now: Timestamp) {
        let expired = match &self.phase {
            // Whoever asked may have found the deadline past before this thread did.
            Phase::Leading(tenure) => now >= tenure.deadline || self.cell.has_ended(),
            Phase::Draining(tenure, _) => now >= tenure.deadline,
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
        let busy = self.requests.pending().is_some() || self.command.is_some();
        if busy || !self.connected || now < self.not_before {
            return;
        }
        if self.challenge_unread(now) {
            return;
        }
        if self.look_at.is_some_and(|due| now >= due) {
            return self.read(now);
        }
        match &self.phase {
            Phase::Following => self.follow(now),
            Phase::Leading(tenure) | Phase::Draining(tenure, _) if now >= tenure.renew_at => {
                self.renew(now);
            }
            Phase::Releasing(release) => {
                let (epoch, successor) = (release.epoch, release.successor.clone());
                self.release(now, epoch, successor);
            }
            Phase::Challenging(_) | Phase::Leading(_) | Phase::Draining(..) | Phase::Stopped => {}
        }
    }

    fn follow(&mut self, now: Timestamp) {
        if let Some(cleanup) = self.cleanup_of_what_stands() {
            return self.release(now, cleanup.epoch, cleanup.successor);
        }
        if self.poll_at().is_none_or(|at| now >= at) {
            return self.read(now);
        }
        if !self.is_eligible(now) {
            return;
        }
        if self.knowledge.is_missing() {
            return self.create_bucket(now);
        }
        let Some(plan) = self.plan() else { return };
        match self.to_be_confirmed(&plan) {
            Some(from) if now >= from => self.read(now),
            None if now >= plan.at => self.challenge(now),
            _ => {}
        }
    }

    fn read(&mut self, now: Timestamp) {
        self.look_at = None;
        let ticket = self.requests.open(Kind::Read, now);
        self.command = Some(Command::Read(ticket));
    }

    fn create_bucket(&mut self, now: Timestamp) {
        let ticket = self.requests.open(Kind::Create, now);
        let first_seq = self.knowledge.highest_epoch().saturating_add(1);
        self.command = Some(Command::CreateBucket { ticket, first_seq });
    }

    pub(super) fn write(&mut self, now: Timestamp, purpose: Purpose, expect: Expect, lease: Lease) {
        let ticket = self.requests.open(Kind::Write, now);
        debug_assert_eq!(ticket.0, lease.write, "a write bears the number of its request");
        let incarnation = self.knowledge.incarnation().cloned();
        self.requests.remember(OwnWrite { lease: lease.clone(), purpose, incarnation, sent: now });
        self.command = Some(Command::Write { ticket, expect, lease });
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
        let Some(sighting) = self.knowledge.newest() else { return };
        let Some(epoch) = self.knowledge.next_epoch(sighting) else {
            return self.tell_problem(StoreError::EpochsExhausted);
        };
        let (expect, revision) = (sighting.expect(), sighting.revision);
        if sighting.lease().is_some_and(|lease| lease.session == Some(self.settings.session)) {
            self.retaken = revision;
        }
        self.try_challenge(now, epoch, expect, 1);
    }

    pub(super) fn try_challenge(
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
        self.look_at = Some(now);
        self.write_failed(now);
    }

    fn after_read_while_challenging(&mut self, now: Timestamp, finding: Finding) {
        let Phase::Challenging(challenge) = &self.phase else { return };
        // The same number in another bucket, or in one that went back, is another record. One that
        // was challenged by hearsay is read for the first time now.
        let same = match finding {
            Finding::Unchanged | Finding::Behind => true,
            Finding::Changed => challenge.expect.release.is_some(),
            Finding::NewIncarnation | Finding::WentBack => false,
        };
        let standing = self.knowledge.standing().filter(|s| same && s.meets(challenge.expect));
        // That may turn out to be left to somebody else for a moment.
        let left = |s: &Sighting| s.lease().is_some_and(|lease| !self.courtesy(lease).is_zero());
        let by_hearsay = challenge.expect.release.is_some();
        let unchanged = standing.filter(|s| !(by_hearsay && left(s))).map(Sighting::expect);
        let in_time = now < challenge.sent + self.settings.timing.validity();
        if unchanged.is_none() && !self.stands_under(challenge.epoch) {
            // What it was conditional on is gone, or never was: none of its writes is stored, nor
            // can be but over a clean release.
            self.phase = Phase::Following;
        } else if let Some(expect) =
            unchanged.filter(|_| in_time && challenge.tries < CHALLENGE_TRIES && self.may_lead())
        {
            let epoch = challenge.epoch;
            self.try_challenge(now, epoch, expect, challenge.tries + 1);
        } else {
            self.challenge_came_to_nothing(now);
        }
    }

    /// Nothing ran under it. Should it turn out to be stored, it is released, and meanwhile the
    /// node stays back.
    pub(super) fn challenge_came_to_nothing(&mut self, now: Timestamp) {
        let Phase::Challenging(challenge) = &self.phase else { return };
        self.cleanup = Some(Cleanup { epoch: challenge.epoch, successor: None });
        self.phase = Phase::Following;
        let ttl = self.settings.timing.ttl();
        let share = u32::try_from(self.random() % 1_000).unwrap_or(0);
        self.back_off_until = now + ttl + ttl * share / 1_000;
        self.look_at = Some(now);
    }

    pub(super) fn stands_under(&self, epoch: Epoch) -> bool {
        let lease = self.knowledge.standing().and_then(|sighting| sighting.lease());
        lease.is_some_and(|lease| lease.epoch == epoch && self.is_held_here(lease))
    }

    fn may_lead(&self) -> bool {
        self.healthy && self.stopping.is_none()
    }

    // Lead and renew.

    pub(super) fn on_stored(&mut self, now: Timestamp, ticket: Ticket, revision: u64) {
        let Some(write) = self.requests.write(ticket.0).cloned() else { return };
        if write.incarnation.as_ref() != self.knowledge.incarnation() {
            // Stored in a bucket that is gone, and with it the term; but not its epoch.
            return self.knowledge.remember(write.lease.epoch);
        }
        self.knowledge.wrote(now, revision, write.lease.clone());
        if let Some(tenure) = self.tenure_mut().filter(|t| t.epoch == write.lease.epoch) {
            tenure.revision = tenure.revision.max(revision);
        }
        self.credit(now, &write, revision);
    }

    /// A write of ours is known to be stored, by its acknowledgement or by a read.
    fn credit(&mut self, now: Timestamp, write: &OwnWrite, revision: u64) {
        let until = write.sent + self.settings.timing.validity();
        let epoch = write.lease.epoch;
        match (&self.phase, write.purpose) {
            (Phase::Challenging(challenge), Purpose::Challenge) if challenge.epoch == epoch => {
                if now < until && self.may_lead() {
                    self.lead(write, revision, until);
                } else {
                    self.challenge_came_to_nothing(now);
                }
            }
            (Phase::Leading(tenure) | Phase::Draining(tenure, _), _) if tenure.epoch == epoch => {
                self.extend(now, write.sent);
            }
            (Phase::Releasing(release), Purpose::Release) if release.epoch == epoch => {
                self.released(revision);
            }
            // Of an ended epoch: what it wrote is cleaned up when it is found standing.
            _ => {}
        }
    }

    fn lead(&mut self, write: &OwnWrite, revision: u64, until: Timestamp) {
        let epoch = write.lease.epoch;
        let renew_at = write.sent + self.settings.timing.renew_interval();
        // An earlier challenge that came to nothing may have had the same epoch. Nothing of it can
        // be stored any more, and what stands is not to be released but by this term's end.
        self.cleanup = None;
        self.cell.begin(epoch, until);
        self.phase = Phase::Leading(Tenure { epoch, revision, deadline: until, renew_at });
        self.counters.terms += 1;
        self.changes.push(Change::BecameLeader(epoch));
    }

    fn renew(&mut self, now: Timestamp) {
        let Some(standing) = self.knowledge.standing() else { return };
        let expect = standing.expect();
        let renew_at = now + self.settings.timing.renew_interval();
        let Some(tenure) = self.tenure_mut() else { return };
        tenure.renew_at = renew_at;
        let epoch = tenure.epoch;
        let lease = self.held_record(epoch);
        self.write(now, Purpose::Renewal, expect, lease);
    }

    /// The renewal is to be repeated, as soon as a read has shown that it must be.
    fn renewal_failed(&mut self, now: Timestamp) {
        if let Some(tenure) = self.tenure_mut() {
            tenure.renew_at = now;
        }
    }

    fn extend(&mut self, now: Timestamp, sent: Timestamp) {
        let until = sent + self.settings.timing.validity();
        let renew_at = sent + self.settings.timing.renew_interval();
        let leading = matches!(self.phase, Phase::Leading(_));
        if leading && !self.cell.extend(now, until) {
            return self.lose(now, Cause::Expired);
        }
        let Some(tenure) = self.tenure_mut() else { return };
        let news = until > tenure.deadline;
        tenure.deadline = tenure.deadline.max(until);
        tenure.renew_at = tenure.renew_at.max(renew_at);
        self.counters.renewals += u64::from(news);
    }

    // What a read says about a term.

    pub(super) fn after_read(&mut self, now: Timestamp, finding: Finding) {
        if let Some((write, revision)) = self.own_write_that_stands() {
            self.credit(now, &write, revision);
        }
        // Not to be believed yet. What is written meanwhile fails, and must not fail all the time.
        if finding == Finding::Behind {
            self.not_before = now + self.settings.timing.retry_wait();
        }
        match &self.phase {
            Phase::Leading(_) | Phase::Draining(..) => self.check_tenure(now, finding),
            Phase::Challenging(_) => self.after_read_while_challenging(now, finding),
            Phase::Releasing(release) => {
                if !self.stands_under(release.epoch) {
                    self.phase = Phase::Following;
                }
            }
            Phase::Following | Phase::Stopped => {}
        }
    }

    /// The remembered write that the newest read shows. It counts as its acknowledgement, from when
    /// it was sent; a record whose write is forgotten is a base for the next one and no more.
    fn own_write_that_stands(&self) -> Option<(OwnWrite, u64)> {
        if self.knowledge.behind_since().is_some() {
            return None;
        }
        let sighting = self.knowledge.standing()?;
        let write = self.requests.write_of(sighting.lease()?)?;
        let here = write.incarnation.as_ref() == self.knowledge.incarnation();
        here.then(|| (write.clone(), sighting.revision))
    }

    fn check_tenure(&mut self, now: Timestamp, finding: Finding) {
        match finding {
            Finding::NewIncarnation => return self.lose(now, Cause::BucketReplaced),
            Finding::WentBack => return self.lose(now, Cause::StoreWentBack),
            // The renewals go on; the deadline stands.
            Finding::Behind => return,
            Finding::Changed | Finding::Unchanged => {}
        }
        if let Some(cause) = self.cause_in_what_stands() {
            self.lose(now, cause);
        }
    }

    fn cause_in_what_stands(&mut self) -> Option<Cause> {
        let session = self.settings.session;
        let sighting = self.knowledge.standing()?;
        let (seen, revision) = (sighting.seen.clone(), sighting.revision);
        let tenure = self.tenure_mut()?;
        match seen {
            Seen::Lease(lease) if lease.session == Some(session) && lease.epoch == tenure.epoch => {
                tenure.revision = revision;
                None
            }
            Seen::Lease(lease) => {
                let by = Some(lease.node_id).filter(|id| !id.is_empty());
                Some(Cause::Superseded { by })
            }
            Seen::Marker => Some(Cause::Deleted),
            Seen::Undecodable(_) => Some(Cause::Corrupted),
            // Purged, but nothing was written since our own newest write: to be renewed under both
            // conditions.
            Seen::Absent if revision == tenure.revision => None,
            Seen::Absent => Some(Cause::Deleted),
        }
    }

    pub(super) fn on_no_bucket(&mut self, now: Timestamp, sent: Timestamp) {
        self.knowledge.bucket_missing(now, sent);
        match &self.phase {
            Phase::Leading(_) | Phase::Draining(..) => self.lose(now, Cause::BucketReplaced),
            Phase::Challenging(_) | Phase::Releasing(_) => self.phase = Phase::Following,
            Phase::Following | Phase::Stopped => {}
        }
    }

    /// Ends the term, then tells it.
    pub(super) fn end_term(&mut self, epoch: Epoch, cause: Cause) {
        self.cell.end();
        self.changes.push(Change::LostLeadership { epoch, cause });
    }

    /// The term ends without a release.
    pub(super) fn lose(&mut self, now: Timestamp, cause: Cause) {
        let Some(epoch) = self.held_epoch() else { return };
        self.end_term(epoch, cause);
        self.look_at = Some(now);
        if let Phase::Draining(_, resignation) = &self.phase {
            let late = Some(Cleanup { epoch, successor: resignation.successor.clone() });
            *if resignation.drained { &mut self.cleanup } else { &mut self.lapsed } = late;
            self.cool_down(now, self.after_lapse());
        }
        self.phase = Phase::Following;
    }
}
