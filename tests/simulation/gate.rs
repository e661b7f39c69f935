//! I9: what a fencing gate at the resource's side sees. It admits the highest epoch so far, and
//! each epoch for one session. A leader, at an instant at which its token is valid, must never be
//! refused; late effects of deposed leaders must.

use leasehold::lease::SessionId;

use super::rules::Rule;
use super::world::{Effect, World};

#[derive(Debug, Default)]
pub(crate) struct Gate {
    admitted: Option<(u64, SessionId)>,
}

impl Gate {
    fn admits(&mut self, epoch: u64, session: SessionId) -> bool {
        let admits = self
            .admitted
            .is_none_or(|(highest, by)| epoch > highest || (epoch == highest && session == by));
        if admits {
            self.admitted = Some((epoch, session));
        }
        admits
    }
}

impl World {
    /// An effect arrives. It may be late; then the gate decides, and need not admit it.
    pub(crate) fn act_on(&mut self, effect: &Effect) {
        let node = &self.processes[effect.process];
        let leads = node.alive && node.leads(&self.origin, self.now) == Some(effect.epoch);
        let admitted = self.gate.admits(effect.epoch, effect.session);
        if leads && !admitted {
            // Perhaps this very event made it a second leader, as the known limits allow.
            self.check_this_instant();
        }
        // Where a bucket was replaced or set back, gates are reset by hand.
        let spared =
            self.ledger.lost.is_some() || self.ledger.restored || self.ledger.epochs_may_fall;
        if leads && !spared {
            self.verdict.demand(Rule::I9, admitted, || {
                format!("p{} leads epoch {} and is refused", effect.process, effect.epoch)
            });
        }
    }
}
