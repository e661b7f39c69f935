//! The C API: `leasehold.h` and the two C libraries, feature `capi`.
//!
//! This module is for C: its names are those of the header. Rust programs use
//! [`Node`](crate::Node). The header is generated from these sources; a test fails when it is
//! stale.
//!
//! ```sh
//! make -C src/capi                         # libleasehold.so and libleasehold.a
//! make -C src/capi install PREFIX=/usr/local
//! ```
//!
//! # Handles
//! To C a handle is a pointer to an opaque struct. It is really a number that identifies an object
//! in a table, and is never dereferenced. So a handle that was freed, forged or mixed up with
//! another is an error code, not a crash.
//!
//! # What cannot be checked
//! The caller must ensure that a text ends with a zero byte, that a buffer or struct is as large as
//! stated, that no other thread changes them during the call, that no callback throws or jumps out,
//! and that the library's descriptor is not closed. Otherwise the behaviour is undefined, as for
//! any C function.
//!
//! # Rules of every function
//! * A panic does not leave it: the code is
//!   [`LEASEHOLD_E_PANIC`](leasehold_code::LEASEHOLD_E_PANIC).
//! * Any thread may call it, several at once, and callbacks too, unless its documentation says
//!   otherwise.
//! * It keeps no pointer after the call except `user_data` and functions; texts are copied.
//! * In a forked child of the process that first used the library, `leasehold_is_leader` and
//!   `leasehold_token_is_valid` return false, and every other call returns
//!   [`LEASEHOLD_E_FORKED`](leasehold_code::LEASEHOLD_E_FORKED) at once, without a lock.
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
