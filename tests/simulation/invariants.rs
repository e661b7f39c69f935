//! The invariants that are checked after every step of an election: I5, I6, I10 to I18.

use leasehold::clock::Timestamp;
use leasehold::election::{Change, Command, Step};
use leasehold::event::Cause;
use leasehold::lease::{Epoch, Lease};
use leasehold::store::Expect;

use super::model::{Cooldown, Write};
use super::plan::{Family, Fault};
use super::rules::Rule;
use super::world::World;

impl World {
    pub(crate) fn check_step(&mut self, process: usize, now: Timestamp, step: &Step) {
        let holds = self.processes[process].model.term.is_some();
        for change in &step.changes {
            self.trace.note(self.now, || format!("p{process} {now:?} {change:?}"));
            self.check_change(process, now, change);
        }
        self.check_cell(process);
        self.check_memory(process, now);
        self.check_requests(process, now, step.command.as_ref());
        match &step.command {
            Some(Command::Write { expect, lease, .. }) => {
                self.check_write(process, now, *expect, lease);
            }
            Some(Command::CreateBucket { .. }) => {
                let observer = self.processes[process].observer;
                self.verdict
                    .demand(Rule::I11, !observer, || format!("observer p{process} creates"));
            }
            Some(Command::Read(_) | Command::Reconnect) | None => {}
        }
        self.check_leader(process, now);
        self.check_step_end(process, holds, step);
    }

    /// I12: a read that shows another record ends the term. I10: a node that stops reports its
    /// loss.
    fn check_step_end(&mut self, process: usize, held: bool, step: &Step) {
        let node = &self.processes[process];
        let (term, holds) = (node.model.term, node.election.held_epoch());
        let kept = held && node.model.deposed && holds.is_some();
        self.verdict.demand(Rule::I12, !kept, || {
            format!("p{process} still holds {holds:?} after it read another record")
        });
        self.verdict.demand(Rule::I10, !step.finished || term.is_none(), || {
            format!("p{process} stops without reporting the loss of {term:?}")
        });
    }

    fn check_change(&mut self, process: usize, now: Timestamp, change: &Change) {
        match change {
            Change::BecameLeader(epoch) => self.check_begin(process, now, *epoch),
            Change::Resigning { epoch, .. } => {
                let model = &mut self.processes[process].model;
                let (known, again) = (model.term == Some(*epoch), model.resigning);
                model.resigning = true;
                self.verdict.demand(Rule::I10, known && !again, || {
                    format!("p{process} reports the resignation of {epoch}, which it does not lead")
                });
            }
            Change::LostLeadership { epoch, cause } => {
                self.check_loss(process, now, *epoch, cause);
            }
            Change::LeaderChanged(leader) => {
                self.processes[process].model.leader.clone_from(leader);
            }
            _ => {}
        }
    }

    /// I10, I15: a term begins.
    fn check_begin(&mut self, process: usize, now: Timestamp, epoch: Epoch) {
        self.tally.terms += 1;
        let node = &mut self.processes[process];
        let validity = node.timing.validity();
        let (number, model) = (epoch.as_u64(), &mut node.model);
        let alone = model.term.is_none() && number > model.led;
        let sent = model.newest_sent(number, |write| write.known);
        (model.term, model.resigning, model.led) = (Some(epoch), false, number);
        self.verdict
            .demand(Rule::I10, alone, || format!("p{process} reports {epoch} out of order"));
        let in_time = sent.is_some_and(|sent| now < sent + validity);
        self.verdict.demand(Rule::I15, in_time, || {
            format!("p{process} leads {epoch} at {now:?} by a challenge sent {sent:?}")
        });
    }

    /// I10. The cause of the loss decides the cooldown.
    fn check_loss(&mut self, process: usize, now: Timestamp, epoch: Epoch, cause: &Cause) {
        let cooldown = self.plan.cooldown;
        let node = &mut self.processes[process];
        let expiry_cooldown = node.timing.expiry_cooldown();
        let model = &mut node.model;
        let led = model.term.take() == Some(epoch);
        let length = match cause {
            Cause::Resigned(_) => Some(cooldown),
            _ => model.resigning.then_some(expiry_cooldown),
        };
        if let Some(length) = length {
            let before = model.cooldown.map_or(Timestamp::ZERO, |present| present.until);
            let until = before.max(now + length);
            model.cooldown = Some(Cooldown { ended: now, until, early: None });
        }
        model.resigning = false;
        self.verdict.demand(Rule::I10, led, || {
            format!("p{process} reports the loss of {epoch}, which it does not hold")
        });
        let asked = matches!(cause, Cause::Resigned(_) | Cause::DrainTimedOut(_));
        self.verdict.demand(Rule::L4, asked || self.plan.family != Family::Forgery, || {
            format!("p{process} loses {epoch}: {cause}")
        });
    }

    /// I6: only a term that was reported, and not its loss, is in force. I5, I12: its deadline is
    /// covered by a write that was stored, and that the process knows to be stored.
    fn check_cell(&mut self, process: usize) {
        let node = &self.processes[process];
        let model = &node.model;
        let validity = node.timing.validity();
        let cell = node.cell(&self.origin);
        let (term, resigning) = (model.term.map(Epoch::as_u64), model.resigning);
        let reported = cell.is_none_or(|(epoch, _)| Some(epoch) == term && !resigning);
        self.verdict.demand(Rule::I6, reported, || {
            format!("p{process}: {cell:?} is in force, {term:?} was reported")
        });
        let held = node.election.held_until().zip(term).map(|(until, epoch)| (epoch, until));
        for (epoch, deadline) in cell.into_iter().chain(held) {
            let covered = |counts: fn(&Write) -> bool| {
                model.newest_sent(epoch, counts).is_some_and(|sent| deadline <= sent + validity)
            };
            let what = || format!("p{process}: epoch {epoch} is in force until {deadline:?}");
            self.verdict.demand(Rule::I5, covered(|write| write.stored), what);
            self.verdict.demand(Rule::I12, covered(|write| write.known), what);
        }
    }

    /// I13, I14: no epoch and no write is forgotten.
    fn check_memory(&mut self, process: usize, now: Timestamp) {
        let node = &self.processes[process];
        let highest = node.election.highest_epoch().map_or(0, Epoch::as_u64);
        let seen = node.model.highest_epoch;
        self.verdict.demand(Rule::I13, highest >= seen, || {
            format!("p{process} remembers epoch {highest}, and has seen {seen}")
        });
        self.check_deadline(process);
        let node = &self.processes[process];
        let Some(proved) = node.model.proved else { return };
        let until = proved.sent + node.timing.validity();
        let counts = node.election.held_epoch() == Some(proved.epoch) && now < until;
        let kept = node.election.held_until().is_some_and(|deadline| deadline >= until);
        self.verdict.demand(Rule::I14, !counts || kept, || {
            format!("p{process} has forgotten its write {}", proved.number)
        });
    }

    /// I14: the deadline of a term never moves back.
    fn check_deadline(&mut self, process: usize) {
        let node = &mut self.processes[process];
        let held = node.election.held_epoch().zip(node.election.held_until());
        let before = std::mem::replace(&mut node.model.held, held);
        let shorter = before.zip(held).is_some_and(|(was, is)| was.0 == is.0 && is.1 < was.1);
        self.verdict.demand(Rule::I14, !shorter, || {
            format!("p{process} held its term until {before:?} and now {held:?}")
        });
    }

    /// I14: one request at a time. It is awaited until it is answered, lost, or timed out.
    fn check_requests(&mut self, process: usize, now: Timestamp, command: Option<&Command>) {
        let node = &mut self.processes[process];
        let timeout = node.timing.request_timeout();
        let model = &mut node.model;
        if let Some(overdue) = model.awaited.take_if(|(_, sent)| now >= *sent + timeout) {
            model.late_read = model.reads.then_some(overdue);
        }
        let ticket = match command {
            Some(Command::Read(ticket)) => *ticket,
            Some(Command::Write { ticket, .. } | Command::CreateBucket { ticket, .. }) => {
                model.late_read = None;
                *ticket
            }
            Some(Command::Reconnect) => return model.late_read = None,
            None => return,
        };
        model.reads = matches!(command, Some(Command::Read(_)));
        let before = model.awaited.replace((ticket, now));
        self.verdict.demand(Rule::I14, before.is_none(), || {
            format!("p{process} sends {ticket:?} while {before:?} is awaited")
        });
    }

    fn check_write(&mut self, process: usize, now: Timestamp, expect: Expect, lease: &Lease) {
        let node = &mut self.processes[process];
        let held = node.election.held_epoch() == Some(lease.epoch);
        let model = &mut node.model;
        let reused = model.writes.back().is_some_and(|last| last.number >= lease.write);
        let write = Write {
            number: lease.write,
            epoch: lease.epoch,
            sent: now,
            incarnation: model.newest.0,
            challenges: !held && !lease.is_released(),
            read: model.last_read(),
            knows: expect.release.and_then(|release| model.term_of(release)),
            stored: false,
            known: false,
            refused: false,
        };
        model.remember(write);
        let unread = expect.release.is_some();
        let again = unread && model.challenged_unread;
        model.challenged_unread |= unread;
        let observer = node.observer;
        self.verdict.demand(Rule::I11, !observer, || format!("observer p{process} writes"));
        self.verdict.demand(Rule::L4, !again, || {
            format!("p{process} challenges a second unread release before it reads")
        });
        self.verdict.demand(Rule::I14, !reused, || {
            format!("p{process} uses the number {} twice", lease.write)
        });
        if lease.is_released() {
            self.check_sent_release(process, lease);
        } else if !held {
            self.check_challenge(process, now, lease);
        }
    }

    /// I8, I17.
    fn check_sent_release(&mut self, process: usize, release: &Lease) {
        let node = &mut self.processes[process];
        let early = 2 * node.timing.successor_wait();
        if let (Some(cooldown), Some(_)) = (&mut node.model.cooldown, &release.successor) {
            cooldown.early = Some(cooldown.ended + early);
        }
        let led = node.model.led >= release.epoch.as_u64();
        let stopped = node.model.drained.contains(&release.epoch);
        let leads = node.cell(&self.origin).is_some();
        self.verdict.demand(Rule::I8, !led || stopped, || {
            format!("p{process} releases {} before its work has stopped", release.epoch)
        });
        self.verdict.demand(Rule::I17, !leads, || {
            format!("p{process} sends the release of {} and leads", release.epoch)
        });
    }

    /// I2 across buckets and restarts; I18; L3: an abandoned challenge is released.
    fn check_challenge(&mut self, process: usize, now: Timestamp, lease: &Lease) {
        let goes_back = [Fault::Restore, Fault::ResetBucket, Fault::LoseNewest];
        let goes_back = goes_back.into_iter().any(|fault| self.plan.has(fault));
        let ttl = self.processes[process].timing.ttl();
        let model = &mut self.processes[process].model;
        model.longest_ttl_at_challenge = model.longest_ttl;
        let (seen, epoch) = (model.highest_epoch, lease.epoch.as_u64());
        let cooldown = model
            .cooldown
            .filter(|cooldown| now < cooldown.early.unwrap_or(cooldown.until).min(cooldown.until));
        let repeats = model.writes.iter().rev().nth(1).is_some_and(|w| w.epoch == lease.epoch);
        // An own write may have been stored in a replaced bucket, as the known limits allow.
        let readable = if self.ledger.restored { 0 } else { model.had_time_to_read };
        let abandoned = model.abandoned_challenge(lease.epoch).filter(|_| !goes_back);
        let released = |write: Write| {
            let released = |w: &Write| w.epoch == write.epoch && !w.challenges;
            model.writes.iter().any(released)
        };
        let current = |write: &Write| model.newest_is(write);
        let cleaned = abandoned.is_none_or(|write| !current(&write) || released(write));
        self.verdict.demand(Rule::I2, epoch > seen.max(readable) || repeats, || {
            format!(
                "p{process} challenges with {epoch}, has seen {seen} and could have read {readable}"
            )
        });
        let rested = abandoned.is_none_or(|write| now >= write.sent + ttl);
        self.verdict.demand(Rule::I18, rested, || {
            format!("p{process} challenges at {now:?}, too soon after the abandoned {abandoned:?}")
        });
        self.verdict.demand(Rule::L3, cleaned, || {
            format!("p{process} challenges, and the abandoned {abandoned:?} was not released")
        });
        self.verdict.demand(Rule::I18, cooldown.is_none(), || {
            format!("p{process} challenges at {now:?} in {cooldown:?}")
        });
    }

    /// I16: no leader is reported once its TTL has passed since its record was first observed.
    fn check_leader(&mut self, process: usize, now: Timestamp) {
        let model = &self.processes[process].model;
        let Some(leader) = model.leader.as_ref().filter(|_| model.term.is_none()) else { return };
        let restarts = [
            Fault::Forge,
            Fault::DropBucket,
            Fault::ResetBucket,
            Fault::Restore,
            Fault::ReplaceBucket,
            Fault::LoseNewest,
            Fault::StartOver,
        ];
        if restarts.into_iter().any(|fault| self.plan.has(fault)) {
            return;
        }
        let until = model.holds_until(leader);
        self.verdict.demand(Rule::I16, until.is_some_and(|until| now < until), || {
            format!("p{process} reports {leader:?} at {now:?}, allowed until {until:?}")
        });
    }
}
