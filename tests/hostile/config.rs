//! Configurations from any text: never a panic; an error is one line without the secret; and an
//! accepted configuration is the same again after a save.

use std::time::Duration;

use leasehold::config::{Config, options_markdown};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::Value;

use crate::checks::check_config;

/// The keys of the format, and one that is not, so that whole sections come up by chance.
fn keys() -> Vec<String> {
    let table = options_markdown();
    let paths = table.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next());
    let mut keys: Vec<_> = paths.flat_map(|path| path.split('.')).map(str::to_owned).collect();
    keys.push("other".to_owned());
    keys.sort();
    keys.dedup();
    assert!(keys.len() > 30, "{keys:?}");
    keys
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0u64..100_000).prop_map(Value::from),
        any::<f32>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "[a-z0-9.:/@%-]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        let key = prop::sample::select(keys());
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(key, inner, 0..8).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Sections of the right shape with values that may be anything.
fn plausible() -> impl Strategy<Value = Value> {
    let id = "[a-z0-9_]{1,4}[a-z0-9.]?[a-z0-9]";
    let server = "(nats://|tls://|)([a-z%]{1,3}:?[a-z%]{0,3}@)?[a-z0-9.-]{1,9}(:[0-9]{1,6})?";
    (id, id, vec(server, 1..3), 0u64..30_000, 0u64..12_000, json()).prop_map(
        |(cluster, node, servers, ttl, renew, meta)| {
            serde_json::json!({
                "clusterId": cluster, "nodeId": node, "nats": {"servers": servers},
                "election": {"leaseTtlMs": ttl, "renewIntervalMs": renew, "meta": meta},
            })
        },
    )
}

/// Mostly of a magnitude that may be accepted.
fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![4 => (0u64..20_000_000).prop_map(Duration::from_micros), 1 => any::<Duration>()]
}

/// A password that does not come up by chance.
const PASSWORD: &str = "hunter2-and-3";

/// Checks a text; neither debug output nor an error shows the password.
fn check(text: &str) {
    let parsed = Config::from_json(text);
    match &parsed {
        // Here the password stands where a host belongs, and is no secret.
        Ok(config) if config.servers().any(|server| server.contains(PASSWORD)) => {}
        Ok(config) => assert!(!format!("{config:?}").contains(PASSWORD), "{config:?}"),
        Err(error) => {
            let printed = format!("{error} {error:?}");
            assert!(!printed.contains(PASSWORD), "{printed}");
        }
    }
    check_config(parsed);
}

proptest! {
    #[test]
    fn any_text(text in "\\PC*") {
        check(&text);
    }

    #[test]
    fn any_json(value in json()) {
        check(&value.to_string());
    }

    #[test]
    fn any_value_in_any_place(value in plausible()) {
        check(&value.to_string());
    }

    #[test]
    fn a_damaged_file(at in 0usize..1_200, with in vec(any::<u8>(), 0..4), cut in 0usize..4) {
        let mut bytes = include_bytes!("../fixtures/config/everything.json").to_vec();
        let start = at.min(bytes.len());
        let end = (start + cut).min(bytes.len());
        bytes.splice(start..end, with);
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_ids_and_servers(ids in ("\\PC{0,80}", "\\PC{0,80}"), server in "\\PC{0,40}") {
        let nats = serde_json::json!({"servers": [server]});
        check(&serde_json::json!({"clusterId": ids.0, "nodeId": ids.1, "nats": nats}).to_string());
    }

    #[test]
    fn a_password_in_a_damaged_address(before in "[^:\\pC]{0,8}", after in "[^:\\pC]{0,8}") {
        for server in [
            format!("nats://u:{PASSWORD}{before}@h{after}"),
            format!("nats://{before}{PASSWORD}{after}"),
            format!("{before}u:{PASSWORD}@{after}"),
        ] {
            let nats = serde_json::json!({"servers": [server]});
            let text = serde_json::json!({"clusterId": "c", "nodeId": "n", "nats": nats});
            check(&text.to_string());
        }
    }

    #[test]
    fn any_durations([ttl, renew, rest] in [duration(), duration(), duration()]) {
        let plain = Config::builder("orders", "node-1", ["nats://127.0.0.1:4222"]);
        let builder = plain.lease_ttl(ttl).renew_interval(renew).cooldown(rest);
        if let Ok(config) = builder.drain_timeout(rest).stop_timeout(rest).build() {
            check(&config.to_json());
        }
    }
}

#[test]
fn the_fuzzing_corpus() {
    crate::checks::corpus("config", |bytes| check(&String::from_utf8_lossy(bytes)));
}
