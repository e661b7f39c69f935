//! The renewal thread: one loop that owns the store and the election, and never waits for a caller.
//!
//! It takes what happened — an order of a handle, something the store tells, or time — steps the
//! election, and carries the step out: changes to whoever listens, then the command to the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use parking_lot::{Condvar, Mutex};

use crate::clock::{Clock, Timestamp};
use crate::election::{Change, Command, Counters, Election, Input, Step};
use crate::error::{Refused, StoreError};
use crate::event::{DrainGuard, Event, Reason};
use crate::events::EventSink;
use crate::leadership::{Leadership, TermCell};
use crate::lease::{Epoch, Lease, SessionId};
use crate::store::{Outcome, ReleaseId, Request, Store, StoreEvent};
use crate::sys::Line;
use crate::vip;

/// The longest wait while a term is held: thread timers stop in suspend, boot time does not.
const LONGEST_WAIT_HOLDING: Duration = Duration::from_millis(500);
/// The longest wait otherwise, for the same reason.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long a caller waits for the loop, which answers at once unless it hangs.
const ANSWER: Duration = Duration::from_secs(5);
/// How soon the channel is looked at again when events wait for room in it.
const BACKED_UP_WAIT: Duration = Duration::from_millis(20);

/// What a handle wants of the loop.
#[derive(Debug)]
struct Order {
    input: Input,
    /// Told when the step is carried out.
    reply: Option<Sender<Option<Refused>>>,
}

/// Hands orders to the loop; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    sender: Sender<Order>,
    wake: Sender<()>,
    home: Arc<Line>,
}

impl Orders {
    /// Leaves an order; never blocks. False when the loop has ended.
    pub(crate) fn leave(&self, input: Input) -> bool {
        self.send(Order { input, reply: None })
    }

    /// Leaves an order and waits until it is carried out, which takes no more than the loop's next
    /// turn, or until it is plain that there is none.
    pub(crate) fn ask(&self, input: Input) -> Result<(), Refused> {
        self.ask_within(ANSWER, input)
    }

    /// As [`ask`](Self::ask), for callers with less time. Stuck, nothing is known, as the order
    /// stands.
    pub(crate) fn ask_within(&self, bound: Duration, input: Input) -> Result<(), Refused> {
        match self.place(input)?.recv_timeout(bound) {
            Ok(refused) => refused.map_or(Ok(()), Err),
            Err(RecvTimeoutError::Disconnected) => Err(Refused::Stopped),
            Err(RecvTimeoutError::Timeout) => Err(Refused::Stuck),
        }
    }

    pub(crate) fn ask_resign(&self, reason: Reason) -> Result<(), Refused> {
        self.ask(Input::Resign(reason))
    }

    fn place(&self, input: Input) -> Result<Receiver<Option<Refused>>, Refused> {
        if self.home.is_inherited() {
            return Err(Refused::Forked);
        }
        let (reply, answer) = bounded(1);
        let sent = self.send(Order { input, reply: Some(reply) });
        if sent { Ok(answer) } else { Err(Refused::Stopped) }
    }

    fn send(&self, order: Order) -> bool {
        // In a forked child there is no loop, and the channel's locks may be held for ever.
        if self.home.is_inherited() {
            return false;
        }
        let sent = self.sender.send(order).is_ok();
        // A full channel holds a wake-up already.
        let _ = self.wake.try_send(());
        sent
    }
}

/// What handles see of the election.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) leader: Option<(String, Epoch)>,
    pub(crate) leader_meta: Option<serde_json::Value>,
    pub(crate) highest_epoch: Option<Epoch>,
    pub(crate) held_until: Option<Timestamp>,
    pub(crate) revision: u64,
    pub(crate) connected: bool,
    pub(crate) resigning: bool,
    pub(crate) counters: Counters,
    /// The loop has ended; `Some(true)` when a lease was left behind.
    pub(crate) ended: Option<bool>,
}

/// The view, and a bell that rings when it changes.
#[derive(Debug, Default)]
pub(crate) struct Board {
    view: Mutex<View>,
    changed: Condvar,
    beat: Beat,
    home: Line,
}

/// When the loop last turned, and when it meant to turn again at the latest, in nanoseconds of its
/// clock. What hangs, a store or a logger, keeps it from both.
#[derive(Debug, Default)]
struct Beat {
    last: AtomicU64,
    due: AtomicU64,
}

impl Board {
    /// In a forked child nothing is known, and the lock left alone: who holds it may not be there.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        if self.is_inherited() {
            return look(&View { ended: Some(true), ..View::default() });
        }
        look(&self.view.lock())
    }

    /// Whether this process is a forked child of the one that started the node.
    pub(crate) fn is_inherited(&self) -> bool {
        self.home.is_inherited()
    }

    /// Waits until `look` finds what it wants, or the clock reads `until`.
    pub(crate) fn wait<T>(
        &self,
        clock: &Clock,
        until: Timestamp,
        mut look: impl FnMut(&View) -> Option<T>,
    ) -> Option<T> {
        let mut view = self.view.lock();
        loop {
            if let Some(found) = look(&view) {
                return Some(found);
            }
            let left = until.since(clock.now());
            if left.is_zero() {
                return None;
            }
            // In slices, for the sake of suspends and of clocks moved by hand.
            self.changed.wait_for(&mut view, left.min(LONGEST_WAIT_HOLDING));
        }
    }

    /// When the loop last turned, and when it meant to turn again at the latest.
    pub(crate) fn beat(&self) -> (Timestamp, Timestamp) {
        let read = |at: &AtomicU64| Timestamp::from_nanos(at.load(Ordering::Relaxed));
        (read(&self.beat.last), read(&self.beat.due))
    }

    fn post(&self, view: View) {
        *self.view.lock() = view;
        self.changed.notify_all();
    }
}

/// What the loop is made of.
pub(crate) struct Parts {
    pub(crate) cluster_id: String,
    pub(crate) node_id: String,
    pub(crate) session: SessionId,
    pub(crate) election: Election,
    pub(crate) store: Box<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) sinks: Vec<EventSink>,
    /// Holds the virtual IPs while a term lasts; its methods return at once.
    pub(crate) vip: Option<vip::Worker>,
    /// Told once whether the store can be used, or each time that it cannot.
    pub(crate) startup: Sender<Result<(), StoreError>>,
    /// How long closing the store may take.
    pub(crate) close_timeout: Duration,
}

/// The loop, ready to run on a thread.
pub(crate) struct Renewal {
    parts: Parts,
    board: Arc<Board>,
    orders: Receiver<Order>,
    wake: Receiver<()>,
    /// For the guards that are handed out.
    own_orders: Orders,
    wake_at: Timestamp,
    /// An order was the last input.
    stores_turn: bool,
    held_until: Option<Timestamp>,
    connected: bool,
    /// The term that is written of, and since when, by the wall clock, for people.
    acquired: Option<(Epoch, SystemTime)>,
}

/// Ends the term when the thread does, however it does.
struct EndsTerm {
    cell: Arc<TermCell>,
    board: Arc<Board>,
    left_behind: bool,
}

impl Drop for EndsTerm {
    fn drop(&mut self) {
        self.cell.end();
        self.board.view.lock().ended = Some(self.left_behind);
        self.board.changed.notify_all();
    }
}

impl Renewal {
    pub(crate) fn new(parts: Parts) -> (Self, Orders, Arc<Board>) {
        let (sender, ordered) = unbounded();
        let (wake, woken) = bounded(1);
        let own_orders = Orders { sender, wake, home: Arc::default() };
        let board = Arc::<Board>::default();
        let renewal = Self {
            parts,
            board: Arc::clone(&board),
            orders: ordered,
            wake: woken,
            own_orders: own_orders.clone(),
            wake_at: Timestamp::ZERO,
            stores_turn: false,
            held_until: None,
            connected: false,
            acquired: None,
        };
        (renewal, own_orders, board)
    }

    /// Runs until the election has stopped.
    pub(crate) fn run(mut self) {
        let cell = Arc::clone(self.parts.election.cell());
        let mut ends = EndsTerm { cell, board: Arc::clone(&self.board), left_behind: true };
        while !self.turn() {}
        ends.left_behind = self.parts.election.has_unreleased_lease();
        let until = self.parts.clock.now() + self.parts.close_timeout;
        self.parts.store.close(until);
    }

    /// One input and its step. True when that was the last.
    fn turn(&mut self) -> bool {
        let (input, reply) = self.next_input();
        let verdict = startup_verdict(&input);
        // Read after the input was there, and before anything is sent: writes count from it.
        let now = self.parts.clock.now();
        self.board.beat.last.store(now.as_nanos(), Ordering::Relaxed);
        let step = self.parts.election.step(now, input);
        let (finished, refused) = (step.finished, step.refused.clone());
        self.carry_out(step);
        if let Some(verdict) = verdict {
            // After the step, so that whoever is told finds on the board what was read. Nobody
            // listens once the node has started.
            let _ = self.parts.startup.try_send(verdict);
        }
        if let Some(reply) = reply {
            let _ = reply.send(refused);
        }
        finished
    }

    /// Orders come first, but no two without a look at the store: callers that never pause must not
    /// keep its answers waiting.
    fn next_input(&mut self) -> (Input, Option<Sender<Option<Refused>>>) {
        let until = self.until();
        if std::mem::take(&mut self.stores_turn) && !self.orders.is_empty() {
            if let Some(event) = self.parts.store.poll(&self.wake, Timestamp::ZERO) {
                return (Input::Store(event), None);
            }
        }
        if let Ok(order) = self.orders.try_recv() {
            self.stores_turn = true;
            return (order.input, order.reply);
        }
        let event = self.parts.store.poll(&self.wake, until);
        (event.map_or(Input::Tick, Input::Store), None)
    }

    fn until(&mut self) -> Timestamp {
        let mut longest = LONGEST_WAIT;
        if self.parts.election.held_epoch().is_some() {
            longest = LONGEST_WAIT_HOLDING;
        }
        for sink in &mut self.parts.sinks {
            sink.flush();
            if sink.is_backed_up() {
                longest = BACKED_UP_WAIT;
            }
        }
        let until = self.wake_at.min(self.parts.clock.now() + longest);
        self.board.beat.due.store(until.as_nanos(), Ordering::Relaxed);
        until
    }

    fn carry_out(&mut self, step: Step) {
        self.wake_at = step.wake_at;
        self.notice_renewal();
        self.note_connection(&step.changes);
        // Before anybody is told: who hears of a change and then asks is not to find the old state.
        self.post();
        for change in step.changes {
            self.tell(change);
        }
        if let Some(command) = step.command {
            self.command(command);
        }
    }

    fn note_connection(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Connected { .. } => self.connected = true,
                Change::Disconnected { .. } => self.connected = false,
                _ => {}
            }
        }
    }

    fn notice_renewal(&mut self) {
        let held_until = self.parts.election.held_until();
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

    fn post(&self) {
        let election = &self.parts.election;
        self.board.post(View {
            leader: election.reported_leader().cloned(),
            leader_meta: election.leader_meta().cloned(),
            highest_epoch: election.highest_epoch(),
            held_until: election.held_until(),
            revision: election.revision(),
            connected: self.connected,
            resigning: election.is_resigning(),
            counters: *election.counters(),
            ended: None,
        });
    }

    // Telling.

    fn tell(&mut self, change: Change) {
        self.log(&change);
        match change {
            Change::BecameLeader(epoch) => {
                let cell = Arc::clone(self.parts.election.cell());
                let clock = self.parts.clock.clone();
                let leadership = Leadership::new(cell, clock, epoch, self.parts.session);
                if let Some(worker) = &self.parts.vip {
                    let token = leadership.clone();
                    worker.acquire(epoch.as_u64(), move || token.deadline());
                }
                self.push(|| Event::BecameLeader(leadership.clone()));
            }
            Change::Resigning { epoch, reason } => {
                let orders = self.own_orders.clone();
                let drain = DrainGuard::new(move || {
                    orders.leave(Input::Drained(epoch));
                });
                // Who never asked for an event is not waited for.
                for sink in self.parts.sinks.iter_mut().filter(|sink| sink.is_attached()) {
                    let (reason, drain) = (reason.clone(), sink.hold(epoch, drain.clone()));
                    sink.push(Event::Resigning { epoch, reason, drain });
                }
                if let Some(worker) = &self.parts.vip {
                    worker.release(drain);
                }
            }
            Change::LostLeadership { epoch, cause } => {
                self.parts.vip.iter().for_each(vip::Worker::look);
                self.push(|| Event::LostLeadership { epoch, cause: cause.clone() });
            }
            Change::LeaderChanged(leader) => self.push(|| {
                let (leader, epoch) = leader.clone().unzip();
                Event::LeaderChanged { leader, epoch }
            }),
            other => self.tell_connection(other),
        }
    }

    fn tell_connection(&mut self, change: Change) {
        match change {
            Change::Connected { server } => {
                self.push(|| Event::Connected { server: server.clone() });
            }
            Change::Disconnected { error } => {
                self.push(|| Event::Disconnected { error: error.clone() });
            }
            Change::DuplicateNodeId(session) => self.push(|| Event::DuplicateNodeId { session }),
            Change::TtlMismatch(theirs) => {
                let ours = self.parts.election.ttl();
                self.push(|| Event::TtlMismatch { theirs, ours });
            }
            Change::CorruptRecord { revision, reason } => {
                self.push(|| Event::CorruptRecord { revision, reason: reason.clone() });
            }
            Change::Problem(error) => self.push(|| Event::Problem(error.clone())),
            Change::BecameLeader(_)
            | Change::Resigning { .. }
            | Change::LostLeadership { .. }
            | Change::LeaderChanged(_) => {}
        }
    }

    fn push(&mut self, event: impl Fn() -> Event) {
        for sink in &mut self.parts.sinks {
            sink.push(event());
        }
    }

    fn log(&self, change: &Change) {
        let (cluster, node) = (self.parts.cluster_id.as_str(), self.parts.node_id.as_str());
        let revision = self.parts.election.revision();
        match change {
            Change::BecameLeader(epoch) => {
                log::info!(cluster, node, epoch = epoch.as_u64(), revision; "became leader");
            }
            Change::Resigning { epoch, reason } => {
                log::info!(cluster, node, epoch = epoch.as_u64(), revision; "resigning: {reason}");
            }
            Change::LostLeadership { epoch, cause } => {
                log::info!(
                    cluster, node, epoch = epoch.as_u64(), revision; "lost leadership: {cause}"
                );
            }
            Change::LeaderChanged(Some((leader, epoch))) => {
                log::info!(cluster, node, epoch = epoch.as_u64(), revision; "{leader} leads");
            }
            Change::LeaderChanged(None) => {
                log::info!(cluster, node, revision; "no leader is known");
            }
            Change::Connected { server } => log::info!(cluster, node; "connected to {server}"),
            Change::Disconnected { error } => log::warn!(cluster, node; "disconnected: {error}"),
            Change::Problem(error) => log::warn!(cluster, node, revision; "{error}"),
            Change::DuplicateNodeId(session) => {
                log::error!(cluster, node; "session {session} uses this node's id too");
            }
            Change::TtlMismatch(theirs) => {
                log::warn!(cluster, node; "the leader's TTL is {theirs:?}, a cluster needs one");
            }
            Change::CorruptRecord { revision, reason } => {
                log::error!(cluster, node, revision; "{reason}");
            }
        }
    }
}

/// Whether the store can be used, if `input` tells.
fn startup_verdict(input: &Input) -> Option<Result<(), StoreError>> {
    let Input::Store(event) = input else { return None };
    match event {
        StoreEvent::Completed { outcome: Outcome::Read(_) | Outcome::NoBucket, .. } => Some(Ok(())),
        StoreEvent::Completed { outcome: Outcome::Failed(error), .. }
        | StoreEvent::Disconnected { error }
        | StoreEvent::Problem(error) => Some(Err(error.clone())),
        _ => None,
    }
}
