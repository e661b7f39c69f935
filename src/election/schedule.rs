//! When this node may challenge, and when it may and has to send its next request.

use std::time::Duration;

use super::phase::Phase;
use super::record::{Observation, Record};
use super::{Election, Timestamp};
use crate::lease::{Epoch, Lease, SessionId};

/// The longest time between two reads of an observer, unless the TTL is longer.
const OBSERVER_POLL: Duration = Duration::from_secs(30);

/// How long after the first notice of a new term a follower reads it. Until then the server and the
/// processors are left to the new leader, whose own requests are under way.
const NEW_TERM_READ_DELAY: Duration = Duration::from_millis(10);

/// The moments that follow from what this node did. The waits for other nodes follow from the
/// record instead, see [`Plan`].
#[derive(Debug)]
pub(super) struct Schedule {
    /// When a read is due.
    pub(super) next_read_at: Option<Timestamp>,
    /// No request is sent before then, because the last one failed at once.
    pub(super) not_before: Timestamp,
    /// No challenge is sent before then, because the last one was abandoned.
    pub(super) back_off_until: Timestamp,
    /// No challenge is sent while there is one.
    pub(super) cooldown: Option<Cooldown>,
    /// No unconfirmed release is challenged before the next read.
    pub(super) read_first: bool,
    random: u64,
}

/// The time after a resigned term in which this node leaves the lease to other nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cooldown {
    until: Timestamp,
    /// After a transfer: the release's revision, and when the cooldown ends if that release is
    /// still the newest record. The successor did not come then.
    early: Option<(u64, Timestamp)>,
}

impl Schedule {
    pub(super) fn new(session: SessionId) -> Self {
        let bits = session.bits();
        #[allow(clippy::cast_possible_truncation, reason = "folds the random bits into a seed")]
        let random = (bits ^ (bits >> 64)) as u64;
        Self {
            next_read_at: None,
            not_before: Timestamp::ZERO,
            back_off_until: Timestamp::ZERO,
            cooldown: None,
            read_first: true,
            random,
        }
    }

    /// Sets a read for `at`, unless one is due earlier.
    pub(super) fn read_by(&mut self, at: Timestamp) {
        self.next_read_at = Some(self.next_read_at.map_or(at, |due| due.min(at)));
    }

    /// No challenge for one to two TTLs. The random part keeps two nodes from always colliding.
    pub(super) fn back_off(&mut self, now: Timestamp, ttl: Duration) {
        let share = u32::try_from(self.random() % 1_000).unwrap_or(0);
        self.back_off_until = now + ttl + ttl * share / 1_000;
    }

    /// The next of a sequence that differs from session to session (splitmix64).
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Starts a cooldown. One that lasts longer stays.
    pub(super) fn cool_down(&mut self, from: Timestamp, length: Duration) {
        let present = self.cooldown.map_or(Timestamp::ZERO, |cooldown| cooldown.until);
        self.cooldown = Some(Cooldown { until: present.max(from + length), early: None });
    }

    /// Ends the cooldown at `at` if the record of that revision is still the newest.
    pub(super) fn cool_down_early(&mut self, revision: u64, at: Timestamp) {
        if let Some(cooldown) = &mut self.cooldown {
            cooldown.early = Some((revision, at));
        }
    }

    /// When the cooldown ends, given the newest revision known.
    pub(super) fn cooldown_ends_at(&self, newest: Option<u64>) -> Option<Timestamp> {
        let cooldown = self.cooldown?;
        let early = cooldown.early.filter(|(revision, _)| newest == Some(*revision));
        Some(early.map_or(cooldown.until, |(_, at)| at.min(cooldown.until)))
    }
}

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
        if let Some(noticed) = self.view.other_term_noticed_at().filter(|_| !self.settings.observer)
        {
            let spaced = last + self.settings.timing.request_timeout();
            return Some(spaced.max(noticed + NEW_TERM_READ_DELAY));
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
        let (lease, until) = self.foreign_holder()?;
        (now < until).then(|| (lease.node_id.clone(), lease.epoch))
    }

    /// The held record of another session, and when it expires.
    fn foreign_holder(&self) -> Option<(&Lease, Timestamp)> {
        let newest = self.view.newest()?;
        let foreign = |lease: &&Lease| lease.session != Some(self.settings.session);
        let lease = newest.lease().filter(|lease| !lease.is_released()).filter(foreign)?;
        Some((lease, newest.first_seen + self.view.holder_wait(lease)))
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
            self.foreign_holder().map(|(_, until)| until),
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
