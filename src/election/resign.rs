//! The end of a term that is given back: resign, drain, release, stay back.

use std::time::Duration;

use super::requests::Purpose;
use super::term::{Phase, Tenure};
use super::{Change, Election, Timestamp};
use crate::error::Refused;
use crate::event::{Cause, Reason};
use crate::lease::{Epoch, Lease};

#[derive(Clone, Debug)]
pub(super) struct Resignation {
    reason: Reason,
    pub(super) successor: Option<String>,
    bound: Timestamp,
    pub(super) drained: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Release {
    pub(super) epoch: Epoch,
    pub(super) successor: Option<String>,
    ended: Timestamp,
    until: Timestamp,
}

#[derive(Clone, Debug)]
pub(super) struct Cleanup {
    pub(super) epoch: Epoch,
    pub(super) successor: Option<String>,
}

/// The time in which a node stays back after a term that it gave back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cooldown {
    until: Timestamp,
    /// After a transfer: the release's revision, and when to come back early if it still stands.
    early: Option<(u64, Timestamp)>,
}

impl Election {
    pub(super) fn give_up_phases(&mut self, now: Timestamp) {
        match &self.phase {
            Phase::Challenging(challenge)
                if now >= challenge.sent + self.settings.timing.validity() =>
            {
                self.challenge_came_to_nothing(now);
            }
            Phase::Draining(_, resignation) if now >= resignation.bound && !resignation.drained => {
                let cause = Cause::DrainTimedOut(resignation.reason.clone());
                self.lose(now, cause);
            }
            Phase::Releasing(release) if now >= release.until => self.left_to_lapse(),
            _ => {}
        }
        self.end_cooldown(now);
        if self.stopping.is_some_and(|until| now >= until) {
            if let Some(tenure) = self.tenure() {
                let epoch = tenure.epoch;
                self.end_term(epoch, Cause::DrainTimedOut(Reason::Stop));
            }
            self.phase = Phase::Stopped;
        }
    }

    pub(super) fn phase_ends_at(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Following | Phase::Stopped => None,
            Phase::Challenging(challenge) => Some(challenge.sent + self.settings.timing.validity()),
            Phase::Leading(tenure) => Some(tenure.deadline),
            Phase::Draining(tenure, resignation) => Some(tenure.deadline.min(resignation.bound)),
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
            Phase::Leading(tenure) => {
                let tenure = tenure.clone();
                let bound = now + self.settings.drain_timeout;
                self.start_drain(tenure, Resignation { reason, successor, bound, drained: false });
                Ok(())
            }
            Phase::Draining(_, resignation) => {
                resignation.successor = resignation.successor.take().or(successor);
                Ok(())
            }
            _ => Err(Refused::NotLeader { leader: self.leader(now).map(|(id, _)| id) }),
        }
    }

    /// `is_leader()` is false from here on; the lease is held until the work has stopped.
    fn start_drain(&mut self, tenure: Tenure, resignation: Resignation) {
        self.cell.end();
        let (epoch, reason) = (tenure.epoch, resignation.reason.clone());
        self.phase = Phase::Draining(tenure, resignation);
        self.changes.push(Change::Resigning { epoch, reason });
    }

    pub(super) fn drained(&mut self, epoch: Epoch) {
        match &mut self.phase {
            Phase::Draining(tenure, resignation) if tenure.epoch == epoch => {
                resignation.drained = true;
            }
            // The drain ended after its term did: if the record still is of that term, it may yet
            // be released.
            _ => {
                let late = self.lapsed.take_if(|lapsed| lapsed.epoch == epoch);
                self.cleanup = late.or(self.cleanup.take());
            }
        }
    }

    /// The work has stopped and no write is under way: the term ends, and only then it is released.
    pub(super) fn finish_drain(&mut self, now: Timestamp) {
        let Phase::Draining(tenure, resignation) = &self.phase else { return };
        if !resignation.drained || self.requests.is_writing() {
            return;
        }
        let (epoch, resignation) = (tenure.epoch, resignation.clone());
        self.end_term(epoch, Cause::Resigned(resignation.reason));
        self.cool_down(now, self.settings.cooldown);
        let until = self.stopping.unwrap_or(now + self.settings.timing.ttl());
        let successor = resignation.successor;
        self.phase = Phase::Releasing(Release { epoch, successor, ended: now, until });
    }

    pub(super) fn set_healthy(&mut self, now: Timestamp, healthy: bool) {
        self.healthy = healthy;
        if !healthy && matches!(self.phase, Phase::Leading(_)) {
            self.refused = self.resign(now, Reason::Unhealthy).err();
        }
    }

    pub(super) fn set_meta(&mut self, now: Timestamp, meta: Option<serde_json::Value>) {
        self.settings.meta = meta;
        if let Phase::Leading(tenure) = &mut self.phase {
            tenure.renew_at = now;
        }
    }

    pub(super) fn promote(&mut self) -> Result<(), Refused> {
        match &self.phase {
            Phase::Draining(..) | Phase::Releasing(_) => Err(Refused::Resigning),
            _ if self.settings.observer => Err(Refused::Observer),
            _ if !self.healthy => Err(Refused::Unhealthy),
            _ => {
                self.cooldown = None;
                Ok(())
            }
        }
    }

    // Release.

    /// Whether an own record stands that is to be overwritten by a release.
    pub(super) fn has_to_clean(&self) -> bool {
        self.cleanup.as_ref().is_some_and(|cleanup| self.stands_under(cleanup.epoch))
    }

    /// The release to send, once the renewal loop finds its own record without a term.
    pub(super) fn cleanup_of_what_stands(&mut self) -> Option<Cleanup> {
        if self.has_to_clean() { self.cleanup.take() } else { None }
    }

    pub(super) fn release(&mut self, now: Timestamp, epoch: Epoch, successor: Option<String>) {
        let Some(standing) = self.knowledge.standing() else { return };
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
        if let (Some(cooldown), Some(_)) = (&mut self.cooldown, &release.successor) {
            cooldown.early = Some((revision, back));
        }
        self.phase = Phase::Following;
    }

    /// The release could not be sent in time: others must wait, and so must this node.
    fn left_to_lapse(&mut self) {
        let Phase::Releasing(release) = &self.phase else { return };
        let (ended, epoch) = (release.ended, release.epoch);
        let successor = release.successor.clone();
        self.cleanup = Some(Cleanup { epoch, successor });
        self.cool_down(ended, self.after_lapse());
        self.phase = Phase::Following;
    }

    // Stay back.

    /// How long to stay back after a term that was resigned but not released: long enough for
    /// others to wait it out first.
    pub(super) fn after_lapse(&self) -> Duration {
        self.settings.cooldown.max(self.settings.timing.expiry_cooldown())
    }

    /// Starts or lengthens the cooldown.
    pub(super) fn cool_down(&mut self, from: Timestamp, length: Duration) {
        let present = self.cooldown.map_or(Timestamp::ZERO, |cooldown| cooldown.until);
        self.cooldown = Some(Cooldown { until: present.max(from + length), early: None });
    }

    pub(super) fn cooldown_ends_at(&self) -> Option<Timestamp> {
        let cooldown = self.cooldown?;
        let stands = |(revision, at): (u64, Timestamp)| {
            let stands = self.knowledge.newest().is_some_and(|s| s.revision == revision);
            stands.then_some(at)
        };
        Some(cooldown.early.and_then(stands).map_or(cooldown.until, |at| at.min(cooldown.until)))
    }

    fn end_cooldown(&mut self, now: Timestamp) {
        if self.cooldown_ends_at().is_some_and(|at| now >= at) {
            self.cooldown = None;
        }
    }

    // Stop.

    pub(super) fn stop(&mut self, now: Timestamp, until: Timestamp) {
        let until = self.stopping.map_or(until, |earlier| earlier.min(until));
        self.stopping = Some(until);
        match &mut self.phase {
            Phase::Leading(tenure) => {
                let tenure = tenure.clone();
                let reason = Reason::Stop;
                let resignation =
                    Resignation { reason, successor: None, bound: until, drained: false };
                self.start_drain(tenure, resignation);
            }
            Phase::Draining(_, resignation) => resignation.bound = resignation.bound.min(until),
            Phase::Releasing(release) => release.until = release.until.min(until),
            Phase::Challenging(_) => self.challenge_came_to_nothing(now),
            Phase::Following | Phase::Stopped => {}
        }
    }

    /// Stops when nothing is left to be given back, or nothing can be.
    pub(super) fn finish_stop(&mut self) {
        let waits = self.connected
            && self.cleanup.is_some()
            && (self.requests.pending().is_some() || self.look_at.is_some());
        let releasing = self.requests.is_writing();
        let idle = matches!(self.phase, Phase::Following);
        if self.stopping.is_some() && idle && !waits && !releasing && !self.has_to_clean() {
            self.phase = Phase::Stopped;
        }
    }
}
