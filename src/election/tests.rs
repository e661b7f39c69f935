//! One behaviour each, with numbers and without sleeping. A `Desk` is one election with its store
//! played by hand.

use std::time::{Duration, SystemTime};

use super::*;
use crate::error::Refused;
use crate::event::Cause;
use crate::lease::{Lease, SessionId};
use crate::store::{Content, Entry, Expect, Incarnation};
use crate::timing::Timing;

mod challenged;
mod hostile;
mod resigned;
mod terms;
mod told;
mod unread;

const TTL: Duration = Duration::from_secs(10);
/// How long before a challenge the store is read once more.
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

struct Desk {
    election: Election,
    now: Timestamp,
    changes: Vec<Change>,
    command: Option<Command>,
    wake_at: Timestamp,
    finished: bool,
}

impl Desk {
    fn new(settings: Settings) -> Self {
        let mut desk = Self {
            election: Election::new(settings),
            now: Timestamp::ZERO + secs(1_000),
            changes: Vec::new(),
            command: None,
            wake_at: Timestamp::MAX,
            finished: false,
        };
        desk.store(StoreEvent::Connected { server: "here".to_owned() });
        desk
    }

    /// A follower that has just read a record of somebody else.
    fn following(lease: &Lease, revision: u64) -> Self {
        let mut desk = Self::new(settings("me", 1));
        desk.answer_read(snapshot(Some(entry(revision, lease))));
        desk
    }

    /// The leader of epoch 1, by revision 1, in a bucket that was new.
    fn leading() -> Self {
        let mut desk = Self::new(settings("me", 1));
        desk.answer(Outcome::NoBucket);
        desk.answer(Outcome::Created);
        desk.answer_read(snapshot(None));
        desk.stored(1);
        assert_eq!(desk.election.role(), Role::Leader);
        desk.changes.clear();
        desk
    }

    fn give(&mut self, input: Input) -> Option<Refused> {
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
        assert_eq!(self.give(Input::Store(event)), None);
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
        self.written();
        self.answer(Outcome::Stored { revision });
    }

    /// The write that was last sent.
    fn written(&self) -> (Expect, Lease) {
        match &self.command {
            Some(Command::Write { expect, lease, .. }) => (*expect, lease.clone()),
            other => panic!("no write but {other:?}"),
        }
    }

    fn is_reading(&self) -> bool {
        matches!(self.command, Some(Command::Read(_)))
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.give(Input::Tick);
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
fn a_new_bucket_is_taken_at_once_with_both_conditions() {
    let mut desk = Desk::new(settings("me", 1));
    desk.answer(Outcome::NoBucket);
    assert!(matches!(desk.command, Some(Command::CreateBucket { first_seq: 1, .. })));
    desk.answer(Outcome::Created);
    desk.answer_read(snapshot(None));
    let (expect, lease) = desk.written();
    assert_eq!(expect, Expect::nothing_since(0));
    assert_eq!((lease.epoch, lease.node_id.as_str()), (epoch(1), "me"));
    desk.stored(1);
    assert!(desk.leads());
    assert_eq!(desk.changes.last(), Some(&Change::LeaderChanged(Some(("me".into(), epoch(1))))));
}

#[test]
fn strict_bootstrap_waits_a_ttl_even_in_a_new_bucket() {
    let mut desk = Desk::new(Settings { strict_bootstrap: true, ..settings("me", 1) });
    desk.answer(Outcome::NoBucket);
    desk.answer(Outcome::Created);
    desk.answer_read(snapshot(None));
    assert_eq!(desk.command, None);
    desk.pass(TTL);
    desk.answer_read(absent(0));
    assert_eq!(desk.written().0, Expect::nothing_since(0));
}

/// An empty bucket that was there before may have lost a live leader's record.
#[test]
fn an_absent_record_must_stand_for_a_ttl() {
    let mut desk = Desk::new(settings("me", 1));
    desk.answer_read(absent(41));
    assert_eq!(desk.command, None);
    assert_eq!(desk.wake_at, desk.now + TTL - LEAD);
    desk.pass(TTL);
    desk.answer_read(absent(41));
    let (expect, lease) = desk.written();
    assert_eq!(expect, Expect::nothing_since(41));
    assert_eq!(lease.epoch, epoch(42), "higher than any term of that bucket can have been");
}

#[test]
fn anything_written_meanwhile_starts_the_wait_for_an_absent_record_anew() {
    let mut desk = Desk::new(settings("me", 1));
    desk.answer_read(absent(41));
    desk.pass(TTL);
    desk.answer_read(absent(42));
    assert_eq!(desk.command, None);
    assert_eq!(desk.wake_at, desk.now + TTL - LEAD);
}

/// A renewal counts from when it was sent. Counting from the answer would add the round trip to the
/// term, and with it a moment with two leaders.
#[test]
fn a_term_counts_from_before_its_write_was_sent() {
    let mut desk = Desk::following(&released(2, 7, 3), 5);
    let sent = desk.now;
    desk.now = desk.now + Duration::from_millis(900);
    desk.stored(6);
    assert_eq!(desk.election.held_until(), Some(sent + Duration::from_millis(8_181)));
}

#[test]
fn a_held_record_is_waited_for_read_once_more_and_then_challenged() {
    let mut desk = Desk::following(&held("other", 2, 7, 3), 5);
    assert_eq!(desk.command, None);
    desk.pass(TTL.saturating_sub(LEAD + Duration::from_millis(1)));
    assert_eq!(desk.command, None);
    desk.pass(Duration::from_millis(1));
    desk.answer_read(snapshot(Some(entry(5, &held("other", 2, 7, 3)))));
    assert_eq!(desk.command, None, "read in time, and challenged no sooner than after the TTL");
    desk.pass(LEAD.saturating_sub(Duration::from_millis(1)));
    assert_eq!(desk.command, None);
    desk.pass(Duration::from_millis(1));
    let (expect, lease) = desk.written();
    assert_eq!(expect, Expect::revision(5));
    assert_eq!(lease.epoch, epoch(8));
}

#[test]
fn the_records_own_ttl_is_waited_for() {
    let record = Lease { ttl: Some(secs(20)), ..held("other", 2, 7, 3) };
    let mut desk = Desk::following(&record, 5);
    assert!(desk.changes.contains(&Change::TtlMismatch(secs(20))));
    desk.pass(secs(19));
    assert_eq!(desk.command, None);
    desk.pass(secs(1));
    assert!(desk.is_reading());
}

#[test]
fn a_record_without_ttl_is_waited_for_the_longest_ever_seen() {
    let mut desk = Desk::following(&Lease { ttl: Some(secs(20)), ..held("other", 2, 7, 3) }, 5);
    desk.pass(secs(20));
    desk.answer_read(snapshot(Some(Entry { revision: 6, content: Content::Marker })));
    assert_eq!(desk.wake_at, desk.now + secs(20) - LEAD);
}

#[test]
fn a_release_meant_for_another_is_left_to_it_for_a_moment() {
    let release = Lease { successor: Some("third".into()), ..released(2, 7, 4) };
    let mut desk = Desk::following(&release, 6);
    assert_eq!(desk.command, None);
    desk.pass(secs(1));
    assert_eq!(desk.written().1.epoch, epoch(8));
    let mine = Lease { successor: Some("me".into()), ..released(2, 7, 4) };
    assert!(matches!(Desk::following(&mine, 6).command, Some(Command::Write { .. })));
}

/// The moment counts from the first sight; what is still standing must not look newer for having
/// been looked at again.
#[test]
fn reading_the_same_revision_again_moves_nothing() {
    let record = held("other", 2, 7, 3);
    let mut desk = Desk::following(&record, 5);
    let first_seen = desk.now;
    desk.pass(secs(4));
    desk.store(StoreEvent::Hint);
    desk.answer_read(snapshot(Some(entry(5, &record))));
    assert_eq!(desk.wake_at, first_seen + TTL - LEAD);
}

#[test]
fn a_noticed_renewal_delays_the_challenge_and_a_true_one_gives_its_moment() {
    let mut desk = Desk::following(&held("other", 2, 7, 3), 5);
    desk.pass(secs(3));
    let noticed = desk.now;
    desk.notice(6, &held("other", 2, 7, 4));
    assert_eq!(desk.wake_at, noticed + TTL - LEAD);
    desk.pass(TTL);
    desk.answer_read(snapshot(Some(entry(6, &held("other", 2, 7, 4)))));
    assert_eq!(desk.written().1.epoch, epoch(8), "no second wait");
}

/// Whoever can guess the next revision must not be able to backdate it.
#[test]
fn a_notice_that_differs_from_what_is_read_gives_no_moment_and_costs_the_trust() {
    let mut desk = Desk::following(&held("other", 2, 7, 3), 5);
    desk.pass(secs(3));
    desk.notice(6, &held("other", 2, 7, 99));
    desk.pass(TTL);
    desk.answer_read(snapshot(Some(entry(6, &held("other", 2, 7, 4)))));
    assert_eq!(desk.command, None, "a full wait from the read on");
    desk.notice(7, &held("other", 2, 7, 5));
    desk.pass(TTL / 2);
    assert!(desk.is_reading(), "it looks for itself now");
}

/// It may as well have been true, of a record that the store lost: whoever wrote that leads still.
#[test]
fn a_notice_of_a_record_that_is_not_there_costs_one_more_wait() {
    let record = held("other", 2, 7, 3);
    let mut desk = Desk::following(&record, 5);
    desk.pass(secs(3));
    desk.notice(u64::MAX, &held("forger", 3, 7, 4));
    desk.pass(TTL);
    desk.answer_read(snapshot(Some(entry(5, &record))));
    assert_eq!(desk.command, None, "although the wait of what stands was over long since");
    desk.notice(u64::MAX, &held("forger", 3, 7, 4));
    desk.pass(TTL / 2);
    desk.answer_read(snapshot(Some(entry(5, &record))));
    desk.pass(TTL / 2);
    desk.answer_read(snapshot(Some(entry(5, &record))));
    assert_eq!(desk.written().0.revision, 5);
}

#[test]
fn a_forged_notice_deposes_nobody() {
    let mut desk = Desk::leading();
    desk.pass(secs(1));
    desk.notice(u64::MAX, &held("forger", 3, 7, 4));
    assert!(desk.leads());
    let (_, own) = (1, held("me", 1, 1, 0));
    let own = Lease { write: 4, ..own };
    desk.answer_read(snapshot(Some(entry(1, &own))));
    assert!(desk.leads());
    assert_eq!(desk.lost(), None);
}

#[test]
fn a_store_that_went_back_is_believed_after_a_ttl() {
    let mut desk = Desk::following(&held("other", 2, 7, 3), 50);
    desk.pass(TTL);
    let older = held("other", 2, 6, 2);
    desk.answer_read(snapshot(Some(entry(40, &older))));
    assert_eq!(desk.command, None);
    desk.pass(TTL);
    desk.answer_read(snapshot(Some(entry(40, &older))));
    desk.pass(TTL);
    desk.answer_read(snapshot(Some(entry(40, &older))));
    let (expect, lease) = desk.written();
    assert_eq!((expect.revision, lease.epoch), (40, epoch(8)), "the epoch never goes back");
}

/// Markers do not tell which they are; a store that fell back and climbed again shows another one.
#[test]
fn a_marker_that_stands_again_where_less_stood_is_waited_for_anew() {
    let marker = |revision| snapshot(Some(Entry { revision, content: Content::Marker }));
    let mut desk = Desk::new(settings("me", 1));
    desk.answer_read(marker(2));
    desk.pass(secs(6));
    desk.store(StoreEvent::Hint);
    desk.answer_read(marker(1));
    desk.pass(secs(6));
    desk.store(StoreEvent::Hint);
    desk.answer_read(marker(2));
    assert_eq!(desk.command, None);
    assert_eq!(desk.wake_at, desk.now + TTL - LEAD);
}

#[test]
fn a_second_process_of_our_name_is_told_once_it_proves_alive() {
    let mut desk = Desk::following(&held("me", 2, 7, 3), 5);
    let twin = Change::DuplicateNodeId(SessionId::from_bits(2));
    assert!(!desk.changes.contains(&twin), "it may be the rest of a restart");
    desk.pass(secs(3));
    desk.notice(6, &held("me", 2, 7, 4));
    desk.notice(7, &held("me", 2, 7, 5));
    assert_eq!(desk.changes.iter().filter(|change| **change == twin).count(), 1);
}

#[test]
fn an_observer_is_no_second_process_of_its_name() {
    let mut desk = Desk::new(Settings { observer: true, ..settings("me", 1) });
    for (revision, write) in [(5, 3), (6, 4), (7, 5)] {
        desk.answer_read(snapshot(Some(entry(revision, &held("me", 2, 7, write)))));
        desk.pass(secs(31));
    }
    assert_eq!(desk.election.revision(), 7, "it saw them all");
    let twin = |change: &Change| matches!(change, Change::DuplicateNodeId(_));
    assert!(!desk.changes.iter().any(twin));
}

#[test]
fn an_observer_never_writes() {
    let mut desk = Desk::new(Settings { observer: true, ..settings("me", 1) });
    desk.answer(Outcome::NoBucket);
    assert_eq!(desk.command, None);
    desk.pass(secs(40));
    desk.answer_read(snapshot(Some(entry(2, &released(2, 7, 3)))));
    assert_eq!(desk.command, None);
    assert_eq!(desk.give(Input::Promote), Some(Refused::Observer));
}

#[test]
fn the_largest_epoch_is_the_last_and_that_is_told() {
    let desk = Desk::following(&released(2, Epoch::MAX, 3), 5);
    assert!(desk.changes.contains(&Change::Problem(StoreError::EpochsExhausted)));
    assert_eq!(desk.command, None);
}

#[test]
fn an_acknowledgement_from_a_bucket_that_is_gone_says_nothing_of_the_new_one() {
    let mut desk = Desk::leading();
    desk.pass(secs(3));
    let ticket = desk.ticket();
    desk.pass(secs(1));
    desk.answer_read(Snapshot { incarnation: Incarnation::new("two"), ..absent(0) });
    assert_eq!(desk.lost(), Some(&Cause::BucketReplaced));
    desk.store(StoreEvent::Completed { ticket, outcome: Outcome::Stored { revision: 2 } });
    assert_eq!(desk.election.revision(), 0);
}

#[test]
fn an_acknowledgement_from_a_bucket_that_is_gone_still_tells_of_its_epoch() {
    let mut desk = Desk::following(&released(2, 7, 3), 5);
    let ticket = desk.ticket();
    desk.pass(secs(1));
    desk.answer_read(Snapshot { incarnation: Incarnation::new("two"), ..absent(0) });
    desk.store(StoreEvent::Completed { ticket, outcome: Outcome::Stored { revision: 6 } });
    assert_eq!(desk.election.highest_epoch(), Some(epoch(8)));
}

#[test]
fn a_follower_of_a_store_that_went_back_wakes_to_look_again() {
    let mut desk = Desk::following(&held("other", 2, 7, 3), 50);
    desk.pass(secs(20));
    desk.answer_read(snapshot(Some(entry(40, &held("other", 2, 6, 2)))));
    assert_eq!(desk.wake_at, desk.now + TTL);
}

/// The holder may have written into the gap since.
#[test]
fn a_bucket_is_waited_for_that_was_replaced_while_its_record_was_missing() {
    let mut desk = Desk::following(&held("other", 2, 7, 3), 5);
    desk.store(StoreEvent::Hint);
    desk.pass(secs(1));
    desk.answer_read(absent(5));
    desk.pass(TTL);
    desk.answer(Outcome::NoBucket);
    desk.answer(Outcome::Created);
    let incarnation = Incarnation::new("two");
    desk.answer_read(Snapshot { incarnation, ..snapshot(None) });
    assert_eq!(desk.command, None);
    assert_eq!(desk.wake_at, desk.now + TTL);
}

#[test]
fn the_first_read_keeps_the_moment_at_which_its_revision_was_noticed() {
    let mut desk = Desk::new(settings("me", 1));
    let noticed = desk.now;
    desk.notice(5, &held("other", 2, 7, 3));
    desk.now = desk.now + Duration::from_millis(900);
    desk.answer_read(snapshot(Some(entry(5, &held("other", 2, 7, 3)))));
    assert_eq!(desk.wake_at, noticed + TTL - LEAD);
}
