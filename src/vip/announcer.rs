//! The sockets to the network: `AF_PACKET` sends frames and receives ARP, `ICMPv6` receives
//! advertisements.
//!
//! They are opened once, when the holder is built. At failover it would be too late to learn that
//! `CAP_NET_RAW` is missing, and closing such a socket takes 16 ms (an RCU grace period).

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, MsgFlags, recv, recvfrom, sendto};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, eth, ipproto, socket_with};

use super::address::MacAddress;
use super::backend::Interface;
use super::error::{Capability, VipError};
use super::frame::{self, Claim};

/// Kernel memory for frames that were not read yet. It is small: most of the time it is full of
/// the ARP of other hosts, and one frame of a rival is enough.
const RECEIVE_BUFFER: usize = 16 * 1024;

/// Frames read in one call, so that a flood of them takes a bounded time.
const MOST_FRAMES: usize = 256;

/// How many times a probe is sent within its wait (`PROBE_NUM` of RFC 5227).
const PROBES: u32 = 3;

#[derive(Debug)]
pub(super) struct Announcer {
    packet: OwnedFd,
    /// Only where an IPv6 address is held.
    icmpv6: Option<OwnedFd>,
    /// The link-layer addresses of the interfaces; read again for an unknown interface.
    destinations: Vec<LinkAddr>,
}

impl Announcer {
    pub(super) fn open(ipv6: bool) -> Result<Self, VipError> {
        let packet = listen(AddressFamily::PACKET, eth::ARP)?;
        let icmpv6 = ipv6.then(|| listen(AddressFamily::INET6, ipproto::ICMPV6)).transpose()?;
        Ok(Self { packet, icmpv6, destinations: interfaces() })
    }

    pub(super) fn announce(&mut self, interface: &Interface, ip: IpAddr) -> io::Result<()> {
        let Some(mac) = interface.mac else {
            return Ok(());
        };
        for frame in frame::announcement(mac, ip) {
            self.send(interface, &frame)?;
        }
        Ok(())
    }

    /// Asks the network which host has `ip`. Returns the first other host that claims it, or probes
    /// for it too.
    pub(super) fn probe(
        &mut self,
        interface: &Interface,
        ip: IpAddr,
        wait: Duration,
    ) -> io::Result<Option<MacAddress>> {
        let Some(mac) = interface.mac else {
            return Ok(None);
        };
        // Frames that were received before the probe do not answer it.
        self.claims();
        for _ in 0..PROBES {
            self.send(interface, &frame::probe(mac, ip))?;
            let until = Instant::now() + wait / PROBES;
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                self.wait_readable(left)?;
                let rival = self.claims().into_iter().find(|(index, claim)| {
                    claim.ip == ip && claim.mac != mac && index.is_none_or(|i| i == interface.index)
                });
                if let Some((_, claim)) = rival {
                    return Ok(Some(claim.mac));
                }
            }
        }
        Ok(None)
    }

    /// The claims received since the last call, with the interface where that is known. Never
    /// waits.
    pub(super) fn claims(&self) -> Vec<(Option<u32>, Claim)> {
        let mut buffer = [0; 256];
        let mut claims = Vec::new();
        for _ in 0..MOST_FRAMES {
            let Ok((length, from)) = recvfrom::<LinkAddr>(self.packet.as_raw_fd(), &mut buffer)
            else {
                break;
            };
            let index = from.and_then(|from| u32::try_from(from.ifindex()).ok());
            let frame = buffer.get(..length).unwrap_or_default();
            claims.extend(frame::arp_claim(frame).map(|claim| (index, claim)));
        }
        let icmpv6 = self.icmpv6.as_ref().map(AsRawFd::as_raw_fd);
        for _ in icmpv6.iter().flat_map(|_| 0..MOST_FRAMES) {
            let Some(Ok(length)) = icmpv6.map(|fd| recv(fd, &mut buffer, MsgFlags::empty())) else {
                break;
            };
            let message = buffer.get(..length).unwrap_or_default();
            claims.extend(frame::advertisement_claim(message).map(|claim| (None, claim)));
        }
        claims
    }

    fn wait_readable(&self, at_most: Duration) -> io::Result<()> {
        let timeout = Timespec::try_from(at_most).map_err(io::Error::other)?;
        let mut sockets: Vec<_> = std::iter::once(&self.packet)
            .chain(&self.icmpv6)
            .map(|socket| PollFd::new(socket, PollFlags::IN))
            .collect();
        match poll(&mut sockets, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) | Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn send(&mut self, interface: &Interface, frame: &[u8]) -> io::Result<()> {
        let to = self.destination(interface.index).ok_or(Errno::ENODEV)?;
        sendto(self.packet.as_raw_fd(), frame, &to, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }

    fn destination(&mut self, index: u32) -> Option<LinkAddr> {
        let is_it = |to: &&LinkAddr| u32::try_from(to.ifindex()) == Ok(index);
        if !self.destinations.iter().any(|to| is_it(&to)) {
            self.destinations = interfaces();
        }
        self.destinations.iter().find(is_it).copied()
    }
}

fn listen(family: AddressFamily, protocol: Protocol) -> Result<OwnedFd, VipError> {
    let purpose = "announce a virtual IP on the network";
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = match socket_with(family, SocketType::RAW, flags, Some(protocol)) {
        Ok(socket) => socket,
        Err(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) => {
            return Err(VipError::NotPermitted { capability: Capability::NetRaw, purpose });
        }
        Err(error) => return Err(VipError::System { purpose, source: error.into() }),
    };
    // The default size works too; it only takes more kernel memory.
    let _ = set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER);
    Ok(socket)
}

/// The link-layer address of every interface of this network namespace.
fn interfaces() -> Vec<LinkAddr> {
    let addresses = getifaddrs().into_iter().flatten();
    addresses.filter_map(|entry| entry.address?.as_link_addr().copied()).collect()
}
