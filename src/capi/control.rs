//! Reads of a running node, and commands to it.

use std::ffi::c_char;

use super::code::leasehold_code::LEASEHOLD_NOTHING;
use super::code::{Failure, call, leasehold_code, value};
use super::handle;
use super::node::leasehold_node;
use super::text::{json_in, text_in, text_out, timeout};
use crate::health::Responder;
use crate::lease::Epoch;

/// Whether the node leads now: a comparison of the clock with the term's deadline. False for an
/// invalid handle, and in a forked child. Never blocks, takes no lock and makes no system call; a
/// signal handler may call it.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_is_leader(node: *const leasehold_node) -> bool {
    handle::is_in_force(node)
}

/// The highest epoch that the node has seen, of any leader. For fencing, use the epoch of a token
/// or of `LEASEHOLD_BECAME_LEADER` instead. 0 before the first, and for an invalid handle. Does not
/// block.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_epoch(node: *const leasehold_node) -> u64 {
    value(|| Ok(handle::get(node)?.handle.epoch().map_or(0, Epoch::as_u64)))
}

/// Stores the leader's node id with a zero byte in `buffer`, which has `size` bytes:
/// `LEASEHOLD_NODE_ID_SIZE` is always enough. Its length without the zero byte is stored in
/// `*length`, unless `length` is null. `LEASEHOLD_NOTHING` if no leader is known;
/// `LEASEHOLD_E_BUFFER` if the buffer is too small. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_leader(
    node: *const leasehold_node,
    buffer: *mut c_char,
    size: usize,
    length: *mut usize,
) -> leasehold_code {
    call(|| {
        let leader = handle::get(node)?.handle.leader();
        let leader = leader.ok_or_else(|| Failure::new(LEASEHOLD_NOTHING, "no leader is known"))?;
        // SAFETY: by the function's contract.
        unsafe { text_out(&leader, buffer, size, length) }
    })
}

/// Waits until a leader is known, for at most `timeout_ms`; a negative number is no limit.
/// `LEASEHOLD_E_TIMED_OUT`, `LEASEHOLD_E_STOPPED`.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_wait_for_leader(
    node: *const leasehold_node,
    timeout_ms: i64,
) -> leasehold_code {
    call(|| Ok(handle::get(node)?.handle.wait_for_leader(timeout(timeout_ms)).map(drop)?))
}

/// Waits until this node leads. As `leasehold_wait_for_leader`.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_wait_for_leadership(
    node: *const leasehold_node,
    timeout_ms: i64,
) -> leasehold_code {
    call(|| Ok(handle::get(node)?.handle.wait_for_leadership(timeout(timeout_ms)).map(drop)?))
}

/// Makes the node step down. When this returns, `leasehold_is_leader` is false. The lease is
/// released after the work has drained, and the node does not challenge during its cooldown
/// (default: the TTL). Blocks until the node's thread has taken the command, at most 5 s:
/// after `LEASEHOLD_E_TIMED_OUT` it may still step down. `LEASEHOLD_E_NOT_LEADER`,
/// `LEASEHOLD_E_STOPPED`.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_step_down(node: *mut leasehold_node) -> leasehold_code {
    call(|| Ok(handle::get(node)?.handle.step_down()?))
}

/// As `leasehold_step_down`, and the node `node_id` takes over. `LEASEHOLD_E_TO_ITSELF`;
/// `LEASEHOLD_E_CONFIG` for an invalid node id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_transfer(
    node: *mut leasehold_node,
    node_id: *const c_char,
) -> leasehold_code {
    call(|| {
        let object = handle::get(node)?;
        // SAFETY: by the function's contract.
        Ok(object.handle.transfer_to(unsafe { text_in(node_id, "node_id") }?)?)
    })
}

/// Ends the cooldown: the node takes part in the election again. Blocks until the node's thread has
/// taken the command. `LEASEHOLD_E_RESIGNING`, `LEASEHOLD_E_UNHEALTHY`, `LEASEHOLD_E_STOPPED`.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_promote(node: *mut leasehold_node) -> leasehold_code {
    call(|| Ok(handle::get(node)?.handle.promote()?))
}

/// Sets whether the node is healthy, which it is at first. An unhealthy node does not challenge,
/// and steps down if it leads. Blocks until the node's thread has taken the command.
/// `LEASEHOLD_E_STOPPED`.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_set_healthy(
    node: *mut leasehold_node,
    healthy: bool,
) -> leasehold_code {
    call(|| {
        let object = handle::get(node)?;
        object.check_running()?;
        object.handle.set_healthy(healthy);
        Ok(())
    })
}

/// Sets a JSON value that this node puts into the record when it leads, such as an address; at most
/// 4096 bytes, and `null` for no value. Blocks until the node's thread has taken the command.
/// `LEASEHOLD_E_STOPPED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_set_meta(
    node: *mut leasehold_node,
    json: *const c_char,
) -> leasehold_code {
    call(|| {
        let object = handle::get(node)?;
        // SAFETY: by the function's contract.
        let meta = unsafe { json_in(json, "meta") }?;
        object.check_running()?;
        Ok(object.handle.set_meta(Some(meta))?)
    })
}

/// Stores the JSON value of the newest record. As `leasehold_leader`; `LEASEHOLD_NOTHING` if there
/// is no value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_leader_meta(
    node: *const leasehold_node,
    buffer: *mut c_char,
    size: usize,
    length: *mut usize,
) -> leasehold_code {
    call(|| {
        let meta = handle::get(node)?.handle.leader_meta();
        let meta =
            meta.ok_or_else(|| Failure::new(LEASEHOLD_NOTHING, "the record has no value"))?;
        // SAFETY: by the function's contract.
        unsafe { text_out(&meta.to_string(), buffer, size, length) }
    })
}

/// Answers health queries for this node on `cluster.<cluster>.health.<node>` until the node stops.
/// The responses come from a thread and a connection of their own, also while the node's thread
/// hangs. A second call does nothing. Does not wait for the connection.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_serve_health(node: *mut leasehold_node) -> leasehold_code {
    call(|| {
        let object = handle::get(node)?;
        let mut health = object.health.lock();
        object.check_running()?;
        if health.is_none() {
            *health = Some(Responder::of(object.handle.clone())?);
        }
        Ok(())
    })
}
