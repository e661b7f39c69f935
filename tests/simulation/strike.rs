//! Faults as they strike, and how they end.

use leasehold::election::Input;
use leasehold::event::Reason;
use leasehold::lease::{Epoch, Lease};
use leasehold::store::Content;

use super::clock::{MILLISECOND, SECOND};
use super::commit::Ledger;
use super::plan::{Family, Fault, nanos};
use super::process::Packet;
use super::server::{Truth, Written};
use super::shadow::Sight;
use super::world::{Event, World};

impl World {
    pub(crate) fn strike_and_again(&mut self, fault: Fault) {
        if self.quiet {
            return;
        }
        if self.dice.chance(self.plan.ambushes) {
            self.ambush.push(fault);
        } else {
            self.strike(fault);
        }
        let mean = self.plan.faults.iter().find(|(with, _)| *with == fault).map_or(SECOND, |f| f.1);
        let wait = self.dice.wait(mean);
        self.after(wait, Event::Strike(fault));
    }

    /// A write was stored: what waited for one strikes now or in a moment.
    pub(crate) fn spring_ambushes(&mut self) {
        for fault in std::mem::take(&mut self.ambush) {
            let soon = self.dice.log(1, 10 * MILLISECOND);
            self.after(soon, Event::StrikeOnce(fault));
        }
    }

    pub(crate) fn strike(&mut self, fault: Fault) {
        if self.quiet {
            return;
        }
        self.tally.faults += 1;
        self.note(|| format!("fault: {fault:?}"));
        match fault {
            Fault::DeleteKey => self.intrude(Content::Marker, Truth::Marker),
            Fault::Garbage => {
                self.intrude(Content::Value(b"{\"epoch\":".to_vec()), Truth::Garbage);
            }
            Fault::Foreign => self.write_foreign(),
            Fault::PurgeKey => {
                self.server.purge();
                self.ledger.record_gone(self.server.bucket.as_ref());
            }
            Fault::DropBucket => self.drop_bucket(),
            Fault::Usurp => self.usurp(),
            Fault::LoseNewest => self.lose_newest(),
            Fault::BeginAnew => self.begin_anew(),
            Fault::ResetBucket => {
                self.server.reset();
                self.ledger.record_gone(self.server.bucket.as_ref());
                self.ledger.restored |= self.has_seen_it_empty();
            }
            Fault::Restore => self.ledger.restored |= self.server.restore(),
            Fault::MuteAll | Fault::DisconnectAll => self.strike_all(fault),
            Fault::Forge => self.forge(),
            Fault::Flood => self.lie(),
            _ => {
                if let Some(process) = self.victim() {
                    self.strike_one(fault, process);
                }
            }
        }
    }

    fn drop_bucket(&mut self) {
        let Some(gone) = self.server.bucket.take().map(|bucket| bucket.incarnation) else { return };
        for node in &mut self.processes {
            let now = node.clock.read(self.now);
            if self.plan.family == Family::Buckets {
                node.shadow.bucket_gone(gone, now, node.timing.ttl());
            }
        }
    }

    /// The bucket is replaced under a leader that hears nothing of it; a process that never saw the
    /// old record may well lead in the new one at once, and resign as soon.
    fn usurp(&mut self) {
        let validity = nanos(self.plan.slots[0].timing.validity());
        for process in self.running.iter().flatten().copied().collect::<Vec<_>>() {
            let node = &self.processes[process];
            if node.shadow.term.is_some() {
                self.mute_until[node.slot] = self.now + validity;
            }
        }
        self.drop_bucket();
        let mut soon = |fault| {
            let wait = self.dice.log(MILLISECOND, validity / 2);
            self.after(wait, Event::StrikeOnce(fault));
        };
        soon(Fault::StepDown);
        soon(Fault::StepDown);
        soon(Fault::Crash);
    }

    /// Nobody is left who knows anything, and revisions start at the beginning. They do so once
    /// more when hardly anything was written; whoever reads seldom takes the one for the other.
    fn begin_anew(&mut self) {
        for process in self.running.iter().flatten().copied().collect::<Vec<_>>() {
            self.end_process(process);
        }
        self.drop_bucket();
        self.ledger = Ledger::afresh();
        let timing = &self.plan.slots[0].timing;
        let (timeout, validity) = (nanos(timing.request_timeout()), nanos(timing.validity()));
        let soon = self.dice.log(timeout / 4, 2 * validity);
        self.after(soon, Event::StrikeOnce(Fault::Usurp));
    }

    /// The store loses the write that took over a release, after everybody heard of it: whoever
    /// did may not take the release over once more while that leader may lead. Once a run: nobody
    /// trusts notices afterwards.
    fn lose_newest(&mut self) {
        let newest = self.server.record().cloned();
        let Some(newest) = newest.filter(|_| self.ledger.lost.is_none()) else { return };
        if !self.server.took_over_a_release() {
            return self.ambush.push(Fault::LoseNewest);
        }
        let sight = Sight::Record(newest.id);
        let mut running = self.running.iter().flatten();
        let heard = running.all(|p| self.processes[*p].shadow.first_seen(sight).is_some());
        if heard {
            self.server.lose_newest();
            self.ledger.lost = Some(newest.id);
        } else {
            self.after(self.plan.latency.1, Event::StrikeOnce(Fault::LoseNewest));
        }
    }

    /// Who saw the bucket empty before cannot tell that it was filled since.
    fn has_seen_it_empty(&self) -> bool {
        let Some(bucket) = &self.server.bucket else { return false };
        let sight = Sight::Absent { incarnation: bucket.incarnation, last: bucket.last };
        let mut running = self.running.iter().flatten();
        self.plan.has(Fault::Foreign)
            || running.any(|p| self.processes[*p].shadow.first_seen(sight).is_some())
    }

    /// More often than not somebody who holds the lease.
    fn victim(&mut self) -> Option<usize> {
        let running: Vec<usize> = self.running.iter().flatten().copied().collect();
        let holder = running.iter().copied().find(|p| self.processes[*p].shadow.term.is_some());
        let any = if running.is_empty() { None } else { Some(self.dice.pick(&running)) };
        if self.dice.below(5) < 3 { holder.or(any) } else { any }
    }

    fn strike_all(&mut self, fault: Fault) {
        let length = self.span();
        for slot in 0..self.running.len() {
            if fault == Fault::MuteAll {
                self.mute_until[slot] = self.now + length;
            } else {
                self.refused_until[slot] = self.now + length;
            }
            if let (Some(process), Fault::DisconnectAll) = (self.running[slot], fault) {
                self.disconnect(process);
            }
        }
    }

    fn strike_one(&mut self, fault: Fault, process: usize) {
        let length = self.span();
        let slot = self.processes[process].slot;
        match fault {
            Fault::Mute => self.mute_until[slot] = self.now + length,
            Fault::Disconnect => {
                self.refused_until[slot] = self.now + length / 2;
                self.disconnect(process);
            }
            Fault::Pause | Fault::Suspend => {
                let node = &mut self.processes[process];
                node.shadow.has_no_time();
                if fault == Fault::Suspend {
                    node.suspended = length;
                }
                self.stand_still(process, length);
            }
            Fault::Crash => {
                self.end_process(process);
                self.flood();
            }
            _ => self.ask(fault, process, length),
        }
    }

    /// What somebody asks of a node.
    fn ask(&mut self, fault: Fault, process: usize, length: u64) {
        let node = &mut self.processes[process];
        let input = match fault {
            Fault::Stop => {
                if std::mem::replace(&mut node.stopping, true) {
                    return;
                }
                let bound = length.min(2 * nanos(node.timing.ttl()));
                let until = node.clock.read(self.now + bound);
                Input::Stop { until }
            }
            Fault::Transfer => {
                let to = self.dice.index(self.plan.slots.len() + 1);
                let to = self.plan.slots.get(to).map_or("nobody", |slot| &slot.name).to_owned();
                Input::Resign(Reason::Transfer { to })
            }
            Fault::Promote => Input::Promote,
            Fault::Unhealthy => {
                node.healthy = false;
                self.after(length, Event::Recover(process));
                Input::SetHealthy(false)
            }
            Fault::Meta => Input::SetMeta(Some(serde_json::json!(self.now))),
            _ => Input::Resign(Reason::StepDown),
        };
        self.after(0, Event::Inside(process, Box::new(Packet::new(input))));
    }

    pub(crate) fn recover(&mut self, process: usize) {
        let node = &mut self.processes[process];
        if node.alive && !std::mem::replace(&mut node.healthy, true) {
            self.hear(process, Packet::new(Input::SetHealthy(true)));
        }
    }

    /// Somebody with a command line writes, under no condition.
    fn intrude(&mut self, content: Content, truth: Truth) {
        if let Written::Stored { record, .. } = self.server.overwrite(content, truth) {
            self.ledger.overwritten(&record);
            self.ledger.remember_stranger(&record);
            self.announce(&record);
        }
    }

    /// A record of go-cluster v1, held or released.
    fn write_foreign(&mut self) {
        let standing = self.server.record().and_then(|r| r.lease()).map_or(0, |l| l.epoch.as_u64());
        let number = if self.dice.one_in(3) { self.dice.below(standing) } else { standing };
        let Some(epoch) = Epoch::new(number + 1) else { return };
        let name = if self.dice.one_in(2) { "v1" } else { "" };
        let time = "2026-01-02T03:04:05.123456789Z";
        let text = format!(
            r#"{{"node_id":"{name}","epoch":{epoch},"expires_at":"{time}","acquired_at":"{time}"}}"#
        );
        let lease = Lease {
            node_id: name.to_owned(),
            session: None,
            epoch,
            write: 0,
            ttl: None,
            clean: false,
            successor: None,
            meta: None,
        };
        self.intrude(Content::Value(text.into_bytes()), Truth::Lease(lease));
    }

    pub(crate) fn back_up(&mut self) {
        self.server.back_up();
        let wait = self.dice.log(SECOND, 10 * self.plan.longest_ttl());
        if !self.quiet {
            self.after(wait, Event::BackUp);
        }
    }

    /// All faults stop: links and clocks go on, whoever is gone comes back, everybody is fit.
    pub(crate) fn calm_down(&mut self) {
        if self.plan.family != Family::Chaos {
            return;
        }
        self.note(|| "faults stop".to_owned());
        self.quiet = true;
        self.ambush.clear();
        for slot in 0..self.running.len() {
            self.mute_until[slot] = self.now;
            self.refused_until[slot] = self.now;
            match self.running[slot] {
                Some(process) => self.calm_one_down(process),
                None => self.at(self.now, Event::Start(slot)),
            }
        }
        self.expect_leader_after_faults();
    }

    fn calm_one_down(&mut self, process: usize) {
        let node = &mut self.processes[process];
        if node.busy_until.is_some() {
            node.busy_until = Some(self.now);
            node.suspended = 0;
        }
        self.at(self.now, Event::Resume(process));
        self.at(self.now, Event::Recover(process));
        self.at(self.now, Event::Connect(process));
    }

    /// A moment at which the application asks whether it leads, and acts if it does.
    pub(crate) fn look(&mut self, process: usize) {
        if !self.processes[process].alive {
            return;
        }
        self.check_look(process);
        let wait = self.dice.wait(self.plan.looks);
        self.after(wait, Event::Look(process));
    }
}
