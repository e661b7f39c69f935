//! Hooks: a node's events as calls, on a thread of their own.

use std::io;
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::error::StoreError;
use crate::event::{Cause, Event, Reason};
use crate::events::Events;
use crate::leadership::Leadership;
use crate::lease::Epoch;
use crate::task::Task;

/// Calls for what happens to a node, as go-cluster has them.
///
/// All run on one thread of their own, in order, one at a time. However long one takes, no renewal
/// waits for it; later ones do. For each epoch led there is one
/// [`on_become_leader`](Self::on_become_leader) and one
/// [`on_lose_leadership`](Self::on_lose_leadership), in that order.
///
/// A panic in a hook is caught and logged. In `on_become_leader` it also gives the term back. In
/// `on_lose_leadership` nobody knows whether the work has stopped: a lease that was to be given
/// back is not released, and lapses.
pub trait Hooks: Send + 'static {
    /// This node leads. Start what the leader does; it may outlive the call, while the token is
    /// valid.
    fn on_become_leader(&mut self, leadership: Leadership) {
        drop(leadership);
    }

    /// The term is over, or is to be given back. Stop what the leader does **before returning**: a
    /// lease that is given back is released only then. The token is invalid already.
    fn on_lose_leadership(&mut self, epoch: Epoch, cause: &Cause) {
        let _ = (epoch, cause);
    }

    /// Another holder is known, or none any more.
    fn on_leader_change(&mut self, leader: Option<&str>, epoch: Option<Epoch>) {
        let _ = (leader, epoch);
    }

    /// There is a connection.
    fn on_connect(&mut self, server: &str) {
        let _ = server;
    }

    /// The connection went away.
    fn on_disconnect(&mut self, error: &StoreError) {
        let _ = error;
    }

    /// Anything else, as the event channel has it.
    fn on_other(&mut self, event: Event) {
        drop(event);
    }
}

/// How long dropping waits for the hook that is being called; it is left to itself then.
const FAREWELL: Duration = Duration::from_secs(1);

/// Starts the thread that makes the calls. It ends after the last event of its node.
///
/// `panicked` is called when `on_become_leader` panicked.
pub(crate) fn start(
    hooks: Box<dyn Hooks>,
    events: Events,
    panicked: impl Fn() + Send + 'static,
) -> io::Result<Task> {
    events.attach();
    Task::spawn("leasehold-hooks", FAREWELL, move || {
        let mut caller = Caller { hooks, told_lost: None, panicked };
        for event in &events {
            caller.call(event);
        }
    })
}

struct Caller<F> {
    hooks: Box<dyn Hooks>,
    /// The epoch whose loss was told when its resignation came.
    told_lost: Option<Epoch>,
    panicked: F,
}

impl<F: Fn()> Caller<F> {
    fn call(&mut self, event: Event) {
        match event {
            Event::BecameLeader(leadership) => {
                if !self.guarded(|hooks| hooks.on_become_leader(leadership)) {
                    (self.panicked)();
                }
            }
            Event::Resigning { epoch, reason, drain } => {
                if self.lost(epoch, &Cause::Resigned(reason)) {
                    drop(drain);
                } else {
                    log::warn!("the lease is not released: what the leader does may go on");
                    // Never dropped.
                    forget(drain);
                }
            }
            Event::LostLeadership { epoch, cause } => {
                self.lost(epoch, &cause);
            }
            other => {
                self.guarded(|hooks| pass_on(hooks, other));
            }
        }
    }

    /// Tells it once; false when the hook panicked.
    fn lost(&mut self, epoch: Epoch, cause: &Cause) -> bool {
        self.told_lost.replace(epoch) == Some(epoch)
            || self.guarded(|hooks| hooks.on_lose_leadership(epoch, cause))
    }

    fn guarded(&mut self, call: impl FnOnce(&mut dyn Hooks)) -> bool {
        let hooks = self.hooks.as_mut();
        let returned = catch_unwind(AssertUnwindSafe(|| call(hooks))).is_ok();
        if !returned {
            log::error!("a hook panicked");
        }
        returned
    }
}

fn pass_on(hooks: &mut dyn Hooks, event: Event) {
    match event {
        Event::LeaderChanged { leader, epoch } => hooks.on_leader_change(leader.as_deref(), epoch),
        Event::Connected { server } => hooks.on_connect(&server),
        Event::Disconnected { error } => hooks.on_disconnect(&error),
        other => hooks.on_other(other),
    }
}

/// Why a term is given back after its hook panicked.
pub(crate) const AFTER_PANIC: Reason = Reason::HookPanicked;
