//! Faults of the record, its bucket, and what is told of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::fault::Remedy;
use super::site::{self, CLUSTER, Site};
use crate::support::bucket::{Bucket, Refused};
use crate::support::nats::Client;
use crate::support::wait::{eventually, eventually_some};

const PATIENCE: Duration = Duration::from_secs(60);

const KEY: &str = "lease";

pub fn delete_key(site: &mut Site) -> Remedy {
    touch(site, |bucket| bucket.delete_key(KEY));
    over()
}

pub fn corrupt(site: &mut Site) -> Remedy {
    touch(site, |bucket| bucket.put(KEY, "not a lease"));
    over()
}

pub fn delete_bucket(site: &mut Site) -> Remedy {
    touch(site, delete);
    over()
}

/// By hand, as a tool would: without the notices that the library asks for.
pub fn replace_bucket(site: &mut Site) -> Remedy {
    let replicas = site.replicas();
    touch(site, |bucket| {
        let mut config = bucket.usual_config();
        config["num_replicas"] = json!(replicas);
        // Once more, if a node was quicker.
        delete(bucket).and_then(|_| bucket.create(&config))
    });
    over()
}

fn delete(bucket: &Bucket<'_>) -> Result<Value, Refused> {
    const NO_STREAM: u64 = 10059;
    match bucket.delete() {
        // By an attempt whose answer was lost.
        Err(Refused { code: NO_STREAM, .. }) => Ok(Value::Null),
        outcome => outcome,
    }
}

fn over() -> Remedy {
    Box::new(|_| {})
}

/// Does something to the bucket; servers that are busy with an election of theirs swallow requests.
fn touch<T>(site: &Site, mut act: impl FnMut(&Bucket<'_>) -> Result<T, Refused>) {
    let witness = site.witness();
    let bucket = site::bucket(&witness);
    eventually(PATIENCE, "the bucket to be touched", || act(&bucket).is_ok());
}

/// Lies of every kind, until the remedy: a release that is not, above all, under the number that
/// the leader's next renewal will have.
pub fn forge_notices(site: &mut Site) -> Remedy {
    let enough = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&enough);
    let witness = site.witness();
    let forger = thread::spawn(move || {
        let mut round = 0;
        while !told.load(Ordering::Relaxed) {
            forge(&witness, round);
            round += 1;
            thread::sleep(Duration::from_millis(10));
        }
    });
    Box::new(move |_| {
        enough.store(true, Ordering::Relaxed);
        forger.join().expect("a forger that does not panic");
    })
}

fn forge(witness: &Client, round: u64) {
    let bucket = Bucket::of_cluster(witness, CLUSTER).limit(Duration::from_millis(500));
    let subject = format!("cluster.{CLUSTER}.kv.{KEY}");
    // Without a record to lie about there is none to tell this time.
    let Ok(entry) = bucket.read(KEY) else { return };
    let Ok(record) = serde_json::from_slice::<Value>(&entry.body) else { return };
    let mut lie = record.clone();
    let mut ahead = 1;
    match round % 6 {
        0 | 1 => {
            lie["node_id"] = "".into();
            lie["clean"] = true.into();
            ahead = 1 + round % 2;
        }
        2 => {
            lie["node_id"] = "thief".into();
            lie["session"] = "0123456789abcdef0123456789abcdef".into();
            lie["epoch"] = json!(record["epoch"].as_u64().unwrap_or(0) + 1);
        }
        3 => lie["ttl_ms"] = json!(3_600_000),
        4 => lie["epoch"] = json!(i64::MAX),
        _ => lie = Value::Null,
    }
    bucket.forge_notice(&subject, KEY, entry.revision + ahead, lie.to_string());
}

/// The record as it stands.
pub fn read(site: &Site) -> Value {
    let witness = site.witness();
    let bucket = site::bucket(&witness);
    eventually_some(PATIENCE, "the record", || bucket.read(KEY).ok()).json()
}
