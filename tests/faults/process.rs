//! Faults of a node's process.

use std::fs;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::fault::{Hit, Remedy};
use super::site::Site;

pub fn kill(site: &mut Site, hit: Hit) -> Remedy {
    let seat = site.seat(hit);
    site.node(seat).kill();
    Box::new(move |site| site.start_node(seat))
}

pub fn stop(site: &mut Site, hit: Hit) -> Remedy {
    let seat = site.seat(hit);
    site.node(seat).pause();
    Box::new(move |site| site.node(seat).resume())
}

/// Puts all of its threads on one processor, at the lowest rank there is, beside a loop that never
/// rests: of a second they get some 3 ms.
pub fn starve(site: &mut Site, hit: Hit) -> Remedy {
    let seat = site.seat(hit);
    let process = site.node(seat).id();
    let everywhere = sched_getaffinity(Pid::from_raw(0)).expect("where this thread may run");
    let one = one_of(&everywhere);
    confine(process, &one);
    let Output { status, stderr, .. } = rank(process, "--idle");
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let glutton = Glutton::start(one);
    Box::new(move |_| {
        drop(glutton);
        confine(process, &everywhere);
        // Not granted to an ordinary user; where there is time to spare the rank costs nothing.
        rank(process, "--other");
    })
}

fn rank(process: u32, policy: &str) -> Output {
    Command::new("chrt")
        .args(["--all-tasks", policy, "--pid", "0", &process.to_string()])
        .output()
        .expect("`chrt`: apt-get install util-linux")
}

fn one_of(set: &CpuSet) -> CpuSet {
    let number = (0..CpuSet::count()).rev().find(|cpu| set.is_set(*cpu) == Ok(true));
    let mut one = CpuSet::new();
    one.set(number.expect("a processor")).expect("a known number");
    one
}

/// Says where the threads of a process may run.
fn confine(process: u32, to: &CpuSet) {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("a process that lives");
    for thread in threads.filter_map(Result::ok) {
        let id = thread.file_name().to_string_lossy().parse().expect("a thread's number");
        // It may have ended by now.
        let _ = sched_setaffinity(Pid::from_raw(id), to);
    }
}

/// A thread that never rests, until dropped.
struct Glutton {
    enough: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Glutton {
    fn start(place: CpuSet) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&enough);
        let thread = thread::spawn(move || {
            sched_setaffinity(Pid::from_raw(0), &place).expect("a processor of ours");
            while !told.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        Self { enough, thread: Some(thread) }
    }
}

impl Drop for Glutton {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
