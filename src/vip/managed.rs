//! One address of a holder: whether it is held, and the steps to hold and release it.

use std::time::Duration;

use crate::clock::{Clock, Timestamp};

use super::address::{MacAddress, VirtualAddress};
use super::backend::{Assigned, Backend, Interface};
use super::error::Fault;
use super::policy::{Existing, Lifetime, Policy};
use super::report::{Report, VipEvent};

/// The shortest time between two announcements against a rival (`DEFEND_INTERVAL` of RFC 5227,
/// section 1.1).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// What all addresses of a holder have in common.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) backend: Box<dyn Backend>,
    pub(super) policy: Policy,
    pub(super) clock: Clock,
    pub(super) report: Report,
    /// The end of the lease under which the addresses are held.
    pub(super) deadline: Option<Timestamp>,
}

impl Context {
    fn lifetime(&self, address: &VirtualAddress) -> Result<Lifetime, Fault> {
        let (now, deadline) = (self.clock.now(), self.deadline.unwrap_or_default());
        let lifetime = self.policy.lifetime(address.ip().is_ipv6(), deadline, now);
        lifetime.ok_or(Fault::DeadlineTooNear { remaining: deadline.since(now) })
    }

    /// Whether a holder with this policy can have left this address behind. The mark alone does not
    /// show it: IPv4 keeps the mark when an administrator makes an address permanent.
    fn may_have_left(&self, found: &Assigned) -> bool {
        let permanent = found.lifetime.valid == Lifetime::FOREVER;
        found.marked && permanent == self.policy.permanent
    }
}

#[derive(Debug)]
pub(super) struct ManagedAddress {
    pub(super) address: VirtualAddress,
    held: Option<Placement>,
    /// The fault reported last, so that a lasting one is not reported twice a second.
    reported: Option<Fault>,
}

/// The address on its interface, as this holder added or took it over.
#[derive(Debug)]
struct Placement {
    interface: Interface,
    /// The instance of the address; unknown until the kernel has shown it.
    created: Option<u32>,
    /// The lifetime that it was given last, in seconds.
    given: u32,
    announced_from: Timestamp,
    announced: usize,
    defended: Option<Timestamp>,
}

impl Placement {
    /// Whether an address is still the one of this holder: marked, or on a kernel without marks
    /// the same instance, and without a longer lifetime than this holder gave it.
    fn is_ours(&self, found: &Assigned) -> bool {
        (found.marked || self.created == Some(found.created)) && found.lifetime.valid <= self.given
    }
}

impl ManagedAddress {
    pub(super) const fn new(address: VirtualAddress) -> Self {
        Self { address, held: None, reported: None }
    }

    pub(super) const fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Acquires the address. An address that is held already stays as it is.
    pub(super) fn acquire(&mut self, context: &mut Context) -> Result<(), Fault> {
        if self.is_held() {
            return Ok(());
        }
        context.lifetime(&self.address)?;
        let interface = context.backend.interface(self.address.interface())?;
        let leftover = self.leftover(context, &interface)?;
        if leftover.is_none() {
            self.probe(context, &interface)?;
        }
        self.place(context, interface, leftover.is_some())?;
        context.report.event(VipEvent::Acquired { address: self.address.clone() });
        Ok(())
    }

    /// Looks for the address on all interfaces. Fails if another program added it. Returns an
    /// address that an earlier holder left in the right place, and removes those in other places.
    fn leftover(
        &self,
        context: &mut Context,
        interface: &Interface,
    ) -> Result<Option<Assigned>, Fault> {
        let ip = self.address.ip();
        let found = context.backend.find(ip, None)?;
        let adopts = context.policy.existing == Existing::AdoptOurs;
        if let Some(at) = found.iter().find(|at| !adopts || !context.may_have_left(at)) {
            return Err(Fault::AlreadyAssigned { interface: at.index, marked: at.marked });
        }
        let mut leftover = None;
        for at in found {
            if at.index == interface.index && at.prefix == self.address.prefix() {
                leftover = Some(at);
            } else {
                context.backend.remove(ip, &at)?;
            }
        }
        Ok(leftover)
    }

    fn probe(&self, context: &mut Context, interface: &Interface) -> Result<(), Fault> {
        let Some(wait) = context.policy.probe else {
            return Ok(());
        };
        match context.backend.probe(interface, self.address.ip(), wait)? {
            Some(mac) => {
                context.report.stats.conflicts += 1;
                Err(Fault::Conflict { mac })
            }
            None => Ok(()),
        }
    }

    /// Adds the address, or takes over the one that is there, and announces it. Only then it asks
    /// the kernel for the instance, as clients wait for the announcement.
    fn place(
        &mut self,
        context: &mut Context,
        interface: Interface,
        there: bool,
    ) -> Result<(), Fault> {
        // Computed as late as possible: looks and probes take time, and the process may be stopped.
        let lifetime = context.lifetime(&self.address)?;
        let result = if there {
            context.backend.refresh(&interface, &self.address, lifetime)
        } else {
            context.backend.add(&interface, &self.address, lifetime)
        };
        if !matches!(result, Ok(()) | Err(Fault::NoAnswer(_))) {
            return result;
        }
        // Without a response the address may be there: it counts as held, so that it is removed.
        let index = interface.index;
        let announced_from = context.clock.now();
        let (created, given, announced, defended) = (None, lifetime.valid, 0, None);
        let placement =
            Placement { interface, created, given, announced_from, announced, defended };
        self.held = Some(placement);
        result?;
        self.keep_unless_late(context)?;
        self.announce(context);
        if let Some(found) = self.find_on(context, index)? {
            if !found.marked {
                let address = &self.address;
                log::warn!(address:%; "this kernel does not mark addresses (before 5.18)");
            }
            self.held.iter_mut().for_each(|placement| placement.created = Some(found.created));
        }
        Ok(())
    }

    /// Removes the address if the lease has ended. A change may have waited for the kernel, or the
    /// process may have been stopped, and the lifetime counts from the change: it is too long then.
    fn keep_unless_late(&mut self, context: &mut Context) -> Result<(), Fault> {
        let Err(late) = context.lifetime(&self.address) else {
            return Ok(());
        };
        self.remove(context)?;
        Err(late)
    }

    fn find_on(&self, context: &mut Context, index: u32) -> Result<Option<Assigned>, Fault> {
        let found = context.backend.find(self.address.ip(), Some(index))?;
        Ok(found.into_iter().find(|at| at.prefix == self.address.prefix()))
    }

    /// Checks that the address is as this holder left it, and repairs it. With `refresh` its
    /// lifetimes are renewed. True when the address was gone.
    pub(super) fn review(&mut self, context: &mut Context, refresh: bool) -> Result<bool, Fault> {
        if refresh {
            self.keep_unless_late(context)?;
        }
        let interface = match context.backend.interface(self.address.interface()) {
            Err(Fault::NoSuchInterface) => {
                self.held = None;
                return Err(Fault::NoSuchInterface);
            }
            interface => interface?,
        };
        let Some(found) = self.find_on(context, interface.index)? else {
            self.held = None;
            self.place(context, interface, false)?;
            context.report.event(VipEvent::Recreated { address: self.address.clone() });
            return Ok(true);
        };
        if !self.held.as_ref().is_some_and(|placement| placement.is_ours(&found)) {
            self.held = None;
            return Err(Fault::Replaced);
        }
        if refresh {
            self.refresh(context, &interface)?;
        }
        Ok(self.notice(context, interface, found.created))
    }

    fn refresh(&mut self, context: &mut Context, interface: &Interface) -> Result<(), Fault> {
        let to = context.lifetime(&self.address)?;
        let result = context.backend.refresh(interface, &self.address, to);
        if let (Some(placement), Ok(()) | Err(Fault::NoAnswer(_))) = (&mut self.held, &result) {
            placement.given = to.valid;
        }
        result?;
        context.report.stats.refreshed += 1;
        self.keep_unless_late(context)
    }

    /// Compares the address and its interface with the last look, and announces after a change.
    /// True when the address was created again.
    fn notice(&mut self, context: &mut Context, interface: Interface, created: u32) -> bool {
        let Some(placement) = &mut self.held else {
            return false;
        };
        let recreated = placement.created.replace(created).is_some_and(|before| before != created);
        let changed = placement.interface != interface;
        let running = interface.running;
        placement.interface = interface;
        if recreated || changed {
            (placement.announced_from, placement.announced) = (context.clock.now(), 0);
            let address = self.address.clone();
            context.report.event(if recreated {
                VipEvent::Recreated { address }
            } else {
                VipEvent::InterfaceChanged { address, running }
            });
            self.announce(context);
        }
        recreated
    }

    /// Removes the address if it is there and this holder owns it. After an error it counts as
    /// held, so that the next call tries again. True when an address was held.
    pub(super) fn remove(&mut self, context: &mut Context) -> Result<bool, Fault> {
        let Some(placement) = &self.held else {
            return Ok(false);
        };
        let ip = self.address.ip();
        let found = self.find_on(context, placement.interface.index)?;
        if let Some(found) = found.filter(|found| placement.is_ours(found)) {
            context.backend.remove(ip, &found)?;
        }
        self.held = None;
        self.reported = None;
        Ok(true)
    }

    /// Removes the instances of this address that an earlier holder left behind on any interface.
    pub(super) fn sweep(&self, context: &mut Context) -> Result<usize, Fault> {
        if self.is_held() {
            return Ok(0);
        }
        let ip = self.address.ip();
        let mut swept = 0;
        for at in context.backend.find(ip, None)? {
            if context.may_have_left(&at) {
                context.backend.remove(ip, &at)?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// When the next announcement is due.
    pub(super) fn next_announcement(&self, policy: &Policy) -> Option<Timestamp> {
        let placement = self.held.as_ref()?;
        Some(placement.announced_from + *policy.announcements.get(placement.announced)?)
    }

    /// Sends the announcement that is due. Of several overdue announcements it sends one.
    pub(super) fn announce(&mut self, context: &mut Context) {
        let now = context.clock.now();
        let Some(placement) = &mut self.held else {
            return;
        };
        let due = context.policy.announcements.iter();
        let due = due.take_while(|after| placement.announced_from + **after <= now).count();
        if due <= placement.announced {
            return;
        }
        placement.announced = due;
        send(context, &placement.interface, &self.address);
    }

    /// Reports another host that uses this address, and announces against it.
    pub(super) fn defend(&mut self, context: &mut Context, index: Option<u32>, mac: MacAddress) {
        let Some(placement) = &mut self.held else {
            return;
        };
        let here = index.is_none_or(|index| index == placement.interface.index);
        if !here || placement.interface.mac == Some(mac) {
            return;
        }
        context.report.stats.conflicts += 1;
        let now = context.clock.now();
        if placement.defended.is_some_and(|last| now.since(last) < DEFEND_INTERVAL) {
            return;
        }
        placement.defended = Some(now);
        send(context, &placement.interface, &self.address);
        context.report.event(VipEvent::Conflict { address: self.address.clone(), mac });
    }

    /// Reports a fault, unless the last report was of the same kind.
    pub(super) fn fail(&mut self, context: &mut Context, fault: &Fault) {
        use std::mem::discriminant;
        context.report.stats.failed += 1;
        if self.reported.as_ref().map(discriminant) != Some(discriminant(fault)) {
            self.reported = Some(fault.clone());
            let address = self.address.clone();
            context.report.event(VipEvent::Failed { address, fault: fault.clone() });
        }
    }
}

/// Announces an address. If that fails the address is held all the same: the interface may be down,
/// and gets an announcement when it is up again.
///
/// Nothing is sent after the deadline, as it would lead clients away from the next holder.
fn send(context: &mut Context, interface: &Interface, address: &VirtualAddress) {
    if context.deadline.is_none_or(|deadline| deadline <= context.clock.now()) {
        return;
    }
    match context.backend.announce(interface, address.ip()) {
        Ok(()) => context.report.stats.announced += 1,
        Err(fault) => log::debug!(address:%, fault:%; "virtual IP not announced"),
    }
}
