//! The virtual IPs' part of the configuration: plain, validated data.

use std::fmt;
use std::net::IpAddr;

use super::error::{ConfigError, quoted};

/// Prefix length of an IPv4 address without one, as go-cluster has it.
pub const DEFAULT_NETMASK_V4: u8 = 24;
/// Prefix length of an IPv6 address without one.
pub const DEFAULT_NETMASK_V6: u8 = 128;
/// Most virtual IPs of a node.
pub const MAX_VIPS: usize = 64;
/// Most virtual IPs that are probed: each takes 300 ms, one after the other, of the term.
const MAX_PROBES: usize = 4;
/// Longest alternative name of an interface, in bytes (the kernel's `ALTIFNAMSIZ` less its final
/// zero). A name proper has at most 15.
const MAX_INTERFACE_LENGTH: usize = 127;

/// The section, which may be a list of them.
pub(super) const SECTION: &str = "vip";
const ADDRESS: &str = "vip.address";
const INTERFACE: &str = "vip.interface";

/// Which address follows the leader, and on which interface.
///
/// ```
/// use leasehold::Config;
/// use leasehold::config::VipConfig;
///
/// let vip = VipConfig::new("10.0.0.10".parse()?, "eth0")?.with_netmask(32)?;
/// let config = Config::builder("orders", "node-1", ["nats://a.example"]).vips([vip]).build()?;
/// assert_eq!(config.vips()[0].to_string(), "10.0.0.10/32");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VipConfig {
    pub(super) address: IpAddr,
    pub(super) netmask: u8,
    pub(super) interface: String,
    pub(super) probe: bool,
    pub(super) allow_on_loopback: bool,
}

impl VipConfig {
    /// An address on an interface, with the default netmask: 24 for IPv4, 128 for IPv6.
    ///
    /// # Errors
    /// The address cannot move between hosts (unspecified, loopback, multicast, broadcast), or no
    /// interface can have this name or alternative name: 1 to 127 printable ASCII characters
    /// without `/` and `:`.
    pub fn new(address: IpAddr, interface: &str) -> Result<Self, ConfigError> {
        // An IPv4 address in IPv6 notation is an IPv4 address to the kernel's IPv4 side.
        let address = address.to_canonical();
        check_usable(address)?;
        check_interface(INTERFACE, interface)?;
        let netmask = if address.is_ipv4() { DEFAULT_NETMASK_V4 } else { DEFAULT_NETMASK_V6 };
        let interface = interface.to_owned();
        Ok(Self { address, netmask, interface, probe: false, allow_on_loopback: false })
    }

    /// The same with another prefix length: 1 to 32 bits for IPv4, to 128 for IPv6; 0 stands for
    /// the default. `vip.netmask`. It is shown in status only: on the interface the address always
    /// has its full length.
    ///
    /// # Errors
    /// The prefix is longer than the address.
    pub fn with_netmask(self, bits: u64) -> Result<Self, ConfigError> {
        let longest = if self.address.is_ipv4() { 32 } else { 128 };
        match u8::try_from(bits) {
            Ok(0) => Ok(self),
            Ok(netmask) if netmask <= longest => Ok(Self { netmask, ..self }),
            _ => {
                let why = format!("must be between 0 and {longest}, found {bits}");
                Err(ConfigError::invalid("vip.netmask", why))
            }
        }
    }

    /// The same, and asks the network before the address is taken: `vip.probe`. See
    /// [`VirtualAddress::probe`](crate::vip).
    #[must_use]
    pub fn with_probe(self) -> Self {
        Self { probe: true, ..self }
    }

    /// The same, for an address that stands on the loopback interface too: `vip.allowOnLoopback`.
    #[must_use]
    pub fn allow_on_loopback(self) -> Self {
        Self { allow_on_loopback: true, ..self }
    }

    /// Reads the address from text, as the file has it.
    pub(super) fn parse(address: &str, interface: &str) -> Result<Self, ConfigError> {
        Self::new(parse_address(address)?, interface)
    }

    /// The address. `vip.address`, no default.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Prefix length in bits, for people to see. `vip.netmask`, default 24 (IPv4) or 128 (IPv6).
    #[must_use]
    pub fn netmask(&self) -> u8 {
        self.netmask
    }

    /// Name of the interface. `vip.interface`, no default.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Whether the network is asked before the address is taken. `vip.probe`, default false.
    #[must_use]
    pub fn probe(&self) -> bool {
        self.probe
    }

    /// Whether the address may stand on the loopback interface too. `vip.allowOnLoopback`, default
    /// false.
    #[must_use]
    pub fn allows_on_loopback(&self) -> bool {
        self.allow_on_loopback
    }
}

impl fmt::Display for VipConfig {
    /// `192.168.1.100/24`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.netmask)
    }
}

fn parse_address(text: &str) -> Result<IpAddr, ConfigError> {
    text.parse().map_err(|_| {
        let hint = if text.contains('/') { " (the prefix goes into vip.netmask)" } else { "" };
        let why = format!("is not a valid IP address: {}{hint}", quoted(text));
        ConfigError::invalid(ADDRESS, why)
    })
}

fn check_usable(address: IpAddr) -> Result<(), ConfigError> {
    unusable_address(address).map_or(Ok(()), |reason| {
        let why = format!("is {address}, which cannot be a virtual IP: {reason}");
        Err(ConfigError::invalid(ADDRESS, why))
    })
}

/// Checks that no address is given twice, and that not too many are to be probed.
pub(super) fn check_set(vips: &[VipConfig]) -> Result<(), ConfigError> {
    let mut probed = vips.iter().enumerate().filter(|(_, vip)| vip.probe);
    if let Some((index, _)) = probed.nth(MAX_PROBES) {
        let why = format!("is set for more than {MAX_PROBES} virtual IPs, which is the limit");
        return Err(ConfigError::invalid("vip.probe", why).in_list(SECTION, index));
    }
    for (index, vip) in vips.iter().enumerate() {
        if vips[..index].iter().any(|earlier| earlier.address == vip.address) {
            let why = format!("is {}, which is given twice", vip.address);
            return Err(ConfigError::invalid(ADDRESS, why).in_list(SECTION, index));
        }
    }
    Ok(())
}

/// Checks the field `vip.address` alone.
pub(super) fn check_address(_: &str, address: &str) -> Result<(), ConfigError> {
    check_usable(parse_address(address)?.to_canonical())
}

/// Checks the field `vip.interface` alone.
pub(super) fn check_interface(path: &str, name: &str) -> Result<(), ConfigError> {
    if name.is_empty() {
        return Err(ConfigError::invalid(path, format!("is required when {ADDRESS} is set")));
    }
    if is_interface_name(name) {
        return Ok(());
    }
    let why = format!(
        "is {}, must be 1 to {MAX_INTERFACE_LENGTH} printable ASCII characters without '/' and ':'",
        quoted(name)
    );
    Err(ConfigError::invalid(path, why))
}

/// Whether the kernel lets an interface have this name: the rule of its `dev_valid_name`, less the
/// characters that no terminal shows.
pub(crate) fn is_interface_name(name: &str) -> bool {
    let printable = name.bytes().all(|byte| byte.is_ascii_graphic() && !b"/:".contains(&byte));
    let fits = (1..=MAX_INTERFACE_LENGTH).contains(&name.len());
    fits && printable && !matches!(name, "." | "..")
}

/// Why an address cannot move between hosts; `None` when it can.
pub(crate) fn unusable_address(ip: IpAddr) -> Option<&'static str> {
    match ip {
        _ if ip.is_unspecified() => Some("it is the unspecified address"),
        _ if ip.is_loopback() => Some("it is a loopback address"),
        _ if ip.is_multicast() => Some("it is a multicast address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("it is the broadcast address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("it is IPv4; write it as IPv4"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(address: &str, interface: &str) -> String {
        VipConfig::parse(address, interface).unwrap_err().to_string()
    }

    #[test]
    fn netmask_defaults_by_family() {
        let vip = VipConfig::parse("192.168.1.100", "eth0").unwrap();
        assert_eq!(vip.to_string(), "192.168.1.100/24");
        assert_eq!(vip.clone().with_netmask(0).unwrap(), vip);
        let vip = VipConfig::parse("2001:db8::7", "eth0").unwrap();
        assert_eq!(vip.to_string(), "2001:db8::7/128");
        assert_eq!(vip.with_netmask(64).unwrap().to_string(), "2001:db8::7/64");
        let mapped = VipConfig::parse("::ffff:10.0.0.1", "eth0").unwrap();
        assert_eq!(mapped.to_string(), "10.0.0.1/24");
    }

    #[test]
    fn refusals_are_worded_as_go_cluster_words_them() {
        let message = refusal("invalid-ip", "eth0");
        assert!(message.starts_with("vip.address is not a valid IP address"), "{message}");
        let message = refusal("192.168.1.100", "");
        assert_eq!(message, "vip.interface is required when vip.address is set");
        let vip = VipConfig::parse("192.168.1.100", "eth0").unwrap();
        let message = vip.with_netmask(33).unwrap_err().to_string();
        assert!(message.starts_with("vip.netmask must be between 0 and 32"), "{message}");
        assert!(refusal("10.0.0.1/24", "eth0").contains("vip.netmask"));
    }

    #[test]
    fn a_configuration_is_refused_whose_lease_is_too_short_for_its_virtual_ip() {
        let ttl = std::time::Duration::from_secs(3);
        let config = crate::Config::builder("c", "n", ["localhost"]).lease_ttl(ttl);
        let config = config.renew_interval(ttl / 3);
        assert!(config.clone().build().is_ok());
        let vip = VipConfig::parse("10.0.0.1", "eth0").unwrap();
        let error = config.vips([vip]).build().unwrap_err();
        assert_eq!(error.path(), Some("election.leaseTtlMs"), "{error}");
    }

    #[test]
    fn unusable_addresses_and_interface_names_are_refused() {
        let addresses = ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"];
        for address in addresses.into_iter().chain(["::", "::1", "ff02::1", "::ffff:127.0.0.1"]) {
            assert!(refusal(address, "eth0").contains("cannot be a virtual IP"), "{address}");
        }
        let long = "x".repeat(128);
        for interface in ["a b", "a/b", "eth0:1", "..", &long, "a\n", "é"] {
            assert!(refusal("10.0.0.1", interface).contains("vip.interface"), "{interface}");
        }
    }
}
