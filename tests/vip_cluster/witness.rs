//! Looks into the kernels of the hosts, all the time, for who has the virtual IPs.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use leasehold::vip::{Backend, Kernel};

use super::member::ALL;
use crate::netns::Host;
use crate::nodes::{PATIENCE, now};
use crate::support::wait::eventually_some;

const PACE: Duration = Duration::from_millis(2);

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

    /// When the last of the addresses that `host` had at `since` or later was gone from it.
    #[track_caller]
    pub(crate) fn gone(&self, host: usize, since: u64) -> u64 {
        eventually_some(PATIENCE, "the addresses to be gone", || {
            let stays = self.stays.lock().unwrap();
            let had = stays.iter().filter(|stay| stay.host == host && stay.is_after(since));
            had.map(|stay| stay.gone_by).collect::<Option<Vec<_>>>()?.into_iter().max()
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

impl Stay {
    fn is_after(&self, since: u64) -> bool {
        self.gone_by.is_none_or(|gone| gone >= since)
    }
}

fn look(host: usize, kernel: &mut Kernel, stays: &Mutex<Vec<Stay>>) {
    for ip in ALL.map(|ip| ip.parse().unwrap()) {
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
