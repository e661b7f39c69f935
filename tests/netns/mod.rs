//! Hosts on a wire, made of network namespaces, for an ordinary user as for root.
//!
//! A [`Host`] is a thread in a network namespace of its own; [`Lab`] joins hosts by a bridge.
//! Nothing leaves these namespaces, and they go with their threads.

// Each test binary uses a part of this.
#![allow(dead_code)]

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

/// Set in a copy of the test binary that runs in its own user namespace.
const INSIDE: &str = "LEASEHOLD_TEST_USER_NAMESPACE";
/// Says what a copy of the test binary is to play.
pub(crate) const ROLE: &str = "LEASEHOLD_TEST_ROLE";

/// Runs a test in a fresh network namespace, with the right to change it.
///
/// Root makes one for the test's thread. A threaded process of another user cannot: the test
/// binary is started again under `unshare -Urn`, for this one test.
pub(crate) fn isolated(test: impl FnOnce() + Send + 'static) {
    let name = thread::current().name().expect("libtest names its threads").to_owned();
    let body = move || match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => {
            ip("link set lo up");
            test();
        }
        Err(Errno::EPERM) if std::env::var_os(INSIDE).is_none() => again_as_root(&name),
        Err(error) => panic!("cannot make a network namespace: {error}"),
    };
    let thread = thread::Builder::new().name("isolated".into()).spawn(body).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// This program, to be started as root of a user namespace of its own.
fn as_root() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--"]);
    command.arg(std::env::current_exe().unwrap()).env(INSIDE, "1");
    command
}

const NO_UNSHARE: &str = "unshare is missing: apt-get install util-linux";

/// Brings the calling thread into a fresh network namespace, as [`isolated`] does for a test: the
/// first thing in a program's `main`. Starts the program again where that takes a user namespace.
pub(crate) fn enter() {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => drop(ip("link set lo up")),
        Err(Errno::EPERM) if std::env::var_os(INSIDE).is_none() => {
            let status = as_root().args(std::env::args_os().skip(1)).status().expect(NO_UNSHARE);
            std::process::exit(status.code().unwrap_or(1));
        }
        Err(error) => panic!("cannot make a network namespace: {error}"),
    }
}

fn again_as_root(test: &str) {
    let output = as_root().args(["--exact", test, "--nocapture"]).output().expect(NO_UNSHARE);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    print!("{said}");
}

/// The part this copy of the test binary was started to play; `None` in the test itself.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Starts this test again in a process of its own, in the namespace of the calling thread, with a
/// part to play. It is killed when dropped. `hear` gets each line that it prints.
pub(crate) fn play(test: &str, part: &str, hear: impl FnMut(String) + Send + 'static) -> Actor {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(ROLE, part);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let reader = thread::spawn(move || lines.for_each(hear));
    Actor { child, reader: Some(reader) }
}

pub(crate) struct Actor {
    child: Child,
    reader: Option<JoinHandle<()>>,
}

impl Actor {
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Ends it, and returns when all that it has printed was heard.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs `ip` in the namespace of the calling thread; it must succeed.
pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output();
    let output = output.expect("ip is missing: apt-get install iproute2");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Makes two interfaces, `eth0` and `eth1`, joined and up.
pub(crate) fn cable() {
    ip("link add name eth0 type veth peer name eth1");
    ip("link set eth0 up");
    ip("link set eth1 up");
}

/// Runs many commands of `ip` in one process.
pub(crate) fn ip_batch(commands: impl Iterator<Item = String>) {
    use std::io::Write;
    let mut command = Command::new("ip");
    let mut child = command.args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let lines = commands.collect::<Vec<_>>().join("\n");
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// The entry that `ip` shows for this exact address on an interface.
pub(crate) fn shown(address: &str, interface: &str) -> Option<Value> {
    let answer: Value =
        serde_json::from_str(&ip(&format!("-j -d addr show dev {interface}"))).unwrap();
    let entries = answer[0]["addr_info"].as_array().unwrap().clone();
    entries.into_iter().find(|entry| entry["local"] == address)
}

/// Sets a kernel parameter of the calling thread's network namespace.
pub(crate) fn sysctl(path: &str, value: &str) {
    let path = format!("/proc/sys/net/{path}");
    std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// Waits for something to become true; the tests' only way to wait.
#[track_caller]
pub(crate) fn eventually(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        thread::yield_now();
        thread::sleep(Duration::from_millis(1));
    }
    start.elapsed()
}

type Job = Box<dyn FnOnce() + Send>;

/// A host: a thread with a network namespace, and one interface `eth0` on the lab's bridge.
pub(crate) struct Host {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// Names the namespace to `ip`.
    namespace: String,
}

impl Host {
    pub(crate) fn new() -> Self {
        let (jobs, todo) = channel::<Job>();
        let (report, started) = channel();
        let body = move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ip("link set lo up");
            let (pid, tid) = (std::process::id(), nix::unistd::gettid());
            report.send(format!("/proc/{pid}/task/{tid}/ns/net")).unwrap();
            for job in todo {
                job();
            }
        };
        let thread = thread::Builder::new().name("host".into()).spawn(body).unwrap();
        let namespace = started.recv().unwrap();
        Self { jobs: Some(jobs), thread: Some(thread), namespace }
    }

    /// Runs something on this host and waits for its result.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (result, done) = channel();
        let job = move || drop(result.send(job()));
        self.jobs.as_ref().unwrap().send(Box::new(job)).unwrap();
        done.recv().expect("the job on the host panicked")
    }

    /// The path of its network namespace, good for `ip` and `nsenter` while the host exists.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn mac(&self) -> String {
        self.run(|| {
            let link: Value = serde_json::from_str(&ip("-j link show dev eth0")).unwrap();
            link[0]["address"].as_str().unwrap().to_owned()
        })
    }

    /// The hardware address this host has for a neighbour.
    pub(crate) fn neighbour(&self, of: IpAddr) -> Option<String> {
        self.run(move || {
            let answer: Value = serde_json::from_str(&ip(&format!("-j neigh show {of}"))).unwrap();
            answer[0]["lladdr"].as_str().map(str::to_owned)
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.jobs = None;
        // A panic on the host was reported where the job was waited for.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Hosts on a bridge: number `n` has `10.0.0.n/24` and `fd00::n/64` on `eth0`.
pub(crate) struct Lab<const N: usize> {
    pub(crate) hosts: [Host; N],
}

impl<const N: usize> Lab<N> {
    /// Builds the lab around the calling thread's namespace, which gets the bridge.
    pub(crate) fn new() -> Self {
        ip("link add name switch type bridge forward_delay 0 mcast_snooping 0");
        ip("link set switch up");
        let hosts = std::array::from_fn(|at| {
            let host = Host::new();
            connect(at + 1, &host);
            host
        });
        (1..=N).for_each(wait_for_port);
        Self { hosts }
    }
}

/// Takes the cable of host `number` out of the bridge in the calling thread's namespace. The host
/// does not see it: its interface keeps the carrier.
pub(crate) fn unplug(number: usize) {
    ip(&format!("link set port{number} nomaster"));
}

/// Puts the cable back.
pub(crate) fn plug(number: usize) {
    ip(&format!("link set port{number} master switch"));
    wait_for_port(number);
}

/// The kernel notices a carrier in its own time, and until then the bridge drops frames.
fn wait_for_port(number: usize) {
    eventually("the bridge forwards", Duration::from_secs(20), || forwards(number));
}

fn forwards(number: usize) -> bool {
    let port: Value = serde_json::from_str(&ip(&format!("-j -d link show port{number}"))).unwrap();
    port[0]["linkinfo"]["info_slave_data"]["state"] == "forwarding" && port[0]["operstate"] == "UP"
}

fn connect(number: usize, host: &Host) {
    let port = format!("port{number}");
    ip(&format!("link add {port} type veth peer name eth0 netns {}", host.namespace));
    ip(&format!("link set {port} master switch up"));
    host.run(move || {
        ip(&format!("addr add 10.0.0.{number}/24 dev eth0"));
        ip(&format!("addr add fd00::{number}/64 dev eth0 nodad"));
        ip("link set eth0 up");
    });
}
