//! The event queue between the renewal thread and the application.
//!
//! A crossbeam channel with a bounded backlog before it. The renewal thread never waits: what does
//! not fit into the channel stays in the backlog, and what does not fit there is dropped by rank —
//! connection and leader changes first, oldest first, then whole terms, never one half of one. The
//! next event delivered after a drop is [`Event::Missed`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use crate::event::Event;
use crate::lease::Epoch;

/// How many events wait behind a full channel before some are dropped.
const BACKLOG: usize = 64;

/// The events of a node, for any number of threads; each event goes to one of them.
///
/// A clone is a promise, one of its [`receiver`](Self::receiver) too:
/// [`Node::stop`](crate::Node::stop) waits for the drain guards that a clone's owner has yet to
/// take out of the queue.
#[derive(Clone, Debug)]
pub struct Events {
    receiver: Receiver<Event>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Somebody wants to hear, and to be waited for.
    attached: AtomicBool,
    closed: AtomicBool,
    missed: AtomicU64,
}

impl Events {
    /// The next event if there is one. Never blocks.
    #[must_use]
    pub fn try_next(&self) -> Option<Event> {
        self.receiver.try_recv().ok()
    }

    /// The next event, waited for at most so long. It takes that long too when there will be no
    /// more, so that a loop around it does not spin; see [`is_closed`](Self::is_closed).
    #[must_use]
    pub fn next_timeout(&self, timeout: Duration) -> Option<Event> {
        match self.receiver.recv_timeout(timeout) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                sleep(timeout);
                None
            }
        }
    }

    /// Whether the node has stopped and every event was taken.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::SeqCst) && self.receiver.is_empty()
    }

    /// Every event until the node has stopped; blocks between them.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        self.receiver.iter()
    }

    /// The channel itself, for `crossbeam_channel::select!`.
    #[must_use]
    pub fn receiver(&self) -> &Receiver<Event> {
        &self.receiver
    }

    /// How many events were dropped because nobody took them in time.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.shared.missed.load(Ordering::Relaxed)
    }

    pub(crate) fn missed_counter(&self) -> Missed {
        Missed(Arc::clone(&self.shared))
    }

    pub(crate) fn attach(&self) {
        self.shared.attached.store(true, Ordering::SeqCst);
    }

    /// A queue in which nothing will ever be. The last handle to a queue takes along what is in it,
    /// and what its sink would still put there.
    pub(crate) fn nobodys() -> Self {
        queue(1).1
    }
}

/// How many events were dropped; no promise to take any.
#[derive(Clone, Debug)]
pub(crate) struct Missed(Arc<Shared>);

impl Missed {
    pub(crate) fn count(&self) -> u64 {
        self.0.missed.load(Ordering::Relaxed)
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = Event;
    type IntoIter = crossbeam_channel::Iter<'a, Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.receiver.iter()
    }
}

/// The sending end; owned by the renewal thread.
#[derive(Debug)]
pub(crate) struct EventSink {
    sender: Sender<Event>,
    backlog: VecDeque<Event>,
    shared: Arc<Shared>,
}

/// A queue whose channel holds `capacity` events.
pub(crate) fn queue(capacity: usize) -> (EventSink, Events) {
    let (sender, receiver) = bounded(capacity);
    let shared = Arc::<Shared>::default();
    let sink = EventSink { sender, backlog: VecDeque::new(), shared: Arc::clone(&shared) };
    (sink, Events { receiver, shared })
}

impl Drop for EventSink {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
    }
}

impl EventSink {
    /// Whether a drain should wait for whoever takes events here.
    pub(crate) fn is_attached(&self) -> bool {
        self.shared.attached.load(Ordering::SeqCst)
    }

    pub(crate) fn push(&mut self, event: Event) {
        self.backlog.push_back(event);
        self.flush();
        while self.backlog.len() > BACKLOG && self.evict() {}
    }

    /// Moves what fits from the backlog into the channel.
    pub(crate) fn flush(&mut self) {
        while let Some(event) = self.backlog.pop_front() {
            match self.sender.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => return self.backlog.push_front(event),
                Err(TrySendError::Disconnected(_)) => return self.backlog.clear(),
            }
        }
    }

    /// Whether something waits for room in the channel.
    pub(crate) fn is_backed_up(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Drops the oldest of what matters least. False when nothing may be dropped.
    fn evict(&mut self) -> bool {
        let passing = self.backlog.iter().position(|event| rank(event) == Rank::Passing);
        let dropped = if let Some(index) = passing {
            self.backlog.remove(index);
            1
        } else {
            self.evict_term()
        };
        self.count(dropped);
        dropped > 0
    }

    /// Drops all events of the oldest term that is whole in the backlog.
    fn evict_term(&mut self) -> u64 {
        let begun = |epoch| {
            self.backlog.iter().any(|event| {
                matches!(event, Event::BecameLeader(leadership) if leadership.epoch() == epoch)
            })
        };
        let whole = self.backlog.iter().find_map(|event| match event {
            Event::LostLeadership { epoch, .. } if begun(*epoch) => Some(*epoch),
            _ => None,
        });
        let Some(term) = whole else { return 0 };
        let before = self.backlog.len();
        self.backlog.retain(|event| rank(event) != Rank::Term(term));
        (before - self.backlog.len()) as u64
    }

    fn count(&mut self, dropped: u64) {
        if dropped == 0 {
            return;
        }
        self.shared.missed.fetch_add(dropped, Ordering::Relaxed);
        match self.backlog.front_mut() {
            Some(Event::Missed { count }) => *count += dropped,
            _ => self.backlog.push_front(Event::Missed { count: dropped }),
        }
    }
}

#[derive(PartialEq, Eq)]
enum Rank {
    Passing,
    Term(Epoch),
    Kept,
}

fn rank(event: &Event) -> Rank {
    match event {
        Event::BecameLeader(leadership) => Rank::Term(leadership.epoch()),
        Event::Resigning { epoch, .. } | Event::LostLeadership { epoch, .. } => Rank::Term(*epoch),
        Event::Missed { .. } => Rank::Kept,
        _ => Rank::Passing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::event::{Cause, DrainGuard, Reason};
    use crate::leadership::Leadership;
    use crate::lease::SessionId;

    fn epoch(number: u64) -> Epoch {
        Epoch::new(number).unwrap()
    }

    fn became(number: u64) -> Event {
        let session = SessionId::from_bits(1);
        Event::BecameLeader(Leadership::new(Arc::default(), Clock::boot(), epoch(number), session))
    }

    fn lost(number: u64) -> Event {
        Event::LostLeadership { epoch: epoch(number), cause: Cause::Expired }
    }

    fn changed() -> Event {
        Event::LeaderChanged { leader: None, epoch: None }
    }

    /// `+1 -1` for a term that began and ended, `M7` for seven missed, `.` for anything else.
    fn drain(sink: &mut EventSink, events: &Events) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(event) = events.try_next() {
            all.push(match event {
                Event::BecameLeader(leadership) => format!("+{}", leadership.epoch()),
                Event::LostLeadership { epoch, .. } => format!("-{epoch}"),
                Event::Missed { count } => format!("M{count}"),
                _ => ".".to_owned(),
            });
            sink.flush();
        }
        all
    }

    #[test]
    fn events_come_in_order_through_a_channel_that_is_too_small() {
        let (mut sink, events) = queue(2);
        for number in 1..=10 {
            sink.push(became(number));
            sink.push(lost(number));
        }
        let expected: Vec<_> = (1..=10).flat_map(|n| [format!("+{n}"), format!("-{n}")]).collect();
        assert_eq!(drain(&mut sink, &events), expected);
        assert_eq!(events.missed(), 0);
    }

    #[test]
    fn a_queue_is_closed_when_its_node_is_gone_and_all_was_taken() {
        let (mut sink, events) = queue(2);
        sink.push(changed());
        drop(sink);
        assert!(!events.is_closed());
        assert!(events.next_timeout(Duration::ZERO).is_some());
        assert!(events.is_closed() && events.next_timeout(Duration::ZERO).is_none());
    }

    #[test]
    fn passing_events_are_dropped_before_any_term() {
        let (mut sink, events) = queue(1);
        sink.push(became(1));
        for _ in 0..1_000 {
            sink.push(changed());
        }
        sink.push(lost(1));
        let got = drain(&mut sink, &events);
        assert_eq!(got.first().map(String::as_str), Some("+1"));
        assert!(got[1].starts_with('M'), "{got:?}");
        assert_eq!(got.last().map(String::as_str), Some("-1"));
        assert_eq!(got.len() as u64 - 3 + events.missed(), 1_000);
    }

    #[test]
    fn terms_are_dropped_whole_and_counted() {
        let (mut sink, events) = queue(1);
        for number in 1..=1_000 {
            sink.push(became(number));
            sink.push(lost(number));
        }
        sink.push(became(1_001));
        let got = drain(&mut sink, &events);
        let (mut open, mut seen) = (None, 0);
        for event in &got {
            match event.as_bytes()[0] {
                b'+' => assert_eq!(open.replace(&event[1..]), None, "{got:?}"),
                b'-' => assert_eq!(open.take(), Some(&event[1..]), "{got:?}"),
                _ => continue,
            }
            seen += 1;
        }
        assert_eq!(open, Some("1001"));
        assert_eq!(seen + events.missed(), 2_001);
        assert!(got.len() < 100);
    }

    #[test]
    fn a_drain_guard_that_is_dropped_with_its_event_drains() {
        let (drained, told) = bounded(1);
        let (mut sink, events) = queue(1);
        let drain = DrainGuard::new(move || drained.send(()).unwrap());
        sink.push(changed());
        sink.push(became(1));
        sink.push(Event::Resigning { epoch: epoch(1), reason: Reason::StepDown, drain });
        sink.push(lost(1));
        for number in 2..=500 {
            sink.push(became(number));
            sink.push(lost(number));
        }
        assert!(told.try_recv().is_ok());
        drop(events);
    }
}
