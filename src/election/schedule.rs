//! When this node may send its next request, and when it has to.

use std::time::Duration;

use super::Timestamp;
use crate::lease::SessionId;

/// The moments that follow from what this node did. The waits for other nodes follow from the
/// record instead, see [`challenge_plan`](super::Election::challenge_plan).
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
