//! The renewal loop of each process: it takes an input, reads the clock, steps the election and
//! carries the step out. The thread may stall between any two of these.

use std::time::{Duration, SystemTime};

use leasehold::clock::Timestamp;
use leasehold::election::{Change, Command, Input, Settings, Step};
use leasehold::lease::{Epoch, SessionId};
use leasehold::store::StoreEvent;

use super::clock::Instant;
use super::plan::nanos;
use super::process::{Packet, Process, Stalled};
use super::rules::Rule;
use super::world::{Effect, Event, Operation, World, Write};

impl World {
    pub(crate) fn start(&mut self, slot: usize) {
        if self.running[slot].is_some() {
            return;
        }
        let plan = &self.plan.slots[slot];
        let session = u128::from(self.rng.next()) << 64 | u128::from(self.rng.next());
        let settings = Settings {
            node_id: plan.name.clone(),
            session: SessionId::from_bits(session),
            timing: plan.timing.clone(),
            cooldown: self.plan.cooldown,
            drain_timeout: self.plan.drain_timeout,
            strict_bootstrap: self.plan.strict,
            observer: plan.observer,
            meta: None,
        };
        let process = self.processes.len();
        self.processes.push(Process::new(slot, settings, plan.clock));
        self.running[slot] = Some(process);
        self.liveness.start_over(self.now);
        self.note(|| format!("p{process} starts in slot {slot}, session {session:032x}"));
        self.after(0, Event::Connect(process));
        let first_check = self.rng.wait(self.plan.token_checks);
        self.after(first_check, Event::CheckToken(process));
    }

    /// An input has arrived.
    pub(crate) fn receive(&mut self, process: usize, packet: Packet) {
        let node = &mut self.processes[process];
        if !node.alive {
            return;
        }
        if node.busy_until.is_some() {
            node.inbox.push_back(packet);
        } else {
            self.take(process, packet);
        }
    }

    fn take(&mut self, process: usize, packet: Packet) {
        let now = self.processes[process].clock.read(self.now);
        let stalls = !self.quiet && self.rng.chance(self.plan.stalls);
        if stalls && self.rng.one_in(2) {
            self.processes[process].stalled = Stalled::BeforeStep(now, packet);
            return self.stall(process);
        }
        let step = self.step(process, now, packet);
        if stalls {
            self.processes[process].stalled = Stalled::AfterStep(Box::new(step));
            return self.stall(process);
        }
        self.carry_out(process, step);
    }

    fn stall(&mut self, process: usize) {
        let length = self.span();
        self.note(|| format!("p{process} stalls for {:?}", Duration::from_nanos(length)));
        self.stall_for(process, length);
    }

    /// The loop does nothing for a while. Its clock runs on.
    pub(crate) fn stall_for(&mut self, process: usize, length: u64) {
        let until = self.now.saturating_add(length);
        let node = &mut self.processes[process];
        let until = node.busy_until.map_or(until, |present| present.max(until));
        node.busy_until = Some(until);
        self.at(until, Event::Resume(process));
    }

    fn step(&mut self, process: usize, now: Timestamp, packet: Packet) -> Step {
        let Packet { input, fact } = packet;
        let node = &mut self.processes[process];
        node.model.receive(now, &input, &fact, node.session);
        if !matches!(input, Input::Tick) {
            self.trace.note(self.now, || format!("p{process} {now:?} receives {}", brief(&input)));
        }
        let node = &mut self.processes[process];
        let promotes = matches!(input, Input::Promote);
        let step = node.election.step(now, input);
        (node.wake_at, node.steps) = (step.wake_at, node.steps + 1);
        let obeyed = promotes && step.refused.is_none();
        if obeyed {
            node.model.cooldown = None;
        }
        self.check_step(process, now, &step);
        if obeyed {
            // It also ends the cooldown of a term that expired in this very step.
            self.processes[process].model.cooldown = None;
        }
        step
    }

    fn carry_out(&mut self, process: usize, step: Step) {
        for change in &step.changes {
            self.react(process, change);
        }
        if let Some(command) = step.command {
            self.submit(process, command);
        }
        if step.finished {
            self.note(|| format!("p{process} has stopped"));
            self.end_process(process);
            return;
        }
        self.sleep_until(process, step.wake_at);
        self.plan_early_tick(process);
    }

    /// What the application does when it learns of the change.
    fn react(&mut self, process: usize, change: &Change) {
        match change {
            Change::BecameLeader(epoch) => {
                let epoch = *epoch;
                self.act_now(process, epoch);
            }
            Change::Resigning { epoch, .. } => self.start_drain(process, *epoch),
            _ => {}
        }
    }

    fn start_drain(&mut self, process: usize, epoch: Epoch) {
        if !self.quiet && self.rng.chance(self.plan.stuck_drains) {
            return self.note(|| format!("p{process} never drains {epoch}"));
        }
        let bound = nanos(self.plan.drain_timeout).max(2);
        let length = if self.quiet { self.rng.below(bound / 2) } else { self.rng.below(bound) };
        let quick = self.rng.one_in(2);
        let length = if quick { length / 1_000 } else { length * 3 / 2 };
        self.after(length, Event::Drained(process, epoch));
    }

    pub(crate) fn drained(&mut self, process: usize, epoch: Epoch) {
        self.processes[process].model.drained.push(epoch);
        self.receive(process, Packet::new(Input::Drained(epoch)));
    }

    /// The application acts under its token. The effect arrives at the gate, and once more later.
    fn act_now(&mut self, process: usize, epoch: Epoch) {
        let node = &mut self.processes[process];
        if node.check_token(self.now) != Some(epoch.as_u64()) {
            return;
        }
        let effect = Effect { process, epoch: epoch.as_u64(), session: node.session };
        self.act_on(&effect);
        let delay = self.span();
        self.after(delay, Event::Act(effect));
    }

    fn sleep_until(&mut self, process: usize, wake_at: Timestamp) {
        let jitter = self.rng.below(self.plan.jitter);
        let node = &mut self.processes[process];
        let now = node.clock.read(self.now);
        let longest = now + node.longest_sleep();
        let at = wake_at.min(longest);
        if at == Timestamp::MAX {
            node.wakes = Instant::MAX;
            return;
        }
        let when = node.clock.when(at).max(self.now) + jitter;
        // A wake-up that is already planned for about that time will do.
        if node.wakes > when || node.wakes + self.plan.jitter < when {
            node.wakes = when;
            self.at(when, Event::Wake(process, when));
        }
    }

    /// Now and then plans a tick for some instant before the wake-up that the election asked for.
    /// It draws nothing from the generator, because it must have no effect.
    fn plan_early_tick(&mut self, process: usize) {
        let node = &self.processes[process];
        let (now, at) = (node.clock.read(self.now), node.wake_at);
        if node.steps % 4 == 0 && at != Timestamp::MAX {
            let early = nanos(at.since(now)) / 64 * (node.steps / 4 % 64);
            self.after(early, Event::EarlyTick(process));
        }
    }

    /// L1: a tick before the wake-up that the election asked for has no effect.
    pub(crate) fn early_tick(&mut self, process: usize) {
        let node = &self.processes[process];
        let (now, planned) = (node.clock.read(self.now), node.wake_at);
        if !node.alive || node.busy_until.is_some() || now >= planned {
            return;
        }
        let step = self.step(process, now, Packet::new(Input::Tick));
        let idle = step.changes.is_empty() && step.command.is_none() && !step.finished;
        self.verdict.demand(Rule::L1, idle && step.wake_at >= planned, || {
            format!("p{process} would have slept until {planned:?}, but {now:?} brings {step:?}")
        });
        if !idle {
            self.carry_out(process, step);
        }
    }

    pub(crate) fn wake(&mut self, process: usize, planned: Instant) {
        let node = &mut self.processes[process];
        if !node.alive || node.wakes != planned {
            return;
        }
        node.wakes = Instant::MAX;
        // A stalled thread looks at its timers when it goes on.
        if node.busy_until.is_none() {
            self.take(process, Packet::new(Input::Tick));
        }
    }

    pub(crate) fn resume(&mut self, process: usize) {
        let node = &mut self.processes[process];
        if !node.alive || node.busy_until.is_none_or(|until| until > self.now) {
            return;
        }
        node.busy_until = None;
        match std::mem::replace(&mut node.stalled, Stalled::No) {
            Stalled::No => {}
            Stalled::BeforeStep(now, packet) => {
                let step = self.step(process, now, packet);
                self.carry_out(process, step);
            }
            Stalled::AfterStep(step) => self.carry_out(process, *step),
        }
        self.catch_up(process);
    }

    /// Takes the inputs that arrived while the loop was stalled, in order, and then the timer.
    fn catch_up(&mut self, process: usize) {
        while self.processes[process].busy_until.is_none() && self.processes[process].alive {
            match self.processes[process].inbox.pop_front() {
                Some(packet) => self.take(process, packet),
                None => break,
            }
        }
        let node = &mut self.processes[process];
        if node.busy_until.is_some() || !node.alive {
            return;
        }
        // Timers stop in a suspend, and are late by a leader's longest sleep at the most.
        let late = std::mem::take(&mut node.suspended).min(500_000_000);
        node.wakes = self.now + late;
        let when = node.wakes;
        self.at(when, Event::Wake(process, when));
    }

    pub(crate) fn end_process(&mut self, process: usize) {
        let node = &mut self.processes[process];
        node.alive = false;
        node.connected = false;
        let slot = node.slot;
        self.running[slot] = None;
        self.liveness.start_over(self.now);
        let again = if self.quiet { 0 } else { self.span() };
        self.after(again, Event::Start(slot));
    }

    fn submit(&mut self, process: usize, command: Command) {
        self.note(|| format!("p{process} requests {}", brief_command(&command)));
        let node = &self.processes[process];
        match command {
            Command::Read(ticket) => self.request(process, ticket, Operation::Read),
            Command::CreateBucket { ticket, first_seq } => {
                self.request(process, ticket, Operation::Create { first: first_seq });
            }
            Command::Write { ticket, expect, lease } => {
                let wall =
                    SystemTime::UNIX_EPOCH + Duration::from_nanos(node.clock.origin + self.now);
                let bytes = lease.encode(wall, wall);
                let release = lease.clean.then(|| bytes.clone());
                let write = node.model.writes.iter().rev().find(|w| w.number == lease.write);
                let sent = write.map_or(Timestamp::ZERO, |write| write.sent);
                let write = Write { expect, lease, bytes, sent };
                self.request(process, ticket, Operation::Write(Box::new(write)));
                if let Some(release) = release {
                    self.record_release(&release);
                }
            }
            Command::Reconnect => self.reconnect(process),
        }
    }
}

fn brief(input: &Input) -> String {
    match input {
        Input::Store(StoreEvent::Notice(entry)) => format!("notice of {}", entry.revision),
        Input::Store(event) => {
            let text = format!("{event:?}");
            text.split("content: Value").next().unwrap_or_default().to_owned()
        }
        other => format!("{other:?}"),
    }
}

fn brief_command(command: &Command) -> String {
    match command {
        Command::Write { ticket, expect, lease } => {
            let what = if lease.is_released() { "released" } else { "held" };
            format!(
                "write {} on {expect:?}: {what} epoch {} clean {} for {:?}",
                ticket.0, lease.epoch, lease.clean, lease.successor
            )
        }
        other => format!("{other:?}"),
    }
}
