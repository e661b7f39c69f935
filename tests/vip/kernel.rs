//! The holder against the real kernel, in network namespaces of its own.

use std::time::Duration;

use leasehold::clock::{Clock, Timestamp};
use leasehold::config::VipConfig;
use leasehold::vip::{
    Existing, Extension, Fault, Holder, Policy, VipError, VipEvent, VirtualAddress,
};
use serde_json::Value;

use crate::netns::{cable, eventually, ip, isolated, shown, sysctl};

fn ending_in(seconds: u64) -> Timestamp {
    Clock::boot().now() + Duration::from_secs(seconds)
}

fn address(ip: &str) -> VirtualAddress {
    VirtualAddress::new(ip.parse().unwrap(), "eth0").unwrap()
}

fn holder(ips: &[&str]) -> Holder {
    with_policy(ips, Policy::default())
}

fn with_policy(ips: &[&str], policy: Policy) -> Holder {
    Holder::new(ips.iter().map(|ip| address(ip)).collect(), policy).unwrap()
}

fn fault(result: Result<(), VipError>) -> Fault {
    match result {
        Err(VipError::Address { fault, .. }) => fault,
        other => panic!("no fault of an address: {other:?}"),
    }
}

fn lost(extension: Extension) -> Fault {
    match extension {
        Extension::Lost(error) => fault(Err(error)),
        other => panic!("not lost: {other:?}"),
    }
}

fn refreshed(extension: &Extension) -> bool {
    matches!(extension, Extension::Refreshed)
}

const V4: &str = "10.0.0.10";
const V6: &str = "fd00::10";

#[test]
fn addresses_are_added_refreshed_and_removed_in_both_families() {
    isolated(|| {
        cable();
        let mut holder = holder(&[V4, V6]);
        holder.acquire(ending_in(30)).unwrap();
        assert!(holder.is_acquired());
        for ip in [V4, V6] {
            assert_valid(&shown(ip, "eth0").unwrap(), 26..=28);
        }
        assert!(refreshed(&holder.extend(ending_in(60))));
        for ip in [V4, V6] {
            assert_valid(&shown(ip, "eth0").unwrap(), 56..=58);
        }
        holder.release().unwrap();
        assert_eq!((shown(V4, "eth0"), shown(V6, "eth0")), (None, None));
    });
}

fn assert_valid(entry: &Value, seconds: std::ops::RangeInclusive<u64>) {
    let valid = entry["valid_life_time"].as_u64().unwrap();
    assert!(seconds.contains(&valid), "{valid} not in {seconds:?}");
}

/// The oracle: what we put on `eth0` looks to `ip` as what `ip` itself puts on `eth1`, but for the
/// interface and the mark, which newer versions of `ip` show.
#[test]
fn requests_match_those_of_the_ip_command() {
    let plain = Policy::default;
    let cases = [
        (address(V4), plain(), "10.0.0.10/32 noprefixroute valid_lft 28 preferred_lft 28"),
        (address(V6), plain(), "fd00::10/128 nodad noprefixroute valid_lft 28 preferred_lft 0"),
        (
            address(V6),
            plain().may_be_source(),
            "fd00::10/128 nodad noprefixroute valid_lft 28 preferred_lft 28",
        ),
        (address(V4), plain().permanent(), "10.0.0.10/32 noprefixroute"),
        (
            address(V6),
            plain().permanent(),
            "fd00::10/128 nodad noprefixroute valid_lft forever preferred_lft 0",
        ),
    ];
    isolated(move || {
        cable();
        for (address, policy, words) in cases {
            let ours = address.ip().to_string();
            let mut holder = Holder::new(vec![address], policy).unwrap();
            // Half a second more, so that rounding down gives the same second.
            holder.acquire(ending_in(30) + Duration::from_millis(500)).unwrap();
            let by_us = settled("eth0", &ours);
            holder.release().unwrap();
            ip(&format!("addr add {words} dev eth1"));
            assert_eq!(by_us, settled("eth1", &ours), "{words}");
            ip("addr flush dev eth1 scope global");
        }
    });
}

/// An address as `ip` shows it, and the routes that came with it. The kernel adds the local route
/// of an IPv6 address a moment later.
fn settled(interface: &str, of: &str) -> (Value, Vec<String>) {
    let routes = || ip(&format!("route show table all dev {interface}"));
    eventually("the local route", Duration::from_secs(20), || {
        routes().contains(&format!("local {of}"))
    });
    // The seconds left differ by how long it took to look.
    let timeless = |line: &str| line.split(" expires ").next().unwrap().to_owned();
    // Those of link-local addresses come and go in their own time.
    let routes = routes();
    let routes = routes.lines().filter(|line| line.contains("10.0.0") || line.contains("fd00"));
    let routes = routes.map(timeless).collect();
    let mut entry = shown(of, interface).unwrap();
    let fields = entry.as_object_mut().unwrap();
    fields.remove("label");
    fields.remove("protocol");
    for field in ["valid_life_time", "preferred_life_time"] {
        let seconds = fields[field].as_u64().unwrap();
        fields[field] = if (25..=28).contains(&seconds) { 28.into() } else { seconds.into() };
    }
    (entry, routes)
}

#[test]
fn only_the_exact_address_counts() {
    isolated(|| {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add 10.0.0.100/24 dev eth0");
        let mut ten = holder(&[V4]);
        ten.acquire(ending_in(30)).unwrap();
        ten.release().unwrap();
        assert!(shown("10.0.0.1", "eth0").is_some() && shown("10.0.0.100", "eth0").is_some());

        ip("addr flush dev eth0");
        ip("addr add 10.0.0.10/24 dev eth0");
        let mut one = holder(&["10.0.0.1"]);
        one.acquire(ending_in(30)).unwrap();
        assert!(refreshed(&one.extend(ending_in(30))));
        one.release().unwrap();
        assert!(shown("10.0.0.10", "eth0").is_some());
    });
}

#[test]
fn an_administrators_address_is_never_touched() {
    isolated(|| {
        cable();
        for (ip_text, prefix, interface) in
            [(V4, 32, "eth0"), (V4, 24, "eth0"), (V6, 128, "eth0"), (V4, 24, "eth1")]
        {
            ip(&format!("addr add {ip_text}/{prefix} dev {interface} nodad"));
            let before = shown(ip_text, interface);
            let mut holder = holder(&[ip_text]);
            assert_eq!(holder.sweep_stale().unwrap(), 0);
            let refused = fault(holder.acquire(ending_in(30)));
            assert!(matches!(refused, Fault::AlreadyAssigned { marked: false, .. }), "{refused}");
            assert!(matches!(lost(holder.extend(ending_in(30))), Fault::AlreadyAssigned { .. }));
            holder.release().unwrap();
            drop(holder);
            assert_eq!(shown(ip_text, interface), before, "{ip_text}/{prefix} on {interface}");
            ip(&format!("addr del {ip_text}/{prefix} dev {interface}"));
        }
    });
}

#[test]
fn an_address_replaced_by_an_administrator_is_left_alone() {
    isolated(|| {
        cable();
        for ip_text in [V4, V6] {
            let mut holder = holder(&[ip_text]);
            holder.acquire(ending_in(30)).unwrap();
            let prefix = address(ip_text).prefix();
            ip(&format!("addr replace {ip_text}/{prefix} dev eth0 valid_lft forever"));
            let theirs = shown(ip_text, "eth0");
            assert_eq!(lost(holder.extend(ending_in(30))), Fault::Replaced, "{ip_text}");
            holder.release().unwrap();
            assert_eq!(shown(ip_text, "eth0"), theirs);
        }
    });
}

#[test]
fn a_release_does_not_remove_an_address_replaced_just_before() {
    isolated(|| {
        cable();
        for ip_text in [V4, V6] {
            let mut holder = holder(&[ip_text]);
            holder.acquire(ending_in(30)).unwrap();
            let prefix = address(ip_text).prefix();
            ip(&format!("addr replace {ip_text}/{prefix} dev eth0 valid_lft forever"));
            drop(holder);
            let mut heir = self::holder(&[ip_text]);
            assert_eq!(heir.sweep_stale().unwrap(), 0);
            assert!(heir.acquire(ending_in(30)).is_err());
            assert!(shown(ip_text, "eth0").is_some(), "{ip_text}");
        }
    });
}

/// A holder that ended without a word.
fn dead_holder(address: VirtualAddress) {
    let mut holder = Holder::new(vec![address], Policy::default()).unwrap();
    holder.acquire(ending_in(30)).unwrap();
    std::mem::forget(holder);
}

#[test]
fn marked_leftovers_are_removed_from_every_interface() {
    isolated(|| {
        cable();
        dead_holder(VirtualAddress::new(V4.parse().unwrap(), "eth1").unwrap());
        dead_holder(address(V6));
        dead_holder(address("10.0.0.11"));
        ip("addr add 10.0.0.12/32 dev eth0");
        let mut heir = holder(&[V4, V6, "10.0.0.12"]);
        assert_eq!(heir.sweep_stale().unwrap(), 2);
        assert_eq!((shown(V4, "eth1"), shown(V6, "eth0")), (None, None));
        assert!(shown("10.0.0.11", "eth0").is_some(), "not one of this holder's addresses");
        assert!(shown("10.0.0.12", "eth0").is_some(), "not marked");
    });
}

#[test]
fn a_leftover_is_adopted_or_refused_as_the_policy_says() {
    isolated(|| {
        cable();
        dead_holder(address(V4));
        let mut strict = with_policy(&[V4], Policy::default().existing(Existing::Refuse));
        let refused = fault(strict.acquire(ending_in(30)));
        assert!(matches!(refused, Fault::AlreadyAssigned { marked: true, .. }), "{refused}");
        let mut heir = holder(&[V4]);
        heir.acquire(ending_in(60)).unwrap();
        assert_valid(&shown(V4, "eth0").unwrap(), 56..=58);
    });
}

#[test]
fn an_address_removed_by_hand_is_put_back_announced_and_reported() {
    isolated(|| {
        cable();
        for ip_text in [V4, V6] {
            let mut holder = holder(&[ip_text]);
            holder.acquire(ending_in(30)).unwrap();
            let by_hand = format!("addr del {} dev eth0", cidr(ip_text));
            ip(&by_hand);
            holder.tick();
            assert!(shown(ip_text, "eth0").is_some(), "a look repairs it");
            ip(&by_hand);
            assert!(matches!(holder.extend(ending_in(30)), Extension::Recreated));
            assert!(shown(ip_text, "eth0").is_some(), "so does a renewal");
            let stats = holder.stats();
            assert_eq!((stats.recreated, stats.announced), (2, 3), "{stats:?}");
            let events = holder.events();
            let told = events
                .try_iter()
                .filter(|event| matches!(event, VipEvent::Recreated { .. }))
                .count();
            assert_eq!(told, 2);
        }
    });
}

fn cidr(ip_text: &str) -> String {
    format!("{ip_text}/{}", address(ip_text).prefix())
}

#[test]
fn addresses_are_put_back_and_announced_when_an_interface_is_up_again() {
    isolated(|| {
        cable();
        let mut holder = holder(&[V4, V6]);
        holder.acquire(ending_in(30)).unwrap();
        ip("link set eth0 down");
        assert_eq!(shown(V6, "eth0"), None, "the kernel flushes IPv6");
        holder.tick();
        ip("link set eth0 up");
        let announced = holder.stats().announced;
        holder.tick();
        assert!(shown(V4, "eth0").is_some() && shown(V6, "eth0").is_some());
        assert!(holder.is_acquired());
        assert!(holder.stats().announced >= announced + 2, "{:?}", holder.stats());
        let up = VipEvent::InterfaceChanged { address: address(V4), running: true };
        assert!(holder.events().try_iter().any(|event| event == up));
    });
}

#[test]
fn a_recreated_interface_gets_its_addresses_with_the_next_renewal() {
    isolated(|| {
        cable();
        let mut holder = holder(&[V4, V6]);
        holder.acquire(ending_in(30)).unwrap();
        ip("link del eth0");
        holder.tick();
        assert!(!holder.is_acquired());
        assert_eq!(lost(holder.extend(ending_in(30))), Fault::NoSuchInterface);
        cable();
        assert!(matches!(holder.extend(ending_in(30)), Extension::Recreated));
        assert!(shown(V4, "eth0").is_some() && shown(V6, "eth0").is_some());
    });
}

#[test]
fn a_missing_interface_is_an_error_until_it_exists() {
    isolated(|| {
        let mut holder = holder(&[V4]);
        let error = holder.acquire(ending_in(30)).unwrap_err();
        assert_eq!(error.to_string(), "10.0.0.10/32 on eth0: there is no such interface");
        cable();
        assert!(matches!(holder.extend(ending_in(30)), Extension::Recreated));
        assert!(holder.is_acquired());
    });
}

#[test]
fn an_address_refused_by_the_kernel_is_an_error_with_the_reason() {
    isolated(|| {
        cable();
        sysctl("ipv6/conf/eth0/disable_ipv6", "1");
        let mut six = holder(&[V6]);
        assert_eq!(fault(six.acquire(ending_in(30))), Fault::Ipv6Disabled);
        sysctl("ipv6/conf/eth0/disable_ipv6", "0");
        assert!(matches!(six.extend(ending_in(30)), Extension::Recreated));
        six.release().unwrap();

        ip("link set eth0 mtu 1200");
        let refused = fault(six.acquire(ending_in(30)));
        assert!(matches!(refused, Fault::Invalid(_)), "{refused:?}");
    });
}

#[test]
fn removing_a_missing_address_is_no_error() {
    isolated(|| {
        cable();
        let mut holder = holder(&[V4, V6]);
        holder.acquire(ending_in(30)).unwrap();
        ip("addr flush dev eth0");
        holder.release().unwrap();
        holder.acquire(ending_in(30)).unwrap();
        ip("link del eth0");
        holder.release().unwrap();
    });
}

#[test]
fn on_the_loopback_interface_only_the_address_itself_becomes_local() {
    isolated(|| {
        let vip = VipConfig::new(V4.parse().unwrap(), "lo").unwrap().with_netmask(24).unwrap();
        let mut holder = Holder::new(vec![(&vip).into()], Policy::default()).unwrap();
        holder.acquire(ending_in(30)).unwrap();
        assert!(shown(V4, "lo").is_some());
        let local = ip("route show table local");
        let ours: Vec<_> = local.lines().filter(|line| line.contains("10.0.0")).collect();
        assert!(ours.len() == 1 && ours[0].starts_with("local 10.0.0.10 dev lo"), "{local}");
    });
}

#[test]
fn an_address_of_the_loopback_interface_stays_where_that_is_allowed() {
    isolated(|| {
        cable();
        for ip_text in [V4, V6] {
            ip(&format!("addr add {} dev lo nodad", cidr(ip_text)));
            let before = (shown(ip_text, "lo"), ip("route get 10.0.0.10"));
            let refused = fault(holder(&[ip_text]).acquire(ending_in(30)));
            assert!(matches!(refused, Fault::AlreadyAssigned { interface: 1, .. }), "{refused}");
            let allowed = vec![address(ip_text).allow_on_loopback()];
            let mut holder = Holder::new(allowed, Policy::default()).unwrap();
            assert_eq!(holder.sweep_stale().unwrap(), 0);
            holder.acquire(ending_in(30)).unwrap();
            assert!(refreshed(&holder.extend(ending_in(60))));
            assert_valid(&shown(ip_text, "eth0").unwrap(), 56..=58);
            holder.release().unwrap();
            assert_eq!(shown(ip_text, "eth0"), None);
            assert_eq!((shown(ip_text, "lo"), ip("route get 10.0.0.10")), before);
        }
    });
}

#[test]
fn an_interface_is_found_by_an_alternative_name_of_any_length() {
    isolated(|| {
        cable();
        let longest = "n".repeat(127);
        for name in ["uplink", "uplink-of-the-second-rack", &longest] {
            ip(&format!("link property add dev eth0 altname {name}"));
            let address = VirtualAddress::new(V4.parse().unwrap(), name).unwrap();
            let mut holder = Holder::new(vec![address], Policy::default()).unwrap();
            holder.acquire(ending_in(30)).unwrap();
            assert!(shown(V4, "eth0").is_some(), "{name}");
            holder.release().unwrap();
        }
        let unknown = VirtualAddress::new(V4.parse().unwrap(), "uplink-of-the-third-rack").unwrap();
        let mut holder = Holder::new(vec![unknown], Policy::default()).unwrap();
        assert_eq!(fault(holder.acquire(ending_in(30))), Fault::NoSuchInterface);
    });
}

/// At the deadline the address is gone even if the kernel was told to keep it.
#[test]
fn a_permanent_address_is_removed_at_the_deadline_and_on_drop() {
    isolated(|| {
        cable();
        let mut permanent = with_policy(&[V4], Policy::default().permanent());
        permanent.acquire(ending_in(0) + Duration::from_millis(200)).unwrap();
        assert!(shown(V4, "eth0").unwrap()["dynamic"].is_null());
        while permanent.tick().is_some() {
            std::thread::yield_now();
        }
        assert_eq!(shown(V4, "eth0"), None);
        permanent.acquire(ending_in(30)).unwrap();
        drop(permanent);
        assert_eq!(shown(V4, "eth0"), None);
    });
}

/// With a thousand addresses on the interface a dump comes in many parts.
#[test]
fn an_address_is_found_among_a_thousand() {
    isolated(|| {
        cable();
        let add = |n| format!("addr add 10.1.{}.{}/32 dev eth0", n / 250, n % 250 + 1);
        crate::netns::ip_batch((0..1_000).map(add));
        let mut holder = holder(&[V4]);
        holder.acquire(ending_in(30)).unwrap();
        assert!(refreshed(&holder.extend(ending_in(30))));
        holder.release().unwrap();
        let left: Value = serde_json::from_str(&ip("-j addr show dev eth0 scope global")).unwrap();
        let left = left[0]["addr_info"].as_array().unwrap();
        // What its filter leaves out `ip` shows as an empty object.
        assert_eq!(left.iter().filter(|entry| entry["local"].is_string()).count(), 1_000);
    });
}
