//! Somebody who hears what followers hear, and notes when.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::member::now;
use crate::support::nats::Plain;

/// A notice of a record.
#[derive(Clone, Debug)]
struct Heard {
    holder: String,
    at: u64,
}

/// One subscription, until it is dropped.
pub(crate) struct Witness {
    heard: Arc<Mutex<Vec<Heard>>>,
    handle: TcpStream,
}

impl Witness {
    pub(crate) fn new(url: &str, cluster: &str) -> Self {
        let mut socket = Plain::connect(url, &[&format!("cluster.{cluster}.kv.lease")]);
        let handle = socket.handle();
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let list = Arc::clone(&heard);
        std::thread::spawn(move || {
            while let Some(notice) = socket.next() {
                let at = now();
                let Ok(record) = serde_json::from_slice::<Value>(&notice.body) else { continue };
                let holder = record["node_id"].as_str().unwrap_or_default().to_owned();
                list.lock().expect("nobody panics with it").push(Heard { holder, at });
            }
        });
        Self { heard, handle }
    }

    /// When the last record of `holder` came.
    pub(crate) fn last(&self, holder: &str) -> Option<u64> {
        let heard = self.heard.lock().expect("nobody panics with it");
        heard.iter().rev().find(|heard| heard.holder == holder).map(|heard| heard.at)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.handle.shutdown(Shutdown::Both);
    }
}
