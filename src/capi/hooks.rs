//! Callbacks, which run on a thread of their own.

use std::cell::Cell;
use std::ffi::c_void;

use super::code::leasehold_code::LEASEHOLD_E_IN_CALLBACK;
use super::code::{Failure, Result};
use super::event::leasehold_event;
use super::text::{Sized32, size_of_callers};
use crate::error::StoreError;
use crate::event::{Cause, Event};
use crate::hooks::Hooks;
use crate::leadership::Leadership;
use crate::lease::Epoch;

/// Callbacks of a node, in addition to its event queue or instead of it. Set `size` to `sizeof`.
/// Null functions are not called.
///
/// One thread of the library calls them, in order, one at a time. A slow callback delays the later
/// ones, but no renewal. Callbacks may call every function except `leasehold_stop` and
/// `leasehold_free`. They must return: a C++ exception or a `longjmp` out of them is undefined.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct leasehold_hooks {
    /// `sizeof(leasehold_hooks)`.
    pub size: u32,
    /// The argument of every callback. The library does not read it.
    pub user_data: *mut c_void,
    /// This node leads. Start the leader's work, which may go on after the callback returns.
    pub on_become_leader: Option<extern "C" fn(user_data: *mut c_void, epoch: u64)>,
    /// The term is over, or the node steps down; `event` says why, and is valid during the call.
    /// Stop the leader's work **before you return**: when the node steps down, the lease is
    /// released only then.
    pub on_lose_leadership:
        Option<extern "C" fn(user_data: *mut c_void, event: *const leasehold_event)>,
    /// Any other event. `event` is valid during the call.
    pub on_event: Option<extern "C" fn(user_data: *mut c_void, event: *const leasehold_event)>,
    /// The last callback: the library does not use `user_data` any more. Called exactly once. If
    /// `leasehold_start` fails, it is called on that thread, but not for `LEASEHOLD_E_SIZE` and
    /// `LEASEHOLD_E_FORKED`.
    pub release: Option<extern "C" fn(user_data: *mut c_void)>,
}

// SAFETY: `repr(C)`, its first field is its size, and zero is a value of every field.
unsafe impl Sized32 for leasehold_hooks {
    const FIRST: usize = size_of::<Self>();
    const NAME: &'static str = "leasehold_hooks";
}

/// The callbacks of one node.
pub(super) struct Callbacks(leasehold_hooks);

// SAFETY: it is moved to the thread that makes the calls. The header requires that the functions
// and `user_data` can be used there.
unsafe impl Send for Callbacks {}

thread_local! {
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Refuses a call that would wait for the callback that makes it.
pub(super) fn not_in_callback() -> Result<()> {
    if IN_CALLBACK.get() {
        return Err(Failure::new(LEASEHOLD_E_IN_CALLBACK, "not possible within a callback"));
    }
    Ok(())
}

/// Makes a call to C, and marks this thread during the call.
fn calling(call: impl FnOnce()) {
    let outer = IN_CALLBACK.replace(true);
    call();
    IN_CALLBACK.set(outer);
}

impl Callbacks {
    /// Copies the caller's callbacks; `None` for null.
    ///
    /// # Safety
    /// `hooks` is null, or points to a struct that is as large as its first field says.
    pub(super) unsafe fn read(hooks: *const leasehold_hooks) -> Result<Option<Self>> {
        if hooks.is_null() {
            return Ok(None);
        }
        // SAFETY: by the contract; the size in the first version is that of the whole struct.
        unsafe {
            size_of_callers(hooks)?;
            Ok(Some(Self(hooks.read_unaligned())))
        }
    }

    fn send(&self, event: &leasehold_event) {
        if let Some(on_event) = self.0.on_event {
            calling(|| on_event(self.0.user_data, event));
        }
    }
}

impl Hooks for Callbacks {
    fn on_become_leader(&mut self, leadership: Leadership) {
        if let Some(on_become_leader) = self.0.on_become_leader {
            calling(|| on_become_leader(self.0.user_data, leadership.epoch().as_u64()));
        }
    }

    fn on_lose_leadership(&mut self, epoch: Epoch, cause: &Cause) {
        if let Some(on_lose_leadership) = self.0.on_lose_leadership {
            let event = leasehold_event::lost(epoch, cause);
            calling(|| on_lose_leadership(self.0.user_data, &raw const event));
        }
    }

    fn on_leader_change(&mut self, leader: Option<&str>, epoch: Option<Epoch>) {
        let leader = leader.map(str::to_owned);
        self.on_other(Event::LeaderChanged { leader, epoch });
    }

    fn on_connect(&mut self, server: &str) {
        self.on_other(Event::Connected { server: server.to_owned() });
    }

    fn on_disconnect(&mut self, error: &StoreError) {
        self.on_other(Event::Disconnected { error: error.clone() });
    }

    fn on_other(&mut self, event: Event) {
        self.send(&leasehold_event::of(&event));
    }
}

impl Drop for Callbacks {
    fn drop(&mut self) {
        if let Some(release) = self.0.release {
            calling(|| release(self.0.user_data));
        }
    }
}
