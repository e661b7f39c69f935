//! The readers' promises hold for responses that are damaged, invented, or found by fuzzing.

use std::fs;
use std::path::Path;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

type Reader = fn(&[u8], Around<'_>);

/// Every reader, by the name of its fuzz target.
const READERS: [(&str, Reader); 6] = [
    ("acknowledgement", acknowledgement),
    ("message", message),
    ("stream", stream),
    ("notice", notice),
    ("operations", operations),
    ("handshake", handshake),
];

const AS_IT_IS: Around<'_> = &|read| read();

/// Inputs on which fuzzing reached new code, and inputs that once broke a reader.
#[test]
fn the_corpus_of_each_reader_breaks_none() {
    for (name, reader) in READERS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
        let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut count = 0;
        for file in files {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            reader(&bytes, AS_IT_IS);
            count += 1;
        }
        assert!(count >= 5, "{name}: {count} files");
    }
}

#[test]
fn the_corpus_has_each_code_of_a_lost_race() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/acknowledgement");
    let files = fs::read_dir(folder).unwrap();
    let all: Vec<_> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    for code in jetstream::code::LOST_RACE {
        let lost = |bytes: &Vec<u8>| {
            let json = serde_json::from_slice(bytes).unwrap_or_default();
            has_code(&json, &[code])
                && matches!(jetstream::parse_ack(bytes, "KV_cluster-t"), Ok(Ack::LostRace(_)))
        };
        assert!(all.iter().any(lost), "{code}");
    }
}

const KEYS: [&str; 24] = [
    "error",
    "code",
    "err_code",
    "description",
    "stream",
    "seq",
    "duplicate",
    "message",
    "subject",
    "hdrs",
    "data",
    "created",
    "state",
    "messages",
    "last_seq",
    "first_seq",
    "config",
    "name",
    "subjects",
    "storage",
    "max_age",
    "republish",
    "src",
    "dest",
];

const TEXTS: [&str; 8] = [
    "KV_cluster-t",
    "$KV.cluster-t.lease",
    "$KV.cluster-t.>",
    "cluster.t.kv.>",
    "file",
    "2026-11-23T07:09:47.121236815Z",
    "TkFUUy8xLjANCktWLU9wZXJhdGlvbjogREVMDQoNCg==",
    "",
];

fn json_of_ours() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec![0, 1, 404, 503, 10037, 10058, 10059, 10070, 10071, 10164_u64])
            .prop_map(Value::from),
        any::<f32>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        prop::sample::select(&TEXTS[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        let key = prop::sample::select(&KEYS[..]).prop_map(str::to_owned);
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(key, inner, 0..10).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A header block whose lines are mostly those that count.
fn block() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("Nats-Stream: KV_cluster-t".to_owned()),
        Just("Nats-Subject: $KV.cluster-t.lease".to_owned()),
        "Nats-Sequence: (0|-|\\+)?[0-9]{0,21}",
        "(KV-Operation|kv-operation|Nats-Marker-Reason): ?(DEL|PURGE|PUT|)",
        "\\PC{0,30}",
    ];
    vec(line, 0..8).prop_map(|lines| format!("NATS/1.0\r\n{}\r\n\r\n", lines.join("\r\n")))
}

proptest! {
    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..200)) {
        for (_, reader) in READERS {
            reader(&bytes, AS_IT_IS);
        }
    }

    #[test]
    fn any_json(value in json_of_ours()) {
        let text = value.to_string();
        for (_, reader) in READERS {
            reader(text.as_bytes(), AS_IT_IS);
        }
        handshake(format!("INFO {text}\r\nPONG\r\n").as_bytes(), AS_IT_IS);
    }

    #[test]
    fn any_headers(block in block(), body in "\\PC{0,40}") {
        notice(format!("{block}{body}").as_bytes(), AS_IT_IS);
    }

    #[test]
    fn any_lines_of_a_server(lines in vec("(INFO|PING|PONG|-ERR|\\+OK|) ?\\PC{0,60}", 0..5)) {
        handshake(lines.join("\r\n").as_bytes(), AS_IT_IS);
        let text = lines.join("\r\n");
        handshake(format!("INFO {{\"headers\":true}}\r\n{text}\r\n").as_bytes(), AS_IT_IS);
        notice(format!("Permissions Violation for {text}").as_bytes(), AS_IT_IS);
    }
}
