//! Errors of virtual IPs, sorted by what the caller can do.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::address::{LOOPBACK, MacAddress, VirtualAddress};

/// A Linux capability that a virtual IP needs (`capabilities(7)`).
///
/// ```
/// use leasehold::vip::{Capability, VipError};
///
/// fn advice(error: &VipError) -> Option<String> {
///     match error {
///         VipError::NotPermitted { capability, .. } => Some(format!("grant {capability}")),
///         _ => None,
///     }
/// }
/// let (capability, purpose) = (Capability::NetRaw, "announce a virtual IP");
/// let error = VipError::NotPermitted { capability, purpose };
/// assert_eq!(advice(&error).as_deref(), Some("grant CAP_NET_RAW"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Capability {
    /// `CAP_NET_ADMIN`: to add and remove addresses.
    NetAdmin,
    /// `CAP_NET_RAW`: to announce an address and to probe for other holders.
    NetRaw,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::NetRaw => "CAP_NET_RAW",
        })
    }
}

/// Why a virtual IP cannot be configured, built or held.
///
/// ```
/// use leasehold::vip::{VipError, VirtualAddress};
///
/// let error = VirtualAddress::new("127.0.0.1".parse()?, "eth0").unwrap_err();
/// assert!(matches!(error, VipError::InvalidAddress { .. })); // configure another address
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(thiserror::Error, Debug)]
#[non_exhaustive]
pub enum VipError {
    /// Nothing was changed. Configure an address that can move between hosts.
    #[error("{ip} cannot be a virtual IP: {reason}")]
    InvalidAddress {
        /// The address as configured.
        ip: IpAddr,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nothing was changed. Configure the name of an interface.
    #[error(
        "{name:?} cannot name a network interface: 1 to 127 printable ASCII characters without \
         '/' and ':'"
    )]
    InvalidInterface {
        /// The name as configured.
        name: String,
    },
    /// Nothing was changed. Correct the policy or the probe.
    #[error("{what} of {given} is out of range: {range}")]
    InvalidPolicy {
        /// The part of the policy, or a probe.
        what: &'static str,
        /// The value as configured.
        given: String,
        /// The accepted range.
        range: &'static str,
    },
    /// Nothing was changed. Give a holder at least one address, and each only once.
    #[error("{0}")]
    InvalidSet(String),
    /// The process lacks a capability. Grant it (`setcap`, `AmbientCapabilities=`), then start
    /// again.
    #[error("{capability} is missing: it is needed to {purpose}")]
    NotPermitted {
        /// The missing capability.
        capability: Capability,
        /// What the process needs it for.
        purpose: &'static str,
    },
    /// A socket or thread could not be created: there are no more descriptors, or the kernel lacks
    /// the protocol.
    #[error("cannot {purpose}: {source}")]
    System {
        /// What the process needs it for.
        purpose: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// One address could not be held or removed. The fault says why, and what to do.
    #[error("{address}: {fault}")]
    Address {
        /// The address.
        address: VirtualAddress,
        /// Its fault.
        #[source]
        fault: Fault,
    },
}

/// Why one address cannot be held or removed.
///
/// ```
/// use std::time::Duration;
/// use leasehold::vip::{Fault, VipError};
///
/// # let clock = leasehold::clock::Clock::manual(leasehold::clock::Timestamp::from_nanos(1));
/// # let host = leasehold::vip::Memory::new(clock.clone(), ["eth0"]);
/// # let address = leasehold::vip::VirtualAddress::new("10.0.0.10".parse()?, "eth0")?;
/// # let mut holder = leasehold::vip::Holder::with_backend(
/// #     vec![address.clone()],
/// #     leasehold::vip::Policy::default(),
/// #     clock.clone(),
/// #     host.clone(),
/// # )?;
/// host.assign(&address); // an administrator has added it already
/// match holder.acquire(clock.now() + Duration::from_secs(8)) {
///     Err(VipError::Address { fault: Fault::AlreadyAssigned { marked: false, .. }, .. }) => {
///         println!("remove the address by hand");
///     }
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The host has this address already, and the holder does not own it. Nothing was changed.
    #[error(
        "the host has this address already on interface {interface} ({}); remove it there{}",
        if *.marked { "added by a virtual-IP holder" } else { "not added by this library" },
        if *.interface == LOOPBACK { ", or allow it with vip.allowOnLoopback" } else { "" }
    )]
    AlreadyAssigned {
        /// Index of the interface that has it.
        interface: u32,
        /// Whether it has this library's mark.
        marked: bool,
    },
    /// Another program replaced the address. The new one belongs to that program and stays.
    #[error("another program replaced the address; it is left alone")]
    Replaced,
    /// Another host on the network answers for this address. Find that host.
    #[error("another host on the network has this address: {mac}")]
    Conflict {
        /// The host's link-layer address.
        mac: MacAddress,
    },
    /// Too little of the lease is left to hold the address. It is not on the interface.
    #[error("only {remaining:?} of the lease are left, too little to hold the address")]
    DeadlineTooNear {
        /// What is left of the lease.
        remaining: Duration,
    },
    /// There is no such interface (`ENODEV`). The next extension tries again.
    #[error("there is no such interface")]
    NoSuchInterface,
    /// IPv6 is disabled on the interface (`EACCES`): see `net.ipv6.conf.*.disable_ipv6`.
    #[error("IPv6 is disabled on the interface")]
    Ipv6Disabled,
    /// The kernel refuses the address on this interface (`EINVAL`): a prefix out of range, or IPv6
    /// on an interface with an MTU below 1280.
    #[error("the kernel refuses the address{}", bracketed(.0))]
    Invalid(String),
    /// The process lacks a capability (`EPERM`).
    #[error("{0} is missing")]
    NotPermitted(Capability),
    /// The kernel returned another error.
    #[error("the kernel answers: {}{}", io::Error::from_raw_os_error(*.errno), bracketed(.detail))]
    Kernel {
        /// The error number, see `errno(3)`.
        errno: i32,
        /// The kernel's text, if it gave one.
        detail: String,
    },
    /// The kernel's response cannot be parsed or did not come. The request may have had an effect.
    #[error("no usable response from the kernel: {0}")]
    NoAnswer(String),
}

impl Fault {
    #[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
    pub(super) fn no_answer(error: impl ToString) -> Self {
        Self::NoAnswer(error.to_string())
    }
}

/// The kernel's text in brackets, if it gave one.
fn bracketed(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}
