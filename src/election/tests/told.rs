//! What is told, and what whoever asks is answered.

use super::*;
use crate::clock::Clock;
use crate::event::Reason;

fn disconnected(error: StoreError) -> StoreEvent {
    StoreEvent::Disconnected { error }
}

/// How often the store was told to be gone.
fn disconnections(desk: &Desk) -> usize {
    let is_one = |change: &&Change| matches!(change, Change::Disconnected { .. });
    desk.changes.iter().filter(is_one).count()
}

#[test]
fn a_follower_names_the_leader_and_what_it_says_of_itself() {
    let meta = serde_json::json!({"address": "10.0.0.1:80"});
    let record = Lease { meta: Some(meta.clone()), ..held("other", 2, 7, 3) };
    let desk = Desk::following(&record, 5);
    assert_eq!(desk.election.reported_leader(), Some(&("other".to_owned(), epoch(7))));
    assert_eq!(desk.election.leader_meta(), Some(&meta));
    assert_eq!((desk.election.revision(), desk.election.ttl()), (5, TTL));
    assert!(!desk.election.has_unreleased_lease() && !desk.election.is_resigning());
}

#[test]
fn a_lease_is_left_behind_until_its_release_is_stored() {
    let mut desk = Desk::leading();
    assert!(desk.election.has_unreleased_lease() && !desk.election.is_resigning());
    desk.give(Input::Resign(Reason::StepDown));
    assert!(desk.election.has_unreleased_lease() && desk.election.is_resigning());
    desk.give(Input::Drained(epoch(1)));
    assert!(desk.election.has_unreleased_lease() && desk.election.is_resigning());
    desk.stored(2);
    assert!(!desk.election.has_unreleased_lease() && !desk.election.is_resigning());
}

#[test]
fn what_happened_is_counted() {
    let mut desk = Desk::leading();
    assert_eq!((desk.election.counters().connections, desk.election.counters().terms), (1, 1));
    desk.pass(secs(3));
    desk.now = desk.now + Duration::from_millis(70);
    desk.stored(2);
    let counters = *desk.election.counters();
    assert_eq!((counters.renewals, counters.last_round_trip), (1, Duration::from_millis(70)));
    desk.pass(secs(3));
    desk.answer(Outcome::Failed(StoreError::TimedOut));
    desk.pass(Duration::from_millis(250));
    assert!(desk.is_reading());
    desk.pass(secs(1));
    desk.pass(secs(1));
    assert_eq!(desk.command, Some(Command::Reconnect));
    desk.store(disconnected(StoreError::TimedOut));
    desk.store(StoreEvent::Connected { server: "here".to_owned() });
    desk.answer_read(snapshot(Some(entry(2, &held("me", 1, 1, 5)))));
    desk.answer(Outcome::LostRace);
    let counters = Counters { last_round_trip: Duration::ZERO, ..*desk.election.counters() };
    let expected = Counters {
        renewals: 1,
        failures: 1,
        unknown_outcomes: 2,
        lost_races: 1,
        connections: 2,
        abandoned_connections: 1,
        terms: 1,
        last_round_trip: Duration::ZERO,
    };
    assert_eq!(counters, expected);
}

#[test]
fn a_renewal_that_is_read_back_and_acknowledged_late_is_counted_once() {
    let mut desk = Desk::leading();
    desk.pass(secs(3));
    let (ticket, lease) = (desk.ticket(), desk.written().1);
    desk.pass(secs(1));
    desk.answer_read(snapshot(Some(entry(2, &lease))));
    desk.store(StoreEvent::Completed { ticket, outcome: Outcome::Stored { revision: 2 } });
    assert_eq!(desk.election.counters().renewals, 1);
}

/// A store tells of every attempt to connect.
#[test]
fn a_disconnection_is_told_once_for_each_reason() {
    let refused = || StoreError::Disconnected("refused".into());
    let mut desk = Desk::following(&held("other", 2, 7, 3), 5);
    desk.store(disconnected(StoreError::TimedOut));
    assert_eq!(disconnections(&desk), 1);
    desk.store(disconnected(StoreError::TimedOut));
    assert_eq!(disconnections(&desk), 1);
    desk.store(disconnected(refused()));
    desk.store(disconnected(refused()));
    assert_eq!(disconnections(&desk), 2);
    desk.store(StoreEvent::Connected { server: "here".to_owned() });
    desk.store(disconnected(refused()));
    assert_eq!(disconnections(&desk), 3);
}

#[test]
fn garbage_is_told_with_its_revision() {
    let mut desk = Desk::following(&held("other", 2, 7, 3), 5);
    desk.store(StoreEvent::Hint);
    desk.pass(secs(1));
    let garbage = Entry { revision: 6, content: Content::Value(b"[".to_vec()) };
    desk.answer_read(snapshot(Some(garbage)));
    let corrupt = |change: &Change| matches!(change, Change::CorruptRecord { revision: 6, .. });
    assert!(desk.changes.iter().any(corrupt), "{:?}", desk.changes);
}

#[test]
fn each_further_process_of_our_name_is_told() {
    let mut desk = Desk::following(&held("me", 2, 7, 3), 5);
    desk.notice(6, &held("me", 2, 7, 4));
    desk.notice(7, &held("me", 3, 8, 1));
    assert!(!desk.changes.contains(&Change::DuplicateNodeId(SessionId::from_bits(3))));
    desk.notice(8, &held("me", 3, 8, 2));
    for bits in [2, 3] {
        assert!(desk.changes.contains(&Change::DuplicateNodeId(SessionId::from_bits(bits))));
    }
}

/// Hints cost nothing to forge.
#[test]
fn hints_cost_a_read_per_request_timeout_and_a_leader_none() {
    let mut desk = Desk::following(&held("other", 2, 7, 3), 5);
    let read = desk.now;
    desk.pass(Duration::from_millis(10));
    desk.store(StoreEvent::Hint);
    assert_eq!(desk.command, None);
    assert_eq!(desk.wake_at, read + secs(1));
    desk.pass(Duration::from_millis(990));
    assert!(desk.is_reading());
    let mut leader = Desk::leading();
    leader.pass(secs(2));
    leader.store(StoreEvent::Hint);
    assert_eq!(leader.command, None);
}

#[test]
fn a_read_that_fails_is_repeated_after_a_renew_interval() {
    let mut desk = Desk::new(settings("me", 1));
    desk.answer(Outcome::Failed(StoreError::Permission("reading".into())));
    assert_eq!((desk.command.clone(), desk.wake_at), (None, desk.now + secs(3)));
    desk.pass(secs(3));
    assert!(desk.is_reading());
}

#[test]
fn a_renewal_that_fails_is_soon_followed_by_a_read_and_another_one() {
    let retry = settings("me", 1).timing.retry_wait();
    let mut desk = Desk::leading();
    desk.pass(secs(3));
    desk.answer(Outcome::Failed(StoreError::TimedOut));
    assert_eq!((desk.command.clone(), desk.wake_at), (None, desk.now + retry));
    desk.pass(retry);
    desk.answer_read(snapshot(Some(entry(1, &held("me", 1, 1, 4)))));
    assert_eq!(desk.written().0, Expect::revision(1));
}

/// It may have become unknown at once, and so may the next.
#[test]
fn what_became_unknown_is_read_after_a_moment() {
    let retry = settings("me", 1).timing.retry_wait();
    let mut desk = Desk::leading();
    desk.pass(secs(3));
    desk.answer(Outcome::Unknown(StoreError::TimedOut));
    assert_eq!((desk.command.clone(), desk.wake_at), (None, desk.now + retry));
    desk.pass(retry);
    assert!(desk.is_reading());
}

#[test]
fn a_challenge_that_fails_leaves_a_follower() {
    let mut desk = Desk::following(&released(2, 7, 3), 5);
    desk.answer(Outcome::Failed(StoreError::TimedOut));
    desk.pass(secs(3));
    desk.answer_read(snapshot(Some(entry(5, &released(2, 7, 3)))));
    assert_eq!(desk.written().1.epoch, epoch(8), "at once, as nothing of it can be stored");
}

/// Its thread may read the clock just before the deadline and come to its turn after it.
#[test]
fn a_term_that_somebody_found_expired_is_lost_at_the_next_step() {
    let mut desk = Desk::leading();
    let until = desk.election.held_until().unwrap();
    assert!(desk.election.cell().in_force(&Clock::manual(until)).is_none());
    desk.now = Timestamp::from_nanos(until.as_nanos() - 1);
    desk.give(Input::Tick);
    assert_eq!(desk.lost(), Some(&Cause::Expired));
}

/// The outputs of splitmix64 for that seed, as its author gives them.
#[test]
fn what_is_random_follows_from_the_session() {
    let mut election = Election::new(settings("me", 1_234_567));
    let drawn = [(); 3].map(|()| election.schedule.random());
    assert_eq!(drawn[0], 6_457_827_717_110_365_317);
    assert_eq!(drawn[1], 3_203_168_211_198_807_973);
    assert_eq!(drawn[2], 9_817_491_932_198_370_423);
    let mut other = Election::new(settings("me", 1_234_567 << 64));
    assert_eq!(other.schedule.random(), drawn[0], "all bits count");
}

#[test]
fn nobody_leads_by_a_release_or_by_what_is_left_of_an_own_term() {
    let release = Lease { successor: Some("third".into()), ..released(2, 7, 4) };
    assert_eq!(Desk::following(&release, 6).election.reported_leader(), None);
    let mut desk = Desk::leading();
    desk.store(disconnected(StoreError::TimedOut));
    desk.pass(secs(9));
    assert!(desk.election.has_unreleased_lease());
    assert_eq!(desk.election.reported_leader(), None);
}

#[test]
fn a_leader_is_known_until_its_ttl_has_passed_and_no_longer() {
    let mut desk = Desk::following(&held("other", 2, 7, 3), 5);
    let seen = desk.now;
    desk.store(disconnected(StoreError::TimedOut));
    assert_eq!(desk.wake_at, seen + TTL);
    desk.pass(TTL.saturating_sub(Duration::from_nanos(1)));
    assert!(desk.election.reported_leader().is_some());
    desk.pass(Duration::from_nanos(1));
    assert!(desk.election.reported_leader().is_none());
}

#[test]
fn what_is_asked_is_waited_for_until_its_timeout() {
    let mut desk = Desk::new(settings("me", 1));
    assert_eq!(desk.wake_at, desk.now + secs(1));
    desk.answer_read(snapshot(Some(entry(5, &held("other", 2, 7, 3)))));
    let read = desk.now;
    desk.pass(Duration::from_millis(10));
    desk.notice(6, &held("third", 3, 8, 1));
    assert_eq!((desk.command.clone(), desk.wake_at), (None, read + secs(1)));
}

/// Whatever it would challenge by then, were it not to stay back.
#[test]
fn an_observer_wakes_for_its_polls_and_whoever_stays_back_when_it_may_go_on() {
    let mut desk = Desk::new(Settings { observer: true, ..settings("me", 1) });
    desk.answer_read(snapshot(Some(entry(5, &held("other", 2, 7, 3)))));
    let read = desk.now;
    desk.pass(secs(11));
    assert_eq!(desk.wake_at, read + secs(30));
    let mut desk = Desk::leading();
    desk.give(Input::Resign(Reason::StepDown));
    desk.give(Input::Drained(epoch(1)));
    desk.stored(2);
    assert_eq!(desk.wake_at, desk.now + TTL);
}
