//! A virtual address: an IP address, its prefix and its interface.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::error::VipError;
use crate::config::vip::{VipConfig, is_interface_name, unusable_address};

/// The name of a network interface, valid for the kernel.
///
/// 1 to 15 printable ASCII characters without `/` and `:`, and neither `.` nor `..`: the rule of
/// the kernel's `dev_valid_name`, without characters that a terminal does not show. The index is
/// not kept, as an interface may be removed and created again under the same name.
///
/// ```
/// use leasehold::vip::InterfaceName;
///
/// let name: InterfaceName = "bond0.100".parse()?;
/// assert_eq!(name.as_str(), "bond0.100");
/// assert!(InterfaceName::new("eth0:1").is_err()); // a label of an address, no interface
/// # Ok::<(), leasehold::vip::VipError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`VipError::InvalidInterface`] when no interface can have this name.
    pub fn new(name: impl Into<String>) -> Result<Self, VipError> {
        let name = name.into();
        if is_interface_name(&name) {
            Ok(Self(name))
        } else {
            Err(VipError::InvalidInterface { name })
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for InterfaceName {
    type Err = VipError;

    fn from_str(name: &str) -> Result<Self, VipError> {
        Self::new(name)
    }
}

/// A virtual IP: one address on one interface.
///
/// ```
/// use leasehold::vip::VirtualAddress;
///
/// let address = VirtualAddress::new("10.0.0.10".parse().unwrap(), "eth0")?;
/// assert_eq!(address.to_string(), "10.0.0.10/32 on eth0");
/// # Ok::<(), leasehold::vip::VipError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VirtualAddress {
    ip: IpAddr,
    prefix: u8,
    interface: InterfaceName,
}

impl VirtualAddress {
    /// The address alone: prefix 32 (IPv6: 128), and no route.
    ///
    /// This is right for nearly every virtual IP, whatever the netmask of its network: hosts of
    /// that network find it by ARP, and the route to the network belongs to the host's own
    /// address. [`with_prefix`](Self::with_prefix) says what a shorter prefix costs.
    ///
    /// # Errors
    /// [`VipError::InvalidInterface`] for an invalid name, [`VipError::InvalidAddress`] for an
    /// address that cannot move between hosts: unspecified, loopback, multicast, broadcast, or
    /// IPv4 written as IPv6.
    pub fn new(ip: IpAddr, interface: &str) -> Result<Self, VipError> {
        if let Some(reason) = unusable_address(ip) {
            return Err(VipError::InvalidAddress { ip, reason });
        }
        Ok(Self { ip, prefix: host_prefix(ip), interface: InterfaceName::new(interface)? })
    }

    /// The same address with the network's prefix, 1 to 32 (IPv6: 1 to 128).
    ///
    /// With a prefix below the full length the kernel adds a route to the network together with
    /// the address, and removes both together. An IPv4 address that is the first of its network on
    /// the interface becomes *primary*: when it is removed, the kernel also removes every other
    /// address of that network from the interface, unless `net.ipv4.conf.*.promote_secondaries`
    /// is set. Use this only where the virtual IP is the only address of its network on the
    /// interface.
    ///
    /// # Errors
    /// [`VipError::InvalidPrefix`] out of range.
    pub fn with_prefix(mut self, prefix: u8) -> Result<Self, VipError> {
        let longest = host_prefix(self.ip);
        if prefix == 0 || prefix > longest {
            return Err(VipError::InvalidPrefix { ip: self.ip, prefix, longest });
        }
        self.prefix = prefix;
        Ok(self)
    }

    /// The address.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The prefix length that is put on the interface.
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The interface.
    #[must_use]
    pub const fn interface(&self) -> &InterfaceName {
        &self.interface
    }

    /// Whether the prefix covers the address alone.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.prefix == host_prefix(self.ip)
    }
}

impl From<&VipConfig> for VirtualAddress {
    fn from(vip: &VipConfig) -> Self {
        let interface = InterfaceName(vip.interface().to_owned());
        Self { ip: vip.address(), prefix: vip.netmask(), interface }
    }
}

impl fmt::Display for VirtualAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} on {}", self.ip, self.prefix, self.interface)
    }
}

const fn host_prefix(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// A link-layer address of Ethernet, 48 bits.
///
/// ```
/// use leasehold::vip::MacAddress;
///
/// assert_eq!(MacAddress([2, 0, 0, 0, 0, 0x1f]).to_string(), "02:00:00:00:00:1f");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|octet| write!(f, ":{octet:02x}"))
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(ip: &str) -> Result<VirtualAddress, VipError> {
        VirtualAddress::new(ip.parse().unwrap(), "eth0")
    }

    #[test]
    fn the_default_prefix_covers_the_address_alone() {
        assert_eq!(address("10.0.0.1").unwrap().prefix(), 32);
        assert_eq!(address("fd00::1").unwrap().prefix(), 128);
        assert!(!address("10.0.0.1").unwrap().with_prefix(24).unwrap().is_host());
    }

    #[test]
    fn a_prefix_out_of_range_is_refused_with_the_range() {
        for prefix in [0, 33] {
            let error = address("10.0.0.1").unwrap().with_prefix(prefix).unwrap_err();
            assert!(error.to_string().contains("1 to 32"), "{error}");
        }
        assert!(address("fd00::1").unwrap().with_prefix(129).is_err());
    }

    #[test]
    fn an_address_that_cannot_move_is_refused() {
        let bad = ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"];
        for ip in bad.into_iter().chain(["::", "::1", "ff02::1", "::ffff:10.0.0.1"]) {
            assert!(matches!(address(ip), Err(VipError::InvalidAddress { .. })), "{ip}");
        }
    }

    #[test]
    fn an_invalid_interface_name_is_refused() {
        for name in ["", ".", "..", "a/b", "eth0:1", "with space", "sixteen-bytes-xx", "é"] {
            assert!(InterfaceName::new(name).is_err(), "{name}");
        }
        assert!(InterfaceName::new("fifteen-bytes-x").is_ok());
    }
}
