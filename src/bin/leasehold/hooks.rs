//! What happens to the daemon's node, handed on to the commands. The library logs it.

use std::panic::resume_unwind;

use leasehold::manager::DaemonHooks;
use leasehold::{Cause, Epoch, Hooks, Leadership};

use super::hook::{Facts, Orders};

/// Returns at once from everything but the loss of the lead, which holds the release back.
pub(super) struct Follower {
    pub(super) node: String,
    pub(super) orders: Orders,
    pub(super) leader: Option<String>,
}

impl Hooks for Follower {
    fn on_become_leader(&mut self, leadership: Leadership) {
        let epoch = leadership.epoch().as_u64();
        let facts = Facts { leader: Some(self.node.clone()), epoch, cause: None };
        self.orders.primary(leadership, facts);
    }

    fn on_lose_leadership(&mut self, epoch: Epoch, cause: &Cause) {
        let epoch = epoch.as_u64();
        let leader = self.leader.clone().filter(|leader| *leader != self.node);
        let stopped = self.orders.passive(Facts { leader, epoch, cause: Some(cause.to_string()) });
        if !stopped && matches!(cause, Cause::Resigned(_)) {
            // How a hook says that the work may go on: no other node is let in early.
            resume_unwind(Box::new("the command for passive failed"));
        }
    }

    fn on_leader_change(&mut self, leader: Option<&str>, epoch: Option<Epoch>) {
        self.leader = leader.map(str::to_owned);
        let epoch = epoch.map_or(0, Epoch::as_u64);
        self.orders.change(Facts { leader: self.leader.clone(), epoch, cause: None });
    }
}

impl DaemonHooks for Follower {}
