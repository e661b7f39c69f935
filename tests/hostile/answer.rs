//! Whatever strangers answer or command: no panic, a refusal of one line, and nothing of what is
//! accepted moves a cursor.

use leasehold::health::Health;
use leasehold::service::{NodeStatus, parse_promote, parse_transfer};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::checks::{check_commands, check_health, check_status};

fn check_answer(bytes: &[u8]) {
    check_health(Health::parse(bytes));
    check_status(NodeStatus::parse(bytes));
}

fn check_command(bytes: &[u8]) {
    check_commands(parse_transfer(bytes), parse_promote(bytes));
}

const FIELDS: [&str; 16] = [
    "nodeId",
    "clusterId",
    "role",
    "leader",
    "epoch",
    "uptimeMs",
    "timestamp",
    "custom",
    "connected",
    "stuck",
    "heartbeatAgeMs",
    "session",
    "problem",
    "warnings",
    "bucket",
    "unknown",
];

/// Values of the right types and of wrong ones.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        ".{0,300}".prop_map(Value::from),
        Just(Value::Null),
        Just(json!({ "a": [1.5, null, { "b": "c" }] })),
        vec(".{0,300}", 0..20).prop_map(Value::from),
        Just(json!("PRIMARY")),
    ]
}

proptest! {
    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..1200)) {
        check_answer(&bytes);
        check_command(&bytes);
    }

    #[test]
    fn any_fields(fields in vec((0..FIELDS.len(), value()), 0..14), named: bool) {
        let mut object: Map<String, Value> =
            fields.into_iter().map(|(at, value)| (FIELDS[at].to_owned(), value)).collect();
        if named {
            object.insert("nodeId".into(), "node-1".into());
        }
        check_answer(Value::Object(object).to_string().as_bytes());
    }

    #[test]
    fn any_command(to in value(), force in value(), cut in 0..40_usize) {
        let text = json!({ "to": to, "force": force }).to_string();
        check_command(text.as_bytes());
        check_command(&text.as_bytes()[..cut.min(text.len())]);
    }
}

#[test]
fn the_fuzzing_corpus() {
    crate::checks::corpus("answer", check_answer);
    crate::checks::corpus("command", check_command);
}
