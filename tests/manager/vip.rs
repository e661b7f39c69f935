//! A daemon's virtual IP, on hosts in memory: it follows the lead, at its full length.

use std::net::IpAddr;
use std::time::Duration;

use leasehold::clock::Clock;
use leasehold::config::VipConfig;
use leasehold::manager::{Manager, ManagerBuilder};
use leasehold::vip::{Backend, Holder, Memory, Policy, VipError, Worker};
use leasehold::{ManagerError, Role};

use crate::daemons::{Daemon, PATIENCE, config, operator, telling};
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::eventually;

const LIMIT: Duration = Duration::from_secs(20);
const VIP: &str = "10.0.0.10";

fn ip() -> IpAddr {
    VIP.parse().unwrap()
}

/// A daemon on a host of its own, as its file says.
fn on_host(host: &Memory, url: &str, node: &str, netmask: u64) -> ManagerBuilder {
    let vip = VipConfig::new(ip(), "eth0").unwrap().with_netmask(netmask).unwrap();
    let config = config(url, node).vips([vip]).build().unwrap();
    let host = host.clone();
    Manager::builder(config).vip_with(move |vips| worker(&host, vips, 1))
}

/// A worker on a host in memory that is given the configured addresses so many times.
fn worker(host: &Memory, vips: &[VipConfig], times: usize) -> Result<Worker, VipError> {
    let addresses = vips.iter().cycle().take(vips.len() * times).map(Into::into).collect();
    let host = host.clone();
    Worker::start(Holder::with_backend(addresses, Policy::default(), Clock::boot(), host)?)
}

fn host() -> Memory {
    Memory::new(Clock::boot(), ["eth0"])
}

on_both_servers!(the_virtual_ip_follows_the_leader_and_the_status_agrees, |version| {
    let server = NatsServer::start(version);
    let url = server.url();
    let [a, b] = [host(), host()];
    let (hooks, told) = telling();
    let one = Daemon::start(on_host(&a, &url, "node-1", 32).hooks(hooks));
    one.leads();
    let two = Daemon::start(on_host(&b, &url, "node-2", 32));
    let [op1, op2] = ["node-1", "node-2"].map(|name| operator(&url, name));
    eventually(PATIENCE, "the VIP on the first", || op1.status(LIMIT).unwrap().vip_held);
    assert!(a.has(ip()) && !b.has(ip()) && !op2.status(LIMIT).unwrap().vip_held);
    let status = op1.status(LIMIT).unwrap();
    assert_eq!((status.vips[0].address.as_str(), status.vips[0].held), ("10.0.0.10/32", true));
    assert_eq!((status.vip_link_up, status.problem), (Some(true), None));
    a.set_running("eth0", false);
    eventually(PATIENCE, "the link is shown", || {
        op1.status(LIMIT).unwrap().vip_link_up == Some(false)
    });
    let problem = op1.status(LIMIT).unwrap().problem;
    let down = "virtual IP 10.0.0.10/32 on eth0: the link of the interface is down";
    assert_eq!(problem.as_deref(), Some(down));
    a.set_running("eth0", true);

    // Removed before the lease is given back, so never on both.
    op1.demote(LIMIT).unwrap();
    assert!(!a.has(ip()));
    two.leads();
    eventually(PATIENCE, "the VIP on the second", || op2.status(LIMIT).unwrap().vip_held);
    let view = op1.query_all(Duration::from_millis(500), LIMIT).unwrap();
    let held: Vec<_> = view.nodes.iter().map(|node| node.status.vip_held).collect();
    assert_eq!((view.leader.as_deref(), held), (Some("node-2"), vec![false, true]));

    two.stop().unwrap();
    assert!(!b.has(ip()), "gone when it has stopped");
    op1.promote(false, LIMIT).unwrap();
    eventually(PATIENCE, "the VIP on the first again", || a.has(ip()));
    one.stop().unwrap();
    assert!(!a.has(ip()));
    let lines: Vec<_> = told.try_iter().filter(|line| !line.starts_with("leader")).collect();
    let words: Vec<_> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    let rest = ["became", "lost", "became", "lost", "stop"];
    assert_eq!(words[0], "start", "{lines:?}");
    let calls: Vec<_> = words[1..].iter().filter(|word| **word != "ready").copied().collect();
    assert_eq!(calls, rest, "{lines:?}");
});

#[test]
fn the_netmask_is_shown_and_the_interface_has_the_address_alone() {
    let server = NatsServer::start(Version::Newest);
    for (netmask, shown) in [(0, "10.0.0.10/24"), (8, "10.0.0.10/8"), (32, "10.0.0.10/32")] {
        let host = host();
        let daemon = Daemon::start(on_host(&host, &server.url(), "node-1", netmask));
        daemon.leads();
        eventually(PATIENCE, "the VIP", || host.has(ip()));
        let mut look = host.clone();
        let assigned = look.find(ip(), None).unwrap();
        assert_eq!(assigned.iter().map(|one| one.prefix).collect::<Vec<_>>(), [32]);
        assert_eq!(daemon.manager.status(LIMIT).unwrap().vips[0].address, shown);
        daemon.stop().unwrap();
        assert!(!host.has(ip()));
    }
}

on_both_servers!(without_an_address_no_worker_is_made, |version| {
    let server = NatsServer::start(version);
    let config = config(&server.url(), "node-1").build().unwrap();
    let daemon = Daemon::start(Manager::builder(config).vip_with(|_| panic!("there is no VIP")));
    daemon.leads();
    let status = daemon.manager.status(LIMIT).unwrap();
    assert_eq!((status.role, status.vip_held, status.vips), (Role::Leader, false, Vec::new()));
});

#[test]
fn a_virtual_ip_that_cannot_be_held_keeps_the_daemon_from_starting() {
    let server = NatsServer::start(Version::Newest);
    let never = crossbeam_channel::never();
    let host = host();
    let memory = host.clone();
    let unfit = on_host(&host, &server.url(), "node-1", 0);
    let unfit = unfit.vip_with(move |vips| worker(&memory, vips, 2));
    let error = unfit.build().run(&never).unwrap_err();
    assert!(matches!(error, ManagerError::Vip(_)) && error.exit_code() == 1, "{error}");
    assert!(error.to_string().starts_with("virtual IP: "), "{error}");
}
