//! L1 to L4: a node leads, soon enough and for long enough.

use leasehold::lease::Lease;

use super::clock::{Instant, SECOND};
use super::plan::{Family, Fault, Notify, nanos};
use super::rules::Rule;
use super::world::World;

#[derive(Debug, Default)]
pub(crate) struct Liveness {
    /// From then on a node has to lead at every instant.
    leader_from: Option<Instant>,
    /// Until when a clean release has to be taken over, and by one of which processes.
    takeover: Option<(Instant, Vec<usize>)>,
    leaderless_since: Option<Instant>,
    had_leader: bool,
    gaps: Vec<(Instant, Instant)>,
}

impl Liveness {
    /// A release was taken over.
    pub(crate) fn taken_over(&mut self) {
        self.takeover = None;
    }

    fn note(&mut self, now: Instant, led: bool) {
        match (led, self.leaderless_since) {
            (true, Some(since)) => {
                if self.had_leader {
                    self.gaps.push((since, now));
                }
                self.leaderless_since = None;
                self.had_leader = true;
            }
            (false, None) => self.leaderless_since = Some(now),
            _ => {}
        }
    }

    /// A process has started or ended: the wait for a leader starts anew.
    pub(crate) fn start_over(&mut self, now: Instant) {
        if let Some(since) = &mut self.leaderless_since {
            *since = now;
        }
    }

    /// The longest total time without a leader in any span of that length.
    fn worst_gap(&self, length: u64) -> u64 {
        let within = |end: Instant| {
            let start = end.saturating_sub(length);
            let share = |(from, to): &(Instant, Instant)| to.saturating_sub(start.max(*from));
            self.gaps.iter().filter(|gap| gap.1 <= end).map(share).sum()
        };
        self.gaps.iter().map(|gap| within(gap.1)).max().unwrap_or_default()
    }
}

impl World {
    /// The longest true time that a wait of `nanos` takes on any clock.
    fn slowest(&self, nanos: u64) -> u64 {
        let drift = u64::from(self.plan.slots[0].timing.drift_percent());
        nanos * 100 / (100 - drift)
    }

    pub(crate) fn expect_leader_after_faults(&mut self) {
        let ttl = self.plan.longest_ttl();
        let goes_back = [Fault::Restore, Fault::ResetBucket, Fault::LoseNewest];
        let goes_back = goes_back.into_iter().any(|fault| self.plan.has(fault));
        let waits = if goes_back { 4 } else { 2 };
        let drain = nanos(self.plan.drain_timeout);
        let bound = self.slowest(waits * ttl + drain) + 3 * SECOND;
        self.liveness.leader_from = Some(self.now + bound);
    }

    /// A clean release was stored. If other processes can take over, one of them has to.
    pub(crate) fn expect_takeover(&mut self, by: usize, release: &Lease) {
        if self.plan.family != Family::Handover {
            return;
        }
        let others: Vec<usize> = self
            .running
            .iter()
            .flatten()
            .copied()
            .filter(|p| *p != by && self.is_ready(*p))
            .collect();
        // Reads that follow from hints are a request timeout apart.
        let mut bound = nanos(self.plan.slots[0].timing.request_timeout());
        if release.successor.is_some() {
            bound += nanos(self.plan.slots[0].timing.successor_wait());
        }
        if self.plan.notify == Notify::Nothing {
            bound += self.plan.longest_ttl();
        }
        let until = self.now + self.slowest(bound) + SECOND;
        self.liveness.takeover = (!others.is_empty()).then_some((until, others));
    }

    fn is_ready(&self, process: usize) -> bool {
        let node = &self.processes[process];
        let now = node.clock.read(self.now);
        let stays_back = node.model.cooldown.is_some_and(|cooldown| now < cooldown.until);
        node.alive && node.connected && !node.stopping && !stays_back
    }

    pub(crate) fn watch_leader(&mut self, led: bool) {
        self.liveness.note(self.now, led);
        let late = self.liveness.leader_from.is_some_and(|from| self.now >= from);
        self.verdict.demand(Rule::L1, led || !late, || "no node leads".to_owned());
        self.watch_takeover();
        self.watch_forgery();
    }

    fn watch_takeover(&mut self) {
        if self.liveness.takeover.as_ref().is_none_or(|(until, _)| self.now < *until) {
            return;
        }
        let Some((_, others)) = self.liveness.takeover.take() else { return };
        let able: Vec<usize> = others.into_iter().filter(|p| self.is_ready(*p)).collect();
        self.verdict.demand(Rule::L2, able.is_empty(), || format!("none of {able:?} takes over"));
    }

    fn watch_forgery(&mut self) {
        if self.plan.family != Family::Forgery {
            return;
        }
        let asked = nanos(self.plan.drain_timeout) + nanos(self.plan.cooldown);
        let bound = self.slowest(4 * self.plan.longest_ttl() + asked) + 3 * SECOND;
        let since = self.liveness.leaderless_since.unwrap_or(self.now);
        self.verdict.demand(Rule::L4, self.now - since <= bound, || {
            format!("no node has led since {since}")
        });
    }

    /// L3, which is checked at the end of a run.
    pub(crate) fn check_end(&mut self) {
        if self.plan.family != Family::Slow {
            return;
        }
        let end = self.now;
        self.liveness.note(end, true);
        let length = 20 * self.plan.longest_ttl();
        let worst = self.liveness.worst_gap(length);
        self.verdict.demand(Rule::L3, worst * 10 <= length, || {
            format!("no node leads for {worst} ns of {length} ns")
        });
    }
}
