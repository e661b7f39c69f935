//! The reports of a holder: events, log lines and counters.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::address::{MacAddress, VirtualAddress};
use super::error::Fault;

/// An event of a virtual IP.
///
/// ```
/// use std::time::Duration;
/// use leasehold::vip::{MacAddress, VipEvent};
///
/// # let clock = leasehold::clock::Clock::manual(leasehold::clock::Timestamp::from_nanos(1));
/// # let host = leasehold::vip::Memory::new(clock.clone(), ["eth0"]);
/// # let address = leasehold::vip::VirtualAddress::new("10.0.0.10".parse()?, "eth0")?;
/// # let mut holder = leasehold::vip::Holder::with_backend(
/// #     vec![address.clone()],
/// #     leasehold::vip::Policy::default(),
/// #     clock.clone(),
/// #     host.clone(),
/// # )?;
/// holder.acquire(clock.now() + Duration::from_secs(8))?;
/// host.rival(address.ip(), MacAddress([2, 0, 0, 0, 0, 7]));
/// holder.tick();
/// for event in holder.events().try_iter() {
///     match event {
///         VipEvent::Conflict { address, mac } => eprintln!("{mac} uses {address} too"),
///         event => println!("{event:?}"),
///     }
/// }
/// # assert_eq!(holder.stats().conflicts, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum VipEvent {
    /// The address is on the interface and was announced.
    Acquired {
        /// Which address.
        address: VirtualAddress,
    },
    /// The address was gone, removed by another program or the kernel. It was put back and
    /// announced.
    Recreated {
        /// Which address.
        address: VirtualAddress,
    },
    /// The interface changed (its carrier or hardware address), and the address was announced
    /// again.
    InterfaceChanged {
        /// Which address.
        address: VirtualAddress,
        /// Whether the interface can send frames now.
        running: bool,
    },
    /// The address was removed because the holder was told to release it.
    Released {
        /// Which address.
        address: VirtualAddress,
    },
    /// The address was removed because its lease has ended.
    Expired {
        /// Which address.
        address: VirtualAddress,
    },
    /// The address could not be held or removed. The same kind of fault is reported once in a row.
    Failed {
        /// Which address.
        address: VirtualAddress,
        /// Why.
        fault: Fault,
    },
    /// Another host uses the held address. It was announced again, at most once in 10 s (RFC 5227,
    /// section 2.4).
    Conflict {
        /// Which address.
        address: VirtualAddress,
        /// The other host's link-layer address.
        mac: MacAddress,
    },
    /// The machine slept. Every address was removed, and is put back if the lease still holds.
    Suspended {
        /// How long it slept.
        slept: Duration,
    },
}

/// Counters since a holder was built.
///
/// ```
/// use std::time::Duration;
///
/// # let clock = leasehold::clock::Clock::manual(leasehold::clock::Timestamp::from_nanos(1));
/// # let host = leasehold::vip::Memory::new(clock.clone(), ["eth0"]);
/// # let address = leasehold::vip::VirtualAddress::new("10.0.0.10".parse()?, "eth0")?;
/// # let mut holder = leasehold::vip::Holder::with_backend(
/// #     vec![address.clone()],
/// #     leasehold::vip::Policy::default(),
/// #     clock.clone(),
/// #     host.clone(),
/// # )?;
/// holder.acquire(clock.now() + Duration::from_secs(8))?;
/// holder.release()?;
/// let stats = holder.stats();
/// assert_eq!((stats.acquired, stats.removed, stats.failed), (1, 1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct VipStats {
    /// Addresses added to an interface, or adopted, at acquisition.
    pub acquired: u64,
    /// Lifetimes renewed.
    pub refreshed: u64,
    /// Addresses put back after they were gone.
    pub recreated: u64,
    /// Addresses that the holder removed.
    pub removed: u64,
    /// Announcements sent.
    pub announced: u64,
    /// Frames of other hosts that use one of the addresses.
    pub conflicts: u64,
    /// Operations that failed.
    pub failed: u64,
    /// Events that were dropped, oldest first, because no receiver took them.
    pub events_missed: u64,
}

/// The length of the event queue; then the oldest event is dropped.
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

    pub(super) fn event(&mut self, event: VipEvent) {
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
            VipEvent::InterfaceChanged { .. }
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
        VipEvent::Recreated { address } => warn!(address:%; "virtual IP was gone, put back"),
        VipEvent::Expired { address } => {
            warn!(address:%; "virtual IP removed, its lease has ended");
        }
        VipEvent::InterfaceChanged { address, running } => {
            info!(address:%, running; "interface of virtual IP changed");
        }
        VipEvent::Failed { address, fault } => warn!(address:%, fault:%; "virtual IP failed"),
        VipEvent::Conflict { address, mac } => {
            warn!(address:%, mac:%; "another host uses the virtual IP");
        }
        VipEvent::Suspended { slept } => {
            warn!(slept:?; "the machine slept, virtual IPs are checked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_receiver_the_newest_events_are_kept_and_the_others_counted() {
        let mut report = Report::new();
        for seconds in 0..100 {
            report.event(VipEvent::Suspended { slept: Duration::from_secs(seconds) });
        }
        let kept: Vec<_> = report.events().try_iter().collect();
        assert_eq!(kept.len(), MOST_EVENTS);
        assert_eq!(kept[0], VipEvent::Suspended { slept: Duration::from_secs(36) });
        assert_eq!(report.stats.events_missed, 36);
    }
}
