//! Writes that lose their race though no other write came. A stream that is stuck says so of every
//! write, for ever. Such a write is not stored either; but it is a refusal, and no race.

use crate::store::{Expect, Snapshot};

/// A race that is lost once more, though reads have shown that no other write came, is a refusal.
const MAX_LOST_IN_VAIN: u32 = 2;

/// The races that were lost in a row under one condition.
#[derive(Debug, Default)]
pub(super) struct LostRaces(Option<LostRace>);

#[derive(Debug)]
struct LostRace {
    expect: Expect,
    /// How often it was lost before, though it held.
    times: u32,
    /// A read has shown since that it holds.
    holds: bool,
}

impl LostRaces {
    /// A write under that condition has lost its race. True when it is a refusal.
    pub(super) fn lost(&mut self, expect: Expect) -> bool {
        // A read does not show whether the name of a release holds.
        if expect.release.is_some() {
            return false;
        }
        let before = self.0.take().filter(|lost| lost.expect == expect && lost.holds);
        let times = before.map_or(0, |lost| lost.times + 1);
        self.0 = Some(LostRace { expect, times, holds: false });
        times >= MAX_LOST_IN_VAIN
    }

    /// A read showed this.
    pub(super) fn shown(&mut self, shown: &Snapshot) {
        if let Some(lost) = &mut self.0 {
            let revision = shown.entry.as_ref().map_or(0, |entry| entry.revision);
            let last = lost.expect.last_seq;
            lost.holds =
                revision == lost.expect.revision && last.is_none_or(|last| last == shown.last_seq);
        }
    }

    /// A write was stored.
    pub(super) fn stored(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::{Epoch, SessionId};
    use crate::store::{Content, Entry, Incarnation, ReleaseId};

    fn shown(revision: u64, last_seq: u64) -> Snapshot {
        let entry = Entry { revision, content: Content::Marker };
        Snapshot {
            incarnation: Incarnation::new("one"),
            last_seq,
            pristine: false,
            entry: Some(entry).filter(|_| revision > 0),
        }
    }

    #[test]
    fn the_third_race_that_is_lost_to_no_other_write_is_a_refusal() {
        for (expect, shows) in
            [(Expect::revision(5), shown(5, 9)), (Expect::nothing_since(9), shown(0, 9))]
        {
            let mut races = LostRaces::default();
            for refused in [false, false, true, true] {
                assert_eq!(races.lost(expect), refused, "{expect:?}");
                races.shown(&shows);
            }
            races.stored();
            assert!(!races.lost(expect));
        }
    }

    #[test]
    fn a_race_that_another_write_may_have_won_is_a_race() {
        let mut races = LostRaces::default();
        for revision in 1..9 {
            assert!(!races.lost(Expect::revision(revision)));
            races.shown(&shown(revision + 1, 20));
        }
        for _ in 0..9 {
            assert!(!races.lost(Expect::revision(5)), "no read in between");
        }
        for last in 0..9 {
            assert!(!races.lost(Expect::nothing_since(0)), "another key was written");
            races.shown(&shown(0, last + 1));
        }
        let (session, epoch) = (SessionId::from_bits(1), Epoch::new(1).unwrap());
        let release = Expect::release(5, ReleaseId { session, epoch, write: 1 });
        for _ in 0..9 {
            assert!(!races.lost(release), "its name may be forgotten");
            races.shown(&shown(5, 5));
        }
    }
}
