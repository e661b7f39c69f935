//! The status and the counters of a node.

use std::ffi::c_char;

use super::code::{Result, call, leasehold_code};
use super::event::LEASEHOLD_NODE_ID_SIZE;
use super::handle;
use super::node::leasehold_node;
use super::text::{Sized32, cut, fill, size_of_callers, text_out};
use crate::clock::millis;
use crate::event::Role;
use crate::lease::Epoch;
use crate::node::{NodeHandle, Stats, Status};

/// The status of a node. Set `size` to `sizeof` before the call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct leasehold_status {
    /// `sizeof(leasehold_status)`.
    pub size: u32,
    /// The node leads.
    pub leads: bool,
    /// The node is stepping down.
    pub resigning: bool,
    /// The node is connected to a server.
    pub connected: bool,
    /// The highest epoch seen; 0 before the first.
    pub epoch: u64,
    /// The newest known revision of the record; 0 before the first.
    pub revision: u64,
    /// The known leader, or empty.
    pub leader: [c_char; LEASEHOLD_NODE_ID_SIZE],
}

/// Counters since the node's start. Set `size` to `sizeof` before the call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct leasehold_stats {
    /// `sizeof(leasehold_stats)`.
    pub size: u32,
    /// Terms of this node.
    pub terms: u64,
    /// Successful renewals.
    pub renewals: u64,
    /// Requests that the server refused.
    pub failures: u64,
    /// Requests whose outcome was unknown at first.
    pub unknown_outcomes: u64,
    /// Writes that lost against another write.
    pub lost_races: u64,
    /// Connections after the first.
    pub reconnects: u64,
    /// Connections that were given up because the server did not answer.
    pub abandoned_connections: u64,
    /// Events that were dropped because they were not taken in time; 0 while the program has not
    /// asked for events. Callbacks get `LEASEHOLD_MISSED` for theirs.
    pub events_missed: u64,
    /// The round trip of the last answered request, in microseconds.
    pub last_round_trip_us: u64,
    /// How long the held lease lasts without another renewal, in milliseconds; 0 without a lease.
    pub remaining_ms: u64,
}

// SAFETY: `repr(C)`, its first field is its size, and zero is a value of every field.
unsafe impl Sized32 for leasehold_status {
    const FIRST: usize = 288;
    const NAME: &'static str = "leasehold_status";
}
const _: () = assert!(leasehold_status::FIRST == size_of::<leasehold_status>());

// SAFETY: as above.
unsafe impl Sized32 for leasehold_stats {
    const FIRST: usize = 88;
    const NAME: &'static str = "leasehold_stats";
}
const _: () = assert!(leasehold_stats::FIRST == size_of::<leasehold_stats>());

impl leasehold_status {
    fn of(status: &Status) -> Self {
        Self {
            size: 0,
            leads: status.role == Role::Leader,
            resigning: status.resigning,
            connected: status.connected,
            epoch: status.epoch.map_or(0, Epoch::as_u64),
            revision: status.revision,
            leader: cut(status.leader.as_deref().unwrap_or_default()),
        }
    }
}

impl leasehold_stats {
    fn of(stats: &Stats) -> Self {
        Self {
            size: 0,
            terms: stats.terms,
            renewals: stats.renewals,
            failures: stats.failures,
            unknown_outcomes: stats.unknown_outcomes,
            lost_races: stats.lost_races,
            reconnects: stats.reconnects,
            abandoned_connections: stats.abandoned_connections,
            events_missed: stats.events_missed,
            last_round_trip_us: u64::try_from(stats.last_round_trip.as_micros())
                .unwrap_or(u64::MAX),
            remaining_ms: millis(stats.remaining),
        }
    }
}

/// Stores the status. `status->size` must be set. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_get_status(
    node: *const leasehold_node,
    status: *mut leasehold_status,
) -> leasehold_code {
    // SAFETY: by the function's contract.
    call(|| unsafe { read(node, status, |node| leasehold_status::of(&node.status())) })
}

/// Stores the counters. `stats->size` must be set. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_get_stats(
    node: *const leasehold_node,
    stats: *mut leasehold_stats,
) -> leasehold_code {
    // SAFETY: by the function's contract.
    call(|| unsafe { read(node, stats, |node| leasehold_stats::of(&node.stats())) })
}

/// # Safety
/// `place` is null, or points to a struct whose size is in its first field.
unsafe fn read<T: Sized32>(
    node: *const leasehold_node,
    place: *mut T,
    of: impl FnOnce(&NodeHandle) -> T,
) -> Result<()> {
    // SAFETY: by the function's contract.
    unsafe { size_of_callers(place) }?;
    let value = of(&handle::get(node)?.handle);
    // SAFETY: by the function's contract.
    unsafe { fill(place, value) }
}

/// Stores the status and the counters in the text format of Prometheus, about 8 KiB. `buffer`,
/// `size` and `length` as for `leasehold_leader`. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_metrics(
    node: *const leasehold_node,
    buffer: *mut c_char,
    size: usize,
    length: *mut usize,
) -> leasehold_code {
    call(|| {
        let text = handle::get(node)?.handle.open_metrics();
        // SAFETY: by the function's contract.
        unsafe { text_out(&text, buffer, size, length) }
    })
}
