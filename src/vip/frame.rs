//! The frames that move an address: ARP (RFC 826, RFC 5227) and neighbour discovery (RFC 4861).
//!
//! Pure functions that write and parse frames. Bytes from the network may be hostile: anything that
//! is not exactly such a frame is ignored.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::MacAddress;

const BROADCAST: MacAddress = MacAddress([0xff; 6]);
const UNKNOWN: MacAddress = MacAddress([0; 6]);

const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];

/// Hardware type Ethernet, protocol type IPv4, lengths 6 and 4.
const ARP_PREAMBLE: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
const ARP_LEN: usize = 28;
const ARP_REQUEST: u8 = 1;
const ARP_REPLY: u8 = 2;
const ETHERNET_LEN: usize = 14;

const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const TARGET_LINK_ADDRESS: u8 = 2;
const OVERRIDE: u8 = 0x20;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The frames that announce that `ip` is at `mac`.
pub(super) fn announcement(mac: MacAddress, ip: IpAddr) -> Vec<Vec<u8>> {
    match ip {
        IpAddr::V4(ip) => vec![
            arp(ARP_REQUEST, (mac, ip), (UNKNOWN, ip)),
            // A Linux host with a fresh entry for the address ignores a reply whose target is not
            // its sender.
            arp(ARP_REPLY, (mac, ip), (mac, ip)),
        ],
        IpAddr::V6(ip) => vec![advertisement(mac, ip)],
    }
}

/// The frame that asks which host has `ip`, without claiming the address.
pub(super) fn probe(mac: MacAddress, ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => arp(ARP_REQUEST, (mac, Ipv4Addr::UNSPECIFIED), (UNKNOWN, ip)),
        IpAddr::V6(ip) => solicitation(mac, ip),
    }
}

fn arp(operation: u8, sender: (MacAddress, Ipv4Addr), target: (MacAddress, Ipv4Addr)) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, sender.0, ETHERTYPE_ARP, ARP_LEN);
    frame.extend(ARP_PREAMBLE);
    frame.extend([0, operation]);
    frame.extend(sender.0.0);
    frame.extend(sender.1.octets());
    frame.extend(target.0.0);
    frame.extend(target.1.octets());
    frame
}

/// Unsolicited neighbour advertisement (RFC 4861, section 7.2.6), override flag set.
fn advertisement(mac: MacAddress, ip: Ipv6Addr) -> Vec<u8> {
    let mut icmp = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
    icmp.extend(ip.octets());
    icmp.extend([TARGET_LINK_ADDRESS, 1]);
    icmp.extend(mac.0);
    icmpv6(mac, ip, ALL_NODES, icmp)
}

/// Solicitation from the unspecified address; its responses go to all nodes (RFC 4862).
fn solicitation(mac: MacAddress, ip: Ipv6Addr) -> Vec<u8> {
    let mut icmp = vec![NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    icmp.extend(ip.octets());
    icmpv6(mac, Ipv6Addr::UNSPECIFIED, solicited_node(ip), icmp)
}

fn icmpv6(mac: MacAddress, from: Ipv6Addr, to: Ipv6Addr, mut icmp: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(icmp.len()).unwrap_or(u16::MAX).to_be_bytes();
    let sum = checksum(from, to, &icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = ethernet(multicast_mac(to), mac, ETHERTYPE_IPV6, 40 + icmp.len());
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length);
    // Hop limit 255: a receiver drops neighbour discovery that may have crossed a router.
    frame.extend([ICMPV6, 255]);
    frame.extend(from.octets());
    frame.extend(to.octets());
    frame.extend(icmp);
    frame
}

fn ethernet(to: MacAddress, from: MacAddress, ethertype: [u8; 2], payload: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET_LEN + payload);
    frame.extend(to.0);
    frame.extend(from.0);
    frame.extend(ethertype);
    frame
}

/// The multicast group to which every host with `ip` listens (RFC 4291, section 2.7.1).
fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = ip.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

/// The Ethernet address of an IPv6 multicast group (RFC 2464, section 7).
fn multicast_mac(group: Ipv6Addr) -> MacAddress {
    let [.., a, b, c, d] = group.octets();
    MacAddress([0x33, 0x33, a, b, c, d])
}

/// The Internet checksum over pseudo-header and message (RFC 4443, section 2.3).
fn checksum(from: Ipv6Addr, to: Ipv6Addr, icmp: &[u8]) -> u16 {
    let mut sum = 0_u64;
    for bytes in [&from.octets()[..], &to.octets()[..], icmp] {
        for pair in bytes.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u64::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    sum += icmp.len() as u64 + u64::from(ICMPV6);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Folded above, so it fits.
    !u16::try_from(sum).unwrap_or(0)
}

/// Another host's claim to an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Claim {
    pub(super) ip: IpAddr,
    pub(super) mac: MacAddress,
    /// Whether the host only probes for the address before it takes it.
    pub(super) probing: bool,
}

/// Parses an Ethernet frame with ARP in it. `None` for anything else.
pub(super) fn arp_claim(frame: &[u8]) -> Option<Claim> {
    let body: &[u8; ARP_LEN] = frame.get(ETHERNET_LEN..)?.first_chunk()?;
    if frame.get(12..14)? != ETHERTYPE_ARP || !body.starts_with(&ARP_PREAMBLE) {
        return None;
    }
    let [0, operation @ (ARP_REQUEST | ARP_REPLY)] = body[6..8] else { return None };
    let mac = MacAddress(body[8..14].try_into().ok()?);
    let sender = Ipv4Addr::new(body[14], body[15], body[16], body[17]);
    let target = Ipv4Addr::new(body[24], body[25], body[26], body[27]);
    let probing = sender.is_unspecified() && operation == ARP_REQUEST;
    let ip = if probing { target } else { sender };
    Some(Claim { ip: IpAddr::V4(ip), mac, probing })
}

/// Parses an `ICMPv6` message without its IPv6 header: a neighbour advertisement with the
/// link-layer address of its target. `None` for anything else.
pub(super) fn advertisement_claim(message: &[u8]) -> Option<Claim> {
    if message.first() != Some(&NEIGHBOUR_ADVERTISEMENT) || message.get(1) != Some(&0) {
        return None;
    }
    let target: [u8; 16] = message.get(8..24)?.try_into().ok()?;
    let mac = link_address_option(message.get(24..)?, TARGET_LINK_ADDRESS)?;
    Some(Claim { ip: IpAddr::V6(target.into()), mac, probing: false })
}

fn link_address_option(mut options: &[u8], kind: u8) -> Option<MacAddress> {
    loop {
        let length = usize::from(*options.get(1)?) * 8;
        // RFC 4861, section 4.6: a length of zero makes the whole message invalid.
        let option = options.get(..length).filter(|option| !option.is_empty())?;
        if option[0] == kind && length == 8 {
            return Some(MacAddress(option[2..8].try_into().ok()?));
        }
        options = &options[length..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: MacAddress = MacAddress([2, 0, 0, 0, 0, 0x0a]);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ipv4_is_announced_in_both_forms_and_the_reply_has_its_sender_as_target() {
        let frames = announcement(OURS, ip("10.0.0.10"));
        assert_eq!(frames.len(), 2);
        let expected = [
            &[0xff; 6][..],
            &OURS.0,
            &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2],
            &OURS.0,
            &[10, 0, 0, 10],
            &OURS.0,
            &[10, 0, 0, 10],
        ];
        assert_eq!(frames[1], expected.concat());
        assert_eq!(frames[0][20..22], [0, 1]);
        assert_eq!(frames[0][32..38], [0; 6]);
    }

    #[test]
    fn an_announcement_parses_as_a_claim() {
        for frame in announcement(OURS, ip("10.0.0.10")) {
            let claim = Claim { ip: ip("10.0.0.10"), mac: OURS, probing: false };
            assert_eq!(arp_claim(&frame), Some(claim));
        }
        let frame = &announcement(OURS, ip("fd00::10"))[0];
        let claim = Claim { ip: ip("fd00::10"), mac: OURS, probing: false };
        assert_eq!(advertisement_claim(&frame[54..]), Some(claim));
    }

    #[test]
    fn a_probe_parses_as_a_probe_not_as_a_claim() {
        let claim = Claim { ip: ip("10.0.0.10"), mac: OURS, probing: true };
        assert_eq!(arp_claim(&probe(OURS, ip("10.0.0.10"))), Some(claim));
        assert_eq!(advertisement_claim(&probe(OURS, ip("fd00::10"))[54..]), None);
    }

    #[test]
    fn ipv6_announcements_go_to_all_nodes_with_hop_limit_255_and_a_valid_checksum() {
        let frame = &announcement(OURS, ip("fd00::10"))[0];
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(frame[21], 255);
        let icmp = &frame[54..];
        assert_eq!(usize::from(u16::from_be_bytes([frame[18], frame[19]])), icmp.len());
        // With its checksum in place, the sum of a message is zero.
        assert_eq!(checksum("fd00::10".parse().unwrap(), ALL_NODES, icmp), 0);
    }

    #[test]
    fn a_solicitation_goes_to_the_groups_last_three_octets() {
        let frame = probe(OURS, ip("fd00::12:3456"));
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        assert_eq!(
            solicited_node("fd00::12:3456".parse().unwrap()).to_string(),
            "ff02::1:ff12:3456"
        );
    }

    #[test]
    fn parsing_a_truncated_or_changed_frame_never_panics() {
        let arp = announcement(OURS, ip("10.0.0.10")).remove(1);
        let icmp = announcement(OURS, ip("fd00::10")).remove(0)[54..].to_vec();
        for whole in [arp, icmp] {
            for cut in 0..whole.len() {
                assert_eq!(arp_claim(&whole[..cut]), None);
                assert_eq!(advertisement_claim(&whole[..cut]), None);
            }
            for (at, value) in (0..whole.len()).flat_map(|at| (0..=255).map(move |v| (at, v))) {
                let mut changed = whole.clone();
                changed[at] = value;
                let _ = (arp_claim(&changed), advertisement_claim(&changed));
            }
        }
    }

    #[test]
    fn an_option_of_length_zero_makes_the_message_invalid() {
        let mut message = announcement(OURS, ip("fd00::10")).remove(0)[54..].to_vec();
        message[25] = 0;
        assert_eq!(advertisement_claim(&message), None);
    }
}
