//! Forged and misleading notices, foreign writes, replaced buckets and stores that went back.

use super::*;

/// Before each read is answered, the forger sends one more notice.
#[test]
fn a_stream_of_forged_notices_does_not_prevent_a_takeover() {
    let record = held("other", 2, 7, 3);
    let mut node = TestNode::following(&record, 5);
    let begun = node.now;
    let mut revision = 1_000;
    while node.now < begun + 4 * TTL {
        revision += 1;
        node.notice(revision, &held("forger", 3, 7, revision));
        node.advance(Duration::from_millis(10));
        if node.is_reading() {
            revision += 1;
            node.notice(revision, &held("forger", 3, 7, revision));
            node.answer_read(snapshot(Some(entry(5, &record))));
        }
        if matches!(node.command, Some(Command::Write { .. })) {
            return assert_eq!(node.sent_write().0.revision, 5);
        }
    }
    panic!("no challenge within 4 TTLs");
}

#[test]
fn a_flood_of_forged_notices_causes_a_read_and_few_reports() {
    let record = held("other", 2, 7, 3);
    let mut node = TestNode::following(&record, 5);
    node.advance(secs(2));
    for revision in 6..10_000 {
        node.now = node.now + Duration::from_micros(1);
        let ttl = Some(secs(10 + revision % 2));
        node.notice(revision, &Lease { ttl, ..held(&format!("n{revision}"), 3, 7, revision) });
    }
    assert!(node.is_reading());
    node.advance(Duration::from_millis(1));
    node.answer_read(snapshot(Some(entry(5, &record))));
    assert!(node.changes.len() < 1_000, "{} changes", node.changes.len());
    node.changes.clear();
    node.notice(20_000, &held("forger", 3, 7, 1));
    assert_eq!(node.changes, []);
}

/// A notice that arrives while a read is under way may be true.
#[test]
fn notices_newer_than_every_read_stay_trusted() {
    let mut node = TestNode::following(&held("other", 2, 7, 3), 5);
    for revision in 6..40 {
        node.advance(secs(3));
        if node.is_reading() {
            node.now = node.now + Duration::from_millis(1);
            node.notice(revision, &held("other", 2, 7, revision));
            let before = held("other", 2, 7, revision - 1);
            node.answer_read(snapshot(Some(entry(revision - 1, &before))));
        } else {
            node.notice(revision, &held("other", 2, 7, revision));
        }
        assert!(node.wake_at > node.now + secs(3) || node.command.is_none());
    }
    let noticed = node.now;
    assert_eq!(node.election.leader(noticed + secs(9)).map(|(id, _)| id), Some("other".into()));
    assert!(node.election.view.notices.trusted);
}

/// So deleting the key is not enough, as the documentation of the error says.
#[test]
fn the_largest_epoch_is_remembered_after_its_record_is_deleted() {
    let marker = Entry { revision: 6, content: Content::Marker };
    let delete = |node: &mut TestNode| {
        node.answer_read(snapshot(Some(marker.clone())));
        node.advance(TTL);
        node.answer_read(snapshot(Some(marker.clone())));
    };
    let mut node = TestNode::following(&held("other", 2, Epoch::MAX, 3), 5);
    node.advance(TTL);
    delete(&mut node);
    assert_eq!(node.command, None);
    let mut fresh = TestNode::new(settings("me", 1));
    delete(&mut fresh);
    assert_eq!(fresh.sent_write().1.epoch, epoch(7));
}

/// The new bucket gives the same revisions again.
#[test]
fn a_challenge_is_not_repeated_in_another_bucket() {
    let record = held("other", 2, 7, 3);
    let mut node = TestNode::following(&record, 5);
    node.advance(TTL);
    node.answer_read(snapshot(Some(entry(5, &record))));
    node.sent_write();
    node.advance(secs(1));
    let new = Some(entry(5, &held("third", 3, 1, 4)));
    node.answer_read(Snapshot { incarnation: Incarnation::new("two"), ..snapshot(new) });
    assert_eq!(node.command, None, "a full wait from here on");
    assert_eq!(node.wake_at, node.now + TTL - LEAD);
}

/// A read takes the record first, and the bucket's newest revision after it.
#[test]
fn a_read_sent_before_a_notice_does_not_contradict_it() {
    let mut node = TestNode::new(settings("me", 1));
    node.notice(1, &held("other", 2, 1, 3));
    node.answer_read(absent(1));
    let noticed = node.now;
    node.notice(2, &held("other", 2, 1, 4));
    assert_eq!(node.election.revision(), 2, "the next notice counts");
    node.advance(secs(1));
    node.answer_read(snapshot(Some(entry(2, &held("other", 2, 1, 4)))));
    assert_eq!(node.wake_at, noticed + TTL - LEAD);
}

/// A late answer to the first read arrives in place of the answer to the second one. The first read
/// was sent before the notice arrived.
#[test]
fn a_notice_that_a_late_answer_cannot_settle_is_read_again() {
    let record = held("other", 2, 7, 3);
    let mut node = TestNode::following(&record, 5);
    node.advance(secs(1));
    node.store(StoreEvent::Hint);
    let first = node.ticket();
    node.advance(Duration::from_millis(10));
    node.store(StoreEvent::Notice(Entry { revision: 6, content: Content::Marker }));
    node.advance(secs(1));
    let repeated = node.ticket();
    assert!(node.is_reading() && repeated != first);
    let outcome = Outcome::Read(snapshot(Some(entry(5, &record))));
    node.store(StoreEvent::Completed { ticket: first, outcome });
    assert!(node.is_reading() && node.ticket() != repeated);
}

/// The read counted the revision, but was too early to show its record.
#[test]
fn a_notice_counts_when_the_read_before_it_showed_only_its_number() {
    let mut node = TestNode::new(settings("me", 1));
    node.answer_read(absent(1));
    let noticed = node.now;
    node.notice(1, &held("other", 2, 1, 3));
    assert!(node.changes.contains(&Change::LeaderChanged(Some(("other".into(), epoch(1))))));
    node.advance(secs(1));
    node.answer_read(snapshot(Some(entry(1, &held("other", 2, 1, 3)))));
    assert_eq!(node.wake_at, noticed + TTL - LEAD);
}

#[test]
fn a_late_notice_of_a_purged_record_is_ignored() {
    let mut node = TestNode::following(&held("other", 2, 7, 3), 5);
    node.advance(TTL);
    node.answer_read(absent(5));
    node.changes.clear();
    node.notice(5, &held("other", 2, 7, 3));
    assert_eq!(node.changes, []);
}

#[test]
fn notices_are_trusted_again_after_a_reconnect() {
    let record = held("other", 2, 7, 3);
    let mut node = TestNode::following(&record, 5);
    node.notice(u64::MAX, &held("forger", 3, 7, 4));
    node.advance(secs(1));
    node.answer_read(snapshot(Some(entry(5, &record))));
    node.notice(6, &held("other", 2, 7, 4));
    assert_eq!(node.election.revision(), 5, "notices do not count any more");
    node.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    node.store(StoreEvent::Connected { server: "here".into() });
    node.notice(6, &held("other", 2, 7, 4));
    assert_eq!(node.election.revision(), 6);
}

/// While there is no connection, a bucket can be filled and emptied.
#[test]
fn a_bucket_missing_before_a_disconnect_is_not_new_after_it() {
    let mut node = TestNode::new(settings("me", 1));
    node.answer(Outcome::NoBucket);
    node.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    node.advance(secs(1));
    node.store(StoreEvent::Connected { server: "here".into() });
    node.answer_read(snapshot(None));
    assert_eq!(node.command, None);
    assert_eq!(node.wake_at, node.now + TTL - LEAD);
}

#[test]
fn an_empty_bucket_is_new_only_if_it_was_missing_and_never_written() {
    let mut found = TestNode::new(settings("me", 1));
    found.answer_read(snapshot(None));
    assert_eq!(found.command, None, "it may have held a record");
    let mut used = TestNode::new(settings("me", 1));
    used.answer(Outcome::NoBucket);
    used.answer(Outcome::Created);
    used.answer_read(absent(41));
    assert_eq!(used.command, None, "another node was quicker");
}

#[test]
fn a_new_bucket_stays_new_while_it_is_empty() {
    let mut node = TestNode::new(settings("me", 1));
    node.answer(Outcome::NoBucket);
    node.answer(Outcome::Created);
    node.input(Input::SetHealthy(false));
    node.answer_read(snapshot(None));
    node.store(StoreEvent::Hint);
    node.advance(secs(1));
    node.answer_read(snapshot(None));
    node.input(Input::SetHealthy(true));
    assert_eq!(node.sent_write().0, Expect::nothing_since(0));
}

/// Further reads may be answered by the same stale replica.
#[test]
fn a_lower_revision_does_not_count_before_a_ttl() {
    let older = || snapshot(Some(entry(40, &held("other", 2, 6, 2))));
    let mut node = TestNode::following(&held("other", 2, 7, 3), 50);
    for _ in 0..3 {
        node.store(StoreEvent::Hint);
        node.advance(secs(1));
        node.answer_read(older());
        assert_eq!(node.election.revision(), 50);
    }
    node.advance(TTL);
    node.answer_read(older());
    assert_eq!(node.election.revision(), 40);
}

/// Earlier notices are about what the write replaced, or forged.
#[test]
fn an_own_write_settles_the_notices_up_to_its_revision() {
    for (noticed, known) in [(6, 6), (9, 9)] {
        let mut node = TestNode::following(&released(2, 7, 3), 5);
        node.notice(noticed, &held("third", 3, 9, 1));
        node.stored(6);
        assert!(node.leads());
        let newest = node.election.view.newest().unwrap();
        assert_eq!(newest.revision, known);
        let own = newest.lease().unwrap().session == Some(SessionId::from_bits(1));
        assert_eq!(own, noticed == 6);
    }
}

#[test]
fn only_a_notice_above_an_own_write_can_be_contradicted() {
    for (noticed, trusted) in [(6, true), (9, false)] {
        let mut node = TestNode::following(&released(2, 7, 3), 5);
        let lease = node.sent_write().1;
        node.store(StoreEvent::Notice(Entry { revision: noticed, content: Content::Marker }));
        node.stored(6);
        node.advance(secs(1));
        node.answer_read(snapshot(Some(entry(6, &lease))));
        assert_eq!(node.election.view.notices.trusted, trusted);
    }
}

#[test]
fn a_purge_does_not_contradict_a_notice() {
    let mut node = TestNode::following(&held("other", 2, 7, 3), 5);
    node.notice(6, &held("other", 2, 7, 4));
    node.advance(TTL);
    node.answer_read(absent(6));
    node.notice(7, &held("other", 2, 7, 5));
    assert_eq!(node.election.revision(), 7, "the next notice counts");
}

/// All markers are alike, and a forger can guess the next revision.
#[test]
fn a_notice_of_a_marker_sets_no_first_seen() {
    let record = held("other", 2, 7, 3);
    let marker = || Entry { revision: 6, content: Content::Marker };
    let mut node = TestNode::following(&record, 5);
    node.store(StoreEvent::Notice(marker()));
    let early = node.now;
    node.advance(secs(1));
    node.answer_read(snapshot(Some(marker())));
    assert!(node.now > early && node.wake_at == node.now + TTL - LEAD);
}
