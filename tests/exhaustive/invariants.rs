//! The rules, checked in every state.

use std::time::Duration;

use leasehold::clock::Timestamp;
use leasehold::election::{Change, Command, Step};
use leasehold::event::Cause;
use leasehold::lease::{Epoch, Lease};

use super::node::{Node, Sent};
use super::rules::Rule;
use super::settings::TTL;
use super::store::{Record, Store};
use super::world::{World, Write};

impl World {
    /// I1: at most one node leads at this instant, each by its own clock.
    pub(crate) fn check_instant(&mut self) {
        let leads = [0, 1].map(|at| self.nodes[at].leads(self.local(at)));
        let alone = leads.iter().flatten().count() < 2;
        self.demand(Rule::I1, alone, || format!("both lead, epochs {leads:?}"));
    }

    pub(crate) fn check_step(&mut self, at: usize, node: &mut Node, now: Timestamp, step: &Step) {
        for change in &step.changes {
            self.check_change(at, node, now, change);
        }
        self.check_cell(at, node);
        let (highest, seen) = (node.election.highest_epoch(), node.model.highest_epoch);
        let remembered = highest.map_or(0, Epoch::as_u64) >= seen;
        self.demand(Rule::I13, remembered, || {
            format!("n{at} has seen {seen} and remembers {highest:?}")
        });
        self.check_request(at, node, now, step.command.as_ref());
        if let Some(Command::Write { lease, .. }) = &step.command {
            self.check_write(at, node, now, lease);
        }
    }

    fn check_change(&mut self, at: usize, node: &mut Node, now: Timestamp, change: &Change) {
        let timing = node.settings.timing.clone();
        let model = &mut node.model;
        match change {
            Change::BecameLeader(epoch) => {
                let alone = model.term.is_none() && epoch.as_u64() > model.led;
                let sent = model.newest_sent(epoch.as_u64(), |write| write.known);
                (model.term, model.resigning, model.led) = (Some(*epoch), false, epoch.as_u64());
                self.demand(Rule::I10, alone, || format!("n{at} reports {epoch} out of order"));
                let in_time = sent.is_some_and(|sent| now < sent + timing.validity());
                self.demand(Rule::I15, in_time, || {
                    format!("n{at} leads {epoch} at {now:?} by a challenge sent {sent:?}")
                });
            }
            Change::Resigning { epoch, .. } => {
                let known = model.term == Some(*epoch) && !model.resigning;
                model.resigning = true;
                self.demand(Rule::I10, known, || {
                    format!("n{at} reports the resignation of {epoch}, which it does not lead")
                });
            }
            Change::LostLeadership { epoch, cause } => {
                let known = model.term.take() == Some(*epoch);
                let wait = match cause {
                    Cause::Resigned(_) => Some(node.settings.cooldown),
                    _ => model.resigning.then_some(timing.expiry_cooldown()),
                };
                let until = wait.map(|wait| now + wait);
                model.cooldown_until = model.cooldown_until.max(until);
                model.resigning = false;
                self.demand(Rule::I10, known, || {
                    format!("n{at} reports the loss of {epoch}, which it does not hold")
                });
            }
            _ => {}
        }
    }

    /// I6: only a term that was reported, and not its loss, is in force. I5, I12: its deadline is
    /// covered by a write that was stored, and that the node knows to be stored.
    fn check_cell(&mut self, at: usize, node: &Node) {
        let model = &node.model;
        let validity = node.settings.timing.validity();
        let session = node.session().bits();
        let cell = node.cell();
        let term = model.term.map(Epoch::as_u64);
        let reported = cell.is_none_or(|(epoch, _)| Some(epoch) == term && !model.resigning);
        self.demand(Rule::I6, reported, || {
            format!("n{at}: {cell:?} is in force, {term:?} was reported")
        });
        let held = term.zip(node.election.held_until());
        let stored = std::rc::Rc::clone(&self.stored);
        for (epoch, deadline) in cell.into_iter().chain(held) {
            let covered = |counts: &dyn Fn(&Sent) -> bool| {
                model.newest_sent(epoch, counts).is_some_and(|sent| deadline <= sent + validity)
            };
            let what = || format!("n{at}: epoch {epoch} is in force until {deadline:?}");
            self.demand(Rule::I5, covered(&|w| stored.contains(&(session, w.number))), what);
            self.demand(Rule::I12, covered(&|write| write.known), what);
        }
    }

    /// I14: one request is awaited at a time.
    fn check_request(
        &mut self,
        at: usize,
        node: &mut Node,
        now: Timestamp,
        command: Option<&Command>,
    ) {
        let timeout = node.settings.timing.request_timeout();
        let model = &mut node.model;
        if let Some((ticket, _, read)) =
            model.awaited.take_if(|(_, sent, _)| now >= *sent + timeout)
        {
            model.late_read = read.then_some(ticket);
        }
        let (ticket, read) = match command {
            Some(Command::Read(ticket)) => (*ticket, true),
            Some(Command::Write { ticket, .. } | Command::CreateBucket { ticket, .. }) => {
                model.late_read = None;
                (*ticket, false)
            }
            Some(Command::Reconnect) => return model.late_read = None,
            None => return,
        };
        let before = model.awaited.replace((ticket.0, now, read));
        self.demand(Rule::I14, before.is_none(), || {
            format!("n{at} sends a request while {before:?} is awaited")
        });
    }

    fn check_write(&mut self, at: usize, node: &mut Node, now: Timestamp, lease: &Lease) {
        let held = node.election.held_epoch() == Some(lease.epoch);
        let leads = node.cell().is_some();
        let model = &mut node.model;
        let (number, epoch) = (lease.write, lease.epoch);
        let last = model.writes.last().copied();
        model.writes.push(Sent { session: lease.session, number, epoch, at: now, known: false });
        let used = self.stored.contains(&(node.settings.session.bits(), number));
        let new = last.is_none_or(|last| last.number < number) && !used;
        self.demand(Rule::I14, new, || format!("n{at} uses the number {number} twice"));
        if lease.is_released() {
            let stopped = model.led < epoch.as_u64() || model.drained.contains(&epoch);
            self.demand(Rule::I8, stopped, || {
                format!("n{at} releases {epoch} before its work has stopped")
            });
            self.demand(Rule::I17, !leads, || {
                format!("n{at} sends the release of {epoch} and leads")
            });
        } else if !held {
            let repeats = last.is_some_and(|last| last.epoch == epoch);
            let seen = model.highest_epoch;
            self.demand(Rule::I2, epoch.as_u64() > seen || repeats, || {
                format!("n{at} challenges with {epoch} and has seen {seen}")
            });
            let until = model.cooldown_until;
            self.demand(Rule::I18, until.is_none_or(|until| now >= until), || {
                format!("n{at} challenges at {now:?}, in cooldown until {until:?}")
            });
        }
    }

    /// I2, I3, I4, I7, I8, when a write is stored.
    pub(crate) fn check_commit(&mut self, at: usize, write: &Write, before: &Store) {
        let lease = &write.lease;
        let (epoch, (floor, owner)) = (lease.epoch.as_u64(), self.ledger);
        let own = owner.is_none() || owner == lease.session;
        let what = || format!("n{at} stores epoch {epoch}, the highest before is {floor}");
        let repeats = epoch == floor && own;
        self.demand(Rule::I4, epoch != floor || own, what);
        let rises = if write.challenges { epoch > floor || repeats } else { epoch >= floor };
        self.demand(Rule::I2, rises, what);
        let revision = before.last + 1;
        self.demand(Rule::I3, epoch <= revision.max(floor + 1), || {
            format!("n{at} stores epoch {epoch} as revision {revision}")
        });
        self.ledger = (epoch.max(floor), lease.session);
        let mut stored = (*self.stored).clone();
        stored.extend(lease.session.map(|session| (session.bits(), lease.write)));
        self.stored = stored.into();
        let replaced = before.record.as_ref();
        if lease.is_released() {
            let holder = replaced.and_then(|record| record.lease.as_ref());
            let own = holder.map_or(replaced.is_none(), |held| {
                (held.session, held.epoch) == (lease.session, lease.epoch)
            });
            self.demand(Rule::I8, own, || format!("n{at} releases {epoch} over {replaced:?}"));
        } else if write.challenges {
            self.check_takeover(at, write, replaced);
        }
    }

    fn check_takeover(&mut self, at: usize, write: &Write, replaced: Option<&Record>) {
        let held = replaced.and_then(|record| record.lease.as_ref());
        let (rule, wait) = match held {
            Some(lease) if lease.clean && lease.session == write.lease.session => {
                (Rule::I8, TTL / 2)
            }
            Some(lease) if lease.clean => (Rule::I8, Duration::ZERO),
            Some(lease) if lease.session == write.lease.session => (Rule::I7, Duration::ZERO),
            Some(_) => (Rule::I7, TTL),
            None => (Rule::I8, TTL),
        };
        self.began = self.stored.len() > 1;
        let waited = write.seen.is_some_and(|seen| write.sent >= seen + wait);
        self.demand(rule, waited, || {
            format!("n{at} replaces {replaced:?} at {:?}, seen {:?}", write.sent, write.seen)
        });
    }
}
