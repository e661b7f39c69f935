//! The comparison itself.

#[path = "../../netns/mod.rs"]
mod netns;

use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use leasehold::clock::{Clock, Timestamp};
use leasehold::vip::{Backend, Extension, Holder, Kernel, Lifetime, Policy, VirtualAddress};

/// How many times cheaper than starting `ip` a refresh has to be.
const WANTED: f64 = 100.0;

/// Netlink is this much quicker, so it gets this many turns for each of `ip`.
const TURNS: u32 = 20;

const LIFETIME: Lifetime = Lifetime { valid: 20, preferred: 20 };

pub(crate) fn run() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let rounds = if quick { 20 } else { 300 };
    netns::enter();
    netns::ip("link add name eth0 type veth peer name eth1");
    netns::ip("link set eth0 up");
    netns::ip("link set eth1 up");
    println!("medians in microseconds over {rounds} rounds");
    println!("{:<8}{:<24}{:>10}{:>10}{:>8}", "family", "operation", "netlink", "ip", "factor");
    let refresh = ["10.0.0.10", "fd00::10"].map(|ip| compare(ip.parse().unwrap(), rounds));
    let least = refresh[0].min(refresh[1]);
    println!("a refresh is {least:.0} times cheaper at the least; wanted: {WANTED:.0}");
    assert!(least >= WANTED || cfg!(debug_assertions), "too dear");
}

/// One family's figures; returns how many times cheaper a refresh is.
fn compare(ip: IpAddr, rounds: u32) -> f64 {
    let address = VirtualAddress::new(ip, "eth0").unwrap();
    let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    let place = format!("{ip}/{} dev eth0", address.prefix());
    let leased = format!("{place} valid_lft 20 preferred_lft 20");
    let mut kernel = Kernel::open(ip.is_ipv6()).unwrap();
    let silent = Policy::default().announce_at(&[]).unwrap();
    let mut holder = Holder::new(vec![address.clone()], silent).unwrap();
    let mut by_netlink = <[Vec<Duration>; 4]>::default();
    let mut by_ip = <[Vec<Duration>; 4]>::default();
    for _ in 0..rounds {
        for _ in 0..TURNS {
            change(&mut kernel, &address, &mut by_netlink);
        }
        extend(&mut holder, &mut by_netlink[3]);
        by_ip[0].push(timed(|| run_ip(&format!("addr add {leased}"))));
        by_ip[1].push(timed(|| run_ip(&format!("addr replace {leased}"))));
        by_ip[3].push(timed(|| {
            run_ip("link show dev eth0");
            run_ip("addr show dev eth0");
            run_ip(&format!("addr replace {leased}"));
        }));
        by_ip[2].push(timed(|| run_ip(&format!("addr del {place}"))));
    }
    let (ours, theirs) = (by_netlink.map(median), by_ip.map(median));
    for (at, name) in ["add", "refresh", "delete", "extension"].into_iter().enumerate() {
        let (ours, theirs) = (ours[at], theirs[at]);
        println!("{family:<8}{name:<24}{ours:>10.1}{theirs:>10.0}{:>7.0}x", theirs / ours);
    }
    theirs[1] / ours[1]
}

/// The three operations of the kernel, once each.
fn change(kernel: &mut Kernel, address: &VirtualAddress, times: &mut [Vec<Duration>; 4]) {
    let interface = kernel.interface(address.interface()).unwrap();
    times[0].push(timed(|| kernel.add(&interface, address, LIFETIME).unwrap()));
    times[1].push(timed(|| kernel.refresh(&interface, address, LIFETIME).unwrap()));
    let found = kernel.find(address.ip(), Some(interface.index)).unwrap();
    times[2].push(timed(|| kernel.remove(address.ip(), &found[0]).unwrap()));
}

/// What a renewal of the lease costs a holder.
fn extend(holder: &mut Holder, times: &mut Vec<Duration>) {
    holder.acquire(ending()).unwrap();
    for _ in 0..TURNS {
        let mut found = Extension::Refreshed;
        times.push(timed(|| found = holder.extend(ending())));
        assert!(matches!(found, Extension::Refreshed), "{found:?}");
    }
    holder.release().unwrap();
}

fn ending() -> Timestamp {
    Clock::boot().now() + Duration::from_secs(30)
}

fn run_ip(arguments: &str) {
    let mut command = Command::new("ip");
    let status = command.args(arguments.split_whitespace()).stdout(Stdio::null()).status();
    assert!(status.expect("ip is missing: apt-get install iproute2").success());
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}
