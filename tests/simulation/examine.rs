//! What must hold after every step of an election: I5, I6, I10 to I18.

use leasehold::clock::Timestamp;
use leasehold::election::{Change, Command, Step};
use leasehold::event::Cause;
use leasehold::lease::{Epoch, Lease};
use leasehold::store::Expect;

use super::plan::{Family, Fault};
use super::rules::Rule;
use super::shadow::{Cooldown, Write};
use super::world::World;

impl World {
    pub(crate) fn examine(&mut self, process: usize, now: Timestamp, step: &Step) {
        let holds = self.processes[process].shadow.term.is_some();
        for change in &step.changes {
            self.trace.note(self.now, || format!("p{process} {now:?} {change:?}"));
            self.examine_change(process, now, change);
        }
        self.examine_cell(process);
        self.examine_memory(process, now);
        self.examine_requests(process, now, step.command.as_ref());
        match &step.command {
            Some(Command::Write { expect, lease, .. }) => {
                self.examine_write(process, now, *expect, lease);
            }
            Some(Command::CreateBucket { .. }) => {
                let observer = self.processes[process].observer;
                self.verdict
                    .demand(Rule::I11, !observer, || format!("observer p{process} creates"));
            }
            Some(Command::Read(_) | Command::Reconnect) | None => {}
        }
        self.examine_leader(process, now);
        self.examine_end(process, holds, step);
    }

    /// I12: what is read and not of the term ends it. I10: a node that stops says so before.
    fn examine_end(&mut self, process: usize, held: bool, step: &Step) {
        let node = &self.processes[process];
        let (term, holds) = (node.shadow.term, node.election.held_epoch());
        let kept = held && node.shadow.deposed && holds.is_some();
        self.verdict.demand(Rule::I12, !kept, || {
            format!("p{process} goes on with {holds:?} after reading something else")
        });
        self.verdict.demand(Rule::I10, !step.finished || term.is_none(), || {
            format!("p{process} stops and never told the loss of {term:?}")
        });
    }

    fn examine_change(&mut self, process: usize, now: Timestamp, change: &Change) {
        match change {
            Change::BecameLeader(epoch) => self.examine_begin(process, now, *epoch),
            Change::Resigning { epoch, .. } => {
                let shadow = &mut self.processes[process].shadow;
                let (known, again) = (shadow.term == Some(*epoch), shadow.resigning);
                shadow.resigning = true;
                self.verdict.demand(Rule::I10, known && !again, || {
                    format!("p{process} resigns epoch {epoch} out of turn")
                });
            }
            Change::LostLeadership { epoch, cause } => {
                self.examine_loss(process, now, *epoch, cause);
            }
            Change::LeaderChanged(leader) => {
                self.processes[process].shadow.leader.clone_from(leader);
            }
            _ => {}
        }
    }

    /// I10, I15: a term begins.
    fn examine_begin(&mut self, process: usize, now: Timestamp, epoch: Epoch) {
        self.tally.terms += 1;
        let node = &mut self.processes[process];
        let validity = node.timing.validity();
        let (number, shadow) = (epoch.as_u64(), &mut node.shadow);
        let alone = shadow.term.is_none() && number > shadow.led;
        let sent = shadow.newest_sent(number, |write| write.known);
        (shadow.term, shadow.resigning, shadow.led) = (Some(epoch), false, number);
        self.verdict.demand(Rule::I10, alone, || format!("p{process} leads {epoch} out of turn"));
        let in_time = sent.is_some_and(|sent| now < sent + validity);
        self.verdict.demand(Rule::I15, in_time, || {
            format!("p{process} leads {epoch} at {now:?} by a challenge sent {sent:?}")
        });
    }

    /// I10, and what the loss says of the cooldown.
    fn examine_loss(&mut self, process: usize, now: Timestamp, epoch: Epoch, cause: &Cause) {
        let cooldown = self.plan.cooldown;
        let node = &mut self.processes[process];
        let expiry_cooldown = node.timing.expiry_cooldown();
        let shadow = &mut node.shadow;
        let led = shadow.term.take() == Some(epoch);
        let length = match cause {
            Cause::Resigned(_) => Some(cooldown),
            _ => shadow.resigning.then_some(expiry_cooldown),
        };
        if let Some(length) = length {
            let before = shadow.cooldown.map_or(Timestamp::ZERO, |present| present.until);
            let until = before.max(now + length);
            shadow.cooldown = Some(Cooldown { ended: now, until, early: None });
        }
        shadow.resigning = false;
        self.verdict.demand(Rule::I10, led, || format!("p{process} loses {epoch} out of turn"));
        let asked = matches!(cause, Cause::Resigned(_) | Cause::DrainTimedOut(_));
        self.verdict.demand(Rule::L4, asked || self.plan.family != Family::Forgery, || {
            format!("p{process} loses {epoch}: {cause}")
        });
    }

    /// I5, I6, I12: what the cell says is covered by a stored write that is known to be, and it
    /// says nothing about an epoch that was told to be over.
    fn examine_cell(&mut self, process: usize) {
        let node = &self.processes[process];
        let shadow = &node.shadow;
        let validity = node.timing.validity();
        let cell = node.cell(&self.origin);
        let (term, resigning) = (shadow.term.map(Epoch::as_u64), shadow.resigning);
        let told = cell.is_none_or(|(epoch, _)| Some(epoch) == term && !resigning);
        self.verdict.demand(Rule::I6, told, || {
            format!("p{process}: {cell:?} is in force, {term:?} was told")
        });
        let held = node.election.held_until().zip(term).map(|(until, epoch)| (epoch, until));
        for (epoch, deadline) in cell.into_iter().chain(held) {
            let covered = |counts: fn(&Write) -> bool| {
                shadow.newest_sent(epoch, counts).is_some_and(|sent| deadline <= sent + validity)
            };
            let what = || format!("p{process}: epoch {epoch} is in force until {deadline:?}");
            self.verdict.demand(Rule::I5, covered(|write| write.stored), what);
            self.verdict.demand(Rule::I12, covered(|write| write.known), what);
        }
    }

    /// I13, I14: nothing is forgotten.
    fn examine_memory(&mut self, process: usize, now: Timestamp) {
        let node = &self.processes[process];
        let highest = node.election.highest_epoch().map_or(0, Epoch::as_u64);
        let seen = node.shadow.highest_epoch;
        self.verdict.demand(Rule::I13, highest >= seen, || {
            format!("p{process} remembers epoch {highest} and saw {seen}")
        });
        self.examine_deadline(process);
        let node = &self.processes[process];
        let Some(proved) = node.shadow.proved else { return };
        let until = proved.sent + node.timing.validity();
        let counts = node.election.held_epoch() == Some(proved.epoch) && now < until;
        let kept = node.election.held_until().is_some_and(|deadline| deadline >= until);
        self.verdict.demand(Rule::I14, !counts || kept, || {
            format!("p{process} forgot its write {}", proved.number)
        });
    }

    /// I14: what is held is never held for less than before.
    fn examine_deadline(&mut self, process: usize) {
        let node = &mut self.processes[process];
        let held = node.election.held_epoch().zip(node.election.held_until());
        let before = std::mem::replace(&mut node.shadow.held, held);
        let shorter = before.zip(held).is_some_and(|(was, is)| was.0 == is.0 && is.1 < was.1);
        self.verdict.demand(Rule::I14, !shorter, || {
            format!("p{process} held its term until {before:?} and now {held:?}")
        });
    }

    /// I14: one request at a time; each is awaited until it is answered, lost, or overdue.
    fn examine_requests(&mut self, process: usize, now: Timestamp, command: Option<&Command>) {
        let node = &mut self.processes[process];
        let timeout = node.timing.request_timeout();
        let shadow = &mut node.shadow;
        if let Some(overdue) = shadow.awaited.take_if(|(_, sent)| now >= *sent + timeout) {
            shadow.late_read = shadow.reads.then_some(overdue);
        }
        let ticket = match command {
            Some(Command::Read(ticket)) => *ticket,
            Some(Command::Write { ticket, .. } | Command::CreateBucket { ticket, .. }) => {
                shadow.late_read = None;
                *ticket
            }
            Some(Command::Reconnect) => return shadow.late_read = None,
            None => return,
        };
        shadow.reads = matches!(command, Some(Command::Read(_)));
        let before = shadow.awaited.replace((ticket, now));
        self.verdict.demand(Rule::I14, before.is_none(), || {
            format!("p{process} asks {ticket:?} while {before:?} is awaited")
        });
    }

    fn examine_write(&mut self, process: usize, now: Timestamp, expect: Expect, lease: &Lease) {
        let node = &mut self.processes[process];
        let held = node.election.held_epoch() == Some(lease.epoch);
        let shadow = &mut node.shadow;
        let reused = shadow.writes.back().is_some_and(|last| last.number >= lease.write);
        let write = Write {
            number: lease.write,
            epoch: lease.epoch,
            sent: now,
            incarnation: shadow.newest.0,
            challenges: !held && !lease.is_released(),
            read: shadow.last_read(),
            knows: expect.release.and_then(|release| shadow.term_of(release)),
            stored: false,
            known: false,
            refused: false,
        };
        shadow.remember(write);
        let unread = expect.release.is_some();
        let again = unread && shadow.bet;
        shadow.bet |= unread;
        let observer = node.observer;
        self.verdict.demand(Rule::I11, !observer, || format!("observer p{process} writes"));
        self.verdict.demand(Rule::L4, !again, || {
            format!("p{process} challenges hearsay once more before it reads")
        });
        self.verdict
            .demand(Rule::I14, !reused, || format!("p{process} writes {} once more", lease.write));
        if lease.is_released() {
            self.examine_release(process, lease);
        } else if !held {
            self.examine_challenge(process, now, lease);
        }
    }

    /// I8, I17.
    fn examine_release(&mut self, process: usize, release: &Lease) {
        let node = &mut self.processes[process];
        let early = 2 * node.timing.successor_wait();
        if let (Some(cooldown), Some(_)) = (&mut node.shadow.cooldown, &release.successor) {
            cooldown.early = Some(cooldown.ended + early);
        }
        let led = node.shadow.led >= release.epoch.as_u64();
        let stopped = node.shadow.drained.contains(&release.epoch);
        let leads = node.cell(&self.origin).is_some();
        self.verdict.demand(Rule::I8, !led || stopped, || {
            format!("p{process} releases {} before its work has stopped", release.epoch)
        });
        self.verdict.demand(Rule::I17, !leads, || {
            format!("p{process} sends the release of {} and leads", release.epoch)
        });
    }

    /// I2 over bucket and restart, I18.
    fn examine_challenge(&mut self, process: usize, now: Timestamp, lease: &Lease) {
        let goes_back = [Fault::Restore, Fault::ResetBucket, Fault::LoseNewest];
        let goes_back = goes_back.into_iter().any(|fault| self.plan.has(fault));
        let ttl = self.processes[process].timing.ttl();
        let shadow = &mut self.processes[process].shadow;
        shadow.longest_ttl_at_challenge = shadow.longest_ttl;
        let (seen, epoch) = (shadow.highest_epoch, lease.epoch.as_u64());
        let cooldown = shadow
            .cooldown
            .filter(|cooldown| now < cooldown.early.unwrap_or(cooldown.until).min(cooldown.until));
        let repeats = shadow.writes.iter().rev().nth(1).is_some_and(|w| w.epoch == lease.epoch);
        // A write of its own may have gone into a bucket of strangers, as the known limits allow.
        let heard = if self.ledger.restored { 0 } else { shadow.had_time_to_read };
        let nothing = shadow.came_to_nothing(lease.epoch).filter(|_| !goes_back);
        let released = |write: Write| {
            let released = |w: &Write| w.epoch == write.epoch && !w.challenges;
            shadow.writes.iter().any(released)
        };
        let stands = |write: &Write| shadow.newest_is(write);
        let cleaned = nothing.is_none_or(|write| !stands(&write) || released(write));
        self.verdict.demand(Rule::I2, epoch > seen.max(heard) || repeats, || {
            format!(
                "p{process} challenges with {epoch}, saw {seen} and had the time to read {heard}"
            )
        });
        let rested = nothing.is_none_or(|write| now >= write.sent + ttl);
        self.verdict.demand(Rule::I18, rested, || {
            format!("p{process} challenges at {now:?}, and {nothing:?} came to nothing")
        });
        self.verdict.demand(Rule::L3, cleaned, || {
            format!("p{process} challenges, and what is left of {nothing:?} was not released")
        });
        self.verdict.demand(Rule::I18, cooldown.is_none(), || {
            format!("p{process} challenges at {now:?} in {cooldown:?}")
        });
    }

    /// I16: nobody is said to lead once the TTL has passed since the first sight.
    fn examine_leader(&mut self, process: usize, now: Timestamp) {
        let shadow = &self.processes[process].shadow;
        let Some(leader) = shadow.leader.as_ref().filter(|_| shadow.term.is_none()) else { return };
        let moved = [
            Fault::Forge,
            Fault::DropBucket,
            Fault::ResetBucket,
            Fault::Restore,
            Fault::Usurp,
            Fault::LoseNewest,
            Fault::BeginAnew,
        ];
        if moved.into_iter().any(|fault| self.plan.has(fault)) {
            return;
        }
        let until = shadow.holds_until(leader);
        self.verdict.demand(Rule::I16, until.is_some_and(|until| now < until), || {
            format!("p{process} says {leader:?} leads at {now:?}, but not after {until:?}")
        });
    }
}
