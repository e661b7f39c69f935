//! What a process costs.

use std::fs;

/// Memory and descriptors of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// Kibibytes in memory.
    pub(crate) resident: u64,
    /// Open descriptors.
    pub(crate) descriptors: usize,
    /// Threads.
    pub(crate) threads: usize,
}

impl Footprint {
    /// That of a process that lives.
    pub(crate) fn of(process: u32) -> Self {
        let entries = |what: &str| {
            let folder = fs::read_dir(format!("/proc/{process}/{what}"));
            folder.map_or(0, Iterator::count)
        };
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        Self {
            resident: resident.unwrap_or(0),
            descriptors: entries("fd"),
            threads: entries("task"),
        }
    }

    /// Whether something leaks from here to `later`: more than what allocators and a connection
    /// that is being replaced account for.
    pub(crate) fn has_grown(self, later: Self) -> bool {
        const MEMORY: u64 = 16 * 1024;
        const COUNT: usize = 8;
        later.resident > self.resident + MEMORY
            || later.descriptors > self.descriptors + COUNT
            || later.threads > self.threads + COUNT
    }
}
