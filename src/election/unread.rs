//! The challenge of a release that was noticed and not read yet: the shortest way from one leader
//! to the next.
//!
//! A notice is hearsay, so this challenge carries its own proof. Its condition names the revision
//! *and* the release: it is stored only if the newest write into the bucket is that very clean
//! release (see [`Expect::release`]). A notice that lies about anything that matters is so no more
//! than a lost race, and so is a store that cannot tell. Then the release is read as ever.
//!
//! What the proof leaves open is asked of what is known:
//! * *The bucket.* A notice does not tell which one it is of. Only a term that was read in the
//!   present bucket is taken over like this, for whoever saw a holder in an earlier one must wait.
//! * *The successor.* It is not part of the name, and no node is bound by it. A release for another
//!   node is left alone until it was read.
//! * *Patience.* One such challenge between two reads: whoever forges notices gets no more.

use super::{Election, Phase, Timestamp};
use crate::store::{Expect, ReleaseId};

impl Election {
    /// Challenges what was noticed, if that can be done before it is read. True when it is done.
    pub(super) fn challenge_unconfirmed(&mut self, now: Timestamp) -> bool {
        let idle = matches!(self.phase, Phase::Following);
        if !idle
            || self.schedule.read_first
            || !self.is_eligible(now)
            || now < self.view.no_challenge_before()
        {
            return false;
        }
        let Some(observed) = self.view.unconfirmed_release() else { return false };
        let Some(release) = observed.lease().filter(|lease| self.successor_grace(lease).is_zero())
        else {
            return false;
        };
        let Some(id) = ReleaseId::of(release) else { return false };
        let Some(epoch) = self.view.next_epoch(observed) else { return false };
        let expect = Expect::release(observed.revision, id);
        // Lost or won: the next request is a read. Whoever leads learns by it that it does so in
        // the bucket it knows.
        self.schedule.read_first = true;
        self.schedule.next_read_at = Some(now);
        self.send_challenge(now, epoch, expect, 1);
        true
    }
}
