//! What the public types can do, as the API guidelines of Rust want it.

use std::hash::Hash;
use std::panic::{RefUnwindSafe, UnwindSafe, catch_unwind};
use std::str::FromStr;

use leasehold::clock::Clock;
use leasehold::fence::Gate;
use leasehold::store::memory::MemoryServer;
use leasehold::testing::Term;
use leasehold::{
    Config, DrainGuard, Epoch, Event, Events, Leadership, Node, NodeHandle, Observer, SessionId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::events::PATIENCE;

fn shared<T: Send + Sync + UnwindSafe + RefUnwindSafe>() {}

#[test]
fn handles_and_values_may_be_shared_and_cross_a_caught_panic() {
    shared::<Node>();
    shared::<NodeHandle>();
    shared::<Observer>();
    shared::<Events>();
    shared::<Event>();
    shared::<Leadership>();
    shared::<DrainGuard>();
    shared::<Config>();
    shared::<Clock>();
    shared::<Gate>();
    shared::<Term>();
}

/// Without `UnwindSafe` this needs an `AssertUnwindSafe` around every use.
#[test]
fn a_node_leads_on_after_a_panic_of_its_user() {
    let config = Config::new("orders", "a", ["127.0.0.1:4222"]).expect("valid");
    let store = MemoryServer::new().connect(Clock::boot());
    let node = Node::builder(config).store(store).start().expect("the store is in memory");
    let token = node.wait_for_leadership(PATIENCE).expect("alone");
    let caught = catch_unwind(|| {
        let _guard = token.hold();
        let _event = node.events().try_next();
        panic!("a test of panics");
    });
    assert!(caught.is_err() && node.is_leader() && token.hold().is_some());
}

fn value<T: FromStr + Serialize + DeserializeOwned + Copy + Eq + Hash>() {}

#[test]
fn epochs_and_sessions_are_read_and_written_as_text_and_json() {
    value::<Epoch>();
    value::<SessionId>();
    for (text, read) in [("7", true), ("9223372036854775807", true), ("0", false), ("-1", false)] {
        assert_eq!(text.parse::<Epoch>().is_ok(), read, "{text}");
        assert_eq!(serde_json::from_str::<Epoch>(text).is_ok(), read, "{text}");
    }
    let error = serde_json::from_str::<Epoch>("9223372036854775808").unwrap_err().to_string();
    assert!(error.contains("from 1 to 9223372036854775807"), "{error}");
    assert!("+7".parse::<Epoch>().is_err() && "".parse::<Epoch>().is_err());
    let session = SessionId::from_bits(7);
    let json = serde_json::to_string(&session).expect("JSON");
    assert_eq!(json, format!("\"{session}\""));
    assert_eq!(serde_json::from_str::<SessionId>(&json).expect("the same"), session);
    let error = serde_json::from_str::<SessionId>("\"7\"").unwrap_err().to_string();
    assert!(error.contains("32 hexadecimal digits"), "{error}");
}

#[test]
fn status_and_counters_are_json() {
    let config = Config::new("orders", "a", ["127.0.0.1:4222"]).expect("valid");
    let store = MemoryServer::new().connect(Clock::boot());
    let node = Node::builder(config).store(store).start().expect("the store is in memory");
    node.wait_for_leadership(PATIENCE).expect("alone");
    let status = serde_json::to_value(node.status()).expect("JSON");
    assert_eq!((&status["role"], &status["epoch"]), (&"leader".into(), &1.into()));
    let counters = serde_json::to_value(node.stats()).expect("JSON");
    assert_eq!(counters["terms"], 1);
    assert!(counters["remaining_seconds"].as_f64().is_some_and(|left| left > 0.0 && left < 10.0));
}

#[test]
fn tokens_are_compared_by_their_term() {
    let (one, other) = (Term::begin(7), Term::begin(7));
    assert_eq!(one.leadership(), one.leadership());
    assert_ne!(one.leadership(), other.leadership(), "two sessions");
}
