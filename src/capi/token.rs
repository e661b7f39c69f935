//! Tokens: the right to act as leader of one term.

use std::ffi::c_char;

use super::code::leasehold_code::LEASEHOLD_E_NOT_LEADER;
use super::code::{Failure, call, leasehold_code};
use super::handle::{self, Handle};
use super::node::leasehold_node;
use super::text::{millis, not_null, store, text_out};
use crate::leadership::{Leadership, TermCell};

/// The right to act as leader of one term. Freed with `leasehold_token_free`.
#[derive(Debug)]
pub struct leasehold_token(());

impl Handle for leasehold_token {
    const KIND: usize = 3;
    const NAME: &'static str = "token";
    type Object = Leadership;

    fn term(token: &Leadership) -> Option<(&TermCell, u64)> {
        Some((token.cell(), token.epoch().as_u64()))
    }
}

/// The token of the present term. `*token` is the caller's, to be freed with
/// `leasehold_token_free`; it may outlive the node. `LEASEHOLD_E_NOT_LEADER` when the node does not
/// lead. Does not block.
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
        // SAFETY: the caller's word.
        unsafe { store(token, handle, "token") }
    })
}

/// Whether the token's term is in force now. Once false, false for ever; false for a void handle,
/// and in a forked child. Never blocks, takes no lock, makes no system call; may be called from a
/// signal handler.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_token_is_valid(token: *const leasehold_token) -> bool {
    handle::is_in_force(token)
}

/// The term's fencing number: send it along with every effect. 0 for a void handle. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_token_epoch(token: *const leasehold_token) -> u64 {
    let mut epoch = 0;
    call(|| {
        epoch = handle::get(token)?.epoch().as_u64();
        Ok(())
    });
    epoch
}

/// How long the term lasts if no renewal succeeds, in milliseconds, rounded down; 0 once it has
/// ended, and for a void handle. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_token_remaining_ms(token: *const leasehold_token) -> u64 {
    let mut remaining = 0;
    call(|| {
        remaining = millis(handle::get(token)?.remaining());
        Ok(())
    });
    remaining
}

/// The session that leads, 32 hexadecimal digits, for gates that check it beside the epoch. As
/// `leasehold_leader`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_token_session(
    token: *const leasehold_token,
    buffer: *mut c_char,
    size: usize,
    length: *mut usize,
) -> leasehold_code {
    call(|| {
        let session = handle::get(token)?.session().to_string();
        // SAFETY: the caller's word.
        unsafe { text_out(&session, buffer, size, length) }
    })
}

/// Frees a token. Null is ignored. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_token_free(token: *mut leasehold_token) -> leasehold_code {
    call(|| handle::free(token))
}
