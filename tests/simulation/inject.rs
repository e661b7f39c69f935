//! Injects faults and commands into the world, and ends them.

use leasehold::election::Input;
use leasehold::event::Reason;
use leasehold::lease::{Epoch, Lease};
use leasehold::store::Content;

use super::clock::{MILLISECOND, SECOND};
use super::commits::Ledger;
use super::model::Observed;
use super::plan::{Family, Fault, nanos};
use super::process::Packet;
use super::server::{Truth, Written};
use super::world::{Event, World};

impl World {
    pub(crate) fn inject_repeatedly(&mut self, fault: Fault) {
        if self.quiet {
            return;
        }
        if self.rng.chance(self.plan.after_writes) {
            self.after_next_write.push(fault);
        } else {
            self.inject(fault);
        }
        let mean = self.plan.faults.iter().find(|(with, _)| *with == fault).map_or(SECOND, |f| f.1);
        let wait = self.rng.wait(mean);
        self.after(wait, Event::Inject(fault));
    }

    /// A write was stored. Faults that waited for one are injected shortly after it.
    pub(crate) fn inject_after_write(&mut self) {
        for fault in std::mem::take(&mut self.after_next_write) {
            let soon = self.rng.log(1, 10 * MILLISECOND);
            self.after(soon, Event::InjectOnce(fault));
        }
    }

    pub(crate) fn inject(&mut self, fault: Fault) {
        if self.quiet {
            return;
        }
        self.tally.faults += 1;
        self.note(|| format!("fault: {fault:?}"));
        match fault {
            Fault::DeleteKey => self.overwrite(Content::Marker, Truth::Marker),
            Fault::Garbage => {
                self.overwrite(Content::Value(b"{\"epoch\":".to_vec()), Truth::Garbage);
            }
            Fault::Foreign => self.write_foreign(),
            Fault::PurgeKey => {
                self.server.purge();
                self.ledger.record_gone(self.server.bucket.as_ref());
            }
            Fault::DropBucket => self.drop_bucket(),
            Fault::ReplaceBucket => self.replace_bucket(),
            Fault::LoseNewest => self.lose_newest(),
            Fault::StartOver => self.start_over_all(),
            Fault::ResetBucket => {
                self.server.reset();
                self.ledger.record_gone(self.server.bucket.as_ref());
                self.ledger.restored |= self.has_seen_it_empty();
            }
            Fault::Restore => self.ledger.restored |= self.server.restore(),
            Fault::MuteAll | Fault::DisconnectAll => self.inject_all(fault),
            Fault::Forge => self.forge(),
            Fault::Flood => self.forge_renewal(),
            _ => {
                if let Some(process) = self.victim() {
                    self.inject_one(fault, process);
                }
            }
        }
    }

    fn drop_bucket(&mut self) {
        let Some(gone) = self.server.bucket.take().map(|bucket| bucket.incarnation) else { return };
        for node in &mut self.processes {
            let now = node.clock.read(self.now);
            if self.plan.family == Family::Buckets {
                node.model.bucket_gone(gone, now, node.timing.ttl());
            }
        }
    }

    /// Deletes the bucket while the leader is cut off. A process that never saw the old record may
    /// lead in a new bucket at once, and may resign soon after.
    fn replace_bucket(&mut self) {
        let validity = nanos(self.plan.slots[0].timing.validity());
        for process in self.running.iter().flatten().copied().collect::<Vec<_>>() {
            let node = &self.processes[process];
            if node.model.term.is_some() {
                self.mute_until[node.slot] = self.now + validity;
            }
        }
        self.drop_bucket();
        let mut soon = |fault| {
            let wait = self.rng.log(MILLISECOND, validity / 2);
            self.after(wait, Event::InjectOnce(fault));
        };
        soon(Fault::StepDown);
        soon(Fault::StepDown);
        soon(Fault::Crash);
    }

    /// Ends all processes and deletes the bucket, so that revisions start anew. After few writes
    /// the next bucket is deleted too: a process that reads seldom may take one for the other.
    fn start_over_all(&mut self) {
        for process in self.running.iter().flatten().copied().collect::<Vec<_>>() {
            self.end_process(process);
        }
        self.drop_bucket();
        self.ledger = Ledger::start_over();
        let timing = &self.plan.slots[0].timing;
        let (timeout, validity) = (nanos(timing.request_timeout()), nanos(timing.validity()));
        let soon = self.rng.log(timeout / 4, 2 * validity);
        self.after(soon, Event::InjectOnce(Fault::ReplaceBucket));
    }

    /// The store loses the write that took over a release, after all processes were notified of it.
    /// None of them may take the release over once more while that leader may lead. It happens once
    /// per run, as no process trusts notices afterwards.
    fn lose_newest(&mut self) {
        let newest = self.server.record().cloned();
        let Some(newest) = newest.filter(|_| self.ledger.lost.is_none()) else { return };
        if !self.server.took_over_a_release() {
            return self.after_next_write.push(Fault::LoseNewest);
        }
        let observed = Observed::Record(newest.id);
        let mut running = self.running.iter().flatten();
        let noticed = running.all(|p| self.processes[*p].model.first_seen(observed).is_some());
        if noticed {
            self.server.lose_newest();
            self.ledger.lost = Some(newest.id);
        } else {
            self.after(self.plan.latency.1, Event::InjectOnce(Fault::LoseNewest));
        }
    }

    /// A process that has seen the bucket empty cannot tell that it was written to since.
    fn has_seen_it_empty(&self) -> bool {
        let Some(bucket) = &self.server.bucket else { return false };
        let observed = Observed::Absent { incarnation: bucket.incarnation, last: bucket.last };
        let mut running = self.running.iter().flatten();
        self.plan.has(Fault::Foreign)
            || running.any(|p| self.processes[*p].model.first_seen(observed).is_some())
    }

    /// A running process; in most cases the holder of the lease.
    fn victim(&mut self) -> Option<usize> {
        let running: Vec<usize> = self.running.iter().flatten().copied().collect();
        let holder = running.iter().copied().find(|p| self.processes[*p].model.term.is_some());
        let any = if running.is_empty() { None } else { Some(self.rng.pick(&running)) };
        if self.rng.below(5) < 3 { holder.or(any) } else { any }
    }

    fn inject_all(&mut self, fault: Fault) {
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

    fn inject_one(&mut self, fault: Fault, process: usize) {
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
                node.model.has_no_time();
                if fault == Fault::Suspend {
                    node.suspended = length;
                }
                self.stall_for(process, length);
            }
            Fault::Crash => {
                self.end_process(process);
                self.flood();
            }
            _ => self.command(fault, process, length),
        }
    }

    /// Gives a node a command.
    fn command(&mut self, fault: Fault, process: usize, length: u64) {
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
                let to = self.rng.index(self.plan.slots.len() + 1);
                let to = self.plan.slots.get(to).map_or("unknown", |slot| &slot.name).to_owned();
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
            self.receive(process, Packet::new(Input::SetHealthy(true)));
        }
    }

    /// An operator writes without a condition.
    fn overwrite(&mut self, content: Content, truth: Truth) {
        if let Written::Stored { record, .. } = self.server.overwrite(content, truth) {
            self.ledger.overwritten(&record);
            self.ledger.remember_foreign(&record);
            self.announce(&record);
        }
    }

    /// An operator writes a record of go-cluster v1, held or released.
    fn write_foreign(&mut self) {
        let standing = self.server.record().and_then(|r| r.lease()).map_or(0, |l| l.epoch.as_u64());
        let number = if self.rng.one_in(3) { self.rng.below(standing) } else { standing };
        let Some(epoch) = Epoch::new(number + 1) else { return };
        let name = if self.rng.one_in(2) { "v1" } else { "" };
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
        self.overwrite(Content::Value(text.into_bytes()), Truth::Lease(lease));
    }

    pub(crate) fn back_up(&mut self) {
        self.server.back_up();
        let wait = self.rng.log(SECOND, 10 * self.plan.longest_ttl());
        if !self.quiet {
            self.after(wait, Event::BackUp);
        }
    }

    /// Ends all faults: links work, processes go on or are started again, and all are healthy.
    pub(crate) fn stop_faults(&mut self) {
        if self.plan.family != Family::Chaos {
            return;
        }
        self.note(|| "faults stop".to_owned());
        self.quiet = true;
        self.after_next_write.clear();
        for slot in 0..self.running.len() {
            self.mute_until[slot] = self.now;
            self.refused_until[slot] = self.now;
            match self.running[slot] {
                Some(process) => self.stop_faults_of(process),
                None => self.at(self.now, Event::Start(slot)),
            }
        }
        self.expect_leader_after_faults();
    }

    fn stop_faults_of(&mut self, process: usize) {
        let node = &mut self.processes[process];
        if node.busy_until.is_some() {
            node.busy_until = Some(self.now);
            node.suspended = 0;
        }
        self.at(self.now, Event::Resume(process));
        self.at(self.now, Event::Recover(process));
        self.at(self.now, Event::Connect(process));
    }

    /// The application checks its token, and acts if it is valid.
    pub(crate) fn check_token(&mut self, process: usize) {
        if !self.processes[process].alive {
            return;
        }
        self.check_token_now(process);
        let wait = self.rng.wait(self.plan.token_checks);
        self.after(wait, Event::CheckToken(process));
    }
}
