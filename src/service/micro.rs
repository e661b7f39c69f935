//! The three verbs of the services protocol, version 1.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::nanos;

/// An endpoint and the counters of its requests.
///
/// ```no_run
/// # use leasehold::service::{Options, Service};
/// # let config = leasehold::Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = leasehold::Node::start(config)?;
/// # let service = Service::start(node.handle(), Options::default())?;
/// for endpoint in service.stats().iter().filter(|endpoint| endpoint.errors > 0) {
///     let refused = format!("{} of {}", endpoint.errors, endpoint.requests);
///     eprintln!("{}: {refused} refused, the last with {}", endpoint.name, endpoint.last_error);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Its name.
    pub name: &'static str,
    /// Its subject.
    pub subject: String,
    /// Answered requests.
    pub requests: u64,
    /// Refused requests among them.
    pub errors: u64,
    /// Code and text of the last refusal; empty before the first.
    pub last_error: String,
    /// The time that all of them took together.
    pub processing_time: Duration,
}

impl EndpointStats {
    pub(super) fn new(name: &'static str, subject: String) -> Self {
        Self { name, subject, ..Self::default() }
    }

    pub(super) fn count(&mut self, spent: Duration, error: Option<&(u16, String)>) {
        self.requests += 1;
        self.processing_time += spent;
        if let Some((code, text)) = error {
            self.errors += 1;
            self.last_error = format!("{code}:{text}");
        }
    }

    /// The queue group is empty: a request is for one node's subject or for all nodes.
    fn info(&self) -> Value {
        json!({ "name": self.name, "subject": self.subject, "queue_group": "", "metadata": {} })
    }

    /// Without the key `data` the Python client does not parse it.
    fn stats(&self) -> Value {
        let spent = nanos(self.processing_time);
        json!({
            "name": self.name,
            "subject": self.subject,
            "queue_group": "",
            "num_requests": self.requests,
            "num_errors": self.errors,
            "last_error": self.last_error,
            "processing_time": spent,
            "average_processing_time": spent.checked_div(self.requests).unwrap_or_default(),
            "data": null,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Ping,
    Info,
    Stats,
}

impl Verb {
    pub(super) const ALL: [(Self, &'static str); 3] =
        [(Self::Ping, "PING"), (Self::Info, "INFO"), (Self::Stats, "STATS")];

    /// The three subjects of a verb: of all services, of one name, of one instance.
    pub(super) fn subjects(text: &str, name: &str, id: &str) -> [String; 3] {
        [format!("$SRV.{text}"), format!("$SRV.{text}.{name}"), format!("$SRV.{text}.{name}.{id}")]
    }
}

/// The response to a verb. It contains the `identity` of the instance. `data` goes with the
/// statistics of the first endpoint.
pub(super) fn response(
    verb: Verb,
    identity: &Value,
    endpoints: &[EndpointStats],
    started: &str,
    data: Value,
) -> Value {
    let mut response = identity.clone();
    let kind = match verb {
        Verb::Ping => "ping",
        Verb::Info => {
            response["description"] = json!("A node of a leasehold cluster");
            response["endpoints"] = endpoints.iter().map(EndpointStats::info).collect();
            "info"
        }
        Verb::Stats => {
            response["started"] = json!(started);
            response["endpoints"] = endpoints.iter().map(EndpointStats::stats).collect();
            response["endpoints"][0]["data"] = data;
            "stats"
        }
    };
    response["type"] = json!(format!("io.nats.micro.v1.{kind}_response"));
    response
}
