//! Which configurations are suitable, and the figures in the refusals.

use super::*;
use crate::store::nats::stream_config::Present;

const SECOND: i64 = 1_000_000_000;

fn check(change: impl FnOnce(&mut RawConfig)) -> Result<Vec<String>, String> {
    let options =
        BucketOptions { cluster_id: "t".into(), replicas: 1, min_max_age: Duration::from_secs(7) };
    let mut config = RawConfig {
        name: "KV_cluster-t".into(),
        subjects: vec!["$KV.cluster-t.>".into()],
        retention: "limits".into(),
        storage: "file".into(),
        num_replicas: 1,
        ..RawConfig::default()
    };
    change(&mut config);
    let subjects = Subjects::new("cluster-t", "$JS.API");
    options.check(&config, None, &subjects, Version(2, 9, 10)).map_err(|error| error.to_string())
}

#[test]
fn a_plain_file_bucket_is_suitable() {
    assert_eq!(check(|_| ()), Ok(Vec::new()));
}

#[test]
fn each_unsuitable_option_is_refused_by_name() {
    type Change = fn(&mut RawConfig);
    let refusals: [(&str, Change); 11] = [
        ("storage is \"memory\"", |c| c.storage = "memory".into()),
        ("retention is \"workqueue\"", |c| c.retention = "workqueue".into()),
        ("persist_mode is \"async\"", |c| c.persist_mode = "async".into()),
        ("mirrors", |c| c.mirror = Some(Present)),
        ("filled from other streams", |c| c.sources = Some(vec![Present])),
        ("renames", |c| c.subject_transform = Some(Present)),
        ("sealed", |c| c.sealed = true),
        ("no_ack", |c| c.no_ack = true),
        ("do not cover $KV.cluster-t.lease", |c| c.subjects = vec!["$KV.cluster-u.>".into()]),
        ("max_age is 7s", |c| c.max_age = 7 * SECOND),
        ("3 replicas need nats-server 2.11.0 or newer, and this is 2.9.10", |c| c.num_replicas = 3),
    ];
    for (words, change) in refusals {
        let message = check(change).expect_err(words);
        assert!(message.starts_with("bucket cluster-t is unsuitable: "), "{message}");
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_longer_max_age_is_accepted_with_a_warning() {
    let warnings = check(|config| config.max_age = 7 * SECOND + 1).unwrap();
    assert!(warnings.len() == 1 && warnings[0].starts_with("max_age is 7.000000001s"));
    assert_eq!(check(|config| config.max_age = -1), Ok(Vec::new()));
}
