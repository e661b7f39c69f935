use super::*;
use crate::clock::Clock;
use crate::drain::{DrainGuard, WeakDrainGuard};
use crate::event::{Cause, Reason};
use crate::leadership::Leadership;
use crate::lease::{Epoch, SessionId};

mod full;

const PATIENCE: Duration = Duration::from_secs(30);

fn epoch(number: u64) -> Epoch {
    Epoch::new(number).unwrap()
}

fn became(number: u64) -> Event {
    let session = SessionId::from_bits(1);
    Event::BecameLeader(Leadership::new(
        Arc::default(),
        Clock::boot(),
        epoch(number),
        session,
        WeakDrainGuard::default(),
    ))
}

fn lost(number: u64) -> Event {
    Event::LostLeadership { epoch: epoch(number), cause: Cause::Expired }
}

fn changed() -> Event {
    Event::LeaderChanged { leader: None, epoch: None }
}

/// The queued events: `+1` and `-1` for the begin and the end of term 1, `M7` for seven missed
/// events, `.` for others.
fn drain(events: &Events) -> Vec<String> {
    std::iter::from_fn(|| events.try_next()).map(|event| short(&event)).collect()
}

fn short(event: &Event) -> String {
    match event {
        Event::BecameLeader(leadership) => format!("+{}", leadership.epoch()),
        Event::LostLeadership { epoch, .. } => format!("-{epoch}"),
        Event::Missed { count } => format!("M{count}"),
        _ => ".".to_owned(),
    }
}

/// As [`drain`] shows them.
fn terms(numbers: impl Iterator<Item = u64>) -> Vec<String> {
    numbers.flat_map(|n| [format!("+{n}"), format!("-{n}")]).collect()
}

fn push_terms(sink: &mut EventSink, numbers: impl Iterator<Item = u64>) {
    for number in numbers {
        sink.push(became(number));
        sink.push(lost(number));
    }
}

fn is_backed_up(sink: &EventSink) -> bool {
    !sink.0.backlog.lock().is_empty()
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

#[cfg(feature = "capi")]
#[test]
fn after_waive_drains_no_release_waits_and_all_events_come() {
    let (mut sink, events) = queue(1);
    events.attach();
    let (drained, times) = crossbeam_channel::unbounded();
    let resigning = |number| {
        let drained = drained.clone();
        let drain = DrainGuard::new(move || drained.send(number).unwrap());
        Event::Resigning { epoch: epoch(number), reason: Reason::StepDown, drain }
    };
    sink.push(resigning(1));
    sink.push(resigning(2));
    assert!(matches!(events.try_next(), Some(Event::Resigning { .. })));
    assert_eq!(times.try_iter().collect::<Vec<_>>(), [1], "taken and dropped");
    events.waive_drains();
    assert_eq!(times.try_iter().collect::<Vec<_>>(), [2], "queued, behind a full channel");
    sink.push(resigning(3));
    assert_eq!(times.try_iter().collect::<Vec<_>>(), [3], "queued afterwards");
    sink.push(lost(3));
    drop(sink);
    assert_eq!(events.iter().count(), 3);
    assert_eq!(times.try_iter().count(), 0, "each once");
}

#[cfg(feature = "capi")]
#[test]
fn drained_may_be_called_before_the_event_is_taken_and_counts_for_its_term_only() {
    let (mut sink, events) = queue(1);
    events.attach();
    let (drained, told) = bounded(1);
    let drain = DrainGuard::new(move || drained.send(()).unwrap());
    sink.push(Event::Resigning { epoch: epoch(2), reason: Reason::StepDown, drain });
    events.drained(epoch(1));
    events.drained(epoch(3));
    assert!(told.is_empty());
    events.drained(epoch(2));
    assert!(told.try_recv().is_ok());
    events.drained(epoch(2));
    assert!(matches!(events.try_next(), Some(Event::Resigning { .. })), "the event still comes");
}

#[test]
fn a_drain_guard_that_is_dropped_with_its_event_drains() {
    let (drained, told) = bounded(1);
    let (mut sink, events) = queue(1);
    events.attach();
    let drain = DrainGuard::new(move || drained.send(()).unwrap());
    sink.push(changed());
    sink.push(became(1));
    sink.push(Event::Resigning { epoch: epoch(1), reason: Reason::StepDown, drain });
    sink.push(lost(1));
    push_terms(&mut sink, 2..=500);
    assert!(told.try_recv().is_ok());
}

/// A `DrainGuard` and the receiver that tells when it was dropped.
fn told_guard() -> (DrainGuard, Receiver<()>) {
    let (drained, told) = bounded(1);
    (DrainGuard::new(move || drained.send(()).unwrap()), told)
}

fn resigning(number: u64, drain: DrainGuard) -> Event {
    Event::Resigning { epoch: epoch(number), reason: Reason::StepDown, drain }
}

/// A clone of the receiver that nobody takes from would keep the event and its guard.
#[test]
fn a_dropped_queue_holds_nothing_up_whatever_became_of_its_receiver() {
    for room in [1, 2] {
        let (mut sink, events) = queue(1);
        let receiver = events.receiver().clone();
        let (drain, told) = told_guard();
        (1..room).for_each(|_| sink.push(changed()));
        sink.push(resigning(1, drain));
        assert!(told.is_empty(), "in the channel or behind it");
        drop(events);
        assert!(told.try_recv().is_ok() && receiver.is_empty(), "at once");
        assert!(!sink.is_wanted());
    }
    let (mut sink, events) = queue(1);
    let (drain, told) = told_guard();
    events.attach();
    drop(events);
    sink.push(resigning(1, drain));
    assert!(told.try_recv().is_ok(), "queued afterwards");
}

/// The renewal thread may be sending while the queue is dropped.
#[test]
fn what_is_sent_while_the_queue_is_dropped_holds_nothing_up() {
    for _ in 0..200 {
        let (mut sink, events) = queue(1);
        let receiver = events.receiver().clone();
        let (drain, told) = told_guard();
        events.attach();
        let dropping = std::thread::spawn(move || drop(events));
        sink.push(changed());
        sink.push(resigning(1, drain));
        dropping.join().unwrap();
        assert!(told.try_recv().is_ok() && receiver.is_empty());
    }
}

#[test]
fn a_guard_that_was_taken_counts_also_when_its_queue_is_dropped() {
    let (mut sink, events) = queue(1);
    let (drain, told) = told_guard();
    events.attach();
    sink.push(resigning(1, drain));
    let taken = events.try_next();
    drop(events);
    assert!(told.is_empty());
    drop(taken);
    assert!(told.try_recv().is_ok());
}

#[test]
fn a_resignation_is_queued_only_once_the_application_has_asked_for_events() {
    let (mut sink, events) = queue(1);
    let (drained, told) = bounded(1);
    let drain = DrainGuard::new(move || drained.send(()).unwrap());
    sink.push(Event::Resigning { epoch: epoch(1), reason: Reason::StepDown, drain });
    assert!(told.try_recv().is_ok(), "no release waits");
    assert!(events.try_next().is_none());
}

#[cfg(target_os = "linux")]
fn is_readable(pollable: &Pollable) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(pollable, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
}

#[cfg(target_os = "linux")]
#[test]
fn the_descriptor_is_readable_from_an_event_until_a_look_finds_none() {
    let (mut sink, events) = queue(2);
    sink.push(changed());
    let pollable = events.pollable().unwrap();
    assert!(is_readable(&pollable), "for the event that was queued before");
    sink.push(changed());
    for _ in 0..2 {
        assert!(events.try_next().is_some());
        assert!(is_readable(&pollable), "the queue was not found empty yet");
    }
    assert!(events.try_next().is_none());
    assert!(!is_readable(&pollable));
    sink.push(changed());
    assert!(is_readable(&pollable));
    assert!(events.next_timeout(Duration::ZERO).is_some());
    assert!(events.next_timeout(Duration::ZERO).is_none());
    assert!(!is_readable(&pollable), "a timeout clears it too");
}

#[cfg(target_os = "linux")]
#[test]
fn the_descriptor_is_readable_once_at_the_end() {
    let (sink, events) = queue(2);
    let pollable = events.pollable().unwrap();
    assert!(events.try_next().is_none() && !is_readable(&pollable));
    drop(sink);
    assert!(is_readable(&pollable) && events.is_closed());
    assert!(events.try_next().is_none());
    assert!(!is_readable(&pollable), "a loop around it does not spin");
}

#[cfg(target_os = "linux")]
#[test]
fn a_descriptor_outlives_its_queue_and_there_is_one_for_all_calls() {
    use std::os::fd::AsRawFd;
    let (_sink, events) = queue(2);
    let pollable = events.pollable().unwrap();
    let other = events.pollable().unwrap();
    assert_eq!(pollable.as_raw_fd(), other.as_raw_fd());
    drop(events);
    assert!(is_readable(&pollable), "still open");
}

/// Events are queued one at a time, while two threads poll. No event is lost.
#[cfg(target_os = "linux")]
#[test]
fn two_pollers_miss_nothing() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let (mut sink, events) = queue(16);
    let events = Arc::new(events);
    let take_all = |events: Arc<Events>| {
        let pollable = events.pollable().unwrap();
        let mut taken = 0;
        while !events.is_closed() {
            let mut fds = [PollFd::new(&pollable, PollFlags::IN)];
            let wait = Timespec { tv_sec: 60, tv_nsec: 0 };
            assert_eq!(poll(&mut fds, Some(&wait)).unwrap(), 1, "after {taken} events");
            taken += u64::from(events.try_next().is_some());
        }
        // The end makes the descriptor readable once: for the other poller it is set again.
        readiness::announce(|| events.shared.readiness());
        taken
    };
    let pollers = [(); 2].map(|()| {
        let events = Arc::clone(&events);
        std::thread::spawn(move || take_all(events))
    });
    for number in 1..=5_000 {
        sink.push(became(number));
        while is_backed_up(&sink) {
            std::thread::yield_now();
        }
    }
    drop(sink);
    assert_eq!(pollers.map(|poller| poller.join().unwrap()).iter().sum::<u64>(), 5_000);
}
