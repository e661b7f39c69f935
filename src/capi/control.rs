//! What is asked of a running node.

use std::ffi::c_char;

use super::code::leasehold_code::LEASEHOLD_NOTHING;
use super::code::{Failure, call, leasehold_code};
use super::handle;
use super::node::leasehold_node;
use super::text::{json_in, text_in, text_out, timeout};
use crate::health::Responder;
use crate::lease::Epoch;

/// Whether the node leads now: a comparison of the clock with the term's deadline. False for a void
/// handle, and in a forked child. Never blocks, takes no lock, makes no system call; may be called
/// from a signal handler.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_is_leader(node: *const leasehold_node) -> bool {
    handle::is_in_force(node)
}

/// The highest epoch that the node has seen, whoever's it is: to fence effects with, take a token's
/// or that of `LEASEHOLD_BECAME_LEADER`. 0 before anything is known, and for a void handle. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_epoch(node: *const leasehold_node) -> u64 {
    let mut epoch = 0;
    call(|| {
        epoch = handle::get(node)?.handle.epoch().map_or(0, Epoch::as_u64);
        Ok(())
    });
    epoch
}

/// The leader's node id. `length`, which may be null, becomes its length without the final zero
/// byte. `LEASEHOLD_NOTHING` when no leader is known. `LEASEHOLD_NODE_ID_SIZE` is always enough.
/// Does not block.
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
        // SAFETY: the caller's word.
        unsafe { text_out(&leader, buffer, size, length) }
    })
}

/// Waits until a leader is known, for at most `timeout_ms`; a negative number waits without a
/// bound. `LEASEHOLD_E_TIMED_OUT`, `LEASEHOLD_E_STOPPED`.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_wait_for_leader(
    node: *const leasehold_node,
    timeout_ms: i64,
) -> leasehold_code {
    call(|| {
        handle::get(node)?.handle.wait_for_leader(timeout(timeout_ms))?;
        Ok(())
    })
}

/// Waits until this node leads, as `leasehold_wait_for_leader`.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_wait_for_leadership(
    node: *const leasehold_node,
    timeout_ms: i64,
) -> leasehold_code {
    call(|| {
        handle::get(node)?.handle.wait_for_leadership(timeout(timeout_ms))?;
        Ok(())
    })
}

/// Gives the lead back: `leasehold_is_leader` is false when this returns, the lease is released
/// once the work was drained, and the node stays back for its cooldown (default: the TTL). Waits
/// for the next turn of the node's thread only, and at most 5 s where that hangs; then it may yet
/// be done. `LEASEHOLD_E_NOT_LEADER`, `LEASEHOLD_E_STOPPED`, `LEASEHOLD_E_TIMED_OUT`.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_step_down(node: *mut leasehold_node) -> leasehold_code {
    call(|| Ok(handle::get(node)?.handle.step_down()?))
}

/// As `leasehold_step_down`, for the node `node_id` to take over. `LEASEHOLD_E_TO_ITSELF`,
/// `LEASEHOLD_E_CONFIG` when it is no node id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_transfer(
    node: *mut leasehold_node,
    node_id: *const c_char,
) -> leasehold_code {
    call(|| {
        let object = handle::get(node)?;
        // SAFETY: the caller's word.
        Ok(object.handle.transfer_to(unsafe { text_in(node_id, "node_id") }?)?)
    })
}

/// Ends the cooldown: the node takes part in the election again. Waits for the next turn of the
/// node's thread only. `LEASEHOLD_E_RESIGNING`, `LEASEHOLD_E_UNHEALTHY`, `LEASEHOLD_E_STOPPED`.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_promote(node: *mut leasehold_node) -> leasehold_code {
    call(|| Ok(handle::get(node)?.handle.promote()?))
}

/// Says whether this node is fit to lead, as it is at first. An unfit one does not challenge, and
/// steps down if it leads. Waits for the next turn of the node's thread only.
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

/// A value, as JSON, that the leader's record carries when this node leads: an address, say. `null`
/// is none; at most 4096 bytes. Waits for the next turn of the node's thread only.
/// `LEASEHOLD_E_STOPPED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_set_meta(
    node: *mut leasehold_node,
    json: *const c_char,
) -> leasehold_code {
    call(|| {
        let object = handle::get(node)?;
        // SAFETY: the caller's word.
        let meta = unsafe { json_in(json, "meta") }?;
        object.check_running()?;
        Ok(object.handle.set_meta(Some(meta).filter(|meta| !meta.is_null()))?)
    })
}

/// The value that the newest record carries, as JSON. As `leasehold_leader`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_leader_meta(
    node: *const leasehold_node,
    buffer: *mut c_char,
    size: usize,
    length: *mut usize,
) -> leasehold_code {
    call(|| {
        let meta = handle::get(node)?.handle.leader_meta();
        let meta = meta.ok_or_else(|| Failure::new(LEASEHOLD_NOTHING, "there is no value"))?;
        // SAFETY: the caller's word.
        unsafe { text_out(&meta.to_string(), buffer, size, length) }
    })
}

/// Answers health queries for this node, on `cluster.<cluster>.health.<node>`, until it is stopped:
/// by a thread and a connection of its own, so also while the election hangs. Does nothing at a
/// second call. Does not wait for the connection.
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
