//! Nodes: start and stop, and their events.

use std::ffi::c_int;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, select};
use parking_lot::Mutex;

use super::code::leasehold_code::{LEASEHOLD_E_STOPPED, LEASEHOLD_E_SYSTEM, LEASEHOLD_NOTHING};
use super::code::{Failure, Result, call, leasehold_code};
use super::config::leasehold_config;
use super::event::leasehold_event;
use super::handle::{self, ANY_EPOCH, Handle};
use super::hooks::{Callbacks, leasehold_hooks, not_in_callback};
use super::text::{fill, not_null, size_of_callers, store, timeout};
use crate::drain::DrainGuard;
use crate::error::Refused;
use crate::event::Event;
use crate::events::Events;
use crate::health::Responder;
use crate::leadership::TermCell;
use crate::lease::Epoch;
use crate::node::{Node, NodeHandle};

/// A started node. Free it with `leasehold_free`.
#[derive(Debug)]
pub struct leasehold_node(());

impl Handle for leasehold_node {
    const KIND: usize = 2;
    const NAME: &'static str = "node";
    type Object = NodeObject;

    fn term(node: &NodeObject) -> Option<(&TermCell, u64)> {
        Some((&node.handle.cell, ANY_EPOCH))
    }
}

/// The object behind a `leasehold_node`: exists until the handle is freed and no call uses it.
pub(super) struct NodeObject {
    pub(super) handle: NodeHandle,
    /// `None` when it is stopping. The sender is dropped when it has stopped.
    node: Mutex<Option<(Node, Sender<()>)>>,
    stopping: AtomicBool,
    stopped: Receiver<()>,
    /// Kept until the node is freed: its descriptor stays open, and events can be taken after the
    /// stop.
    events: Arc<Events>,
    /// The guards of draining terms by epoch, until C says that the work has stopped.
    drains: Mutex<Vec<(u64, DrainGuard)>>,
    pub(super) health: Mutex<Option<Responder>>,
}

impl NodeObject {
    fn new(node: Node) -> Self {
        let (runs, stopped) = bounded(0);
        Self {
            handle: node.handle(),
            events: node.shared_events(),
            node: Mutex::new(Some((node, runs))),
            stopping: AtomicBool::new(false),
            stopped,
            drains: Mutex::default(),
            health: Mutex::default(),
        }
    }

    fn descriptor(&self) -> Result<c_int> {
        let none = |error| Failure::new(LEASEHOLD_E_SYSTEM, format!("no descriptor: {error}"));
        // The queue keeps it open, and returns the same every time.
        Ok(self.events.pollable().map_err(none)?.as_raw_fd())
    }

    fn next(&self, timeout_ms: i64) -> Result<leasehold_event> {
        let events = &self.events;
        let found = match events.try_next() {
            None if timeout_ms != 0 => self.wait(timeout_ms),
            found => found,
        };
        // Checked before the second look, which finds every event from before the stop.
        let over = events.is_closed() || self.has_stopped();
        let Some(event) = found.or_else(|| over.then(|| events.try_next()).flatten()) else {
            let nothing = || Failure::new(LEASEHOLD_NOTHING, "no event");
            return Err(if over { Failure::closed() } else { nothing() });
        };
        Ok(self.convert(event))
    }

    /// Waits for the next event. `None` when the time is up or the node has stopped.
    fn wait(&self, timeout_ms: i64) -> Option<Event> {
        let found = select! {
            recv(self.events.channel()) -> event => event.inspect(|_| self.events.fill()).ok(),
            recv(self.stopped) -> _ => None,
            default(timeout(timeout_ms)) => None,
        };
        // `try_next` also clears the descriptor.
        found.or_else(|| self.events.try_next())
    }

    fn has_stopped(&self) -> bool {
        self.stopped.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Converts an event, and keeps the guard of a draining term.
    fn convert(&self, event: Event) -> leasehold_event {
        let converted = leasehold_event::of(&event);
        match event {
            Event::Resigning { epoch, drain, .. } => {
                let mut drains = self.drains.lock();
                // `leasehold_stop` means that the work has stopped.
                if !self.stopping.load(Ordering::SeqCst) {
                    drains.push((epoch.as_u64(), drain));
                }
            }
            Event::LostLeadership { epoch, .. } => self.drained(epoch.as_u64()),
            _ => {}
        }
        converted
    }

    /// Ends the drain of a term, also before its event was taken.
    fn drained(&self, epoch: u64) {
        self.drains.lock().retain(|(of, _)| *of != epoch);
        if let Some(epoch) = Epoch::new(epoch) {
            self.events.drained(epoch);
        }
    }

    /// Refuses a command when the node is stopping or has stopped.
    pub(super) fn check_running(&self) -> Result<()> {
        if self.stopping.load(Ordering::SeqCst) || self.handle.has_stopped() {
            return Err(Refused::Stopped.into());
        }
        Ok(())
    }

    /// Stops the node. True when its lease expires unreleased.
    fn stop(&self) -> Result<bool> {
        let node = self.node.lock().take();
        let (node, _runs) =
            node.ok_or_else(|| Failure::new(LEASEHOLD_E_STOPPED, "the node was stopped before"))?;
        self.stopping.store(true, Ordering::SeqCst);
        self.drains.lock().clear();
        self.events.waive_drains();
        drop(self.health.lock().take());
        Ok(node.stop().left_to_expire)
    }
}

/// Starts a node and stores it in `*node`. Free it with `leasehold_free`. The configuration may be
/// freed after the call. `hooks` may be null; it is copied. If the configuration has a virtual IP,
/// the leader holds it.
///
/// Blocks until the bucket was read or found missing, at most for the connect timeout (default
/// 5 s); not at all with `nats.startDisconnected`. The file of an nkey is read first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_start(
    config: *const leasehold_config,
    hooks: *const leasehold_hooks,
    node: *mut *mut leasehold_node,
) -> leasehold_code {
    call(|| {
        // SAFETY: by the function's contract. First, so that `release` is called whatever fails.
        let callbacks = unsafe { Callbacks::read(hooks) }?;
        not_null(node, "node")?;
        let config = handle::get(config)?.build()?;
        let mut builder = Node::builder(config);
        if let Some(callbacks) = callbacks {
            builder = builder.hooks(callbacks);
        }
        let handle = handle::insert(NodeObject::new(builder.start()?))?;
        // SAFETY: by the function's contract.
        unsafe { store(node, handle, "node") }
    })
}

/// Stops a node: releases its lease and ends its threads. The caller must have stopped the work of
/// the term before: this waits for callbacks, but not for `leasehold_drained`, which is no longer
/// needed for a `LEASEHOLD_RESIGNING` in the queue. `left_to_expire` may be null; it becomes true
/// if the lease was not released and other nodes wait until it expires.
///
/// Blocks at most for the stop timeout (default 5 s), plus 1 s for a callback that does not return,
/// 2 s for a log function or a connection that hangs, and 2 s for the responses of
/// `leasehold_serve_health`.
///
/// Threads that wait in another call for this node return. Events from before the stop can be taken
/// until the node is freed: the end of the term, and up to `election.eventCapacity` + 64 others.
/// The descriptor stays open. `LEASEHOLD_E_STOPPED` for a second call, `LEASEHOLD_E_IN_CALLBACK`
/// in a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_stop(
    node: *mut leasehold_node,
    left_to_expire: *mut bool,
) -> leasehold_code {
    call(|| {
        not_in_callback()?;
        let object = handle::get(node)?;
        let left = object.stop()?;
        if left_to_expire.is_null() {
            return Ok(());
        }
        // SAFETY: by the function's contract.
        unsafe { store(left_to_expire, left, "left_to_expire") }
    })
}

/// Frees a node. Stops it first, as `leasehold_stop`; if another thread is stopping it, waits for
/// that. The handle is invalid at once, also for other threads: later events go to callbacks only.
/// Ignores null. `LEASEHOLD_E_IN_CALLBACK` in a callback, without any effect.
///
/// The descriptor is closed: remove it from every poll set before. If other threads are in a call
/// for this node, those calls return at once, perhaps after this one, and the last of them closes
/// the descriptor.
///
/// A callback that does not return within a second is not waited for: `user_data` must exist until
/// `release` is called.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_free(node: *mut leasehold_node) -> leasehold_code {
    call(|| {
        if node.is_null() {
            return Ok(());
        }
        not_in_callback()?;
        let object = handle::remove(node)?;
        // Fails if it was stopped, or another thread is stopping it: then this waits for that.
        let _ = object.stop();
        let _ = object.stopped.recv();
        Ok(())
    })
}

/// Stores a descriptor for `select`, `poll` or `epoll`, level-triggered. It is readable from the
/// moment an event is queued until `leasehold_next_event` returns `LEASEHOLD_NOTHING`, or, when the
/// node has stopped, `LEASEHOLD_CLOSED`. Take one event for each wake-up, or all.
///
/// The node owns it: do not read, write or close it; `leasehold_free` closes it. It is the same in
/// every call. It may be readable at first without an event. Does not block. `LEASEHOLD_E_SYSTEM`
/// if the process has no descriptor left.
///
/// After this call the node waits for the program when it steps down: see `LEASEHOLD_RESIGNING`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_descriptor(
    node: *mut leasehold_node,
    descriptor: *mut c_int,
) -> leasehold_code {
    call(|| {
        not_null(descriptor, "descriptor")?;
        let number = handle::get(node)?.descriptor()?;
        // SAFETY: by the function's contract.
        unsafe { store(descriptor, number, "descriptor") }
    })
}

/// Takes the next event; each event goes to one caller. `event->size` must be set. Waits at most
/// `timeout_ms`: 0 does not block, and a negative number is no limit.
///
/// `LEASEHOLD_NOTHING` if there was no event in time, `LEASEHOLD_CLOSED` if the node has stopped
/// and all events were taken. After this call the node waits for the program when it steps down:
/// see `LEASEHOLD_RESIGNING`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_next_event(
    node: *mut leasehold_node,
    event: *mut leasehold_event,
    timeout_ms: i64,
) -> leasehold_code {
    call(|| {
        // SAFETY: by the function's contract. Checked first, so that no event is lost.
        unsafe { size_of_callers(event) }?;
        let next = handle::get(node)?.next(timeout_ms)?;
        // SAFETY: by the function's contract.
        unsafe { fill(event, next) }
    })
}

/// Says that the work of the term `epoch` has stopped, as `LEASEHOLD_RESIGNING` asks for, also if
/// that event was not taken yet. Then the node releases the lease, and another node takes over.
/// A call after the drain timeout is late, not lost: it releases a lease that no other node has
/// taken yet. Does nothing for a term from which the node does not step down. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_drained(node: *mut leasehold_node, epoch: u64) -> leasehold_code {
    call(|| {
        handle::get(node)?.drained(epoch);
        Ok(())
    })
}
