//! The life of a term: renewed, lost, given back.

use super::*;
use crate::event::Reason;

#[test]
fn a_leader_renews_and_the_deadline_follows() {
    let mut desk = Desk::leading();
    desk.pass(secs(3));
    let sent = desk.now;
    let (expect, lease) = desk.written();
    assert_eq!((expect.revision, lease.epoch), (1, epoch(1)));
    desk.stored(2);
    assert_eq!(desk.election.held_until(), Some(sent + Duration::from_millis(8_181)));
    assert_eq!(desk.wake_at, sent + secs(3));
}

#[test]
fn without_a_renewal_the_term_ends_at_the_deadline() {
    let mut desk = Desk::leading();
    desk.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    desk.pass(Duration::from_millis(8_180));
    assert!(desk.leads());
    desk.pass(Duration::from_millis(1));
    assert!(!desk.leads());
    assert_eq!(desk.lost(), Some(&Cause::Expired));
}

#[test]
fn an_acknowledgement_after_the_deadline_revives_nothing() {
    let mut desk = Desk::leading();
    desk.pass(secs(3));
    let ticket = desk.ticket();
    desk.now = desk.now + secs(6);
    desk.store(StoreEvent::Completed { ticket, outcome: Outcome::Stored { revision: 2 } });
    assert!(!desk.leads());
    assert_eq!(desk.lost(), Some(&Cause::Expired));
}

#[test]
fn an_unknown_renewal_is_read_and_counts_from_when_it_was_sent() {
    let mut desk = Desk::leading();
    desk.pass(secs(3));
    let (sent, (_, lease)) = (desk.now, desk.written());
    desk.pass(secs(1));
    assert!(desk.is_reading(), "after the request timeout");
    desk.answer_read(snapshot(Some(entry(2, &lease))));
    assert_eq!(desk.election.held_until(), Some(sent + Duration::from_millis(8_181)));
}

#[test]
fn a_late_acknowledgement_counts_from_when_its_write_was_sent() {
    let mut desk = Desk::leading();
    desk.pass(secs(3));
    let (sent, ticket) = (desk.now, desk.ticket());
    desk.pass(secs(1));
    desk.store(StoreEvent::Completed { ticket, outcome: Outcome::Stored { revision: 2 } });
    assert_eq!(desk.election.held_until(), Some(sent + Duration::from_millis(8_181)));
}

#[test]
fn a_renewal_that_was_not_stored_is_repeated_under_a_new_number() {
    let mut desk = Desk::leading();
    desk.pass(secs(3));
    let (first, lease) = desk.written();
    desk.pass(secs(1));
    desk.answer_read(snapshot(Some(entry(1, &Lease { write: 4, ..lease.clone() }))));
    let (second, again) = desk.written();
    assert_eq!(first, second);
    assert!(again.write > lease.write);
}

#[test]
fn two_requests_unanswered_in_a_row_end_the_connection() {
    let mut desk = Desk::leading();
    desk.pass(secs(3));
    desk.pass(secs(1));
    assert!(desk.is_reading());
    desk.pass(secs(1));
    assert_eq!(desk.command, Some(Command::Reconnect));
    assert!(desk.leads(), "its deadline stands");
}

/// A read takes two round trips, which may take longer than the timeout that a write keeps.
#[test]
fn a_read_that_is_answered_late_counts_as_the_one_that_repeats_it() {
    let mut desk = Desk::new(settings("me", 1));
    let first = desk.ticket();
    desk.pass(secs(1));
    let repeated = desk.ticket();
    assert!(desk.is_reading() && repeated != first);
    desk.pass(secs(1) / 2);
    let shown = || Outcome::Read(snapshot(Some(entry(1, &held("a", 2, 1, 1)))));
    desk.store(StoreEvent::Completed { ticket: first, outcome: shown() });
    assert_eq!(desk.changes.last(), Some(&Change::LeaderChanged(Some(("a".into(), epoch(1))))));
    desk.command = None;
    desk.store(StoreEvent::Completed { ticket: repeated, outcome: shown() });
    desk.pass(secs(2));
    assert_eq!(desk.command, None, "nothing is awaited, and the server is not taken for deaf");
}

/// What it shows may be older than a write that was sent since.
#[test]
fn a_read_that_is_answered_after_the_next_request_counts_for_nothing() {
    let mut desk = Desk::leading();
    desk.pass(secs(3));
    let (write, lease) = (desk.ticket(), desk.written().1);
    desk.pass(secs(1));
    let read = desk.ticket();
    desk.store(StoreEvent::Completed { ticket: write, outcome: Outcome::Stored { revision: 2 } });
    desk.pass(secs(1));
    assert!(desk.is_reading() && desk.ticket() != read);
    desk.answer_read(snapshot(Some(entry(2, &lease))));
    desk.pass(secs(1));
    desk.written();
    desk.store(StoreEvent::Completed { ticket: read, outcome: Outcome::NoBucket });
    desk.stored(3);
    assert!(desk.leads());
}

#[test]
fn a_foreign_record_a_marker_garbage_or_another_bucket_ends_the_term() {
    let other = Incarnation::new("two");
    let cases = [
        (snapshot(Some(entry(9, &held("other", 2, 3, 1)))), "superseded by other"),
        (snapshot(Some(entry(9, &held("other", 2, 1, 1)))), "superseded by other"),
        (snapshot(Some(entry(9, &held("me", 1, 3, 1)))), "superseded by me"),
        (snapshot(Some(Entry { revision: 9, content: Content::Marker })), "the record was deleted"),
        (
            snapshot(Some(Entry { revision: 9, content: Content::Value(b"x".to_vec()) })),
            "the record was overwritten with garbage",
        ),
        (absent(9), "the record was deleted"),
        (Snapshot { incarnation: other, ..absent(0) }, "the bucket was deleted or replaced"),
    ];
    for (shown, cause) in cases {
        let mut desk = Desk::leading();
        desk.pass(secs(3));
        desk.answer(Outcome::LostRace);
        desk.answer_read(shown);
        assert!(!desk.leads());
        assert_eq!(desk.lost().map(ToString::to_string).as_deref(), Some(cause));
    }
}

#[test]
fn a_purged_record_is_renewed_under_both_conditions_when_nothing_was_written_since() {
    let mut desk = Desk::leading();
    desk.pass(secs(3));
    desk.answer(Outcome::LostRace);
    desk.answer_read(absent(1));
    assert!(desk.leads());
    assert_eq!(desk.written().0, Expect::nothing_since(1));
    desk.stored(2);
    desk.pass(secs(3));
    desk.answer(Outcome::LostRace);
    desk.answer_read(absent(2));
    assert_eq!(desk.written().0, Expect::nothing_since(2));
}

#[test]
fn step_down_drains_then_releases_then_stays_back() {
    let mut desk = Desk::leading();
    assert_eq!(desk.give(Input::Resign(Reason::StepDown)), None);
    assert!(!desk.leads(), "at once");
    assert_eq!(desk.changes, [Change::Resigning { epoch: epoch(1), reason: Reason::StepDown }]);
    desk.pass(secs(3));
    assert!(!desk.written().1.is_released(), "renewals go on");
    desk.stored(2);
    desk.give(Input::Drained(epoch(1)));
    assert_eq!(desk.lost(), Some(&Cause::Resigned(Reason::StepDown)));
    let (expect, lease) = desk.written();
    assert_eq!(expect.revision, 2);
    assert!(lease.clean && lease.is_released() && lease.epoch == epoch(1));
    desk.stored(3);
    desk.pass(Duration::from_millis(9_999));
    assert_eq!(desk.command, None, "cooldown");
    desk.pass(Duration::from_millis(1));
    assert_eq!(desk.written().1.epoch, epoch(2));
}

#[test]
fn without_cooldown_a_release_is_still_left_to_others_for_a_moment() {
    let mut desk = Desk::leading();
    desk.election.settings.cooldown = Duration::ZERO;
    desk.give(Input::Resign(Reason::StepDown));
    desk.give(Input::Drained(epoch(1)));
    desk.stored(2);
    assert_eq!(desk.command, None);
    desk.pass(secs(1));
    assert_eq!(desk.written().1.epoch, epoch(2));
}

#[test]
fn a_drain_that_does_not_end_leaves_the_lease_to_lapse() {
    let mut desk = Desk::leading();
    desk.give(Input::Resign(Reason::StepDown));
    for revision in 2..=4 {
        desk.pass(secs(3));
        desk.stored(revision);
    }
    desk.pass(secs(1));
    assert_eq!(desk.lost(), Some(&Cause::DrainTimedOut(Reason::StepDown)));
    desk.answer_read(snapshot(Some(entry(4, &held("me", 1, 1, 99)))));
    assert_eq!(desk.command, None, "never clean");
    desk.give(Input::Drained(epoch(1)));
    assert!(desk.written().1.clean, "unless it ends after all");
}

#[test]
fn a_follower_cannot_step_down_and_names_the_leader() {
    let mut desk = Desk::following(&held("other", 2, 7, 3), 5);
    let refused = desk.give(Input::Resign(Reason::StepDown));
    assert_eq!(refused, Some(Refused::NotLeader { leader: Some("other".into()) }));
}

#[test]
fn a_transfer_names_its_successor_and_one_to_oneself_is_refused() {
    let mut desk = Desk::leading();
    let to = |id: &str| Input::Resign(Reason::Transfer { to: id.to_owned() });
    assert_eq!(desk.give(to("me")), Some(Refused::TransferToSelf));
    assert!(desk.leads());
    assert_eq!(desk.give(to("third")), None);
    desk.give(Input::Drained(epoch(1)));
    assert_eq!(desk.written().1.successor.as_deref(), Some("third"));
    desk.stored(2);
    desk.pass(secs(2));
    assert_eq!(desk.written().1.epoch, epoch(2), "the successor did not come");
}

#[test]
fn a_challenge_that_came_to_nothing_is_released_once_and_then_backs_off() {
    let mut desk = Desk::following(&released(2, 7, 3), 5);
    let (ticket, (_, lease)) = (desk.ticket(), desk.written());
    desk.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    desk.pass(secs(9));
    desk.store(StoreEvent::Connected { server: "here".into() });
    desk.answer_read(snapshot(Some(entry(6, &lease))));
    let (expect, release) = desk.written();
    assert!(release.clean && expect.revision == 6 && release.epoch == lease.epoch);
    desk.stored(7);
    desk.store(StoreEvent::Completed { ticket, outcome: Outcome::Stored { revision: 6 } });
    assert!(!desk.changes.iter().any(|change| matches!(change, Change::BecameLeader(_))));
    assert!(desk.wake_at >= desk.now + TTL - secs(9));
}

#[test]
fn an_own_record_without_a_term_is_retaken_at_once_as_a_new_epoch() {
    let mut desk = Desk::leading();
    let (_, own) = (0, held("me", 1, 1, 4));
    desk.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    desk.pass(secs(9));
    assert_eq!(desk.lost(), Some(&Cause::Expired));
    desk.store(StoreEvent::Connected { server: "here".into() });
    desk.answer_read(snapshot(Some(entry(1, &own))));
    assert_eq!(desk.written().1.epoch, epoch(2));
    desk.answer(Outcome::LostRace);
    desk.answer_read(snapshot(Some(entry(1, &own))));
    assert_eq!(desk.command, None, "once");
}

#[test]
fn an_unhealthy_node_steps_down_and_does_not_challenge() {
    let mut desk = Desk::leading();
    desk.give(Input::SetHealthy(false));
    assert!(!desk.leads());
    desk.give(Input::Drained(epoch(1)));
    desk.stored(2);
    desk.pass(secs(11));
    assert_eq!(desk.command, None);
    desk.give(Input::SetHealthy(true));
    assert_eq!(desk.written().1.epoch, epoch(2));
}

#[test]
fn a_stopping_leader_releases_and_finishes() {
    let mut desk = Desk::leading();
    desk.give(Input::Stop { until: desk.now + secs(5) });
    assert!(!desk.leads());
    desk.give(Input::Drained(epoch(1)));
    assert!(!desk.finished);
    desk.stored(2);
    assert!(desk.finished);
}

#[test]
fn a_stop_ends_at_its_bound_whatever_is_missing() {
    let mut desk = Desk::leading();
    desk.give(Input::Stop { until: desk.now + secs(5) });
    desk.pass(secs(5));
    assert!(desk.finished);
    assert_eq!(desk.lost(), Some(&Cause::DrainTimedOut(Reason::Stop)));
    let mut follower = Desk::following(&held("other", 2, 7, 3), 5);
    follower.give(Input::Stop { until: follower.now + secs(5) });
    assert!(follower.finished);
}

#[test]
fn a_leader_that_may_not_read_goes_on_renewing() {
    let mut desk = Desk::leading();
    desk.pass(secs(1));
    desk.notice(9, &held("other", 2, 7, 4));
    assert!(desk.is_reading());
    desk.answer(Outcome::Failed(StoreError::Permission("reading".into())));
    desk.pass(secs(2));
    assert_eq!(desk.written().0.revision, 1);
}

/// A challenge that was never stored leaves its epoch free, and the next one takes it.
#[test]
fn a_term_is_not_released_for_a_challenge_of_its_epoch_that_came_to_nothing() {
    let release = released(2, 7, 3);
    let mut desk = Desk::following(&release, 5);
    desk.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    desk.pass(secs(9));
    desk.store(StoreEvent::Connected { server: "here".into() });
    desk.answer_read(snapshot(Some(entry(5, &release))));
    desk.pass(2 * TTL);
    let (_, lease) = desk.written();
    desk.stored(6);
    assert!(desk.leads() && lease.epoch == epoch(8));
    desk.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    desk.pass(secs(9));
    assert_eq!(desk.lost(), Some(&Cause::Expired));
    desk.store(StoreEvent::Connected { server: "here".into() });
    desk.answer_read(snapshot(Some(entry(6, &lease))));
    assert!(!desk.written().1.clean, "its work may go on");
}

/// Its bucket may go away before the next read would have been due, and nobody else may be left who
/// remembers.
#[test]
fn a_new_epoch_that_was_only_heard_of_is_read_and_never_given_again() {
    let mut desk = Desk::following(&held("other", 2, 7, 3), 5);
    desk.pass(secs(2));
    let third = held("third", 3, 8, 1);
    desk.notice(6, &third);
    assert!(desk.is_reading());
    desk.answer_read(snapshot(Some(entry(6, &third))));
    desk.notice(7, &held("third", 3, 8, 2));
    assert!(!desk.is_reading(), "its renewals are not read");
    desk.pass(TTL);
    desk.answer_read(Snapshot { incarnation: Incarnation::new("two"), ..absent(0) });
    desk.pass(TTL);
    desk.answer_read(Snapshot { incarnation: Incarnation::new("two"), ..absent(0) });
    assert_eq!(desk.written().1.epoch, epoch(9));
}

/// The store may have lost what stands: until that is believed no release can be stored, and each
/// attempt would be followed by the next at once.
#[test]
fn a_release_into_a_store_that_seems_to_have_gone_back_is_spaced() {
    let mut desk = Desk::leading();
    desk.give(Input::Resign(Reason::StepDown));
    desk.give(Input::Drained(epoch(1)));
    assert!(desk.written().1.clean);
    desk.answer(Outcome::LostRace);
    desk.answer_read(absent(0));
    assert_eq!(desk.command, None);
    assert_eq!(desk.wake_at, desk.now + settings("me", 1).timing.retry_wait());
    desk.pass(settings("me", 1).timing.retry_wait());
    assert!(desk.written().1.clean, "it may be there again");
}
