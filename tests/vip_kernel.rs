//! The holder against the real kernel, in network namespaces of its own.

mod netns;

use std::time::Duration;

use leasehold::clock::{Clock, Timestamp};
use leasehold::vip::{Extension, Holder, Policy, VirtualAddress};
use netns::{ip, isolated, shown};

/// Two interfaces, `eth0` and `eth1`, joined and up.
fn cable() {
    ip("link add name eth0 type veth peer name eth1");
    ip("link set eth0 up");
    ip("link set eth1 up");
}

fn soon(seconds: u64) -> Timestamp {
    Clock::boot().now() + Duration::from_secs(seconds)
}

fn address(ip: &str) -> VirtualAddress {
    VirtualAddress::new(ip.parse().unwrap(), "eth0").unwrap()
}

fn holder(ips: &[&str]) -> Holder {
    Holder::new(ips.iter().map(|ip| address(ip)).collect(), Policy::default()).unwrap()
}

#[test]
fn add_refresh_and_remove_work_for_both_families() {
    isolated(|| {
        cable();
        let mut holder = holder(&["10.0.0.10", "fd00::10"]);
        holder.acquire(soon(8)).unwrap();
        assert!(holder.is_acquired());
        println!("{:#?}", shown("10.0.0.10", "eth0"));
        println!("{:#?}", shown("fd00::10", "eth0"));
        let ext = holder.extend(soon(20));
        assert!(matches!(ext, Extension::Refreshed), "{ext:?}");
        println!("{:#?}", shown("10.0.0.10", "eth0"));
        let t = std::time::Instant::now();
        for _ in 0..1000 {
            let _ = holder.extend(soon(20));
        }
        println!("extend of two {:?}", t.elapsed() / 1000);
        holder.release().unwrap();
        assert!(shown("10.0.0.10", "eth0").is_none());
        assert!(shown("fd00::10", "eth0").is_none());
        println!("{:?}", holder.stats());
    });
}
