//! The end of a term that is given back: resign, drain, release, stay back.

use std::time::Duration;

use super::phase::{EndedTerm, Phase, Release, Resignation, Term};
use super::requests::Purpose;
use super::{Change, Election, Timestamp};
use crate::error::Refused;
use crate::event::{Cause, Reason};
use crate::lease::{Epoch, Lease};

impl Election {
    pub(super) fn end_overdue_phase(&mut self, now: Timestamp) {
        match &self.phase {
            Phase::Challenging(challenge)
                if now >= challenge.sent + self.settings.timing.validity() =>
            {
                self.abandon_challenge(now);
            }
            Phase::Holding { resignation: Some(resignation), .. }
                if now >= resignation.bound && !resignation.drained =>
            {
                let cause = Cause::DrainTimedOut(resignation.reason.clone());
                self.lose(now, cause);
            }
            Phase::Releasing(release) if now >= release.until => self.release_timed_out(),
            _ => {}
        }
        self.end_cooldown(now);
        if self.stop_by.is_some_and(|until| now >= until) {
            if let Some(term) = self.term() {
                let epoch = term.epoch;
                self.end_term(epoch, Cause::DrainTimedOut(Reason::Stop));
            }
            self.phase = Phase::Stopped;
        }
    }

    pub(super) fn phase_ends_at(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Following | Phase::Stopped => None,
            Phase::Challenging(challenge) => Some(challenge.sent + self.settings.timing.validity()),
            Phase::Holding { term, resignation: None } => Some(term.deadline),
            Phase::Holding { term, resignation: Some(resignation) } => {
                Some(term.deadline.min(resignation.bound))
            }
            Phase::Releasing(release) => Some(release.until),
        }
    }

    // Resign.

    pub(super) fn resign(&mut self, now: Timestamp, reason: Reason) -> Result<(), Refused> {
        let successor = match &reason {
            Reason::Transfer { to } if *to == self.settings.node_id => {
                return Err(Refused::TransferToSelf);
            }
            Reason::Transfer { to } => Some(to.clone()),
            _ => None,
        };
        match &mut self.phase {
            Phase::Holding { term, resignation: None } => {
                let term = term.clone();
                let bound = now + self.settings.drain_timeout;
                self.start_drain(term, Resignation { reason, successor, bound, drained: false });
                Ok(())
            }
            Phase::Holding { resignation: Some(resignation), .. } => {
                resignation.successor = resignation.successor.take().or(successor);
                Ok(())
            }
            _ => Err(Refused::NotLeader { leader: self.leader(now).map(|(id, _)| id) }),
        }
    }

    /// `is_leader()` is false from here on; the lease is held until the work has stopped.
    fn start_drain(&mut self, term: Term, resignation: Resignation) {
        self.cell.end();
        let (epoch, reason) = (term.epoch, resignation.reason.clone());
        self.phase = Phase::Holding { term, resignation: Some(resignation) };
        self.out.changes.push(Change::Resigning { epoch, reason });
    }

    pub(super) fn drained(&mut self, epoch: Epoch) {
        match &mut self.phase {
            Phase::Holding { term, resignation: Some(resignation) } if term.epoch == epoch => {
                resignation.drained = true;
            }
            // The drain ended after its term did: if the record still is of that term, it may yet
            // be released.
            _ => {
                let late = self.leftover.undrained.take_if(|lapsed| lapsed.epoch == epoch);
                self.leftover.to_release = late.or(self.leftover.to_release.take());
            }
        }
    }

    /// The work has stopped and no write is under way: the term ends, and only then it is released.
    pub(super) fn finish_drain(&mut self, now: Timestamp) {
        let Phase::Holding { term, resignation: Some(resignation) } = &self.phase else { return };
        if !resignation.drained || self.requests.is_writing() {
            return;
        }
        let (epoch, resignation) = (term.epoch, resignation.clone());
        self.end_term(epoch, Cause::Resigned(resignation.reason));
        self.schedule.cool_down(now, self.settings.cooldown);
        let until = self.stop_by.unwrap_or(now + self.settings.timing.ttl());
        let successor = resignation.successor;
        self.phase = Phase::Releasing(Release { epoch, successor, ended: now, until });
    }

    pub(super) fn set_healthy(&mut self, now: Timestamp, healthy: bool) {
        self.healthy = healthy;
        if !healthy && matches!(self.phase, Phase::Holding { resignation: None, .. }) {
            self.out.refused = self.resign(now, Reason::Unhealthy).err();
        }
    }

    pub(super) fn set_meta(&mut self, now: Timestamp, meta: Option<serde_json::Value>) {
        self.settings.meta = meta;
        if let Phase::Holding { term, resignation: None } = &mut self.phase {
            term.renew_at = now;
        }
    }

    pub(super) fn promote(&mut self) -> Result<(), Refused> {
        match &self.phase {
            Phase::Holding { resignation: Some(_), .. } | Phase::Releasing(_) => {
                Err(Refused::Resigning)
            }
            _ if self.settings.observer => Err(Refused::Observer),
            _ if !self.healthy => Err(Refused::Unhealthy),
            _ => {
                self.schedule.cooldown = None;
                Ok(())
            }
        }
    }

    // Release.

    /// Whether an own record stands that is to be overwritten by a release.
    pub(super) fn has_leftover(&self) -> bool {
        self.leftover
            .to_release
            .as_ref()
            .is_some_and(|cleanup| self.own_record_stands(cleanup.epoch))
    }

    /// The release to send, once the renewal loop finds its own record without a term.
    pub(super) fn take_leftover(&mut self) -> Option<EndedTerm> {
        if self.has_leftover() { self.leftover.to_release.take() } else { None }
    }

    pub(super) fn release(&mut self, now: Timestamp, epoch: Epoch, successor: Option<String>) {
        let Some(standing) = self.view.confirmed() else { return };
        let expect = standing.expect();
        let lease = Lease {
            node_id: String::new(),
            clean: true,
            successor,
            meta: None,
            ..self.held_record(epoch)
        };
        self.write(now, Purpose::Release, expect, lease);
    }

    pub(super) fn released(&mut self, revision: u64) {
        let Phase::Releasing(release) = &self.phase else { return };
        let back = release.ended + 2 * self.settings.timing.successor_wait();
        if release.successor.is_some() {
            self.schedule.cool_down_early(revision, back);
        }
        self.phase = Phase::Following;
    }

    /// The release could not be sent in time: others must wait, and so must this node.
    fn release_timed_out(&mut self) {
        let Phase::Releasing(release) = &self.phase else { return };
        let (ended, epoch) = (release.ended, release.epoch);
        let successor = release.successor.clone();
        self.leftover.to_release = Some(EndedTerm { epoch, successor });
        self.schedule.cool_down(ended, self.unreleased_cooldown());
        self.phase = Phase::Following;
    }

    // Stay back.

    /// How long to stay back after a term that was resigned but not released: long enough for
    /// others to wait it out first.
    pub(super) fn unreleased_cooldown(&self) -> Duration {
        self.settings.cooldown.max(self.settings.timing.expiry_cooldown())
    }

    pub(super) fn cooldown_ends_at(&self) -> Option<Timestamp> {
        self.schedule.cooldown_ends_at(self.view.newest().map(|newest| newest.revision))
    }

    fn end_cooldown(&mut self, now: Timestamp) {
        if self.cooldown_ends_at().is_some_and(|at| now >= at) {
            self.schedule.cooldown = None;
        }
    }

    // Stop.

    pub(super) fn stop(&mut self, now: Timestamp, until: Timestamp) {
        let until = self.stop_by.map_or(until, |earlier| earlier.min(until));
        self.stop_by = Some(until);
        match &mut self.phase {
            Phase::Holding { term, resignation: None } => {
                let term = term.clone();
                let reason = Reason::Stop;
                let resignation =
                    Resignation { reason, successor: None, bound: until, drained: false };
                self.start_drain(term, resignation);
            }
            Phase::Holding { resignation: Some(resignation), .. } => {
                resignation.bound = resignation.bound.min(until);
            }
            Phase::Releasing(release) => release.until = release.until.min(until),
            Phase::Challenging(_) => self.abandon_challenge(now),
            Phase::Following | Phase::Stopped => {}
        }
    }

    /// Stops when nothing is left to be given back, or nothing can be.
    pub(super) fn finish_stop(&mut self) {
        let waits = self.connected
            && self.leftover.to_release.is_some()
            && (self.requests.pending().is_some() || self.schedule.next_read_at.is_some());
        let releasing = self.requests.is_writing();
        let idle = matches!(self.phase, Phase::Following);
        if self.stop_by.is_some() && idle && !waits && !releasing && !self.has_leftover() {
            self.phase = Phase::Stopped;
        }
    }
}
