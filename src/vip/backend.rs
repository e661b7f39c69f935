//! What a holder needs of its host: addresses, interfaces and the network.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Timestamp;

use super::address::{InterfaceName, MacAddress, VirtualAddress};
use super::error::Fault;
use super::policy::Lifetime;

/// A network interface at one moment.
///
/// ```
/// use leasehold::clock::Clock;
/// use leasehold::vip::{Backend, Memory};
///
/// let mut host = Memory::new(Clock::boot(), ["eth0"]);
/// host.set_running("eth0", false); // the cable is pulled
/// let interface = host.interface(&"eth0".parse()?)?;
/// assert!(!interface.running && interface.carrier_changes == 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// The kernel's index. An interface that is removed and created again has another one.
    pub index: u32,
    /// The link-layer address, if it is one of Ethernet and the interface does ARP. Without one an
    /// address is held but not announced (`lo`, tunnels).
    pub mac: Option<MacAddress>,
    /// Whether frames can be sent: up, and with a carrier.
    pub running: bool,
    /// How many times the carrier came or went. After a change the neighbours may have forgotten
    /// the address.
    pub carrier_changes: u32,
}

/// An address on an interface.
///
/// ```
/// use leasehold::clock::Clock;
/// use leasehold::vip::{Backend, Memory, VirtualAddress};
///
/// let mut host = Memory::new(Clock::boot(), ["eth0"]);
/// let address = VirtualAddress::new("10.0.0.10".parse()?, "eth0")?;
/// host.assign(&address); // an administrator does this
/// let found = host.find(address.ip(), None)?;
/// assert!(found.len() == 1 && !found[0].marked); // no holder touches it
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assigned {
    /// The index of the interface.
    pub index: u32,
    /// Its prefix length.
    pub prefix: u8,
    /// Whether it has this library's mark.
    pub marked: bool,
    /// When it was created, in hundredths of a second from an arbitrary origin (`cstamp` of
    /// `struct ifa_cacheinfo`). It tells one instance of an address from the next.
    pub created: u32,
    /// Its remaining lifetimes.
    pub lifetime: Lifetime,
}

/// Another host that uses an address.
///
/// ```
/// use leasehold::clock::Clock;
/// use leasehold::vip::{Backend, MacAddress, Memory, Sighting};
///
/// let mut host = Memory::new(Clock::boot(), ["eth0"]);
/// let (ip, mac) = ("10.0.0.10".parse()?, MacAddress([2, 0, 0, 0, 0, 7]));
/// host.rival(ip, mac);
/// assert_eq!(host.sightings(), [Sighting { index: None, ip, mac }]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// The interface that received its frame; `None` where that is not known.
    pub index: Option<u32>,
    /// The address that it uses.
    pub ip: IpAddr,
    /// The host's link-layer address.
    pub mac: MacAddress,
}

/// The host under a [`Holder`](super::Holder).
///
/// [`Holder::new`](super::Holder::new) uses [`Kernel`](super::Kernel). [`Memory`](super::Memory) is
/// for tests and dry runs. Methods may block while the kernel holds its routing lock, and a probe
/// for its wait. None is called from a thread that renews a lease.
///
/// ```
/// use std::net::IpAddr;
/// use leasehold::clock::Clock;
/// use leasehold::vip::{Backend, Fault, Memory};
///
/// fn has_address(host: &mut impl Backend, ip: IpAddr) -> Result<bool, Fault> {
///     Ok(!host.find(ip, None)?.is_empty())
/// }
/// let mut host = Memory::new(Clock::boot(), ["eth0"]); // or `Kernel::open(false)?`
/// assert!(!has_address(&mut host, "10.0.0.10".parse()?)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Backend: Send + fmt::Debug {
    /// The clock of the kernel's lifetimes, which stops while the machine sleeps.
    fn uptime(&self) -> Timestamp;

    /// The interface of that name.
    ///
    /// # Errors
    /// [`Fault::NoSuchInterface`], or the kernel's error.
    fn interface(&mut self, name: &InterfaceName) -> Result<Interface, Fault>;

    /// The instances of this exact address: on the interface with index `on`, or on all interfaces.
    ///
    /// # Errors
    /// The kernel's error.
    fn find(&mut self, ip: IpAddr, on: Option<u32>) -> Result<Vec<Assigned>, Fault>;

    /// Adds an address to an interface, with the mark, and only if it is not there.
    ///
    /// # Errors
    /// [`Fault::AlreadyAssigned`] when it is there, else the kernel's error.
    fn add(
        &mut self,
        interface: &Interface,
        address: &VirtualAddress,
        lifetime: Lifetime,
    ) -> Result<(), Fault>;

    /// Sets the lifetimes of an address that the holder owns, as a look just before has shown.
    ///
    /// # Errors
    /// The kernel's error.
    fn refresh(
        &mut self,
        interface: &Interface,
        address: &VirtualAddress,
        lifetime: Lifetime,
    ) -> Result<(), Fault>;

    /// Removes an address that the holder owns, as a look just before has shown. It is no error
    /// when the address is gone.
    ///
    /// # Errors
    /// The kernel's error.
    fn remove(&mut self, ip: IpAddr, assigned: &Assigned) -> Result<(), Fault>;

    /// Announces to the network where the address is.
    ///
    /// # Errors
    /// The kernel's error.
    fn announce(&mut self, interface: &Interface, ip: IpAddr) -> Result<(), Fault>;

    /// Asks the network which host has the address, and waits up to `wait` for a response.
    ///
    /// # Errors
    /// The kernel's error.
    fn probe(
        &mut self,
        interface: &Interface,
        ip: IpAddr,
        wait: Duration,
    ) -> Result<Option<MacAddress>, Fault>;

    /// Other hosts' uses of any addresses since the last call; the holder picks its own addresses.
    /// Never waits.
    fn sightings(&mut self) -> Vec<Sighting>;
}
