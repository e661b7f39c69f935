//! The reports of a holder: events, log lines and counters.

use std::fmt;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use log::Level;

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
    /// again. Or the link was down when the address was acquired.
    InterfaceChanged {
        /// Which address.
        address: VirtualAddress,
        /// Whether the link is up: the interface can send frames. While it is down no other host
        /// reaches the address.
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
    /// The address was removed because another one of the same holder cannot be held: all are held
    /// or none.
    Withdrawn {
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

impl VipEvent {
    /// The level at which it is logged.
    pub(crate) fn level(&self) -> Level {
        match self {
            Self::Acquired { .. }
            | Self::Released { .. }
            | Self::InterfaceChanged { running: true, .. } => Level::Info,
            _ => Level::Warn,
        }
    }
}

impl fmt::Display for VipEvent {
    /// One line that continues the name of the node: `holds virtual IP 10.0.0.10/32 on eth0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acquired { address } => write!(f, "holds virtual IP {address}"),
            Self::Recreated { address } => {
                write!(f, "has put back virtual IP {address}, which was gone")
            }
            Self::InterfaceChanged { address, running: true } => {
                write!(f, "sees the link of virtual IP {address} up")
            }
            Self::InterfaceChanged { address, running: false } => {
                write!(f, "sees the link of virtual IP {address} down: no host reaches it")
            }
            Self::Released { address } => write!(f, "has removed virtual IP {address}"),
            Self::Expired { address } => {
                write!(f, "has removed virtual IP {address}: its lease has ended")
            }
            Self::Withdrawn { address } => {
                write!(f, "has removed virtual IP {address}: another one cannot be held")
            }
            Self::Failed { address, fault } => {
                write!(f, "has a problem with virtual IP {address}: {fault}")
            }
            Self::Conflict { address, mac } => {
                write!(f, "shares virtual IP {address} with another host: {mac}")
            }
            Self::Suspended { slept } => {
                write!(f, "has slept for {slept:?}; its virtual IPs are checked")
            }
        }
    }
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

/// Takes the events of a holder that a node has. False once the node does not log them any more.
pub(super) type Forward = Box<dyn Fn(VipEvent) -> bool + Send>;

pub(super) struct Report {
    pub(super) stats: VipStats,
    sender: Sender<VipEvent>,
    receiver: Receiver<VipEvent>,
    /// Logs the events too. Without it they are logged here.
    forward: Option<Forward>,
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").field("stats", &self.stats).finish_non_exhaustive()
    }
}

impl Report {
    pub(super) fn new() -> Self {
        let (sender, receiver) = bounded(MOST_EVENTS);
        Self { stats: VipStats::default(), sender, receiver, forward: None }
    }

    pub(super) fn events(&self) -> Receiver<VipEvent> {
        self.receiver.clone()
    }

    /// Gives `forward` all later events too.
    pub(super) fn forward(&mut self, forward: Forward) {
        self.forward = Some(forward);
    }

    pub(super) fn event(&mut self, event: VipEvent) {
        self.count(&event);
        if !self.forward.as_ref().is_some_and(|forward| forward(event.clone())) {
            log::log!(event.level(), "this host {event}");
        }
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
            VipEvent::Released { .. } | VipEvent::Expired { .. } | VipEvent::Withdrawn { .. } => {
                self.stats.removed += 1;
            }
            VipEvent::InterfaceChanged { .. }
            | VipEvent::Suspended { .. }
            | VipEvent::Conflict { .. }
            | VipEvent::Failed { .. } => {}
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
