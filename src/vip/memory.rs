//! A host that exists in memory: for tests of applications, and for dry runs.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::{Clock, Timestamp};

use super::address::{InterfaceName, MacAddress, VirtualAddress};
use super::backend::{Assigned, Backend, Interface, Sighting};
use super::error::Fault;
use super::policy::Lifetime;

/// A host with interfaces and addresses, of which nothing is real but the expiry.
///
/// Clones are handles to one host: give one to [`Holder::with_backend`] and keep another to play
/// administrator, cable and rival. Addresses expire by the clock as the kernel's do. Every change
/// is noted in [`log`](Self::log), which makes it a dry run: what would have been done.
///
/// ```
/// use std::time::Duration;
/// use leasehold::clock::{Clock, Timestamp};
/// use leasehold::vip::{Holder, Memory, Policy, VirtualAddress};
///
/// let clock = Clock::manual(Timestamp::from_nanos(1));
/// let host = Memory::new(clock.clone(), ["eth0"]);
/// let ip = "10.0.0.10".parse().unwrap();
/// let addresses = vec![VirtualAddress::new(ip, "eth0")?];
/// let mut holder =
///     Holder::with_backend(addresses, Policy::default(), clock.clone(), host.clone())?;
///
/// holder.acquire(clock.now() + Duration::from_secs(8))?;
/// assert!(host.has(ip));
/// clock.advance(Duration::from_secs(7)); // nobody renews: the kernel takes it away
/// assert!(!host.has(ip));
/// # Ok::<(), leasehold::vip::VipError>(())
/// ```
///
/// [`Holder::with_backend`]: super::Holder::with_backend
#[derive(Clone)]
pub struct Memory {
    clock: Clock,
    host: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    links: BTreeMap<InterfaceName, Interface>,
    addresses: Vec<Entry>,
    sightings: Vec<Sighting>,
    /// Who answers probes.
    rivals: BTreeMap<IpAddr, MacAddress>,
    faults: VecDeque<Fault>,
    log: Vec<String>,
    /// Indexes and creation stamps come from here, so that none is used twice.
    counter: u32,
    slept: Duration,
}

struct Entry {
    ip: IpAddr,
    at: Assigned,
    refreshed: Timestamp,
}

impl Entry {
    fn lives(&self, uptime: Timestamp) -> bool {
        let valid = self.at.lifetime.valid;
        valid == Lifetime::FOREVER
            || uptime < self.refreshed + Duration::from_secs(u64::from(valid))
    }
}

impl State {
    fn next(&mut self) -> u32 {
        self.counter += 1;
        self.counter
    }

    fn sees(&mut self, ip: IpAddr, index: u32, prefix: u8) -> Option<&mut Entry> {
        let mut entries = self.addresses.iter_mut();
        entries.find(|e| e.ip == ip && e.at.index == index && e.at.prefix == prefix)
    }
}

impl Memory {
    /// A host with these interfaces, all of them up. Names that cannot be are left out.
    #[must_use]
    pub fn new<'a>(clock: Clock, interfaces: impl IntoIterator<Item = &'a str>) -> Self {
        let memory = Self { clock, host: Arc::default() };
        for name in interfaces {
            memory.create_link(name);
        }
        memory
    }

    /// Creates an interface, or creates it again under another index: its addresses are gone.
    pub fn create_link(&self, name: &str) {
        self.delete_link(name);
        let Ok(name) = InterfaceName::new(name) else {
            return;
        };
        let mut host = self.host.lock();
        let index = host.next();
        let [a, b, c, d] = index.to_be_bytes();
        let mac = Some(MacAddress([2, 0, a, b, c, d]));
        host.links.insert(name, Interface { index, mac, running: true, carrier_changes: 0 });
    }

    /// Deletes an interface with its addresses.
    pub fn delete_link(&self, name: &str) {
        let Ok(name) = InterfaceName::new(name) else {
            return;
        };
        let mut host = self.host.lock();
        if let Some(link) = host.links.remove(&name) {
            host.addresses.retain(|entry| entry.at.index != link.index);
        }
    }

    /// Takes an interface down or up. Down flushes its IPv6 addresses, as the kernel does.
    pub fn set_running(&self, name: &str, running: bool) {
        let mut host = self.host.lock();
        let mut links = host.links.iter_mut();
        let Some((_, link)) = links.find(|(key, _)| key.as_str() == name) else {
            return;
        };
        link.running = running;
        link.carrier_changes += 1;
        let index = link.index;
        if !running {
            host.addresses.retain(|entry| entry.at.index != index || entry.ip.is_ipv4());
        }
    }

    /// Puts an address on an interface as an administrator does: permanent and unmarked.
    pub fn assign(&self, address: &VirtualAddress) {
        let lifetime = Lifetime { valid: Lifetime::FOREVER, preferred: Lifetime::FOREVER };
        self.put(address, lifetime, false);
    }

    /// Removes an address by hand, from whatever interface.
    pub fn unassign(&self, ip: IpAddr) {
        self.host.lock().addresses.retain(|entry| entry.ip != ip);
    }

    /// Lets another host be seen with an address, and answer probes for it.
    pub fn rival(&self, ip: IpAddr, mac: MacAddress) {
        let mut host = self.host.lock();
        host.sightings.push(Sighting { index: None, ip, mac });
        host.rivals.insert(ip, mac);
    }

    /// Makes the next change fail with `fault`; several wait in line.
    pub fn fail_next(&self, fault: Fault) {
        self.host.lock().faults.push_back(fault);
    }

    /// Lets the machine sleep: the clock moves on, lifetimes stand still.
    pub fn suspend(&self, time: Duration) {
        self.host.lock().slept += time;
        self.clock.advance(time);
    }

    /// Whether the host has this address now.
    #[must_use]
    pub fn has(&self, ip: IpAddr) -> bool {
        self.lifetime(ip).is_some()
    }

    /// The lifetimes that an address was given last; `None` when it is not there.
    #[must_use]
    pub fn lifetime(&self, ip: IpAddr) -> Option<Lifetime> {
        let uptime = self.uptime();
        let host = self.host.lock();
        let mut entries = host.addresses.iter().filter(|entry| entry.lives(uptime));
        entries.find(|entry| entry.ip == ip).map(|entry| entry.at.lifetime)
    }

    /// Every change so far, oldest first, as a line of text.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.host.lock().log.clone()
    }

    fn put(&self, address: &VirtualAddress, lifetime: Lifetime, marked: bool) {
        let refreshed = self.uptime();
        let mut host = self.host.lock();
        let created = host.next();
        let Some(link) = host.links.get(address.interface()) else {
            return;
        };
        let (index, prefix) = (link.index, address.prefix());
        let at = Assigned { index, prefix, marked, created, lifetime };
        host.addresses.push(Entry { ip: address.ip(), at, refreshed });
    }

    /// Notes a change that is about to be made, unless it is to fail.
    fn note(&self, line: impl fmt::Display) -> Result<(), Fault> {
        let mut host = self.host.lock();
        if let Some(fault) = host.faults.pop_front() {
            return Err(fault);
        }
        log::info!("dry run: {line}");
        host.log.push(line.to_string());
        Ok(())
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl Backend for Memory {
    fn uptime(&self) -> Timestamp {
        self.clock.now() - self.host.lock().slept
    }

    fn link(&mut self, name: &InterfaceName) -> Result<Interface, Fault> {
        self.host.lock().links.get(name).cloned().ok_or(Fault::NoSuchInterface)
    }

    fn find(&mut self, ip: IpAddr, on: Option<u32>) -> Result<Vec<Assigned>, Fault> {
        let uptime = self.uptime();
        let mut host = self.host.lock();
        host.addresses.retain(|entry| entry.lives(uptime));
        let found = host.addresses.iter().filter(|entry| entry.ip == ip).map(|entry| &entry.at);
        Ok(found.filter(|at| on.is_none_or(|on| at.index == on)).cloned().collect())
    }

    fn add(
        &mut self,
        link: &Interface,
        address: &VirtualAddress,
        lifetime: Lifetime,
    ) -> Result<(), Fault> {
        if let Some(at) = self.find(address.ip(), Some(link.index))?.first() {
            return Err(Fault::AlreadyAssigned { interface: at.index, marked: at.marked });
        }
        self.note(format_args!("add {address} for {} s", lifetime.valid))?;
        self.put(address, lifetime, true);
        Ok(())
    }

    fn refresh(
        &mut self,
        link: &Interface,
        address: &VirtualAddress,
        lifetime: Lifetime,
    ) -> Result<(), Fault> {
        self.note(format_args!("refresh {address} for {} s", lifetime.valid))?;
        let refreshed = self.uptime();
        let mut host = self.host.lock();
        if let Some(entry) = host.sees(address.ip(), link.index, address.prefix()) {
            entry.at.lifetime = lifetime;
            entry.refreshed = refreshed;
        } else {
            drop(host);
            self.put(address, lifetime, true);
        }
        Ok(())
    }

    fn remove(&mut self, ip: IpAddr, assigned: &Assigned) -> Result<(), Fault> {
        self.note(format_args!("remove {ip}/{}", assigned.prefix))?;
        let place = (ip, assigned.index, assigned.prefix);
        let mut host = self.host.lock();
        host.addresses.retain(|entry| (entry.ip, entry.at.index, entry.at.prefix) != place);
        Ok(())
    }

    fn announce(&mut self, _link: &Interface, ip: IpAddr) -> Result<(), Fault> {
        self.note(format_args!("announce {ip}"))
    }

    fn probe(
        &mut self,
        _link: &Interface,
        ip: IpAddr,
        _wait: Duration,
    ) -> Result<Option<MacAddress>, Fault> {
        Ok(self.host.lock().rivals.get(&ip).copied())
    }

    fn sightings(&mut self) -> Vec<Sighting> {
        std::mem::take(&mut self.host.lock().sightings)
    }
}
