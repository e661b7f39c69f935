//! Holders in processes of their own, which are killed, stopped, or lack a capability.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use leasehold::clock::{Clock, Timestamp};
use leasehold::vip::{Holder, KERNEL_MARGIN, Policy, VirtualAddress};
use nix::sys::signal::Signal;

use crate::netns::{Actor, cable, eventually, isolated, play, role, shown};
use crate::support::alone::test_name;

const V4: &str = "10.0.0.10";
const V6: &str = "fd00::10";

fn addresses() -> Vec<VirtualAddress> {
    let address = |ip: &str| VirtualAddress::new(ip.parse().unwrap(), "eth0").unwrap();
    vec![address(V4), address(V6)]
}

/// The part of a holder that renews its lease every 200 ms, until something happens to it. It says
/// until when beforehand, so that no renewal is unknown.
fn hold_and_renew() {
    let clock = Clock::boot();
    let mut holder = Holder::new(addresses(), Policy::default()).unwrap();
    loop {
        let deadline = clock.now() + Duration::from_millis(4_900);
        println!("until {}", deadline.as_nanos());
        std::io::stdout().flush().unwrap();
        let _ = holder.extend(deadline);
        thread::sleep(Duration::from_millis(200));
    }
}

/// A holder in a process of its own, and the latest deadline that it has printed.
fn start_holder(test: &str) -> (Actor, Arc<AtomicU64>) {
    let latest = Arc::<AtomicU64>::default();
    let writer = Arc::clone(&latest);
    let holder = play(test, "holder", move |line| {
        if let Some(nanos) = line.strip_prefix("until ") {
            writer.store(nanos.parse().unwrap(), Ordering::SeqCst);
        }
    });
    (holder, latest)
}

/// Which of the addresses the kernel has. Files are read at once; a command takes its time on a
/// busy machine.
fn held() -> [bool; 2] {
    let lists = |file: &str, entry: &str| {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
        text.lines().any(|line| line.contains(entry))
    };
    [
        lists("fib_trie", &format!("|-- {V4}")),
        lists("if_inet6", "fd000000000000000000000000000010 "),
    ]
}

/// The seconds after which the kernel removes each address, by its own account.
fn seconds_left() -> [u64; 2] {
    [V4, V6].map(|ip| shown(ip, "eth0").unwrap()["valid_life_time"].as_u64().unwrap())
}

/// Starts a holder, does something to it, and checks that the kernel was told to remove the
/// addresses before the holder's deadline, and does. A successor leads after the deadline at the
/// earliest. How late the kernel is depends on the machine, so that is only printed.
fn kernel_removes_after(test: &str, signal: Signal) {
    cable();
    let (mut holder, deadline) = start_holder(test);
    let limit = Duration::from_secs(20);
    eventually("the holder runs", limit, || held() == [true; 2]);
    holder.signal(signal);
    // Before the look: it may take its time.
    let now = Clock::boot().now();
    let left = seconds_left();
    assert_eq!(held(), [true; 2], "the process is gone or stopped, its addresses are not yet");
    let deadline_now = || Timestamp::from_nanos(deadline.load(Ordering::SeqCst));
    eventually("the kernel removes the addresses", 3 * limit, || held() == [false; 2]);
    let gone = Clock::boot().now();
    // All that it has printed is read then.
    holder.kill();
    for seconds in left {
        // The kernel shows whole seconds, rounded up.
        let removal = now + Duration::from_secs(seconds);
        let deadline = deadline_now() + Duration::from_secs(1);
        let left = deadline.since(now);
        assert!(removal + KERNEL_MARGIN <= deadline, "{seconds} s of {left:?}");
    }
    println!("gone {:?} before the deadline", deadline_now().since(gone));
}

#[test]
fn after_sigkill_the_kernel_removes_the_addresses_before_the_lease_is_over() {
    if role().is_some() {
        return hold_and_renew();
    }
    let test = test_name();
    isolated(move || kernel_removes_after(&test, Signal::SIGKILL));
}

#[test]
fn under_sigstop_the_kernel_removes_the_addresses_before_the_lease_is_over() {
    if role().is_some() {
        return hold_and_renew();
    }
    let test = test_name();
    isolated(move || kernel_removes_after(&test, Signal::SIGSTOP));
}

/// Each capability is missed when the holder is built, by its name.
#[test]
fn a_missing_capability_is_an_error_at_construction_that_names_it() {
    if role().is_some() {
        let error = Holder::new(addresses(), Policy::default()).unwrap_err();
        return println!("said: {error}");
    }
    let test = test_name();
    isolated(move || {
        for capability in ["net_admin", "net_raw"] {
            let said = without(capability, &test);
            let missing = format!("CAP_{} is missing", capability.to_uppercase());
            assert!(said.contains(&missing), "{said}");
        }
    });
}

fn without(capability: &str, test: &str) -> String {
    let mut command = Command::new("setpriv");
    let drop = format!("-{capability}");
    command.args(["--inh-caps", &drop, "--bounding-set", &drop, "--"]);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--nocapture", "--exact", test]);
    let output = command.env(crate::netns::ROLE, "user").stderr(Stdio::inherit()).output();
    let output = output.expect("setpriv is missing: apt-get install util-linux");
    String::from_utf8(output.stdout).unwrap()
}
