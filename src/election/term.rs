//! The life of a term: it begins, is renewed, and is lost.

use super::phase::{EndedTerm, Phase, Term};
use super::record::Record;
use super::requests::OwnWrite;
use super::view::ReadVerdict;
use super::{Change, Election, Timestamp};
use crate::event::Cause;
use crate::lease::Epoch;
use crate::store::Ticket;

impl Election {
    /// The term that is held, led or resigned.
    pub(super) fn term(&self) -> Option<&Term> {
        let Phase::Holding { term, .. } = &self.phase else { return None };
        Some(term)
    }

    /// Whether a term is held and was not resigned.
    pub(super) fn is_leading(&self) -> bool {
        matches!(self.phase, Phase::Holding { resignation: None, .. })
    }

    fn term_mut(&mut self) -> Option<&mut Term> {
        let Phase::Holding { term, .. } = &mut self.phase else { return None };
        Some(term)
    }

    /// Ends a term whose deadline has passed.
    pub(super) fn expire(&mut self, now: Timestamp) {
        let Some(term) = self.term() else { return };
        // Another thread may have found the deadline past before this one did. The cell of a
        // resigned term has ended in any case.
        if now >= term.deadline || (self.is_leading() && self.cell.has_ended()) {
            self.lose(now, Cause::Expired);
        }
    }

    pub(super) fn write_is_unknown(&mut self, now: Timestamp) {
        self.renewal_is_due(now);
        if let Phase::Challenging(challenge) = &mut self.phase {
            challenge.unknown = true;
        }
    }

    /// The newest write had no effect. Earlier writes of a challenge may still have one.
    pub(super) fn write_failed(&mut self, now: Timestamp) {
        self.renewal_is_due(now);
        if matches!(&self.phase, Phase::Challenging(challenge) if !challenge.unknown) {
            self.phase = Phase::Following;
        }
    }

    pub(super) fn on_lost_race(&mut self, now: Timestamp) {
        self.counters.lost_races += 1;
        self.schedule.next_read_at = Some(now);
        self.write_failed(now);
    }

    pub(super) fn on_stored(&mut self, now: Timestamp, ticket: Ticket, revision: u64) {
        let Some(write) = self.requests.write(ticket.0).cloned() else { return };
        if write.incarnation.as_ref() != self.view.bucket.incarnation() {
            // Its bucket is gone, and its term with it. Its epoch is not given again.
            return self.view.remember_epoch(write.lease.epoch);
        }
        self.view.written(now, revision, write.lease.clone());
        if let Some(term) = self.term_mut().filter(|t| t.epoch == write.lease.epoch) {
            term.revision = term.revision.max(revision);
        }
        self.write_is_stored(now, &write, revision);
    }

    /// An own write is known to be stored, by its acknowledgement or by a read.
    fn write_is_stored(&mut self, now: Timestamp, write: &OwnWrite, revision: u64) {
        let until = write.sent + self.settings.timing.validity();
        let epoch = write.lease.epoch;
        // No renewal has the epoch of a challenge: a term's epoch is not challenged for again.
        match (&self.phase, write.lease.is_released()) {
            (Phase::Challenging(challenge), false) if challenge.epoch == epoch => {
                if now < until && self.may_lead() {
                    self.begin_term(write, revision, until);
                } else {
                    self.abandon_challenge(now);
                }
            }
            (Phase::Holding { term, .. }, _) if term.epoch == epoch => {
                self.extend(now, write.sent);
            }
            (Phase::Releasing(release), true) if release.term.epoch == epoch => {
                self.released(revision);
            }
            // Its epoch has ended. If its record is the current one, it is released later.
            _ => {}
        }
        // A value that was set while the write was under way is published by the next one.
        if write.lease.meta != self.settings.meta && self.is_leading() {
            self.renewal_is_due(now);
        }
    }

    fn begin_term(&mut self, write: &OwnWrite, revision: u64, until: Timestamp) {
        let epoch = write.lease.epoch;
        let renew_at = write.sent + self.settings.timing.renew_interval();
        // An abandoned challenge may have had the same epoch. None of its writes can be stored any
        // more, and the record of this term must not be released before the term ends.
        self.leftover.to_release = None;
        self.cell.begin(epoch, until);
        let term = Term { epoch, revision, deadline: until, renew_at, was_read: false };
        self.phase = Phase::Holding { term, resignation: None };
        self.counters.terms += 1;
        self.out.changes.push(Change::BecameLeader(epoch));
    }

    pub(super) fn renew(&mut self, now: Timestamp) {
        let Some(current) = self.view.confirmed() else { return };
        let expect = current.expect();
        let renew_at = now + self.settings.timing.renew_interval();
        let Some(term) = self.term_mut() else { return };
        term.renew_at = renew_at;
        let epoch = term.epoch;
        let lease = self.held_record(epoch);
        self.write(now, expect, lease);
    }

    /// The renewal is sent as soon as nothing is awaited: again after a failure, when a read has
    /// shown that it is necessary.
    pub(super) fn renewal_is_due(&mut self, now: Timestamp) {
        if let Some(term) = self.term_mut() {
            term.renew_at = now;
        }
    }

    fn extend(&mut self, now: Timestamp, sent: Timestamp) {
        let until = sent + self.settings.timing.validity();
        let renew_at = sent + self.settings.timing.renew_interval();
        if self.is_leading() && !self.cell.extend(now, until) {
            return self.lose(now, Cause::Expired);
        }
        let Some(term) = self.term_mut() else { return };
        let later = until > term.deadline;
        term.deadline = term.deadline.max(until);
        term.renew_at = term.renew_at.max(renew_at);
        self.counters.renewals += u64::from(later);
    }

    /// Draws the conclusions from a read for what this node is doing.
    pub(super) fn after_read(&mut self, now: Timestamp, verdict: ReadVerdict) {
        if let Some((write, revision)) = self.own_write_shown() {
            self.write_is_stored(now, &write, revision);
        }
        // It does not count yet, and a write would fail until it does. Do not retry at full speed.
        if verdict == ReadVerdict::Behind {
            self.schedule.not_before = now + self.settings.timing.retry_wait();
        }
        match &self.phase {
            Phase::Holding { .. } => self.check_term(now, verdict),
            Phase::Challenging(_) => self.after_read_while_challenging(now, verdict),
            Phase::Releasing(release) => {
                if !self.holds_record(release.term.epoch) {
                    self.phase = Phase::Following;
                }
            }
            Phase::Following | Phase::Stopped => {}
        }
    }

    /// The remembered write that the newest read shows, and its revision. The read counts as its
    /// acknowledgement, from when the write was sent. A record whose write is forgotten can be
    /// renewed, but extends nothing.
    fn own_write_shown(&self) -> Option<(OwnWrite, u64)> {
        if self.view.behind_since.is_some() {
            return None;
        }
        let current = self.view.confirmed()?;
        let write = self.requests.write_of(current.lease()?)?;
        let here = write.incarnation.as_ref() == self.view.bucket.incarnation();
        here.then(|| (write.clone(), current.revision))
    }

    fn check_term(&mut self, now: Timestamp, verdict: ReadVerdict) {
        if let Some(term) = self.term_mut() {
            term.was_read = true;
        }
        match verdict {
            ReadVerdict::NewIncarnation => return self.lose(now, Cause::BucketReplaced),
            ReadVerdict::WentBack => return self.lose(now, Cause::StoreWentBack),
            // The renewals go on, and the deadline holds.
            ReadVerdict::Behind => return,
            ReadVerdict::Changed | ReadVerdict::Unchanged => {}
        }
        if let Some(cause) = self.cause_in_record() {
            self.lose(now, cause);
        }
    }

    /// Why the term has to end, by the record that was read; `None` when it is of the term.
    fn cause_in_record(&mut self) -> Option<Cause> {
        let session = self.settings.session;
        let current = self.view.confirmed()?;
        let (record, revision) = (current.record.clone(), current.revision);
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
            // The record was purged, and nothing was written since this node's newest write. It is
            // renewed under both conditions.
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

    /// Ends the term, and only then reports it.
    pub(super) fn end_term(&mut self, epoch: Epoch, cause: Cause) {
        self.cell.end();
        self.out.changes.push(Change::LostLeadership { epoch, cause });
    }

    /// Ends the term without a release.
    pub(super) fn lose(&mut self, now: Timestamp, cause: Cause) {
        let Some(epoch) = self.held_epoch() else { return };
        self.end_term(epoch, cause);
        self.schedule.next_read_at = Some(now);
        if let Phase::Holding { resignation: Some(resignation), .. } = &self.phase {
            let ended = EndedTerm { epoch, successor: resignation.successor.clone() };
            self.leftover.add(ended, resignation.drained);
            self.schedule.cool_down(now, self.unreleased_cooldown());
        }
        self.phase = Phase::Following;
    }
}
