//! A node's lease must be long enough for its virtual IPs.

use std::time::Duration;

use super::{Holder, Memory, Policy, VirtualAddress, Worker};
use crate::clock::Clock;
use crate::store::memory::MemoryServer;
use crate::timing::TimingError;
use crate::{Config, Node, StartError};

/// A node in memory with a virtual IP.
fn start(ttl_ms: u64, policy: Policy) -> Result<Node, StartError> {
    let ttl = Duration::from_millis(ttl_ms);
    let config = Config::builder("orders", "first", ["127.0.0.1:4222"]).lease_ttl(ttl);
    let config = config.renew_interval(Duration::from_millis(500)).build().unwrap();
    let address = VirtualAddress::new("10.0.0.10".parse().unwrap(), "eth0").unwrap();
    let (clock, store) = (Clock::boot(), MemoryServer::new().connect(Clock::boot()));
    let host = Memory::new(clock.clone(), ["eth0"]);
    let holder = Holder::with_backend(vec![address], policy, clock, host).unwrap();
    Node::builder(config).store(store).vip(Worker::start(holder).unwrap()).start()
}

#[test]
fn a_lease_too_short_for_the_kernel_is_refused_with_the_smallest_ttl() {
    let Err(StartError::Vip(error)) = start(3_000, Policy::default()) else {
        panic!("a lease of 3 s has no room for the margin of the kernel");
    };
    let error = error.downcast_ref::<TimingError>().expect("the reason");
    let TimingError::TtlTooShortForVirtualIp { smallest, .. } = error else { panic!("{error}") };
    let millis = u64::try_from(smallest.as_millis()).unwrap();
    assert!(start(millis, Policy::default()).is_ok(), "{smallest:?}");
}

#[test]
fn with_a_permanent_policy_any_lease_is_accepted() {
    assert!(start(3_000, Policy::default().permanent()).is_ok());
}
