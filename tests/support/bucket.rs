//! The election's bucket seen and touched from outside, over the witness's own connection.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::nats::{Client, Message, RequestError};

/// Unless said otherwise; long enough for the election of a stream leader.
const LIMIT: Duration = Duration::from_secs(10);

/// A message of the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its sequence in the stream.
    pub revision: u64,
    /// Its header block, empty where there is none.
    pub headers: String,
    /// Its payload.
    pub body: Vec<u8>,
}

impl Entry {
    /// The payload as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON record")
    }
}

/// What JetStream refused with: its `err_code`, or 0 when there was no answer at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// 10071 for a lost race, 10037 for no message, 10059 for no stream.
    pub code: u64,
    /// In JetStream's words.
    pub description: String,
}

/// One KV bucket.
#[derive(Debug)]
pub struct Bucket<'a> {
    client: &'a Client,
    name: String,
    limit: Duration,
}

impl<'a> Bucket<'a> {
    /// The bucket `name`, which need not exist.
    pub fn new(client: &'a Client, name: &str) -> Self {
        Self { client, name: name.to_owned(), limit: LIMIT }
    }

    /// Waits no longer than `limit` for each answer.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The bucket of the cluster `id`.
    pub fn of_cluster(client: &'a Client, id: &str) -> Self {
        Self::new(client, &format!("cluster-{id}"))
    }

    /// The name of its stream.
    pub fn stream(&self) -> String {
        format!("KV_{}", self.name)
    }

    /// The subject of `key`.
    pub fn subject(&self, key: &str) -> String {
        format!("$KV.{}.{key}", self.name)
    }

    /// What a bucket is commonly made with: file storage, history 1, no age.
    pub fn usual_config(&self) -> Value {
        json!({
            "name": self.stream(), "subjects": [self.subject(">")], "max_msgs_per_subject": 1,
            "storage": "file", "num_replicas": 1, "discard": "new", "allow_rollup_hdrs": true,
            "deny_delete": true, "allow_direct": true, "max_msgs": -1, "max_bytes": -1,
            "max_age": 0, "max_msg_size": -1, "duplicate_window": 120_000_000_000_u64,
        })
    }

    /// Creates the stream with `config`.
    pub fn create(&self, config: &Value) -> Result<Value, Refused> {
        self.api("CREATE", config)
    }

    /// Changes the stream's configuration to `config`.
    pub fn update(&self, config: &Value) -> Result<Value, Refused> {
        self.api("UPDATE", config)
    }

    /// What JetStream says of the stream: `config`, `created`, `state`, `cluster`.
    pub fn info(&self) -> Result<Value, Refused> {
        self.api("INFO", &json!({}))
    }

    /// Deletes the stream with all that is in it.
    pub fn delete(&self) -> Result<Value, Refused> {
        self.api("DELETE", &json!({}))
    }

    /// Removes `key` without a trace (a stream purge with a filter).
    pub fn purge(&self, key: &str) -> Result<Value, Refused> {
        self.api("PURGE", &json!({ "filter": self.subject(key) }))
    }

    /// The last message of `key`.
    pub fn read(&self, key: &str) -> Result<Entry, Refused> {
        let subject = format!("$JS.API.STREAM.MSG.GET.{}", self.stream());
        let query = json!({ "last_by_subj": self.subject(key) });
        let answer = self.ask(&subject, &query)?;
        let message = &answer["message"];
        let headers = decode(&message["hdrs"]);
        Ok(Entry {
            revision: message["seq"].as_u64().unwrap_or(0),
            headers: String::from_utf8_lossy(&headers).into_owned(),
            body: decode(&message["data"]),
        })
    }

    /// Writes `key` whatever is there; the new revision.
    pub fn put(&self, key: &str, body: impl AsRef<[u8]>) -> Result<u64, Refused> {
        self.write(key, &[], body)
    }

    /// Writes `key` if its revision is `expected` (0: never written); the new revision.
    pub fn compare_and_set(
        &self,
        key: &str,
        expected: u64,
        body: impl AsRef<[u8]>,
    ) -> Result<u64, Refused> {
        let expected = expected.to_string();
        self.write(key, &[("Nats-Expected-Last-Subject-Sequence", &expected)], body)
    }

    /// Leaves the marker of a deleted key.
    pub fn delete_key(&self, key: &str) -> Result<u64, Refused> {
        self.write(key, &[("KV-Operation", "DEL")], "")
    }

    /// Leaves the marker of a purged key, by a rollup.
    pub fn purge_key(&self, key: &str) -> Result<u64, Refused> {
        self.write(key, &[("KV-Operation", "PURGE"), ("Nats-Rollup", "sub")], "")
    }

    /// Writes `key` with any headers; the new revision.
    pub fn write(
        &self,
        key: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Result<u64, Refused> {
        let subject = self.subject(key);
        let answer = self.client.request_with_headers(&subject, headers, body, self.limit);
        let answer = accepted(answer)?;
        Ok(answer["seq"].as_u64().unwrap_or(0))
    }

    /// Publishes on `subject` what the server publishes when it has stored `key`, without storing
    /// anything: a lie.
    pub fn forge_notice(&self, subject: &str, key: &str, revision: u64, body: impl AsRef<[u8]>) {
        let (stream, original, revision) = (self.stream(), self.subject(key), revision.to_string());
        let headers = [
            ("Nats-Stream", stream.as_str()),
            ("Nats-Subject", original.as_str()),
            ("Nats-Sequence", revision.as_str()),
            ("Nats-Last-Sequence", "0"),
        ];
        self.client.publish_with_headers(subject, &headers, body);
    }

    fn api(&self, verb: &str, query: &Value) -> Result<Value, Refused> {
        self.ask(&format!("$JS.API.STREAM.{verb}.{}", self.stream()), query)
    }

    fn ask(&self, subject: &str, query: &Value) -> Result<Value, Refused> {
        accepted(self.client.request(subject, query.to_string(), self.limit))
    }
}

fn accepted(answer: Result<Message, RequestError>) -> Result<Value, Refused> {
    let answer =
        answer.map_err(|error| Refused { code: 0, description: format!("{error:?}") })?.json();
    match answer.get("error") {
        None => Ok(answer),
        Some(error) => Err(Refused {
            code: error["err_code"].as_u64().unwrap_or(0),
            description: error["description"].as_str().unwrap_or_default().to_owned(),
        }),
    }
}

fn decode(field: &Value) -> Vec<u8> {
    BASE64.decode(field.as_str().unwrap_or_default()).expect("base64 from JetStream")
}
