//! Nodes with configured virtual IPs, in network namespaces.

use std::net::IpAddr;
use std::time::Duration;

use leasehold::clock::Clock;
use leasehold::config::VipConfig;
use leasehold::store::memory::MemoryServer;
use leasehold::vip::{Fault, Holder, Policy, VipEvent, VipState, VirtualAddress};
use leasehold::{Config, Event, Node};

use crate::netns::{Lab, cable, eventually, ip, isolated, shown};

const LIMIT: Duration = Duration::from_secs(30);
const V4: &str = "10.0.0.50";
const V6: &str = "fd00::50";

fn vip(address: &str) -> VipConfig {
    VipConfig::new(address.parse().unwrap(), "eth0").unwrap()
}

fn start(vips: impl IntoIterator<Item = VipConfig>) -> Node {
    let config = Config::without_servers("orders", "node-1").vips(vips).build().unwrap();
    let store = MemoryServer::new().connect(Clock::boot());
    Node::builder(config).store(store).start().unwrap()
}

fn leading(vips: impl IntoIterator<Item = VipConfig>) -> Node {
    let node = start(vips);
    node.wait_for_leadership(LIMIT).unwrap();
    eventually("the addresses are held", LIMIT, || node.holds_vip());
    node
}

/// Waits for an event of a virtual IP.
#[track_caller]
fn told(node: &Node, wanted: impl Fn(&VipEvent) -> bool) {
    let until = Clock::boot().now() + LIMIT;
    loop {
        let left = until.since(Clock::boot().now());
        match node.events().receiver().recv_timeout(left).expect("the event") {
            Event::VirtualIp(event) if wanted(&event) => return,
            _ => {}
        }
    }
}

fn state(node: &Node, index: usize) -> VipState {
    node.virtual_ips()[index].clone()
}

#[test]
fn a_node_holds_all_its_configured_virtual_ips_while_it_leads() {
    isolated(|| {
        cable();
        let node = leading([vip(V4).with_netmask(16).unwrap(), vip(V6)]);
        for address in [V4, V6] {
            let prefix = shown(address, "eth0").unwrap()["prefixlen"].as_u64();
            assert_eq!(prefix, Some(if address == V4 { 32 } else { 128 }), "{address}");
        }
        let states = node.virtual_ips();
        let addresses: Vec<_> = states.iter().map(|state| state.address.as_str()).collect();
        assert_eq!(addresses, ["10.0.0.50/16", "fd00::50/128"], "as configured");
        assert!(states.iter().all(|state| state.held && state.link_up == Some(true)));
        let handle = node.handle();
        node.stop();
        assert_eq!((shown(V4, "eth0"), shown(V6, "eth0"), handle.holds_vip()), (None, None, false));
        assert!(handle.virtual_ips().iter().all(|state| !state.held));
    });
}

/// A restart of the network while the node leads. The default netmask of go-cluster's files once
/// made the virtual IP the primary address of the network.
#[test]
fn the_host_keeps_its_address_and_its_route_after_a_restart_of_the_network() {
    isolated(|| {
        cable();
        let network = || {
            ip("addr add 10.0.0.2/24 dev eth0");
            ip("route add default via 10.0.0.1");
        };
        network();
        let node = leading([vip(V4)]);
        ip("addr flush dev eth0");
        told(&node, |event| matches!(event, VipEvent::Recreated { .. }));
        network();
        node.stop();
        assert_eq!(shown(V4, "eth0"), None);
        assert!(shown("10.0.0.2", "eth0").is_some());
        assert!(ip("route").contains("default via 10.0.0.1 dev eth0"), "{}", ip("route"));
    });
}

#[test]
fn when_one_address_cannot_be_held_none_is_and_the_status_says_why() {
    isolated(|| {
        cable();
        ip("addr add fd00::50/128 dev eth1 nodad");
        let node = start([vip(V4), vip(V6)]);
        node.wait_for_leadership(LIMIT).unwrap();
        let refused = |event: &VipEvent| match event {
            VipEvent::Failed { address, fault } => {
                let is_assigned = matches!(fault, Fault::AlreadyAssigned { marked: false, .. });
                is_assigned && address.ip() == V6.parse::<IpAddr>().unwrap()
            }
            _ => false,
        };
        told(&node, refused);
        eventually("the problem is shown", LIMIT, || state(&node, 1).problem.is_some());
        assert!(!node.holds_vip() && shown(V4, "eth0").is_none());
        assert_eq!(state(&node, 0).problem, None);
        let problem = state(&node, 1).problem.unwrap();
        assert!(problem.contains("has this address already on interface"), "{problem}");

        ip("addr del fd00::50/128 dev eth1");
        eventually("a renewal tries again", LIMIT, || node.holds_vip());
        assert!(shown(V4, "eth0").is_some() && shown(V6, "eth0").is_some());
        assert_eq!(state(&node, 1).problem, None);
    });
}

#[test]
fn a_link_that_goes_down_is_told_and_shown() {
    isolated(|| {
        cable();
        let node = leading([vip(V4)]);
        for (word, up) in [("down", false), ("up", true)] {
            ip(&format!("link set eth1 {word}"));
            told(&node, |event| match event {
                VipEvent::InterfaceChanged { running, .. } => *running == up,
                _ => false,
            });
            eventually("the state shows it", LIMIT, || state(&node, 0).link_up == Some(up));
            let problem = (!up).then_some("the link of the interface is down");
            assert_eq!(state(&node, 0).problem.as_deref(), problem);
            assert!(state(&node, 0).held);
        }
    });
}

#[test]
fn a_probe_keeps_the_address_from_a_node_while_another_host_has_it() {
    isolated(|| {
        let lab = Lab::<2>::new();
        let [owner, other] = &lab.hosts;
        let mac = owner.mac();
        let held = owner.run(|| {
            let address = VirtualAddress::new(V4.parse().unwrap(), "eth0").unwrap();
            let mut holder = Holder::new(vec![address], Policy::default()).unwrap();
            holder.acquire(Clock::boot().now() + Duration::from_secs(300)).unwrap();
            holder
        });
        let node = other.run(move || {
            let node = start([vip(V4).with_probe()]);
            node.wait_for_leadership(LIMIT).unwrap();
            told(&node, |event| match event {
                VipEvent::Failed { fault: Fault::Conflict { mac: rival }, .. } => {
                    rival.to_string() == mac
                }
                _ => false,
            });
            eventually("the problem is shown", LIMIT, || state(&node, 0).problem.is_some());
            let problem = state(&node, 0).problem.unwrap();
            assert!(problem.starts_with("another host on the network has this"), "{problem}");
            assert!(!node.holds_vip() && shown(V4, "eth0").is_none());
            node
        });
        owner.run(move || drop(held));
        other.run(move || {
            eventually("the address is free", LIMIT, || node.holds_vip());
            assert!(shown(V4, "eth0").is_some());
            node.stop();
        });
    });
}
