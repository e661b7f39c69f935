//! The invariants that are checked at every instant: I1, and I6 as an application sees it.

use leasehold::lease::Epoch;

use super::rules::Rule;
use super::world::{Effect, World};

impl World {
    /// A term begins or is extended by an event, and is in force from then until its deadline. So a
    /// check after every event finds every overlap.
    pub(crate) fn check_instant(&mut self) {
        let mut leader: Option<usize> = None;
        for slot in 0..self.running.len() {
            let Some(process) = self.running[slot] else { continue };
            if self.processes[process].leads(&self.origin, self.now).is_none() {
                continue;
            }
            if let Some(other) = leader.replace(process) {
                self.check_overlap(other, process);
            }
        }
        self.watch_leader(leader.is_some());
    }

    fn check_overlap(&mut self, one: usize, two: usize) {
        if self.is_excused(one, two) || self.is_excused(two, one) {
            self.tally.excused += 1;
            self.ledger.epochs_may_fall = true;
            return;
        }
        let epochs = [one, two].map(|p| self.processes[p].leads(&self.origin, self.now));
        self.verdict
            .demand(Rule::I1, false, || format!("p{one} and p{two} both lead, epochs {epochs:?}"));
    }

    /// Whether a known limit allows the overlap: the bucket was deleted under `old`, and `new`
    /// never saw the record in it; `old` has a longer TTL that `new` never saw; or the store was
    /// restored.
    fn is_excused(&self, old: usize, new: usize) -> bool {
        let (old, new) = (&self.processes[old], &self.processes[new]);
        let lost = old.model.wrote_into < new.model.wrote_into
            && !new.model.incarnations.contains(&old.model.wrote_into);
        let longer = new.model.longest_ttl_at_challenge < old.timing.ttl();
        lost || longer || self.ledger.restored || self.ledger.lost.is_some()
    }

    /// The application checks its token. Once it is invalid, it stays invalid.
    pub(crate) fn check_token_now(&mut self, process: usize) {
        let at = self.now;
        let node = &mut self.processes[process];
        let valid = node.check_token(at);
        let session = node.session;
        let model = &mut node.model;
        let led = model.led;
        if valid != Some(led) {
            model.invalid_up_to = led;
        }
        let revived = valid.filter(|epoch| *epoch <= model.invalid_up_to);
        self.verdict.demand(Rule::I6, revived.is_none(), || {
            format!("the token of p{process} for epoch {led} is valid again")
        });
        if let Some(epoch) = valid.and_then(Epoch::new) {
            let effect = Effect { process, epoch: epoch.as_u64(), session };
            self.act_on(&effect);
            let delay = self.span();
            self.after(delay, super::world::Event::Act(effect));
        }
    }
}
