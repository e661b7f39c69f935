//! Every error code that JetStream has, as the response to each request of the store: none is taken
//! for a success, and what may have had an effect stays unknown.

use leasehold::error::StoreError;
use leasehold::store::{Outcome, Request};
use serde_json::json;

use crate::driver::{Driver, write};
use crate::nats::{GETS, INFOS, Impostor, WRITES, info, message, request};
use crate::support::codes::{Code, codes_of};
use crate::support::nats::Subscription;
use crate::support::version::Version;

const CREATIONS: &str = "$JS.API.STREAM.CREATE.KV_cluster-test";
const NO_MESSAGE: u32 = 10037;
const NAME_IN_USE: u32 = 10058;
const NO_STREAM: u32 = 10059;
const LOST_RACE: [u32; 3] = [10070, 10071, 10164];

fn body(code: Code) -> String {
    json!({ "error": code.error(), "stream": "KV_cluster-test", "seq": 0 }).to_string()
}

/// It says what the server said.
#[track_caller]
fn assert_told(code: Code, error: &StoreError) {
    assert!(error.to_string().contains(&code.description()), "{code:?}: {error}");
}

/// An impostor, the requests of one kind that it gets, and a store that is connected to it.
fn site(version: Version, subject: &str) -> (Impostor, Subscription, Driver) {
    let impostor = Impostor::new(version);
    let requests = impostor.listen(subject);
    let driver = impostor.driver();
    (impostor, requests, driver)
}

on_both_servers!(of_a_write_only_three_codes_are_a_lost_race, |version| {
    let (impostor, writes, mut driver) = site(version, WRITES);
    for (revision, code) in (1..).zip(codes_of(version)) {
        let ticket = driver.submit(write(revision, None, "x"));
        let message = request(&writes);
        impostor.answer(&message, &body(code));
        match driver.outcome(ticket) {
            Outcome::LostRace => assert!(LOST_RACE.contains(&code.code), "{code:?}"),
            Outcome::Failed(error) if (400..500).contains(&code.status) => {
                assert!(!LOST_RACE.contains(&code.code), "{code:?}");
                assert_told(code, &error);
            }
            Outcome::Unknown(error) if code.status >= 500 => {
                assert_told(code, &error);
                // The server may have stored it all the same, and say so.
                impostor.answer(&message, r#"{"stream":"KV_cluster-test","seq":9}"#);
                assert_eq!(driver.outcome(ticket), Outcome::Stored { revision: 9 }, "{code:?}");
            }
            other => panic!("{code:?}: {other:?}"),
        }
    }
});

/// It is one of `accepted`, or failed and tells the code.
#[track_caller]
fn compare(code: Code, outcome: &Outcome, accepted: &[(u32, Outcome)]) {
    let accepted = accepted.iter().find(|(accepted, _)| *accepted == code.code);
    match (outcome, accepted) {
        (outcome, Some((_, wanted))) => assert_eq!(outcome, wanted, "{code:?}"),
        (Outcome::Failed(error), None) => assert_told(code, error),
        (other, None) => panic!("{code:?}: {other:?}"),
    }
}

on_both_servers!(of_a_creation_only_a_name_in_use_is_none, |version| {
    let (impostor, creations, mut driver) = site(version, CREATIONS);
    for code in codes_of(version) {
        let ticket = driver.submit(Request::CreateBucket { first_seq: 1 });
        impostor.answer(&request(&creations), &body(code));
        compare(code, &driver.outcome(ticket), &[(NAME_IN_USE, Outcome::Created)]);
    }
});

on_both_servers!(of_a_question_for_the_stream_only_one_code_means_no_bucket, |version| {
    let (impostor, infos, mut driver) = site(version, INFOS);
    for code in codes_of(version) {
        let ticket = driver.submit(Request::Read);
        impostor.answer(&request(&infos), &body(code));
        compare(code, &driver.outcome(ticket), &[(NO_STREAM, Outcome::NoBucket)]);
    }
});

/// Answers a read that shows `revision`. `new` says that the store does not know the bucket yet.
#[track_caller]
fn read(site: &Site, driver: &mut Driver, revision: u64, new: bool) {
    let ticket = driver.submit(Request::Read);
    if new {
        site.impostor.turn(driver, &site.infos, &info("first", revision));
    }
    site.impostor.turn(driver, &site.gets, &message(revision, "b2xk"));
    site.impostor.turn(driver, &site.infos, &info("first", revision));
    assert!(matches!(driver.outcome(ticket), Outcome::Read(_)));
}

/// An impostor, and the questions that it gets.
struct Site {
    impostor: Impostor,
    gets: Subscription,
    infos: Subscription,
}

impl Site {
    fn new(version: Version) -> Self {
        let impostor = Impostor::new(version);
        let [gets, infos] = [GETS, INFOS].map(|subject| impostor.listen(subject));
        Self { impostor, gets, infos }
    }
}

on_both_servers!(of_a_question_for_the_record_two_codes_are_an_answer, |version| {
    let site = Site::new(version);
    let mut driver = site.impostor.driver();
    read(&site, &mut driver, 5, true);
    for code in codes_of(version) {
        let ticket = driver.submit(Request::Read);
        site.impostor.answer(&request(&site.gets), &body(code));
        if code.code == NO_MESSAGE {
            site.impostor.turn(&mut driver, &site.infos, &info("first", 5));
            let outcome = driver.outcome(ticket);
            assert!(matches!(outcome, Outcome::Read(read) if read.entry.is_none()), "{code:?}");
            continue;
        }
        compare(code, &driver.outcome(ticket), &[(NO_STREAM, Outcome::NoBucket)]);
        if code.code == NO_STREAM {
            read(&site, &mut driver, 5, true);
        }
    }
});

/// A stream that is stuck says of every write that another one came first.
#[test]
fn a_race_that_is_lost_to_no_other_write_is_a_refusal_in_the_end() {
    let site = Site::new(Version::Newest);
    let writes = site.impostor.listen(WRITES);
    let mut driver = site.impostor.driver();
    let lose = |driver: &mut Driver, revision: u64| {
        let ticket = driver.submit(write(revision, None, "x"));
        site.impostor.answer(&request(&writes), &body(Code { code: 10164, status: 400 }));
        driver.outcome(ticket)
    };
    read(&site, &mut driver, 5, true);
    for _ in 0..2 {
        assert_eq!(lose(&mut driver, 5), Outcome::LostRace);
        read(&site, &mut driver, 5, false);
    }
    let outcome = lose(&mut driver, 5);
    assert!(matches!(outcome, Outcome::Failed(StoreError::Server { code: 10164, .. })));
    // Another write came: it is a race again.
    read(&site, &mut driver, 6, false);
    assert_eq!(lose(&mut driver, 6), Outcome::LostRace);
}
