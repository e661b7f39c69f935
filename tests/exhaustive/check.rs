//! The promises, checked in every state.

use std::time::Duration;

use leasehold::clock::Timestamp;
use leasehold::election::{Change, Command, Step};
use leasehold::event::Cause;
use leasehold::lease::{Epoch, Lease};

use super::node::{Node, Sent};
use super::setting::TTL;
use super::store::{Record, Store};
use super::world::{World, Write};

impl World {
    /// I1: at most one leads, each by its own clock at this instant.
    pub(crate) fn check_instant(&mut self) {
        let leads = [0, 1].map(|at| self.nodes[at].leads(self.local(at)));
        let alone = leads.iter().flatten().count() < 2;
        self.demand("I1", alone, || format!("both lead, epochs {leads:?}"));
    }

    pub(crate) fn check_step(&mut self, at: usize, node: &mut Node, now: Timestamp, step: &Step) {
        for change in &step.changes {
            self.check_change(at, node, now, change);
        }
        self.check_cell(at, node);
        let (highest, seen) = (node.election.highest_epoch(), node.shadow.highest_epoch);
        let remembered = highest.map_or(0, Epoch::as_u64) >= seen;
        self.demand("I13", remembered, || format!("n{at} saw {seen} and remembers {highest:?}"));
        self.check_request(at, node, now, step.command.as_ref());
        if let Some(Command::Write { lease, .. }) = &step.command {
            self.check_write(at, node, now, lease);
        }
    }

    fn check_change(&mut self, at: usize, node: &mut Node, now: Timestamp, change: &Change) {
        let timing = node.settings.timing.clone();
        let shadow = &mut node.shadow;
        match change {
            Change::BecameLeader(epoch) => {
                let alone = shadow.term.is_none() && epoch.as_u64() > shadow.led;
                let sent = shadow.newest_sent(epoch.as_u64(), |write| write.known);
                (shadow.term, shadow.resigning, shadow.led) = (Some(*epoch), false, epoch.as_u64());
                self.demand("I10", alone, || format!("n{at} leads {epoch} out of turn"));
                let in_time = sent.is_some_and(|sent| now < sent + timing.validity());
                self.demand("I15", in_time, || {
                    format!("n{at} leads {epoch} by what it sent {sent:?}")
                });
            }
            Change::Resigning { epoch, .. } => {
                let known = shadow.term == Some(*epoch) && !shadow.resigning;
                shadow.resigning = true;
                self.demand("I10", known, || format!("n{at} resigns {epoch} out of turn"));
            }
            Change::LostLeadership { epoch, cause } => {
                let known = shadow.term.take() == Some(*epoch);
                let wait = match cause {
                    Cause::Resigned(_) => Some(node.settings.cooldown),
                    _ => shadow.resigning.then_some(timing.expiry_cooldown()),
                };
                let until = wait.map(|wait| now + wait);
                shadow.cooldown_until = shadow.cooldown_until.max(until);
                shadow.resigning = false;
                self.demand("I10", known, || format!("n{at} loses {epoch} out of turn"));
            }
            _ => {}
        }
    }

    /// I5, I6, I12: what is in force was told, and is covered by a write that was stored and is
    /// known to be.
    fn check_cell(&mut self, at: usize, node: &Node) {
        let shadow = &node.shadow;
        let validity = node.settings.timing.validity();
        let session = node.session().bits();
        let cell = node.cell();
        let term = shadow.term.map(Epoch::as_u64);
        let told = cell.is_none_or(|(epoch, _)| Some(epoch) == term && !shadow.resigning);
        self.demand("I6", told, || format!("n{at}: {cell:?} is in force, {term:?} was told"));
        let held = term.zip(node.election.held_until());
        let stored = std::rc::Rc::clone(&self.stored);
        for (epoch, deadline) in cell.into_iter().chain(held) {
            let covered = |counts: &dyn Fn(&Sent) -> bool| {
                shadow.newest_sent(epoch, counts).is_some_and(|sent| deadline <= sent + validity)
            };
            let what = || format!("n{at}: epoch {epoch} is in force until {deadline:?}");
            self.demand("I5", covered(&|w| stored.contains(&(session, w.number))), what);
            self.demand("I12", covered(&|write| write.known), what);
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
        let shadow = &mut node.shadow;
        if let Some((ticket, _, read)) =
            shadow.awaited.take_if(|(_, sent, _)| now >= *sent + timeout)
        {
            shadow.late_read = read.then_some(ticket);
        }
        let (ticket, read) = match command {
            Some(Command::Read(ticket)) => (*ticket, true),
            Some(Command::Write { ticket, .. } | Command::CreateBucket { ticket, .. }) => {
                shadow.late_read = None;
                (*ticket, false)
            }
            Some(Command::Reconnect) => return shadow.late_read = None,
            None => return,
        };
        let before = shadow.awaited.replace((ticket.0, now, read));
        self.demand("I14", before.is_none(), || format!("n{at} asks while {before:?} is awaited"));
    }

    fn check_write(&mut self, at: usize, node: &mut Node, now: Timestamp, lease: &Lease) {
        let held = node.election.held_epoch() == Some(lease.epoch);
        let leads = node.cell().is_some();
        let shadow = &mut node.shadow;
        let (number, epoch) = (lease.write, lease.epoch);
        let last = shadow.writes.last().copied();
        shadow.writes.push(Sent { session: lease.session, number, epoch, at: now, known: false });
        let used = self.stored.contains(&(node.settings.session.bits(), number));
        let new = last.is_none_or(|last| last.number < number) && !used;
        self.demand("I14", new, || format!("n{at} writes {number} once more"));
        if lease.is_released() {
            let stopped = shadow.led < epoch.as_u64() || shadow.drained.contains(&epoch);
            self.demand("I8", stopped, || format!("n{at} releases {epoch}, its work goes on"));
            self.demand("I17", !leads, || format!("n{at} releases {epoch} and leads"));
        } else if !held {
            let repeats = last.is_some_and(|last| last.epoch == epoch);
            let seen = shadow.highest_epoch;
            self.demand("I2", epoch.as_u64() > seen || repeats, || {
                format!("n{at} challenges with {epoch} and saw {seen}")
            });
            let until = shadow.cooldown_until;
            self.demand("I18", until.is_none_or(|until| now >= until), || {
                format!("n{at} challenges at {now:?}, in cooldown until {until:?}")
            });
        }
    }

    /// I2, I3, I4, I7, I8: what is stored, over what.
    pub(crate) fn check_commit(&mut self, at: usize, write: &Write, before: &Store) {
        let lease = &write.lease;
        let (epoch, (floor, owner)) = (lease.epoch.as_u64(), self.ledger);
        let own = owner.is_none() || owner == lease.session;
        let what = || format!("n{at} stores epoch {epoch}, the highest before is {floor}");
        let repeats = epoch == floor && own;
        self.demand("I4", epoch != floor || own, what);
        let rises = if write.challenges { epoch > floor || repeats } else { epoch >= floor };
        self.demand("I2", rises, what);
        let revision = before.last + 1;
        self.demand("I3", epoch <= revision.max(floor + 1), || {
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
            self.demand("I8", own, || format!("n{at} releases {epoch} over {replaced:?}"));
        } else if write.challenges {
            self.check_takeover(at, write, replaced);
        }
    }

    fn check_takeover(&mut self, at: usize, write: &Write, replaced: Option<&Record>) {
        let held = replaced.and_then(|record| record.lease.as_ref());
        let (rule, wait) = match held {
            Some(lease) if lease.clean && lease.session == write.lease.session => ("I8", TTL / 2),
            Some(lease) if lease.clean => ("I8", Duration::ZERO),
            Some(lease) if lease.session == write.lease.session => ("I7", Duration::ZERO),
            Some(_) => ("I7", TTL),
            None => ("I8", TTL),
        };
        self.began = self.stored.len() > 1;
        let waited = write.seen.is_some_and(|seen| write.sent >= seen + wait);
        self.demand(rule, waited, || {
            format!("n{at} replaces {replaced:?} at {:?}, seen {:?}", write.sent, write.seen)
        });
    }
}
