//! The renewal loop, turn by turn: an input, the clock, a step, and what the step asks for. Between
//! any two of them the thread may stand still.

use std::time::{Duration, SystemTime};

use leasehold::clock::Timestamp;
use leasehold::election::{Change, Command, Input, Settings, Step};
use leasehold::lease::{Epoch, SessionId};
use leasehold::store::StoreEvent;

use super::clock::Instant;
use super::plan::nanos;
use super::process::{Held, Packet, Process};
use super::rules::Rule;
use super::world::{Ask, Effect, Event, World, Write};

impl World {
    pub(crate) fn start(&mut self, slot: usize) {
        if self.running[slot].is_some() {
            return;
        }
        let plan = &self.plan.slots[slot];
        let session = u128::from(self.dice.next()) << 64 | u128::from(self.dice.next());
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
        let first_look = self.dice.wait(self.plan.looks);
        self.after(first_look, Event::Look(process));
    }

    /// An input is there.
    pub(crate) fn hear(&mut self, process: usize, packet: Packet) {
        let node = &mut self.processes[process];
        if !node.alive {
            return;
        }
        if node.busy_until.is_some() {
            node.inbox.push_back(packet);
        } else {
            self.turn(process, packet);
        }
    }

    fn turn(&mut self, process: usize, packet: Packet) {
        let now = self.processes[process].clock.read(self.now);
        let stalls = !self.quiet && self.dice.chance(self.plan.stalls);
        if stalls && self.dice.one_in(2) {
            self.processes[process].held = Held::BeforeStep(now, packet);
            return self.stall(process);
        }
        let step = self.step(process, now, packet);
        if stalls {
            self.processes[process].held = Held::AfterStep(Box::new(step));
            return self.stall(process);
        }
        self.carry_out(process, step);
    }

    fn stall(&mut self, process: usize) {
        let length = self.span();
        self.note(|| format!("p{process} stalls for {:?}", Duration::from_nanos(length)));
        self.stand_still(process, length);
    }

    /// The loop does nothing for a while. Its clock goes on.
    pub(crate) fn stand_still(&mut self, process: usize, length: u64) {
        let until = self.now.saturating_add(length);
        let node = &mut self.processes[process];
        let until = node.busy_until.map_or(until, |present| present.max(until));
        node.busy_until = Some(until);
        self.at(until, Event::Resume(process));
    }

    fn step(&mut self, process: usize, now: Timestamp, packet: Packet) -> Step {
        let Packet { input, news } = packet;
        let node = &mut self.processes[process];
        node.shadow.hear(now, &input, &news, node.session);
        if !matches!(input, Input::Tick) {
            self.trace.note(self.now, || format!("p{process} {now:?} hears {}", brief(&input)));
        }
        let node = &mut self.processes[process];
        let promotes = matches!(input, Input::Promote);
        let step = node.election.step(now, input);
        (node.wake_at, node.steps) = (step.wake_at, node.steps + 1);
        let obeyed = promotes && step.refused.is_none();
        if obeyed {
            node.shadow.cooldown = None;
        }
        self.examine(process, now, &step);
        if obeyed {
            // It also ends the cooldown of a term that was found to have expired just before.
            self.processes[process].shadow.cooldown = None;
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
        self.plan_nudge(process);
    }

    /// What the application does about it.
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
        if !self.quiet && self.dice.chance(self.plan.stuck_drains) {
            return self.note(|| format!("p{process} never drains {epoch}"));
        }
        let bound = nanos(self.plan.drain_timeout).max(2);
        let length = if self.quiet { self.dice.below(bound / 2) } else { self.dice.below(bound) };
        let quick = self.dice.one_in(2);
        let length = if quick { length / 1_000 } else { length * 3 / 2 };
        self.after(length, Event::Drained(process, epoch));
    }

    pub(crate) fn drained(&mut self, process: usize, epoch: Epoch) {
        self.processes[process].shadow.drained.push(epoch);
        self.hear(process, Packet::new(Input::Drained(epoch)));
    }

    /// Something is done under the token, and takes its way to what it changes.
    fn act_now(&mut self, process: usize, epoch: Epoch) {
        let node = &mut self.processes[process];
        if node.look(self.now) != Some(epoch.as_u64()) {
            return;
        }
        let effect = Effect { process, epoch: epoch.as_u64(), session: node.session };
        self.act_on(&effect);
        let delay = self.span();
        self.after(delay, Event::Act(effect));
    }

    fn sleep_until(&mut self, process: usize, wake_at: Timestamp) {
        let jitter = self.dice.below(self.plan.jitter);
        let node = &mut self.processes[process];
        let now = node.clock.read(self.now);
        let longest = now + node.longest_sleep();
        let at = wake_at.min(longest);
        if at == Timestamp::MAX {
            node.wakes = Instant::MAX;
            return;
        }
        let when = node.clock.when(at).max(self.now) + jitter;
        // What is planned already and comes in time is as good.
        if node.wakes > when || node.wakes + self.plan.jitter < when {
            node.wakes = when;
            self.at(when, Event::Wake(process, when));
        }
    }

    /// Now and then, at some instant before a wake-up that was asked for. Not a matter of the dice:
    /// nothing comes of it.
    fn plan_nudge(&mut self, process: usize) {
        let node = &self.processes[process];
        let (now, at) = (node.clock.read(self.now), node.wake_at);
        if node.steps % 4 == 0 && at != Timestamp::MAX {
            let early = nanos(at.since(now)) / 64 * (node.steps / 4 % 64);
            self.after(early, Event::Nudge(process));
        }
    }

    /// L1: whoever waits for the moment that the election named misses nothing.
    pub(crate) fn nudge(&mut self, process: usize) {
        let node = &self.processes[process];
        let (now, planned) = (node.clock.read(self.now), node.wake_at);
        if !node.alive || node.busy_until.is_some() || now >= planned {
            return;
        }
        let step = self.step(process, now, Packet::new(Input::Tick));
        let idle = step.changes.is_empty() && step.command.is_none() && !step.finished;
        self.verdict.demand(Rule::L1, idle && step.wake_at >= planned, || {
            format!("p{process} would have slept until {planned:?}, and at {now:?} has {step:?}")
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
        // A thread that stands still looks at its timers when it goes on.
        if node.busy_until.is_none() {
            self.turn(process, Packet::new(Input::Tick));
        }
    }

    pub(crate) fn resume(&mut self, process: usize) {
        let node = &mut self.processes[process];
        if !node.alive || node.busy_until.is_none_or(|until| until > self.now) {
            return;
        }
        node.busy_until = None;
        match std::mem::replace(&mut node.held, Held::Nowhere) {
            Held::Nowhere => {}
            Held::BeforeStep(now, packet) => {
                let step = self.step(process, now, packet);
                self.carry_out(process, step);
            }
            Held::AfterStep(step) => self.carry_out(process, *step),
        }
        self.catch_up(process);
    }

    /// What came while the loop stood still, in order; then the timer.
    fn catch_up(&mut self, process: usize) {
        while self.processes[process].busy_until.is_none() && self.processes[process].alive {
            match self.processes[process].inbox.pop_front() {
                Some(packet) => self.turn(process, packet),
                None => break,
            }
        }
        let node = &mut self.processes[process];
        if node.busy_until.is_some() || !node.alive {
            return;
        }
        // Timers do not run in a suspend, but never for longer than a leader's longest sleep.
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
        self.note(|| format!("p{process} asks {}", brief_command(&command)));
        let node = &self.processes[process];
        match command {
            Command::Read(ticket) => self.request(process, ticket, Ask::Read),
            Command::CreateBucket { ticket, first_seq } => {
                self.request(process, ticket, Ask::Create { first: first_seq });
            }
            Command::Write { ticket, expect, lease } => {
                let wall =
                    SystemTime::UNIX_EPOCH + Duration::from_nanos(node.clock.origin + self.now);
                let bytes = lease.encode(wall, wall);
                let release = lease.clean.then(|| bytes.clone());
                let write = node.shadow.writes.iter().rev().find(|w| w.number == lease.write);
                let sent = write.map_or(Timestamp::ZERO, |write| write.sent);
                let write = Write { expect, lease, bytes, sent };
                self.request(process, ticket, Ask::Write(Box::new(write)));
                if let Some(release) = release {
                    self.overhear(&release);
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
