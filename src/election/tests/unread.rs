//! Releases that are known by notice only.

use super::*;
use crate::store::ReleaseId;

/// A follower that has read epoch 7 of session 2 as revision 5.
fn follower() -> Desk {
    Desk::following(&held("other", 2, 7, 3), 5)
}

/// The same, and it has challenged the release of that term by a notice of revision 6.
fn challenger() -> Desk {
    let mut desk = follower();
    desk.notice(6, &released(2, 7, 4));
    desk.written();
    desk
}

/// By revision alone, a notice that guessed the number of the holder's next renewal would have that
/// renewal overwritten.
#[test]
fn a_noticed_release_is_challenged_at_once_and_by_its_name() {
    let desk = challenger();
    let (expect, lease) = desk.written();
    let release = ReleaseId::of(&released(2, 7, 4)).unwrap();
    assert_eq!(expect, Expect::release(6, release));
    assert_eq!((lease.epoch, lease.is_released()), (epoch(8), false));
    assert_eq!(release.to_string(), "release.00000000000000000000000000000002.7.4");
}

#[test]
fn whoever_leads_by_a_notice_reads_at_once_in_which_bucket() {
    let mut desk = challenger();
    desk.stored(7);
    assert!(desk.leads() && desk.is_reading());
    let mine = held("me", 1, 8, 2);
    let other =
        Snapshot { incarnation: Incarnation::new("two"), ..snapshot(Some(entry(7, &mine))) };
    desk.answer_read(other);
    assert_eq!(desk.lost(), Some(&Cause::BucketReplaced));
}

/// A server that has forgotten the name, or a bucket with other keys in it, says the same.
#[test]
fn a_challenge_by_name_that_lost_is_followed_by_a_read_and_one_by_revision() {
    let mut desk = challenger();
    desk.answer(Outcome::LostRace);
    desk.answer_read(snapshot(Some(entry(6, &released(2, 7, 4)))));
    let (expect, lease) = desk.written();
    assert_eq!((expect, lease.epoch), (Expect::revision(6), epoch(8)));
}

#[test]
fn a_release_that_was_never_stored_costs_one_lost_race_and_the_trust_in_notices() {
    let record = held("other", 2, 7, 3);
    let mut desk = challenger();
    let read_at = desk.now;
    desk.pass(Duration::from_millis(5));
    desk.answer(Outcome::LostRace);
    desk.answer_read(snapshot(Some(entry(5, &record))));
    assert_eq!(desk.command, None);
    desk.notice(8, &released(2, 7, 6));
    assert_eq!(desk.command, None, "notices are not trusted any more");
    desk.pass(TTL / 2);
    desk.answer_read(snapshot(Some(entry(5, &record))));
    desk.now = read_at + TTL;
    desk.give(Input::Tick);
    desk.answer_read(snapshot(Some(entry(5, &record))));
    assert_eq!(desk.written().0, Expect::revision(5), "the wait was neither ended nor lengthened");
}

#[test]
fn no_second_notice_is_challenged_before_a_read() {
    let mut desk = challenger();
    desk.notice(7, &released(2, 7, 5));
    desk.answer(Outcome::LostRace);
    assert!(desk.is_reading());
    let mut fresh = Desk::new(settings("me", 1));
    fresh.notice(6, &released(2, 7, 4));
    assert!(fresh.is_reading(), "nothing was read yet");
}

/// A holder of an earlier bucket may still lead; who saw it must wait for it.
#[test]
fn a_noticed_release_of_a_term_that_was_not_read_is_read_first() {
    let mut desk = follower();
    desk.pass(secs(2));
    desk.notice(6, &released(3, 9, 4));
    assert!(desk.is_reading());
    let mut desk = follower();
    desk.now = desk.now + secs(2);
    desk.notice(6, &held("third", 3, 9, 4));
    desk.notice(7, &released(3, 9, 5));
    assert!(desk.is_reading());
}

/// Or whoever forges them had the store read all the time.
#[test]
fn a_noticed_release_of_another_term_is_read_no_sooner_than_any_doubtful_notice() {
    let mut desk = follower();
    let read = desk.now;
    desk.pass(Duration::from_millis(10));
    desk.notice(6, &released(3, 9, 4));
    assert_eq!((desk.command.clone(), desk.wake_at), (None, read + secs(1)));
}

/// By revision alone it would be the new holder's record that is overwritten.
#[test]
fn a_challenge_by_name_of_unknown_outcome_is_not_repeated_over_anything_else() {
    let mut desk = challenger();
    desk.pass(secs(1));
    desk.answer_read(snapshot(Some(entry(6, &held("third", 3, 8, 1)))));
    assert_eq!(desk.command, None);
    desk.pass(TTL / 4);
    assert_eq!(desk.command, None);
}

#[test]
fn a_new_term_is_read_so_that_its_release_can_be_taken_over_at_once() {
    let mut desk = follower();
    desk.pass(secs(2));
    desk.notice(6, &held("third", 3, 8, 4));
    desk.answer_read(snapshot(Some(entry(6, &held("third", 3, 8, 4)))));
    desk.notice(7, &held("third", 3, 8, 5));
    assert_eq!(desk.command, None, "its renewals are not");
    desk.notice(8, &released(3, 8, 6));
    assert_eq!(desk.written().0.revision, 8);
}

#[test]
fn what_would_have_to_wait_is_read_meanwhile() {
    let named = |to: &str| Lease { successor: Some(to.into()), ..released(2, 7, 4) };
    let mut desk = follower();
    desk.notice(6, &named("third"));
    assert!(desk.is_reading());
    let mut desk = follower();
    desk.notice(6, &named("me"));
    desk.written();
    let mut desk = follower();
    desk.give(Input::SetHealthy(false));
    desk.notice(6, &released(2, 7, 4));
    assert!(desk.is_reading());
}

#[test]
fn a_release_that_is_not_clean_or_of_an_older_write_is_no_reason_to_challenge() {
    for release in [
        Lease { clean: false, ..released(2, 7, 4) },
        released(2, 7, 3),
        released(2, 6, 4),
        Lease { session: None, clean: false, ..released(2, 7, 4) },
    ] {
        let mut desk = follower();
        desk.pass(secs(2));
        desk.notice(6, &release);
        assert!(desk.is_reading(), "{release:?}");
    }
}

#[test]
fn a_release_that_somebody_took_over_already_is_not_challenged() {
    let mut desk = Desk::new(settings("me", 1));
    desk.answer_read(snapshot(Some(entry(5, &held("other", 2, 7, 3)))));
    desk.give(Input::SetHealthy(false));
    desk.notice(6, &released(2, 7, 4));
    assert!(desk.is_reading());
    desk.notice(7, &held("third", 3, 8, 1));
    desk.give(Input::SetHealthy(true));
    desk.answer_read(snapshot(Some(entry(5, &held("other", 2, 7, 3)))));
    assert!(!matches!(desk.command, Some(Command::Write { .. })), "{:?}", desk.command);
}

#[test]
fn a_challenge_by_name_of_unknown_outcome_is_read_and_repeated_where_it_still_can_be_stored() {
    let mut desk = challenger();
    let first = desk.written().1;
    desk.pass(secs(1));
    desk.answer_read(snapshot(Some(entry(6, &released(2, 7, 4)))));
    let (expect, lease) = desk.written();
    assert_eq!((expect, lease.epoch), (Expect::revision(6), first.epoch));
    assert!(lease.write > first.write);
    desk.stored(7);
    assert!(desk.leads());
}

/// Nothing can have been stored, so there is nothing to clean up and no reason to stay back.
#[test]
fn a_forged_release_does_not_make_a_challenger_stay_back() {
    let record = held("other", 2, 7, 3);
    let mut desk = challenger();
    let seen = desk.now;
    desk.pass(secs(1));
    desk.answer_read(snapshot(Some(entry(5, &record))));
    assert_eq!(desk.command, None);
    for _ in 0..2 {
        desk.pass(TTL / 2);
        desk.answer_read(snapshot(Some(entry(5, &record))));
    }
    assert!(desk.now <= seen + TTL + secs(1), "{:?}", desk.now);
    assert_eq!(desk.written().0, Expect::revision(5));
}

/// The acknowledgement may still come; it was stored over a release, and counts from when it was
/// sent.
#[test]
fn a_challenge_by_name_that_is_read_back_begins_the_term() {
    let mut desk = challenger();
    let mine = desk.written().1;
    desk.pass(secs(1));
    desk.answer_read(snapshot(Some(entry(7, &mine))));
    assert!(desk.leads());
}

/// The notice did not say so; the successor is not part of the name.
#[test]
fn a_release_that_turns_out_to_be_left_to_another_is_left_to_it() {
    let mut desk = challenger();
    desk.pass(secs(1));
    let release = Lease { successor: Some("third".into()), ..released(2, 7, 4) };
    desk.answer_read(snapshot(Some(entry(6, &release))));
    assert_eq!(desk.command, None);
    desk.pass(secs(1));
    assert_eq!(desk.written().0, Expect::revision(6));
}
