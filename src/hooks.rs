//! Hooks: the events of a node as callbacks, on a thread of their own.

use std::io;
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::error::StoreError;
use crate::event::{Cause, Event};
use crate::events::Events;
use crate::leadership::Leadership;
use crate::lease::Epoch;
use crate::task::Task;

/// Callbacks for the events of a node.
///
/// All are called on one thread of their own, in order, one at a time. A callback that takes long
/// delays the later ones, but no renewal. For each epoch that the node leads there is one call of
/// [`on_become_leader`](Self::on_become_leader), then one of
/// [`on_lose_leadership`](Self::on_lose_leadership).
///
/// A panic in a callback is caught and logged. After a panic in `on_become_leader` the node
/// resigns. After a panic in `on_lose_leadership` it is unknown whether the work has ended: the
/// lease is not released but left to expire.
///
/// ```
/// use std::thread::{self, JoinHandle};
/// use std::time::Duration;
/// use leasehold::{Cause, Epoch, Hooks, Leadership};
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
///
/// struct Service(Option<JoinHandle<()>>);
///
/// impl Hooks for Service {
///     fn on_become_leader(&mut self, token: Leadership) {
///         self.0 = Some(thread::spawn(move || {
///             while token.is_valid() {
///                 thread::sleep(Duration::from_millis(5)); // one step of the work
///             }
///         }));
///     }
///
///     fn on_lose_leadership(&mut self, _: Epoch, _: &Cause) {
///         if let Some(work) = self.0.take() {
///             let _ = work.join(); // the lease is released after that
///         }
///     }
/// }
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// let node = Node::builder(config).store(store).hooks(Service(None)).start()?;
/// # node.wait_for_leadership(Duration::from_secs(5))?;
/// # assert!(!node.stop().left_to_expire);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Hooks: Send + 'static {
    /// This node leads. Start the work of the leader. It may go on after this call, while
    /// `leadership` is valid.
    fn on_become_leader(&mut self, leadership: Leadership) {
        drop(leadership);
    }

    /// The term is over, or the node resigns. End the work of the leader **before returning**: when
    /// the node resigns, the lease is released only then. The token is invalid already.
    fn on_lose_leadership(&mut self, epoch: Epoch, cause: &Cause) {
        let _ = (epoch, cause);
    }

    /// The leader is another one now; both are `None` when no leader is known.
    fn on_leader_change(&mut self, leader: Option<&str>, epoch: Option<Epoch>) {
        let _ = (leader, epoch);
    }

    /// The node has connected.
    fn on_connect(&mut self, server: &str) {
        let _ = server;
    }

    /// The connection was lost, or a first one could not be made.
    fn on_disconnect(&mut self, error: &StoreError) {
        let _ = error;
    }

    /// Any other event.
    fn on_other(&mut self, event: Event) {
        drop(event);
    }
}

/// How long a node waits at its end for a callback that is running. Then it is left behind.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Starts the thread that makes the calls. It ends after the last event of its node.
///
/// `panicked` is called when `on_become_leader` panicked.
pub(crate) fn start(
    hooks: Box<dyn Hooks>,
    events: Events,
    panicked: impl Fn() + Send + 'static,
) -> io::Result<Task> {
    events.attach();
    Task::spawn("leasehold-hooks", END_TIMEOUT, move || {
        let mut caller = Caller { hooks, reported_lost: None, panicked };
        for event in &events {
            caller.call(event);
        }
    })
}

struct Caller<F> {
    hooks: Box<dyn Hooks>,
    /// The epoch whose loss was reported when the node resigned.
    reported_lost: Option<Epoch>,
    panicked: F,
}

impl<F: Fn()> Caller<F> {
    fn call(&mut self, event: Event) {
        match event {
            Event::BecameLeader(leadership) => {
                if !self.catch(|hooks| hooks.on_become_leader(leadership)) {
                    (self.panicked)();
                }
            }
            Event::Resigning { epoch, reason, drain } => {
                if self.lost(epoch, &Cause::Resigned(reason)) {
                    drop(drain);
                } else {
                    log::warn!("the lease is not released: the work of the leader may still run");
                    forget(drain);
                }
            }
            Event::LostLeadership { epoch, cause } => {
                self.lost(epoch, &cause);
            }
            other => {
                self.catch(|hooks| pass_on(hooks, other));
            }
        }
    }

    /// Reports the loss of each epoch once. False when the hook panicked.
    fn lost(&mut self, epoch: Epoch, cause: &Cause) -> bool {
        self.reported_lost.replace(epoch) == Some(epoch)
            || self.catch(|hooks| hooks.on_lose_leadership(epoch, cause))
    }

    fn catch(&mut self, call: impl FnOnce(&mut dyn Hooks)) -> bool {
        let hooks = self.hooks.as_mut();
        let returned = catch_unwind(AssertUnwindSafe(|| call(hooks)));
        // `panic!` carries a text. A failed command unwinds without one, and has been logged.
        if returned.as_ref().is_err_and(|text| text.is::<&str>() || text.is::<String>()) {
            log::error!("a hook panicked");
        }
        returned.is_ok()
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
