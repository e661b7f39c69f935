//! Problems of the store: each is reported once, and is over when a request of its kind succeeds.

use super::*;

fn refused(code: u32) -> StoreError {
    StoreError::Server { code, description: format!("error {code}").into() }
}

/// The problems that were reported, in their order.
fn reported(node: &TestNode) -> Vec<StoreError> {
    let problem = |change: &Change| match change {
        Change::Problem(error) => Some(error.clone()),
        _ => None,
    };
    node.changes.iter().filter_map(problem).collect()
}

/// Lets the renewal of a leader come to this, and the read that follows show no other record.
fn renew(node: &mut TestNode, outcome: Outcome) {
    let retry = node.election.settings.timing.retry_wait();
    node.advance(secs(3));
    node.answer(outcome);
    node.advance(retry);
    node.answer_read(snapshot(Some(entry(1, &held("me", 1, 1, 4)))));
}

#[test]
fn a_refused_renewal_is_a_problem_until_one_is_stored_whether_it_failed_or_is_unknown() {
    for outcome in [Outcome::Failed, Outcome::Unknown] {
        let mut node = TestNode::leading();
        renew(&mut node, outcome(refused(10_077)));
        assert_eq!(node.election.problem(), Some(&refused(10_077)));
        let retry = node.election.settings.timing.retry_wait();
        node.answer(outcome(refused(10_077)));
        node.advance(retry);
        node.answer_read(snapshot(Some(entry(1, &held("me", 1, 1, 4)))));
        assert_eq!(reported(&node), [refused(10_077)], "once");
        assert_eq!(node.election.problem(), Some(&refused(10_077)), "reading solves nothing");
        node.stored(2);
        assert_eq!(node.election.problem(), None);
        assert!(node.leads());
        renew(&mut node, outcome(refused(10_077)));
        assert_eq!(reported(&node), [refused(10_077), refused(10_077)], "it is back");
    }
}

#[test]
fn each_change_of_a_problem_is_reported() {
    let mut node = TestNode::leading();
    let retry = node.election.settings.timing.retry_wait();
    node.advance(secs(3));
    for code in [10_077, 10_023, 10_023, 10_077] {
        node.answer(Outcome::Unknown(refused(code)));
        node.advance(retry);
        node.answer_read(snapshot(Some(entry(1, &held("me", 1, 1, 4)))));
    }
    assert_eq!(reported(&node), [refused(10_077), refused(10_023), refused(10_077)]);
}

/// A server that counts in its text would fill the log.
#[test]
fn another_number_in_a_text_is_no_other_problem() {
    let says = |text: &str| StoreError::Server { code: 10_077, description: text.into() };
    let mut node = TestNode::leading();
    let retry = node.election.settings.timing.retry_wait();
    node.advance(secs(3));
    for text in ["7 of 8 bytes", "8 of 8 bytes", "no space"] {
        node.answer(Outcome::Unknown(says(text)));
        assert_eq!(node.election.problem(), Some(&says(text)), "the newest text");
        node.advance(retry);
        node.answer_read(snapshot(Some(entry(1, &held("me", 1, 1, 4)))));
    }
    assert_eq!(reported(&node), [says("7 of 8 bytes"), says("no space")]);
}

#[test]
fn a_refused_read_and_a_refused_creation_are_problems_until_one_succeeds() {
    for outcome in [Outcome::Failed, Outcome::Unknown] {
        let mut node = TestNode::new(settings("me", 1));
        for _ in 0..2 {
            node.answer(outcome(refused(10_008)));
            node.advance(secs(3));
        }
        assert_eq!(node.election.problem(), Some(&refused(10_008)));
        node.answer(Outcome::NoBucket);
        assert_eq!(node.election.problem(), None);
        node.answer(outcome(refused(10_047)));
        assert_eq!(node.election.problem(), Some(&refused(10_047)));
        node.advance(secs(3));
        node.answer(Outcome::NoBucket);
        assert_eq!(node.election.problem(), Some(&refused(10_047)), "it was only read");
        node.answer(Outcome::Created);
        assert_eq!(node.election.problem(), None);
        assert_eq!(reported(&node), [refused(10_008), refused(10_047)]);
    }
}

/// Its challenge was refused. That another node renews shows that the store takes writes again.
#[test]
fn a_followers_problem_is_over_when_a_read_shows_a_new_record() {
    let permission = StoreError::Permission("writing".into());
    for (error, remains) in [(refused(10_077), false), (permission, true)] {
        let mut node = TestNode::following(&released(2, 7, 3), 5);
        node.answer(Outcome::Failed(error.clone()));
        node.advance(secs(3));
        node.answer_read(snapshot(Some(entry(5, &released(2, 7, 3)))));
        assert_eq!(node.election.problem(), Some(&error));
        node.answer(Outcome::LostRace);
        assert_eq!(node.election.problem(), Some(&error), "it was not stored");
        node.answer_read(snapshot(Some(entry(6, &held("other", 3, 8, 1)))));
        assert_eq!(node.election.problem().is_some(), remains, "{error}");
    }
}

#[test]
fn a_refusal_that_comes_late_is_reported() {
    let mut node = TestNode::leading();
    node.advance(secs(3));
    let ticket = node.ticket();
    node.advance(secs(1));
    node.answer_read(snapshot(Some(entry(1, &held("me", 1, 1, 4)))));
    let outcome = Outcome::Unknown(refused(10_008));
    node.store(StoreEvent::Completed { ticket, outcome });
    assert_eq!(reported(&node), [refused(10_008)]);
}

/// The server answers reads, and keeps silent about writes.
#[test]
fn the_second_write_without_an_answer_is_a_problem() {
    let mut node = TestNode::leading();
    node.advance(secs(3));
    for known in [false, true] {
        node.advance(secs(1));
        assert_eq!(node.election.problem().is_some(), known);
        node.answer_read(snapshot(Some(entry(1, &held("me", 1, 1, 4)))));
    }
    assert_eq!(reported(&node), [StoreError::TimedOut]);
    node.stored(2);
    assert_eq!(node.election.problem(), None);
}

#[test]
fn a_lost_connection_is_the_problem_until_the_next_one() {
    let mut node = TestNode::leading();
    renew(&mut node, Outcome::Unknown(refused(10_077)));
    let error = StoreError::Disconnected("refused".into());
    node.store(StoreEvent::Disconnected { error: error.clone() });
    assert_eq!(node.election.problem(), Some(&error));
    node.store(StoreEvent::Connected { server: "here".to_owned() });
    assert_eq!(node.election.problem(), Some(&refused(10_077)), "no write was stored since");
}

#[test]
fn a_denial_that_belongs_to_no_request_lasts_as_long_as_the_connection() {
    let denied = || StoreError::Permission("notices".into());
    let mut node = TestNode::leading();
    for _ in 0..2 {
        node.store(StoreEvent::Problem(denied()));
    }
    node.advance(secs(3));
    node.stored(2);
    assert_eq!(node.election.problem(), Some(&denied()));
    node.store(StoreEvent::Disconnected { error: StoreError::TimedOut });
    node.store(StoreEvent::Connected { server: "here".to_owned() });
    assert_eq!(node.election.problem(), None);
    assert_eq!(reported(&node), [denied()]);
}
