//! Challenges: the writes that are to begin a term of this node.

use super::phase::{Challenge, EndedTerm, Phase};
use super::requests::Kind;
use super::view::ReadVerdict;
use super::{Election, Timestamp};
use crate::error::StoreError;
use crate::lease::{Epoch, Lease};
use crate::store::{Expect, ReleaseId};

/// How often a challenge is sent while its outcome stays unknown.
const CHALLENGE_TRIES: u32 = 3;

impl Election {
    /// Challenges the newest record.
    pub(super) fn challenge(&mut self, now: Timestamp) {
        let Some(newest) = self.view.newest() else { return };
        let Some(epoch) = self.view.next_epoch(newest) else {
            return self.report_failure(Kind::Write, StoreError::EpochsExhausted);
        };
        let (expect, revision) = (newest.expect(), newest.revision);
        if newest.lease().is_some_and(|lease| lease.session == Some(self.settings.session)) {
            self.leftover.retaken = revision;
        }
        self.send_challenge(now, epoch, expect, 1);
    }

    /// Challenges a release that was noticed and not read yet, if it may: the shortest way from one
    /// leader to the next. True when it was sent.
    ///
    /// A notice proves nothing, so this challenge carries its own proof. Its condition names the
    /// revision *and* the release: it is stored only if the newest write in the bucket is that very
    /// clean release (see [`Expect::release`]). If the notice is wrong in anything that matters,
    /// the challenge is refused. It is refused too by a store that cannot check the name. Then the
    /// release is read as usual.
    ///
    /// What the condition does not check follows from what this node knows:
    /// * *The bucket.* A notice does not say which bucket it is from. So the release has to end a
    ///   term that this node has read in the present bucket, because a node that saw a holder in an
    ///   earlier bucket has to wait for it.
    /// * *The successor.* It is not part of the name. A release that reserves the lease for another
    ///   node for a moment is left alone until it was read.
    /// * *The rate.* At most one such challenge is sent between two reads, however many notices are
    ///   forged.
    pub(super) fn challenge_unconfirmed(&mut self, now: Timestamp) -> bool {
        let idle = matches!(self.phase, Phase::Following);
        let waits = self.schedule.read_first || now < self.view.no_challenge_before;
        if !idle || waits || !self.is_eligible(now) {
            return false;
        }
        let Some(noticed) = self.view.unconfirmed_release() else { return false };
        let unreserved = |lease: &&Lease| self.successor_grace(lease).is_zero();
        let Some(release) = noticed.lease().filter(unreserved) else { return false };
        let Some(id) = ReleaseId::of(release) else { return false };
        let Some(epoch) = self.view.next_epoch(noticed) else { return false };
        let expect = Expect::release(noticed.revision, id);
        // Stored or not, the next request is a read. It shows a new leader that the bucket is the
        // one it knows.
        self.schedule.read_first = true;
        self.schedule.next_read_at = Some(now);
        self.send_challenge(now, epoch, expect, 1);
        true
    }

    fn send_challenge(&mut self, now: Timestamp, epoch: Epoch, expect: Expect, tries: u32) {
        let lease = self.held_record(epoch);
        let unknown = tries > 1;
        self.phase = Phase::Challenging(Challenge { epoch, expect, sent: now, tries, unknown });
        self.write(now, expect, lease);
    }

    /// After a challenge of unknown outcome: sends it again, drops it, or abandons it.
    pub(super) fn after_read_while_challenging(&mut self, now: Timestamp, verdict: ReadVerdict) {
        let Phase::Challenging(challenge) = &self.phase else { return };
        let repeatable = self.repeatable(challenge, verdict);
        let in_time = now < challenge.sent + self.settings.timing.validity();
        if repeatable.is_none() && !self.holds_record(challenge.epoch) {
            // The record that it was to replace is gone, or never existed. None of its writes was
            // stored, and none can be stored any more but over a clean release.
            self.phase = Phase::Following;
        } else if let Some(expect) =
            repeatable.filter(|_| in_time && challenge.tries < CHALLENGE_TRIES && self.may_lead())
        {
            let epoch = challenge.epoch;
            self.send_challenge(now, epoch, expect, challenge.tries + 1);
        } else {
            self.abandon_challenge(now);
        }
    }

    /// The condition under which a challenge may be sent again: the record that it was to replace
    /// is still the current one.
    fn repeatable(&self, challenge: &Challenge, verdict: ReadVerdict) -> Option<Expect> {
        let unread = challenge.expect.release.is_some();
        // The same revision in another bucket, or in a store that went back, is another record. One
        // that was challenged before it was read is read for the first time now.
        let same = match verdict {
            ReadVerdict::Unchanged | ReadVerdict::Behind => true,
            ReadVerdict::Changed => unread,
            ReadVerdict::NewIncarnation | ReadVerdict::WentBack => false,
        };
        let current = self.view.confirmed().filter(|c| same && c.meets(challenge.expect))?;
        // A release that was not read before may turn out to name another node as successor.
        let reserved = current.lease().is_some_and(|l| !self.successor_grace(l).is_zero());
        (!(unread && reserved)).then(|| current.expect())
    }

    /// Gives the challenge up although it may be stored: nothing ran under it. If it was stored, it
    /// is overwritten by a release. No further challenge is sent for a while.
    pub(super) fn abandon_challenge(&mut self, now: Timestamp) {
        let Phase::Challenging(challenge) = &self.phase else { return };
        self.leftover.to_release = Some(EndedTerm { epoch: challenge.epoch, successor: None });
        self.phase = Phase::Following;
        self.schedule.back_off(now, self.settings.timing.ttl());
        self.schedule.next_read_at = Some(now);
    }

    /// Whether the current record says that this session holds the lease with that epoch.
    pub(super) fn holds_record(&self, epoch: Epoch) -> bool {
        let lease = self.view.confirmed().and_then(|confirmed| confirmed.lease());
        lease.is_some_and(|lease| lease.epoch == epoch && self.is_own_held(lease))
    }

    pub(super) fn may_lead(&self) -> bool {
        self.healthy && self.stop_by.is_none()
    }
}
