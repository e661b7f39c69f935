//! The holder: a set of virtual IPs that belong together, and the lease they are held under.

use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::clock::{Clock, Timestamp};

use super::address::VirtualAddress;
use super::backend::Backend;
use super::error::{Fault, VipError};
use super::kernel::Kernel;
use super::managed::{Context, Found, ManagedAddress};
use super::policy::Policy;
use super::report::{Report, VipEvent, VipStats};

/// Addresses are removed this long before the deadline, so that they are gone when it comes.
const REMOVAL_LEAD: Duration = Duration::from_millis(10);

/// The longest a holder goes without a look at its addresses.
const REVIEW_INTERVAL: Duration = Duration::from_millis(500);

/// A jump of the boot-time clock against the kernel's by more than this is a suspend.
const SUSPEND: Duration = Duration::from_millis(100);

/// How an extension found the addresses.
#[derive(Debug)]
#[must_use = "an address that was lost is held by nobody"]
pub enum Extension {
    /// Every address was as we left it; its lifetime was renewed.
    Refreshed,
    /// At least one address had gone; it was put back and announced.
    Recreated,
    /// At least one address is not held, for this reason. The next extension tries again.
    Lost(VipError),
}

/// Holds virtual IPs until a deadline.
///
/// A holder has no thread: [`tick`](Self::tick) does what is due and says when to call it again.
/// [`Worker`](super::Worker) runs a holder on a thread of its own. Dropping a holder removes its
/// addresses. It belongs to the network namespace of the thread that built it, and must be used
/// from threads of that namespace.
///
/// Every method may block while the kernel holds its routing lock (usually for microseconds), and
/// [`acquire`](Self::acquire) and [`extend`](Self::extend) for the time of a probe, if the policy
/// asks for one. Do not call them from a thread that renews a lease.
#[derive(Debug)]
pub struct Holder {
    host: Context,
    managed: Vec<ManagedAddress>,
    /// How long the machine has slept since boot, as far as we know.
    slept: Duration,
}

impl Holder {
    /// A holder of addresses of this host. Opens every socket it will need, and holds nothing yet.
    ///
    /// # Errors
    /// [`VipError::NotPermitted`] without `CAP_NET_ADMIN` or `CAP_NET_RAW`, naming which;
    /// [`VipError::InvalidSet`] without addresses or with one given twice; [`VipError::System`].
    pub fn new(addresses: Vec<VirtualAddress>, policy: Policy) -> Result<Self, VipError> {
        let ipv6 = addresses.iter().any(|address| address.ip().is_ipv6());
        Self::with_backend(addresses, policy, Clock::boot(), Kernel::open(ipv6)?)
    }

    /// A holder over another backend and clock: [`Memory`](super::Memory) for tests and dry runs.
    ///
    /// # Errors
    /// [`VipError::InvalidSet`] without addresses or with one given twice.
    pub fn with_backend(
        addresses: Vec<VirtualAddress>,
        policy: Policy,
        clock: Clock,
        backend: impl Backend + 'static,
    ) -> Result<Self, VipError> {
        check_set(&addresses)?;
        let managed = addresses.into_iter().map(ManagedAddress::new).collect();
        let (backend, report) = (Box::new(backend), Report::new());
        let host = Context { backend, policy, clock, report, deadline: None };
        let mut holder = Self { host, managed, slept: Duration::ZERO };
        holder.slept = (0..3).map(|_| holder.time_asleep()).max().unwrap_or_default();
        Ok(holder)
    }

    /// Puts every address on its interface until `deadline` and announces it.
    ///
    /// Addresses held already keep their lifetime; use [`extend`](Self::extend) for these.
    ///
    /// # Errors
    /// The first address that could not be held. The others are; [`extend`](Self::extend) tries
    /// again, [`release`](Self::release) gives up.
    pub fn acquire(&mut self, deadline: Timestamp) -> Result<(), VipError> {
        self.host.deadline = Some(deadline);
        // What was heard so far comes from who had the addresses before, and is no conflict.
        self.watch();
        let mut first = Ok(());
        self.each(|slot, host| {
            if let Err(fault) = slot.acquire(host, deadline) {
                slot.fail(host, &fault);
                keep_first(&mut first, slot, fault);
            }
        });
        first
    }

    /// Takes note of a renewed lease: every address lives until `deadline`.
    ///
    /// Each is looked at first. One that has gone is put back and announced; one that somebody
    /// replaced is left alone and counts as lost; one that could not be had before is tried again.
    pub fn extend(&mut self, deadline: Timestamp) -> Extension {
        self.host.deadline = Some(deadline);
        self.wake_up();
        self.watch();
        let mut recreated = false;
        let mut first = Ok(());
        self.each(|slot, host| {
            let result = if slot.is_held() {
                slot.review(host, deadline, true)
            } else {
                slot.acquire(host, deadline).map(|()| Found::Recreated)
            };
            match result {
                Ok(found) => recreated |= found == Found::Recreated,
                Err(fault) => {
                    slot.fail(host, &fault);
                    keep_first(&mut first, slot, fault);
                }
            }
        });
        match first {
            Err(error) => Extension::Lost(error),
            Ok(()) if recreated => Extension::Recreated,
            Ok(()) => Extension::Refreshed,
        }
    }

    /// Does what is due: removal at the deadline, announcements, repair of addresses that have
    /// gone. Returns when to call it again at the latest; `None` when nothing is held.
    pub fn tick(&mut self) -> Option<Timestamp> {
        let now = self.host.clock.now();
        let Some(deadline) = self.host.deadline.filter(|deadline| now + REMOVAL_LEAD < *deadline)
        else {
            // What cannot be removed stays held and was told; the next tick tries again.
            let _ = self.release();
            return self.managed.iter().any(ManagedAddress::is_held).then(|| now + REVIEW_INTERVAL);
        };
        if self.wake_up() {
            let _ = self.extend(deadline);
        }
        self.each(|slot, host| {
            if slot.is_held() {
                if let Err(fault) = slot.review(host, deadline, false) {
                    slot.fail(host, &fault);
                }
                slot.announce(host);
            }
        });
        self.watch();
        let announcements =
            self.managed.iter().filter_map(|s| s.next_announcement(&self.host.policy));
        announcements.chain([now + REVIEW_INTERVAL, deadline - REMOVAL_LEAD]).min()
    }

    /// Removes every address that is still ours. What is gone already is no error.
    ///
    /// # Errors
    /// The first address that could not be removed. It counts as held and is tried again by the
    /// next call; the kernel removes it in the end, unless the policy is permanent.
    pub fn release(&mut self) -> Result<(), VipError> {
        let now = self.host.clock.now();
        let over = self.host.deadline.take().is_some_and(|deadline| now + REMOVAL_LEAD >= deadline);
        self.remove_all(|address| {
            if over { VipEvent::Expired { address } } else { VipEvent::Released { address } }
        })
    }

    /// Whether every address is held and the lease is not over.
    #[must_use]
    pub fn is_acquired(&self) -> bool {
        let alive = self.host.deadline.is_some_and(|deadline| self.host.clock.now() < deadline);
        alive && self.managed.iter().all(ManagedAddress::is_held)
    }

    /// Whether no address is held, nor may be left on an interface after a failed removal.
    #[must_use]
    pub fn is_released(&self) -> bool {
        !self.managed.iter().any(ManagedAddress::is_held)
    }

    /// Removes what an earlier holder of these addresses left behind, on any interface: only
    /// addresses that bear this library's mark, and permanent ones only under a permanent policy.
    /// Returns how many.
    ///
    /// # Errors
    /// The first address that could not be looked for or removed.
    pub fn sweep_stale(&mut self) -> Result<usize, VipError> {
        let mut swept = 0;
        let mut first = Ok(());
        self.each(|slot, host| match slot.sweep(host) {
            Ok(count) => swept += count,
            Err(fault) => keep_first(&mut first, slot, fault),
        });
        first.map(|()| swept)
    }

    /// The addresses, in the order given.
    pub fn addresses(&self) -> impl Iterator<Item = &VirtualAddress> {
        self.managed.iter().map(|slot| &slot.address)
    }

    /// What happens to the addresses. At most 64 events wait; then the oldest give way. Every
    /// receiver takes events away from the others.
    #[must_use]
    pub fn events(&self) -> Receiver<VipEvent> {
        self.host.report.events()
    }

    /// Counts since the holder was built.
    #[must_use]
    pub const fn stats(&self) -> VipStats {
        self.host.report.stats
    }

    pub(super) fn is_permanent(&self) -> bool {
        self.host.policy.is_permanent()
    }

    pub(super) fn clock(&self) -> Clock {
        self.host.clock.clone()
    }

    fn each(&mut self, mut work: impl FnMut(&mut ManagedAddress, &mut Context)) {
        for slot in &mut self.managed {
            work(slot, &mut self.host);
        }
    }

    fn remove_all(&mut self, event: impl Fn(VirtualAddress) -> VipEvent) -> Result<(), VipError> {
        let mut first = Ok(());
        self.each(|slot, host| match slot.remove(host) {
            Ok(true) => host.report.tell(event(slot.address.clone())),
            Ok(false) => {}
            Err(fault) => {
                slot.fail(host, &fault);
                keep_first(&mut first, slot, fault);
            }
        });
        first
    }

    /// Looks whether the machine slept. Lifetimes in the kernel stood still meanwhile and would
    /// outlast the lease, so every address goes, to be put back under what is left of it.
    fn wake_up(&mut self) -> bool {
        let asleep = self.time_asleep();
        let jump = asleep.saturating_sub(self.slept);
        self.slept = self.slept.max(asleep);
        if jump <= SUSPEND {
            return false;
        }
        self.host.report.tell(VipEvent::Suspended { slept: jump });
        let _ = self.remove_all(|address| VipEvent::Released { address });
        true
    }

    /// Read in this order, a pause between the two readings can only make it too small.
    fn time_asleep(&self) -> Duration {
        let boot = self.host.clock.now();
        boot.since(self.host.backend.uptime())
    }

    /// Looks for other hosts that use our addresses.
    fn watch(&mut self) {
        for seen in self.host.backend.sightings() {
            self.each(|slot, host| {
                if slot.address.ip() == seen.ip {
                    slot.contest(host, seen.index, seen.mac);
                }
            });
        }
    }
}

impl Drop for Holder {
    /// Removes the addresses; what cannot be removed is told in the log.
    fn drop(&mut self) {
        let _ = self.release();
    }
}

fn keep_first(first: &mut Result<(), VipError>, slot: &ManagedAddress, fault: Fault) {
    if first.is_ok() {
        *first = Err(fault.of(&slot.address));
    }
}

fn check_set(addresses: &[VirtualAddress]) -> Result<(), VipError> {
    if addresses.is_empty() {
        return Err(VipError::InvalidSet("a holder needs at least one virtual IP".into()));
    }
    for (at, address) in addresses.iter().enumerate() {
        if addresses[..at].iter().any(|earlier| earlier.ip() == address.ip()) {
            return Err(VipError::InvalidSet(format!("{} is given twice", address.ip())));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "holder_tests.rs"]
mod tests;
