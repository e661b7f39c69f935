//! The backend of real hosts: rtnetlink for addresses, `AF_PACKET` and `ICMPv6` for the network.

use std::net::IpAddr;
use std::time::Duration;

use nix::libc::{EACCES, EADDRNOTAVAIL, EEXIST, EINVAL, ENODEV, EPERM};
use rustix::time::{ClockId, clock_gettime};

use crate::clock::Timestamp;

use super::address::{InterfaceName, MacAddress, VirtualAddress};
use super::announcer::Announcer;
use super::backend::{Assigned, Backend, Interface, Sighting};
use super::codec::{self, Request};
use super::error::{Capability, Fault, VipError};
use super::netlink::Netlink;
use super::policy::Lifetime;

/// The addresses and interfaces of this host, by rtnetlink.
///
/// It belongs to the network namespace of the thread that opened it, and must be used from threads
/// of that namespace.
///
/// ```no_run
/// use leasehold::vip::{Backend, Kernel};
///
/// let mut host = Kernel::open(false)?; // needs CAP_NET_ADMIN and CAP_NET_RAW
/// let interface = host.interface(&"eth0".parse()?)?;
/// println!("index {}, up: {}", interface.index, interface.running);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Kernel {
    netlink: Netlink,
    announcer: Announcer,
}

impl Kernel {
    /// Opens every socket that will be needed, with `ipv6` also those for IPv6 addresses, and
    /// checks the permission to use them.
    ///
    /// # Errors
    /// [`VipError::NotPermitted`] without `CAP_NET_ADMIN` or `CAP_NET_RAW`, naming which;
    /// [`VipError::System`] when a socket cannot be opened.
    pub fn open(ipv6: bool) -> Result<Self, VipError> {
        let purpose = "talk to rtnetlink";
        let netlink = Netlink::open().map_err(|source| VipError::System { purpose, source })?;
        let mut kernel = Self { netlink, announcer: Announcer::open(ipv6)? };
        kernel.check_permission()?;
        Ok(kernel)
    }

    /// Requests the removal of an address from an interface that cannot exist: the kernel checks
    /// the capability first.
    fn check_permission(&mut self) -> Result<(), VipError> {
        let ip = IpAddr::from([192, 0, 2, 1]);
        let request = Request::Remove { index: i32::MAX.unsigned_abs(), ip, prefix: 32 };
        match self.netlink.change(request) {
            Err(Fault::Kernel { errno: EPERM, .. }) => Err(VipError::NotPermitted {
                capability: Capability::NetAdmin,
                purpose: "add and remove a virtual IP",
            }),
            _ => Ok(()),
        }
    }

    fn change(&mut self, request: Request<'_>, ip: IpAddr) -> Result<(), Fault> {
        self.netlink.change(request).map_err(|fault| match fault {
            Fault::Kernel { errno: ENODEV, .. } => Fault::NoSuchInterface,
            Fault::Kernel { errno: EPERM, .. } => Fault::NotPermitted(Capability::NetAdmin),
            Fault::Kernel { errno: EACCES, .. } if ip.is_ipv6() => Fault::Ipv6Disabled,
            Fault::Kernel { errno: EINVAL, detail } => Fault::Invalid(detail),
            fault => fault,
        })
    }
}

impl Backend for Kernel {
    fn uptime(&self) -> Timestamp {
        let time = clock_gettime(ClockId::Monotonic);
        let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
        Timestamp::ZERO + seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
    }

    fn interface(&mut self, name: &InterfaceName) -> Result<Interface, Fault> {
        let interfaces = self.netlink.request(Request::Interface(name), codec::interface);
        match interfaces {
            Err(Fault::Kernel { errno: ENODEV, .. }) => Err(Fault::NoSuchInterface),
            interfaces => interfaces?.into_iter().next().ok_or(Fault::NoSuchInterface),
        }
    }

    fn find(&mut self, ip: IpAddr, on: Option<u32>) -> Result<Vec<Assigned>, Fault> {
        let take = |kind, payload: &[u8]| codec::assigned(kind, payload, ip);
        match self.netlink.request(Request::Addresses { ip, on }, take) {
            // The interface was removed after it was looked up, and its addresses with it.
            Err(Fault::Kernel { errno: ENODEV, .. }) => Ok(Vec::new()),
            // Without strict checking the kernel ignores the interface and returns all addresses.
            found => {
                Ok(found?.into_iter().filter(|at| on.is_none_or(|on| at.index == on)).collect())
            }
        }
    }

    fn add(
        &mut self,
        interface: &Interface,
        address: &VirtualAddress,
        lifetime: Lifetime,
    ) -> Result<(), Fault> {
        let request = Request::Add { index: interface.index, address, lifetime };
        match self.change(request, address.ip()) {
            Err(Fault::Kernel { errno: EEXIST, .. }) => {
                Err(Fault::AlreadyAssigned { interface: interface.index, marked: false })
            }
            result => result,
        }
    }

    fn refresh(
        &mut self,
        interface: &Interface,
        address: &VirtualAddress,
        lifetime: Lifetime,
    ) -> Result<(), Fault> {
        self.change(Request::Refresh { index: interface.index, address, lifetime }, address.ip())
    }

    fn remove(&mut self, ip: IpAddr, assigned: &Assigned) -> Result<(), Fault> {
        let request = Request::Remove { index: assigned.index, ip, prefix: assigned.prefix };
        match self.change(request, ip) {
            Err(Fault::NoSuchInterface | Fault::Kernel { errno: EADDRNOTAVAIL, .. }) => Ok(()),
            result => result,
        }
    }

    fn announce(&mut self, interface: &Interface, ip: IpAddr) -> Result<(), Fault> {
        self.announcer.announce(interface, ip).map_err(|error| unsent(&error))
    }

    fn probe(
        &mut self,
        interface: &Interface,
        ip: IpAddr,
        wait: Duration,
    ) -> Result<Option<MacAddress>, Fault> {
        self.announcer.probe(interface, ip, wait).map_err(|error| unsent(&error))
    }

    fn sightings(&mut self) -> Vec<Sighting> {
        let claims = self.announcer.claims().into_iter().filter(|(_, claim)| !claim.probing);
        claims.map(|(index, claim)| Sighting { index, ip: claim.ip, mac: claim.mac }).collect()
    }
}

fn unsent(error: &std::io::Error) -> Fault {
    match error.raw_os_error() {
        Some(errno) => Fault::Kernel { errno, detail: "the frame was not sent".into() },
        None => Fault::NoAnswer(error.to_string()),
    }
}
