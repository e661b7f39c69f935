//! The subjects of one bucket.

use serde_json::json;

/// The subjects of one bucket.
#[derive(Clone, Debug)]
pub(super) struct Subjects {
    pub(super) stream: String,
    /// The key, as the stream knows it.
    pub(super) key: String,
    /// Where the key is written: another subject behind a domain or an import.
    pub(super) write: String,
    pub(super) get: String,
    pub(super) info: String,
    pub(super) create: String,
    pub(super) account: String,
}

impl Subjects {
    pub(super) fn new(bucket: &str, api: &str) -> Self {
        let stream = format!("KV_{bucket}");
        let key = format!("$KV.{bucket}.lease");
        let write = if api == "$JS.API" { key.clone() } else { format!("{api}.{key}") };
        Self {
            get: format!("{api}.STREAM.MSG.GET.{stream}"),
            info: format!("{api}.STREAM.INFO.{stream}"),
            create: format!("{api}.STREAM.CREATE.{stream}"),
            account: format!("{api}.INFO"),
            stream,
            key,
            write,
        }
    }

    /// The body of the request for the newest message under the key.
    pub(super) fn get_body(&self) -> Vec<u8> {
        json!({ "last_by_subj": self.key }).to_string().into_bytes()
    }
}
