//! A node at one moment, and its counters.

use std::ffi::c_char;

use super::code::{call, leasehold_code};
use super::event::LEASEHOLD_NODE_ID_SIZE;
use super::handle;
use super::node::leasehold_node;
use super::text::{Sized32, cut, fill, millis, size_of_callers, text_out};
use crate::event::Role;
use crate::lease::Epoch;
use crate::node::{Stats, Status};

/// A node at one moment. Set `size` to `sizeof` before it is filled.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct leasehold_status {
    /// `sizeof(leasehold_status)`.
    pub size: u32,
    /// Whether it leads.
    pub leads: bool,
    /// Whether it is giving a term back.
    pub resigning: bool,
    /// Whether there is a connection.
    pub connected: bool,
    /// The highest epoch seen, or 0.
    pub epoch: u64,
    /// The newest revision known, or 0.
    pub revision: u64,
    /// Who leads, as far as is known, or empty.
    pub leader: [c_char; LEASEHOLD_NODE_ID_SIZE],
}

/// Counters since the start. Set `size` to `sizeof` before it is filled.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct leasehold_stats {
    /// `sizeof(leasehold_stats)`.
    pub size: u32,
    /// Terms led.
    pub terms: u64,
    /// Renewals that moved the deadline.
    pub renewals: u64,
    /// Requests the server refused.
    pub failures: u64,
    /// Requests whose outcome was not known at first.
    pub unknown_outcomes: u64,
    /// Writes that came second.
    pub lost_races: u64,
    /// Connections made after the first.
    pub reconnects: u64,
    /// Connections given up because nothing was answered.
    pub abandoned_connections: u64,
    /// Events dropped because nobody took them; 0 while nobody has asked for any. What callbacks
    /// missed is told to them, by `LEASEHOLD_MISSED`.
    pub events_missed: u64,
    /// From sending the newest request to its answer, in microseconds.
    pub last_round_trip_us: u64,
    /// How long a held lease lasts without another renewal, in milliseconds; 0 when none is held.
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

/// Everything at one moment. `status->size` must be set. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_get_status(
    node: *const leasehold_node,
    status: *mut leasehold_status,
) -> leasehold_code {
    call(|| {
        // SAFETY: the caller's word.
        unsafe { size_of_callers(status) }?;
        let found = handle::get(node)?.handle.status();
        // SAFETY: the caller's word.
        unsafe { fill(status, leasehold_status::of(&found)) }
    })
}

/// Counters since the start. `stats->size` must be set. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_get_stats(
    node: *const leasehold_node,
    stats: *mut leasehold_stats,
) -> leasehold_code {
    call(|| {
        // SAFETY: the caller's word.
        unsafe { size_of_callers(stats) }?;
        let found = handle::get(node)?.handle.stats();
        // SAFETY: the caller's word.
        unsafe { fill(stats, leasehold_stats::of(&found)) }
    })
}

/// Status and counters as text that Prometheus and its kin read. As `leasehold_leader`; some 8 KiB.
/// Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_metrics(
    node: *const leasehold_node,
    buffer: *mut c_char,
    size: usize,
    length: *mut usize,
) -> leasehold_code {
    call(|| {
        let text = handle::get(node)?.handle.open_metrics();
        // SAFETY: the caller's word.
        unsafe { text_out(&text, buffer, size, length) }
    })
}
