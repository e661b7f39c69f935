//! Three hosts on a bridge: two that can hold the address, and a client that sends requests to it.

#[path = "client.rs"]
mod client;
#[path = "../../tests/netns/mod.rs"]
mod netns;

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use leasehold::clock::{Clock, Timestamp};
use leasehold::vip::{Backend, Holder, Kernel, Policy, VirtualAddress};
use netns::{Host, Lab};

use client::Client;

/// The first argument of a process that holds the address, by commands on standard input.
pub(crate) const HOLDER: &str = "--holder";

const ROUNDS: usize = 20;
const LEASE: Duration = Duration::from_secs(60);
/// The lease of the holder that is killed.
const SHORT_LEASE: Duration = Duration::from_secs(5);

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    netns::enter();
    println!("hosts a and b and a client on a bridge; the client sends a request every 0.2 ms");
    for ip in ["10.0.0.10", "fd00::10"] {
        println!("{ip}");
        let ip = ip.parse()?;
        let lab = Lab::<3>::new();
        let client = Client::start(&lab.hosts, ip);
        in_one_process(&lab.hosts, ip, &client);
        between_processes(&lab.hosts, ip, &client);
        killed(&lab.hosts, ip, &client);
        let answers = client.check(2 * ROUNDS + 1)?;
        println!("  {answers} answers, never from two hosts at a time");
        drop(lab);
        netns::enter();
    }
    Ok(())
}

/// One process removes, adds and announces the address, as when a host moves its own address.
fn in_one_process(hosts: &[Host; 3], ip: IpAddr, client: &Client) {
    let holder = |host: &Host| host.run(move || Holder::new(addresses(ip), Policy::default()));
    let mut holders = [0, 1].map(|at| holder(&hosts[at]).expect("the demo may do this"));
    holders[0].acquire(Clock::boot().now() + LEASE).expect("the address is free");
    client.wait_for(0);
    let gaps = (1..=ROUNDS).map(|round| {
        let to = round % 2;
        holders[1 - to].release().expect("the address is ours");
        holders[to].acquire(Clock::boot().now() + LEASE).expect("the address is free");
        client.gap_to(to)
    });
    report("handover in one process", gaps.collect());
    // Dropping the holders removes the address.
}

/// The same with two processes: the second one starts when the first one has finished.
fn between_processes(hosts: &[Host; 3], ip: IpAddr, client: &Client) {
    let mut holders = [0, 1].map(|at| HolderProcess::start(&hosts[at], ip));
    holders[0].send(&format!("acquire {}", LEASE.as_millis()));
    client.wait_for(0);
    let gaps = (1..=ROUNDS).map(|round| {
        let to = round % 2;
        holders[1 - to].send("release");
        holders[to].send(&format!("acquire {}", LEASE.as_millis()));
        client.gap_to(to)
    });
    report("handover between processes", gaps.collect());
}

/// The holder is killed. The other takes over when the lease has expired, as after an election.
fn killed(hosts: &[Host; 3], ip: IpAddr, client: &Client) {
    let mut kernel = hosts[0].run(|| Kernel::open(true)).expect("the demo may do this");
    let mut holders = [0, 1].map(|at| HolderProcess::start(&hosts[at], ip));
    let clock = Clock::boot();
    let deadline = clock.now() + SHORT_LEASE;
    holders[0].send(&format!("acquire {}", SHORT_LEASE.as_millis()));
    client.wait_for(0);
    let start = clock.now();
    holders[0].0.kill().expect("it is our child");
    let mut gone = None;
    while gone.is_none() || clock.now() < deadline {
        if gone.is_none() && kernel.find(ip, None).is_ok_and(|found| found.is_empty()) {
            gone = Some(clock.now());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    holders[1].send(&format!("acquire {}", LEASE.as_millis()));
    let gap = client.gap_to(1);
    let gone = gone.unwrap_or(Timestamp::MAX);
    assert!(gone < deadline, "the address outlived the lease");
    let [gone, over] = [gone, deadline].map(|at| at.since(start).as_secs_f64());
    println!(
        "  holder killed with SIGKILL    address gone after {gone:.1} s, lease over after \
         {over:.1} s, the other answers after a gap of {:.1} s",
        gap.as_secs_f64()
    );
}

fn report(what: &str, mut gaps: Vec<Duration>) {
    gaps.sort_unstable();
    let ms = |at: usize| gaps[at].as_secs_f64() * 1e3;
    let (least, median, most) = (ms(0), ms(gaps.len() / 2), ms(gaps.len() - 1));
    println!(
        "  {what:<29} gap of {least:.2} / {median:.2} / {most:.2} ms \
         (least, median, most of {})",
        gaps.len()
    );
}

fn addresses(ip: IpAddr) -> Vec<VirtualAddress> {
    vec![VirtualAddress::new(ip, "eth0").expect("a good address and a good name")]
}

/// A process that holds the address on its host, on command.
struct HolderProcess(Child);

impl HolderProcess {
    fn start(host: &Host, ip: IpAddr) -> Self {
        host.run(move || {
            let mut command = Command::new(std::env::current_exe().expect("we were started"));
            let command = command.args([HOLDER, &ip.to_string()]).stdin(Stdio::piped());
            Self(command.stdout(Stdio::piped()).spawn().expect("processes can be started"))
        })
    }

    /// Sends a command and waits until it is done.
    fn send(&mut self, command: &str) {
        let (Some(commands), Some(answers)) = (&mut self.0.stdin, &mut self.0.stdout) else {
            unreachable!("both were asked for");
        };
        writeln!(commands, "{command}").expect("the process runs");
        let mut answer = String::new();
        BufReader::new(answers).read_line(&mut answer).expect("the process runs");
        assert_eq!(answer, "done\n");
    }
}

impl Drop for HolderProcess {
    fn drop(&mut self) {
        // It releases the address when there are no more commands.
        self.0.stdin = None;
        let _ = self.0.wait();
    }
}

/// Executes the commands of the parent.
pub(crate) fn hold_on_command(ip: IpAddr) -> Result<(), Box<dyn Error>> {
    let clock = Clock::boot();
    let mut holder = Holder::new(addresses(ip), Policy::default())?;
    for command in std::io::stdin().lines() {
        match command?.split_once(' ') {
            Some((_, lease)) => {
                holder.acquire(clock.now() + Duration::from_millis(lease.parse()?))?;
            }
            None => holder.release()?,
        }
        println!("done");
    }
    Ok(())
}
