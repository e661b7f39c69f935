//! Several addresses of one holder: all are held or none.

use super::*;

fn second() -> VirtualAddress {
    VirtualAddress::new("fd00::10".parse().unwrap(), "eth1").unwrap()
}

#[test]
fn all_addresses_are_held_or_none() {
    let mut bench = Bench::with(Policy::default(), vec![vip(), second()]);
    bench.host.delete_interface("eth1");
    for _ in 0..3 {
        assert_eq!(lost(bench.extend(8)), Fault::NoSuchInterface);
        assert!(bench.holder.is_released());
    }
    assert_eq!(bench.host.log(), Vec::<String>::new(), "a look shows it, and nothing is changed");
    bench.host.create_interface("eth1");
    assert!(matches!(bench.extend(8), Extension::Recreated));
    assert!(bench.host.has(vip().ip()) && bench.host.has(second().ip()));
    assert!(bench.holder.is_acquired());
}

#[test]
fn an_address_is_not_announced_when_another_one_is_refused() {
    let mut bench = Bench::with(Policy::default(), vec![second(), vip()]);
    bench.host.pass_next();
    bench.host.fail_next(Fault::Ipv6Disabled);
    assert_eq!(fault(bench.acquire(8)), Fault::Ipv6Disabled);
    assert!(bench.holder.is_released() && !bench.host.has(second().ip()));
    assert_eq!(bench.holder.stats().announced, 0);
    assert!(bench.events().contains(&VipEvent::Withdrawn { address: second() }));
    bench.extend(8).map_lost();
    assert_eq!(bench.holder.stats().announced, 2);
}

#[test]
fn when_one_address_is_lost_the_others_are_withdrawn() {
    let mut bench = Bench::with(Policy::default(), vec![vip(), second()]);
    bench.acquire(30).unwrap();
    bench.host.unassign(second().ip());
    bench.host.assign(&second());
    bench.holder.tick();
    assert!(!bench.has(), "another program has the second one");
    assert!(bench.host.has(second().ip()), "which is left alone");
    assert!(bench.events().ends_with(&[VipEvent::Withdrawn { address: vip() }]));
    bench.host.unassign(second().ip());
    assert!(matches!(bench.extend(30), Extension::Recreated));
    assert!(bench.has() && bench.host.has(second().ip()));
}

#[test]
fn a_state_says_of_each_address_whether_it_is_held_and_why_not() {
    let mut bench = Bench::with(Policy::default(), vec![vip(), second()]);
    bench.host.delete_interface("eth1");
    assert!(bench.acquire(8).is_err());
    let states = bench.holder.states();
    let problems: Vec<_> = states.iter().map(|state| state.problem.as_deref()).collect();
    assert_eq!(problems, [None, Some("there is no such interface")]);
    assert_eq!(
        (states[0].address.as_str(), states[1].interface.as_str()),
        ("10.0.0.10/32", "eth1")
    );
    bench.host.create_interface("eth1");
    bench.extend(8).map_lost();
    let states = bench.holder.states();
    assert!(states.iter().all(|state| state.held && state.link_up == Some(true)));
    assert!(states.iter().all(|state| state.problem.is_none()), "{states:?}");

    bench.host.set_running("eth0", false);
    bench.holder.tick();
    let state = &bench.holder.states()[0];
    assert_eq!((state.held, state.link_up), (true, Some(false)));
    assert_eq!(state.problem.as_deref(), Some("the link of the interface is down"));
    bench.holder.release().unwrap();
    assert!(bench.holder.states().iter().all(|state| !state.held && state.problem.is_none()));
}

#[test]
fn an_address_that_is_refused_again_takes_no_other_one_up() {
    let mut bench = Bench::with(Policy::default(), vec![vip(), second()]);
    bench.host.pass_next();
    bench.host.fail_next(Fault::Ipv6Disabled);
    assert_eq!(fault(bench.acquire(8)), Fault::Ipv6Disabled);
    let changes = bench.host.log().len();
    for _ in 0..3 {
        bench.host.fail_next(Fault::Ipv6Disabled);
        assert_eq!(lost(bench.extend(8)), Fault::Ipv6Disabled);
    }
    assert_eq!(bench.host.log().len(), changes, "{:?}", bench.host.log());
    let told = bench.events().into_iter();
    assert_eq!(told.filter(|event| matches!(event, VipEvent::Withdrawn { .. })).count(), 1);
}
