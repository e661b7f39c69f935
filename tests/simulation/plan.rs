//! The plan of one seed: the cluster, its network, and which faults occur how often.
//!
//! Each class of faults is drawn to be present or absent, and its strength is drawn on a log scale.
//! Fixed rates that reveal one kind of bug hide another.

use std::time::Duration;

use leasehold::timing::Timing;

use super::clock::{HostClock, Instant, MICROSECOND, MILLISECOND, SECOND};
use super::rng::Rng;

/// The theme of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Any mixture of faults. Then they stop, and a node has to lead.
    Chaos,
    /// Orderly changes of leader, and nothing else.
    Handover,
    /// One slow node and nothing else.
    Slow,
    /// Forged notices, leaders that crash, and orderly changes of leader.
    Forgery,
    /// Deleted buckets and short terms.
    Buckets,
    /// A store that loses a write that all processes know.
    Loss,
    /// All processes and the bucket start over, again and again. Late messages are from earlier
    /// buckets.
    StartOver,
    /// Reads that are answered by a replica that is behind.
    StaleReads,
}

/// How a store reports the writes of other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notify {
    Notices,
    Hints,
    Nothing,
}

/// A fault, or a command to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No message passes on the link of one node, and the node is not told.
    Mute,
    MuteAll,
    Disconnect,
    DisconnectAll,
    Pause,
    Suspend,
    Crash,
    Stop,
    StepDown,
    Transfer,
    Promote,
    Unhealthy,
    Meta,
    DeleteKey,
    /// The record is removed without a marker. The newest revision stays.
    PurgeKey,
    Garbage,
    /// A record of go-cluster v1, without session and TTL.
    Foreign,
    DropBucket,
    /// The bucket is empty and counts from its first revision again, as after a purge and a kill.
    ResetBucket,
    /// The bucket is restored from a backup.
    Restore,
    Forge,
    /// The bucket is deleted while the leader is cut off.
    ReplaceBucket,
    /// The store loses its newest write.
    LoseNewest,
    /// All processes crash and the bucket is deleted. So is the next one, soon after.
    StartOver,
    /// One of many forged renewals.
    Flood,
}

use Fault::{
    Crash, DeleteKey, Disconnect, DisconnectAll, DropBucket, Foreign, Forge, Garbage, LoseNewest,
    Meta, Mute, MuteAll, Pause, Promote, PurgeKey, ReplaceBucket, ResetBucket, Restore, StartOver,
    StepDown, Stop, Suspend, Transfer, Unhealthy,
};

const COMMON: [Fault; 18] = [
    Mute,
    MuteAll,
    Disconnect,
    DisconnectAll,
    Pause,
    Suspend,
    Crash,
    Stop,
    StepDown,
    Transfer,
    Promote,
    Unhealthy,
    Meta,
    DeleteKey,
    PurgeKey,
    Garbage,
    Foreign,
    Forge,
];
/// Faults under which some rules cannot hold; see the known limits.
const RARE: [Fault; 4] = [DropBucket, DropBucket, ResetBucket, Restore];

/// A place for a process: its node id, its timing and its clock.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) observer: bool,
    pub(crate) timing: Timing,
    pub(crate) clock: HostClock,
    /// Fixed latency of each way, for a slow node.
    pub(crate) latency: Option<u64>,
}

#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) family: Family,
    pub(crate) slots: Vec<Slot>,
    pub(crate) cooldown: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) strict: bool,
    pub(crate) notify: Notify,
    pub(crate) latency: (u64, u64),
    pub(crate) lost_requests: f64,
    pub(crate) lost_replies: f64,
    pub(crate) lost_notices: f64,
    pub(crate) duplicates: f64,
    /// How often a message is late, by up to three TTLs.
    pub(crate) late: f64,
    pub(crate) late_notices: f64,
    /// How often a read shows an earlier record, and how old it is at the most.
    pub(crate) stale: f64,
    pub(crate) lag: u64,
    /// Answers to requests on an earlier connection still arrive.
    pub(crate) answers_outlive_connections: bool,
    /// How often the renewal thread stalls while it takes an input.
    pub(crate) stalls: f64,
    /// How late timers are at the most.
    pub(crate) jitter: u64,
    /// The mean time between two checks of an application's token.
    pub(crate) token_checks: u64,
    /// How often a drain never ends.
    pub(crate) stuck_drains: f64,
    /// The time between forged renewals after a leader has crashed. Each has a new revision.
    pub(crate) flood: Option<u64>,
    pub(crate) honours_first_seq: bool,
    /// How often the server has forgotten the name of the newest write.
    pub(crate) forgets: f64,
    pub(crate) starts_with_bucket: bool,
    pub(crate) faults: Vec<(Fault, u64)>,
    /// How often a fault waits for the next write, and is injected just after it.
    pub(crate) after_writes: f64,
    pub(crate) quiet_from: Instant,
    pub(crate) end: Instant,
}

impl Plan {
    pub(crate) fn draw(seed: u64, rng: &mut Rng) -> Self {
        let family = match seed % 16 {
            7 | 15 => Family::StartOver,
            3 => Family::StaleReads,
            _ => draw_family(rng),
        };
        let drift = rng.pick(&[1, 5, 10, 10, 20]);
        let timing = draw_timing(rng, drift);
        let mut plan = Self::without_faults(rng, family, &timing);
        match family {
            Family::Chaos => plan.add_chaos(rng),
            Family::Handover => plan.add_handovers(rng),
            Family::Slow => plan.slow_one_down(rng),
            Family::Forgery => plan.add_forgery(rng),
            Family::Buckets => plan.add_buckets(rng),
            Family::Loss => plan.add_loss(rng),
            Family::StartOver => plan.add_starts_over(rng),
            Family::StaleReads => plan.add_stale_reads(rng),
        }
        plan
    }

    /// A cluster without faults.
    fn without_faults(rng: &mut Rng, family: Family, timing: &Timing) -> Self {
        let ttl = nanos(timing.ttl());
        let low = rng.log(20 * MICROSECOND, 5 * MILLISECOND);
        let faulty = (600 * SECOND).max(60 * ttl);
        Self {
            family,
            slots: draw_slots(rng, timing),
            cooldown: rng.pick(&[Duration::ZERO, timing.ttl() / 4, timing.ttl(), timing.ttl()]),
            drain_timeout: timing.ttl() * rng.pick(&[1, 1, 2]) / rng.pick(&[1, 2, 4]),
            strict: rng.one_in(4),
            notify: rng.pick(&[Notify::Notices, Notify::Notices, Notify::Hints]),
            latency: (low, low * rng.between(1, 10)),
            lost_requests: 0.0,
            lost_replies: 0.0,
            lost_notices: 0.0,
            duplicates: 0.0,
            late: 0.0,
            late_notices: 0.0,
            stale: 0.0,
            lag: 0,
            answers_outlive_connections: rng.one_in(2),
            stalls: 0.0,
            jitter: rng.log(10 * MICROSECOND, 20 * MILLISECOND),
            token_checks: rng.log(ttl / 10, 10 * ttl),
            stuck_drains: 0.0,
            flood: None,
            honours_first_seq: rng.one_in(2),
            forgets: rng.pick(&[0.0, 0.0, 0.1, 1.0]),
            starts_with_bucket: rng.one_in(2),
            faults: Vec::new(),
            after_writes: 0.0,
            quiet_from: faulty,
            end: faulty + 12 * ttl + 20 * SECOND,
        }
    }

    fn add_chaos(&mut self, rng: &mut Rng) {
        let ttl = self.longest_ttl();
        self.notify = rng.pick(&[Notify::Notices, self.notify, Notify::Nothing]);
        let mut maybe = |odds: u64| {
            if rng.one_in(odds) { rng.strength(0.001, 0.6) } else { 0.0 }
        };
        (self.lost_requests, self.lost_replies) = (maybe(3), maybe(3));
        (self.lost_notices, self.duplicates) = (maybe(3), maybe(4));
        (self.late, self.late_notices) = (maybe(2), maybe(3));
        (self.stalls, self.stuck_drains) = (maybe(3) / 10.0, maybe(2));
        self.after_writes = maybe(2);
        let rare = rng.one_in(3).then(|| rng.pick(&RARE));
        for fault in COMMON.into_iter().chain(rare) {
            if rare == Some(fault) || rng.one_in(4) {
                self.faults.push((fault, rng.log(ttl, 60 * ttl)));
            }
        }
        self.vary_nodes(rng);
    }

    /// A second process of one node id, an observer, a TTL that differs.
    fn vary_nodes(&mut self, rng: &mut Rng) {
        let last = self.slots.len() - 1;
        if rng.one_in(4) {
            self.slots[last].name = self.slots[0].name.clone();
        }
        if rng.one_in(6) && last > 1 {
            self.slots[1].observer = true;
        }
        if rng.one_in(6) {
            let drift = self.slots[0].timing.drift_percent();
            self.slots[last].timing = draw_timing(rng, drift);
        }
    }

    fn add_handovers(&mut self, rng: &mut Rng) {
        let ttl = self.longest_ttl();
        let mean = rng.log(2 * ttl, 10 * ttl);
        self.notify = rng.pick(&[Notify::Notices, Notify::Hints, Notify::Nothing]);
        self.faults = vec![(StepDown, mean), (Transfer, 2 * mean), (Stop, 2 * mean)];
    }

    fn slow_one_down(&mut self, rng: &mut Rng) {
        let validity = nanos(self.slots[0].timing.validity());
        let slow = rng.index(self.slots.len());
        self.slots[slow].latency = Some(rng.below(3 * validity) / 2);
    }

    fn add_forgery(&mut self, rng: &mut Rng) {
        let ttl = self.longest_ttl();
        self.notify = Notify::Notices;
        self.faults = vec![(Forge, rng.log(ttl / 10, 5 * ttl)), (Crash, 20 * ttl)];
        if rng.one_in(2) {
            let mean = rng.log(2 * ttl, 20 * ttl);
            self.faults.extend([(StepDown, mean), (Transfer, 2 * mean)]);
        }
        self.after_writes = rng.pick(&[0.0, 0.5, 0.9]);
        match rng.below(4) {
            0 => self.flood = Some(rng.log(self.latency.1.max(2 * MILLISECOND), ttl / 2)),
            // One more notice is always under way when a read is answered.
            1 => (self.latency, self.flood) = ((ttl / 120, ttl / 60), Some(ttl / 60)),
            _ => {}
        }
    }

    fn add_buckets(&mut self, rng: &mut Rng) {
        let ttl = self.longest_ttl();
        self.notify = Notify::Notices;
        self.strict = false;
        self.cooldown = rng.pick(&[Duration::ZERO, self.cooldown]);
        self.faults = vec![(ReplaceBucket, rng.log(ttl / 4, 10 * ttl)), (StepDown, 4 * ttl)];
        for fault in [DropBucket, Crash, Disconnect, Transfer, Suspend] {
            if rng.one_in(2) {
                self.faults.push((fault, rng.log(ttl, 20 * ttl)));
            }
        }
        self.after_writes = rng.pick(&[0.0, 0.5, 0.9]);
    }

    fn add_loss(&mut self, rng: &mut Rng) {
        let ttl = self.longest_ttl();
        self.notify = Notify::Notices;
        self.cooldown = rng.pick(&[Duration::ZERO, Duration::ZERO, self.cooldown]);
        self.faults = vec![(LoseNewest, 5 * ttl), (StepDown, rng.log(ttl, 6 * ttl))];
    }

    fn add_starts_over(&mut self, rng: &mut Rng) {
        let ttl = self.longest_ttl();
        self.notify = Notify::Notices;
        self.strict = false;
        self.cooldown = rng.pick(&[Duration::ZERO, Duration::ZERO, self.cooldown]);
        self.faults = vec![(StartOver, 5 * ttl), (StepDown, rng.log(ttl / 8, 2 * ttl))];
        for fault in [ReplaceBucket, DropBucket, Crash, Disconnect, Mute, Suspend] {
            if rng.one_in(3) {
                self.faults.push((fault, rng.log(ttl / 2, 10 * ttl)));
            }
        }
        let mut maybe = |odds: u64| {
            if rng.one_in(odds) { rng.strength(0.01, 0.6) } else { 0.0 }
        };
        (self.late, self.late_notices) = (maybe(2), maybe(3));
        (self.lost_replies, self.lost_notices) = (maybe(3), maybe(3));
        self.after_writes = rng.pick(&[0.0, 0.5, 0.9]);
    }

    fn add_stale_reads(&mut self, rng: &mut Rng) {
        let ttl = self.longest_ttl();
        // A stale read contradicts true notices. That costs waits, and no rule.
        self.notify = rng.pick(&[Notify::Hints, Notify::Nothing]);
        // A replica that stays behind for longer cannot be told from a store that went back.
        (self.stale, self.lag) = (rng.strength(0.05, 0.7), rng.log(ttl / 50, ttl / 2));
        self.lost_replies = rng.pick(&[0.0, 0.01, 0.1]);
        for fault in [StepDown, Transfer, Stop, Crash, Disconnect, Mute, Meta] {
            if rng.one_in(2) {
                self.faults.push((fault, rng.log(ttl, 20 * ttl)));
            }
        }
    }

    pub(crate) fn longest_ttl(&self) -> u64 {
        self.slots.iter().map(|slot| nanos(slot.timing.ttl())).max().unwrap_or_default()
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults.iter().any(|(with, _)| *with == fault)
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn draw_family(rng: &mut Rng) -> Family {
    match rng.below(14) {
        0 => Family::Handover,
        1 => Family::Slow,
        2 | 3 => Family::Forgery,
        4 | 5 => Family::Buckets,
        6 => Family::Loss,
        _ => Family::Chaos,
    }
}

fn draw_timing(rng: &mut Rng, drift: u32) -> Timing {
    let ttl = Duration::from_millis(rng.pick(&[2_000, 5_000, 10_000, 10_000, 11_000, 20_000]));
    let share = rng.pick(&[20, 30, 30, 40, 50]);
    Timing::new(ttl, ttl * share / 100, None, drift)
        .or_else(|_| Timing::new(ttl, ttl / 5, None, drift))
        .expect("a fifth of the TTL fits with any drift that is drawn")
}

fn draw_slots(rng: &mut Rng, timing: &Timing) -> Vec<Slot> {
    let count = rng.between(2, 7);
    let slot = |number| Slot {
        name: format!("n{number}"),
        observer: false,
        timing: timing.clone(),
        clock: draw_clock(rng, timing.drift_percent()),
        latency: None,
    };
    (0..count).map(slot).collect()
}

/// Half of the clocks run at the bound of their rate.
fn draw_clock(rng: &mut Rng, drift_percent: u32) -> HostClock {
    let bound = u64::from(drift_percent) * 10_000;
    let rate = if rng.one_in(2) {
        rng.pick(&[1_000_000 - bound, 1_000_000 + bound])
    } else {
        rng.between(1_000_000 - bound, 1_000_000 + bound)
    };
    HostClock { origin: rng.log(SECOND, 10_000_000 * SECOND), rate }
}
