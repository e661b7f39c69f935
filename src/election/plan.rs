//! When a follower may challenge, and when the next step is due.

use std::time::Duration;

use super::phase::Phase;
use super::record::{Observation, Record};
use super::{Election, Timestamp};
use crate::lease::{Epoch, Lease};

/// The longest time between two reads of an observer, unless the TTL is longer.
const OBSERVER_POLL: Duration = Duration::from_secs(30);

/// When to challenge the newest record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) at: Timestamp,
    /// A read has to confirm the record first, sent a moment before that time or later.
    pub(super) confirm: bool,
}

impl Election {
    /// When the newest record may be challenged; `None` when no record is known yet.
    pub(super) fn challenge_plan(&self) -> Option<Plan> {
        let mut plan = self.classify(self.view.newest()?);
        plan.at = plan.at.max(self.view.no_challenge_before);
        Some(plan)
    }

    /// How long to wait for a record, by what it is.
    fn classify(&self, observed: &Observation) -> Plan {
        let after = |wait| Plan { at: observed.first_seen + wait, confirm: true };
        let at_once = Plan { at: observed.first_seen, confirm: false };
        match &observed.record {
            Record::Undecodable(_) | Record::Marker => after(self.view.longest_ttl),
            Record::Absent if self.view.bucket.is_new() && !self.settings.strict_bootstrap => {
                at_once
            }
            Record::Absent => after(self.view.longest_ttl),
            Record::Lease(lease) if lease.clean => {
                Plan { at: observed.first_seen + self.successor_grace(lease), confirm: false }
            }
            Record::Lease(lease) if self.may_retake_own(lease, observed.revision) => at_once,
            Record::Lease(lease) => after(self.view.holder_wait(lease)),
        }
    }

    /// From when on a read is due before `plan` is carried out; `None` when no read is needed, or
    /// it was sent.
    ///
    /// The read is sent a little early, so that it does not delay the challenge. A renewal may be
    /// stored between the two: the condition of the challenge fails then.
    pub(super) fn confirming_read_at(&self, plan: &Plan) -> Option<Timestamp> {
        let from = plan.at - self.settings.timing.confirm_lead();
        let unread = self.view.last_read.is_none_or(|sent| sent < from);
        (plan.confirm && unread).then_some(from)
    }

    /// How long this node leaves a release to other nodes: to its successor, and to all of them if
    /// it is this node's own release.
    pub(super) fn successor_grace(&self, release: &Lease) -> Duration {
        let for_this_node =
            release.successor.as_ref().is_some_and(|id| *id == self.settings.node_id);
        let own = release.session == Some(self.settings.session);
        if own || (release.successor.is_some() && !for_this_node) {
            self.settings.timing.successor_wait()
        } else {
            Duration::ZERO
        }
    }

    /// Whether this is a held record of this session, whose term has ended. No other node can lead
    /// by it, so it needs no wait; but it is challenged like this only once.
    fn may_retake_own(&self, lease: &Lease, revision: u64) -> bool {
        self.is_own_held(lease)
            && self.leftover.retaken != revision
            && self.schedule.cooldown.is_none()
    }

    /// Whether this node may challenge now.
    pub(super) fn is_eligible(&self, now: Timestamp) -> bool {
        self.is_candidate() && self.stop_by.is_none() && now >= self.schedule.back_off_until
    }

    /// Whether this node may challenge without another input before.
    fn is_candidate(&self) -> bool {
        self.healthy
            && !self.settings.observer
            && self.schedule.cooldown.is_none()
            && self.view.behind_since.is_none()
    }

    /// When a follower reads although it has no other reason to.
    pub(super) fn poll_at(&self) -> Option<Timestamp> {
        let ttl = self.settings.timing.ttl();
        let last = self.view.last_read?;
        if self.view.bucket.is_missing() {
            return Some(last + self.settings.timing.renew_interval());
        }
        if let Some(behind) = self.view.behind_since {
            return Some(behind + self.view.longest_ttl);
        }
        // A term that was read has two advantages: its epoch is not given again even if the bucket
        // is lost, and its release can be challenged unread.
        if self.view.noticed_other_term() && !self.settings.observer {
            return Some(last + self.settings.timing.request_timeout());
        }
        Some(match (self.settings.observer, self.view.notices.trusted) {
            (true, _) => last + ttl.max(OBSERVER_POLL),
            (false, true) => last + 3 * ttl,
            // Without notices it has to read twice per TTL, or every record would seem expired.
            (false, false) => last + ttl / 2,
        })
    }

    /// The holder of the lease, as far as this node knows. It is unknown once the record's TTL has
    /// passed.
    pub(super) fn leader(&self, now: Timestamp) -> Option<(String, Epoch)> {
        if let Some(term) = self.term() {
            return Some((self.settings.node_id.clone(), term.epoch));
        }
        let lease = self.view.newest()?.lease()?;
        let known = self.leader_known_until().is_some_and(|until| now < until);
        known.then(|| (lease.node_id.clone(), lease.epoch))
    }

    fn leader_known_until(&self) -> Option<Timestamp> {
        let newest = self.view.newest()?;
        let foreign = |lease: &&Lease| lease.session != Some(self.settings.session);
        let lease = newest.lease().filter(|lease| !lease.is_released()).filter(foreign)?;
        Some(newest.first_seen + self.view.holder_wait(lease))
    }

    /// When the next step is due if there is no input before.
    pub(super) fn wake_at(&self, now: Timestamp) -> Timestamp {
        let timeout = self.settings.timing.request_timeout();
        let request = self.requests.pending().map(|pending| pending.sent + timeout);
        let idle = request.is_none() && self.connected;
        let due = if idle { self.next_request_at() } else { None };
        [
            request,
            due.map(|due| due.max(self.schedule.not_before)),
            self.phase_ends_at(),
            self.stop_by,
            self.cooldown_ends_at(),
            self.leader_known_until(),
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > now)
        .min()
        .unwrap_or(Timestamp::MAX)
    }

    /// When the next request is due.
    fn next_request_at(&self) -> Option<Timestamp> {
        let phase = match &self.phase {
            Phase::Holding { term, .. } => Some(term.renew_at),
            Phase::Following if self.has_leftover() => Some(self.schedule.not_before),
            Phase::Following => self.follow_at(),
            Phase::Challenging(_) | Phase::Releasing(_) => Some(self.schedule.not_before),
            Phase::Stopped => None,
        };
        self.schedule.next_read_at.into_iter().chain(phase).min()
    }

    fn follow_at(&self) -> Option<Timestamp> {
        let next = |plan: Plan| self.confirming_read_at(&plan).unwrap_or(plan.at);
        // A missing bucket is created without waiting.
        let missing = self.view.bucket.is_missing().then_some(Timestamp::ZERO);
        let planned = missing.or_else(|| self.challenge_plan().map(next));
        let challenge = planned.map(|at| at.max(self.schedule.back_off_until));
        challenge.filter(|_| self.is_candidate()).into_iter().chain(self.poll_at()).min()
    }
}
