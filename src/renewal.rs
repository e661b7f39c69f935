//! The renewal loop: it owns the store and the election of a node, on a thread of its own.
//!
//! Each turn takes one input (a command of a handle, an event of the store, or the time), steps the
//! election, and carries out the step: it tells the application what changed, then submits the
//! request to the store. The loop never waits for the application.

mod commands;
mod shared;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender};

use crate::clock::{Clock, OnAdvance, Timestamp};
use crate::config::Config;
use crate::drain::DrainGuard;
use crate::election::{Change, Command, Election, Input, Step};
use crate::error::StoreError;
use crate::event::Event;
use crate::events::EventSink;
use crate::leadership::{Leadership, TermCell};
use crate::lease::{Epoch, Lease, SessionId};
use crate::store::{Outcome, ReleaseId, Request, Store, StoreEvent};
use crate::vip;

pub(crate) use commands::Commands;
use commands::{Queued, Reply, commands};
pub use shared::Stopped;
pub(crate) use shared::{SharedState, Snapshot};

/// How long closing the store may take after the election has stopped.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest wait while a term is held: timers of threads stand still in suspend, the boot-time
/// clock does not.
const LONGEST_WAIT_HOLDING: Duration = Duration::from_millis(500);
/// The longest wait otherwise, for the same reason.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What a node or an observer is started with.
pub(crate) struct Parts {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Box<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) observer: bool,
    /// The queues of the application and of its hooks.
    pub(crate) sinks: Vec<EventSink>,
    /// Holds the virtual IPs during a term. Its methods return at once.
    pub(crate) vip: Option<vip::Worker>,
}

/// The loop, ready to run on a thread.
pub(crate) struct Renewal {
    parts: Parts,
    session: SessionId,
    election: Election,
    /// Gets every success and failure to read the store, as long as there is room.
    startup: Sender<Result<(), StoreError>>,
    shared: Arc<SharedState>,
    queued: Receiver<Queued>,
    /// For the drain guards.
    commands: Commands,
    /// Wakes the store when a test moves the clock.
    _on_advance: OnAdvance,
    wake_at: Timestamp,
    /// The last input was a command: the store is next.
    store_is_next: bool,
    held_until: Option<Timestamp>,
    drain: TermDrain,
    /// The server, while there is a connection.
    server: Option<String>,
    /// The epoch of the newest record, and when its term began by the wall clock, for people.
    acquired: Option<(Epoch, SystemTime)>,
}

/// Ends the term when the thread ends, also by a panic.
struct EndsTerm {
    cell: Arc<TermCell>,
    shared: Arc<SharedState>,
    stopped: Stopped,
}

impl Drop for EndsTerm {
    fn drop(&mut self) {
        self.cell.end();
        self.shared.set_stopped(self.stopped);
    }
}

impl Renewal {
    pub(crate) fn new(
        parts: Parts,
        session: SessionId,
        election: Election,
        startup: Sender<Result<(), StoreError>>,
    ) -> (Self, Commands, Arc<SharedState>) {
        let waker = parts.store.waker();
        let (commands, queued) = commands(waker.clone());
        let on_advance = parts.clock.on_advance(move || waker.wake());
        let shared = Arc::<SharedState>::default();
        if let Some(worker) = &parts.vip {
            let commands = commands.clone();
            worker.forward(move |event| commands.tell(Event::VirtualIp(event)));
        }
        let drain = TermDrain::new(&commands);
        shared.set_drain(drain.guard.downgrade());
        let renewal = Self {
            parts,
            session,
            election,
            startup,
            shared: Arc::clone(&shared),
            queued,
            commands: commands.clone(),
            _on_advance: on_advance,
            wake_at: Timestamp::ZERO,
            store_is_next: false,
            held_until: None,
            drain,
            server: None,
            acquired: None,
        };
        (renewal, commands, shared)
    }

    /// Runs until the election has stopped.
    pub(crate) fn run(mut self) {
        let cell = Arc::clone(self.election.cell());
        let stopped = Stopped { left_to_expire: true };
        let mut ends = EndsTerm { cell, shared: Arc::clone(&self.shared), stopped };
        while !self.turn() {}
        ends.stopped.left_to_expire = self.election.has_unreleased_lease();
        let until = self.parts.clock.now() + CLOSE_TIMEOUT;
        self.parts.store.close(until);
        // Every queue of events is closed before the node counts as stopped.
        drop(self);
    }

    /// One input and its step. True after the last.
    fn turn(&mut self) -> bool {
        let (input, reply) = self.next_input();
        let readable = store_is_readable(&input);
        if let Input::Store(StoreEvent::Warnings(warnings)) = &input {
            self.shared.set_warnings(warnings.clone());
        }
        // After the input came and before anything is sent: the term of a write counts from here.
        let now = self.parts.clock.now();
        self.shared.heartbeat.set_last(now);
        let step = self.election.step(now, input);
        let (finished, refused) = (step.finished, step.refused.clone());
        self.carry_out(now, step);
        if let Some(readable) = readable {
            // After the step: a start returns when the state that was read is published. The
            // channel fills up once the node has started.
            let _ = self.startup.try_send(readable);
        }
        if let Some(reply) = reply {
            let _ = reply.send(refused.map_or(Ok(()), Err));
        }
        finished
    }

    /// Commands come first. Between two of them the store is polled, so that callers that never
    /// pause do not delay its events.
    fn next_input(&mut self) -> (Input, Option<Reply>) {
        let until = self.until();
        if std::mem::take(&mut self.store_is_next) && !self.queued.is_empty() {
            if let Some(event) = self.parts.store.poll(Timestamp::ZERO) {
                return (Input::Store(event), None);
            }
        }
        if let Ok(command) = self.queued.try_recv() {
            self.store_is_next = true;
            return match command {
                Queued::Input { input, reply } => (input, reply),
                Queued::Subscribe(sink) => {
                    self.add_queue(sink);
                    (Input::Tick, None)
                }
                Queued::Tell(event) => {
                    self.tell_all(&event);
                    (Input::Tick, None)
                }
            };
        }
        let event = self.parts.store.poll(until);
        (event.map_or(Input::Tick, Input::Store), None)
    }

    /// When the next turn is due at the latest.
    fn until(&mut self) -> Timestamp {
        let mut longest = LONGEST_WAIT;
        if self.election.held_epoch().is_some() {
            longest = LONGEST_WAIT_HOLDING;
        }
        self.parts.sinks.retain(EventSink::is_wanted);
        let until = self.wake_at.min(self.parts.clock.now() + longest);
        self.shared.heartbeat.set_due(until);
        until
    }

    fn carry_out(&mut self, now: Timestamp, step: Step) {
        self.wake_at = step.wake_at;
        self.notice_renewal();
        // Before the events: a caller that gets one and then reads must find the new state.
        self.shared.publish(now, &self.election);
        for change in step.changes {
            self.tell(change);
        }
        if let Some(command) = step.command {
            self.command(command);
        }
    }

    fn notice_renewal(&mut self) {
        let held_until = self.election.held_until();
        if std::mem::replace(&mut self.held_until, held_until) < held_until {
            self.parts.vip.iter().for_each(vip::Worker::look);
        }
    }

    fn command(&mut self, command: Command) {
        let (ticket, request) = match command {
            Command::Reconnect => return self.parts.store.reconnect(),
            Command::Read(ticket) => (ticket, Request::Read),
            Command::CreateBucket { ticket, first_seq } => {
                (ticket, Request::CreateBucket { first_seq })
            }
            Command::Write { ticket, expect, lease } => {
                let (id, value) = (ReleaseId::of(&lease), self.encode(&lease));
                (ticket, Request::Write { expect, id, value })
            }
        };
        self.parts.store.submit(ticket, request);
    }

    fn encode(&mut self, lease: &Lease) -> Vec<u8> {
        let wall = SystemTime::now();
        let acquired = match self.acquired {
            Some((epoch, at)) if epoch == lease.epoch => at,
            _ => self.acquired.insert((lease.epoch, wall)).1,
        };
        lease.encode(wall, acquired)
    }

    fn tell(&mut self, change: Change) {
        let event = self.event(change);
        if let Some(worker) = &self.parts.vip {
            follow_term(worker, &event);
        }
        self.tell_all(&event);
    }

    fn tell_all(&mut self, event: &Event) {
        self.log(event);
        for sink in &mut self.parts.sinks {
            sink.push(event.clone());
        }
    }

    /// Tells a new queue the present state, as events, and from now on every event.
    fn add_queue(&mut self, mut sink: EventSink) {
        let connected = self.server.clone().map(|server| Event::Connected { server });
        // The token of a term that was resigned is invalid. Its end is still to come.
        let held = self.election.held_epoch().map(|epoch| Event::BecameLeader(self.token(epoch)));
        let leader = self.election.reported_leader().cloned();
        let leader = leader.map(|leader| leader_changed(Some(leader)));
        let meta = self.election.reported_meta().cloned();
        let meta = meta.map(|meta| Event::MetaChanged { meta: Some(meta) });
        [connected, held, leader, meta].into_iter().flatten().for_each(|event| sink.push(event));
        self.parts.sinks.push(sink);
    }

    fn token(&self, epoch: Epoch) -> Leadership {
        let cell = Arc::clone(self.election.cell());
        let (clock, drain) = (self.parts.clock.clone(), self.drain.guard.downgrade());
        Leadership::new(cell, clock, epoch, self.session, drain)
    }

    /// Ends the use of the term's drain here: it drains when every guard was dropped.
    fn take_drain(&mut self) -> DrainGuard {
        let next = TermDrain::new(&self.commands);
        self.shared.set_drain(next.guard.downgrade());
        std::mem::replace(&mut self.drain, next).guard
    }

    fn event(&mut self, change: Change) -> Event {
        match change {
            Change::BecameLeader(epoch) => {
                self.drain.begin(epoch);
                Event::BecameLeader(self.token(epoch))
            }
            Change::Resigning { epoch, reason } => {
                Event::Resigning { epoch, reason, drain: self.take_drain() }
            }
            Change::LostLeadership { epoch, cause } => {
                if self.drain.is_of(epoch) {
                    drop(self.take_drain());
                }
                Event::LostLeadership { epoch, cause }
            }
            Change::LeaderChanged(leader) => leader_changed(leader),
            Change::MetaChanged(meta) => Event::MetaChanged { meta },
            Change::Connected { server } => {
                self.server = Some(server.clone());
                Event::Connected { server }
            }
            Change::Disconnected { error } => {
                self.server = None;
                Event::Disconnected { error }
            }
            Change::DuplicateNodeId(session) => Event::DuplicateNodeId { session },
            Change::TtlMismatch(theirs) => {
                Event::TtlMismatch { theirs, ours: self.parts.config.lease_ttl() }
            }
            Change::CorruptRecord { revision, reason } => Event::CorruptRecord { revision, reason },
            Change::Problem(error) => Event::Problem(error),
        }
    }

    fn log(&self, event: &Event) {
        let config = &self.parts.config;
        let (cluster, node, level) = (config.cluster_id(), config.node_id(), event.level());
        let revision = self.election.revision();
        match event.epoch().map(Epoch::as_u64) {
            Some(epoch) => log::log!(level, cluster, node, epoch, revision; "{node} {event}"),
            None => log::log!(level, cluster, node, revision; "{node} {event}"),
        }
    }
}

fn leader_changed(leader: Option<(String, Epoch)>) -> Event {
    let (leader, epoch) = leader.unzip();
    Event::LeaderChanged { leader, epoch }
}

/// What the work of a term holds. It exists before the term begins, so that a token can give guards
/// from the first instant.
struct TermDrain {
    guard: DrainGuard,
    /// Set when the term begins.
    epoch: Arc<OnceLock<Epoch>>,
}

impl TermDrain {
    /// The drain of the next term.
    fn new(commands: &Commands) -> Self {
        let epoch = Arc::<OnceLock<Epoch>>::default();
        let (of, commands) = (Arc::clone(&epoch), commands.clone());
        let guard = DrainGuard::new(move || {
            if let Some(epoch) = of.get() {
                commands.send(Input::Drained(*epoch));
            }
        });
        Self { guard, epoch }
    }

    fn begin(&self, epoch: Epoch) {
        let new = self.epoch.set(epoch).is_ok();
        debug_assert!(new, "each term has a drain of its own");
    }

    fn is_of(&self, epoch: Epoch) -> bool {
        self.epoch.get() == Some(&epoch)
    }
}

fn follow_term(worker: &vip::Worker, event: &Event) {
    match event {
        Event::BecameLeader(leadership) => {
            let token = leadership.clone();
            worker.acquire(leadership.epoch().as_u64(), move || token.deadline());
        }
        Event::Resigning { drain, .. } => worker.release(drain.clone()),
        Event::LostLeadership { .. } => worker.look(),
        _ => {}
    }
}

/// Whether `input` says that the store can be read, or why not; `None` if it says neither.
fn store_is_readable(input: &Input) -> Option<Result<(), StoreError>> {
    let Input::Store(event) = input else { return None };
    match event {
        StoreEvent::Completed { outcome: Outcome::Read(_) | Outcome::NoBucket, .. } => Some(Ok(())),
        StoreEvent::Completed { outcome: Outcome::Failed(error), .. }
        | StoreEvent::Disconnected { error }
        | StoreEvent::AttemptFailed { error }
        | StoreEvent::Problem(error) => Some(Err(error.clone())),
        // A later attempt may succeed. If none does, this is why.
        StoreEvent::Completed { outcome: Outcome::Unknown(error), .. } if error.may_pass() => {
            Some(Err(error.clone()))
        }
        _ => None,
    }
}
