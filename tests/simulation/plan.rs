//! What one seed is made of: the cluster, its network, and which faults strike how often.
//!
//! Each class of faults is there or not (a swarm), and its strength is drawn on a log scale: rates
//! that suit one kind of bug hide another.

use std::time::Duration;

use leasehold::timing::Timing;

use super::clock::{HostClock, Instant, MICROSECOND, MILLISECOND, SECOND};
use super::dice::Dice;

/// What a seed is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Any mixture of faults; then they stop, and somebody must lead.
    Chaos,
    /// Nothing but hand-overs.
    Handover,
    /// One slow node and nothing else.
    Slow,
    /// Forged notices, leaders that crash, and hand-overs.
    Forgery,
    /// Buckets that come and go, and terms that are short.
    Buckets,
    /// A store that loses a write of which everybody heard.
    Loss,
    /// Everything begins anew, again and again; what is late tells of a bucket that is gone.
    Afresh,
    /// Reads that a replica answers which is behind.
    Stale,
}

/// What a store tells of writes that others made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    Notices,
    Hints,
    Nothing,
}

/// Something that goes wrong, or is asked for, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing moves on one node's link, and nobody is told.
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
    /// The record goes without a marker; the newest revision stays.
    PurgeKey,
    Garbage,
    /// A record of go-cluster v1, without session and TTL.
    Foreign,
    DropBucket,
    /// The bucket is empty again and counts from its beginning, as after a purge and a kill.
    ResetBucket,
    /// The bucket is what it was some time ago.
    Restore,
    Forge,
    /// The bucket is replaced under a leader that is cut off.
    Usurp,
    /// The store loses its newest write.
    LoseNewest,
    /// Everybody crashes, and the bucket is gone. So is the next one, soon after.
    BeginAnew,
    /// One of many forged renewals.
    Flood,
}

use Fault::{
    BeginAnew, Crash, DeleteKey, Disconnect, DisconnectAll, DropBucket, Foreign, Forge, Garbage,
    LoseNewest, Meta, Mute, MuteAll, Pause, Promote, PurgeKey, ResetBucket, Restore, StepDown,
    Stop, Suspend, Transfer, Unhealthy, Usurp,
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
/// What makes some promises impossible to keep; see the known limits.
const RARE: [Fault; 4] = [DropBucket, DropBucket, ResetBucket, Restore];

/// Where a node runs, and as what.
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
    pub(crate) telling: Telling,
    pub(crate) latency: (u64, u64),
    pub(crate) lost_requests: f64,
    pub(crate) lost_replies: f64,
    pub(crate) lost_notices: f64,
    pub(crate) duplicates: f64,
    /// How often a message takes up to three terms.
    pub(crate) late: f64,
    pub(crate) late_notices: f64,
    /// How often a read shows what stood a while ago, and how long ago that is at the most.
    pub(crate) stale: f64,
    pub(crate) lag: u64,
    /// Answers to a connection that was given up arrive all the same.
    pub(crate) answers_outlive_connections: bool,
    /// How often the renewal thread stands still inside a turn of its loop.
    pub(crate) stalls: f64,
    /// How late timers are at the most.
    pub(crate) jitter: u64,
    /// The mean pause between an application's looks at its token.
    pub(crate) looks: u64,
    /// How often a drain never ends.
    pub(crate) stuck_drains: f64,
    /// The pause between forged renewals after a leader was killed, each newer than all before.
    pub(crate) flood: Option<u64>,
    pub(crate) honours_first_seq: bool,
    /// How often the server has forgotten the name of the newest write.
    pub(crate) forgets: f64,
    pub(crate) starts_with_bucket: bool,
    pub(crate) faults: Vec<(Fault, u64)>,
    /// How often a fault waits for the next write and strikes just after it.
    pub(crate) ambushes: f64,
    pub(crate) quiet_from: Instant,
    pub(crate) end: Instant,
}

impl Plan {
    pub(crate) fn draw(seed: u64, dice: &mut Dice) -> Self {
        let family = match seed % 16 {
            7 | 15 => Family::Afresh,
            3 => Family::Stale,
            _ => draw_family(dice),
        };
        let drift = dice.pick(&[1, 5, 10, 10, 20]);
        let timing = draw_timing(dice, drift);
        let mut plan = Self::calm(dice, family, &timing);
        match family {
            Family::Chaos => plan.add_chaos(dice),
            Family::Handover => plan.add_handovers(dice),
            Family::Slow => plan.slow_one_down(dice),
            Family::Forgery => plan.add_forgery(dice),
            Family::Buckets => plan.add_buckets(dice),
            Family::Loss => plan.add_loss(dice),
            Family::Afresh => plan.add_beginnings(dice),
            Family::Stale => plan.add_stale_reads(dice),
        }
        plan
    }

    /// A cluster without faults.
    fn calm(dice: &mut Dice, family: Family, timing: &Timing) -> Self {
        let ttl = nanos(timing.ttl());
        let low = dice.log(20 * MICROSECOND, 5 * MILLISECOND);
        let faulty = (600 * SECOND).max(60 * ttl);
        Self {
            family,
            slots: draw_slots(dice, timing),
            cooldown: dice.pick(&[Duration::ZERO, timing.ttl() / 4, timing.ttl(), timing.ttl()]),
            drain_timeout: timing.ttl() * dice.pick(&[1, 1, 2]) / dice.pick(&[1, 2, 4]),
            strict: dice.one_in(4),
            telling: dice.pick(&[Telling::Notices, Telling::Notices, Telling::Hints]),
            latency: (low, low * dice.between(1, 10)),
            lost_requests: 0.0,
            lost_replies: 0.0,
            lost_notices: 0.0,
            duplicates: 0.0,
            late: 0.0,
            late_notices: 0.0,
            stale: 0.0,
            lag: 0,
            answers_outlive_connections: dice.one_in(2),
            stalls: 0.0,
            jitter: dice.log(10 * MICROSECOND, 20 * MILLISECOND),
            looks: dice.log(ttl / 10, 10 * ttl),
            stuck_drains: 0.0,
            flood: None,
            honours_first_seq: dice.one_in(2),
            forgets: dice.pick(&[0.0, 0.0, 0.1, 1.0]),
            starts_with_bucket: dice.one_in(2),
            faults: Vec::new(),
            ambushes: 0.0,
            quiet_from: faulty,
            end: faulty + 12 * ttl + 20 * SECOND,
        }
    }

    fn add_chaos(&mut self, dice: &mut Dice) {
        let ttl = self.longest_ttl();
        self.telling = dice.pick(&[Telling::Notices, self.telling, Telling::Nothing]);
        let mut maybe = |odds: u64| {
            if dice.one_in(odds) { dice.strength(0.001, 0.6) } else { 0.0 }
        };
        (self.lost_requests, self.lost_replies) = (maybe(3), maybe(3));
        (self.lost_notices, self.duplicates) = (maybe(3), maybe(4));
        (self.late, self.late_notices) = (maybe(2), maybe(3));
        (self.stalls, self.stuck_drains) = (maybe(3) / 10.0, maybe(2));
        self.ambushes = maybe(2);
        let rare = dice.one_in(3).then(|| dice.pick(&RARE));
        for fault in COMMON.into_iter().chain(rare) {
            if rare == Some(fault) || dice.one_in(4) {
                self.faults.push((fault, dice.log(ttl, 60 * ttl)));
            }
        }
        self.mix_up(dice);
    }

    /// A second process of one name, an observer, a TTL that differs.
    fn mix_up(&mut self, dice: &mut Dice) {
        let last = self.slots.len() - 1;
        if dice.one_in(4) {
            self.slots[last].name = self.slots[0].name.clone();
        }
        if dice.one_in(6) && last > 1 {
            self.slots[1].observer = true;
        }
        if dice.one_in(6) {
            let drift = self.slots[0].timing.drift_percent();
            self.slots[last].timing = draw_timing(dice, drift);
        }
    }

    fn add_handovers(&mut self, dice: &mut Dice) {
        let ttl = self.longest_ttl();
        let mean = dice.log(2 * ttl, 10 * ttl);
        self.telling = dice.pick(&[Telling::Notices, Telling::Hints, Telling::Nothing]);
        self.faults = vec![(StepDown, mean), (Transfer, 2 * mean), (Stop, 2 * mean)];
    }

    fn slow_one_down(&mut self, dice: &mut Dice) {
        let validity = nanos(self.slots[0].timing.validity());
        let slow = dice.index(self.slots.len());
        self.slots[slow].latency = Some(dice.below(3 * validity) / 2);
    }

    fn add_forgery(&mut self, dice: &mut Dice) {
        let ttl = self.longest_ttl();
        self.telling = Telling::Notices;
        self.faults = vec![(Forge, dice.log(ttl / 10, 5 * ttl)), (Crash, 20 * ttl)];
        if dice.one_in(2) {
            let mean = dice.log(2 * ttl, 20 * ttl);
            self.faults.extend([(StepDown, mean), (Transfer, 2 * mean)]);
        }
        self.ambushes = dice.pick(&[0.0, 0.5, 0.9]);
        match dice.below(4) {
            0 => self.flood = Some(dice.log(self.latency.1.max(2 * MILLISECOND), ttl / 2)),
            // There is always one more under way when a read is answered.
            1 => (self.latency, self.flood) = ((ttl / 120, ttl / 60), Some(ttl / 60)),
            _ => {}
        }
    }

    fn add_buckets(&mut self, dice: &mut Dice) {
        let ttl = self.longest_ttl();
        self.telling = Telling::Notices;
        self.strict = false;
        self.cooldown = dice.pick(&[Duration::ZERO, self.cooldown]);
        self.faults = vec![(Usurp, dice.log(ttl / 4, 10 * ttl)), (StepDown, 4 * ttl)];
        for fault in [DropBucket, Crash, Disconnect, Transfer, Suspend] {
            if dice.one_in(2) {
                self.faults.push((fault, dice.log(ttl, 20 * ttl)));
            }
        }
        self.ambushes = dice.pick(&[0.0, 0.5, 0.9]);
    }

    fn add_loss(&mut self, dice: &mut Dice) {
        let ttl = self.longest_ttl();
        self.telling = Telling::Notices;
        self.cooldown = dice.pick(&[Duration::ZERO, Duration::ZERO, self.cooldown]);
        self.faults = vec![(LoseNewest, 5 * ttl), (StepDown, dice.log(ttl, 6 * ttl))];
    }

    fn add_beginnings(&mut self, dice: &mut Dice) {
        let ttl = self.longest_ttl();
        self.telling = Telling::Notices;
        self.strict = false;
        self.cooldown = dice.pick(&[Duration::ZERO, Duration::ZERO, self.cooldown]);
        self.faults = vec![(BeginAnew, 5 * ttl), (StepDown, dice.log(ttl / 8, 2 * ttl))];
        for fault in [Usurp, DropBucket, Crash, Disconnect, Mute, Suspend] {
            if dice.one_in(3) {
                self.faults.push((fault, dice.log(ttl / 2, 10 * ttl)));
            }
        }
        let mut maybe = |odds: u64| {
            if dice.one_in(odds) { dice.strength(0.01, 0.6) } else { 0.0 }
        };
        (self.late, self.late_notices) = (maybe(2), maybe(3));
        (self.lost_replies, self.lost_notices) = (maybe(3), maybe(3));
        self.ambushes = dice.pick(&[0.0, 0.5, 0.9]);
    }

    fn add_stale_reads(&mut self, dice: &mut Dice) {
        let ttl = self.longest_ttl();
        // A notice that such a read contradicts loses its moment, which costs a wait and no more.
        self.telling = dice.pick(&[Telling::Hints, Telling::Nothing]);
        // A replica that is behind for longer cannot be told from a store that went back.
        (self.stale, self.lag) = (dice.strength(0.05, 0.7), dice.log(ttl / 50, ttl / 2));
        self.lost_replies = dice.pick(&[0.0, 0.01, 0.1]);
        for fault in [StepDown, Transfer, Stop, Crash, Disconnect, Mute, Meta] {
            if dice.one_in(2) {
                self.faults.push((fault, dice.log(ttl, 20 * ttl)));
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

fn draw_family(dice: &mut Dice) -> Family {
    match dice.below(14) {
        0 => Family::Handover,
        1 => Family::Slow,
        2 | 3 => Family::Forgery,
        4 | 5 => Family::Buckets,
        6 => Family::Loss,
        _ => Family::Chaos,
    }
}

fn draw_timing(dice: &mut Dice, drift: u32) -> Timing {
    let ttl = Duration::from_millis(dice.pick(&[2_000, 5_000, 10_000, 10_000, 11_000, 20_000]));
    let share = dice.pick(&[20, 30, 30, 40, 50]);
    Timing::new(ttl, ttl * share / 100, None, drift)
        .or_else(|_| Timing::new(ttl, ttl / 5, None, drift))
        .expect("a fifth of the TTL fits with any drift that is drawn")
}

fn draw_slots(dice: &mut Dice, timing: &Timing) -> Vec<Slot> {
    let count = dice.between(2, 7);
    let slot = |number| Slot {
        name: format!("n{number}"),
        observer: false,
        timing: timing.clone(),
        clock: draw_clock(dice, timing.drift_percent()),
        latency: None,
    };
    (0..count).map(slot).collect()
}

/// Half of the clocks run at the very bound.
fn draw_clock(dice: &mut Dice, drift_percent: u32) -> HostClock {
    let bound = u64::from(drift_percent) * 10_000;
    let rate = if dice.one_in(2) {
        dice.pick(&[1_000_000 - bound, 1_000_000 + bound])
    } else {
        dice.between(1_000_000 - bound, 1_000_000 + bound)
    };
    HostClock { origin: dice.log(SECOND, 10_000_000 * SECOND), rate }
}
