//! Somebody who may publish notices, or write to the bucket, and means ill.

use super::*;

/// A read takes a moment, and a forger who never pauses has one more notice in by then.
#[test]
fn a_stream_of_forged_notices_keeps_nobody_from_taking_over() {
    let record = held("other", 2, 7, 3);
    let mut desk = Desk::following(&record, 5);
    let begun = desk.now;
    let mut revision = 1_000;
    while desk.now < begun + 4 * TTL {
        revision += 1;
        desk.notice(revision, &held("forger", 3, 7, revision));
        desk.pass(Duration::from_millis(10));
        if desk.is_reading() {
            revision += 1;
            desk.notice(revision, &held("forger", 3, 7, revision));
            desk.answer_read(snapshot(Some(entry(5, &record))));
        }
        if matches!(desk.command, Some(Command::Write { .. })) {
            return assert_eq!(desk.written().0.revision, 5);
        }
    }
    panic!("no challenge within 4 TTLs");
}

#[test]
fn a_flood_of_forged_notices_is_soon_read_and_no_longer_told() {
    let record = held("other", 2, 7, 3);
    let mut desk = Desk::following(&record, 5);
    desk.pass(secs(2));
    for revision in 6..10_000 {
        desk.now = desk.now + Duration::from_micros(1);
        let ttl = Some(secs(10 + revision % 2));
        desk.notice(revision, &Lease { ttl, ..held(&format!("n{revision}"), 3, 7, revision) });
    }
    assert!(desk.is_reading());
    desk.pass(Duration::from_millis(1));
    desk.answer_read(snapshot(Some(entry(5, &record))));
    assert!(desk.changes.len() < 1_000, "{} changes", desk.changes.len());
    desk.changes.clear();
    desk.notice(20_000, &held("forger", 3, 7, 1));
    assert_eq!(desk.changes, []);
}

/// The other side of it: what arrived while a read was under way may be true.
#[test]
fn renewals_that_overtake_every_read_cost_no_trust() {
    let mut desk = Desk::following(&held("other", 2, 7, 3), 5);
    for revision in 6..40 {
        desk.pass(secs(3));
        if desk.is_reading() {
            desk.now = desk.now + Duration::from_millis(1);
            desk.notice(revision, &held("other", 2, 7, revision));
            let before = held("other", 2, 7, revision - 1);
            desk.answer_read(snapshot(Some(entry(revision - 1, &before))));
        } else {
            desk.notice(revision, &held("other", 2, 7, revision));
        }
        assert!(desk.wake_at > desk.now + secs(3) || desk.command.is_none());
    }
    let noticed = desk.now;
    assert_eq!(desk.election.leader(noticed + secs(9)).map(|(id, _)| id), Some("other".into()));
    assert!(desk.election.view.trusts_notices());
}

/// What the error's documentation says is needed: deleting the key is not enough.
#[test]
fn the_largest_epoch_outlives_its_record_in_whoever_saw_it() {
    let marker = Entry { revision: 6, content: Content::Marker };
    let delete = |desk: &mut Desk| {
        desk.answer_read(snapshot(Some(marker.clone())));
        desk.pass(TTL);
        desk.answer_read(snapshot(Some(marker.clone())));
    };
    let mut desk = Desk::following(&held("other", 2, Epoch::MAX, 3), 5);
    desk.pass(TTL);
    delete(&mut desk);
    assert_eq!(desk.command, None);
    let mut fresh = Desk::new(settings("me", 1));
    delete(&mut fresh);
    assert_eq!(fresh.written().1.epoch, epoch(7));
}

/// Revisions of the new bucket coincide with those of the old one.
#[test]
fn a_challenge_is_not_repeated_in_a_bucket_that_was_made_meanwhile() {
    let record = held("other", 2, 7, 3);
    let mut desk = Desk::following(&record, 5);
    desk.pass(TTL);
    desk.answer_read(snapshot(Some(entry(5, &record))));
    desk.written();
    desk.pass(secs(1));
    let new = Some(entry(5, &held("third", 3, 1, 4)));
    desk.answer_read(Snapshot { incarnation: Incarnation::new("two"), ..snapshot(new) });
    assert_eq!(desk.command, None, "a full wait from here on");
    assert_eq!(desk.wake_at, desk.now + TTL - LEAD);
}

/// A read takes the record first and the bucket's newest revision after it.
#[test]
fn a_read_that_came_too_early_to_show_a_notice_costs_no_trust() {
    let mut desk = Desk::new(settings("me", 1));
    desk.notice(1, &held("other", 2, 1, 3));
    desk.answer_read(absent(1));
    let noticed = desk.now;
    desk.notice(2, &held("other", 2, 1, 4));
    assert_eq!(desk.election.revision(), 2, "the next one is heard");
    desk.pass(secs(1));
    desk.answer_read(snapshot(Some(entry(2, &held("other", 2, 1, 4)))));
    assert_eq!(desk.wake_at, noticed + TTL - LEAD);
}

/// The read that was to settle a notice is answered for by the one that it repeats, which was sent
/// before.
#[test]
fn what_is_in_doubt_after_a_read_is_read_again() {
    let record = held("other", 2, 7, 3);
    let mut desk = Desk::following(&record, 5);
    desk.pass(secs(1));
    desk.store(StoreEvent::Hint);
    let first = desk.ticket();
    desk.pass(Duration::from_millis(10));
    desk.store(StoreEvent::Notice(Entry { revision: 6, content: Content::Marker }));
    desk.pass(secs(1));
    let repeated = desk.ticket();
    assert!(desk.is_reading() && repeated != first);
    let outcome = Outcome::Read(snapshot(Some(entry(5, &record))));
    desk.store(StoreEvent::Completed { ticket: first, outcome });
    assert!(desk.is_reading() && desk.ticket() != repeated);
}

/// The other order: the notice comes after such a read.
#[test]
fn a_notice_is_heard_of_what_a_read_counted_but_came_too_early_to_show() {
    let mut desk = Desk::new(settings("me", 1));
    desk.answer_read(absent(1));
    let noticed = desk.now;
    desk.notice(1, &held("other", 2, 1, 3));
    assert!(desk.changes.contains(&Change::LeaderChanged(Some(("other".into(), epoch(1))))));
    desk.pass(secs(1));
    desk.answer_read(snapshot(Some(entry(1, &held("other", 2, 1, 3)))));
    assert_eq!(desk.wake_at, noticed + TTL - LEAD);
}

#[test]
fn a_late_notice_of_a_record_that_was_seen_and_purged_is_no_news() {
    let mut desk = Desk::following(&held("other", 2, 7, 3), 5);
    desk.pass(TTL);
    desk.answer_read(absent(5));
    desk.changes.clear();
    desk.notice(5, &held("other", 2, 7, 3));
    assert_eq!(desk.changes, []);
}

#[test]
fn notices_are_heard_again_after_a_reconnect() {
    let record = held("other", 2, 7, 3);
    let mut desk = Desk::following(&record, 5);
    desk.notice(u64::MAX, &held("forger", 3, 7, 4));
    desk.pass(secs(1));
    desk.answer_read(snapshot(Some(entry(5, &record))));
    desk.notice(6, &held("other", 2, 7, 4));
    assert_eq!(desk.election.revision(), 5, "its word was no good");
    desk.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    desk.store(StoreEvent::Connected { server: "here".into() });
    desk.notice(6, &held("other", 2, 7, 4));
    assert_eq!(desk.election.revision(), 6);
}

/// Between two connections a bucket can be filled and emptied.
#[test]
fn a_bucket_that_was_missing_before_a_disconnect_is_not_new_after_it() {
    let mut desk = Desk::new(settings("me", 1));
    desk.answer(Outcome::NoBucket);
    desk.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    desk.pass(secs(1));
    desk.store(StoreEvent::Connected { server: "here".into() });
    desk.answer_read(snapshot(None));
    assert_eq!(desk.command, None);
    assert_eq!(desk.wake_at, desk.now + TTL - LEAD);
}

#[test]
fn an_empty_bucket_is_new_only_where_it_was_missing_and_nothing_was_written() {
    let mut found = Desk::new(settings("me", 1));
    found.answer_read(snapshot(None));
    assert_eq!(found.command, None, "who knows what it held");
    let mut used = Desk::new(settings("me", 1));
    used.answer(Outcome::NoBucket);
    used.answer(Outcome::Created);
    used.answer_read(absent(41));
    assert_eq!(used.command, None, "somebody was quicker");
}

#[test]
fn a_new_bucket_is_new_for_as_long_as_it_stays_empty() {
    let mut desk = Desk::new(settings("me", 1));
    desk.answer(Outcome::NoBucket);
    desk.answer(Outcome::Created);
    desk.give(Input::SetHealthy(false));
    desk.answer_read(snapshot(None));
    desk.store(StoreEvent::Hint);
    desk.pass(secs(1));
    desk.answer_read(snapshot(None));
    desk.give(Input::SetHealthy(true));
    assert_eq!(desk.written().0, Expect::nothing_since(0));
}

/// A second look through the same stale replica proves nothing.
#[test]
fn a_store_that_went_back_is_not_believed_before_a_ttl_has_passed() {
    let older = || snapshot(Some(entry(40, &held("other", 2, 6, 2))));
    let mut desk = Desk::following(&held("other", 2, 7, 3), 50);
    for _ in 0..3 {
        desk.store(StoreEvent::Hint);
        desk.pass(secs(1));
        desk.answer_read(older());
        assert_eq!(desk.election.revision(), 50);
    }
    desk.pass(TTL);
    desk.answer_read(older());
    assert_eq!(desk.election.revision(), 40);
}

/// What was heard before it is of what it replaced, or forged.
#[test]
fn an_own_write_settles_what_was_heard_of_up_to_its_revision() {
    for (heard, known) in [(6, 6), (9, 9)] {
        let mut desk = Desk::following(&released(2, 7, 3), 5);
        desk.notice(heard, &held("third", 3, 9, 1));
        desk.stored(6);
        assert!(desk.leads());
        let newest = desk.election.view.newest().unwrap();
        assert_eq!(newest.revision, known);
        let own = newest.lease().unwrap().session == Some(SessionId::from_bits(1));
        assert_eq!(own, heard == 6);
    }
}

#[test]
fn a_notice_of_what_an_own_write_overtook_costs_no_trust_and_one_above_it_does() {
    for (heard, trusted) in [(6, true), (9, false)] {
        let mut desk = Desk::following(&released(2, 7, 3), 5);
        let lease = desk.written().1;
        desk.store(StoreEvent::Notice(Entry { revision: heard, content: Content::Marker }));
        desk.stored(6);
        desk.pass(secs(1));
        desk.answer_read(snapshot(Some(entry(6, &lease))));
        assert_eq!(desk.election.view.trusts_notices(), trusted);
    }
}

#[test]
fn a_purge_costs_no_trust() {
    let mut desk = Desk::following(&held("other", 2, 7, 3), 5);
    desk.notice(6, &held("other", 2, 7, 4));
    desk.pass(TTL);
    desk.answer_read(absent(6));
    desk.notice(7, &held("other", 2, 7, 5));
    assert_eq!(desk.election.revision(), 7, "the next one is heard");
}

/// All markers are alike, and the next revision can be guessed.
#[test]
fn a_marker_that_was_told_of_beforehand_counts_from_when_it_was_read() {
    let record = held("other", 2, 7, 3);
    let marker = || Entry { revision: 6, content: Content::Marker };
    let mut desk = Desk::following(&record, 5);
    desk.store(StoreEvent::Notice(marker()));
    let early = desk.now;
    desk.pass(secs(1));
    desk.answer_read(snapshot(Some(marker())));
    assert!(desk.now > early && desk.wake_at == desk.now + TTL - LEAD);
}
