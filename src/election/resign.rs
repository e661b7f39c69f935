//! The orderly end of a term: resign, drain, release, cool down; and the end of the node.

use std::time::Duration;

use super::phase::{EndedTerm, Phase, Release, Resignation};
use super::{Change, Election, Timestamp};
use crate::error::Refused;
use crate::event::{Cause, Reason};
use crate::lease::{Epoch, Lease};

impl Election {
    /// Ends what has taken too long.
    pub(super) fn end_overdue_phase(&mut self, now: Timestamp) {
        let overdue = self.phase_ends_at().is_some_and(|at| now >= at);
        match &self.phase {
            Phase::Challenging(_) if overdue => self.abandon_challenge(now),
            Phase::Holding { resignation: Some(resignation), .. }
                if now >= resignation.give_up_at && !resignation.drained =>
            {
                let cause = Cause::DrainTimedOut(resignation.reason.clone());
                self.lose(now, cause);
            }
            Phase::Releasing(_) if overdue => self.release_timed_out(),
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

    /// When the phase ends by itself.
    pub(super) fn phase_ends_at(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Following | Phase::Stopped => None,
            Phase::Challenging(challenge) => Some(challenge.sent + self.settings.timing.validity()),
            Phase::Holding { term, resignation } => {
                let drain = resignation.as_ref().map(|resignation| resignation.give_up_at);
                drain.into_iter().chain([term.deadline]).min()
            }
            Phase::Releasing(release) => Some(release.give_up_at),
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
            Phase::Holding { resignation: None, .. } => {
                let give_up_at = now + self.settings.drain_timeout;
                self.start_drain(reason, successor, give_up_at);
                Ok(())
            }
            // A second resignation joins the first. It may still name a successor.
            Phase::Holding { resignation: Some(resignation), .. } => {
                resignation.successor = resignation.successor.take().or(successor);
                Ok(())
            }
            _ => Err(Refused::NotLeader { leader: self.leader(now).map(|(id, _)| id) }),
        }
    }

    /// From here on this node does not lead. It holds the lease until the work has stopped.
    fn start_drain(&mut self, reason: Reason, successor: Option<String>, give_up_at: Timestamp) {
        let Phase::Holding { term, resignation } = &mut self.phase else { return };
        self.cell.end();
        let (epoch, drained) = (term.epoch, false);
        let started = Resignation { reason: reason.clone(), successor, give_up_at, drained };
        *resignation = Some(started);
        self.out.changes.push(Change::Resigning { epoch, reason });
    }

    pub(super) fn drained(&mut self, epoch: Epoch) {
        match &mut self.phase {
            Phase::Holding { term, resignation: Some(resignation) } if term.epoch == epoch => {
                resignation.drained = true;
            }
            // The term ended before its drain. If its record is still the current one, it may be
            // released now.
            _ => self.leftover.drained(epoch),
        }
    }

    /// Once the work has stopped and no write is awaited, the term ends. Only then it is released.
    pub(super) fn finish_drain(&mut self, now: Timestamp) {
        let Phase::Holding { term, resignation: Some(resignation) } = &self.phase else { return };
        if !resignation.drained || self.requests.is_writing() {
            return;
        }
        let (epoch, resignation) = (term.epoch, resignation.clone());
        self.end_term(epoch, Cause::Resigned(resignation.reason));
        self.schedule.cool_down(now, self.settings.cooldown);
        let give_up_at = self.stop_by.unwrap_or(now + self.settings.timing.ttl());
        let term = EndedTerm { epoch, successor: resignation.successor };
        self.phase = Phase::Releasing(Release { term, ended_at: now, give_up_at });
    }

    pub(super) fn set_healthy(&mut self, now: Timestamp, healthy: bool) {
        self.healthy = healthy;
        if !healthy && self.is_leading() {
            self.out.refused = self.resign(now, Reason::Unhealthy).err();
        }
    }

    pub(super) fn set_meta(
        &mut self,
        now: Timestamp,
        meta: Option<serde_json::Value>,
    ) -> Result<(), Refused> {
        if self.settings.observer {
            return Err(Refused::Observer);
        }
        self.settings.meta = meta;
        if self.is_leading() {
            self.renewal_is_due(now);
        }
        Ok(())
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

    /// Whether the current record is an own one that is to be overwritten by a release.
    pub(super) fn has_leftover(&self) -> bool {
        let ended = self.leftover.to_release.as_ref();
        ended.is_some_and(|ended| self.holds_record(ended.epoch))
    }

    /// The term whose record is to be overwritten by a release. It is returned once.
    pub(super) fn take_leftover(&mut self) -> Option<EndedTerm> {
        if self.has_leftover() { self.leftover.to_release.take() } else { None }
    }

    pub(super) fn release(&mut self, now: Timestamp, term: EndedTerm) {
        let Some(current) = self.view.confirmed() else { return };
        let expect = current.expect();
        let lease = Lease {
            node_id: String::new(),
            clean: true,
            successor: term.successor,
            meta: None,
            ..self.held_record(term.epoch)
        };
        self.write(now, expect, lease);
    }

    pub(super) fn released(&mut self, revision: u64) {
        let Phase::Releasing(release) = &self.phase else { return };
        if release.term.successor.is_some() {
            let at = release.ended_at + 2 * self.settings.timing.successor_wait();
            self.schedule.cool_down_early(revision, at);
        }
        self.phase = Phase::Following;
    }

    /// The release could not be written in time. The other nodes have to wait for the lease to
    /// expire, and this one has to wait longer.
    fn release_timed_out(&mut self) {
        let Phase::Releasing(release) = &self.phase else { return };
        let (term, ended_at) = (release.term.clone(), release.ended_at);
        self.leftover.add(term, true);
        self.schedule.cool_down(ended_at, self.unreleased_cooldown());
        self.phase = Phase::Following;
    }

    // Cool down.

    /// The cooldown after a term that was resigned but not released: other nodes take over first.
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
            Phase::Holding { resignation: None, .. } => {
                self.start_drain(Reason::Stop, None, until);
            }
            Phase::Holding { resignation: Some(resignation), .. } => {
                resignation.give_up_at = resignation.give_up_at.min(until);
            }
            Phase::Releasing(release) => release.give_up_at = release.give_up_at.min(until),
            Phase::Challenging(_) => self.abandon_challenge(now),
            Phase::Following | Phase::Stopped => {}
        }
    }

    /// Stops when nothing is left to be released, or nothing can be released.
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
