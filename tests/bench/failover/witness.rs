//! Somebody who hears what followers hear, and notes when.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::member::now;

/// A notice of a record.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// Empty for a release.
    pub(crate) holder: String,
    pub(crate) at: u64,
}

/// One subscription, until it is dropped.
pub(crate) struct Witness {
    heard: Arc<Mutex<Vec<Heard>>>,
    _connection: nats::Connection,
}

impl Witness {
    pub(crate) fn new(url: &str, cluster: &str) -> Self {
        let connection = nats::connect(url).expect("the server is there");
        let notices = connection.subscribe(&format!("cluster.{cluster}.kv.lease")).expect("heard");
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let list = Arc::clone(&heard);
        std::thread::spawn(move || {
            for notice in &notices {
                let at = now();
                let Ok(record) = serde_json::from_slice::<Value>(&notice.data) else { continue };
                let holder = record["node_id"].as_str().unwrap_or_default().to_owned();
                list.lock().expect("nobody panics with it").push(Heard { holder, at });
            }
        });
        Self { heard, _connection: connection }
    }

    /// When the last record of `holder` came.
    pub(crate) fn last(&self, holder: &str) -> Option<u64> {
        let heard = self.heard.lock().expect("nobody panics with it");
        heard.iter().rev().find(|heard| heard.holder == holder).map(|heard| heard.at)
    }
}
