//! What can go wrong, and what the caller can do about it.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::address::{MacAddress, VirtualAddress};

/// A Linux capability that holding a virtual IP needs (`capabilities(7)`).
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
    /// Nothing was changed. Configure a prefix in range, or none.
    #[error("prefix {prefix} of {ip} is out of range: 1 to {longest}")]
    InvalidPrefix {
        /// The address as configured.
        ip: IpAddr,
        /// The prefix as configured.
        prefix: u8,
        /// The longest prefix of the address's family.
        longest: u8,
    },
    /// Nothing was changed. Configure the name of an interface.
    #[error(
        "{name:?} cannot name a network interface: 1 to 15 printable ASCII characters without \
         '/' and ':'"
    )]
    InvalidInterface {
        /// The name as configured.
        name: String,
    },
    /// Nothing was changed. Correct the policy.
    #[error("{what} of {given} is out of range: {range}")]
    InvalidPolicy {
        /// Which part of the policy.
        what: &'static str,
        /// The value as configured.
        given: String,
        /// What is accepted.
        range: &'static str,
    },
    /// Nothing was changed. Give a holder one address or more, each only once.
    #[error("{0}")]
    InvalidSet(String),
    /// The process lacks a capability. Grant it (`setcap`, `AmbientCapabilities=`) and start again.
    #[error("{capability} is missing: it is needed to {purpose}")]
    NotPermitted {
        /// What is missing.
        capability: Capability,
        /// What it is for.
        purpose: &'static str,
    },
    /// A socket or thread could not be had: out of descriptors, or a kernel without the protocol.
    #[error("cannot {purpose}: {source}")]
    System {
        /// What it was for.
        purpose: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// One address could not be held or removed; the fault says why, and what to do.
    #[error("{address}: {fault}")]
    Address {
        /// Which address.
        address: VirtualAddress,
        /// What happened to it.
        #[source]
        fault: Fault,
    },
}

/// What happened to one address.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The host has this address already, and it is not ours to take: nothing was changed.
    #[error(
        "the host has this address already on interface {interface} ({}); remove it there",
        if *.marked { "put there by a virtual-IP holder" } else { "not put there by this library" }
    )]
    AlreadyAssigned {
        /// Index of the interface that has it.
        interface: u32,
        /// Whether it bears this library's mark.
        marked: bool,
    },
    /// Somebody replaced the address under us; it is theirs now and is left alone.
    #[error("somebody replaced the address by one that is not ours; it is left alone")]
    Replaced,
    /// Another host on the network answers for this address. Find out which one.
    #[error("another host on the network has this address: {mac}")]
    Conflict {
        /// Who answered.
        mac: MacAddress,
    },
    /// Too little of the lease is left to hold the address for; it is not on the interface.
    #[error("only {remaining:?} of the lease are left, too little to hold the address")]
    DeadlineTooNear {
        /// What is left of the lease.
        remaining: Duration,
    },
    /// There is no such interface (`ENODEV`). It is tried again at the next extension.
    #[error("there is no such interface")]
    NoSuchInterface,
    /// The interface has IPv6 switched off (`EACCES`): see `net.ipv6.conf.*.disable_ipv6`.
    #[error("IPv6 is disabled on the interface")]
    Ipv6Disabled,
    /// The kernel does not take such an address there (`EINVAL`): a prefix out of range, or an
    /// interface with an MTU below 1280, on which IPv6 is impossible.
    #[error("the kernel refuses the address{}", Detail(.0))]
    Invalid(String),
    /// The process lacks a capability (`EPERM`).
    #[error("{0} is missing")]
    NotPermitted(Capability),
    /// The kernel answered with another error.
    #[error("the kernel answers: {}{}", io::Error::from_raw_os_error(*.errno), Detail(.detail))]
    Kernel {
        /// Its error number, see `errno(3)`.
        errno: i32,
        /// The kernel's own words, where it gave any.
        detail: String,
    },
    /// The kernel's answer makes no sense or did not come; whether it took effect is not known.
    #[error("no usable answer from the kernel: {0}")]
    NoAnswer(String),
}

struct Detail<'a>(&'a str);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}

impl Fault {
    pub(crate) fn of(self, address: &VirtualAddress) -> VipError {
        VipError::Address { address: address.clone(), fault: self }
    }
}
