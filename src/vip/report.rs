//! What a holder tells: events to who listens, lines to the log, figures to who asks.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::address::{MacAddress, VirtualAddress};
use super::error::Fault;

/// Something that happened to a virtual IP.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum VipEvent {
    /// The address is on the interface and was announced.
    Acquired {
        /// Which address.
        address: VirtualAddress,
    },
    /// The address had gone, by somebody's hand or the kernel's, and was put back and announced.
    Recreated {
        /// Which address.
        address: VirtualAddress,
    },
    /// The link changed under the address (carrier, hardware address): it was announced again.
    LinkChanged {
        /// Which address.
        address: VirtualAddress,
        /// Whether the link can carry frames now.
        running: bool,
    },
    /// The address was removed because its holder said so.
    Released {
        /// Which address.
        address: VirtualAddress,
    },
    /// The address was removed because its lease is over.
    Expired {
        /// Which address.
        address: VirtualAddress,
    },
    /// The address could not be held, or not be removed. The same fault is told once in a row.
    Failed {
        /// Which address.
        address: VirtualAddress,
        /// What happened.
        fault: Fault,
    },
    /// Another host uses the address while we hold it. We announced it again, at most every 10 s
    /// (RFC 5227, section 2.4).
    Conflict {
        /// Which address.
        address: VirtualAddress,
        /// The other host.
        mac: MacAddress,
    },
    /// The machine slept. Every address was removed and is put back if the lease still holds.
    Suspended {
        /// For how long.
        slept: Duration,
    },
}

/// Counts since a holder was built.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct VipStats {
    /// Addresses put on an interface, or adopted, at acquisition.
    pub acquired: u64,
    /// Lifetimes renewed.
    pub refreshed: u64,
    /// Addresses put back after they had gone.
    pub recreated: u64,
    /// Addresses removed by us.
    pub removed: u64,
    /// Announcements sent.
    pub announced: u64,
    /// Sightings of another host with one of our addresses.
    pub conflicts: u64,
    /// Operations that failed.
    pub failed: u64,
    /// Events dropped, oldest first, because nobody read them.
    pub events_missed: u64,
}

/// Events kept for a reader that does not come; older ones give way.
const MOST_EVENTS: usize = 64;

#[derive(Debug)]
pub(super) struct Report {
    pub(super) stats: VipStats,
    sender: Sender<VipEvent>,
    receiver: Receiver<VipEvent>,
}

impl Report {
    pub(super) fn new() -> Self {
        let (sender, receiver) = bounded(MOST_EVENTS);
        Self { stats: VipStats::default(), sender, receiver }
    }

    pub(super) fn events(&self) -> Receiver<VipEvent> {
        self.receiver.clone()
    }

    pub(super) fn tell(&mut self, event: VipEvent) {
        self.count(&event);
        write_log(&event);
        let mut event = event;
        while let Err(TrySendError::Full(back)) = self.sender.try_send(event) {
            if self.receiver.try_recv().is_ok() {
                self.stats.events_missed += 1;
            }
            event = back;
        }
    }

    fn count(&mut self, event: &VipEvent) {
        match event {
            VipEvent::Acquired { .. } => self.stats.acquired += 1,
            VipEvent::Recreated { .. } => self.stats.recreated += 1,
            VipEvent::Released { .. } | VipEvent::Expired { .. } => self.stats.removed += 1,
            VipEvent::LinkChanged { .. }
            | VipEvent::Suspended { .. }
            | VipEvent::Conflict { .. }
            | VipEvent::Failed { .. } => {}
        }
    }
}

fn write_log(event: &VipEvent) {
    use log::{info, warn};
    match event {
        VipEvent::Acquired { address } => info!(address:%; "virtual IP acquired"),
        VipEvent::Released { address } => info!(address:%; "virtual IP released"),
        VipEvent::Recreated { address } => warn!(address:%; "virtual IP had gone, put back"),
        VipEvent::Expired { address } => warn!(address:%; "virtual IP removed, lease over"),
        VipEvent::LinkChanged { address, running } => {
            info!(address:%, running; "link of virtual IP changed");
        }
        VipEvent::Failed { address, fault } => warn!(address:%, fault:%; "virtual IP failed"),
        VipEvent::Conflict { address, mac } => {
            warn!(address:%, mac:%; "another host uses our virtual IP");
        }
        VipEvent::Suspended { slept } => warn!(slept:?; "machine slept, virtual IPs re-checked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_reader_the_newest_events_are_kept_and_the_rest_is_counted() {
        let mut report = Report::new();
        for seconds in 0..100 {
            report.tell(VipEvent::Suspended { slept: Duration::from_secs(seconds) });
        }
        let kept: Vec<_> = report.events().try_iter().collect();
        assert_eq!(kept.len(), MOST_EVENTS);
        assert_eq!(kept[0], VipEvent::Suspended { slept: Duration::from_secs(36) });
        assert_eq!(report.stats.events_missed, 36);
    }
}
