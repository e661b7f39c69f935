//! A process that is stopped (SIGSTOP) during a step, and continues when another node leads.

use std::sync::Arc;

use parking_lot::Mutex;

use super::super::super::address::InterfaceName;
use super::super::super::backend::{Assigned, Interface, Sighting};
use super::super::super::policy::Lifetime;
use super::*;

/// A host on which the process is stopped for a while during the next call of one kind.
#[derive(Debug)]
struct Stopping {
    host: Memory,
    clock: Clock,
    stop: Arc<Mutex<Option<(&'static str, Duration)>>>,
}

impl Stopping {
    fn within(&self, call: &str) {
        if let Some((_, time)) = self.stop.lock().take_if(|(at, _)| *at == call) {
            self.clock.advance(time);
        }
    }
}

impl Backend for Stopping {
    fn uptime(&self) -> Timestamp {
        self.host.uptime()
    }

    fn interface(&mut self, name: &InterfaceName) -> Result<Interface, Fault> {
        self.within("interface");
        self.host.interface(name)
    }

    fn find(&mut self, ip: IpAddr, on: Option<u32>) -> Result<Vec<Assigned>, Fault> {
        self.host.find(ip, on)
    }

    fn add(
        &mut self,
        interface: &Interface,
        to: &VirtualAddress,
        lifetime: Lifetime,
    ) -> Result<(), Fault> {
        self.within("add");
        self.host.add(interface, to, lifetime)
    }

    fn refresh(
        &mut self,
        interface: &Interface,
        address: &VirtualAddress,
        lifetime: Lifetime,
    ) -> Result<(), Fault> {
        self.within("refresh");
        self.host.refresh(interface, address, lifetime)
    }

    fn remove(&mut self, ip: IpAddr, assigned: &Assigned) -> Result<(), Fault> {
        self.host.remove(ip, assigned)
    }

    fn announce(&mut self, interface: &Interface, ip: IpAddr) -> Result<(), Fault> {
        self.host.announce(interface, ip)
    }

    fn probe(
        &mut self,
        interface: &Interface,
        ip: IpAddr,
        wait: Duration,
    ) -> Result<Option<MacAddress>, Fault> {
        self.host.probe(interface, ip, wait)
    }

    fn sightings(&mut self) -> Vec<Sighting> {
        self.within("sightings");
        self.host.sightings()
    }
}

/// Runs `work` of a holder with a lease of 8 s, which is stopped for 10 s during `call`. Afterwards
/// the address must be gone, and must not have been announced.
fn stopped_within(call: &'static str, prepare: fn(&mut Bench), work: fn(&mut Bench, Timestamp)) {
    let mut bench = Bench::new();
    let stop = Arc::default();
    let (host, clock) = (bench.host.clone(), bench.clock.clone());
    let stopping = Stopping { host, clock: clock.clone(), stop: Arc::clone(&stop) };
    bench.holder =
        Holder::with_backend(vec![vip()], Policy::default(), clock.clone(), stopping).unwrap();
    let deadline = clock.now() + s(8);
    prepare(&mut bench);
    let announced = bench.holder.stats().announced;
    *stop.lock() = Some((call, s(10)));
    work(&mut bench, deadline);
    assert!(stop.lock().is_none(), "it was stopped");
    assert!(!bench.has(), "in {call}");
    assert_eq!(bench.holder.stats().announced, announced, "in {call}");
}

fn acquire_for_8_s(bench: &mut Bench) {
    bench.acquire(8).unwrap();
}

#[test]
fn a_holder_stopped_while_it_acquires_does_not_hold_the_address() {
    for call in ["interface", "add"] {
        stopped_within(
            call,
            |_| {},
            |bench, deadline| {
                let late = fault(bench.holder.acquire(deadline));
                assert_eq!(late, Fault::DeadlineTooNear { remaining: Duration::ZERO });
            },
        );
    }
}

/// The kernel removes the address meanwhile, which must not look like a removal by hand.
#[test]
fn a_holder_stopped_while_it_looks_does_not_put_the_address_back() {
    for call in ["interface", "sightings"] {
        stopped_within(call, acquire_for_8_s, |bench, _| {
            bench.host.rival(vip().ip(), RIVAL);
            bench.holder.tick();
        });
    }
}

#[test]
fn a_holder_stopped_while_it_extends_does_not_hold_the_address() {
    for call in ["interface", "refresh"] {
        stopped_within(call, acquire_for_8_s, |bench, deadline| {
            let late = lost(bench.holder.extend(deadline));
            assert_eq!(late, Fault::DeadlineTooNear { remaining: Duration::ZERO });
        });
    }
}
