//! Resigned terms: drains, releases, cooldowns and stops.

use super::*;
use crate::event::Reason;

fn to(id: &str) -> Input {
    Input::Resign(Reason::Transfer { to: id.to_owned() })
}

#[test]
fn a_second_resignation_joins_the_first_and_may_name_a_successor() {
    let mut node = TestNode::leading();
    assert_eq!(node.input(Input::Resign(Reason::StepDown)), None);
    assert_eq!(node.input(to("third")), None);
    assert_eq!(node.input(to("fourth")), None);
    assert_eq!(node.changes.len(), 1, "reported once");
    node.input(Input::Drained(epoch(1)));
    assert_eq!(node.sent_write().1.successor.as_deref(), Some("third"));
}

#[test]
fn drained_of_another_term_is_ignored() {
    let mut node = TestNode::leading();
    node.input(Input::Resign(Reason::StepDown));
    node.input(Input::Drained(epoch(2)));
    assert_eq!((node.command.clone(), node.lost()), (None, None));
}

#[test]
fn a_change_of_health_resigns_only_a_leader_that_becomes_unhealthy() {
    let mut node = TestNode::leading();
    assert_eq!(node.input(Input::SetHealthy(true)), None);
    assert!(node.leads());
    let mut follower = TestNode::following(&held("other", 2, 7, 3), 5);
    assert_eq!(follower.input(Input::SetHealthy(false)), None);
    assert_eq!(follower.input(Input::Promote), Some(Refused::Unhealthy));
}

/// Other nodes have to wait for the record to expire, and are to take over first.
#[test]
fn a_release_not_sent_within_a_ttl_lengthens_the_cooldown() {
    let mut node = TestNode::leading();
    node.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    node.input(Input::Resign(Reason::StepDown));
    let ended = node.now;
    node.input(Input::Drained(epoch(1)));
    assert_eq!(node.wake_at, ended + TTL);
    node.advance(TTL.saturating_sub(Duration::from_millis(1)));
    assert!(node.election.is_resigning());
    node.advance(Duration::from_millis(1));
    assert!(!node.election.is_resigning());
    let expiry_cooldown = node.election.settings.timing.expiry_cooldown();
    assert_eq!(node.wake_at, ended + expiry_cooldown);
    node.store(StoreEvent::Connected { server: "here".into() });
    node.answer_read(snapshot(Some(entry(1, &held("me", 1, 1, 4)))));
    assert!(node.sent_write().1.clean, "it may still be released");
}

#[test]
fn every_phase_schedules_its_own_end() {
    let validity = Timing::default().validity();
    let mut node = TestNode::following(&released(2, 7, 3), 5);
    let sent = node.now;
    node.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    assert_eq!(node.wake_at, sent + validity, "a challenge");
    let mut node = TestNode::leading();
    node.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    assert_eq!(Some(node.wake_at), node.election.held_until(), "a term");
    node.election.settings.drain_timeout = secs(4);
    node.input(Input::Resign(Reason::StepDown));
    assert_eq!(node.wake_at, node.now + secs(4), "a drain");
    node.advance(secs(4));
    assert_eq!(node.lost(), Some(&Cause::DrainTimedOut(Reason::StepDown)));
}

#[test]
fn a_drain_ends_when_its_term_expires() {
    let mut node = TestNode::leading();
    let until = node.election.held_until().unwrap();
    node.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    node.input(Input::Resign(Reason::StepDown));
    assert_eq!(node.wake_at, until);
    node.advance(until.since(node.now));
    assert_eq!(node.lost(), Some(&Cause::Expired));
}

#[test]
fn a_new_meta_is_written_at_once_and_removed_by_the_release() {
    let mut node = TestNode::leading();
    let meta = serde_json::json!("10.0.0.1:80");
    node.input(Input::SetMeta(Some(meta.clone())));
    let (expect, lease) = node.sent_write();
    assert_eq!((expect.revision, lease.meta), (1, Some(meta)));
    node.stored(2);
    node.input(Input::Resign(Reason::StepDown));
    node.input(Input::Drained(epoch(1)));
    assert_eq!(node.sent_write().1.meta, None);
}

#[test]
fn promote_ends_the_cooldown_and_is_refused_while_resigning() {
    let mut node = TestNode::leading();
    node.input(Input::Resign(Reason::StepDown));
    assert_eq!(node.input(Input::Promote), Some(Refused::Resigning));
    node.input(Input::Drained(epoch(1)));
    assert_eq!(node.input(Input::Promote), Some(Refused::Resigning));
    node.stored(2);
    node.advance(secs(2));
    assert_eq!(node.command, None, "cooldown");
    assert_eq!(node.input(Input::Promote), None);
    assert_eq!(node.sent_write().1.epoch, epoch(2));
}

#[test]
fn a_transfer_is_challenged_again_after_twice_the_successor_wait() {
    let mut node = TestNode::leading();
    node.input(to("third"));
    node.input(Input::Drained(epoch(1)));
    node.stored(2);
    assert_eq!(node.wake_at, node.now + secs(2));
    node.advance(Duration::from_millis(1_999));
    assert_eq!(node.command, None);
    node.advance(Duration::from_millis(1));
    assert_eq!(node.sent_write().1.epoch, epoch(2));
}

/// Otherwise a held record would be left in the store.
#[test]
fn a_stop_releases_a_challenge_that_was_stored() {
    let mut node = TestNode::following(&released(2, 7, 3), 5);
    let lease = node.sent_write().1;
    node.input(Input::Stop { until: node.now + secs(20) });
    assert!(!node.finished);
    node.advance(secs(1));
    assert!(node.is_reading() && !node.finished);
    node.answer_read(snapshot(Some(entry(6, &lease))));
    let (expect, release) = node.sent_write();
    assert!(release.clean && expect.revision == 6 && !node.finished);
    node.stored(7);
    assert!(node.finished);
}

#[test]
fn a_stop_while_challenging_without_a_connection_ends_at_once() {
    let mut node = TestNode::following(&released(2, 7, 3), 5);
    node.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    node.input(Input::Stop { until: node.now + secs(20) });
    assert!(node.finished);
}

/// After a read that showed a lower revision, nothing is written before the retry wait is over.
#[test]
fn a_pending_release_schedules_a_wakeup() {
    let retry = Timing::default().retry_wait();
    let mut node = TestNode::leading();
    node.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    node.input(Input::Resign(Reason::StepDown));
    node.input(Input::Drained(epoch(1)));
    node.advance(TTL);
    node.store(StoreEvent::Connected { server: "here".into() });
    node.answer_read(absent(0));
    assert_eq!((node.command.clone(), node.wake_at), (None, node.now + retry));
    node.advance(retry);
    assert!(node.sent_write().1.clean);
}

#[test]
fn the_end_of_a_back_off_schedules_the_creation_of_a_bucket() {
    let mut node = TestNode::following(&released(2, 7, 3), 5);
    node.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    node.advance(secs(9));
    node.store(StoreEvent::Connected { server: "here".into() });
    let until = node.election.schedule.back_off_until;
    assert!(until > node.now);
    while node.is_reading() {
        node.answer(Outcome::NoBucket);
        node.now = node.wake_at;
        node.input(Input::Tick);
    }
    assert!(matches!(node.command, Some(Command::CreateBucket { .. })));
    assert_eq!(node.now, until);
}

/// The renewal may be stored at any moment until then.
#[test]
fn a_drained_term_ends_when_its_awaited_renewal_is_answered() {
    let mut node = TestNode::leading();
    node.input(Input::Resign(Reason::StepDown));
    node.advance(secs(3));
    node.sent_write();
    node.input(Input::Drained(epoch(1)));
    assert_eq!(node.lost(), None);
    node.stored(2);
    assert!(node.lost().is_some() && node.sent_write().1.clean);
}
