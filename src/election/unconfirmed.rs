//! Challenging a release that was noticed and not read yet: the shortest way from one leader to the
//! next.
//!
//! A notice proves nothing, so this challenge carries its own proof. Its condition names the
//! revision *and* the release: it is stored only if the newest write in the bucket is that very
//! clean release (see [`Expect::release`]). If the notice is wrong in anything that matters, the
//! challenge is refused. It is refused too by a store that cannot check the name. Then the release
//! is read as usual.
//!
//! What the condition does not check follows from what this node knows:
//! * *The bucket.* A notice does not say which bucket it is from. So the release has to end a term
//!   that this node has read in the present bucket, because a node that saw a holder in an earlier
//!   bucket has to wait for it.
//! * *The successor.* It is not part of the name. A release that reserves the lease for another
//!   node for a moment is left alone until it was read.
//! * *The rate.* At most one such challenge is sent between two reads, however many notices are
//!   forged.

use super::phase::Phase;
use super::{Election, Timestamp};
use crate::lease::Lease;
use crate::store::{Expect, ReleaseId};

impl Election {
    /// Challenges a noticed release that was not read yet, if it may. True when it was sent.
    pub(super) fn challenge_unconfirmed(&mut self, now: Timestamp) -> bool {
        let idle = matches!(self.phase, Phase::Following);
        let waits = self.schedule.read_first || now < self.view.no_challenge_before();
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
}
