//! Reported changes, counters, and the moments at which the election wants to be called again.

use super::*;
use crate::clock::Clock;
use crate::event::Reason;

fn disconnected(error: StoreError) -> StoreEvent {
    StoreEvent::Disconnected { error }
}

/// How many disconnections were reported.
fn disconnections(node: &TestNode) -> usize {
    let is_one = |change: &&Change| matches!(change, Change::Disconnected { .. });
    node.changes.iter().filter(is_one).count()
}

#[test]
fn a_follower_reports_the_leader_and_its_meta() {
    let meta = serde_json::json!({"address": "10.0.0.1:80"});
    let record = Lease { meta: Some(meta.clone()), ..held("other", 2, 7, 3) };
    let node = TestNode::following(&record, 5);
    assert_eq!(node.election.reported_leader(), Some(&("other".to_owned(), epoch(7))));
    assert_eq!(node.election.leader_meta(), Some(&meta));
    assert_eq!(node.election.revision(), 5);
    assert!(!node.election.has_unreleased_lease() && !node.election.is_resigning());
}

#[test]
fn a_lease_is_unreleased_until_its_release_is_stored() {
    let mut node = TestNode::leading();
    assert!(node.election.has_unreleased_lease() && !node.election.is_resigning());
    node.input(Input::Resign(Reason::StepDown));
    assert!(node.election.has_unreleased_lease() && node.election.is_resigning());
    node.input(Input::Drained(epoch(1)));
    assert!(node.election.has_unreleased_lease() && node.election.is_resigning());
    node.stored(2);
    assert!(!node.election.has_unreleased_lease() && !node.election.is_resigning());
}

#[test]
fn counters_count_each_kind_of_event() {
    let mut node = TestNode::leading();
    assert_eq!((node.election.counters().connections, node.election.counters().terms), (1, 1));
    node.advance(secs(3));
    node.now = node.now + Duration::from_millis(70);
    node.stored(2);
    let counters = *node.election.counters();
    assert_eq!((counters.renewals, counters.last_round_trip), (1, Duration::from_millis(70)));
    node.advance(secs(3));
    node.answer(Outcome::Failed(StoreError::TimedOut));
    node.advance(Duration::from_millis(250));
    assert!(node.is_reading());
    node.advance(secs(1));
    node.advance(secs(1));
    assert_eq!(node.command, Some(Command::Reconnect));
    node.store(disconnected(StoreError::TimedOut));
    node.store(StoreEvent::Connected { server: "here".to_owned() });
    node.answer_read(snapshot(Some(entry(2, &held("me", 1, 1, 5)))));
    node.answer(Outcome::LostRace);
    let counters = Counters { last_round_trip: Duration::ZERO, ..*node.election.counters() };
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
    let mut node = TestNode::leading();
    node.advance(secs(3));
    let (ticket, lease) = (node.ticket(), node.sent_write().1);
    node.advance(secs(1));
    node.answer_read(snapshot(Some(entry(2, &lease))));
    node.store(StoreEvent::Completed { ticket, outcome: Outcome::Stored { revision: 2 } });
    assert_eq!(node.election.counters().renewals, 1);
}

/// A store reports every failed attempt to connect.
#[test]
fn a_disconnection_is_reported_once_per_reason() {
    let refused = || StoreError::Disconnected("refused".into());
    let mut node = TestNode::following(&held("other", 2, 7, 3), 5);
    node.store(disconnected(StoreError::TimedOut));
    assert_eq!(disconnections(&node), 1);
    node.store(disconnected(StoreError::TimedOut));
    assert_eq!(disconnections(&node), 1);
    node.store(disconnected(refused()));
    node.store(disconnected(refused()));
    assert_eq!(disconnections(&node), 2);
    node.store(StoreEvent::Connected { server: "here".to_owned() });
    node.store(disconnected(refused()));
    assert_eq!(disconnections(&node), 3);
}

#[test]
fn a_corrupt_record_is_reported_with_its_revision() {
    let mut node = TestNode::following(&held("other", 2, 7, 3), 5);
    node.store(StoreEvent::Hint);
    node.advance(secs(1));
    let garbage = Entry { revision: 6, content: Content::Value(b"[".to_vec()) };
    node.answer_read(snapshot(Some(garbage)));
    let corrupt = |change: &Change| matches!(change, Change::CorruptRecord { revision: 6, .. });
    assert!(node.changes.iter().any(corrupt), "{:?}", node.changes);
}

#[test]
fn every_session_that_shares_the_node_id_is_reported() {
    let mut node = TestNode::following(&held("me", 2, 7, 3), 5);
    node.notice(6, &held("me", 2, 7, 4));
    node.notice(7, &held("me", 3, 8, 1));
    assert!(!node.changes.contains(&Change::DuplicateNodeId(SessionId::from_bits(3))));
    node.notice(8, &held("me", 3, 8, 2));
    for bits in [2, 3] {
        assert!(node.changes.contains(&Change::DuplicateNodeId(SessionId::from_bits(bits))));
    }
}

/// Hints can be forged.
#[test]
fn hints_cause_one_read_per_request_timeout_and_none_by_a_leader() {
    let mut node = TestNode::following(&held("other", 2, 7, 3), 5);
    let read = node.now;
    node.advance(Duration::from_millis(10));
    node.store(StoreEvent::Hint);
    assert_eq!(node.command, None);
    assert_eq!(node.wake_at, read + secs(1));
    node.advance(Duration::from_millis(990));
    assert!(node.is_reading());
    let mut leader = TestNode::leading();
    leader.advance(secs(2));
    leader.store(StoreEvent::Hint);
    assert_eq!(leader.command, None);
}

#[test]
fn a_failed_read_is_repeated_after_a_renew_interval() {
    let mut node = TestNode::new(settings("me", 1));
    node.answer(Outcome::Failed(StoreError::Permission("reading".into())));
    assert_eq!((node.command.clone(), node.wake_at), (None, node.now + secs(3)));
    node.advance(secs(3));
    assert!(node.is_reading());
}

#[test]
fn a_failed_renewal_is_followed_by_a_read_and_a_renewal() {
    let retry = settings("me", 1).timing.retry_wait();
    let mut node = TestNode::leading();
    node.advance(secs(3));
    node.answer(Outcome::Failed(StoreError::TimedOut));
    assert_eq!((node.command.clone(), node.wake_at), (None, node.now + retry));
    node.advance(retry);
    node.answer_read(snapshot(Some(entry(1, &held("me", 1, 1, 4)))));
    assert_eq!(node.sent_write().0, Expect::revision(1));
}

/// It may have become unknown at once, and so may the next one.
#[test]
fn an_unknown_outcome_is_read_after_the_retry_wait() {
    let retry = settings("me", 1).timing.retry_wait();
    let mut node = TestNode::leading();
    node.advance(secs(3));
    node.answer(Outcome::Unknown(StoreError::TimedOut));
    assert_eq!((node.command.clone(), node.wake_at), (None, node.now + retry));
    node.advance(retry);
    assert!(node.is_reading());
}

#[test]
fn a_failed_challenge_is_sent_again_after_a_read() {
    let mut node = TestNode::following(&released(2, 7, 3), 5);
    node.answer(Outcome::Failed(StoreError::TimedOut));
    node.advance(secs(3));
    node.answer_read(snapshot(Some(entry(5, &released(2, 7, 3)))));
    assert_eq!(
        node.sent_write().1.epoch,
        epoch(8),
        "no back-off, as none of its writes can be stored"
    );
}

/// The renewal thread may have read the clock just before the deadline.
#[test]
fn a_term_found_expired_by_another_thread_ends_at_the_next_step() {
    let mut node = TestNode::leading();
    let until = node.election.held_until().unwrap();
    assert!(node.election.cell().in_force(&Clock::manual(until)).is_none());
    node.now = Timestamp::from_nanos(until.as_nanos() - 1);
    node.input(Input::Tick);
    assert_eq!(node.lost(), Some(&Cause::Expired));
}

/// The published outputs of splitmix64 for this seed.
#[test]
fn the_random_sequence_follows_from_the_session() {
    let mut election = Election::new(settings("me", 1_234_567));
    let drawn = [(); 3].map(|()| election.schedule.random());
    assert_eq!(drawn[0], 6_457_827_717_110_365_317);
    assert_eq!(drawn[1], 3_203_168_211_198_807_973);
    assert_eq!(drawn[2], 9_817_491_932_198_370_423);
    let mut other = Election::new(settings("me", 1_234_567 << 64));
    assert_eq!(other.schedule.random(), drawn[0], "all bits count");
}

#[test]
fn releases_and_own_expired_records_name_no_leader() {
    let release = Lease { successor: Some("third".into()), ..released(2, 7, 4) };
    assert_eq!(TestNode::following(&release, 6).election.reported_leader(), None);
    let mut node = TestNode::leading();
    node.store(disconnected(StoreError::TimedOut));
    node.advance(secs(9));
    assert!(node.election.has_unreleased_lease());
    assert_eq!(node.election.reported_leader(), None);
}

#[test]
fn a_leader_is_known_until_its_ttl_has_passed() {
    let mut node = TestNode::following(&held("other", 2, 7, 3), 5);
    let seen = node.now;
    node.store(disconnected(StoreError::TimedOut));
    assert_eq!(node.wake_at, seen + TTL);
    node.advance(TTL.saturating_sub(Duration::from_nanos(1)));
    assert!(node.election.reported_leader().is_some());
    node.advance(Duration::from_nanos(1));
    assert!(node.election.reported_leader().is_none());
}

#[test]
fn an_awaited_request_wakes_at_its_timeout() {
    let mut node = TestNode::new(settings("me", 1));
    assert_eq!(node.wake_at, node.now + secs(1));
    node.answer_read(snapshot(Some(entry(5, &held("other", 2, 7, 3)))));
    let read = node.now;
    node.advance(Duration::from_millis(10));
    node.notice(6, &held("third", 3, 8, 1));
    assert_eq!((node.command.clone(), node.wake_at), (None, read + secs(1)));
}

/// Not at the moment at which it would challenge without the cooldown.
#[test]
fn observers_wake_to_poll_and_cooldowns_wake_at_their_end() {
    let mut node = TestNode::new(Settings { observer: true, ..settings("me", 1) });
    node.answer_read(snapshot(Some(entry(5, &held("other", 2, 7, 3)))));
    let read = node.now;
    node.advance(secs(11));
    assert_eq!(node.wake_at, read + secs(30));
    let mut node = TestNode::leading();
    node.input(Input::Resign(Reason::StepDown));
    node.input(Input::Drained(epoch(1)));
    node.stored(2);
    assert_eq!(node.wake_at, node.now + TTL);
}

/// A value that is set while a write is under way must not wait for the next renewal.
#[test]
fn a_value_that_is_set_during_a_write_is_published_by_the_next() {
    let mut node = TestNode::leading();
    let set = |value: &str| Input::SetMeta(Some(value.into()));
    node.input(set("one"));
    let first = node.sent_write().1;
    node.input(set("two"));
    assert_eq!(first.meta, Some("one".into()));
    node.stored(2);
    assert_eq!(node.sent_write().1.meta, Some("two".into()));
    node.stored(3);
    assert_eq!(node.command, None, "once");
}

#[test]
fn a_leader_has_its_own_value_whatever_is_noticed() {
    let mut node = TestNode::leading();
    node.input(Input::SetMeta(Some("mine".into())));
    node.stored(2);
    assert!(node.changes.contains(&Change::MetaChanged(Some("mine".into()))));
    let forged = Lease { meta: Some("evil".into()), ..held("evil", 9, 7, 1) };
    node.notice(3, &forged);
    assert_eq!(node.election.leader_meta(), Some(&"mine".into()));
    assert!(!node.changes.contains(&Change::MetaChanged(Some("evil".into()))));
}
