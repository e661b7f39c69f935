//! Challenges: what of them is repeated, counted, or cleaned up.

use super::*;

/// A follower that has read epoch 7 of session 2, released, as revision 5, and challenges it.
fn challenger() -> Desk {
    let desk = Desk::following(&released(2, 7, 3), 5);
    desk.written();
    desk
}

/// Each time under the same condition and epoch. What stays unknown must not keep the store busy.
#[test]
fn a_challenge_of_unknown_outcome_is_repeated_twice_and_then_backs_off() {
    let mut by_name = Desk::following(&held("other", 2, 7, 3), 5);
    by_name.notice(6, &released(2, 7, 4));
    repeats_twice_and_backs_off(by_name, || snapshot(Some(entry(6, &released(2, 7, 4)))));
    repeats_twice_and_backs_off(challenger(), || snapshot(Some(entry(5, &released(2, 7, 3)))));
}

fn repeats_twice_and_backs_off(mut desk: Desk, release: impl Fn() -> Snapshot) {
    let (expect, first) = desk.written();
    for _ in 0..2 {
        desk.pass(secs(1));
        desk.answer_read(release());
        let (again, lease) = desk.written();
        assert_eq!((again.revision, lease.epoch), (expect.revision, first.epoch));
        assert!(lease.write > first.write);
    }
    desk.pass(secs(1));
    desk.answer_read(release());
    assert!(desk.is_reading(), "what is left of it is looked for");
    desk.answer_read(release());
    let share = u32::try_from(Election::new(settings("me", 1)).schedule.random() % 1_000).unwrap();
    let back_off = TTL + TTL * share / 1_000;
    assert_eq!(desk.wake_at, desk.now + back_off);
    desk.pass(back_off.saturating_sub(Duration::from_millis(1)));
    assert_eq!(desk.command, None);
    desk.pass(Duration::from_millis(1));
    assert_eq!(desk.written().1.epoch, epoch(8));
}

#[test]
fn a_challenge_of_an_absent_record_is_repeated_while_nothing_was_written() {
    for (last_seq, repeated) in [(41, true), (42, false)] {
        let mut desk = Desk::new(settings("me", 1));
        desk.answer_read(absent(41));
        desk.pass(TTL);
        desk.answer_read(absent(41));
        desk.written();
        desk.pass(secs(1));
        desk.answer_read(absent(last_seq));
        assert_eq!(desk.command.is_some(), repeated);
    }
}

/// Nothing of the one can be stored, and something of the other may.
#[test]
fn a_stop_looks_for_what_is_left_of_a_challenge_only_if_that_may_be_stored() {
    let mut desk = challenger();
    desk.answer(Outcome::Failed(StoreError::TimedOut));
    desk.give(Input::Stop { until: desk.now + secs(20) });
    assert!(desk.finished);
    let mut desk = challenger();
    desk.pass(secs(1));
    desk.answer_read(snapshot(Some(entry(5, &released(2, 7, 3)))));
    desk.answer(Outcome::Failed(StoreError::TimedOut));
    desk.give(Input::Stop { until: desk.now + secs(20) });
    assert!(!desk.finished);
}

#[test]
fn a_challenge_that_is_stored_begins_no_term_of_a_node_that_is_not_fit() {
    let mut desk = challenger();
    let lease = desk.written().1;
    desk.give(Input::SetHealthy(false));
    desk.stored(6);
    assert!(!desk.leads() && desk.election.role() == Role::Follower);
    desk.answer_read(snapshot(Some(entry(6, &lease))));
    assert!(desk.written().1.clean, "it is given back");
}

#[test]
fn a_challenge_is_not_repeated_by_a_node_that_is_not_fit() {
    let mut desk = challenger();
    desk.give(Input::SetHealthy(false));
    desk.pass(secs(1));
    desk.answer_read(snapshot(Some(entry(5, &released(2, 7, 3)))));
    assert!(desk.is_reading());
}

/// Whoever clean it is to be: of an epoch that is not the one that came to nothing it is left.
#[test]
fn only_what_is_left_of_the_very_challenge_is_cleaned_up() {
    let mut desk = challenger();
    desk.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    desk.pass(secs(9));
    desk.store(StoreEvent::Connected { server: "here".into() });
    desk.answer_read(snapshot(Some(entry(6, &held("third", 3, 8, 1)))));
    assert_eq!(desk.command, None);
}

#[test]
fn a_noticed_release_is_not_challenged_while_a_holder_in_an_earlier_bucket_may_lead() {
    let two = |shown| Snapshot { incarnation: Incarnation::new("two"), ..shown };
    let mut desk = Desk::following(&held("other", 2, 7, 3), 5);
    desk.store(StoreEvent::Hint);
    desk.pass(secs(1));
    desk.answer_read(two(snapshot(Some(entry(3, &held("third", 3, 8, 1))))));
    desk.pass(secs(1));
    desk.notice(4, &released(3, 8, 2));
    desk.answer_read(two(snapshot(Some(entry(4, &released(3, 8, 2))))));
    assert_eq!(desk.command, None);
    assert_eq!(desk.wake_at, desk.now + TTL - secs(1));
}

#[test]
fn no_term_begins_and_no_challenge_is_repeated_once_the_validity_has_passed() {
    let validity = Timing::default().validity();
    let mut desk = challenger();
    desk.now = desk.now + validity;
    desk.stored(6);
    assert!(!desk.changes.contains(&Change::BecameLeader(epoch(8))));
    let mut desk = challenger();
    let sent = desk.now;
    desk.pass(secs(1));
    desk.now = sent + validity;
    desk.answer_read(snapshot(Some(entry(5, &released(2, 7, 3)))));
    assert!(desk.is_reading(), "what is left of it is looked for");
}

/// It had its time before the challenge, which was made knowing of it.
#[test]
fn a_challenge_of_a_release_for_another_is_repeated_like_any_other() {
    let release = Lease { successor: Some("third".into()), ..released(2, 7, 4) };
    let mut desk = Desk::following(&release, 6);
    desk.pass(secs(1));
    let first = desk.written().1;
    desk.pass(secs(1));
    desk.answer_read(snapshot(Some(entry(6, &release))));
    assert!(desk.written().1.write > first.write);
}

/// It is the release of another term.
#[test]
fn a_late_acknowledgement_of_a_clean_up_ends_no_later_release() {
    let mut desk = challenger();
    let lease = desk.written().1;
    desk.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    desk.pass(secs(9));
    desk.store(StoreEvent::Connected { server: "here".into() });
    desk.answer_read(snapshot(Some(entry(6, &lease))));
    let (late, clean_up) = (desk.ticket(), desk.written().1);
    desk.pass(secs(1));
    desk.answer_read(snapshot(Some(entry(7, &clean_up))));
    desk.pass(2 * TTL);
    desk.stored(8);
    desk.give(Input::Resign(crate::event::Reason::StepDown));
    desk.give(Input::Drained(epoch(9)));
    assert!(desk.written().1.clean);
    desk.store(StoreEvent::Completed { ticket: late, outcome: Outcome::Stored { revision: 7 } });
    assert!(desk.election.is_resigning());
}
