//! The three verbs of the services protocol, version 1.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::Value;

use crate::utc;

/// The identity of a service instance, with which every response begins.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) version: String,
    pub(super) metadata: BTreeMap<&'static str, String>,
}

/// An endpoint and the counters of its requests.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) name: &'static str,
    pub(super) subject: String,
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) last_error: String,
    pub(super) spent: Duration,
}

impl Endpoint {
    pub(super) fn new(name: &'static str, subject: String) -> Self {
        Self {
            name,
            subject,
            requests: 0,
            errors: 0,
            last_error: String::new(),
            spent: Duration::ZERO,
        }
    }

    pub(super) fn count(&mut self, spent: Duration, error: Option<&(u16, String)>) {
        self.requests += 1;
        self.spent += spent;
        if let Some((code, text)) = error {
            self.errors += 1;
            self.last_error = format!("{code}:{text}");
        }
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
    pub(super) fn subjects(text: &str, identity: &Identity) -> [String; 3] {
        let (name, id) = (&identity.name, &identity.id);
        [format!("$SRV.{text}"), format!("$SRV.{text}.{name}"), format!("$SRV.{text}.{name}.{id}")]
    }
}

#[derive(Serialize)]
struct Ping<'a> {
    #[serde(flatten)]
    identity: &'a Identity,
    r#type: &'static str,
}

#[derive(Serialize)]
struct Info<'a> {
    #[serde(flatten)]
    identity: &'a Identity,
    r#type: &'static str,
    description: &'a str,
    endpoints: Vec<EndpointInfo<'a>>,
}

#[derive(Serialize)]
struct EndpointInfo<'a> {
    name: &'a str,
    subject: &'a str,
    /// Empty: a request is for one node's subject or for all nodes.
    queue_group: &'a str,
    metadata: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct Stats<'a> {
    #[serde(flatten)]
    identity: &'a Identity,
    r#type: &'static str,
    started: &'a str,
    endpoints: Vec<EndpointStats<'a>>,
}

#[derive(Serialize)]
struct EndpointStats<'a> {
    name: &'a str,
    subject: &'a str,
    queue_group: &'a str,
    num_requests: u64,
    num_errors: u64,
    last_error: &'a str,
    /// Nanoseconds, as the next.
    processing_time: u64,
    average_processing_time: u64,
    data: Option<&'a Value>,
}

/// The response to a verb. `data` goes with the statistics of the first endpoint.
#[allow(clippy::expect_used, reason = "the message names the invariant")]
pub(super) fn response(
    verb: Verb,
    identity: &Identity,
    endpoints: &[Endpoint],
    started: &str,
    data: &Value,
) -> Vec<u8> {
    let written = match verb {
        Verb::Ping => {
            serde_json::to_vec(&Ping { identity, r#type: "io.nats.micro.v1.ping_response" })
        }
        Verb::Info => serde_json::to_vec(&Info {
            identity,
            r#type: "io.nats.micro.v1.info_response",
            description: "A node of a leasehold cluster",
            endpoints: endpoints.iter().map(info).collect(),
        }),
        Verb::Stats => {
            let each = endpoints.iter().enumerate();
            let each = each.map(|(at, one)| stats(one, (at == 0).then_some(data)));
            serde_json::to_vec(&Stats {
                identity,
                r#type: "io.nats.micro.v1.stats_response",
                started,
                endpoints: each.collect(),
            })
        }
    };
    written.expect("invariant: keys are texts")
}

fn info(endpoint: &Endpoint) -> EndpointInfo<'_> {
    let Endpoint { name, subject, .. } = endpoint;
    EndpointInfo { name, subject, queue_group: "", metadata: BTreeMap::new() }
}

fn stats<'a>(endpoint: &'a Endpoint, data: Option<&'a Value>) -> EndpointStats<'a> {
    let spent = nanos(endpoint.spent);
    EndpointStats {
        name: endpoint.name,
        subject: &endpoint.subject,
        queue_group: "",
        num_requests: endpoint.requests,
        num_errors: endpoint.errors,
        last_error: &endpoint.last_error,
        processing_time: spent,
        average_processing_time: spent.checked_div(endpoint.requests).unwrap_or_default(),
        data,
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The wall-clock time as RFC 3339 in UTC, for people.
pub(super) fn wall_clock() -> String {
    utc::rfc3339(SystemTime::now())
}
