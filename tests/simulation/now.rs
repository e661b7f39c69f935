//! What must hold at every instant, whatever just happened: I1, and what an application that asks
//! at this instant may hear, I6.

use leasehold::lease::Epoch;

use super::rules::Rule;
use super::world::{Effect, World};

impl World {
    /// A term begins or is prolonged in some event, and is in force from then on until its
    /// deadline: looking after every event sees every overlap.
    pub(crate) fn check_this_instant(&mut self) {
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

    /// The known limits: a bucket deleted under `old`, and a `new` leader that never saw the record
    /// in it; a longer TTL that `new` never saw; a store restored from a backup.
    fn is_excused(&self, old: usize, new: usize) -> bool {
        let (old, new) = (&self.processes[old], &self.processes[new]);
        let lost = old.shadow.wrote_into < new.shadow.wrote_into
            && !new.shadow.incarnations.contains(&old.shadow.wrote_into);
        let longer = new.shadow.longest_ttl_at_challenge < old.timing.ttl();
        lost || longer || self.ledger.restored || self.ledger.lost.is_some()
    }

    /// An application looks at its token. Once it said no, it never says yes again.
    pub(crate) fn check_look(&mut self, process: usize) {
        let at = self.now;
        let node = &mut self.processes[process];
        let valid = node.look(at);
        let session = node.session;
        let shadow = &mut node.shadow;
        let led = shadow.led;
        if valid != Some(led) {
            shadow.dead = led;
        }
        let revived = valid.filter(|epoch| *epoch <= shadow.dead);
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
