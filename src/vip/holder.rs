//! The holder: a set of virtual IPs that are held together, under one lease.

use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::clock::{Clock, Timestamp};

use super::address::VirtualAddress;
use super::backend::Backend;
use super::error::{Fault, VipError};
use super::kernel::Kernel;
use super::managed::{Context, ManagedAddress};
use super::policy::Policy;
use super::report::{Forward, Report, VipEvent, VipStats};
use super::state::VipState;

/// Addresses are removed this long before the deadline, so that none is left at the deadline.
const REMOVAL_LEAD: Duration = Duration::from_millis(10);

/// The longest time between two looks at the addresses.
const REVIEW_INTERVAL: Duration = Duration::from_millis(500);

/// A longer jump of the boot-time clock against the kernel's clock is a suspend.
const SUSPEND: Duration = Duration::from_millis(100);

/// The result of an extension.
///
/// ```
/// use std::time::Duration;
/// use leasehold::vip::Extension;
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
/// host.unassign(address.ip()); // another program removes it
/// match holder.extend(clock.now() + Duration::from_secs(8)) {
///     Extension::Refreshed => {}
///     Extension::Recreated => println!("it was gone, and is back"),
///     Extension::Lost(error) => eprintln!("not held: {error}"),
/// }
/// assert!(host.has(address.ip()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a lost address is held by no node"]
pub enum Extension {
    /// Every address was unchanged, and its lifetime was renewed.
    Refreshed,
    /// At least one address was gone; it was put back and announced.
    Recreated,
    /// At least one address is not held, for this reason. The next extension tries again.
    Lost(VipError),
}

/// Holds virtual IPs until a deadline.
///
/// A holder has no thread: [`tick`](Self::tick) does what is due and says when to call it again.
/// [`Worker`](super::Worker) runs a holder on its own thread. Dropping a holder removes its
/// addresses. It belongs to the network namespace of the thread that built it, and must be used
/// from threads of that namespace.
///
/// Every method may block while the kernel holds its routing lock, usually for microseconds.
/// [`acquire`](Self::acquire) and [`extend`](Self::extend) also block for a probe, if an address
/// has one. Do not call them from a thread that renews a lease.
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
/// while let Some(at) = holder.tick() {
///     clock.advance(at.since(clock.now())); // a program sleeps
/// }
/// assert!(holder.is_released()); // no renewal has moved the deadline
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Holder {
    context: Context,
    addresses: Vec<ManagedAddress>,
    /// How long the machine has slept since boot, as of the last look.
    slept: Duration,
}

impl Holder {
    /// A holder for this host. Opens every socket that it needs, and holds nothing yet.
    ///
    /// # Errors
    /// [`VipError::NotPermitted`] without `CAP_NET_ADMIN` or `CAP_NET_RAW`, naming which;
    /// [`VipError::InvalidSet`] without addresses or with a repeated one; [`VipError::System`].
    pub fn new(addresses: Vec<VirtualAddress>, policy: Policy) -> Result<Self, VipError> {
        let ipv6 = addresses.iter().any(|address| address.ip().is_ipv6());
        Self::with_backend(addresses, policy, Clock::boot(), Kernel::open(ipv6)?)
    }

    /// A holder with another backend and clock: [`Memory`](super::Memory) for tests and dry runs.
    ///
    /// # Errors
    /// [`VipError::InvalidSet`] without addresses or with a repeated one.
    pub fn with_backend(
        addresses: Vec<VirtualAddress>,
        policy: Policy,
        clock: Clock,
        backend: impl Backend + 'static,
    ) -> Result<Self, VipError> {
        check_set(&addresses)?;
        let addresses = addresses.into_iter().map(ManagedAddress::new).collect();
        let (backend, report) = (Box::new(backend), Report::new());
        let context = Context { backend, policy, clock, report, deadline: None };
        let mut holder = Self { context, addresses, slept: Duration::ZERO };
        holder.slept = (0..3).map(|_| holder.time_asleep()).max().unwrap_or_default();
        Ok(holder)
    }

    /// Adds every address to its interface until `deadline`, and announces it. All are held or
    /// none: when one cannot be held, the others are not announced and are removed again.
    ///
    /// Addresses that are held already keep their lifetime; [`extend`](Self::extend) renews it.
    ///
    /// # Errors
    /// The first address that could not be held. [`extend`](Self::extend) tries again, and
    /// [`release`](Self::release) gives all up.
    pub fn acquire(&mut self, deadline: Timestamp) -> Result<(), VipError> {
        let was_released = self.context.deadline.replace(deadline).is_none();
        self.remove_after_suspend();
        if was_released {
            // One may be left of which the removal failed.
            self.withdraw()?;
        }
        // Frames received so far come from the previous holder, and are no conflict.
        self.look_for_rivals();
        self.hold_all()
    }

    /// Holds every address until `deadline`, after a renewal of the lease.
    ///
    /// It looks at each address first. An address that is gone is put back and announced. An
    /// address that another program replaced is left alone and counts as lost; the others are
    /// removed then. If the addresses could not be held before, it tries again.
    pub fn extend(&mut self, deadline: Timestamp) -> Extension {
        self.context.deadline = Some(deadline);
        self.remove_after_suspend();
        self.look_for_rivals();
        let recreated = if self.holds_all() {
            self.review_all(true)
        } else {
            // One may be left of which the removal failed.
            self.withdraw().and_then(|()| self.hold_all()).map(|()| true)
        };
        match recreated {
            Err(error) => Extension::Lost(error),
            Ok(true) => Extension::Recreated,
            Ok(false) => Extension::Refreshed,
        }
    }

    /// Does what is due: removal at the deadline, announcements, repair of lost addresses. Returns
    /// the latest time of the next call; `None` when nothing is held.
    pub fn tick(&mut self) -> Option<Timestamp> {
        let now = self.context.clock.now();
        let Some(deadline) =
            self.context.deadline.filter(|deadline| now + REMOVAL_LEAD < *deadline)
        else {
            // An address that cannot be removed counts as held; the next tick tries again.
            let _ = self.release();
            return (!self.is_released()).then(|| now + REVIEW_INTERVAL);
        };
        if self.remove_after_suspend() {
            let _ = self.extend(deadline);
        }
        if self.holds_all() {
            // Faults are events, and the next tick tries again.
            let _ = self.review_all(false);
        } else {
            let _ = self.withdraw();
        }
        self.look_for_rivals();
        let announcements = self
            .addresses
            .iter()
            .filter_map(|managed| managed.next_announcement(&self.context.policy));
        announcements.chain([now + REVIEW_INTERVAL, deadline - REMOVAL_LEAD]).min()
    }

    /// Removes every address that this holder owns. It is no error when an address is gone already.
    ///
    /// # Errors
    /// The first address that could not be removed. It counts as held, and the next call tries
    /// again. The kernel removes it in the end, unless the policy is permanent.
    pub fn release(&mut self) -> Result<(), VipError> {
        let now = self.context.clock.now();
        let over =
            self.context.deadline.take().is_some_and(|deadline| now + REMOVAL_LEAD >= deadline);
        self.remove_all(|address| {
            if over { VipEvent::Expired { address } } else { VipEvent::Released { address } }
        })?;
        self.addresses.iter_mut().for_each(ManagedAddress::recovered);
        Ok(())
    }

    /// Whether every address is held and the deadline has not passed.
    #[must_use]
    pub fn is_acquired(&self) -> bool {
        let alive =
            self.context.deadline.is_some_and(|deadline| self.context.clock.now() < deadline);
        alive && self.holds_all()
    }

    fn holds_all(&self) -> bool {
        self.addresses.iter().all(ManagedAddress::is_held)
    }

    /// Whether no address is held, and none may be left on an interface after a failed removal.
    #[must_use]
    pub fn is_released(&self) -> bool {
        !self.addresses.iter().any(ManagedAddress::is_held)
    }

    /// Removes the addresses that an earlier holder left behind on any interface: only instances of
    /// these addresses with this library's mark, and permanent ones only under a permanent policy.
    /// Returns the number of removed addresses.
    ///
    /// # Errors
    /// The first address for which looking or removing failed.
    pub fn sweep_stale(&mut self) -> Result<usize, VipError> {
        let mut swept = 0;
        self.each(|managed, context| {
            swept += managed.sweep(context)?;
            Ok(())
        })?;
        Ok(swept)
    }

    /// The addresses, in the order in which they were given.
    pub fn addresses(&self) -> impl Iterator<Item = &VirtualAddress> {
        self.addresses.iter().map(|managed| &managed.address)
    }

    /// The state of each address, in the order in which they were given, as of the last look.
    #[must_use]
    pub fn states(&self) -> Vec<VipState> {
        let now = self.context.clock.now();
        self.addresses.iter().map(|managed| managed.state(now)).collect()
    }

    /// The events of the addresses. At most 64 events wait; then the oldest is dropped. All
    /// receivers share one queue: an event goes to one of them.
    #[must_use]
    pub fn events(&self) -> Receiver<VipEvent> {
        self.context.report.events()
    }

    /// Counters since the holder was built.
    #[must_use]
    pub const fn stats(&self) -> VipStats {
        self.context.report.stats
    }

    pub(super) fn is_permanent(&self) -> bool {
        self.context.policy.permanent
    }

    pub(super) fn clock(&self) -> Clock {
        self.context.clock.clone()
    }

    /// Gives `forward` all later events too.
    pub(super) fn forward(&mut self, forward: Forward) {
        self.context.report.forward(forward);
    }

    /// Puts every address that is not held on its interface. No change is made before a look at
    /// each has shown that it can be made, and none is announced before all are there.
    fn hold_all(&mut self) -> Result<(), VipError> {
        let prepared = self.each(ManagedAddress::prepare);
        let placed = prepared.and_then(|()| self.place_all());
        if placed.is_err() {
            let _ = self.withdraw();
            return placed;
        }
        self.each(|managed, context| {
            managed.present(context)?;
            managed.recovered();
            Ok(())
        })
    }

    /// Those that failed before come first: if they fail again, no other is there for a moment.
    fn place_all(&mut self) -> Result<(), VipError> {
        let failed: Vec<_> = self.addresses.iter().map(ManagedAddress::has_failed).collect();
        for turn in [true, false] {
            let mut failed = failed.iter();
            self.each(|managed, context| match failed.next() {
                Some(has_failed) if *has_failed == turn => managed.place(context),
                _ => Ok(()),
            })?;
        }
        Ok(())
    }

    /// Checks and repairs every address. True when one was gone.
    fn review_all(&mut self, refresh: bool) -> Result<bool, VipError> {
        let mut recreated = false;
        let reviewed = self.each(|managed, context| {
            let review = managed.review(context, refresh);
            managed.announce(context);
            recreated |= review?;
            managed.recovered();
            Ok(())
        });
        if !self.holds_all() {
            let _ = self.withdraw();
        }
        reviewed.map(|()| recreated)
    }

    /// Removes what is there of addresses that cannot all be held. After an error the next look
    /// tries again.
    fn withdraw(&mut self) -> Result<(), VipError> {
        self.remove_all(|address| VipEvent::Withdrawn { address })
    }

    /// Does something with every address. Reports the faults, and returns the first.
    fn each(
        &mut self,
        mut work: impl FnMut(&mut ManagedAddress, &mut Context) -> Result<(), Fault>,
    ) -> Result<(), VipError> {
        let mut first = Ok(());
        for managed in &mut self.addresses {
            if let Err(fault) = work(managed, &mut self.context) {
                managed.fail(&mut self.context, &fault);
                let address = managed.address.clone();
                first = first.and(Err(VipError::Address { address, fault }));
            }
        }
        first
    }

    fn remove_all(&mut self, event: impl Fn(VirtualAddress) -> VipEvent) -> Result<(), VipError> {
        self.each(|managed, context| {
            if managed.remove(context)? {
                context.report.event(event(managed.address.clone()));
            }
            Ok(())
        })
    }

    /// Checks whether the machine has slept. The kernel's lifetimes stood still and would outlast
    /// the lease, so every address is removed, to be put back with what is left of the lease.
    fn remove_after_suspend(&mut self) -> bool {
        let asleep = self.time_asleep();
        let jump = asleep.saturating_sub(self.slept);
        self.slept = self.slept.max(asleep);
        if jump <= SUSPEND {
            return false;
        }
        self.context.report.event(VipEvent::Suspended { slept: jump });
        let _ = self.remove_all(|address| VipEvent::Released { address });
        true
    }

    /// In this order, a pause between the two readings can only make the result too small.
    fn time_asleep(&self) -> Duration {
        let boot = self.context.clock.now();
        boot.since(self.context.backend.uptime())
    }

    /// Looks for other hosts that use these addresses.
    fn look_for_rivals(&mut self) {
        for sighting in self.context.backend.sightings() {
            for managed in &mut self.addresses {
                if managed.address.ip() == sighting.ip {
                    managed.defend(&mut self.context, sighting.index, sighting.mac);
                }
            }
        }
    }
}

impl Drop for Holder {
    /// Removes the addresses; the log says which could not be removed.
    fn drop(&mut self) {
        let _ = self.release();
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
