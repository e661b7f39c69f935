//! The virtual IP's part of the configuration: plain, validated data.

use std::fmt;
use std::net::IpAddr;

use super::error::{ConfigError, quoted};

/// Prefix length of an IPv4 address without one, as go-cluster has it.
pub const DEFAULT_NETMASK_V4: u8 = 24;
/// Prefix length of an IPv6 address without one.
pub const DEFAULT_NETMASK_V6: u8 = 128;
/// Longest name of an interface, in bytes (the kernel's `IFNAMSIZ` less its final zero).
const MAX_INTERFACE_LENGTH: usize = 15;

const ADDRESS: &str = "vip.address";
const INTERFACE: &str = "vip.interface";

/// Which address follows the leader, and on which interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VipConfig {
    address: IpAddr,
    netmask: u8,
    interface: String,
}

impl VipConfig {
    /// An address on an interface, with the default netmask: 24 for IPv4, 128 for IPv6.
    ///
    /// # Errors
    /// The address cannot be a host's (unspecified, multicast, broadcast), or the interface's name
    /// is empty, longer than 15 bytes, or has a blank, `/` or `:`.
    pub fn new(address: IpAddr, interface: &str) -> Result<Self, ConfigError> {
        // An IPv4 address in IPv6 notation is an IPv4 address to the kernel's IPv4 side.
        let address = address.to_canonical();
        let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
        if address.is_unspecified() || address.is_multicast() || broadcast {
            let why = format!("is {address}, which no host can have");
            return Err(ConfigError::invalid(ADDRESS, why));
        }
        check_interface(interface)?;
        let netmask = if address.is_ipv4() { DEFAULT_NETMASK_V4 } else { DEFAULT_NETMASK_V6 };
        Ok(Self { address, netmask, interface: interface.to_owned() })
    }

    /// The same with another prefix length: 1 to 32 bits for IPv4, to 128 for IPv6; 0 stands for
    /// the default. `vip.netmask`.
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

    /// Reads the address from text, as the file has it.
    pub(super) fn parse(address: &str, interface: &str) -> Result<Self, ConfigError> {
        let Ok(parsed) = address.parse() else {
            let hint =
                if address.contains('/') { " (the prefix goes into vip.netmask)" } else { "" };
            let why = format!("is not a valid IP address: {}{hint}", quoted(address));
            return Err(ConfigError::invalid(ADDRESS, why));
        };
        Self::new(parsed, interface)
    }

    /// The address. `vip.address`, no default.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Prefix length in bits. `vip.netmask`, default 24 (IPv4) or 128 (IPv6).
    #[must_use]
    pub fn netmask(&self) -> u8 {
        self.netmask
    }

    /// Name of the interface. `vip.interface`, no default.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }
}

impl fmt::Display for VipConfig {
    /// `192.168.1.100/24`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.netmask)
    }
}

fn check_interface(name: &str) -> Result<(), ConfigError> {
    if name.is_empty() {
        let when = " when vip.address is set";
        return Err(ConfigError::Missing { path: INTERFACE.to_owned(), when });
    }
    let bad = |c: char| matches!(c, '/' | ':') || c.is_whitespace() || c.is_control();
    let fits = name.len() <= MAX_INTERFACE_LENGTH && !matches!(name, "." | "..");
    if fits && !name.contains(bad) {
        return Ok(());
    }
    let why = format!(
        "is {}, must be 1 to {MAX_INTERFACE_LENGTH} bytes without blanks, '/' and ':'",
        quoted(name)
    );
    Err(ConfigError::invalid(INTERFACE, why))
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
    fn what_no_host_or_kernel_has_is_refused() {
        for address in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"] {
            assert!(refusal(address, "eth0").contains("no host"), "{address}");
        }
        for interface in ["a b", "a/b", "eth0:1", "..", "sixteen-bytes-xx", "a\n"] {
            assert!(refusal("10.0.0.1", interface).contains("vip.interface"), "{interface}");
        }
    }
}
