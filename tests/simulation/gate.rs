//! I9: a fencing gate at the resource. It admits the highest epoch so far, and each epoch for one
//! session. It must never refuse a leader whose token is valid, and it must refuse the late effects
//! of earlier leaders.

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
    /// An effect arrives at the gate, perhaps after its term has ended.
    pub(crate) fn act_on(&mut self, effect: &Effect) {
        let node = &self.processes[effect.process];
        let leads = node.alive && node.leads(&self.origin, self.now) == Some(effect.epoch);
        let admitted = self.gate.admits(effect.epoch, effect.session);
        if leads && !admitted {
            // This very event may have made it a second leader, as the known limits allow.
            self.check_instant();
        }
        // After a bucket was replaced or restored, operators have to reset the gates.
        let spared =
            self.ledger.lost.is_some() || self.ledger.restored || self.ledger.epochs_may_fall;
        if leads && !spared {
            self.verdict.demand(Rule::I9, admitted, || {
                format!("p{} leads epoch {} and is refused", effect.process, effect.epoch)
            });
        }
    }
}
