use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const PORT: u32 = 4_242;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// One netlink message, padded to four bytes.
fn message(kind: u16, flags: u16, sequence: u32, port: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + payload.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(port.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The payload of `RTM_NEWADDR` for a /32 with any mark, and with an unknown attribute.
fn address(last: u8, mark: u8) -> Vec<u8> {
    let mut payload = vec![2, 32, 0x80, 0, 7, 0, 0, 0];
    payload[4..8].copy_from_slice(&7_u32.to_ne_bytes());
    payload.extend(attribute(IFA_ADDRESS, &[10, 0, 0, last]));
    payload.extend(attribute(IFA_LOCAL, &[10, 0, 0, last]));
    payload.extend(attribute(0x0fff, b"from the future"));
    payload.extend(attribute(3, b"not \xff UTF-8\0"));
    let times: Vec<u8> = [6_u32, 8, 1_234, 5_678].iter().flat_map(|n| n.to_ne_bytes()).collect();
    payload.extend(attribute(IFA_CACHEINFO, &times));
    payload.extend(attribute(IFA_PROTO, &[mark]));
    payload
}

fn done() -> Vec<u8> {
    message(NLMSG_DONE, NLM_F_MULTIPART, 1, PORT, &[0; 4])
}

/// Parses datagrams as the response to request 1, looking for 10.0.0.10.
fn read(datagrams: &[Vec<u8>]) -> (Result<Vec<Assigned>, Fault>, bool) {
    let mut response = ResponseReader::to(1, PORT);
    let mut taken = Vec::new();
    for datagram in datagrams {
        let result = response.read(datagram, |kind, payload| {
            taken.extend(assigned(kind, payload, ip("10.0.0.10"))?);
            Ok(())
        });
        if let Err(error) = result {
            return (Err(error), response.is_complete());
        }
    }
    (Ok(taken), response.is_complete())
}

fn part(last: u8, mark: u8) -> Vec<u8> {
    message(RTM_NEWADDR, NLM_F_MULTIPART, 1, PORT, &address(last, mark))
}

#[test]
fn a_dump_in_several_parts_and_datagrams_is_parsed_to_its_end() {
    let first = [part(1, 0), part(10, MARK)].concat();
    let (found, complete) = read(&[first, part(100, 0), done()]);
    let found = found.unwrap();
    assert!(complete);
    let lifetime = Lifetime { valid: 8, preferred: 6 };
    let expected = Assigned { index: 7, prefix: 32, marked: true, created: 1_234, lifetime };
    assert_eq!(found, [expected]);
}

#[test]
fn a_dump_without_its_end_is_not_complete() {
    assert!(!read(&[part(10, MARK)]).1);
}

#[test]
fn only_the_exact_address_is_taken() {
    let (found, _) = read(&[[part(1, 0), part(101, 0), part(110, 0), done()].concat()]);
    assert_eq!(found.unwrap(), []);
}

#[test]
fn another_mark_is_not_ours() {
    let found = read(&[[part(10, MARK + 1), done()].concat()]).0.unwrap();
    assert!(!found[0].marked);
}

#[test]
fn a_response_to_another_request_or_socket_is_skipped() {
    let stray = [
        message(RTM_NEWADDR, NLM_F_MULTIPART, 0, PORT, &address(10, 0)),
        message(RTM_NEWADDR, NLM_F_MULTIPART, 1, PORT + 1, &address(10, 0)),
        message(NLMSG_ERROR, 0, 9, PORT, &(-1_i32).to_ne_bytes()),
        message(NLMSG_DONE, 0, 1, 0, &[0; 4]),
    ];
    let (found, complete) = read(&stray);
    assert_eq!((found.unwrap(), complete), (Vec::new(), false));
}

#[test]
fn an_interrupted_dump_is_to_be_requested_again() {
    let flags = NLM_F_MULTIPART | NLM_F_DUMP_INTR;
    let at_first = message(RTM_NEWADDR, flags, 1, PORT, &address(10, MARK));
    let at_end = message(NLMSG_DONE, flags, 1, PORT, &[0; 4]);
    for dump in [[at_first, done()], [part(10, MARK), at_end]] {
        let mut response = ResponseReader::to(1, PORT);
        response.read(&dump.concat(), |_, _| Ok(())).unwrap();
        assert!(response.is_complete() && response.is_interrupted());
    }
}

#[test]
fn a_refusal_carries_errno_and_the_text_of_the_kernel() {
    let mut payload = (-95_i32).to_ne_bytes().to_vec();
    payload.extend(message(20, 0, 1, 0, &[]));
    payload.extend(attribute(NLMSGERR_ATTR_MSG, b"ipv4: no such thing\0"));
    let capped = NLM_F_CAPPED | NLM_F_ACK_TLVS;
    let error = Fault::Kernel { errno: 95, detail: "ipv4: no such thing".into() };
    let response = message(NLMSG_ERROR, capped, 1, PORT, &payload);
    assert_eq!(read(&[response]).0, Err(error.clone()));

    // Without the cap the whole request is echoed before the text.
    let mut payload = (-95_i32).to_ne_bytes().to_vec();
    payload.extend(message(20, 0, 1, 0, b"echoed request!!"));
    payload.extend(attribute(NLMSGERR_ATTR_MSG, b"ipv4: no such thing\0"));
    let response = message(NLMSG_ERROR, NLM_F_ACK_TLVS, 1, PORT, &payload);
    assert_eq!(read(&[response]).0, Err(error));
}

#[test]
fn an_acknowledgement_completes_a_change() {
    let mut payload = 0_i32.to_ne_bytes().to_vec();
    payload.extend([0; 16]);
    let (result, complete) = read(&[message(NLMSG_ERROR, NLM_F_CAPPED, 1, PORT, &payload)]);
    assert_eq!((result.unwrap(), complete), (Vec::new(), true));
}

#[test]
fn an_overrun_or_a_wrong_length_is_malformed() {
    let overrun = message(NLMSG_OVERRUN, 0, 1, PORT, &[]);
    assert!(matches!(read(&[overrun]).0, Err(Fault::NoAnswer(_))));
    for length in [0_u32, 15, 1_000, u32::MAX] {
        let mut wrong = part(10, MARK);
        wrong[..4].copy_from_slice(&length.to_ne_bytes());
        assert!(matches!(read(&[wrong]).0, Err(Fault::NoAnswer(_))), "{length}");
    }
}

#[test]
fn a_truncated_dump_gives_no_complete_response() {
    let whole = [part(1, 0), part(10, MARK), done()].concat();
    for cut in 0..whole.len() {
        let (result, complete) = read(&[whole[..cut].to_vec()]);
        assert!(!complete || result.is_err(), "cut at {cut}");
    }
}

#[test]
fn a_known_attribute_of_the_wrong_size_is_malformed() {
    for kind in [IFA_ADDRESS, IFA_LOCAL, IFA_CACHEINFO, IFA_PROTO] {
        let mut payload = address(10, MARK);
        payload.extend(attribute(kind, &[]));
        let response = message(RTM_NEWADDR, NLM_F_MULTIPART, 1, PORT, &payload);
        assert!(matches!(read(&[response]).0, Err(Fault::NoAnswer(_))), "{kind}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn parsing_never_panics_and_always_ends(
        changes in vec((any::<Index>(), any::<u8>()), 0..8),
        cut in any::<Index>(),
    ) {
        let payload = [[0; 16], [4; 16]].concat();
        let interface = message(RTM_NEWLINK, NLM_F_MULTIPART, 1, PORT, &payload);
        let mut bytes = [part(1, 0), part(10, MARK), interface, done()].concat();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        let _ = ResponseReader::to(1, PORT).read(&bytes, |kind, payload| {
            let _ = (interface_of(kind, payload), assigned(kind, payload, ip("10.0.0.10")));
            let _ = (interface_of(RTM_NEWLINK, payload), assigned(RTM_NEWADDR, payload, ip("::1")));
            Ok(())
        });
    }
}

fn interface_of(kind: u16, payload: &[u8]) -> Result<Option<Interface>, Fault> {
    super::interface(kind, payload)
}

#[test]
fn the_local_address_of_a_point_to_point_interface_is_taken() {
    let mut payload = vec![10, 128, 0, 0, 1, 0, 0, 0];
    let (peer, local) = (ip("fd00::1"), ip("fd00::2"));
    for (kind, ip) in [(IFA_ADDRESS, peer), (IFA_LOCAL, local)] {
        let IpAddr::V6(ip) = ip else { unreachable!("both are IPv6") };
        payload.extend(attribute(kind, &ip.octets()));
    }
    assert!(assigned(RTM_NEWADDR, &payload, local).unwrap().is_some());
    assert!(assigned(RTM_NEWADDR, &payload, peer).unwrap().is_none());
}

#[test]
fn a_request_parses_to_what_was_meant() {
    let address = VirtualAddress::new(ip("10.0.0.10"), "eth0").unwrap();
    let lifetime = Lifetime { valid: 6, preferred: 6 };
    let bytes = Request::Add { index: 7, address: &address, lifetime }.to_bytes(3);
    let parsed = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes).unwrap();
    assert_eq!(parsed.header.sequence_number, 3);
    assert_eq!(parsed.header.flags, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    assert_eq!(usize::try_from(parsed.header.length).unwrap(), bytes.len());
    let refresh = Request::Refresh { index: 7, address: &address, lifetime }.to_bytes(3);
    let parsed = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&refresh).unwrap();
    assert_eq!(parsed.header.flags, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
}
