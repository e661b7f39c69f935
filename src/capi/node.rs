//! Nodes: what is behind a handle, how one is started and stopped, and its events.

use std::ffi::c_int;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;
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
use crate::error::Refused;
use crate::event::{DrainGuard, Event};
use crate::events::{Events, Pollable};
use crate::health::Responder;
use crate::leadership::TermCell;
use crate::lease::Epoch;
use crate::node::{Node, NodeHandle};

/// A started node. Freed with `leasehold_free`.
#[derive(Debug)]
pub struct leasehold_node(());

impl Handle for leasehold_node {
    const KIND: usize = 2;
    const NAME: &'static str = "node";
    type Object = NodeObject;

    fn term(node: &NodeObject) -> Option<(&TermCell, u64)> {
        Some((node.handle.cell(), ANY_EPOCH))
    }
}

/// The object behind a `leasehold_node`: exists until the handle is freed and no call uses it.
pub(super) struct NodeObject {
    pub(super) handle: NodeHandle,
    /// None once it is stopping; what goes along tells by its end that it has stopped.
    node: Mutex<Option<(Node, Sender<()>)>>,
    stopping: AtomicBool,
    stopped: Receiver<()>,
    /// Kept until the node is freed, for what nobody took before it stopped.
    events: Events,
    /// Keeps the descriptor open until the node is freed.
    pollable: OnceLock<Pollable>,
    /// The guards of terms that are given back, by epoch, until C says that the work has stopped.
    drains: Mutex<Vec<(u64, DrainGuard)>>,
    pub(super) health: Mutex<Option<Responder>>,
}

impl NodeObject {
    fn new(node: Node) -> Self {
        let (runs, stopped) = bounded(0);
        Self {
            handle: node.handle(),
            events: node.queue(),
            node: Mutex::new(Some((node, runs))),
            stopping: AtomicBool::new(false),
            stopped,
            pollable: OnceLock::new(),
            drains: Mutex::default(),
            health: Mutex::default(),
        }
    }

    /// What there is to hear, for somebody who is waited for from now on.
    fn events(&self) -> &Events {
        self.events.attach();
        &self.events
    }

    fn descriptor(&self) -> Result<c_int> {
        if let Some(pollable) = self.pollable.get() {
            return Ok(pollable.as_raw_fd());
        }
        let none = |error| Failure::new(LEASEHOLD_E_SYSTEM, format!("no descriptor: {error}"));
        let new = self.events().pollable().map_err(none)?;
        Ok(self.pollable.get_or_init(|| new).as_raw_fd())
    }

    fn next(&self, timeout_ms: i64) -> Result<leasehold_event> {
        let events = self.events();
        let found = match events.try_next() {
            None if timeout_ms != 0 => self.wait(timeout_ms),
            found => found,
        };
        // What came in between is found by the look after.
        let over = events.is_closed() || self.has_stopped();
        let Some(event) = found.or_else(|| over.then(|| events.try_next()).flatten()) else {
            let nothing = || Failure::new(LEASEHOLD_NOTHING, "no event");
            return Err(if over { Failure::closed() } else { nothing() });
        };
        Ok(self.note(event))
    }

    /// The next event, waited for; none when none comes in time, or at all.
    fn wait(&self, timeout_ms: i64) -> Option<Event> {
        let found = select! {
            recv(self.events.receiver()) -> event => event.ok(),
            recv(self.stopped) -> _ => None,
            default(timeout(timeout_ms)) => None,
        };
        // A look that clears the descriptor.
        found.or_else(|| self.events.try_next())
    }

    fn has_stopped(&self) -> bool {
        self.stopped.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Keeps the guard of a term that is given back.
    fn note(&self, event: Event) -> leasehold_event {
        let told = leasehold_event::of(&event);
        match event {
            Event::Resigning { epoch, drain, .. } => {
                let mut drains = self.drains.lock();
                // Whoever stops a node has said that the work has stopped.
                if !self.stopping.load(Ordering::SeqCst) {
                    drains.push((epoch.as_u64(), drain));
                }
            }
            Event::LostLeadership { epoch, .. } => self.drained(epoch.as_u64()),
            _ => {}
        }
        told
    }

    /// Also of a term whose event nobody has taken yet.
    fn drained(&self, epoch: u64) {
        self.drains.lock().retain(|(of, _)| *of != epoch);
        if let Some(epoch) = Epoch::new(epoch) {
            self.events.drained(epoch);
        }
    }

    /// Refuses what would come to nothing, as the node is stopping or has stopped.
    pub(super) fn check_running(&self) -> Result<()> {
        if self.stopping.load(Ordering::SeqCst) || self.handle.has_stopped() {
            return Err(Refused::Stopped.into());
        }
        Ok(())
    }

    /// Stops the node. True when its lease was left to lapse.
    fn stop(&self) -> Result<bool> {
        let node = self.node.lock().take();
        let (node, _runs) = node.ok_or_else(|| Failure::new(LEASEHOLD_E_STOPPED, "stopped"))?;
        self.stopping.store(true, Ordering::SeqCst);
        self.drains.lock().clear();
        self.events.withdraw();
        drop(self.health.lock().take());
        Ok(node.stop().left_to_lapse)
    }
}

/// Starts a node. The configuration stays the caller's, and may be freed at once. `hooks` may be
/// null; it is copied. `*node` is the caller's, to be freed with `leasehold_free`. With a virtual
/// IP in the configuration, that follows the lead.
///
/// Blocks until the bucket was read or found missing, for at most the connect timeout (default
/// 5 s), or not at all with `nats.startDisconnected`; before that, while the file of an nkey is
/// read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_start(
    config: *const leasehold_config,
    hooks: *const leasehold_hooks,
    node: *mut *mut leasehold_node,
) -> leasehold_code {
    call(|| {
        // SAFETY: the caller's word. First, so that they are released however this ends.
        let callbacks = unsafe { Callbacks::read(hooks) }?;
        not_null(node, "node")?;
        let config = handle::get(config)?.build()?;
        let mut builder = Node::builder(config);
        if let Some(callbacks) = callbacks {
            builder = builder.hooks(callbacks);
        }
        let handle = handle::insert(NodeObject::new(builder.start()?))?;
        // SAFETY: the caller's word.
        unsafe { store(node, handle, "node") }
    })
}

/// Gives back what is held and ends the node's threads, while it blocks: within the stop timeout
/// (default 5 s), and after it at most 1 s more for a callback that does not return, 2 s for a log
/// function or a connection that hangs, and 2 s for the answers of `leasehold_serve_health`. The
/// caller's own work for a term must have stopped: it waits for callbacks, but for no
/// `leasehold_drained`, and a `LEASEHOLD_RESIGNING` that stands in the queue needs none any more.
/// `left_to_lapse` may be null; it becomes true when the lease could not be released and others
/// wait for its TTL.
///
/// Threads that wait in another call for this node return. What happened until it had stopped can
/// be taken until the node is freed: the end of its term, and what nobody took before, up to
/// `election.eventCapacity` + 64 events. Its descriptor stays open. `LEASEHOLD_E_STOPPED` at a
/// second call, `LEASEHOLD_E_IN_CALLBACK` in a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_stop(
    node: *mut leasehold_node,
    left_to_lapse: *mut bool,
) -> leasehold_code {
    call(|| {
        not_in_callback()?;
        let object = handle::get(node)?;
        let lapses = object.stop()?;
        if left_to_lapse.is_null() {
            return Ok(());
        }
        // SAFETY: the caller's word.
        unsafe { store(left_to_lapse, lapses, "left_to_lapse") }
    })
}

/// Frees a node, and stops it first as `leasehold_stop` does, for as long at most, unless it was;
/// where another thread is stopping it, that is waited for. Its handle is void at once, also for
/// other threads, and what happens from then on can be had by callbacks only. Null is ignored.
/// `LEASEHOLD_E_IN_CALLBACK` in a callback: nothing was done.
///
/// The descriptor is closed: take it out of every poll set before. Where another thread is in a
/// call for this node, it is closed when the last of those calls has returned, which they do at
/// once, but perhaps after this one.
///
/// A callback that takes longer than a second to return is left behind; `release` tells when
/// `user_data` is free.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_free(node: *mut leasehold_node) -> leasehold_code {
    call(|| {
        if node.is_null() {
            return Ok(());
        }
        not_in_callback()?;
        let object = handle::remove(node)?;
        // It may be stopped already, or be stopped by another thread, which is waited for.
        let _ = object.stop();
        let _ = object.stopped.recv();
        Ok(())
    })
}

/// A descriptor to wait for events with, by `select`, `poll` or `epoll`, level-triggered: readable
/// from the moment an event is queued until `leasehold_next_event` has returned
/// `LEASEHOLD_NOTHING`, and when the node has stopped, until it has returned `LEASEHOLD_CLOSED`.
/// Take one event for each wake-up, or all.
///
/// It is the node's: only wait for it, do not read, write or close it; `leasehold_free` closes it.
/// The same at every call. It may be readable at first without an event. Does not block.
/// `LEASEHOLD_E_SYSTEM` when there is no descriptor left.
///
/// Whoever asks for events is waited for: see `LEASEHOLD_RESIGNING`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_descriptor(
    node: *mut leasehold_node,
    descriptor: *mut c_int,
) -> leasehold_code {
    call(|| {
        not_null(descriptor, "descriptor")?;
        let number = handle::get(node)?.descriptor()?;
        // SAFETY: the caller's word.
        unsafe { store(descriptor, number, "descriptor") }
    })
}

/// Takes the next event; each goes to one caller. `event->size` must be set. Waits for one for
/// `timeout_ms`: 0 does not block, a negative number waits without a bound.
///
/// `LEASEHOLD_NOTHING` when none came in time, `LEASEHOLD_CLOSED` when the node has stopped and all
/// were taken. Whoever asks for events is waited for: see `LEASEHOLD_RESIGNING`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_next_event(
    node: *mut leasehold_node,
    event: *mut leasehold_event,
    timeout_ms: i64,
) -> leasehold_code {
    call(|| {
        // SAFETY: the caller's word. Looked at first, so that no event is lost.
        unsafe { size_of_callers(event) }?;
        let next = handle::get(node)?.next(timeout_ms)?;
        // SAFETY: the caller's word.
        unsafe { fill(event, next) }
    })
}

/// Says that the work of a term has stopped that is given back: what `LEASEHOLD_RESIGNING` asks
/// for, whether that was taken already or not. The lease is released then, and another node takes
/// over; after the drain timeout too, unless one has. Does nothing for any other epoch, nor for a
/// term that is not being given back yet. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_drained(node: *mut leasehold_node, epoch: u64) -> leasehold_code {
    call(|| {
        handle::get(node)?.drained(epoch);
        Ok(())
    })
}
