//! Challenges: when they are sent again, counted, abandoned or released.

use super::*;

/// A follower that has read a release of epoch 7 of session 2, as revision 5, and challenges it.
fn challenger() -> TestNode {
    let node = TestNode::following(&released(2, 7, 3), 5);
    node.sent_write();
    node
}

/// Each time with the same condition and epoch.
#[test]
fn a_challenge_of_unknown_outcome_is_sent_three_times_and_then_backs_off() {
    let mut by_name = TestNode::following(&held("other", 2, 7, 3), 5);
    by_name.notice(6, &released(2, 7, 4));
    repeats_twice_and_backs_off(by_name, || snapshot(Some(entry(6, &released(2, 7, 4)))));
    repeats_twice_and_backs_off(challenger(), || snapshot(Some(entry(5, &released(2, 7, 3)))));
}

fn repeats_twice_and_backs_off(mut node: TestNode, release: impl Fn() -> Snapshot) {
    let (expect, first) = node.sent_write();
    for _ in 0..2 {
        node.advance(secs(1));
        node.answer_read(release());
        let (again, lease) = node.sent_write();
        assert_eq!((again.revision, lease.epoch), (expect.revision, first.epoch));
        assert!(lease.write > first.write);
    }
    node.advance(secs(1));
    node.answer_read(release());
    assert!(node.is_reading(), "a read shows whether one of them was stored");
    node.answer_read(release());
    let share = u32::try_from(Election::new(settings("me", 1)).schedule.random() % 1_000).unwrap();
    let back_off = TTL + TTL * share / 1_000;
    assert_eq!(node.wake_at, node.now + back_off);
    node.advance(back_off.saturating_sub(Duration::from_millis(1)));
    assert_eq!(node.command, None);
    node.advance(Duration::from_millis(1));
    assert_eq!(node.sent_write().1.epoch, epoch(8));
}

#[test]
fn a_challenge_of_an_absent_record_is_repeated_unless_something_was_written() {
    for (last_seq, repeated) in [(41, true), (42, false)] {
        let mut node = TestNode::new(settings("me", 1));
        node.answer_read(absent(41));
        node.advance(TTL);
        node.answer_read(absent(41));
        node.sent_write();
        node.advance(secs(1));
        node.answer_read(absent(last_seq));
        assert_eq!(node.command.is_some(), repeated);
    }
}

/// No write of the first challenge can be stored. One of the second may be.
#[test]
fn a_stop_waits_only_for_a_challenge_that_may_be_stored() {
    let mut node = challenger();
    node.answer(Outcome::Failed(StoreError::TimedOut));
    node.input(Input::Stop { until: node.now + secs(20) });
    assert!(node.finished);
    let mut node = challenger();
    node.advance(secs(1));
    node.answer_read(snapshot(Some(entry(5, &released(2, 7, 3)))));
    node.answer(Outcome::Failed(StoreError::TimedOut));
    node.input(Input::Stop { until: node.now + secs(20) });
    assert!(!node.finished);
}

#[test]
fn a_stored_challenge_of_an_unhealthy_node_is_released() {
    let mut node = challenger();
    let lease = node.sent_write().1;
    node.input(Input::SetHealthy(false));
    node.stored(6);
    assert!(!node.leads() && !node.election.is_leading());
    node.answer_read(snapshot(Some(entry(6, &lease))));
    assert!(node.sent_write().1.clean, "it is released");
}

#[test]
fn an_unhealthy_node_does_not_repeat_its_challenge() {
    let mut node = challenger();
    node.input(Input::SetHealthy(false));
    node.advance(secs(1));
    node.answer_read(snapshot(Some(entry(5, &released(2, 7, 3)))));
    assert!(node.is_reading());
}

/// A record of another session is left alone, even with the same epoch.
#[test]
fn only_the_record_of_the_abandoned_challenge_is_released() {
    let mut node = challenger();
    node.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    node.advance(secs(9));
    node.store(StoreEvent::Connected { server: "here".into() });
    node.answer_read(snapshot(Some(entry(6, &held("third", 3, 8, 1)))));
    assert_eq!(node.command, None);
}

#[test]
fn a_noticed_release_waits_for_a_holder_in_an_earlier_bucket() {
    let two = |shown| Snapshot { incarnation: Incarnation::new("two"), ..shown };
    let mut node = TestNode::following(&held("other", 2, 7, 3), 5);
    node.store(StoreEvent::Hint);
    node.advance(secs(1));
    node.answer_read(two(snapshot(Some(entry(3, &held("third", 3, 8, 1))))));
    node.advance(secs(1));
    node.notice(4, &released(3, 8, 2));
    node.answer_read(two(snapshot(Some(entry(4, &released(3, 8, 2))))));
    assert_eq!(node.command, None);
    assert_eq!(node.wake_at, node.now + TTL - secs(1));
}

#[test]
fn a_challenge_is_abandoned_once_its_validity_has_passed() {
    let validity = Timing::default().validity();
    let mut node = challenger();
    node.now = node.now + validity;
    node.stored(6);
    assert!(!node.changes.contains(&Change::BecameLeader(epoch(8))));
    let mut node = challenger();
    let sent = node.now;
    node.advance(secs(1));
    node.now = sent + validity;
    node.answer_read(snapshot(Some(entry(5, &released(2, 7, 3)))));
    assert!(node.is_reading(), "a read shows whether one of them was stored");
}

/// The successor's time had passed before the challenge.
#[test]
fn a_challenge_of_a_release_for_another_node_is_repeated() {
    let release = Lease { successor: Some("third".into()), ..released(2, 7, 4) };
    let mut node = TestNode::following(&release, 6);
    node.advance(secs(1));
    let first = node.sent_write().1;
    node.advance(secs(1));
    node.answer_read(snapshot(Some(entry(6, &release))));
    assert!(node.sent_write().1.write > first.write);
}

/// It acknowledges the release of an earlier term.
#[test]
fn a_late_acknowledgement_does_not_end_a_later_release() {
    let mut node = challenger();
    let lease = node.sent_write().1;
    node.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    node.advance(secs(9));
    node.store(StoreEvent::Connected { server: "here".into() });
    node.answer_read(snapshot(Some(entry(6, &lease))));
    let (late, clean_up) = (node.ticket(), node.sent_write().1);
    node.advance(secs(1));
    node.answer_read(snapshot(Some(entry(7, &clean_up))));
    node.advance(2 * TTL);
    node.stored(8);
    node.input(Input::Resign(crate::event::Reason::StepDown));
    node.input(Input::Drained(epoch(9)));
    assert!(node.sent_write().1.clean);
    node.store(StoreEvent::Completed { ticket: late, outcome: Outcome::Stored { revision: 7 } });
    assert!(node.election.is_resigning());
}
