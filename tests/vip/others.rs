//! Addresses, routes and neighbours of others, in every order of boot, restart and release: they
//! are what they would be on a host without a virtual IP.

use std::fmt;
use std::time::Duration;

use leasehold::clock::Clock;
use leasehold::config::VipConfig;
use leasehold::vip::{Extension, Holder, Policy, VirtualAddress};

use crate::netns::{cable, eventually, ip, isolated, shown, sysctl};

const LIMIT: Duration = Duration::from_secs(60);

/// One order of events on one interface, which has a network of its own.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// Names the interface, and is part of its addresses.
    number: usize,
    v6: bool,
    /// The prefix length of the host's own address.
    prefix: u8,
    promote_secondaries: bool,
    order: Order,
    end: End,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    /// The host has its address before the virtual IP comes.
    HostFirst,
    /// The virtual IP is there before the host has its address, as when a daemon starts early.
    VipFirst,
    /// The network is restarted while the virtual IP is held.
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Release,
    /// The process is killed, and the kernel removes the address.
    Expiry,
}

impl Case {
    fn interface(self) -> String {
        format!("e{}", self.number)
    }

    fn metric(self) -> usize {
        100 + self.number
    }

    fn vip(self) -> String {
        let n = self.number;
        if self.v6 { format!("fd00:{n:x}::50") } else { format!("{}.0.0.50", 11 + n) }
    }

    fn host(self) -> Host {
        let (n, p) = (self.number, self.prefix);
        let (own, gateway, neighbour) = if self.v6 {
            (format!("fd00:{n:x}::2/{p}"), format!("fd00:{n:x}::1"), format!("fd00:{n:x}::7"))
        } else {
            let net = 11 + n;
            (format!("{net}.0.0.2/{p}"), format!("{net}.0.0.1"), format!("{net}.0.0.7"))
        };
        Host { case: self, own, gateway, neighbour }
    }

    fn wire(self) {
        let name = self.interface();
        ip(&format!("link add name {name} type veth peer name p{}", self.number));
        sysctl(&format!("ipv4/conf/{name}/promote_secondaries"), on(self.promote_secondaries));
        ip(&format!("link set {name} up"));
        ip(&format!("link set p{} up", self.number));
    }
}

const fn on(flag: bool) -> &'static str {
    if flag { "1" } else { "0" }
}

/// The configuration of the host's own network.
struct Host {
    case: Case,
    own: String,
    gateway: String,
    neighbour: String,
}

impl Host {
    fn up(&self) {
        let (name, family) = (self.case.interface(), if self.case.v6 { "-6" } else { "-4" });
        let metric = self.case.metric();
        let nodad = if self.case.v6 { "nodad" } else { "" };
        ip(&format!("addr add {} dev {name} {nodad}", self.own));
        ip(&format!(
            "{family} route replace default via {} dev {name} onlink metric {metric}",
            self.gateway
        ));
        ip(&format!(
            "neigh replace {} lladdr 02:00:00:00:00:07 dev {name} nud permanent",
            self.neighbour
        ));
    }

    fn flush(&self) {
        ip(&format!("addr flush dev {} scope global", self.case.interface()));
    }
}

/// Everything on the interface but its link-local address.
#[derive(PartialEq, Eq)]
struct State(Vec<String>);

impl State {
    fn of(case: Case) -> Self {
        let name = case.interface();
        let text = [
            ip(&format!("-o addr show dev {name} scope global")),
            ip(&format!("-4 route show table all dev {name}")),
            ip(&format!("-6 route show table all dev {name}")),
            ip(&format!("neigh show dev {name}")),
        ];
        // Those of link-local and multicast addresses come and go in their own time.
        let counts =
            |line: &&str| !["fe80", "ff00", "ff02"].iter().any(|prefix| line.contains(prefix));
        let of_text = |text: &String| text.lines().filter(counts).map(plain).collect::<Vec<_>>();
        Self(text.iter().flat_map(of_text).collect())
    }
}

/// Without the index of the interface and the blanks that depend on its width.
fn plain(line: &str) -> String {
    let line = line.split_once(": ").map_or(line, |(_, rest)| rest);
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

fn holder(case: Case) -> Holder {
    // The netmask of the host's network, as go-cluster's files have it.
    let vip = VipConfig::new(case.vip().parse().unwrap(), &case.interface()).unwrap();
    let vip = vip.with_netmask(case.prefix.into()).unwrap();
    Holder::new(vec![VirtualAddress::from(&vip)], Policy::default()).unwrap()
}

/// A lease that the kernel ends after two seconds.
fn acquire(holder: &mut Holder) {
    holder.acquire(Clock::boot().now() + Duration::from_millis(4_500)).unwrap();
}

fn run(case: Case) -> Holder {
    let (host, mut holder) = (case.host(), holder(case));
    match case.order {
        Order::HostFirst => {
            host.up();
            acquire(&mut holder);
        }
        Order::VipFirst => {
            acquire(&mut holder);
            host.up();
        }
        Order::Restart => {
            host.up();
            acquire(&mut holder);
            host.flush();
            let extension = holder.extend(Clock::boot().now() + Duration::from_millis(4_500));
            assert!(matches!(extension, Extension::Recreated), "{case:?}: {extension:?}");
            host.up();
        }
    }
    assert!(shown(&case.vip(), &case.interface()).is_some(), "{case:?}");
    holder
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let prefixes: [(bool, &[u8]); 2] = [(false, &[8, 24, 30, 31, 32]), (true, &[48, 64, 127, 128])];
    for (v6, prefixes) in prefixes {
        for order in [Order::HostFirst, Order::VipFirst, Order::Restart] {
            for end in [End::Release, End::Expiry] {
                for promote_secondaries in [false, true] {
                    for prefix in prefixes.iter().copied() {
                        let number = cases.len();
                        cases.push(Case { number, v6, prefix, promote_secondaries, order, end });
                    }
                }
            }
        }
    }
    cases
}

#[test]
fn nothing_of_others_changes_in_any_order_of_boot_restart_and_release() {
    isolated(|| {
        sysctl("ipv4/conf/all/promote_secondaries", "0");
        let cases = cases();
        let mut wanted = Vec::new();
        for case in &cases {
            case.wire();
            case.host().up();
            wanted.push(settled(*case));
            case.host().flush();
            // What a restart of the network leaves.
            ip(&format!("-6 route flush dev {} metric {}", case.interface(), case.metric()));
            ip(&format!("neigh flush dev {} nud permanent", case.interface()));
        }
        let holders: Vec<_> = cases.iter().map(|case| (run(*case), case.end)).collect();
        for (mut holder, end) in holders {
            match end {
                End::Release => holder.release().unwrap(),
                End::Expiry => std::mem::forget(holder),
            }
        }
        for (case, wanted) in cases.iter().zip(wanted) {
            eventually("the address is gone", LIMIT, || {
                shown(&case.vip(), &case.interface()).is_none()
            });
            // The kernel removes the routes of an IPv6 address a moment later.
            let what = format!("{case:?} to leave {wanted:?}\nafter {:?}", State::of(*case));
            eventually(&what, LIMIT, || State::of(*case) == wanted);
        }
    });
}

/// The state, when the kernel has added the local route of an IPv6 address.
fn settled(case: Case) -> State {
    let local = format!("local {} ", case.host().own.split('/').next().unwrap());
    eventually("the local route", LIMIT, || {
        State::of(case).0.iter().any(|line| line.starts_with(&local))
    });
    State::of(case)
}

/// The limit that the guide names: with the last IPv4 address of an interface the kernel removes
/// all IPv4 routes of the interface.
#[test]
fn with_the_only_address_of_an_interface_the_kernel_removes_its_routes() {
    isolated(|| {
        cable();
        let address = VirtualAddress::new("10.0.0.50".parse().unwrap(), "eth0").unwrap();
        let mut holder = Holder::new(vec![address], Policy::default()).unwrap();
        acquire(&mut holder);
        ip("route add 10.9.0.0/24 dev eth0");
        holder.release().unwrap();
        assert_eq!(ip("-4 route show dev eth0"), "");
    });
}
