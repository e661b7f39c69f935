//! The C API: `leasehold.h` and the two C libraries, feature `capi`.
//!
//! This module is for C; its names are those of the header, and Rust programs have no use for it.
//! [`Node`](crate::Node) and its neighbours do the work. The header beside this file is generated
//! from these sources, and a test fails when it is stale.
//!
//! ```sh
//! make -C src/capi                         # libleasehold.so and libleasehold.a
//! make -C src/capi install PREFIX=/usr/local
//! ```
//!
//! # Handles
//! What C sees as a pointer to an opaque struct is a number that says where in a table something
//! is, and which of all that were ever there. It is never dereferenced, so a handle that was freed,
//! forged or confused with another is an error code and no crash.
//!
//! # What cannot be checked
//! That a text ends with a zero byte, that a buffer and a struct are as large as they say, and that
//! they are not changed by another thread during the call. Where that is not so the behaviour is
//! undefined, as for any C function. So it is when a callback throws or jumps out, and when
//! somebody closes a descriptor that is the library's.
//!
//! # Rules that every function keeps
//! * No panic leaves it; one that happens is
//!   [`LEASEHOLD_E_PANIC`](leasehold_code::LEASEHOLD_E_PANIC).
//! * It may be called from any thread, also from several at once, and from callbacks except where
//!   its documentation says otherwise.
//! * It keeps no pointer beyond the call except `user_data` and functions; texts are copied.
//! * In a forked child of the process that first used the library, `leasehold_is_leader` and
//!   `leasehold_token_is_valid` are false and every other call is
//!   [`LEASEHOLD_E_FORKED`](leasehold_code::LEASEHOLD_E_FORKED): at once, without a lock.
#![allow(unsafe_code)]
#![allow(non_camel_case_types, reason = "the names are C's")]
#![allow(clippy::missing_safety_doc, reason = "the module's documentation has it, for all")]

mod code;
mod config;
mod control;
mod event;
mod fork;
mod handle;
mod hooks;
mod log;
mod node;
mod stats;
mod text;
mod token;
mod version;

pub use code::{leasehold_code, leasehold_last_error};
pub use config::*;
pub use control::*;
pub use event::*;
pub use hooks::leasehold_hooks;
pub use log::*;
pub use node::*;
pub use stats::*;
pub use token::*;
pub use version::*;
