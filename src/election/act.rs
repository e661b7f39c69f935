//! Sending the next request: at most one is awaited at a time.

use super::phase::Phase;
use super::requests::{Kind, OwnWrite};
use super::{Command, Election, Timestamp};
use crate::lease::{Epoch, Lease};
use crate::store::Expect;

impl Election {
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
            Phase::Holding { term, .. } if now >= term.renew_at => self.renew(now),
            Phase::Releasing(release) => {
                let term = release.term.clone();
                self.release(now, term);
            }
            Phase::Challenging(_) | Phase::Holding { .. } | Phase::Stopped => {}
        }
    }

    fn follow(&mut self, now: Timestamp) {
        if let Some(term) = self.take_leftover() {
            return self.release(now, term);
        }
        if self.poll_at().is_none_or(|at| now >= at) {
            return self.read(now);
        }
        if !self.is_eligible(now) {
            return;
        }
        if self.view.bucket.is_missing() {
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
        let first_seq = self.view.highest_epoch.saturating_add(1);
        self.out.command = Some(Command::CreateBucket { ticket, first_seq });
    }

    pub(super) fn write(&mut self, now: Timestamp, expect: Expect, lease: Lease) {
        let ticket = self.requests.open(Kind::Write, now);
        debug_assert_eq!(ticket.0, lease.write, "a write has the number of its request");
        let incarnation = self.view.bucket.incarnation().cloned();
        self.requests.remember(OwnWrite { lease: lease.clone(), incarnation, sent: now });
        self.out.command = Some(Command::Write { ticket, expect, lease });
    }

    /// The record by which this node holds the lease, numbered as the next request.
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
}
