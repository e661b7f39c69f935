//! Rtnetlink requests and responses as bytes, without a socket.
//!
//! The framing of messages is parsed strictly, and their contents leniently: unknown attributes are
//! skipped, known ones must be whole. A message with another sequence number or port answers a
//! request that was given up, and is skipped.

use std::net::IpAddr;

use netlink_packet_core::{
    DefaultNla, Emitable, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_CREATE, NLM_F_DUMP,
    NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_MULTIPART, NLM_F_REPLACE, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
    NlasIterator, Parseable,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeader, AddressHeaderFlags, AddressMessage,
    AddressProtocol, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{
    LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkLayerType, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::address::{InterfaceName, MacAddress, VirtualAddress};
use super::backend::{Assigned, Interface};
use super::error::Fault;
use super::policy::Lifetime;

/// The mark: `IFA_PROTO` of every address that this library adds (76 is `L`). Values from 4 on are
/// free for applications, see `/etc/iproute2/rt_addrprotos`.
pub(super) const MARK: u8 = 76;

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;

const ADDRESS_HEADER: usize = 8;
const LINK_HEADER: usize = 16;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
const IFA_PROTO: u16 = 11;
const IFLA_ADDRESS: u16 = 1;
const IFLA_CARRIER_CHANGES: u16 = 35;
const IFLA_ALT_IFNAME: u16 = 53;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// A request to the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request<'a> {
    /// One interface, by name.
    Interface(&'a InterfaceName),
    /// Every address of `ip`'s family, on one interface or on all.
    Addresses {
        ip: IpAddr,
        on: Option<u32>,
    },
    /// Adds an address that is not there.
    Add {
        index: u32,
        address: &'a VirtualAddress,
        lifetime: Lifetime,
    },
    /// Sets the lifetimes of an address that is there.
    Refresh {
        index: u32,
        address: &'a VirtualAddress,
        lifetime: Lifetime,
    },
    Remove {
        index: u32,
        ip: IpAddr,
        prefix: u8,
    },
}

impl Request<'_> {
    /// The request as one datagram.
    pub(super) fn to_bytes(self, sequence: u32) -> Vec<u8> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | self.flags();
        header.sequence_number = sequence;
        let mut message = NetlinkMessage::new(header, self.body().into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    fn flags(self) -> u16 {
        match self {
            Self::Interface(_) => 0,
            Self::Addresses { .. } => NLM_F_DUMP,
            Self::Add { .. } => NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
            Self::Refresh { .. } => NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
            Self::Remove { .. } => NLM_F_ACK,
        }
    }

    fn body(self) -> RouteNetlinkMessage {
        match self {
            Self::Interface(name) => RouteNetlinkMessage::GetLink(interface_query(name)),
            Self::Addresses { ip, on } => {
                RouteNetlinkMessage::GetAddress(bare(ip, 0, on.unwrap_or(0)))
            }
            Self::Add { index, address, lifetime } | Self::Refresh { index, address, lifetime } => {
                RouteNetlinkMessage::NewAddress(assignment(index, address, lifetime))
            }
            Self::Remove { index, ip, prefix } => {
                let mut message = bare(ip, prefix, index);
                message.attributes = vec![AddressAttribute::Local(ip)];
                RouteNetlinkMessage::DelAddress(message)
            }
        }
    }
}

/// A message about an address, without attributes.
fn bare(ip: IpAddr, prefix: u8, index: u32) -> AddressMessage {
    let family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let mut message = AddressMessage::default();
    message.header = AddressHeader {
        family,
        prefix_len: prefix,
        flags: AddressHeaderFlags::empty(),
        scope: AddressScope::Universe,
        index,
    };
    message
}

fn interface_query(name: &InterfaceName) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        name_attribute(name.as_str()),
        LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
    ];
    message
}

/// A longer name than that of an interface is an alternative name. The kernel takes a short one for
/// either.
fn name_attribute(name: &str) -> LinkAttribute {
    const LONGEST_NAME: usize = 15;
    if name.len() <= LONGEST_NAME {
        return LinkAttribute::IfName(name.to_owned());
    }
    let text = name.bytes().chain([0]).collect();
    LinkAttribute::Other(DefaultNla::new(IFLA_ALT_IFNAME, text))
}

fn assignment(index: u32, address: &VirtualAddress, lifetime: Lifetime) -> AddressMessage {
    let ip = address.ip();
    let mut flags = AddressFlags::Noprefixroute;
    if ip.is_ipv6() {
        // Duplicate address detection would keep the address unusable for a second or two.
        flags |= AddressFlags::Nodad;
    }
    let mut cache = CacheInfo::default();
    cache.ifa_valid = lifetime.valid;
    cache.ifa_preferred = lifetime.preferred;
    let mut message = bare(ip, address.prefix(), index);
    message.attributes = vec![
        AddressAttribute::Local(ip),
        AddressAttribute::Address(ip),
        AddressAttribute::Flags(flags),
        AddressAttribute::CacheInfo(cache),
        AddressAttribute::Protocol(AddressProtocol::Other(MARK)),
    ];
    message
}

/// Parses the response to one request, datagram by datagram.
#[derive(Debug)]
pub(super) struct ResponseReader {
    sequence: u32,
    port: u32,
    interrupted: bool,
    complete: bool,
}

impl ResponseReader {
    pub(super) const fn to(sequence: u32, port: u32) -> Self {
        Self { sequence, port, interrupted: false, complete: false }
    }

    /// Whether the response is complete.
    pub(super) const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether the table changed while it was read: send the request again.
    pub(super) const fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    /// Parses one datagram, and gives type and payload of each message of the response to `take`.
    pub(super) fn read(
        &mut self,
        mut datagram: &[u8],
        mut take: impl FnMut(u16, &[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while !datagram.is_empty() && !self.complete {
            let message = NetlinkBuffer::new_checked(datagram).map_err(Fault::no_answer)?;
            if message.sequence_number() == self.sequence && message.port_number() == self.port {
                self.message(&message, &mut take)?;
            }
            let length = usize::try_from(message.length()).unwrap_or(usize::MAX);
            datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }

    fn message(
        &mut self,
        message: &NetlinkBuffer<&[u8]>,
        take: &mut impl FnMut(u16, &[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let flags = message.flags();
        match message.message_type() {
            NLMSG_NOOP => return Ok(()),
            NLMSG_OVERRUN => return Err(Fault::no_answer("the response was overrun")),
            NLMSG_ERROR => check(message.payload(), flags)?,
            NLMSG_DONE => {
                check(message.payload(), 0)?;
                self.interrupted |= flags & NLM_F_DUMP_INTR != 0;
            }
            kind => {
                self.interrupted |= flags & NLM_F_DUMP_INTR != 0;
                take(kind, message.payload())?;
                if flags & NLM_F_MULTIPART != 0 {
                    return Ok(());
                }
            }
        }
        self.complete = true;
        Ok(())
    }
}

/// Checks the result code at the start of an error or end-of-dump message. Older kernels leave it
/// out at the end of an empty dump.
fn check(payload: &[u8], flags: u16) -> Result<(), Fault> {
    let Some(code) = payload.first_chunk() else {
        return Ok(());
    };
    match i32::from_ne_bytes(*code) {
        0.. => Ok(()),
        code => Err(Fault::Kernel {
            errno: code.checked_neg().unwrap_or(i32::MAX),
            detail: kernel_text(payload, flags).unwrap_or_default(),
        }),
    }
}

/// The text of an extended acknowledgement, which follows the echo of the request's header.
fn kernel_text(payload: &[u8], flags: u16) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let echo = payload.get(4..)?;
    let header = NetlinkHeader::default().buffer_len();
    let echoed = match flags & NLM_F_CAPPED {
        0 => usize::try_from(u32::from_ne_bytes(*echo.first_chunk()?)).ok()?.next_multiple_of(4),
        _ => header,
    };
    for attribute in NlasIterator::new(echo.get(echoed..)?) {
        let attribute = attribute.ok()?;
        if attribute.kind() == NLMSGERR_ATTR_MSG {
            let text = String::from_utf8_lossy(attribute.value());
            return Some(text.trim_end_matches('\0').to_owned());
        }
    }
    None
}

/// The interface in an `RTM_NEWLINK` message; `None` for any other message.
pub(super) fn interface(kind: u16, payload: &[u8]) -> Result<Option<Interface>, Fault> {
    if kind != RTM_NEWLINK {
        return Ok(None);
    }
    let header = LinkHeader::parse(payload).map_err(Fault::no_answer)?;
    let announces = header.link_layer_type == LinkLayerType::Ether
        && !header.flags.contains(LinkFlags::Noarp)
        && !header.flags.contains(LinkFlags::Loopback);
    let running = header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
    let mut interface = Interface { index: header.index, mac: None, running, carrier_changes: 0 };
    for attribute in NlasIterator::new(payload.get(LINK_HEADER..).unwrap_or_default()) {
        let attribute = attribute.map_err(Fault::no_answer)?;
        match attribute.kind() {
            IFLA_ADDRESS if announces => {
                interface.mac = attribute.value().try_into().ok().map(MacAddress);
            }
            IFLA_CARRIER_CHANGES => {
                let bytes = attribute.value().first_chunk().copied().unwrap_or_default();
                interface.carrier_changes = u32::from_ne_bytes(bytes);
            }
            _ => {}
        }
    }
    Ok(Some(interface))
}

/// The address in an `RTM_NEWADDR` message if it is exactly `ip`; `None` for any other.
pub(super) fn assigned(kind: u16, payload: &[u8], ip: IpAddr) -> Result<Option<Assigned>, Fault> {
    if kind != RTM_NEWADDR {
        return Ok(None);
    }
    let header = AddressHeader::parse(payload).map_err(Fault::no_answer)?;
    let lifetime = Lifetime { valid: Lifetime::FOREVER, preferred: Lifetime::FOREVER };
    let (index, prefix) = (header.index, header.prefix_len);
    let mut found = Assigned { index, prefix, marked: false, created: 0, lifetime };
    let (mut local, mut address) = (None, None);
    for attribute in NlasIterator::new(payload.get(ADDRESS_HEADER..).unwrap_or_default()) {
        let attribute = attribute.map_err(Fault::no_answer)?;
        if !matches!(attribute.kind(), IFA_ADDRESS | IFA_LOCAL | IFA_CACHEINFO | IFA_PROTO) {
            continue;
        }
        match AddressAttribute::parse(&attribute).map_err(Fault::no_answer)? {
            AddressAttribute::Local(ip) => local = Some(ip),
            AddressAttribute::Address(ip) => address = Some(ip),
            AddressAttribute::Protocol(mark) => found.marked = u8::from(mark) == MARK,
            AddressAttribute::CacheInfo(cache) => {
                found.created = cache.cstamp;
                found.lifetime =
                    Lifetime { valid: cache.ifa_valid, preferred: cache.ifa_preferred };
            }
            _ => {}
        }
    }
    // IPv6 has no IFA_LOCAL unless there is a peer; with one, IFA_ADDRESS is the peer.
    Ok((local.or(address) == Some(ip)).then_some(found))
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
