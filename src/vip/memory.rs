//! A host in memory: for tests of applications, and for dry runs.

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

/// A host in memory, with interfaces, and addresses that expire by a clock as the kernel's do.
///
/// Clones are handles to one host. Give one to [`Holder::with_backend`], and use another to act as
/// an administrator, a cable or a rival. [`log`](Self::log) has every change that a real host would
/// have got.
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
/// clock.advance(Duration::from_secs(7)); // without a renewal the address expires
/// assert!(!host.has(ip));
/// # Ok::<(), leasehold::vip::VipError>(())
/// ```
///
/// [`Holder::with_backend`]: super::Holder::with_backend
#[derive(Clone)]
pub struct Memory {
    clock: Clock,
    host: Arc<Mutex<HostState>>,
}

#[derive(Default)]
struct HostState {
    interfaces: BTreeMap<InterfaceName, Interface>,
    addresses: Vec<Entry>,
    sightings: Vec<Sighting>,
    /// The hosts that answer probes.
    rivals: BTreeMap<IpAddr, MacAddress>,
    /// What becomes of the next changes.
    fates: VecDeque<Result<(), Fault>>,
    log: Vec<String>,
    /// The source of indexes and creation stamps, so that none is used twice.
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

impl HostState {
    fn next(&mut self) -> u32 {
        self.counter += 1;
        self.counter
    }

    fn entry(&mut self, ip: IpAddr, index: u32, prefix: u8) -> Option<&mut Entry> {
        let mut entries = self.addresses.iter_mut();
        entries.find(|e| e.ip == ip && e.at.index == index && e.at.prefix == prefix)
    }
}

impl Memory {
    /// A host with these interfaces, all of them up. Invalid names are left out.
    #[must_use]
    pub fn new<'a>(clock: Clock, interfaces: impl IntoIterator<Item = &'a str>) -> Self {
        let memory = Self { clock, host: Arc::default() };
        for name in interfaces {
            memory.create_interface(name);
        }
        memory
    }

    /// Creates an interface, or creates it again with another index and without its addresses.
    pub fn create_interface(&self, name: &str) {
        self.delete_interface(name);
        let Ok(name) = InterfaceName::new(name) else {
            return;
        };
        let mut host = self.host.lock();
        let index = host.next();
        let [a, b, c, d] = index.to_be_bytes();
        let mac = Some(MacAddress([2, 0, a, b, c, d]));
        host.interfaces.insert(name, Interface { index, mac, running: true, carrier_changes: 0 });
    }

    /// Deletes an interface with its addresses.
    pub fn delete_interface(&self, name: &str) {
        let Ok(name) = InterfaceName::new(name) else {
            return;
        };
        let mut host = self.host.lock();
        if let Some(interface) = host.interfaces.remove(&name) {
            host.addresses.retain(|entry| entry.at.index != interface.index);
        }
    }

    /// Gives an interface another name. Its index and its addresses stay.
    pub fn rename_interface(&self, name: &str, to: &str) {
        let (Ok(name), Ok(to)) = (InterfaceName::new(name), InterfaceName::new(to)) else {
            return;
        };
        let mut host = self.host.lock();
        if let Some(interface) = host.interfaces.remove(&name) {
            host.interfaces.insert(to, interface);
        }
    }

    /// Sets an interface down or up. Setting it down removes its IPv6 addresses, as in the kernel.
    pub fn set_running(&self, name: &str, running: bool) {
        let mut host = self.host.lock();
        let mut interfaces = host.interfaces.iter_mut();
        let Some((_, interface)) = interfaces.find(|(key, _)| key.as_str() == name) else {
            return;
        };
        interface.running = running;
        interface.carrier_changes += 1;
        let index = interface.index;
        if !running {
            host.addresses.retain(|entry| entry.at.index != index || entry.ip.is_ipv4());
        }
    }

    /// Adds an address as an administrator does: permanent and unmarked.
    pub fn assign(&self, address: &VirtualAddress) {
        let lifetime = Lifetime { valid: Lifetime::FOREVER, preferred: Lifetime::FOREVER };
        self.put(address, lifetime, false);
    }

    /// Removes an address from all interfaces, as an administrator does.
    pub fn unassign(&self, ip: IpAddr) {
        self.host.lock().addresses.retain(|entry| entry.ip != ip);
    }

    /// Lets another host use an address, and answer probes for it.
    pub fn rival(&self, ip: IpAddr, mac: MacAddress) {
        let mut host = self.host.lock();
        host.sightings.push(Sighting { index: None, ip, mac });
        host.rivals.insert(ip, mac);
    }

    /// Makes the next change fail with `fault`. Several calls make as many changes fail.
    pub fn fail_next(&self, fault: Fault) {
        self.host.lock().fates.push_back(Err(fault));
    }

    /// Lets the next change pass, before those that are to fail.
    pub fn pass_next(&self) {
        self.host.lock().fates.push_back(Ok(()));
    }

    /// Lets the machine sleep: the clock advances, and the lifetimes stand still.
    pub fn suspend(&self, time: Duration) {
        self.host.lock().slept += time;
        self.clock.advance(time);
    }

    /// Whether the host has this address now.
    #[must_use]
    pub fn has(&self, ip: IpAddr) -> bool {
        self.lifetime(ip).is_some()
    }

    /// The lifetimes that an address was last given; `None` when it is not there.
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
        let Some(interface) = host.interfaces.get(address.interface()) else {
            return;
        };
        let (index, prefix) = (interface.index, address.prefix());
        let at = Assigned { index, prefix, marked, created, lifetime };
        host.addresses.push(Entry { ip: address.ip(), at, refreshed });
    }

    /// Logs a change before it is made, unless it is to fail.
    fn record(&self, line: impl fmt::Display) -> Result<(), Fault> {
        let mut host = self.host.lock();
        host.fates.pop_front().unwrap_or(Ok(()))?;
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

    fn interface(&mut self, name: &InterfaceName) -> Result<Interface, Fault> {
        self.host.lock().interfaces.get(name).cloned().ok_or(Fault::NoSuchInterface)
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
        interface: &Interface,
        address: &VirtualAddress,
        lifetime: Lifetime,
    ) -> Result<(), Fault> {
        if let Some(at) = self.find(address.ip(), Some(interface.index))?.first() {
            return Err(Fault::AlreadyAssigned { interface: at.index, marked: at.marked });
        }
        self.record(format_args!("add {address} for {} s", lifetime.valid))?;
        self.put(address, lifetime, true);
        Ok(())
    }

    fn refresh(
        &mut self,
        interface: &Interface,
        address: &VirtualAddress,
        lifetime: Lifetime,
    ) -> Result<(), Fault> {
        self.record(format_args!("refresh {address} for {} s", lifetime.valid))?;
        let refreshed = self.uptime();
        let mut host = self.host.lock();
        if let Some(entry) = host.entry(address.ip(), interface.index, address.prefix()) {
            entry.at.lifetime = lifetime;
            entry.refreshed = refreshed;
        } else {
            drop(host);
            self.put(address, lifetime, true);
        }
        Ok(())
    }

    fn remove(&mut self, ip: IpAddr, assigned: &Assigned) -> Result<(), Fault> {
        self.record(format_args!("remove {ip}/{}", assigned.prefix))?;
        let place = (ip, assigned.index, assigned.prefix);
        let mut host = self.host.lock();
        host.addresses.retain(|entry| (entry.ip, entry.at.index, entry.at.prefix) != place);
        Ok(())
    }

    fn announce(&mut self, _interface: &Interface, ip: IpAddr) -> Result<(), Fault> {
        self.record(format_args!("announce {ip}"))
    }

    fn probe(
        &mut self,
        _interface: &Interface,
        ip: IpAddr,
        _wait: Duration,
    ) -> Result<Option<MacAddress>, Fault> {
        Ok(self.host.lock().rivals.get(&ip).copied())
    }

    fn sightings(&mut self) -> Vec<Sighting> {
        std::mem::take(&mut self.host.lock().sightings)
    }
}
