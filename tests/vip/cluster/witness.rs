//! Looks into the kernels of the hosts, all the time, for who has the virtual IPs.
//!
//! A kernel that is short of processor time ends lifetimes seconds late, whoever gave them. To tell
//! that from a fault of ours, a host that is struck gets addresses beside the virtual IPs, by `ip`
//! and with the longest lifetime that these can have then: the *controls*. Lifetimes of a host are
//! ended all at one time. What goes no later than the controls was given no more than its due.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use leasehold::vip::{Backend, Kernel};

use super::member::ALL;
use crate::netns::{Host, ip};
use crate::nodes::now;
use crate::support::wait::eventually_some;

const PACE: Duration = Duration::from_millis(2);
/// How long an overloaded kernel may take.
const PATIENCE: Duration = Duration::from_secs(180);
const CONTROLS: [&str; 2] = ["10.0.0.99", "fd00::99"];

/// Puts the controls on a host.
pub(crate) fn add_controls(host: &Host) {
    host.run(|| {
        for control in CONTROLS {
            let lifetime = "valid_lft 2 preferred_lft 2";
            ip(&format!("addr add {control} dev eth0 {lifetime} noprefixroute nodad"));
        }
    });
}

/// A time for which a host was seen with an address at every look.
#[derive(Clone, Debug)]
pub(crate) struct Stay {
    /// The host's place among those watched.
    pub(crate) host: usize,
    pub(crate) ip: IpAddr,
    /// After the look that saw it first, so that it was there by then.
    pub(crate) seen_by: u64,
    /// Before the look that saw it last, so that it was still there.
    pub(crate) until: u64,
    /// After the first look that did not see it any more.
    pub(crate) gone_by: Option<u64>,
}

pub(crate) struct Witness {
    stays: Arc<Mutex<Vec<Stay>>>,
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Witness {
    pub(crate) fn start(hosts: &[Host]) -> Self {
        let mut kernels = hosts
            .iter()
            .map(|host| host.run(|| Kernel::open(true).expect("the test may do this")))
            .collect::<Vec<_>>();
        let (stays, over) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (log, stop) = (Arc::clone(&stays), Arc::clone(&over));
        let thread = thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                kernels.iter_mut().enumerate().for_each(|(host, kernel)| look(host, kernel, &log));
                thread::sleep(PACE);
            }
        });
        Self { stays, over, thread }
    }

    /// When the last of the addresses that `host` had at `since` or later was gone from it, and
    /// when the last of the controls was.
    #[track_caller]
    pub(crate) fn gone(&self, host: usize, since: u64) -> (u64, u64) {
        eventually_some(PATIENCE, "the addresses to be gone", || {
            let stays = self.stays.lock().unwrap();
            let had = stays.iter().filter(|stay| stay.host == host && stay.is_after(since));
            let (controls, addresses) = had.partition::<Vec<_>, _>(|stay| stay.is_control());
            Some((last_of(&addresses)?, last_of(&controls)?))
        })
    }

    /// Looks no more, and returns what was seen.
    pub(crate) fn finish(self) -> Vec<Stay> {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().expect("the witness does not panic");
        let mut stays = self.stays.lock().unwrap();
        std::mem::take(&mut *stays)
    }
}

/// When the last was gone, once all are.
fn last_of(stays: &[&Stay]) -> Option<u64> {
    stays.iter().map(|stay| stay.gone_by).collect::<Option<Vec<_>>>()?.into_iter().max()
}

impl Stay {
    pub(crate) fn is_control(&self) -> bool {
        CONTROLS.contains(&self.ip.to_string().as_str())
    }

    /// Whether this stay, of a control, was not shorter than that of an address from `from` on.
    pub(crate) fn excuses(&self, other: &Self, from: u64) -> bool {
        let alike = self.is_control() && self.ip.is_ipv4() == other.ip.is_ipv4();
        let outlasts = self.gone_by.is_none_or(|gone| other.until <= gone);
        alike && self.host == other.host && self.seen_by <= from && outlasts
    }

    fn is_after(&self, since: u64) -> bool {
        self.gone_by.is_none_or(|gone| gone >= since)
    }
}

fn look(host: usize, kernel: &mut Kernel, stays: &Mutex<Vec<Stay>>) {
    // Controls come last: what is gone with them was not seen after them.
    for ip in ALL.iter().chain(&CONTROLS).map(|ip| ip.parse().unwrap()) {
        let from = now();
        let found = kernel.find(ip, None).expect("the kernel answers");
        note(&mut stays.lock().unwrap(), (host, ip), !found.is_empty(), from);
    }
}

fn note(stays: &mut Vec<Stay>, (host, ip): (usize, IpAddr), there: bool, from: u64) {
    let open = |stay: &&mut Stay| stay.host == host && stay.ip == ip && stay.gone_by.is_none();
    match (stays.iter_mut().rev().find(open), there) {
        (Some(stay), true) => stay.until = from,
        (Some(stay), false) => stay.gone_by = Some(now()),
        (None, true) => {
            stays.push(Stay { host, ip, seen_by: now(), until: from, gone_by: None });
        }
        (None, false) => {}
    }
}
