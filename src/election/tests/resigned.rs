//! Terms that are given back, beyond the usual course of it.

use super::*;
use crate::event::Reason;

fn to(id: &str) -> Input {
    Input::Resign(Reason::Transfer { to: id.to_owned() })
}

#[test]
fn a_second_resignation_joins_the_first_and_may_name_a_successor() {
    let mut desk = Desk::leading();
    assert_eq!(desk.give(Input::Resign(Reason::StepDown)), None);
    assert_eq!(desk.give(to("third")), None);
    assert_eq!(desk.give(to("fourth")), None);
    assert_eq!(desk.changes.len(), 1, "told once");
    desk.give(Input::Drained(epoch(1)));
    assert_eq!(desk.written().1.successor.as_deref(), Some("third"));
}

#[test]
fn work_of_another_term_that_stops_ends_no_drain() {
    let mut desk = Desk::leading();
    desk.give(Input::Resign(Reason::StepDown));
    desk.give(Input::Drained(epoch(2)));
    assert_eq!((desk.command.clone(), desk.lost()), (None, None));
}

#[test]
fn health_is_a_matter_of_leaders_that_lose_it() {
    let mut desk = Desk::leading();
    assert_eq!(desk.give(Input::SetHealthy(true)), None);
    assert!(desk.leads());
    let mut follower = Desk::following(&held("other", 2, 7, 3), 5);
    assert_eq!(follower.give(Input::SetHealthy(false)), None);
    assert_eq!(follower.give(Input::Promote), Some(Refused::Unhealthy));
}

/// Others have to wait for the record to lapse, and come first all the same.
#[test]
fn whoever_cannot_send_its_release_within_a_ttl_stays_back_for_longer() {
    let mut desk = Desk::leading();
    desk.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    desk.give(Input::Resign(Reason::StepDown));
    let ended = desk.now;
    desk.give(Input::Drained(epoch(1)));
    assert_eq!(desk.wake_at, ended + TTL);
    desk.pass(TTL.saturating_sub(Duration::from_millis(1)));
    assert!(desk.election.is_resigning());
    desk.pass(Duration::from_millis(1));
    assert!(!desk.election.is_resigning());
    let expiry_cooldown = desk.election.settings.timing.expiry_cooldown();
    assert_eq!(desk.wake_at, ended + expiry_cooldown);
    desk.store(StoreEvent::Connected { server: "here".into() });
    desk.answer_read(snapshot(Some(entry(1, &held("me", 1, 1, 4)))));
    assert!(desk.written().1.clean, "it may still be released");
}

#[test]
fn every_phase_says_when_it_ends_by_itself() {
    let validity = Timing::default().validity();
    let mut desk = Desk::following(&released(2, 7, 3), 5);
    let sent = desk.now;
    desk.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    assert_eq!(desk.wake_at, sent + validity, "a challenge");
    let mut desk = Desk::leading();
    desk.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    assert_eq!(Some(desk.wake_at), desk.election.held_until(), "a term");
    desk.election.settings.drain_timeout = secs(4);
    desk.give(Input::Resign(Reason::StepDown));
    assert_eq!(desk.wake_at, desk.now + secs(4), "a drain");
    desk.pass(secs(4));
    assert_eq!(desk.lost(), Some(&Cause::DrainTimedOut(Reason::StepDown)));
}

#[test]
fn a_drain_ends_with_its_term_when_that_cannot_be_renewed() {
    let mut desk = Desk::leading();
    let until = desk.election.held_until().unwrap();
    desk.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    desk.give(Input::Resign(Reason::StepDown));
    assert_eq!(desk.wake_at, until);
    desk.pass(until.since(desk.now));
    assert_eq!(desk.lost(), Some(&Cause::Expired));
}

#[test]
fn a_new_application_value_is_written_at_once_and_gone_with_the_release() {
    let mut desk = Desk::leading();
    let meta = serde_json::json!("10.0.0.1:80");
    desk.give(Input::SetMeta(Some(meta.clone())));
    let (expect, lease) = desk.written();
    assert_eq!((expect.revision, lease.meta), (1, Some(meta)));
    desk.stored(2);
    desk.give(Input::Resign(Reason::StepDown));
    desk.give(Input::Drained(epoch(1)));
    assert_eq!(desk.written().1.meta, None);
}

#[test]
fn a_promotion_ends_the_cooldown_and_is_refused_while_a_term_is_given_back() {
    let mut desk = Desk::leading();
    desk.give(Input::Resign(Reason::StepDown));
    assert_eq!(desk.give(Input::Promote), Some(Refused::Resigning));
    desk.give(Input::Drained(epoch(1)));
    assert_eq!(desk.give(Input::Promote), Some(Refused::Resigning));
    desk.stored(2);
    desk.pass(secs(2));
    assert_eq!(desk.command, None, "cooldown");
    assert_eq!(desk.give(Input::Promote), None);
    assert_eq!(desk.written().1.epoch, epoch(2));
}

#[test]
fn a_transfer_is_taken_back_no_sooner_than_its_successor_had_its_time_twice() {
    let mut desk = Desk::leading();
    desk.give(to("third"));
    desk.give(Input::Drained(epoch(1)));
    desk.stored(2);
    assert_eq!(desk.wake_at, desk.now + secs(2));
    desk.pass(Duration::from_millis(1_999));
    assert_eq!(desk.command, None);
    desk.pass(Duration::from_millis(1));
    assert_eq!(desk.written().1.epoch, epoch(2));
}

/// Or it would be left behind, held by nobody.
#[test]
fn whoever_stops_while_it_challenges_looks_what_became_of_that_and_releases_it() {
    let mut desk = Desk::following(&released(2, 7, 3), 5);
    let lease = desk.written().1;
    desk.give(Input::Stop { until: desk.now + secs(20) });
    assert!(!desk.finished);
    desk.pass(secs(1));
    assert!(desk.is_reading() && !desk.finished);
    desk.answer_read(snapshot(Some(entry(6, &lease))));
    let (expect, release) = desk.written();
    assert!(release.clean && expect.revision == 6 && !desk.finished);
    desk.stored(7);
    assert!(desk.finished);
}

#[test]
fn whoever_stops_while_it_challenges_has_nothing_to_wait_for_without_a_connection() {
    let mut desk = Desk::following(&released(2, 7, 3), 5);
    desk.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    desk.give(Input::Stop { until: desk.now + secs(20) });
    assert!(desk.finished);
}

/// Where a read showed less than is known, nothing is written before a moment has passed.
#[test]
fn whoever_has_a_release_to_make_up_for_wakes_to_send_it() {
    let retry = Timing::default().retry_wait();
    let mut desk = Desk::leading();
    desk.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    desk.give(Input::Resign(Reason::StepDown));
    desk.give(Input::Drained(epoch(1)));
    desk.pass(TTL);
    desk.store(StoreEvent::Connected { server: "here".into() });
    desk.answer_read(absent(0));
    assert_eq!((desk.command.clone(), desk.wake_at), (None, desk.now + retry));
    desk.pass(retry);
    assert!(desk.written().1.clean);
}

#[test]
fn whoever_backs_off_where_the_bucket_is_missing_wakes_to_make_one() {
    let mut desk = Desk::following(&released(2, 7, 3), 5);
    desk.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    desk.pass(secs(9));
    desk.store(StoreEvent::Connected { server: "here".into() });
    let until = desk.election.schedule.back_off_until;
    assert!(until > desk.now);
    while desk.is_reading() {
        desk.answer(Outcome::NoBucket);
        desk.now = desk.wake_at;
        desk.give(Input::Tick);
    }
    assert!(matches!(desk.command, Some(Command::CreateBucket { .. })));
    assert_eq!(desk.now, until);
}

/// It may still be stored, after the release or under it.
#[test]
fn a_term_whose_work_has_stopped_ends_when_its_renewal_is_answered() {
    let mut desk = Desk::leading();
    desk.give(Input::Resign(Reason::StepDown));
    desk.pass(secs(3));
    desk.written();
    desk.give(Input::Drained(epoch(1)));
    assert_eq!(desk.lost(), None);
    desk.stored(2);
    assert!(desk.lost().is_some() && desk.written().1.clean);
}
