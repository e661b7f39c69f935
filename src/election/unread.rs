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
//! * *The successor.* It is not part of the name, and binds nobody but by courtesy. A release for
//!   somebody else is left alone until it was read.
//! * *Patience.* One such challenge between two reads: whoever forges notices gets no more.

use super::{Election, Phase, Timestamp};
use crate::store::{Expect, ReleaseId};

impl Election {
    /// Challenges what was noticed, if that can be done before it is read. True when it is done.
    pub(super) fn challenge_unread(&mut self, now: Timestamp) -> bool {
        let idle = matches!(self.phase, Phase::Following);
        if !idle || self.reads_first || !self.is_eligible(now) || now < self.knowledge.embargo() {
            return false;
        }
        let Some(sighting) = self.knowledge.unread_release() else { return false };
        let Some(release) = sighting.lease().filter(|lease| self.courtesy(lease).is_zero()) else {
            return false;
        };
        let Some(id) = ReleaseId::of(release) else { return false };
        let Some(epoch) = self.knowledge.next_epoch(sighting) else { return false };
        let expect = Expect::release(sighting.revision, id);
        // Lost or won: the next request is a read. Whoever leads learns by it that it does so in
        // the bucket it knows.
        self.reads_first = true;
        self.look_at = Some(now);
        self.try_challenge(now, epoch, expect, 1);
        true
    }
}
