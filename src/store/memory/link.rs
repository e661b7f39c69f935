//! One node's connection, and its faults.

use std::collections::BTreeSet;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{MemoryServer, Shared};
use crate::clock::{Clock, Timestamp};
use crate::error::StoreError;
use crate::store::{Entry, Outcome, Request, StoreEvent, Ticket};

/// The handle that makes a node's connection fail. Cloning is cheap; it may be used while the store
/// is polled from another thread.
///
/// ```
/// use leasehold::Event;
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
///
/// # let store = MemoryServer::new().connect(Clock::boot());
/// let link = store.link();
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// let node = Node::builder(config).store(store).start()?;
/// link.cut();
/// assert!(node.events().iter().any(|event| matches!(event, Event::Disconnected { .. })));
/// link.heal();
/// assert!(node.events().iter().any(|event| matches!(event, Event::Connected { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryLink {
    pub(super) server: MemoryServer,
    pub(super) index: usize,
}

impl MemoryLink {
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Shared, usize) -> T) -> T {
        act(&mut self.server.lock(), self.index)
    }

    fn node(&self, act: impl FnOnce(&mut Node)) {
        self.with(|shared, index| act(&mut shared.nodes[index]));
    }

    /// Ends the connection, which the node learns, and refuses new ones until [`heal`](Self::heal).
    pub fn cut(&self) {
        self.node(Node::cut);
    }

    /// Lets the node connect again; it does so at once.
    pub fn heal(&self) {
        self.node(Node::heal);
    }

    /// Nothing moves in either direction, unnoticed, until [`thaw`](Self::thaw).
    pub fn freeze(&self) {
        self.node(|node| node.frozen = true);
    }

    /// Ends a freeze: requests that were held back are carried out now, those of abandoned
    /// connections too.
    pub fn thaw(&self) {
        self.with(Shared::thaw);
    }

    /// The next `count` requests are carried out, and their responses are lost.
    pub fn drop_replies(&self, count: u32) {
        self.node(|node| node.drop_replies = count);
    }

    /// The next `count` requests are lost on their way.
    pub fn drop_requests(&self, count: u32) {
        self.node(|node| node.drop_requests = count);
    }

    /// The next `count` requests that arrive are refused with `error`, and have no effect. A node
    /// reports it as [`Event::Problem`](crate::Event::Problem), and sends the request again. A
    /// `count` of 0 ends it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use leasehold::clock::Clock;
    /// # use leasehold::store::memory::MemoryServer;
    /// use leasehold::{Config, Event, Node, StoreError};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = MemoryServer::new().connect(Clock::boot());
    /// let link = store.link();
    /// let config = Config::without_servers("orders", "node-1").build()?;
    /// let node = Node::builder(config).store(store).start()?;
    /// node.wait_for_leadership(Duration::from_secs(5))?;
    ///
    /// link.fail_requests(1, StoreError::Permission("orders are closed".into()));
    /// node.set_meta(Some("10.0.0.1".into()))?; // a leader renews at once
    /// let mut events = node.events().iter();
    /// assert!(events.any(|event| matches!(event, Event::Problem(StoreError::Permission(_)))));
    /// assert!(node.is_leader());
    /// # Ok(())
    /// # }
    /// ```
    pub fn fail_requests(&self, count: u32, error: StoreError) {
        self.node(|node| (node.fail_requests, node.refusal) = (count, Some(error)));
    }

    /// Reports a problem that belongs to no request, as a server does that denies a subscription.
    /// Does nothing while the node is not connected. A node reports it as
    /// [`Event::Problem`](crate::Event::Problem), unless it is the same as the one before.
    pub fn report_problem(&self, error: StoreError) {
        self.node(|node| node.problem(error));
    }

    /// Responses from now on arrive this much later. Zero at first.
    pub fn delay_replies(&self, by: Duration) {
        self.node(|node| node.reply_delay = by);
    }

    /// Notices from now on arrive this much later. Zero at first.
    pub fn delay_notices(&self, by: Duration) {
        self.node(|node| node.notice_delay = by);
    }

    /// Whether notices are lost from now on.
    pub fn lose_notices(&self, lose: bool) {
        self.node(|node| node.lose_notices = lose);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Connected,
    /// Given up while frozen: the new connection comes with the thaw.
    Connecting,
    Cut,
    Closed,
}

struct Pending {
    due: Timestamp,
    /// It comes over the link, and is held while that is frozen.
    remote: bool,
    event: StoreEvent,
}

pub(super) struct Transit {
    pub(super) ticket: Ticket,
    pub(super) request: Request,
    /// The connection it was sent on was given up: its outcome is not reported.
    pub(super) abandoned: bool,
}

pub(super) struct Node {
    clock: Clock,
    signal: Sender<()>,
    /// The wake-ups that no poll has taken yet.
    wakes: Receiver<()>,
    /// The bound of the poll that sleeps: it had nothing to deliver when this was set.
    pub(super) idle_until: Option<Timestamp>,
    state: State,
    frozen: bool,
    drop_replies: u32,
    drop_requests: u32,
    fail_requests: u32,
    /// What requests are refused with.
    refusal: Option<StoreError>,
    reply_delay: Duration,
    notice_delay: Duration,
    lose_notices: bool,
    outstanding: BTreeSet<Ticket>,
    transit: Vec<Transit>,
    /// In the order in which it will happen.
    pending: Vec<Pending>,
}

impl Node {
    pub(super) fn new(clock: Clock, wakes: Receiver<()>) -> (Self, Receiver<()>) {
        let (signal, signalled) = bounded(1);
        let node = Self {
            clock,
            signal,
            wakes,
            idle_until: None,
            state: State::Cut,
            frozen: false,
            drop_replies: 0,
            drop_requests: 0,
            fail_requests: 0,
            refusal: None,
            reply_delay: Duration::ZERO,
            notice_delay: Duration::ZERO,
            lose_notices: false,
            outstanding: BTreeSet::new(),
            transit: Vec::new(),
            pending: Vec::new(),
        };
        (node, signalled)
    }

    pub(super) fn connect(&mut self) {
        self.state = State::Connected;
        self.push(false, Duration::ZERO, StoreEvent::Connected { server: "memory".into() });
    }

    /// Takes a request. Returns it if it arrives at the server at once.
    pub(super) fn send(&mut self, ticket: Ticket, request: Request) -> Option<Request> {
        if self.state != State::Connected {
            self.complete(ticket, Outcome::Failed(StoreError::Disconnected("cut off".into())));
            return None;
        }
        self.outstanding.insert(ticket);
        if take_one(&mut self.drop_requests) {
            return None;
        }
        if self.frozen {
            self.transit.push(Transit { ticket, request, abandoned: false });
            return None;
        }
        Some(request)
    }

    /// What the request that has arrived is refused with, if it is.
    pub(super) fn refusal(&mut self) -> Option<StoreError> {
        if take_one(&mut self.fail_requests) { self.refusal.clone() } else { None }
    }

    pub(super) fn answer(&mut self, ticket: Ticket, outcome: Outcome) {
        if !take_one(&mut self.drop_replies) {
            self.push(true, self.reply_delay, StoreEvent::Completed { ticket, outcome });
        }
    }

    pub(super) fn notice(&mut self, entry: Entry) {
        if self.state == State::Connected && !self.lose_notices {
            self.push(true, self.notice_delay, StoreEvent::Notice(entry));
        }
    }

    fn problem(&mut self, error: StoreError) {
        if self.state == State::Connected {
            self.push(true, Duration::ZERO, StoreEvent::Problem(error));
        }
    }

    /// Ends a freeze, and returns the requests that were on their way.
    pub(super) fn thaw(&mut self) -> Vec<Transit> {
        self.frozen = false;
        if self.state == State::Connecting {
            self.connect();
        }
        self.wake();
        std::mem::take(&mut self.transit)
    }

    fn cut(&mut self) {
        let before = self.state;
        if before != State::Closed {
            self.state = State::Cut;
        }
        if before == State::Connected {
            self.abandon("cut off");
        }
    }

    fn heal(&mut self) {
        if self.state == State::Cut {
            self.rebuild();
        }
    }

    pub(super) fn reconnect(&mut self) {
        match self.state {
            State::Connected => {
                self.abandon("given up");
                self.rebuild();
            }
            State::Cut => self.push(false, Duration::ZERO, Self::disconnected("cut off")),
            State::Connecting | State::Closed => {}
        }
    }

    fn rebuild(&mut self) {
        self.state = State::Connecting;
        if !self.frozen {
            self.connect();
        }
    }

    pub(super) fn close(&mut self) {
        self.state = State::Closed;
        self.outstanding.clear();
        self.pending.clear();
        self.transit.iter_mut().for_each(|sent| sent.abandoned = true);
    }

    /// When this node has something to do next, or why it has now. `None` once it was closed.
    pub(super) fn rest(&self) -> Option<Result<Timestamp, &'static str>> {
        if self.state == State::Closed {
            return None;
        }
        let Some(until) = self.idle_until else {
            return Some(Err(
                "no thread sleeps in its `poll`: no node was started with it, or the \
                             thread of its node hangs",
            ));
        };
        if !self.wakes.is_empty() {
            return Some(Err("it was woken and does not wake up"));
        }
        let due = self.upcoming().map_or(until, |index| self.pending[index].due.min(until));
        let idle = due > self.clock.now();
        Some(if idle { Ok(due) } else { Err("something is due, and it does not wake up") })
    }

    /// Whether `clock` moves this node's clock too.
    pub(super) fn moves_with(&self, clock: &Clock) -> bool {
        self.clock.moves_with(clock)
    }

    /// The index of the next event that the link lets through.
    fn upcoming(&self) -> Option<usize> {
        self.pending.iter().position(|pending| !(self.frozen && pending.remote))
    }

    /// The first event that is due, or when the next one is.
    pub(super) fn next(&mut self) -> Result<StoreEvent, Option<Timestamp>> {
        let now = self.clock.now();
        let Some(index) = self.upcoming() else { return Err(None) };
        if self.pending[index].due > now {
            return Err(Some(self.pending[index].due));
        }
        let event = self.pending.remove(index).event;
        if let StoreEvent::Completed { ticket, .. } = &event {
            self.outstanding.remove(ticket);
        }
        Ok(event)
    }

    /// The connection is gone: its requests are unknown, and its undelivered events are lost.
    fn abandon(&mut self, reason: &str) {
        self.pending.retain(|pending| !pending.remote);
        self.transit.iter_mut().for_each(|sent| sent.abandoned = true);
        self.push(false, Duration::ZERO, Self::disconnected(reason));
        for ticket in std::mem::take(&mut self.outstanding) {
            self.complete(ticket, Outcome::Unknown(StoreError::Disconnected(reason.into())));
        }
    }

    fn complete(&mut self, ticket: Ticket, outcome: Outcome) {
        self.push(false, Duration::ZERO, StoreEvent::Completed { ticket, outcome });
    }

    fn disconnected(reason: &str) -> StoreEvent {
        StoreEvent::Disconnected { error: StoreError::Disconnected(reason.into()) }
    }

    fn push(&mut self, remote: bool, delay: Duration, event: StoreEvent) {
        let due = self.clock.now() + delay;
        let index = self.pending.partition_point(|pending| pending.due <= due);
        self.pending.insert(index, Pending { due, remote, event });
        self.wake();
    }

    fn wake(&self) {
        // A full channel has a wake-up in it already.
        let _ = self.signal.try_send(());
    }
}

fn take_one(count: &mut u32) -> bool {
    let some = *count > 0;
    *count = count.saturating_sub(1);
    some
}
