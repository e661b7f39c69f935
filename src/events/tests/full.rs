//! Queues without room.

use std::sync::Barrier;
use std::time::Instant;

use crossbeam_channel::TryRecvError;

use super::*;

#[test]
fn events_come_in_order_through_a_channel_that_is_too_small() {
    let (mut sink, events) = queue(2);
    push_terms(&mut sink, 1..=10);
    assert_eq!(drain(&events), terms(1..=10));
    assert_eq!(events.missed(), 0);
}

/// The sink does nothing while events are taken: no turn of the renewal thread is needed.
#[test]
fn every_way_to_take_moves_the_events_on_that_had_no_room() {
    type Take = fn(&Events) -> Option<Event>;
    let ways: [Take; 4] = [
        |events| events.try_next(),
        |events| events.next_timeout(PATIENCE),
        |events| events.iter().next(),
        |events| events.receiver().recv_timeout(PATIENCE).ok(),
    ];
    for take in ways {
        let (mut sink, events) = queue(1);
        push_terms(&mut sink, 1..=10);
        let begun = Instant::now();
        let next = |_| short(&take(&events).expect("in time"));
        assert_eq!((0..20).map(next).collect::<Vec<_>>(), terms(1..=10));
        assert!(!is_backed_up(&sink) && events.receiver().is_empty());
        assert!(begun.elapsed() < PATIENCE, "no wait has ended by its timeout");
    }
}

/// Two threads block, and the channel has room for one event. What one of them takes makes room for
/// the event of the other.
#[test]
fn a_receiver_that_blocks_gets_an_event_that_had_no_room() {
    type Take = fn(&Events) -> Option<Event>;
    let blocking: [Take; 2] =
        [|events| events.next_timeout(PATIENCE), |events| events.iter().next()];
    let looking: Take = |events| std::iter::repeat_with(|| events.try_next()).flatten().next();
    let [one, other] = blocking;
    for pair in (0..20).flat_map(|_| [[one, one], [one, other], [other, other], [looking, one]]) {
        let (mut sink, events) = queue(1);
        let (events, begun) = (Arc::new(events), Arc::new(Barrier::new(3)));
        let takers = pair.map(|take| {
            let (events, begun) = (Arc::clone(&events), Arc::clone(&begun));
            std::thread::spawn(move || {
                begun.wait();
                take(&events).is_some()
            })
        });
        begun.wait();
        let since = Instant::now();
        (0..20).for_each(|_| std::thread::yield_now()); // now they block, mostly
        push_two_at_once(&mut sink);
        assert!(takers.map(|taker| taker.join().unwrap()).iter().all(|taken| *taken));
        assert!(since.elapsed() < PATIENCE, "no wait has ended by its timeout");
    }
}

/// Of which one has no room, as no event is taken in between.
fn push_two_at_once(sink: &mut EventSink) {
    let mut backlog = sink.0.backlog.lock();
    backlog.add(changed());
    backlog.add(changed());
    sink.0.fill(&mut backlog);
}

fn received(receiver: &Receiver<Event>) -> impl Iterator<Item = Event> + '_ {
    std::iter::from_fn(|| receiver.recv_timeout(PATIENCE).ok())
}

/// It is a plain channel: a thread waits for the room that taking from it makes.
#[test]
fn a_thread_waits_for_room_only_where_the_receiver_is_in_use() {
    let watches = |sink: &EventSink| sink.0.backlog.lock().watch.is_some();
    let (mut sink, events) = queue(1);
    events.attach();
    push_terms(&mut sink, 1..=10);
    assert!(events.try_next().is_some() && !watches(&sink), "it calls for the events itself");
    let receiver = events.receiver().clone();
    assert!(watches(&sink), "events wait already");
    assert_eq!(received(&receiver).take(19).count(), 19);
    push_terms(&mut sink, 11..=20);
    let next = received(&receiver).take(20).map(|event| short(&event));
    assert_eq!(next.collect::<Vec<_>>(), terms(11..=20));
    push_terms(&mut sink, 21..=30);
    drop(events);
    assert!(!watches(&sink), "it ends with the queue");

    let (mut sink, events) = queue(2);
    let receiver = events.receiver().clone();
    sink.push(changed());
    assert!(!watches(&sink), "there is room");
    push_terms(&mut sink, 1..=10);
    let shared = Arc::clone(&sink.0);
    drop(sink);
    assert!(shared.backlog.lock().watch.is_none(), "it ends with the node");
    assert_eq!(received(&receiver).count(), 2);
    assert!(matches!(receiver.try_recv(), Err(TryRecvError::Disconnected)));
    assert_eq!(drain(&events), terms(1..=10)[1..]);
    assert!(events.is_closed());
}

#[test]
fn events_without_room_at_the_end_of_the_node_come_last() {
    let (mut sink, events) = queue(1);
    sink.push(changed());
    sink.push(became(1));
    sink.push(lost(1));
    drop(sink);
    assert!(!events.is_closed());
    assert!(events.next_timeout(Duration::ZERO).is_some());
    let rest: Vec<_> = events.iter().map(|event| event.to_string()).collect();
    assert!(rest[0].contains("leads") && rest[1].starts_with("has lost"), "{rest:?}");
    assert!(rest.len() == 2 && events.is_closed());
}

#[test]
fn dropped_events_count_as_missed_once_the_application_has_asked_for_events() {
    let (mut sink, events) = queue(1);
    for _ in 0..100 {
        sink.push(changed());
    }
    assert_eq!((events.missed(), events.missed_counter().count()), (0, 0));
    events.attach();
    let missed = events.missed();
    assert!(missed > 0, "those dropped before count too");
    assert!(drain(&events).contains(&format!("M{missed}")));
}

#[test]
fn connection_and_leader_changes_are_dropped_before_any_term() {
    let (mut sink, events) = queue(1);
    events.attach();
    sink.push(became(1));
    for _ in 0..1_000 {
        sink.push(changed());
    }
    sink.push(lost(1));
    let got = drain(&events);
    assert_eq!(got.first().map(String::as_str), Some("+1"));
    assert!(got[1].starts_with('M'), "{got:?}");
    assert_eq!(got.last().map(String::as_str), Some("-1"));
    assert_eq!(got.len() as u64 - 3 + events.missed(), 1_000);
}

#[test]
fn terms_are_dropped_whole_and_counted() {
    let (mut sink, events) = queue(1);
    events.attach();
    push_terms(&mut sink, 1..=1_000);
    sink.push(became(1_001));
    let got = drain(&events);
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
