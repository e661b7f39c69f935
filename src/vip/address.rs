//! A virtual address: an IP address and its interface.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use super::backend::Assigned;
use super::error::VipError;
use crate::config::vip::{VipConfig, is_interface_name, unusable_address};

/// How long a configured address is probed.
const CONFIGURED_PROBE: Duration = Duration::from_millis(300);
const SHORTEST_PROBE: Duration = Duration::from_millis(10);
const LONGEST_PROBE: Duration = Duration::from_secs(3);

/// The index of the loopback interface in every network namespace: the kernel's `LOOPBACK_IFINDEX`.
pub(super) const LOOPBACK: u32 = 1;

/// The name of a network interface, or an alternative name of it (`ip link property add altname`).
///
/// 1 to 127 printable ASCII characters without `/` and `:`, and neither `.` nor `..`: the rule of
/// the kernel's `dev_valid_name`, up to the length of an alternative name (`ALTIFNAMSIZ`), without
/// characters that a terminal does not show. The index is not kept, as an interface may be removed
/// and created again under the same name.
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
/// On the interface it is always the address alone: prefix 32 (IPv6: 128) and no route, whatever
/// the netmask of its network. Hosts of that network find it by ARP or neighbour discovery, and the
/// route to the network belongs to the host's own address. With the netmask of the network, an
/// address that came first would be the *primary* of the network, and the kernel would remove all
/// other addresses of the network with it, and their routes.
///
/// ```
/// use std::time::Duration;
/// use leasehold::vip::VirtualAddress;
///
/// let address = VirtualAddress::new("10.0.0.10".parse().unwrap(), "eth0")?;
/// let address = address.probe(Duration::from_millis(200))?; // asks the network before it is taken
/// assert_eq!(address.to_string(), "10.0.0.10/32 on eth0");
/// # Ok::<(), leasehold::vip::VipError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VirtualAddress {
    ip: IpAddr,
    interface: InterfaceName,
    probe: Option<Duration>,
    allow_on_loopback: bool,
}

impl VirtualAddress {
    /// That address on that interface, without a probe.
    ///
    /// # Errors
    /// [`VipError::InvalidInterface`] for an invalid name, [`VipError::InvalidAddress`] for an
    /// address that cannot move between hosts: unspecified, loopback, multicast, broadcast, or
    /// IPv4 written as IPv6.
    pub fn new(ip: IpAddr, interface: &str) -> Result<Self, VipError> {
        if let Some(reason) = unusable_address(ip) {
            return Err(VipError::InvalidAddress { ip, reason });
        }
        let interface = InterfaceName::new(interface)?;
        Ok(Self { ip, interface, probe: None, allow_on_loopback: false })
    }

    /// Probes for another host with the address before it is acquired, and waits `wait` for a
    /// response: ARP probes with sender 0.0.0.0 (RFC 5227, section 2.1), neighbour solicitations
    /// with an unspecified source (RFC 4862, section 5.4). Off by default.
    ///
    /// Acquiring takes that much longer. The RFCs wait for seconds, for hosts that boot; a host on
    /// the same network answers within milliseconds.
    ///
    /// # Errors
    /// [`VipError::InvalidPolicy`] unless 10 ms to 3 s.
    pub fn probe(self, wait: Duration) -> Result<Self, VipError> {
        if wait < SHORTEST_PROBE || wait > LONGEST_PROBE {
            let given = format!("{wait:?}");
            return Err(VipError::InvalidPolicy { what: "a probe", given, range: "10 ms to 3 s" });
        }
        Ok(Self { probe: Some(wait), ..self })
    }

    /// Accepts that an administrator has put the same address on the loopback interface too, as on
    /// the real servers of a load balancer that routes directly (Linux Virtual Server). Otherwise
    /// such an address is an error. The instance on the loopback interface is never touched.
    #[must_use]
    pub const fn allow_on_loopback(mut self) -> Self {
        self.allow_on_loopback = true;
        self
    }

    /// The address.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The interface.
    #[must_use]
    pub const fn interface(&self) -> &InterfaceName {
        &self.interface
    }

    /// The prefix length on the interface: 32, for IPv6 128.
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        match self.ip {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        }
    }

    /// How long to wait for responses to a probe.
    pub(super) const fn probe_wait(&self) -> Option<Duration> {
        self.probe
    }

    /// Whether an instance of this address may be there beside ours.
    pub(super) fn may_stand_beside(&self, found: &Assigned) -> bool {
        self.allow_on_loopback && found.index == LOOPBACK && !found.marked
    }
}

impl From<&VipConfig> for VirtualAddress {
    /// The netmask of the configuration is not used: see [`VirtualAddress`].
    fn from(vip: &VipConfig) -> Self {
        Self {
            ip: vip.address(),
            interface: InterfaceName(vip.interface().to_owned()),
            probe: vip.probe().then_some(CONFIGURED_PROBE),
            allow_on_loopback: vip.allows_on_loopback(),
        }
    }
}

impl fmt::Display for VirtualAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} on {}", self.ip, self.prefix(), self.interface)
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
    fn the_prefix_covers_the_address_alone() {
        assert_eq!(address("10.0.0.1").unwrap().to_string(), "10.0.0.1/32 on eth0");
        assert_eq!(address("fd00::1").unwrap().to_string(), "fd00::1/128 on eth0");
    }

    #[test]
    fn a_probe_out_of_range_is_refused_with_the_range() {
        for wait in [9, 3_001].map(Duration::from_millis) {
            let error = address("10.0.0.1").unwrap().probe(wait).unwrap_err();
            assert!(error.to_string().contains("10 ms to 3 s"), "{error}");
        }
        assert!(address("10.0.0.1").unwrap().probe(LONGEST_PROBE).is_ok());
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
        let long = "x".repeat(128);
        for name in ["", ".", "..", "a/b", "eth0:1", "with space", "é", &long] {
            assert!(InterfaceName::new(name).is_err(), "{name}");
        }
        assert!(InterfaceName::new(&long[1..]).is_ok());
    }
}
