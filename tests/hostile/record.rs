//! Whatever stands under the key: no panic, a refusal of one line, and what is accepted is within
//! all ranges and the same again when it is written.

use leasehold::lease::{Lease, MAX_RECORD_BYTES};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::checks::check_record;

fn check(bytes: &[u8]) {
    check_record(Lease::decode(bytes));
}

const FIELDS: [&str; 11] = [
    "node_id",
    "session",
    "epoch",
    "n",
    "ttl_ms",
    "clean",
    "successor",
    "meta",
    "expires_at",
    "acquired_at",
    "other",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
        "[0-9a-f]{32}".prop_map(Value::from),
        ".{0,300}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec(("\\PC{0,9}", inner), 0..6).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

/// Records of the right shape, with values at the edges of their ranges.
fn plausible() -> impl Strategy<Value = Value> {
    let edge = |edges: &'static [u64]| prop::sample::select(edges).prop_map(Value::from);
    (
        prop_oneof![Just(Value::from("")), "[a-z0-9.-]{1,9}".prop_map(Value::from), value()],
        prop_oneof!["[0-9a-fA-F]{31,33}".prop_map(Value::from), Just(Value::Null), value()],
        edge(&[0, 1, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX]),
        edge(&[0, 99, 100, 10_000, 3_600_000, 3_600_001, u64::MAX]),
        any::<bool>(),
        value(),
    )
        .prop_map(|(node, session, epoch, ttl, clean, meta)| {
            json!({
                "node_id": node, "session": session, "epoch": epoch, "n": epoch, "ttl_ms": ttl,
                "clean": clean, "meta": meta,
            })
        })
}

proptest! {
    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..300)) {
        check(&bytes);
    }

    #[test]
    fn any_fields(fields in vec((prop::sample::select(&FIELDS[..]), value()), 0..9)) {
        let fields: Map<_, _> = fields.into_iter().map(|(key, v)| (key.to_owned(), v)).collect();
        check(Value::Object(fields).to_string().as_bytes());
    }

    #[test]
    fn a_field_that_stands_twice(field in prop::sample::select(&FIELDS[..]), value in value()) {
        let bytes = format!(r#"{{"epoch":1,"{field}":{value},"{field}":{value}}}"#);
        check(bytes.as_bytes());
    }

    #[test]
    fn any_value_in_any_place(value in plausible()) {
        check(value.to_string().as_bytes());
    }

    #[test]
    fn a_damaged_record(at in 0usize..400, with in vec(any::<u8>(), 0..4), cut in 0usize..4) {
        let record = json!({
            "node_id": "node-1", "session": "0123456789abcdef0123456789abcdef", "epoch": 7, "n": 9,
            "ttl_ms": 10_000, "clean": false, "successor": "node-2", "meta": {"a": [1.5, null]},
            "expires_at": "2026-01-02T03:04:05.123456789Z",
        });
        let mut bytes = record.to_string().into_bytes();
        let start = at.min(bytes.len());
        let end = (start + cut).min(bytes.len());
        bytes.splice(start..end, with);
        check(&bytes);
    }

    #[test]
    fn a_long_record(beyond in -60..10_isize, deep in any::<bool>()) {
        let length = MAX_RECORD_BYTES.saturating_add_signed(beyond);
        let text = if deep { "[".repeat(length) } else { "x".repeat(length) };
        check(format!(r#"{{"epoch":1,"meta":"{text}"}}"#).as_bytes());
        check(format!(r#"{{"epoch":1,"meta":{text}}}"#).as_bytes());
    }
}

#[test]
fn the_fuzzing_corpus() {
    crate::checks::corpus("record", check);
}
