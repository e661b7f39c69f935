//! Releases that were noticed and not read yet.

use super::*;
use crate::store::ReleaseId;

/// A follower that has read epoch 7 of session 2 as revision 5.
fn follower() -> TestNode {
    TestNode::following(&held("other", 2, 7, 3), 5)
}

/// The same follower, after it has challenged a noticed release of that term, revision 6.
fn challenger() -> TestNode {
    let mut node = follower();
    node.notice(6, &released(2, 7, 4));
    node.sent_write();
    node
}

/// With the revision alone as its condition, a forged notice that guessed the revision of the
/// holder's next renewal would have that renewal overwritten.
#[test]
fn a_noticed_release_is_challenged_at_once_by_its_name() {
    let node = challenger();
    let (expect, lease) = node.sent_write();
    let release = ReleaseId::of(&released(2, 7, 4)).unwrap();
    assert_eq!(expect, Expect::release(6, release));
    assert_eq!((lease.epoch, lease.is_released()), (epoch(8), false));
    assert_eq!(release.to_string(), "release.00000000000000000000000000000002.7.4");
}

#[test]
fn a_leader_by_a_noticed_release_reads_the_bucket_at_once() {
    let mut node = challenger();
    node.stored(7);
    assert!(node.leads() && node.is_reading());
    let mine = held("me", 1, 8, 2);
    let other =
        Snapshot { incarnation: Incarnation::new("two"), ..snapshot(Some(entry(7, &mine))) };
    node.answer_read(other);
    assert_eq!(node.lost(), Some(&Cause::BucketReplaced));
}

/// A server that has forgotten the name answers the same as one that never stored it.
#[test]
fn a_lost_challenge_by_name_is_repeated_by_revision() {
    let mut node = challenger();
    node.answer(Outcome::LostRace);
    node.answer_read(snapshot(Some(entry(6, &released(2, 7, 4)))));
    let (expect, lease) = node.sent_write();
    assert_eq!((expect, lease.epoch), (Expect::revision(6), epoch(8)));
}

#[test]
fn a_forged_release_costs_one_lost_race_and_trust() {
    let record = held("other", 2, 7, 3);
    let mut node = challenger();
    let read_at = node.now;
    node.advance(Duration::from_millis(5));
    node.answer(Outcome::LostRace);
    node.answer_read(snapshot(Some(entry(5, &record))));
    assert_eq!(node.command, None);
    node.notice(8, &released(2, 7, 6));
    assert_eq!(node.command, None, "notices are not trusted any more");
    node.advance(TTL / 2);
    node.answer_read(snapshot(Some(entry(5, &record))));
    node.now = read_at + TTL;
    node.input(Input::Tick);
    node.answer_read(snapshot(Some(entry(5, &record))));
    assert_eq!(
        node.sent_write().0,
        Expect::revision(5),
        "the wait was neither ended nor lengthened"
    );
}

#[test]
fn only_one_noticed_release_is_challenged_between_two_reads() {
    let mut node = challenger();
    node.notice(7, &released(2, 7, 5));
    node.answer(Outcome::LostRace);
    assert!(node.is_reading());
    let mut fresh = TestNode::new(settings("me", 1));
    fresh.notice(6, &released(2, 7, 4));
    assert!(fresh.is_reading(), "nothing was read yet");
}

/// The release may be from another bucket, and a holder in this one may lead.
#[test]
fn a_noticed_release_of_an_unread_term_is_read_first() {
    let mut node = follower();
    node.advance(secs(2));
    node.notice(6, &released(3, 9, 4));
    assert!(node.is_reading());
    let mut node = follower();
    node.now = node.now + secs(2);
    node.notice(6, &held("third", 3, 9, 4));
    node.notice(7, &released(3, 9, 5));
    assert!(node.is_reading());
}

/// Otherwise a forger could keep the store busy with reads.
#[test]
fn a_noticed_release_of_another_term_is_read_after_a_request_timeout() {
    let mut node = follower();
    let read = node.now;
    node.advance(Duration::from_millis(10));
    node.notice(6, &released(3, 9, 4));
    assert_eq!((node.command.clone(), node.wake_at), (None, read + secs(1)));
}

/// With the revision alone as its condition, it would overwrite the record of the new holder.
#[test]
fn a_challenge_by_name_is_not_repeated_over_another_record() {
    let mut node = challenger();
    node.advance(secs(1));
    node.answer_read(snapshot(Some(entry(6, &held("third", 3, 8, 1)))));
    assert_eq!(node.command, None);
    node.advance(TTL / 4);
    assert_eq!(node.command, None);
}

#[test]
fn a_noticed_term_is_read_and_its_release_challenged_at_once() {
    let mut node = follower();
    node.advance(secs(2));
    node.notice(6, &held("third", 3, 8, 4));
    node.advance(Duration::from_millis(10));
    node.answer_read(snapshot(Some(entry(6, &held("third", 3, 8, 4)))));
    node.notice(7, &held("third", 3, 8, 5));
    assert_eq!(node.command, None, "its renewals are not read");
    node.notice(8, &released(3, 8, 6));
    assert_eq!(node.sent_write().0.revision, 8);
}

#[test]
fn a_noticed_release_that_has_to_wait_is_read() {
    let named = |to: &str| Lease { successor: Some(to.into()), ..released(2, 7, 4) };
    let mut node = follower();
    node.notice(6, &named("third"));
    assert!(node.is_reading());
    let mut node = follower();
    node.notice(6, &named("me"));
    node.sent_write();
    let mut node = follower();
    node.input(Input::SetHealthy(false));
    node.notice(6, &released(2, 7, 4));
    assert!(node.is_reading());
}

#[test]
fn only_a_clean_and_newer_release_is_challenged_unread() {
    for release in [
        Lease { clean: false, ..released(2, 7, 4) },
        released(2, 7, 3),
        released(2, 6, 4),
        Lease { session: None, clean: false, ..released(2, 7, 4) },
    ] {
        let mut node = follower();
        node.advance(secs(2));
        node.notice(6, &release);
        assert!(node.is_reading(), "{release:?}");
    }
}

#[test]
fn a_noticed_release_with_a_newer_holder_is_not_challenged() {
    let mut node = TestNode::new(settings("me", 1));
    node.answer_read(snapshot(Some(entry(5, &held("other", 2, 7, 3)))));
    node.input(Input::SetHealthy(false));
    node.notice(6, &released(2, 7, 4));
    assert!(node.is_reading());
    node.notice(7, &held("third", 3, 8, 1));
    node.input(Input::SetHealthy(true));
    node.answer_read(snapshot(Some(entry(5, &held("other", 2, 7, 3)))));
    assert!(!matches!(node.command, Some(Command::Write { .. })), "{:?}", node.command);
}

#[test]
fn a_challenge_by_name_of_unknown_outcome_is_read_and_repeated() {
    let mut node = challenger();
    let first = node.sent_write().1;
    node.advance(secs(1));
    node.answer_read(snapshot(Some(entry(6, &released(2, 7, 4)))));
    let (expect, lease) = node.sent_write();
    assert_eq!((expect, lease.epoch), (Expect::revision(6), first.epoch));
    assert!(lease.write > first.write);
    node.stored(7);
    assert!(node.leads());
}

/// No write of the challenge can have been stored.
#[test]
fn a_forged_release_causes_no_back_off() {
    let record = held("other", 2, 7, 3);
    let mut node = challenger();
    let seen = node.now;
    node.advance(secs(1));
    node.answer_read(snapshot(Some(entry(5, &record))));
    assert_eq!(node.command, None);
    for _ in 0..2 {
        node.advance(TTL / 2);
        node.answer_read(snapshot(Some(entry(5, &record))));
    }
    assert!(node.now <= seen + TTL + secs(1), "{:?}", node.now);
    assert_eq!(node.sent_write().0, Expect::revision(5));
}

/// It replaced a clean release, and counts from when it was sent.
#[test]
fn a_challenge_by_name_that_is_read_back_begins_a_term() {
    let mut node = challenger();
    let mine = node.sent_write().1;
    node.advance(secs(1));
    node.answer_read(snapshot(Some(entry(7, &mine))));
    assert!(node.leads());
}

/// The notice named no successor, and the successor is not part of a release's name.
#[test]
fn a_release_that_proves_to_be_for_another_node_waits() {
    let mut node = challenger();
    node.advance(secs(1));
    let release = Lease { successor: Some("third".into()), ..released(2, 7, 4) };
    node.answer_read(snapshot(Some(entry(6, &release))));
    assert_eq!(node.command, None);
    node.advance(secs(1));
    assert_eq!(node.sent_write().0, Expect::revision(6));
}

/// The server and the processors are left to the new leader.
#[test]
fn a_noticed_new_term_is_read_a_moment_later() {
    let mut node = follower();
    node.advance(secs(2));
    node.notice(6, &held("third", 3, 8, 4));
    assert_eq!((node.command.clone(), node.wake_at), (None, node.now + Duration::from_millis(10)));
    node.advance(Duration::from_millis(9));
    node.notice(7, &held("third", 3, 8, 5));
    assert_eq!(node.command, None);
    node.advance(Duration::from_millis(1));
    assert!(node.is_reading(), "further notices do not delay it");
}
