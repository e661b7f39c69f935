//! One behaviour per test, with numbers and without sleeping. A [`TestNode`] is an election whose
//! store and clock are moved by the test.

use std::time::{Duration, SystemTime};

use super::*;
use crate::error::Refused;
use crate::event::Cause;
use crate::lease::{Lease, SessionId};
use crate::store::{Content, Entry, Expect, Incarnation};
use crate::timing::Timing;

mod challenge;
mod forgery;
mod problems;
mod reports;
mod resign;
mod term;
mod unconfirmed;

const TTL: Duration = Duration::from_secs(10);
/// How long before a challenge its confirming read is sent.
const LEAD: Duration = Duration::from_millis(50);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn epoch(number: u64) -> Epoch {
    Epoch::new(number).unwrap()
}

fn settings(node: &str, session: u128) -> Settings {
    Settings {
        node_id: node.to_owned(),
        session: SessionId::from_bits(session),
        timing: Timing::default(),
        cooldown: TTL,
        drain_timeout: TTL,
        strict_bootstrap: false,
        observer: false,
        meta: None,
    }
}

fn held(node: &str, session: u128, number: u64, write: u64) -> Lease {
    Lease {
        node_id: node.to_owned(),
        session: Some(SessionId::from_bits(session)),
        epoch: epoch(number),
        write,
        ttl: Some(TTL),
        clean: false,
        successor: None,
        meta: None,
    }
}

fn released(session: u128, number: u64, write: u64) -> Lease {
    Lease { node_id: String::new(), clean: true, ..held("", session, number, write) }
}

fn entry(revision: u64, lease: &Lease) -> Entry {
    let wall = SystemTime::UNIX_EPOCH;
    Entry { revision, content: Content::Value(lease.encode(wall, wall)) }
}

fn snapshot(entry: Option<Entry>) -> Snapshot {
    let last_seq = entry.as_ref().map_or(0, |entry| entry.revision);
    let incarnation = Incarnation::new("one");
    Snapshot { incarnation, last_seq, pristine: last_seq == 0, entry }
}

fn absent(last_seq: u64) -> Snapshot {
    Snapshot { last_seq, pristine: false, ..snapshot(None) }
}

struct TestNode {
    election: Election,
    now: Timestamp,
    changes: Vec<Change>,
    command: Option<Command>,
    wake_at: Timestamp,
    finished: bool,
}

impl TestNode {
    fn new(settings: Settings) -> Self {
        let mut node = Self {
            election: Election::new(settings),
            now: Timestamp::ZERO + secs(1_000),
            changes: Vec::new(),
            command: None,
            wake_at: Timestamp::MAX,
            finished: false,
        };
        node.store(StoreEvent::Connected { server: "here".to_owned() });
        node
    }

    /// A follower that has just read this record of another node.
    fn following(lease: &Lease, revision: u64) -> Self {
        let mut node = Self::new(settings("me", 1));
        node.answer_read(snapshot(Some(entry(revision, lease))));
        node
    }

    /// The leader of epoch 1, by revision 1, in a new bucket.
    fn leading() -> Self {
        let mut node = Self::new(settings("me", 1));
        node.answer(Outcome::NoBucket);
        node.answer(Outcome::Created);
        node.answer_read(snapshot(None));
        node.stored(1);
        assert!(node.election.is_leading());
        node.changes.clear();
        node
    }

    fn input(&mut self, input: Input) -> Option<Refused> {
        let step = self.election.step(self.now, input);
        self.changes.extend(step.changes);
        if step.command.is_some() {
            self.command = step.command;
        }
        self.wake_at = step.wake_at;
        self.finished = step.finished;
        step.refused
    }

    fn store(&mut self, event: StoreEvent) {
        assert_eq!(self.input(Input::Store(event)), None);
    }

    fn ticket(&self) -> Ticket {
        match self.command.as_ref().expect("a command") {
            Command::Read(ticket)
            | Command::Write { ticket, .. }
            | Command::CreateBucket { ticket, .. } => *ticket,
            Command::Reconnect => panic!("a reconnect has no ticket"),
        }
    }

    /// Answers the request that was last sent.
    fn answer(&mut self, outcome: Outcome) {
        let ticket = self.ticket();
        self.command = None;
        self.store(StoreEvent::Completed { ticket, outcome });
    }

    fn answer_read(&mut self, snapshot: Snapshot) {
        assert!(matches!(self.command, Some(Command::Read(_))), "{:?}", self.command);
        self.answer(Outcome::Read(snapshot));
    }

    fn stored(&mut self, revision: u64) {
        self.sent_write();
        self.answer(Outcome::Stored { revision });
    }

    /// The write that was last sent.
    fn sent_write(&self) -> (Expect, Lease) {
        match &self.command {
            Some(Command::Write { expect, lease, .. }) => (*expect, lease.clone()),
            other => panic!("no write but {other:?}"),
        }
    }

    fn is_reading(&self) -> bool {
        matches!(self.command, Some(Command::Read(_)))
    }

    fn advance(&mut self, time: Duration) {
        self.now = self.now + time;
        self.input(Input::Tick);
    }

    fn notice(&mut self, revision: u64, lease: &Lease) {
        self.store(StoreEvent::Notice(entry(revision, lease)));
    }

    fn leads(&self) -> bool {
        self.election.cell().in_force(&crate::clock::Clock::manual(self.now)).is_some()
    }

    fn lost(&self) -> Option<&Cause> {
        self.changes.iter().find_map(|change| match change {
            Change::LostLeadership { cause, .. } => Some(cause),
            _ => None,
        })
    }
}

#[test]
fn a_new_bucket_is_challenged_at_once_under_both_conditions() {
    let mut node = TestNode::new(settings("me", 1));
    node.answer(Outcome::NoBucket);
    assert!(matches!(node.command, Some(Command::CreateBucket { first_seq: 1, .. })));
    node.answer(Outcome::Created);
    node.answer_read(snapshot(None));
    let (expect, lease) = node.sent_write();
    assert_eq!(expect, Expect::nothing_since(0));
    assert_eq!((lease.epoch, lease.node_id.as_str()), (epoch(1), "me"));
    node.stored(1);
    assert!(node.leads());
    assert_eq!(node.changes.last(), Some(&Change::LeaderChanged(Some(("me".into(), epoch(1))))));
}

#[test]
fn strict_bootstrap_waits_a_ttl_in_a_new_bucket() {
    let mut node = TestNode::new(Settings { strict_bootstrap: true, ..settings("me", 1) });
    node.answer(Outcome::NoBucket);
    node.answer(Outcome::Created);
    node.answer_read(snapshot(None));
    assert_eq!(node.command, None);
    node.advance(TTL);
    node.answer_read(absent(0));
    assert_eq!(node.sent_write().0, Expect::nothing_since(0));
}

/// The bucket existed before. It may have lost the record of a live leader.
#[test]
fn an_absent_record_is_challenged_after_a_ttl() {
    let mut node = TestNode::new(settings("me", 1));
    node.answer_read(absent(41));
    assert_eq!(node.command, None);
    assert_eq!(node.wake_at, node.now + TTL - LEAD);
    node.advance(TTL);
    node.answer_read(absent(41));
    let (expect, lease) = node.sent_write();
    assert_eq!(expect, Expect::nothing_since(41));
    assert_eq!(lease.epoch, epoch(42), "above any epoch that this bucket can have had");
}

#[test]
fn a_write_restarts_the_wait_for_an_absent_record() {
    let mut node = TestNode::new(settings("me", 1));
    node.answer_read(absent(41));
    node.advance(TTL);
    node.answer_read(absent(42));
    assert_eq!(node.command, None);
    assert_eq!(node.wake_at, node.now + TTL - LEAD);
}

/// Counting from the answer would add the round trip to the term, and with it a moment with two
/// leaders.
#[test]
fn a_term_counts_from_before_its_write_was_sent() {
    let mut node = TestNode::following(&released(2, 7, 3), 5);
    let sent = node.now;
    node.now = node.now + Duration::from_millis(900);
    node.stored(6);
    assert_eq!(node.election.held_until(), Some(sent + Duration::from_millis(8_181)));
}

#[test]
fn a_held_record_is_read_again_before_it_is_challenged() {
    let mut node = TestNode::following(&held("other", 2, 7, 3), 5);
    assert_eq!(node.command, None);
    node.advance(TTL.saturating_sub(LEAD + Duration::from_millis(1)));
    assert_eq!(node.command, None);
    node.advance(Duration::from_millis(1));
    node.answer_read(snapshot(Some(entry(5, &held("other", 2, 7, 3)))));
    assert_eq!(node.command, None, "the read is early, the challenge is not");
    node.advance(LEAD.saturating_sub(Duration::from_millis(1)));
    assert_eq!(node.command, None);
    node.advance(Duration::from_millis(1));
    let (expect, lease) = node.sent_write();
    assert_eq!(expect, Expect::revision(5));
    assert_eq!(lease.epoch, epoch(8));
}

#[test]
fn the_wait_is_the_ttl_in_the_record() {
    let record = Lease { ttl: Some(secs(20)), ..held("other", 2, 7, 3) };
    let mut node = TestNode::following(&record, 5);
    assert!(node.changes.contains(&Change::TtlMismatch(secs(20))));
    node.advance(secs(19));
    assert_eq!(node.command, None);
    node.advance(secs(1));
    assert!(node.is_reading());
}

#[test]
fn a_record_without_ttl_waits_for_the_longest_ttl_seen() {
    let mut node = TestNode::following(&Lease { ttl: Some(secs(20)), ..held("other", 2, 7, 3) }, 5);
    node.advance(secs(20));
    node.answer_read(snapshot(Some(Entry { revision: 6, content: Content::Marker })));
    assert_eq!(node.wake_at, node.now + secs(20) - LEAD);
}

#[test]
fn a_release_for_another_node_is_challenged_after_the_successor_wait() {
    let release = Lease { successor: Some("third".into()), ..released(2, 7, 4) };
    let mut node = TestNode::following(&release, 6);
    assert_eq!(node.command, None);
    node.advance(secs(1));
    assert_eq!(node.sent_write().1.epoch, epoch(8));
    let mine = Lease { successor: Some("me".into()), ..released(2, 7, 4) };
    assert!(matches!(TestNode::following(&mine, 6).command, Some(Command::Write { .. })));
}

/// Otherwise a node that reads often would never challenge.
#[test]
fn reading_a_revision_again_does_not_move_first_seen() {
    let record = held("other", 2, 7, 3);
    let mut node = TestNode::following(&record, 5);
    let first_seen = node.now;
    node.advance(secs(4));
    node.store(StoreEvent::Hint);
    node.answer_read(snapshot(Some(entry(5, &record))));
    assert_eq!(node.wake_at, first_seen + TTL - LEAD);
}

#[test]
fn a_confirmed_notice_sets_first_seen() {
    let mut node = TestNode::following(&held("other", 2, 7, 3), 5);
    node.advance(secs(3));
    let noticed = node.now;
    node.notice(6, &held("other", 2, 7, 4));
    assert_eq!(node.wake_at, noticed + TTL - LEAD);
    node.advance(TTL);
    node.answer_read(snapshot(Some(entry(6, &held("other", 2, 7, 4)))));
    assert_eq!(node.sent_write().1.epoch, epoch(8), "no second wait");
}

/// A forger that guesses the next revision must not be able to backdate it.
#[test]
fn a_contradicted_notice_sets_no_first_seen_and_ends_trust() {
    let mut node = TestNode::following(&held("other", 2, 7, 3), 5);
    node.advance(secs(3));
    node.notice(6, &held("other", 2, 7, 99));
    node.advance(TTL);
    node.answer_read(snapshot(Some(entry(6, &held("other", 2, 7, 4)))));
    assert_eq!(node.command, None, "a full wait from the read on");
    node.notice(7, &held("other", 2, 7, 5));
    node.advance(TTL / 2);
    assert!(node.is_reading(), "it polls, as notices no longer count");
}

/// The notice may have been true, and the store may have lost that record. Its writer leads then.
#[test]
fn a_notice_of_a_missing_record_costs_one_more_ttl() {
    let record = held("other", 2, 7, 3);
    let mut node = TestNode::following(&record, 5);
    node.advance(secs(3));
    node.notice(u64::MAX, &held("forger", 3, 7, 4));
    node.advance(TTL);
    node.answer_read(snapshot(Some(entry(5, &record))));
    assert_eq!(node.command, None, "although the current record has stood for a TTL");
    node.notice(u64::MAX, &held("forger", 3, 7, 4));
    node.advance(TTL / 2);
    node.answer_read(snapshot(Some(entry(5, &record))));
    node.advance(TTL / 2);
    node.answer_read(snapshot(Some(entry(5, &record))));
    assert_eq!(node.sent_write().0.revision, 5);
}

#[test]
fn a_forged_notice_does_not_end_a_term() {
    let mut node = TestNode::leading();
    node.advance(secs(1));
    node.notice(u64::MAX, &held("forger", 3, 7, 4));
    assert!(node.leads());
    let (_, own) = (1, held("me", 1, 1, 0));
    let own = Lease { write: 4, ..own };
    node.answer_read(snapshot(Some(entry(1, &own))));
    assert!(node.leads());
    assert_eq!(node.lost(), None);
}

#[test]
fn a_lower_revision_counts_after_a_ttl() {
    let mut node = TestNode::following(&held("other", 2, 7, 3), 50);
    node.advance(TTL);
    let older = held("other", 2, 6, 2);
    node.answer_read(snapshot(Some(entry(40, &older))));
    assert_eq!(node.command, None);
    node.advance(TTL);
    node.answer_read(snapshot(Some(entry(40, &older))));
    node.advance(TTL);
    node.answer_read(snapshot(Some(entry(40, &older))));
    let (expect, lease) = node.sent_write();
    assert_eq!((expect.revision, lease.epoch), (40, epoch(8)), "the epoch never goes back");
}

/// All markers are alike. After a lower revision, the same revision is another marker.
#[test]
fn a_marker_shown_again_after_a_lower_revision_restarts_the_wait() {
    let marker = |revision| snapshot(Some(Entry { revision, content: Content::Marker }));
    let mut node = TestNode::new(settings("me", 1));
    node.answer_read(marker(2));
    node.advance(secs(6));
    node.store(StoreEvent::Hint);
    node.answer_read(marker(1));
    node.advance(secs(6));
    node.store(StoreEvent::Hint);
    node.answer_read(marker(2));
    assert_eq!(node.command, None);
    assert_eq!(node.wake_at, node.now + TTL - LEAD);
}

#[test]
fn a_duplicate_node_id_is_reported_once_its_process_is_alive() {
    let mut node = TestNode::following(&held("me", 2, 7, 3), 5);
    let duplicate = Change::DuplicateNodeId(SessionId::from_bits(2));
    assert!(!node.changes.contains(&duplicate), "it may be left from before a restart");
    node.advance(secs(3));
    node.notice(6, &held("me", 2, 7, 4));
    node.notice(7, &held("me", 2, 7, 5));
    assert_eq!(node.changes.iter().filter(|change| **change == duplicate).count(), 1);
}

#[test]
fn an_observer_reports_no_duplicate_node_id() {
    let mut node = TestNode::new(Settings { observer: true, ..settings("me", 1) });
    for (revision, write) in [(5, 3), (6, 4), (7, 5)] {
        node.answer_read(snapshot(Some(entry(revision, &held("me", 2, 7, write)))));
        node.advance(secs(31));
    }
    assert_eq!(node.election.revision(), 7, "it has read them all");
    let duplicate = |change: &Change| matches!(change, Change::DuplicateNodeId(_));
    assert!(!node.changes.iter().any(duplicate));
}

#[test]
fn an_observer_never_writes() {
    let mut node = TestNode::new(Settings { observer: true, ..settings("me", 1) });
    node.answer(Outcome::NoBucket);
    assert_eq!(node.command, None);
    node.advance(secs(40));
    node.answer_read(snapshot(Some(entry(2, &released(2, 7, 3)))));
    assert_eq!(node.command, None);
    assert_eq!(node.input(Input::Promote), Some(Refused::Observer));
}

#[test]
fn exhausted_epochs_are_reported() {
    let node = TestNode::following(&released(2, Epoch::MAX, 3), 5);
    assert!(node.changes.contains(&Change::Problem(StoreError::EpochsExhausted)));
    assert_eq!(node.command, None);
}

#[test]
fn an_acknowledgement_from_a_replaced_bucket_does_not_count() {
    let mut node = TestNode::leading();
    node.advance(secs(3));
    let ticket = node.ticket();
    node.advance(secs(1));
    node.answer_read(Snapshot { incarnation: Incarnation::new("two"), ..absent(0) });
    assert_eq!(node.lost(), Some(&Cause::BucketReplaced));
    node.store(StoreEvent::Completed { ticket, outcome: Outcome::Stored { revision: 2 } });
    assert_eq!(node.election.revision(), 0);
}

#[test]
fn the_epoch_of_a_write_into_a_replaced_bucket_is_remembered() {
    let mut node = TestNode::following(&released(2, 7, 3), 5);
    let ticket = node.ticket();
    node.advance(secs(1));
    node.answer_read(Snapshot { incarnation: Incarnation::new("two"), ..absent(0) });
    node.store(StoreEvent::Completed { ticket, outcome: Outcome::Stored { revision: 6 } });
    assert_eq!(node.election.highest_epoch(), Some(epoch(8)));
}

#[test]
fn a_follower_reads_again_a_ttl_after_a_lower_revision() {
    let mut node = TestNode::following(&held("other", 2, 7, 3), 50);
    node.advance(secs(20));
    node.answer_read(snapshot(Some(entry(40, &held("other", 2, 6, 2)))));
    assert_eq!(node.wake_at, node.now + TTL);
}

/// The holder may have renewed over the purged record since.
#[test]
fn a_bucket_replaced_while_its_record_was_absent_waits_a_ttl() {
    let mut node = TestNode::following(&held("other", 2, 7, 3), 5);
    node.store(StoreEvent::Hint);
    node.advance(secs(1));
    node.answer_read(absent(5));
    node.advance(TTL);
    node.answer(Outcome::NoBucket);
    node.answer(Outcome::Created);
    let incarnation = Incarnation::new("two");
    node.answer_read(Snapshot { incarnation, ..snapshot(None) });
    assert_eq!(node.command, None);
    assert_eq!(node.wake_at, node.now + TTL);
}

#[test]
fn the_first_read_keeps_first_seen_of_its_notice() {
    let mut node = TestNode::new(settings("me", 1));
    let noticed = node.now;
    node.notice(5, &held("other", 2, 7, 3));
    node.now = node.now + Duration::from_millis(900);
    node.answer_read(snapshot(Some(entry(5, &held("other", 2, 7, 3)))));
    assert_eq!(node.wake_at, noticed + TTL - LEAD);
}
