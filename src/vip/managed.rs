//! One address of a holder: whether it is held, and the steps that make it so.

use std::time::Duration;

use crate::clock::{Clock, Timestamp};

use super::address::{MacAddress, VirtualAddress};
use super::backend::{Assigned, Backend, Interface};
use super::error::Fault;
use super::policy::{Existing, Lifetime, Policy};
use super::report::{Report, VipEvent};

/// A rival is answered at most this often (`DEFEND_INTERVAL` of RFC 5227, section 1.1).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// What every slot of a holder works with.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) backend: Box<dyn Backend>,
    pub(super) policy: Policy,
    pub(super) clock: Clock,
    pub(super) report: Report,
    /// Until when the addresses may be held.
    pub(super) deadline: Option<Timestamp>,
}

impl Context {
    fn lifetime(&self, address: &VirtualAddress, deadline: Timestamp) -> Result<Lifetime, Fault> {
        let now = self.clock.now();
        let lifetime = self.policy.lifetime(address.ip().is_ipv6(), deadline, now);
        lifetime.ok_or(Fault::DeadlineTooNear { remaining: deadline.since(now) })
    }

    /// Whether a holder of this policy can have left this address. IPv4 keeps the mark when an
    /// administrator makes an address permanent, so that the mark alone is not enough.
    fn may_have_left(&self, found: &Assigned) -> bool {
        let permanent = found.lifetime.valid == Lifetime::FOREVER;
        found.marked && permanent == self.policy.is_permanent()
    }
}

/// How a held address was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    AsLeft,
    Recreated,
}

#[derive(Debug)]
pub(super) struct ManagedAddress {
    pub(super) address: VirtualAddress,
    held: Option<Held>,
    /// The fault last told, so that a lasting one is not told twice a second.
    told: Option<Fault>,
}

#[derive(Debug)]
struct Held {
    link: Interface,
    /// The instance we put there; unknown until the kernel has shown it to us.
    created: Option<u32>,
    /// The lifetime we gave it last, in seconds.
    given: u32,
    announced_from: Timestamp,
    announced: usize,
    defended: Option<Timestamp>,
}

impl Held {
    /// An address as we left it: marked, or (a kernel without marks) the instance we made, and
    /// not given a longer life by somebody else.
    fn is_ours(&self, found: &Assigned) -> bool {
        (found.marked || self.created == Some(found.created)) && found.lifetime.valid <= self.given
    }
}

impl ManagedAddress {
    pub(super) const fn new(address: VirtualAddress) -> Self {
        Self { address, held: None, told: None }
    }

    pub(super) const fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Acquires the address; one that is held already is left as it is.
    pub(super) fn acquire(&mut self, host: &mut Context, deadline: Timestamp) -> Result<(), Fault> {
        if self.is_held() {
            return Ok(());
        }
        host.lifetime(&self.address, deadline)?;
        let link = host.backend.link(self.address.interface())?;
        let leftover = self.leftover(host, &link)?;
        if leftover.is_none() {
            self.probe(host, &link)?;
        }
        self.place(host, link, deadline, leftover.is_some())?;
        host.report.tell(VipEvent::Acquired { address: self.address.clone() });
        Ok(())
    }

    /// Looks for the address on all interfaces: an error if somebody else put it there, else what
    /// an earlier holder left in the right place. What it left elsewhere is removed.
    fn leftover(&self, host: &mut Context, link: &Interface) -> Result<Option<Assigned>, Fault> {
        let ip = self.address.ip();
        let found = host.backend.find(ip, None)?;
        let adopts = host.policy.existing == Existing::AdoptOurs;
        if let Some(at) = found.iter().find(|at| !adopts || !host.may_have_left(at)) {
            return Err(Fault::AlreadyAssigned { interface: at.index, marked: at.marked });
        }
        let mut leftover = None;
        for at in found {
            if at.index == link.index && at.prefix == self.address.prefix() {
                leftover = Some(at);
            } else {
                host.backend.remove(ip, &at)?;
            }
        }
        Ok(leftover)
    }

    fn probe(&self, host: &mut Context, link: &Interface) -> Result<(), Fault> {
        let Some(wait) = host.policy.probe else {
            return Ok(());
        };
        match host.backend.probe(link, self.address.ip(), wait)? {
            Some(mac) => {
                host.report.stats.conflicts += 1;
                Err(Fault::Conflict { mac })
            }
            None => Ok(()),
        }
    }

    /// Puts the address there (or takes over what is there), announces it, and only then looks at
    /// what the kernel made of it: clients wait for the announcement.
    fn place(
        &mut self,
        host: &mut Context,
        link: Interface,
        deadline: Timestamp,
        there: bool,
    ) -> Result<(), Fault> {
        // Read as late as can be: looks and probes take time, and the process may be stopped.
        let lifetime = host.lifetime(&self.address, deadline)?;
        let result = if there {
            host.backend.refresh(&link, &self.address, lifetime)
        } else {
            host.backend.add(&link, &self.address, lifetime)
        };
        if !matches!(result, Ok(()) | Err(Fault::NoAnswer(_))) {
            return result;
        }
        // Without an answer it may well be there: count it as held, so that it gets removed.
        let index = link.index;
        let announced_from = host.clock.now();
        let (created, given, announced, defended) = (None, lifetime.valid, 0, None);
        let held = Held { link, created, given, announced_from, announced, defended };
        self.held = Some(held);
        result?;
        self.keep_unless_late(host, deadline)?;
        self.announce(host);
        if let Some(found) = self.find_on(host, index)? {
            if !found.marked {
                let address = &self.address;
                log::warn!(address:%; "this kernel does not mark addresses (before 5.18)");
            }
            self.held.iter_mut().for_each(|held| held.created = Some(found.created));
        }
        Ok(())
    }

    /// A change may have waited for the kernel, or the process have been stopped in it, while the
    /// lease ran out. The lifetime that was given counts from the change: too much, then.
    fn keep_unless_late(&mut self, host: &mut Context, deadline: Timestamp) -> Result<(), Fault> {
        let Err(late) = host.lifetime(&self.address, deadline) else {
            return Ok(());
        };
        self.remove(host)?;
        Err(late)
    }

    fn find_on(&self, host: &mut Context, index: u32) -> Result<Option<Assigned>, Fault> {
        let found = host.backend.find(self.address.ip(), Some(index))?;
        Ok(found.into_iter().find(|at| at.prefix == self.address.prefix()))
    }

    /// Looks whether the address is still as we left it, and repairs what is not. With `refresh`
    /// its lifetimes are set anew, without it they run on.
    pub(super) fn review(
        &mut self,
        host: &mut Context,
        deadline: Timestamp,
        refresh: bool,
    ) -> Result<Found, Fault> {
        if refresh {
            self.keep_unless_late(host, deadline)?;
        }
        let link = match host.backend.link(self.address.interface()) {
            Err(Fault::NoSuchInterface) => {
                self.held = None;
                return Err(Fault::NoSuchInterface);
            }
            link => link?,
        };
        let Some(found) = self.find_on(host, link.index)? else {
            self.held = None;
            self.place(host, link, deadline, false)?;
            host.report.tell(VipEvent::Recreated { address: self.address.clone() });
            return Ok(Found::Recreated);
        };
        if !self.held.as_ref().is_some_and(|held| held.is_ours(&found)) {
            self.held = None;
            return Err(Fault::Replaced);
        }
        if refresh {
            self.refresh(host, &link, deadline)?;
        }
        Ok(self.notice(host, link, found.created))
    }

    fn refresh(
        &mut self,
        host: &mut Context,
        link: &Interface,
        deadline: Timestamp,
    ) -> Result<(), Fault> {
        let to = host.lifetime(&self.address, deadline)?;
        let result = host.backend.refresh(link, &self.address, to);
        if let (Some(held), Ok(()) | Err(Fault::NoAnswer(_))) = (&mut self.held, &result) {
            held.given = to.valid;
        }
        result?;
        host.report.stats.refreshed += 1;
        self.keep_unless_late(host, deadline)
    }

    /// Compares the address and its link with what they were; a change is announced.
    fn notice(&mut self, host: &mut Context, link: Interface, created: u32) -> Found {
        let Some(held) = &mut self.held else {
            return Found::AsLeft;
        };
        let recreated = held.created.replace(created).is_some_and(|before| before != created);
        let relinked = held.link != link;
        let running = link.running;
        held.link = link;
        if recreated || relinked {
            (held.announced_from, held.announced) = (host.clock.now(), 0);
            let address = self.address.clone();
            host.report.tell(if recreated {
                VipEvent::Recreated { address }
            } else {
                VipEvent::LinkChanged { address, running }
            });
            self.announce(host);
        }
        if recreated { Found::Recreated } else { Found::AsLeft }
    }

    /// Removes the address if it is there and still ours. On an error it counts as held, so that
    /// the next attempt tries again.
    pub(super) fn remove(&mut self, host: &mut Context) -> Result<bool, Fault> {
        let Some(held) = &self.held else {
            return Ok(false);
        };
        let ip = self.address.ip();
        let found = self.find_on(host, held.link.index)?;
        if let Some(found) = found.filter(|found| held.is_ours(found)) {
            host.backend.remove(ip, &found)?;
        }
        self.held = None;
        self.told = None;
        Ok(true)
    }

    /// Removes what a holder of this address left behind on any interface.
    pub(super) fn sweep(&self, host: &mut Context) -> Result<usize, Fault> {
        if self.is_held() {
            return Ok(0);
        }
        let ip = self.address.ip();
        let mut swept = 0;
        for at in host.backend.find(ip, None)? {
            if host.may_have_left(&at) {
                host.backend.remove(ip, &at)?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// When the next announcement is due.
    pub(super) fn next_announcement(&self, policy: &Policy) -> Option<Timestamp> {
        let held = self.held.as_ref()?;
        Some(held.announced_from + *policy.announcements.get(held.announced)?)
    }

    /// Sends the announcement that is due; of several that are overdue, one.
    pub(super) fn announce(&mut self, host: &mut Context) {
        let now = host.clock.now();
        let Some(held) = &mut self.held else {
            return;
        };
        let due = host.policy.announcements.iter();
        let due = due.take_while(|after| held.announced_from + **after <= now).count();
        if due <= held.announced {
            return;
        }
        held.announced = due;
        send(host, &held.link, &self.address);
    }

    /// Another host was seen with an address: if it is this one, say so and answer.
    pub(super) fn contest(&mut self, host: &mut Context, index: Option<u32>, mac: MacAddress) {
        let Some(held) = &mut self.held else {
            return;
        };
        let here = index.is_none_or(|index| index == held.link.index);
        if !here || held.link.mac == Some(mac) {
            return;
        }
        host.report.stats.conflicts += 1;
        let now = host.clock.now();
        if held.defended.is_some_and(|last| now.since(last) < DEFEND_INTERVAL) {
            return;
        }
        held.defended = Some(now);
        send(host, &held.link, &self.address);
        host.report.tell(VipEvent::Conflict { address: self.address.clone(), mac });
    }

    /// Tells a fault, unless it is the one told last.
    pub(super) fn fail(&mut self, host: &mut Context, fault: &Fault) {
        use std::mem::discriminant;
        host.report.stats.failed += 1;
        if self.told.as_ref().map(discriminant) != Some(discriminant(fault)) {
            self.told = Some(fault.clone());
            let address = self.address.clone();
            host.report.tell(VipEvent::Failed { address, fault: fault.clone() });
        }
    }
}

/// A frame that cannot be sent is no reason to give the address up: the link may be down, and is
/// announced on when it comes back.
///
/// Past the deadline nothing is sent: clients would be led away from the next holder.
fn send(host: &mut Context, link: &Interface, address: &VirtualAddress) {
    if host.deadline.is_none_or(|deadline| deadline <= host.clock.now()) {
        return;
    }
    match host.backend.announce(link, address.ip()) {
        Ok(()) => host.report.stats.announced += 1,
        Err(fault) => log::debug!(address:%, fault:%; "virtual IP not announced"),
    }
}
