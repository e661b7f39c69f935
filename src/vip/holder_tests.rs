use std::net::IpAddr;

use super::super::address::MacAddress;
use super::super::memory::Memory;
use super::super::policy::Existing;
use super::*;

const RIVAL: MacAddress = MacAddress([6; 6]);

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn vip() -> VirtualAddress {
    VirtualAddress::new("10.0.0.10".parse().unwrap(), "eth0").unwrap()
}

/// A host in memory, the clock it runs by, and a holder on it.
struct Bench {
    clock: Clock,
    host: Memory,
    holder: Holder,
}

impl Bench {
    fn new() -> Self {
        Self::with(Policy::default(), vec![vip()])
    }

    fn with(policy: Policy, addresses: Vec<VirtualAddress>) -> Self {
        let clock = Clock::manual(Timestamp::ZERO + s(1_000));
        let host = Memory::new(clock.clone(), ["eth0", "eth1"]);
        Self::on(host, clock, policy, addresses)
    }

    fn on(host: Memory, clock: Clock, policy: Policy, addresses: Vec<VirtualAddress>) -> Self {
        let holder = Holder::with_backend(addresses, policy, clock.clone(), host.clone()).unwrap();
        Self { clock, host, holder }
    }

    /// Another holder of the same addresses on the same host.
    fn another(&self, policy: Policy) -> Self {
        Self::on(self.host.clone(), self.clock.clone(), policy, vec![vip()])
    }

    fn acquire(&mut self, seconds: u64) -> Result<(), VipError> {
        self.holder.acquire(self.clock.now() + s(seconds))
    }

    fn extend(&mut self, seconds: u64) -> Extension {
        self.holder.extend(self.clock.now() + s(seconds))
    }

    fn has(&self) -> bool {
        self.host.has(vip().ip())
    }

    fn events(&self) -> Vec<VipEvent> {
        self.holder.events().try_iter().collect()
    }
}

fn fault<T: std::fmt::Debug>(result: Result<T, VipError>) -> Fault {
    match result {
        Err(VipError::Address { fault, .. }) => fault,
        other => panic!("no fault of an address: {other:?}"),
    }
}

fn lost(extension: Extension) -> Fault {
    match extension {
        Extension::Lost(error) => fault::<()>(Err(error)),
        other => panic!("not lost: {other:?}"),
    }
}

#[test]
fn the_kernel_lifetime_is_the_remaining_lease_less_two_seconds() {
    let mut bench = Bench::new();
    bench.acquire(8).unwrap();
    assert_eq!(bench.host.lifetime(vip().ip()).unwrap().valid, 6);
    bench.clock.advance(ms(2_500));
    assert!(matches!(bench.extend(9), Extension::Refreshed));
    assert_eq!(bench.host.lifetime(vip().ip()).unwrap().valid, 7);
}

#[test]
fn a_holder_that_stops_extending_leaves_nothing_behind() {
    let mut bench = Bench::new();
    bench.acquire(8).unwrap();
    bench.clock.advance(ms(5_999));
    assert!(bench.has());
    bench.clock.advance(ms(1));
    assert!(!bench.has());
}

#[test]
fn with_a_permanent_policy_the_holder_removes_at_the_deadline() {
    let mut bench = Bench::with(Policy::default().permanent(), vec![vip()]);
    bench.acquire(2).unwrap();
    bench.clock.advance(ms(1_989));
    let wake_at = bench.holder.tick().unwrap();
    assert!(bench.has());
    assert_eq!(wake_at, bench.clock.now() + ms(1));
    bench.clock.advance(ms(1));
    assert_eq!(bench.holder.tick(), None);
    assert!(!bench.has());
    assert_eq!(bench.events().last(), Some(&VipEvent::Expired { address: vip() }));
}

#[test]
fn a_lease_with_too_little_left_is_not_acquired_and_not_kept() {
    let mut bench = Bench::new();
    let result = bench.holder.acquire(bench.clock.now() + ms(2_999));
    assert_eq!(fault(result), Fault::DeadlineTooNear { remaining: ms(2_999) });
    bench.acquire(8).unwrap();
    assert!(matches!(lost(bench.extend(2)), Fault::DeadlineTooNear { .. }));
    assert!(!bench.has());
    assert!(!bench.holder.is_acquired());
}

#[test]
fn near_the_deadline_a_look_removes_nothing() {
    let mut bench = Bench::new();
    bench.acquire(8).unwrap();
    bench.clock.advance(ms(5_500));
    bench.holder.tick();
    assert!(bench.has(), "the kernel still has half a second to run");
}

#[test]
fn after_too_many_lost_requests_the_next_renewal_puts_the_address_back() {
    let mut bench = Bench::new();
    bench.acquire(8).unwrap();
    bench.clock.advance(s(7));
    bench.holder.tick();
    assert!(!bench.has());
    assert!(!bench.holder.is_acquired());
    assert!(matches!(bench.extend(8), Extension::Recreated));
    assert!(bench.has());
    assert_eq!(bench.host.log().last().unwrap(), "announce 10.0.0.10");
}

#[test]
fn an_address_removed_by_hand_is_put_back_announced_counted_and_reported() {
    let mut bench = Bench::new();
    bench.acquire(8).unwrap();
    bench.host.unassign(vip().ip());
    bench.holder.tick();
    assert!(bench.has());
    assert_eq!(bench.holder.stats().recreated, 1);
    assert_eq!(bench.holder.stats().announced, 2);
    assert_eq!(bench.events().last(), Some(&VipEvent::Recreated { address: vip() }));
}

#[test]
fn another_instance_of_the_address_is_announced_again() {
    let mut bench = Bench::new();
    bench.acquire(8).unwrap();
    bench.host.unassign(vip().ip());
    let mut second = bench.another(Policy::default());
    second.acquire(8).unwrap();
    assert!(matches!(bench.extend(8), Extension::Recreated));
    assert_eq!(bench.holder.stats().announced, 2);
}

#[test]
fn an_administrators_address_is_refused_and_never_touched() {
    let mut bench = Bench::new();
    bench.host.assign(&vip());
    let refused = Fault::AlreadyAssigned { interface: 1, marked: false };
    assert_eq!(fault(bench.acquire(8)), refused);
    assert_eq!(lost(bench.extend(8)), refused);
    assert_eq!(bench.holder.sweep_stale().unwrap(), 0);
    bench.holder.release().unwrap();
    drop(bench.holder);
    assert!(bench.host.has(vip().ip()));
    assert_eq!(bench.host.log(), Vec::<String>::new());
}

#[test]
fn an_address_replaced_by_another_program_is_left_alone() {
    let mut bench = Bench::new();
    bench.acquire(8).unwrap();
    bench.host.unassign(vip().ip());
    bench.host.assign(&vip());
    assert_eq!(lost(bench.extend(8)), Fault::Replaced);
    bench.holder.release().unwrap();
    assert!(bench.has());
}

#[test]
fn a_replaced_address_is_not_removed_without_a_look_before() {
    let mut bench = Bench::new();
    bench.acquire(8).unwrap();
    bench.host.unassign(vip().ip());
    bench.host.assign(&vip());
    bench.holder.release().unwrap();
    assert!(bench.has());
}

#[test]
fn a_leftover_address_is_adopted_or_refused_as_the_policy_says() {
    let mut dead = Bench::new();
    dead.acquire(8).unwrap();
    let mut strict = dead.another(Policy::default().existing(Existing::Refuse));
    let refused = Fault::AlreadyAssigned { interface: 1, marked: true };
    assert_eq!(fault(strict.acquire(8)), refused);
    let mut heir = dead.another(Policy::default());
    heir.acquire(18).unwrap();
    assert_eq!(heir.host.lifetime(vip().ip()).unwrap().valid, 16);
}

#[test]
fn a_leftover_address_on_another_interface_is_removed_first() {
    let elsewhere = VirtualAddress::new(vip().ip(), "eth1").unwrap();
    let mut dead = Bench::with(Policy::default(), vec![elsewhere]);
    dead.acquire(8).unwrap();
    let mut heir = dead.another(Policy::default());
    heir.acquire(8).unwrap();
    let expected =
        ["remove 10.0.0.10/32", "add 10.0.0.10/32 on eth0 for 6 s", "announce 10.0.0.10"];
    assert!(heir.host.log().ends_with(&expected.map(str::to_owned)), "{:?}", heir.host.log());
}

#[test]
fn a_sweep_removes_marked_addresses_that_are_not_held() {
    let mut dead = Bench::new();
    dead.acquire(8).unwrap();
    assert_eq!(dead.holder.sweep_stale().unwrap(), 0, "its own address is no leftover");
    assert_eq!(dead.another(Policy::default()).holder.sweep_stale().unwrap(), 1);
    assert!(!dead.has());
}

/// IPv4 keeps the mark of an address that is changed in place.
#[test]
fn a_marked_address_with_a_longer_lifetime_than_given_belongs_to_another() {
    let mut bench = Bench::new();
    bench.acquire(8).unwrap();
    let mut other = bench.another(Policy::default());
    other.acquire(3_600).unwrap();
    assert_eq!(lost(bench.extend(8)), Fault::Replaced);

    let mut forever = Bench::with(Policy::default().permanent(), vec![vip()]);
    forever.acquire(8).unwrap();
    let mut leased = forever.another(Policy::default());
    assert_eq!(leased.holder.sweep_stale().unwrap(), 0);
    assert!(matches!(fault(leased.acquire(8)), Fault::AlreadyAssigned { marked: true, .. }));
}

#[test]
fn announcements_follow_the_schedule_and_restart_when_the_interface_changes() {
    let mut bench = Bench::new();
    bench.acquire(30).unwrap();
    let start = bench.clock.now();
    let mut at = Vec::new();
    let mut sent = 0;
    for _ in 0..60 {
        let wake_at = bench.holder.tick().unwrap();
        if bench.holder.stats().announced > sent {
            sent = bench.holder.stats().announced;
            at.push(bench.clock.now().since(start).as_millis());
        }
        bench.clock.advance(wake_at.since(bench.clock.now()));
    }
    assert_eq!(at, [0, 100, 500, 1_000, 2_000, 5_000]);
    bench.extend(30).map_lost();
    bench.host.set_running("eth0", false);
    bench.holder.tick();
    bench.host.set_running("eth0", true);
    bench.holder.tick();
    assert!(bench.holder.stats().announced > 6);
    assert!(bench.events().contains(&VipEvent::InterfaceChanged { address: vip(), running: true }));
}

impl Extension {
    fn map_lost(self) {
        if let Self::Lost(error) = self {
            panic!("{error}");
        }
    }
}

#[test]
fn several_overdue_announcements_are_sent_as_one() {
    let mut bench = Bench::new();
    bench.acquire(30).unwrap();
    bench.clock.advance(s(3));
    bench.holder.tick();
    assert_eq!(bench.holder.stats().announced, 2);
}

#[test]
fn without_a_schedule_nothing_is_announced() {
    let policy = Policy::default().announce_at(&[]).unwrap();
    let mut bench = Bench::with(policy, vec![vip()]);
    bench.acquire(8).unwrap();
    bench.holder.tick();
    assert_eq!(bench.holder.stats().announced, 0);
}

#[test]
fn a_rival_is_reported_and_answered_at_most_once_in_ten_seconds() {
    let mut bench = Bench::new();
    bench.acquire(100).unwrap();
    for _ in 0..5 {
        bench.host.rival(vip().ip(), RIVAL);
        bench.holder.tick();
    }
    let conflict = VipEvent::Conflict { address: vip(), mac: RIVAL };
    assert_eq!(bench.events().iter().filter(|event| **event == conflict).count(), 1);
    assert_eq!(bench.holder.stats().conflicts, 5);
    assert_eq!(bench.holder.stats().announced, 2);
    bench.clock.advance(s(11));
    bench.host.rival(vip().ip(), RIVAL);
    bench.holder.tick();
    assert!(bench.events().contains(&conflict));
}

/// The socket was open all the time, and is full of announcements of the previous holder.
#[test]
fn frames_received_before_the_address_was_acquired_are_no_conflict() {
    let mut bench = Bench::new();
    bench.host.rival(vip().ip(), RIVAL);
    bench.acquire(8).unwrap();
    bench.holder.tick();
    assert_eq!(bench.events(), [VipEvent::Acquired { address: vip() }]);
    assert_eq!((bench.holder.stats().conflicts, bench.holder.stats().announced), (0, 1));
}

#[test]
fn frames_received_before_a_later_attempt_are_no_conflict() {
    let mut bench = Bench::new();
    bench.host.delete_interface("eth0");
    assert_eq!(fault(bench.acquire(8)), Fault::NoSuchInterface);
    bench.host.create_interface("eth0");
    bench.host.rival(vip().ip(), RIVAL);
    assert!(matches!(bench.extend(8), Extension::Recreated));
    assert_eq!(bench.holder.stats().conflicts, 0);
}

#[test]
fn a_probe_that_is_answered_keeps_the_address_off_the_interface() {
    let mut bench = Bench::with(Policy::default(), vec![vip().probe(ms(100)).unwrap()]);
    bench.host.rival(vip().ip(), RIVAL);
    assert_eq!(fault(bench.acquire(8)), Fault::Conflict { mac: RIVAL });
    assert!(!bench.has());
}

#[test]
fn after_a_suspend_the_address_is_put_back_for_the_remaining_lease() {
    let mut bench = Bench::new();
    bench.acquire(20).unwrap();
    bench.host.suspend(s(10));
    assert_eq!(bench.host.lifetime(vip().ip()).unwrap().valid, 18, "it would outlast the lease");
    bench.holder.tick();
    assert_eq!(bench.host.lifetime(vip().ip()).unwrap().valid, 8);
    assert!(bench.events().contains(&VipEvent::Suspended { slept: s(10) }));
}

#[test]
fn after_a_suspend_past_the_deadline_the_address_is_removed() {
    let mut bench = Bench::new();
    bench.acquire(20).unwrap();
    bench.host.suspend(s(30));
    assert!(bench.has());
    assert_eq!(bench.holder.tick(), None);
    assert!(!bench.has());
}

#[test]
fn an_interface_created_later_gets_its_address_with_the_next_renewal() {
    let mut bench = Bench::new();
    bench.host.delete_interface("eth0");
    assert_eq!(fault(bench.acquire(8)), Fault::NoSuchInterface);
    assert_eq!(lost(bench.extend(8)), Fault::NoSuchInterface);
    bench.host.create_interface("eth0");
    assert!(matches!(bench.extend(8), Extension::Recreated));
    assert!(bench.has());
    let failures = bench.events();
    let failures = failures.iter().filter(|event| matches!(event, VipEvent::Failed { .. }));
    assert_eq!(failures.count(), 1, "one lasting fault is reported once");
}

#[test]
fn a_recreated_interface_gets_its_address_again() {
    let mut bench = Bench::new();
    bench.acquire(8).unwrap();
    bench.host.create_interface("eth0");
    bench.holder.tick();
    assert!(bench.has());
    assert_eq!(bench.holder.stats().recreated, 1);
}

#[test]
fn a_rival_is_a_problem_for_a_minute() {
    let mut bench = Bench::new();
    bench.acquire(200).unwrap();
    bench.host.rival(vip().ip(), RIVAL);
    bench.holder.tick();
    let problem = "another host on the network has this address: 06:06:06:06:06:06";
    assert_eq!(bench.holder.states()[0].problem.as_deref(), Some(problem));
    bench.clock.advance(s(59));
    assert!(bench.holder.states()[0].problem.is_some());
    bench.clock.advance(s(1));
    assert_eq!(bench.holder.states()[0].problem, None);
}

#[test]
fn a_link_that_is_down_at_acquisition_is_reported() {
    let mut bench = Bench::new();
    bench.host.set_running("eth0", false);
    bench.acquire(30).unwrap();
    let down = VipEvent::InterfaceChanged { address: vip(), running: false };
    assert_eq!(bench.events(), [VipEvent::Acquired { address: vip() }, down]);
}

#[test]
fn an_address_on_the_loopback_interface_is_accepted_only_where_that_is_allowed() {
    let clock = Clock::manual(Timestamp::ZERO + s(1_000));
    // The loopback interface has index 1.
    let host = Memory::new(clock.clone(), ["lo", "eth0"]);
    host.assign(&VirtualAddress::new(vip().ip(), "lo").unwrap());
    let mut plain = Bench::on(host.clone(), clock.clone(), Policy::default(), vec![vip()]);
    assert!(matches!(fault(plain.acquire(8)), Fault::AlreadyAssigned { interface: 1, .. }));
    let allowed = vec![vip().allow_on_loopback()];
    let mut bench = Bench::on(host.clone(), clock, Policy::default(), allowed);
    bench.acquire(8).unwrap();
    bench.extend(8).map_lost();
    bench.holder.release().unwrap();
    assert!(bench.has(), "the administrator's instance stays");
}

#[test]
fn a_failed_removal_is_tried_again() {
    let mut bench = Bench::with(Policy::default().permanent(), vec![vip()]);
    bench.acquire(8).unwrap();
    bench.host.fail_next(Fault::NoAnswer("busy".into()));
    assert!(bench.holder.release().is_err());
    assert!(bench.has());
    assert!(!bench.holder.is_released());
    assert_eq!(bench.holder.tick(), None);
    assert!(!bench.has());
}

#[test]
fn an_addition_without_a_response_is_undone() {
    let mut bench = Bench::new();
    bench.host.fail_next(Fault::NoAnswer("no time".into()));
    assert!(matches!(fault(bench.acquire(8)), Fault::NoAnswer(_)));
    assert!(bench.holder.is_released() && !bench.has());
    assert_eq!(bench.holder.stats().removed, 1);
}

#[test]
fn acquire_and_release_are_idempotent() {
    let mut bench = Bench::new();
    bench.acquire(8).unwrap();
    bench.acquire(8).unwrap();
    bench.holder.release().unwrap();
    bench.holder.release().unwrap();
    let changes = bench.host.log().len();
    assert_eq!(changes, 3, "{:?}", bench.host.log());
}

#[test]
fn dropping_a_holder_removes_its_addresses() {
    let mut bench = Bench::new();
    bench.acquire(8).unwrap();
    drop(bench.holder);
    assert!(!bench.host.has(vip().ip()));
}

#[test]
fn a_holder_refuses_an_empty_set_and_repeated_addresses() {
    for addresses in [vec![], vec![vip(), vip()]] {
        let clock = Clock::boot();
        let host = Memory::new(clock.clone(), ["eth0"]);
        let result = Holder::with_backend(addresses, Policy::default(), clock, host);
        assert!(matches!(result, Err(VipError::InvalidSet(_))));
    }
}

#[test]
fn an_address_whose_interface_is_renamed_does_not_stay_behind() {
    let mut bench = Bench::new();
    bench.acquire(30).unwrap();
    bench.host.rename_interface("eth0", "old");
    bench.holder.tick();
    assert!(!bench.has() && bench.holder.is_released());
    bench.host.rename_interface("eth1", "eth0");
    assert!(matches!(bench.extend(30), Extension::Recreated));
    bench.host.rename_interface("eth0", "other");
    bench.host.rename_interface("old", "eth0");
    assert!(matches!(bench.extend(30), Extension::Recreated));
    bench.holder.release().unwrap();
    assert!(!bench.has(), "neither of the two interfaces has it");
}

#[test]
fn a_refresh_without_a_response_leaves_the_address_to_this_holder() {
    let mut bench = Bench::new();
    bench.acquire(20).unwrap();
    bench.host.fail_next(Fault::NoAnswer("no time".into()));
    assert!(matches!(lost(bench.extend(10)), Fault::NoAnswer(_)));
    bench.extend(10).map_lost();
    bench.holder.release().unwrap();
    assert!(!bench.has());
}

#[test]
fn an_address_that_could_not_be_removed_is_announced_in_the_next_term() {
    let mut bench = Bench::new();
    bench.acquire(30).unwrap();
    bench.host.fail_next(Fault::NoAnswer("busy".into()));
    assert!(bench.holder.release().is_err());
    let announced = bench.holder.stats().announced;
    bench.acquire(30).unwrap();
    assert_eq!(bench.holder.stats().announced, announced + 1);
    assert_eq!(bench.host.lifetime(vip().ip()).unwrap().valid, 28);
}

#[path = "several_tests.rs"]
mod several;
#[path = "stopped_tests.rs"]
mod stopped;
