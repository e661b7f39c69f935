//! The events of a queue that have no room in its channel.
//!
//! Events enter the channel from here only, under the lock of the backlog, so they stay in order.
//! Between two calls holds: *if events wait here, the channel is full*. So a receiver that blocks
//! on the channel misses nothing. Each way to take an event keeps that:
//!
//! * The methods of [`Events`](super::Events) take the event, and then fill the channel up.
//! * A receiver in the hands of the application is a plain channel: taking from it calls nothing
//!   here. A thread waits for the room; see [`room`](super::room).
//!
//! When the backlog is full, it drops events in this order: connection and leader changes, oldest
//! first; then all events of the oldest term that is over. It never drops one half of a term. The
//! next event that is delivered is [`Event::Missed`].

use std::collections::VecDeque;

use crossbeam_channel::{Sender, TrySendError};

use super::room::RoomWatch;
use crate::event::Event;
use crate::lease::Epoch;

/// How many events wait behind a full channel before some are dropped.
const LIMIT: usize = 64;

#[derive(Debug)]
pub(super) struct Backlog {
    events: VecDeque<Event>,
    /// `None` once the node has ended. Then the events here are the last ones, and stay here.
    sender: Option<Sender<Event>>,
    /// Once it was needed.
    pub(super) watch: Option<RoomWatch>,
    /// The thread of `watch` waits for room, or is about to.
    pub(super) is_watched: bool,
}

impl Backlog {
    pub(super) fn new(sender: Sender<Event>) -> Self {
        let events = VecDeque::new();
        Self { events, sender: Some(sender), watch: None, is_watched: false }
    }

    /// Moves events into the channel, as many as fit, and calls `sent` after each.
    pub(super) fn fill(&mut self, sent: impl Fn()) {
        let Some(sender) = &self.sender else { return };
        move_up(&mut self.events, |event| match sender.try_send(event) {
            Ok(()) => {
                sent();
                Ok(())
            }
            Err(TrySendError::Full(event)) => Err(event),
            // Nobody can take it.
            Err(TrySendError::Disconnected(_)) => Ok(()),
        });
    }

    pub(super) fn add(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// The oldest event. The channel must be empty: what is in it is older.
    pub(super) fn take(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(super) fn take_all(&mut self) -> VecDeque<Event> {
        std::mem::take(&mut self.events)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// No event is added any more, and no thread waits for room: the returned one is to be dropped
    /// without the lock.
    pub(super) fn close(&mut self) -> Option<RoomWatch> {
        self.sender = None;
        self.watch.take()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_none()
    }

    /// The sender of the channel, while events wait for room in it.
    pub(super) fn waits_for(&self) -> Option<&Sender<Event>> {
        self.sender.as_ref().filter(|_| !self.events.is_empty())
    }

    /// Takes events out until few enough are left, and counts them here as missed.
    pub(super) fn evict(&mut self) -> Vec<Event> {
        let mut evicted = Vec::new();
        while self.events.len() > LIMIT {
            let least = self.take_least();
            if least.is_empty() {
                break;
            }
            self.miss(least.len() as u64);
            evicted.extend(least);
        }
        evicted
    }

    /// The least important events. None when none may be dropped.
    fn take_least(&mut self) -> VecDeque<Event> {
        let passing = self.events.iter().position(|event| rank(event) == Rank::Passing);
        match passing {
            Some(index) => self.events.remove(index).into_iter().collect(),
            None => self.take_term(),
        }
    }

    /// All events of the oldest term that is whole in the backlog.
    fn take_term(&mut self) -> VecDeque<Event> {
        let begun = |epoch| {
            self.events.iter().any(|event| {
                matches!(event, Event::BecameLeader(leadership) if leadership.epoch() == epoch)
            })
        };
        let whole = self.events.iter().find_map(|event| match event {
            Event::LostLeadership { epoch, .. } if begun(*epoch) => Some(*epoch),
            _ => None,
        });
        let Some(term) = whole else { return VecDeque::new() };
        let all = self.take_all().into_iter();
        let (taken, kept) = all.partition(|event| rank(event) == Rank::Term(term));
        self.events = kept;
        taken
    }

    fn miss(&mut self, dropped: u64) {
        match self.events.front_mut() {
            Some(Event::Missed { count }) => *count += dropped,
            _ => self.events.push_front(Event::Missed { count: dropped }),
        }
    }
}

/// Moves items out of `waiting`, oldest first, until `send` gives one back: there is no room.
pub(super) fn move_up<T>(waiting: &mut VecDeque<T>, mut send: impl FnMut(T) -> Result<(), T>) {
    while let Some(item) = waiting.pop_front() {
        if let Err(item) = send(item) {
            return waiting.push_front(item);
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
