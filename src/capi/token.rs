//! Tokens: the right to act as leader of one term.

use std::ffi::c_char;

use super::code::leasehold_code::LEASEHOLD_E_NOT_LEADER;
use super::code::{Failure, call, leasehold_code, value};
use super::handle::{self, Handle};
use super::node::leasehold_node;
use super::text::{not_null, store, text_out};
use crate::clock::millis;
use crate::leadership::{Leadership, TermCell};

/// The right to act as leader of one term. Free it with `leasehold_token_free`.
#[derive(Debug)]
pub struct leasehold_token(());

impl Handle for leasehold_token {
    const KIND: usize = 3;
    const NAME: &'static str = "token";
    type Object = Leadership;

    fn term(token: &Leadership) -> Option<(&TermCell, u64)> {
        Some((&token.cell, token.epoch().as_u64()))
    }
}

/// Stores a token of the current term in `*token`. Free it with `leasehold_token_free`; it may
/// exist longer than the node. `LEASEHOLD_E_NOT_LEADER` if the node does not lead. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_token_acquire(
    node: *const leasehold_node,
    token: *mut *mut leasehold_token,
) -> leasehold_code {
    call(|| {
        not_null(token, "token")?;
        let leadership = handle::get(node)?.handle.leadership();
        let not_leading = || Failure::new(LEASEHOLD_E_NOT_LEADER, "not the leader");
        let handle = handle::insert(leadership.ok_or_else(not_leading)?)?;
        // SAFETY: by the function's contract.
        unsafe { store(token, handle, "token") }
    })
}

/// Whether the token's term is in force now. Once false, it stays false. False for an invalid
/// handle, and in a forked child. Never blocks, takes no lock and makes no system call; a signal
/// handler may call it.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_token_is_valid(token: *const leasehold_token) -> bool {
    handle::is_in_force(token)
}

/// The epoch of the term, as fencing token: send it with every effect. 0 for an invalid handle.
/// Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_token_epoch(token: *const leasehold_token) -> u64 {
    value(|| Ok(handle::get(token)?.epoch().as_u64()))
}

/// How long the term lasts without another renewal, in milliseconds, rounded down. 0 when it has
/// ended, and for an invalid handle. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_token_remaining_ms(token: *const leasehold_token) -> u64 {
    value(|| Ok(millis(handle::get(token)?.remaining())))
}

/// Stores the session of the term, 32 hexadecimal digits, for resources that check it in addition
/// to the epoch. `buffer`, `size` and `length` as for `leasehold_leader`. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_token_session(
    token: *const leasehold_token,
    buffer: *mut c_char,
    size: usize,
    length: *mut usize,
) -> leasehold_code {
    call(|| {
        let session = handle::get(token)?.session().to_string();
        // SAFETY: by the function's contract.
        unsafe { text_out(&session, buffer, size, length) }
    })
}

/// Frees a token. Ignores null. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_token_free(token: *mut leasehold_token) -> leasehold_code {
    call(|| handle::free(token))
}
