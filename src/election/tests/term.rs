//! The life of a term: it is renewed, lost, or resigned.

use super::*;
use crate::event::Reason;

#[test]
fn a_renewal_moves_the_deadline() {
    let mut node = TestNode::leading();
    node.advance(secs(3));
    let sent = node.now;
    let (expect, lease) = node.sent_write();
    assert_eq!((expect.revision, lease.epoch), (1, epoch(1)));
    node.stored(2);
    assert_eq!(node.election.held_until(), Some(sent + Duration::from_millis(8_181)));
    assert_eq!(node.wake_at, sent + secs(3));
}

#[test]
fn a_term_without_renewal_ends_at_its_deadline() {
    let mut node = TestNode::leading();
    node.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    node.advance(Duration::from_millis(8_180));
    assert!(node.leads());
    node.advance(Duration::from_millis(1));
    assert!(!node.leads());
    assert_eq!(node.lost(), Some(&Cause::Expired));
}

#[test]
fn an_acknowledgement_after_the_deadline_does_not_revive_the_term() {
    let mut node = TestNode::leading();
    node.advance(secs(3));
    let ticket = node.ticket();
    node.now = node.now + secs(6);
    node.store(StoreEvent::Completed { ticket, outcome: Outcome::Stored { revision: 2 } });
    assert!(!node.leads());
    assert_eq!(node.lost(), Some(&Cause::Expired));
}

/// The reads before the term answer no notice. Later reads are spaced, as notices can be forged.
#[test]
fn the_first_notice_in_a_term_is_read_at_once_and_the_next_after_a_request_timeout() {
    let mut node = TestNode::leading();
    let begun = node.now;
    node.notice(9, &held("forger", 3, 7, 1));
    assert!(node.is_reading());
    node.answer_read(snapshot(Some(entry(1, &held("me", 1, 1, 4)))));
    node.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    node.store(StoreEvent::Connected { server: "here".into() });
    node.answer_read(snapshot(Some(entry(1, &held("me", 1, 1, 4)))));
    node.command = None;
    node.notice(10, &held("forger", 3, 7, 2));
    assert_eq!((node.command.clone(), node.wake_at), (None, begun + secs(1)));
    assert!(node.leads());
}

#[test]
fn a_key_that_is_deleted_as_the_term_begins_ends_it_at_once() {
    let mut node = TestNode::leading();
    let marker = || Entry { revision: 2, content: Content::Marker };
    node.store(StoreEvent::Notice(marker()));
    node.answer_read(snapshot(Some(marker())));
    assert_eq!(node.lost(), Some(&Cause::Deleted));
}

#[test]
fn an_unknown_renewal_is_read_and_counts_from_when_it_was_sent() {
    let mut node = TestNode::leading();
    node.advance(secs(3));
    let (sent, (_, lease)) = (node.now, node.sent_write());
    node.advance(secs(1));
    assert!(node.is_reading(), "after the request timeout");
    node.answer_read(snapshot(Some(entry(2, &lease))));
    assert_eq!(node.election.held_until(), Some(sent + Duration::from_millis(8_181)));
}

#[test]
fn a_late_acknowledgement_counts_from_when_its_write_was_sent() {
    let mut node = TestNode::leading();
    node.advance(secs(3));
    let (sent, ticket) = (node.now, node.ticket());
    node.advance(secs(1));
    node.store(StoreEvent::Completed { ticket, outcome: Outcome::Stored { revision: 2 } });
    assert_eq!(node.election.held_until(), Some(sent + Duration::from_millis(8_181)));
}

#[test]
fn a_renewal_that_was_not_stored_is_repeated_under_a_new_number() {
    let mut node = TestNode::leading();
    node.advance(secs(3));
    let (first, lease) = node.sent_write();
    node.advance(secs(1));
    node.answer_read(snapshot(Some(entry(1, &Lease { write: 4, ..lease.clone() }))));
    let (second, again) = node.sent_write();
    assert_eq!(first, second);
    assert!(again.write > lease.write);
}

#[test]
fn two_timeouts_in_a_row_drop_the_connection() {
    let mut node = TestNode::leading();
    node.advance(secs(3));
    node.advance(secs(1));
    assert!(node.is_reading());
    node.advance(secs(1));
    assert_eq!(node.command, Some(Command::Reconnect));
    assert!(node.leads(), "until its deadline");
}

/// A read takes two round trips. These may take longer than the timeout of one request.
#[test]
fn a_late_answer_to_a_repeated_read_counts() {
    let mut node = TestNode::new(settings("me", 1));
    let first = node.ticket();
    node.advance(secs(1));
    let repeated = node.ticket();
    assert!(node.is_reading() && repeated != first);
    node.advance(secs(1) / 2);
    let shown = || Outcome::Read(snapshot(Some(entry(1, &held("a", 2, 1, 1)))));
    node.store(StoreEvent::Completed { ticket: first, outcome: shown() });
    assert_eq!(node.changes.last(), Some(&Change::LeaderChanged(Some(("a".into(), epoch(1))))));
    node.command = None;
    node.store(StoreEvent::Completed { ticket: repeated, outcome: shown() });
    node.advance(secs(2));
    assert_eq!(node.command, None, "nothing is awaited, and the connection is kept");
}

/// It may show less than a write that was sent later.
#[test]
fn a_read_answered_after_a_later_request_is_ignored() {
    let mut node = TestNode::leading();
    node.advance(secs(3));
    let (write, lease) = (node.ticket(), node.sent_write().1);
    node.advance(secs(1));
    let read = node.ticket();
    node.store(StoreEvent::Completed { ticket: write, outcome: Outcome::Stored { revision: 2 } });
    node.advance(secs(1));
    assert!(node.is_reading() && node.ticket() != read);
    node.answer_read(snapshot(Some(entry(2, &lease))));
    node.advance(secs(1));
    node.sent_write();
    node.store(StoreEvent::Completed { ticket: read, outcome: Outcome::NoBucket });
    node.stored(3);
    assert!(node.leads());
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
        let mut node = TestNode::leading();
        node.advance(secs(3));
        node.answer(Outcome::LostRace);
        node.answer_read(shown);
        assert!(!node.leads());
        assert_eq!(node.lost().map(ToString::to_string).as_deref(), Some(cause));
    }
}

#[test]
fn a_purged_record_is_renewed_under_both_conditions_when_nothing_was_written_since() {
    let mut node = TestNode::leading();
    node.advance(secs(3));
    node.answer(Outcome::LostRace);
    node.answer_read(absent(1));
    assert!(node.leads());
    assert_eq!(node.sent_write().0, Expect::nothing_since(1));
    node.stored(2);
    node.advance(secs(3));
    node.answer(Outcome::LostRace);
    node.answer_read(absent(2));
    assert_eq!(node.sent_write().0, Expect::nothing_since(2));
}

#[test]
fn step_down_drains_releases_and_cools_down() {
    let mut node = TestNode::leading();
    assert_eq!(node.input(Input::Resign(Reason::StepDown)), None);
    assert!(!node.leads(), "at once");
    assert_eq!(node.changes, [Change::Resigning { epoch: epoch(1), reason: Reason::StepDown }]);
    node.advance(secs(3));
    assert!(!node.sent_write().1.is_released(), "renewals go on");
    node.stored(2);
    node.input(Input::Drained(epoch(1)));
    assert_eq!(node.lost(), Some(&Cause::Resigned(Reason::StepDown)));
    let (expect, lease) = node.sent_write();
    assert_eq!(expect.revision, 2);
    assert!(lease.clean && lease.is_released() && lease.epoch == epoch(1));
    node.stored(3);
    node.advance(Duration::from_millis(9_999));
    assert_eq!(node.command, None, "cooldown");
    node.advance(Duration::from_millis(1));
    assert_eq!(node.sent_write().1.epoch, epoch(2));
}

#[test]
fn without_cooldown_an_own_release_still_waits_the_successor_wait() {
    let mut node = TestNode::leading();
    node.election.settings.cooldown = Duration::ZERO;
    node.input(Input::Resign(Reason::StepDown));
    node.input(Input::Drained(epoch(1)));
    node.stored(2);
    assert_eq!(node.command, None);
    node.advance(secs(1));
    assert_eq!(node.sent_write().1.epoch, epoch(2));
}

#[test]
fn a_drain_that_does_not_end_lets_the_lease_expire() {
    let mut node = TestNode::leading();
    node.input(Input::Resign(Reason::StepDown));
    for revision in 2..=4 {
        node.advance(secs(3));
        node.stored(revision);
    }
    node.advance(secs(1));
    assert_eq!(node.lost(), Some(&Cause::DrainTimedOut(Reason::StepDown)));
    node.answer_read(snapshot(Some(entry(4, &held("me", 1, 1, 99)))));
    assert_eq!(node.command, None, "never clean");
    node.input(Input::Drained(epoch(1)));
    assert!(node.sent_write().1.clean, "once the work has stopped after all");
}

#[test]
fn a_follower_cannot_step_down_and_names_the_leader() {
    let mut node = TestNode::following(&held("other", 2, 7, 3), 5);
    let refused = node.input(Input::Resign(Reason::StepDown));
    assert_eq!(refused, Some(Refused::NotLeader { leader: Some("other".into()) }));
}

#[test]
fn a_transfer_names_its_successor_and_is_refused_to_oneself() {
    let mut node = TestNode::leading();
    let to = |id: &str| Input::Resign(Reason::Transfer { to: id.to_owned() });
    assert_eq!(node.input(to("me")), Some(Refused::TransferToSelf));
    assert!(node.leads());
    assert_eq!(node.input(to("third")), None);
    node.input(Input::Drained(epoch(1)));
    assert_eq!(node.sent_write().1.successor.as_deref(), Some("third"));
    node.stored(2);
    node.advance(secs(2));
    assert_eq!(node.sent_write().1.epoch, epoch(2), "the successor did not come");
}

#[test]
fn an_abandoned_challenge_is_released_once_and_backs_off() {
    let mut node = TestNode::following(&released(2, 7, 3), 5);
    let (ticket, (_, lease)) = (node.ticket(), node.sent_write());
    node.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    node.advance(secs(9));
    node.store(StoreEvent::Connected { server: "here".into() });
    node.answer_read(snapshot(Some(entry(6, &lease))));
    let (expect, release) = node.sent_write();
    assert!(release.clean && expect.revision == 6 && release.epoch == lease.epoch);
    node.stored(7);
    node.store(StoreEvent::Completed { ticket, outcome: Outcome::Stored { revision: 6 } });
    assert!(!node.changes.iter().any(|change| matches!(change, Change::BecameLeader(_))));
    assert!(node.wake_at >= node.now + TTL - secs(9));
}

#[test]
fn an_own_record_without_a_term_is_challenged_at_once() {
    let mut node = TestNode::leading();
    let (_, own) = (0, held("me", 1, 1, 4));
    node.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    node.advance(secs(9));
    assert_eq!(node.lost(), Some(&Cause::Expired));
    node.store(StoreEvent::Connected { server: "here".into() });
    node.answer_read(snapshot(Some(entry(1, &own))));
    assert_eq!(node.sent_write().1.epoch, epoch(2));
    node.answer(Outcome::LostRace);
    node.answer_read(snapshot(Some(entry(1, &own))));
    assert_eq!(node.command, None, "once");
}

#[test]
fn an_unhealthy_node_steps_down_and_does_not_challenge() {
    let mut node = TestNode::leading();
    node.input(Input::SetHealthy(false));
    assert!(!node.leads());
    node.input(Input::Drained(epoch(1)));
    node.stored(2);
    node.advance(secs(11));
    assert_eq!(node.command, None);
    node.input(Input::SetHealthy(true));
    assert_eq!(node.sent_write().1.epoch, epoch(2));
}

#[test]
fn a_stopping_leader_releases_and_finishes() {
    let mut node = TestNode::leading();
    node.input(Input::Stop { until: node.now + secs(5) });
    assert!(!node.leads());
    node.input(Input::Drained(epoch(1)));
    assert!(!node.finished);
    node.stored(2);
    assert!(node.finished);
}

#[test]
fn a_stop_ends_at_its_bound() {
    let mut node = TestNode::leading();
    node.input(Input::Stop { until: node.now + secs(5) });
    node.advance(secs(5));
    assert!(node.finished);
    assert_eq!(node.lost(), Some(&Cause::DrainTimedOut(Reason::Stop)));
    let mut follower = TestNode::following(&held("other", 2, 7, 3), 5);
    follower.input(Input::Stop { until: follower.now + secs(5) });
    assert!(follower.finished);
}

#[test]
fn a_leader_without_permission_to_read_still_renews() {
    let mut node = TestNode::leading();
    node.advance(secs(1));
    node.notice(9, &held("other", 2, 7, 4));
    assert!(node.is_reading());
    node.answer(Outcome::Failed(StoreError::Permission("reading".into())));
    node.advance(secs(2));
    assert_eq!(node.sent_write().0.revision, 1);
}

/// A challenge that was never stored leaves its epoch to the next one.
#[test]
fn a_term_is_not_released_for_an_abandoned_challenge_of_its_epoch() {
    let release = released(2, 7, 3);
    let mut node = TestNode::following(&release, 5);
    node.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    node.advance(secs(9));
    node.store(StoreEvent::Connected { server: "here".into() });
    node.answer_read(snapshot(Some(entry(5, &release))));
    node.advance(2 * TTL);
    let (_, lease) = node.sent_write();
    node.stored(6);
    assert!(node.leads() && lease.epoch == epoch(8));
    node.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    node.advance(secs(9));
    assert_eq!(node.lost(), Some(&Cause::Expired));
    node.store(StoreEvent::Connected { server: "here".into() });
    node.answer_read(snapshot(Some(entry(6, &lease))));
    assert!(!node.sent_write().1.clean, "its work may go on");
}

/// The bucket may be lost before the next poll, and with it all other nodes that know the epoch.
#[test]
fn a_noticed_epoch_is_read_and_never_given_again() {
    let mut node = TestNode::following(&held("other", 2, 7, 3), 5);
    node.advance(secs(2));
    let third = held("third", 3, 8, 1);
    node.notice(6, &third);
    node.advance(Duration::from_millis(10));
    assert!(node.is_reading());
    node.answer_read(snapshot(Some(entry(6, &third))));
    node.notice(7, &held("third", 3, 8, 2));
    assert!(!node.is_reading(), "its renewals are not read");
    node.advance(TTL);
    node.answer_read(Snapshot { incarnation: Incarnation::new("two"), ..absent(0) });
    node.advance(TTL);
    node.answer_read(Snapshot { incarnation: Incarnation::new("two"), ..absent(0) });
    assert_eq!(node.sent_write().1.epoch, epoch(9));
}

/// The store may have lost the record. No release can be stored before that counts, and each
/// attempt would be followed by the next at once.
#[test]
fn a_release_after_a_lower_revision_is_delayed() {
    let mut node = TestNode::leading();
    node.input(Input::Resign(Reason::StepDown));
    node.input(Input::Drained(epoch(1)));
    assert!(node.sent_write().1.clean);
    node.answer(Outcome::LostRace);
    node.answer_read(absent(0));
    assert_eq!(node.command, None);
    assert_eq!(node.wake_at, node.now + settings("me", 1).timing.retry_wait());
    node.advance(settings("me", 1).timing.retry_wait());
    assert!(node.sent_write().1.clean, "it may be there again");
}
