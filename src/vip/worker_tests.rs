use std::sync::atomic::AtomicU64;
use std::time::Instant;

use super::super::address::{InterfaceName, MacAddress, VirtualAddress};
use super::super::backend::{Assigned, Backend, Interface, Sighting};
use super::super::error::Fault;
use super::super::memory::Memory;
use super::super::policy::{Lifetime, Policy};
use super::*;

const EVENT: Duration = Duration::from_secs(20);

fn vip() -> VirtualAddress {
    VirtualAddress::new("10.0.0.10".parse().unwrap(), "eth0").unwrap()
}

/// A deadline that a test moves; 0 is a term that has ended.
#[derive(Clone, Default)]
struct Lease(Arc<AtomicU64>);

impl Lease {
    fn ending_in(time: Duration) -> Self {
        let lease = Self::default();
        lease.renew(time);
        lease
    }

    fn renew(&self, time: Duration) {
        self.0.store((Clock::boot().now() + time).as_nanos(), Ordering::SeqCst);
    }

    fn lose(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    fn end(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

/// Begins a term that lasts as long as the lease.
fn acquire(worker: &Worker, epoch: u64, lease: &Lease) {
    let lease = lease.clone();
    worker.acquire(epoch, move || Some(lease.end()).filter(|end| *end != Timestamp::ZERO));
}

fn start(policy: Policy) -> (Memory, Worker) {
    let clock = Clock::boot();
    let host = Memory::new(clock.clone(), ["eth0"]);
    let holder = Holder::with_backend(vec![vip()], policy, clock, host.clone()).unwrap();
    (host, Worker::start(holder).unwrap())
}

/// Waits for the next event, which must be this one.
fn expect(worker: &Worker, event: &VipEvent) {
    assert_eq!(worker.events().recv_timeout(EVENT).as_ref(), Ok(event));
}

fn acquired() -> VipEvent {
    VipEvent::Acquired { address: vip() }
}

/// Reports its drop, and whether the address was gone by then.
struct Guard(Memory, Sender<bool>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.1.send(!self.0.has(vip().ip()));
    }
}

#[test]
fn a_term_holds_the_address_and_its_end_removes_it() {
    let (host, worker) = start(Policy::default());
    let lease = Lease::ending_in(Duration::from_secs(60));
    acquire(&worker, 1, &lease);
    expect(&worker, &acquired());
    assert!(host.has(vip().ip()));
    lease.lose();
    worker.look();
    expect(&worker, &VipEvent::Released { address: vip() });
    assert!(!host.has(vip().ip()));
}

#[test]
fn the_address_is_removed_at_the_deadline_without_a_command() {
    let (host, worker) = start(Policy::default().permanent());
    let lease = Lease::ending_in(Duration::from_millis(300));
    acquire(&worker, 1, &lease);
    expect(&worker, &acquired());
    expect(&worker, &VipEvent::Expired { address: vip() });
    assert!(!host.has(vip().ip()));
    assert!(Clock::boot().now() + Duration::from_millis(10) >= lease.end(), "not before its time");
}

#[test]
fn a_renewal_extends_the_kernel_lifetime() {
    let (host, worker) = start(Policy::default());
    let lease = Lease::ending_in(Duration::from_secs(10));
    acquire(&worker, 1, &lease);
    expect(&worker, &acquired());
    lease.renew(Duration::from_secs(100));
    worker.look();
    let until = Instant::now() + EVENT;
    while host.lifetime(vip().ip()).unwrap().valid < 97 {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
}

#[test]
fn a_guard_is_dropped_only_when_the_address_is_gone() {
    let (host, worker) = start(Policy::default());
    acquire(&worker, 1, &Lease::ending_in(Duration::from_secs(60)));
    expect(&worker, &acquired());
    let (sender, dropped) = unbounded();
    worker.release(Guard(host.clone(), sender));
    assert_eq!(dropped.recv_timeout(EVENT), Ok(true));
}

#[test]
fn a_guard_waits_for_a_removal_that_fails_at_first() {
    let (host, worker) = start(Policy::default().permanent());
    acquire(&worker, 1, &Lease::ending_in(Duration::from_secs(60)));
    expect(&worker, &acquired());
    host.fail_next(Fault::NoAnswer("busy".into()));
    let (sender, dropped) = unbounded();
    worker.release(Guard(host.clone(), sender));
    assert_eq!(dropped.recv_timeout(EVENT), Ok(true));
    assert!(matches!(worker.events().recv_timeout(EVENT), Ok(VipEvent::Failed { .. })));
}

/// A resigned term has no deadline any more, and the worker may see that before the command to
/// release.
#[test]
fn a_guard_after_the_end_of_the_term_waits_for_the_removal() {
    let (host, worker) = start(Policy::default().permanent());
    let lease = Lease::ending_in(Duration::from_secs(60));
    acquire(&worker, 1, &lease);
    expect(&worker, &acquired());
    host.fail_next(Fault::NoAnswer("busy".into()));
    lease.lose();
    worker.look();
    assert!(matches!(worker.events().recv_timeout(EVENT), Ok(VipEvent::Failed { .. })));
    let (sender, dropped) = unbounded();
    worker.release(Guard(host.clone(), sender));
    assert_eq!(dropped.recv_timeout(EVENT), Ok(true));
}

#[test]
fn a_guard_does_not_wait_beyond_the_deadline() {
    let (host, worker) = start(Policy::default().permanent());
    acquire(&worker, 1, &Lease::ending_in(Duration::from_millis(400)));
    expect(&worker, &acquired());
    for _ in 0..100 {
        host.fail_next(Fault::NoAnswer("busy".into()));
    }
    let (sender, dropped) = unbounded();
    worker.release(Guard(host.clone(), sender));
    assert_eq!(dropped.recv_timeout(EVENT), Ok(false));
}

#[test]
fn a_guard_without_a_term_is_dropped_at_once() {
    let (host, worker) = start(Policy::default());
    let (sender, dropped) = unbounded();
    worker.release(Guard(host, sender));
    assert_eq!(dropped.recv_timeout(EVENT), Ok(true));
}

#[test]
fn after_a_step_down_renewals_do_not_bring_the_address_back() {
    let (host, worker) = start(Policy::default());
    let lease = Lease::ending_in(Duration::from_secs(60));
    acquire(&worker, 1, &lease);
    expect(&worker, &acquired());
    let (sender, dropped) = unbounded();
    worker.release(Guard(host.clone(), sender.clone()));
    assert_eq!(dropped.recv_timeout(EVENT), Ok(true));
    lease.renew(Duration::from_secs(90));
    worker.look();
    // A second guard is dropped only after the look.
    worker.release(Guard(host.clone(), sender));
    assert_eq!(dropped.recv_timeout(EVENT), Ok(true));
    assert!(!host.has(vip().ip()));
}

#[test]
fn the_next_term_gets_the_address_again() {
    let (host, worker) = start(Policy::default());
    for epoch in 1..=3 {
        let lease = Lease::ending_in(Duration::from_secs(60));
        acquire(&worker, epoch, &lease);
        expect(&worker, &acquired());
        assert!(host.has(vip().ip()));
        lease.lose();
        worker.look();
        expect(&worker, &VipEvent::Released { address: vip() });
    }
}

#[test]
fn dropping_a_worker_removes_the_address_before_it_returns() {
    let (host, worker) = start(Policy::default());
    acquire(&worker, 1, &Lease::ending_in(Duration::from_secs(60)));
    expect(&worker, &acquired());
    drop(worker);
    assert!(!host.has(vip().ip()));
}

#[test]
fn a_leftover_address_is_removed_at_start() {
    let clock = Clock::boot();
    let host = Memory::new(clock.clone(), ["eth0"]);
    let holder = || {
        let policy = Policy::default().permanent();
        Holder::with_backend(vec![vip()], policy, clock.clone(), host.clone()).unwrap()
    };
    let mut dead = holder();
    dead.acquire(clock.now() + Duration::from_secs(60)).unwrap();
    std::mem::forget(dead);
    drop(Worker::start(holder()).unwrap());
    assert!(!host.has(vip().ip()));
}

/// A kernel that hangs: it holds every call until the test releases the lock.
#[derive(Debug)]
struct Hung(Memory, Arc<parking_lot::Mutex<()>>);

impl Backend for Hung {
    fn uptime(&self) -> Timestamp {
        self.0.uptime()
    }
    fn interface(&mut self, name: &InterfaceName) -> Result<Interface, Fault> {
        drop(self.1.lock());
        self.0.interface(name)
    }
    fn find(&mut self, ip: std::net::IpAddr, on: Option<u32>) -> Result<Vec<Assigned>, Fault> {
        drop(self.1.lock());
        self.0.find(ip, on)
    }
    fn add(&mut self, l: &Interface, a: &VirtualAddress, t: Lifetime) -> Result<(), Fault> {
        self.0.add(l, a, t)
    }
    fn refresh(&mut self, l: &Interface, a: &VirtualAddress, t: Lifetime) -> Result<(), Fault> {
        self.0.refresh(l, a, t)
    }
    fn remove(&mut self, ip: std::net::IpAddr, assigned: &Assigned) -> Result<(), Fault> {
        self.0.remove(ip, assigned)
    }
    fn announce(&mut self, interface: &Interface, ip: std::net::IpAddr) -> Result<(), Fault> {
        self.0.announce(interface, ip)
    }
    fn probe(
        &mut self,
        _: &Interface,
        _: std::net::IpAddr,
        _: Duration,
    ) -> Result<Option<MacAddress>, Fault> {
        Ok(None)
    }
    fn sightings(&mut self) -> Vec<Sighting> {
        Vec::new()
    }
}

#[test]
fn a_hanging_kernel_delays_no_renewal_and_the_queue_stays_short() {
    let clock = Clock::boot();
    let host = Memory::new(clock.clone(), ["eth0"]);
    let lock = Arc::new(parking_lot::Mutex::new(()));
    let held = lock.lock();
    let backend = Hung(host.clone(), Arc::clone(&lock));
    let holder = Holder::with_backend(vec![vip()], Policy::default(), clock, backend).unwrap();
    let worker = Worker::start(holder).unwrap();
    let lease = Lease::ending_in(Duration::from_secs(60));
    acquire(&worker, 1, &lease);
    for _ in 0..100_000 {
        worker.look();
    }
    assert!(worker.commands.len() <= 2, "one command to look waits, however many were sent");
    assert!(!worker.is_acquired());
    drop(held);
    expect(&worker, &acquired());
}

/// Without the wake-up each of the 200 ends would be noticed 100 ms late.
#[test]
fn a_clock_that_is_moved_wakes_the_thread() {
    let clock = Clock::manual(Timestamp::from_nanos(1));
    let host = Memory::new(clock.clone(), ["eth0"]);
    let policy = Policy::default().permanent();
    let holder = Holder::with_backend(vec![vip()], policy, clock.clone(), host.clone()).unwrap();
    let worker = Worker::start(holder).unwrap();
    let begun = Instant::now();
    for epoch in 1..=200 {
        let (of_term, end) = (clock.clone(), clock.now() + Duration::from_secs(10));
        worker.acquire(epoch, move || Some(end).filter(|end| of_term.now() < *end));
        while worker.events().recv_timeout(EVENT).unwrap() != acquired() {}
        clock.advance(Duration::from_secs(10));
        while host.has(vip().ip()) {
            assert!(begun.elapsed() < 2 * EVENT);
            std::thread::yield_now();
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
