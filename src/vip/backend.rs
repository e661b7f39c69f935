//! The floor a holder stands on: a host's addresses and links, or a pretence of them.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Timestamp;

use super::address::{InterfaceName, MacAddress, VirtualAddress};
use super::error::Fault;
use super::policy::Lifetime;

/// A network interface as it is at this moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// The kernel's index; another one after the interface was removed and made again.
    pub index: u32,
    /// The link-layer address, where it is one of Ethernet and the interface does ARP. Without
    /// one an address is held but not announced (`lo`, tunnels).
    pub mac: Option<MacAddress>,
    /// Whether frames can be sent: up, and with a carrier.
    pub running: bool,
    /// How often the carrier came or went; a change means that neighbours may have forgotten us.
    pub carrier_changes: u32,
}

/// An address as it stands on an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assigned {
    /// The interface that has it.
    pub index: u32,
    /// Its prefix length.
    pub prefix: u8,
    /// Whether it bears this library's mark.
    pub marked: bool,
    /// When it was created, in hundredths of a second of an arbitrary origin (`cstamp` of
    /// `struct ifa_cacheinfo`): tells one instance of an address from the next.
    pub created: u32,
    /// What is left of its lifetimes.
    pub lifetime: Lifetime,
}

/// A host that was seen using an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// The interface it was seen on; `None` where that is not known.
    pub index: Option<u32>,
    /// The address it uses.
    pub ip: IpAddr,
    /// Which host.
    pub mac: MacAddress,
}

/// What a [`Holder`](super::Holder) needs of a host.
///
/// [`Holder::new`](super::Holder::new) uses the kernel's. [`Memory`](super::Memory) is one for
/// tests and dry runs. Methods may block for as long as the kernel holds its routing lock, a
/// probe for its wait; none is called from a thread that renews a lease.
pub trait Backend: Send + fmt::Debug {
    /// The clock that kernel lifetimes run by: one that stands still while the machine sleeps.
    fn uptime(&self) -> Timestamp;

    /// The interface of that name.
    ///
    /// # Errors
    /// [`Fault::NoSuchInterface`], or the kernel's answer.
    fn link(&mut self, name: &InterfaceName) -> Result<Interface, Fault>;

    /// Where this exact address stands: on the interface with index `on`, or on every interface.
    ///
    /// # Errors
    /// The kernel's answer.
    fn find(&mut self, ip: IpAddr, on: Option<u32>) -> Result<Vec<Assigned>, Fault>;

    /// Puts an address on an interface, with the mark, and only if it is not there.
    ///
    /// # Errors
    /// [`Fault::AlreadyAssigned`] when it is there, else the kernel's answer.
    fn add(
        &mut self,
        link: &Interface,
        address: &VirtualAddress,
        lifetime: Lifetime,
    ) -> Result<(), Fault>;

    /// Sets the lifetimes of an address that was just found to be ours.
    ///
    /// # Errors
    /// The kernel's answer.
    fn refresh(
        &mut self,
        link: &Interface,
        address: &VirtualAddress,
        lifetime: Lifetime,
    ) -> Result<(), Fault>;

    /// Removes an address that was just found to be ours. One that is gone is no error.
    ///
    /// # Errors
    /// The kernel's answer.
    fn remove(&mut self, ip: IpAddr, assigned: &Assigned) -> Result<(), Fault>;

    /// Tells the network where the address is now.
    ///
    /// # Errors
    /// The kernel's answer.
    fn announce(&mut self, link: &Interface, ip: IpAddr) -> Result<(), Fault>;

    /// Asks the network who has the address, and waits up to `wait` for another host to answer.
    ///
    /// # Errors
    /// The kernel's answer.
    fn probe(
        &mut self,
        link: &Interface,
        ip: IpAddr,
        wait: Duration,
    ) -> Result<Option<MacAddress>, Fault>;

    /// What other hosts were seen to say about addresses since the last look, any addresses: the
    /// holder picks its own. Never waits.
    fn sightings(&mut self) -> Vec<Sighting>;
}
