//! Responses of nats-server 2.9.10 and 2.15.1, and responses that no server should send.

use super::*;
use crate::nats::version::Version;
use crate::store::nats::bucket::BucketOptions;
use crate::store::nats::subjects::Subjects;
use serde_json::json;
use std::time::Duration;

const STREAM: &str = "KV_cluster-t";
const KEY: &str = "$KV.cluster-t.lease";

const STORED_2_9: &[u8] = br#"{"stream":"KV_cluster-t", "seq":1}"#;
const STORED_2_15: &[u8] = br#"{"stream":"KV_cluster-t","seq":8}"#;
const LOST: &[u8] = br#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 8"},"stream":"KV_cluster-t","seq":0}"#;
/// Three replicas, two writers at once.
const LOST_IN_FLIGHT: &[u8] = br#"{"error":{"code":400,"err_code":10164,"description":"wrong last sequence"},"stream":"KV_cluster-t","seq":0}"#;
const MARKER: &[u8] = br#"{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","message":{"subject":"$KV.cluster-t.lease","seq":9,"hdrs":"TkFUUy8xLjANCktWLU9wZXJhdGlvbjogREVMDQoNCg==","time":"2026-11-23T07:09:47.115052476Z"}}"#;
const VALUE: &[u8] = br#"{"message":{"subject":"$KV.cluster-t.lease","seq":3,"data":"aGVsbG8=","time":"2026-11-23T07:09:47Z"}}"#;
const NO_MESSAGE: &[u8] = br#"{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","error":{"code":404,"err_code":10037,"description":"no message found"}}"#;
const NO_STREAM: &[u8] = br#"{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","error":{"code":404,"err_code":10059,"description":"stream not found"}}"#;
const INFO_NEW_2_9: &[u8] = br#"{"type":"io.nats.jetstream.api.v1.stream_info_response","total":0,"config":{"name":"KV_cluster-t","subjects":["$KV.cluster-t.\u003e"],"retention":"limits","max_age":0,"max_msgs_per_subject":1,"discard":"new","storage":"file","num_replicas":1,"republish":{"src":"$KV.cluster-t.\u003e","dest":"cluster.t.kv.\u003e"},"allow_direct":true,"sealed":false,"deny_delete":true},"created":"2026-11-23T07:09:47.121236815Z","state":{"messages":0,"bytes":0,"first_seq":0,"last_seq":0,"consumer_count":0}}"#;
const INFO_NEW_2_15: &[u8] = br#"{"config":{"name":"KV_cluster-t","subjects":["$KV.cluster-t.\u003e"],"retention":"limits","max_age":0,"storage":"file","num_replicas":1,"first_seq":8,"sealed":false,"consumer_limits":{},"metadata":{"_nats.level":"5"}},"created":"2026-11-23T07:09:47.067443692Z","state":{"messages":0,"first_seq":8,"last_seq":7},"cluster":{"leader":"N"},"ts":"2026-11-23T07:09:47.069696248Z"}"#;
/// After one write and a purge: `state` alone looks like that of a new stream.
const INFO_PURGED: &[u8] = br#"{"config":{"name":"KV_cluster-t","subjects":["$KV.cluster-t.\u003e"],"storage":"file","num_replicas":1,"first_seq":8},"created":"2026-11-23T07:09:47.067443692Z","state":{"messages":0,"first_seq":10,"last_seq":9}}"#;
const NAME_IN_USE: &[u8] = br#"{"type":"io.nats.jetstream.api.v1.stream_create_response","error":{"code":400,"err_code":10058,"description":"stream name already in use with a different configuration"}}"#;

#[test]
fn only_a_revision_of_the_right_stream_without_an_error_is_a_success() {
    assert_eq!(parse_ack(STORED_2_9, STREAM), Ok(Ack::Stored { revision: 1 }));
    assert_eq!(parse_ack(STORED_2_15, STREAM), Ok(Ack::Stored { revision: 8 }));
    let domain = br#"{"stream":"KV_cluster-t","domain":"hub","seq":5}"#;
    assert_eq!(parse_ack(domain, STREAM), Ok(Ack::Stored { revision: 5 }));
    for doubtful in [
        &br#"{"stream":"KV_cluster-t","seq":0}"#[..],
        br#"{"stream":"KV_cluster-t"}"#,
        br#"{"stream":"KV_cluster-u","seq":5}"#,
        br#"{"seq":5}"#,
        br#"{"stream":"KV_cluster-t","seq":5,"duplicate":true}"#,
        br#"{"stream":"KV_cluster-t","seq":-5}"#,
        br#"{"stream":"KV_cluster-t","seq":5"#,
        br#"+OK {"stream":"KV_cluster-t","seq":5}"#,
        b"+OK",
        b"",
        b"null",
        b"[]",
        br#"[null,"KV_cluster-t",5]"#,
        br#"{"error":[400,10071,"wrong last sequence: 8"]}"#,
        b"\xff\xfe",
    ] {
        let ack = parse_ack(doubtful, STREAM);
        assert!(ack.is_err(), "{}", String::from_utf8_lossy(doubtful));
    }
}

#[test]
fn a_lost_race_is_recognised() {
    for body in [LOST, LOST_IN_FLIGHT] {
        let ack = parse_ack(body, STREAM);
        assert!(matches!(ack, Ok(Ack::LostRace(StoreError::Server { .. }))), "{ack:?}");
    }
}

#[test]
fn an_error_beside_a_revision_is_no_success() {
    let both = br#"{"error":{"code":400,"err_code":10999,"description":"?"},"stream":"KV_cluster-t","seq":7}"#;
    assert!(matches!(
        parse_ack(both, STREAM),
        Ok(Ack::Refused(StoreError::Server { code: 10999, .. }))
    ));
}

#[test]
fn a_server_in_trouble_may_have_stored_what_it_reports_as_failed() {
    let full = br#"{"error":{"code":503,"err_code":10077,"description":"no space"},"stream":"KV_cluster-t","seq":0}"#;
    assert!(matches!(parse_ack(full, STREAM), Err(StoreError::Server { code: 10077, .. })));
}

#[test]
fn a_read_finds_values_markers_and_absence() {
    let entry = |content, revision| Ok(Found::Some(Entry { revision, content }));
    assert_eq!(parse_get(VALUE, KEY), entry(Content::Value(b"hello".to_vec()), 3));
    assert_eq!(parse_get(MARKER, KEY), entry(Content::Marker, 9));
    assert_eq!(parse_get(NO_MESSAGE, KEY), Ok(Found::NoMessage));
    assert_eq!(parse_get(NO_STREAM, KEY), Ok(Found::NoBucket));
}

#[test]
fn headers_that_delete_are_known_in_any_spelling_and_others_pass() {
    for header in ["KV-Operation: PURGE", "kv-operation:DEL", "Nats-Marker-Reason: MaxAge"] {
        assert!(is_marker(&format!("NATS/1.0\r\nX: y\r\n{header}\r\n\r\n")), "{header}");
    }
    assert!(!is_marker("NATS/1.0\r\nKV-Operation: PUT\r\nNats-Expected-Stream: DEL\r\n\r\n"));
}

#[test]
fn a_message_of_another_subject_or_without_revision_is_refused() {
    for body in [
        &br#"{"message":{"subject":"$KV.cluster-t.other","seq":3}}"#[..],
        br#"{"message":{"subject":"$KV.cluster-t.lease","seq":0}}"#,
        br#"{"message":{"subject":"$KV.cluster-t.lease","seq":3,"data":"*"}}"#,
        br#"{"message":{"subject":"$KV.cluster-t.lease","seq":3,"hdrs":"*"}}"#,
        br#"{"message":null}"#,
        b"{}",
    ] {
        assert!(matches!(parse_get(body, KEY), Err(StoreError::Malformed(_))));
    }
}

#[test]
fn a_huge_value_stays_undecodable_and_becomes_small() {
    let data = STANDARD.encode(vec![b'x'; 1_000_000]);
    let body = json!({ "message": { "subject": KEY, "seq": 1, "data": data } }).to_string();
    let Ok(Found::Some(Entry { content: Content::Value(value), .. })) =
        parse_get(body.as_bytes(), KEY)
    else {
        panic!("it is a value");
    };
    assert_eq!(value.len(), MAX_RECORD_BYTES + 1);
}

fn info(body: &[u8]) -> Info {
    match parse_info(body, STREAM) {
        Ok(Some(info)) => info,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_bucket_is_told_from_a_purged_one() {
    let new = info(INFO_NEW_2_9);
    assert_eq!((new.last_seq, new.pristine), (0, true));
    let new = info(INFO_NEW_2_15);
    assert_eq!((new.last_seq, new.pristine), (7, true));
    assert_eq!(new.incarnation, Incarnation::new("2026-11-23T07:09:47.067443692Z"));
    let purged = info(INFO_PURGED);
    assert_eq!((purged.last_seq, purged.pristine), (9, false));
}

#[test]
fn what_is_not_the_stream_is_refused() {
    assert!(parse_info(INFO_NEW_2_9, "KV_cluster-u").is_err());
    assert!(parse_info(br#"{"config":{"name":"KV_cluster-t"}}"#, STREAM).is_err());
    assert!(parse_info(b"{}", STREAM).is_err());
    assert_eq!(parse_info(NO_STREAM, STREAM), Ok(None));
    let error = parse_info(NO_MESSAGE, STREAM).unwrap_err();
    assert!(matches!(error, StoreError::Server { code: 10037, .. }), "a stream is no message");
}

#[test]
fn a_name_in_use_counts_as_created() {
    assert_eq!(parse_create(INFO_NEW_2_15, STREAM), Ok(Outcome::Created));
    assert_eq!(parse_create(NAME_IN_USE, STREAM), Ok(Outcome::Created));
    let off = br#"{"error":{"code":503,"err_code":10039,"description":"JetStream not enabled for account"}}"#;
    assert!(matches!(parse_create(off, STREAM), Ok(Outcome::Failed(StoreError::JetStream(_)))));
    let busy = br#"{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}"#;
    assert!(matches!(parse_create(busy, STREAM), Ok(Outcome::Failed(_))));
    assert!(parse_create(b"{}", STREAM).is_err());
}

#[test]
fn an_errors_description_is_cut_and_cleaned() {
    let description = "x".repeat(1000) + "\r\n";
    let body =
        json!({ "error": { "code": 404, "err_code": 1, "description": description } }).to_string();
    let Err(StoreError::Server { description, .. }) = parse_get(body.as_bytes(), KEY) else {
        panic!("it is an error");
    };
    assert_eq!(description.len(), 300);
}

/// Bytes changed, cut and doubled at random places: nothing panics, and a success is never read out
/// of a refusal.
#[test]
fn damaged_responses_never_become_a_success() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 33).unwrap() % below
    };
    for original in [LOST, LOST_IN_FLIGHT, MARKER, VALUE, NO_MESSAGE, INFO_NEW_2_15, NAME_IN_USE] {
        for _ in 0..3000 {
            let mut body = original.to_vec();
            for _ in 0..=next(3) {
                let at = next(body.len());
                match next(3) {
                    0 => body[at] = u8::try_from(next(256)).unwrap(),
                    1 => body.truncate(at.max(1)),
                    _ => body.insert(at, b"{}[]\",:0\\"[next(9)]),
                }
            }
            let ack = parse_ack(&body, STREAM);
            assert!(!matches!(ack, Ok(Ack::Stored { .. })), "{}", String::from_utf8_lossy(&body));
            let _ = parse_get(&body, KEY);
            let _ = parse_info(&body, STREAM);
            let _ = parse_create(&body, STREAM);
            let _ = parse_account(&body);
        }
    }
}

#[test]
fn the_subjects_follow_the_prefix() {
    let plain = Subjects::new("cluster-t", "$JS.API");
    assert_eq!(plain.write, KEY);
    assert_eq!(plain.get, "$JS.API.STREAM.MSG.GET.KV_cluster-t");
    let domain = Subjects::new("cluster-t", "$JS.hub.API");
    assert_eq!(domain.write, "$JS.hub.API.$KV.cluster-t.lease");
    assert_eq!(domain.key, KEY);
    assert_eq!(domain.account, "$JS.hub.API.INFO");
}

#[test]
fn what_we_create_is_what_we_accept() {
    let options =
        BucketOptions { cluster_id: "t".into(), replicas: 3, min_max_age: Duration::from_secs(7) };
    let subjects = Subjects::new("cluster-t", "$JS.API");
    let config: RawConfig =
        serde_json::from_slice(&options.create_body(&subjects, 8)).expect("our own JSON");
    let check = |version| options.check(&config, Some("c"), &subjects, Version::parse(version));
    assert_eq!(check("2.11.0"), Ok(Vec::new()));
    assert_eq!(config.notice_subject(KEY), Some(options.notice_subject()));
    assert!(check("2.10.29").is_err());
}

#[test]
fn one_replica_is_worth_a_warning_only_in_a_cluster() {
    let clustered = String::from_utf8_lossy(INFO_NEW_2_15)
        .replace(r#""cluster":{"leader":"N"}"#, r#""cluster":{"name":"east","leader":"N"}"#);
    assert_eq!(info(INFO_NEW_2_9).cluster, None);
    assert_eq!(info(INFO_NEW_2_15).cluster, None, "it names itself only");
    let clustered = info(clustered.as_bytes());
    let options =
        BucketOptions { cluster_id: "t".into(), replicas: 1, min_max_age: Duration::from_secs(7) };
    let subjects = Subjects::new("cluster-t", "$JS.API");
    let check = |cluster: Option<&str>, version| {
        options.check(&clustered.config, cluster, &subjects, Version::parse(version)).unwrap()
    };
    assert_eq!(check(None, "2.15.1"), [""; 0]);
    for (version, remedy) in [("2.15.1", "give the stream 3 replicas"), ("2.9.10", "2.11.0")] {
        let warnings = check(clustered.cluster.as_deref(), version);
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        assert!(warning.contains("in the cluster \"east\"") && warning.contains(remedy));
    }
}
