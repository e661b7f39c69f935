//! One address of a holder: whether it is held, and the steps to hold and release it.

use std::time::Duration;

use crate::clock::{Clock, Timestamp};

use super::address::{MacAddress, VirtualAddress};
use super::backend::{Assigned, Backend, Interface};
use super::error::Fault;
use super::policy::{Existing, Lifetime, Policy};
use super::report::{Report, VipEvent};
use super::state::VipState;

/// The shortest time between two announcements against a rival (`DEFEND_INTERVAL` of RFC 5227,
/// section 1.1).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// How long after its last frame a rival counts as a problem.
const RIVAL_COUNTS: Duration = Duration::from_secs(60);

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

    /// Whether a holder with this policy can have left this instance of `address` behind. The mark
    /// alone does not show it: IPv4 keeps the mark when an administrator makes an address
    /// permanent. A holder gives every address its full length.
    fn may_have_left(&self, address: &VirtualAddress, found: &Assigned) -> bool {
        let permanent = found.lifetime.valid == Lifetime::FOREVER;
        let ours = found.marked && found.prefix == address.prefix();
        ours && permanent == self.policy.permanent
    }
}

#[derive(Debug)]
pub(super) struct ManagedAddress {
    pub(super) address: VirtualAddress,
    /// Where it can be put, after a look.
    prepared: Option<Prepared>,
    held: Option<Placement>,
    /// The fault reported last, so that a lasting one is not reported twice a second.
    reported: Option<Fault>,
    /// The host that used the address last, and when.
    rival: Option<(MacAddress, Timestamp)>,
}

/// What a look has shown before an address is put on its interface.
#[derive(Debug)]
struct Prepared {
    interface: Interface,
    /// An earlier holder left the address in the right place.
    is_there: bool,
}

/// The address on its interface, as this holder added or took it over.
#[derive(Debug)]
struct Placement {
    interface: Interface,
    /// The instance of the address; unknown until the kernel has shown it.
    created: Option<u32>,
    /// The kernel has confirmed that this holder added it or took it over.
    confirmed: bool,
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
        let is_instance = self.created.map_or(self.confirmed, |created| created == found.created);
        (found.marked || is_instance) && found.lifetime.valid <= self.given
    }
}

impl ManagedAddress {
    pub(super) const fn new(address: VirtualAddress) -> Self {
        Self { address, prepared: None, held: None, reported: None, rival: None }
    }

    pub(super) const fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// The state now.
    pub(super) fn state(&self, now: Timestamp) -> VipState {
        VipState {
            address: format!("{}/{}", self.address.ip(), self.address.prefix()),
            interface: self.address.interface().to_string(),
            held: self.is_held(),
            link_up: self.held.as_ref().map(|placement| placement.interface.running),
            problem: self.problem(now),
        }
    }

    fn problem(&self, now: Timestamp) -> Option<String> {
        if let Some(fault) = &self.reported {
            return Some(fault.to_string());
        }
        let rival = self.rival.filter(|(_, seen)| now.since(*seen) < RIVAL_COUNTS);
        if let (Some((mac, _)), true) = (rival, self.is_held()) {
            return Some(Fault::Conflict { mac }.to_string());
        }
        let down = self.held.as_ref().is_some_and(|placement| !placement.interface.running);
        down.then(|| "the link of the interface is down".to_owned())
    }

    /// The first step of acquiring: looks whether the address can be put on its interface, and
    /// changes nothing but leftovers in other places. An address that is held stays as it is.
    pub(super) fn prepare(&mut self, context: &mut Context) -> Result<(), Fault> {
        if self.is_held() {
            return Ok(());
        }
        context.lifetime(&self.address)?;
        let interface = context.backend.interface(self.address.interface())?;
        let is_there = self.leftover(context, &interface)?.is_some();
        if !is_there {
            self.probe(context, &interface)?;
        }
        self.prepared = Some(Prepared { interface, is_there });
        Ok(())
    }

    /// The second step: puts the address on its interface, or takes over the one that is there.
    pub(super) fn place(&mut self, context: &mut Context) -> Result<(), Fault> {
        self.prepared.take().map_or(Ok(()), |prepared| self.put(context, prepared))
    }

    /// The third step, when every address of the holder is placed: announces the address. Only then
    /// it asks the kernel for the instance, as clients wait for the announcement.
    pub(super) fn present(&mut self, context: &mut Context) -> Result<(), Fault> {
        // An address that was held before has been presented.
        let Some(placement) = self.held.as_ref().filter(|placement| placement.created.is_none())
        else {
            return Ok(());
        };
        let (running, address) = (placement.interface.running, self.address.clone());
        self.announce(context);
        context.report.event(VipEvent::Acquired { address: address.clone() });
        if !running {
            context.report.event(VipEvent::InterfaceChanged { address, running });
        }
        self.learn_instance(context)
    }

    /// Looks for the address on all interfaces. Fails if another program added it. Returns an
    /// address that an earlier holder left in the right place, and removes those in other places.
    fn leftover(
        &self,
        context: &mut Context,
        interface: &Interface,
    ) -> Result<Option<Assigned>, Fault> {
        let (address, ip) = (&self.address, self.address.ip());
        let mut found = context.backend.find(ip, None)?;
        found.retain(|at| !address.may_stand_beside(at));
        let adopts = context.policy.existing == Existing::AdoptOurs;
        if let Some(at) = found.iter().find(|at| !adopts || !context.may_have_left(address, at)) {
            return Err(Fault::AlreadyAssigned { interface: at.index, marked: at.marked });
        }
        let mut leftover = None;
        for at in found {
            if at.index == interface.index {
                leftover = Some(at);
            } else {
                context.backend.remove(ip, &at)?;
            }
        }
        Ok(leftover)
    }

    fn probe(&self, context: &mut Context, interface: &Interface) -> Result<(), Fault> {
        let Some(wait) = self.address.probe_wait() else {
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

    fn put(&mut self, context: &mut Context, prepared: Prepared) -> Result<(), Fault> {
        let Prepared { interface, is_there } = prepared;
        // Computed as late as possible: looks and probes take time, and the process may be stopped.
        let lifetime = context.lifetime(&self.address)?;
        let result = if is_there {
            context.backend.refresh(&interface, &self.address, lifetime)
        } else {
            context.backend.add(&interface, &self.address, lifetime)
        };
        if !matches!(result, Ok(()) | Err(Fault::NoAnswer(_))) {
            return result;
        }
        // Without a response the address may be there: it counts as held, so that it is removed.
        self.held = Some(Placement {
            interface,
            created: None,
            confirmed: result.is_ok(),
            given: lifetime.valid,
            announced_from: context.clock.now(),
            announced: 0,
            defended: None,
        });
        result?;
        self.keep_unless_late(context)
    }

    /// Asks the kernel which instance of the address is there.
    fn learn_instance(&mut self, context: &mut Context) -> Result<(), Fault> {
        let Some(placement) = &self.held else { return Ok(()) };
        let Some(found) = self.find_on(context, placement.interface.index)? else { return Ok(()) };
        if !found.marked {
            let address = &self.address;
            log::warn!(address:%; "this kernel does not mark addresses (before 5.18)");
        }
        self.held.iter_mut().for_each(|placement| placement.created = Some(found.created));
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
                // The interface may have another name now, and still have the address.
                self.remove(context)?;
                return Err(Fault::NoSuchInterface);
            }
            interface => interface?,
        };
        if self.held.as_ref().is_some_and(|held| held.interface.index != interface.index) {
            self.remove(context)?;
            self.put_back(context, interface)?;
            return Ok(true);
        }
        let Some(found) = self.find_on(context, interface.index)? else {
            self.put_back(context, interface)?;
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

    fn put_back(&mut self, context: &mut Context, interface: Interface) -> Result<(), Fault> {
        self.held = None;
        self.put(context, Prepared { interface, is_there: false })?;
        self.announce(context);
        context.report.event(VipEvent::Recreated { address: self.address.clone() });
        self.learn_instance(context)
    }

    fn refresh(&mut self, context: &mut Context, interface: &Interface) -> Result<(), Fault> {
        let to = context.lifetime(&self.address)?;
        let result = context.backend.refresh(interface, &self.address, to);
        if let Some(placement) = &mut self.held {
            match result {
                Ok(()) => placement.given = to.valid,
                // It may have either.
                Err(Fault::NoAnswer(_)) => placement.given = placement.given.max(to.valid),
                Err(_) => {}
            }
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
            if context.may_have_left(&self.address, &at) {
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
        self.rival = Some((mac, now));
        if placement.defended.is_some_and(|last| now.since(last) < DEFEND_INTERVAL) {
            return;
        }
        placement.defended = Some(now);
        send(context, &placement.interface, &self.address);
        context.report.event(VipEvent::Conflict { address: self.address.clone(), mac });
    }

    /// Whether the last attempt to hold it failed.
    pub(super) fn has_failed(&self) -> bool {
        self.reported.is_some()
    }

    /// The last fault is over.
    pub(super) fn recovered(&mut self) {
        self.reported = None;
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
