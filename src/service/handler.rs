//! The endpoints of the service, and what each of them does.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::micro::{self, EndpointStats, Verb};
use super::request::{CommandError, check_length, parse_promote, parse_transfer};
use super::status::NodeStatus;
use super::{control_subject, name, ping_subject, status_subject, status_subject_of_all};
use crate::clock::{Clock, nanos};
use crate::error::{Refused, StartError, StoreError};
use crate::nats::message::Message;
use crate::node::{ControlCommand, NodeHandle};
use crate::request_server::{Handler, RequestServer, Response};
use crate::utc;

/// How long a command waits for the renewal thread, which takes it at once unless it hangs.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(1);

/// The options of a service.
///
/// ```
/// use leasehold::service::Options;
///
/// let (stop, stopped) = crossbeam_channel::bounded::<()>(1); // the main thread waits for it
/// let options = Options::default()
///     .control(true) // the server's permissions say who may send commands
///     .on_stop(move || _ = stop.try_send(()));
/// # drop((options, stopped));
/// ```
#[derive(Default)]
pub struct Options {
    control: bool,
    on_stop: Option<Box<dyn Fn() + Send>>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("control", &self.control).finish_non_exhaustive()
    }
}

impl Options {
    /// Whether the service has endpoints that control the node. Default false, as a server without
    /// permissions lets every client use them.
    #[must_use]
    pub fn control(mut self, on: bool) -> Self {
        self.control = on;
        self
    }

    /// The action of the endpoint `stop`; without it there is no such endpoint. It is called on the
    /// service's thread, so it must return at once: tell another thread to stop.
    #[must_use]
    pub fn on_stop(mut self, stop: impl Fn() + Send + 'static) -> Self {
        self.on_stop = Some(Box::new(stop));
        self
    }
}

/// Answers requests to a node until it is dropped.
///
/// It connects in the background, on its own connection, and reconnects when that is lost. Dropping
/// it closes the connection and takes at most a second.
///
/// ```no_run
/// use leasehold::service::{Options, Service};
/// use leasehold::{Config, Node};
///
/// let node = Node::start(Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?)?;
/// let service = Service::start(node.handle(), Options::default().control(true))?;
/// if let Some(problem) = service.problem() {
///     eprintln!("no request arrives: {problem}");
/// }
/// service.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Service {
    endpoints: Shared,
    server: RequestServer,
}

impl Service {
    /// Starts to answer.
    ///
    /// # Errors
    /// [`StartError::Thread`]
    pub fn start(node: NodeHandle, options: Options) -> Result<Self, StartError> {
        let config = node.config().clone();
        let handler = ServiceHandler::new(node, options);
        let endpoints = Arc::clone(&handler.endpoints);
        let handlers: Vec<Box<dyn Handler>> = vec![Box::new(handler)];
        let server = RequestServer::open(config.connection(), "service", Clock::boot(), handlers);
        Ok(Self { endpoints, server: server? })
    }

    /// The counters of the endpoints.
    #[must_use]
    pub fn stats(&self) -> Vec<EndpointStats> {
        self.endpoints.lock().clone()
    }

    /// Whether it is connected, so that requests reach it.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.server.server().is_some()
    }

    /// Why it is not connected, or what the server does not permit.
    #[must_use]
    pub fn problem(&self) -> Option<StoreError> {
        self.server.problem()
    }

    /// Stops answering, as dropping does.
    pub fn stop(self) {
        drop(self);
    }
}

type Shared = Arc<Mutex<Vec<EndpointStats>>>;

/// The response to a command.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ControlResponse {
    pub(crate) ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) leader: Option<String>,
}

/// Why a command is refused: a code and a text.
type Refusal = (u16, String);

/// Answers requests to one node.
pub(crate) struct ServiceHandler {
    node: NodeHandle,
    options: Options,
    /// The fields that every response to a verb has.
    identity: Value,
    verbs: Vec<(String, Verb)>,
    started: String,
    endpoints: Shared,
}

impl ServiceHandler {
    pub(crate) fn new(node: NodeHandle, options: Options) -> Self {
        let (cluster, id) = (node.config().cluster_id(), node.config().node_id());
        let (name, session) = (name(cluster), node.session().to_string());
        let identity = json!({
            "name": name,
            "id": session,
            "version": env!("CARGO_PKG_VERSION"),
            "metadata": { "clusterId": cluster, "nodeId": id },
        });
        let of_verb = |(verb, word)| {
            Verb::subjects(word, &name, &session).into_iter().map(move |subject| (subject, verb))
        };
        let verbs = Verb::ALL.into_iter().flat_map(of_verb).collect();
        let mut endpoints = vec![
            EndpointStats::new("status", status_subject(cluster, id)),
            EndpointStats::new("status-all", status_subject_of_all(cluster)),
            EndpointStats::new("ping", ping_subject(cluster, id)),
        ];
        let stop = options.on_stop.as_ref().map(|_| "stop");
        let commands = ["stepdown", "transfer", "promote"].into_iter().chain(stop);
        for command in commands.filter(|_| options.control) {
            endpoints.push(EndpointStats::new(command, control_subject(cluster, id, command)));
        }
        let endpoints = Arc::new(Mutex::new(endpoints));
        let started = utc::rfc3339(SystemTime::now());
        Self { node, options, identity, verbs, started, endpoints }
    }

    fn discovery(&self, verb: Verb) -> Response {
        let (data, endpoints) = (self.counters(), self.endpoints.lock());
        json_response(&micro::response(verb, &self.identity, &endpoints, &self.started, data))
    }

    /// The node's own counters, beside those of the endpoints.
    fn counters(&self) -> Value {
        let (stats, leads) = (self.node.stats(), self.node.is_leader());
        json!({
            "leads": leads,
            "terms": stats.terms,
            "renewals": stats.renewals,
            "failures": stats.failures,
            "unknownOutcomes": stats.unknown_outcomes,
            "lostRaces": stats.lost_races,
            "reconnects": stats.reconnects,
            "abandonedConnections": stats.abandoned_connections,
            "eventsMissed": stats.events_missed,
            "lastRoundTripNs": nanos(stats.last_round_trip),
        })
    }

    fn handle(&self, endpoint: &str, body: &[u8]) -> Response {
        match endpoint {
            "status" | "status-all" => json_response(&NodeStatus::of(&self.node)),
            "ping" => json_response(&json!({ "ok": true, "timestamp": utc::unix_millis() })),
            command => self.respond_to_command(self.command(command, body)),
        }
    }

    fn respond_to_command(&self, done: Result<(), Refusal>) -> Response {
        let leader = self.node.leader();
        match done {
            Ok(()) => json_response(&ControlResponse { ok: true, error: None, leader }),
            Err((code, text)) => {
                let response = ControlResponse { ok: false, error: Some(text.clone()), leader };
                Response { error: Some((code, text)), ..json_response(&response) }
            }
        }
    }

    fn command(&self, command: &str, body: &[u8]) -> Result<(), Refusal> {
        check_length(body).map_err(malformed)?;
        let parsed = match command {
            "stepdown" => ControlCommand::StepDown,
            "transfer" => ControlCommand::Transfer { to: parse_transfer(body).map_err(malformed)? },
            "promote" => self.promotion(parse_promote(body).map_err(malformed)?)?,
            _ => {
                log::info!("stop requested over NATS");
                self.options.on_stop.iter().for_each(|stop| stop());
                return Ok(());
            }
        };
        log::info!("{command} requested over NATS");
        self.node.control(parsed, CONTROL_TIMEOUT).map_err(refused)
    }

    fn promotion(&self, force: bool) -> Result<ControlCommand, Refusal> {
        let own = self.node.config().node_id();
        match self.node.leader().filter(|leader| leader != own && !force) {
            Some(leader) => Err((409, format!("{leader} leads"))),
            None => Ok(ControlCommand::Promote),
        }
    }
}

impl Handler for ServiceHandler {
    fn subjects(&self) -> Vec<String> {
        let endpoints = self.endpoints.lock();
        let verbs = self.verbs.iter().map(|(subject, _)| subject);
        verbs.chain(endpoints.iter().map(|endpoint| &endpoint.subject)).cloned().collect()
    }

    fn respond(&mut self, message: &Message) -> Option<Response> {
        if let Some((_, verb)) = self.verbs.iter().find(|(verb, _)| *verb == message.subject) {
            return Some(self.discovery(*verb));
        }
        let place = |endpoint: &EndpointStats| endpoint.subject == message.subject;
        let at = self.endpoints.lock().iter().position(place)?;
        let begun = Instant::now();
        let endpoint = self.endpoints.lock()[at].name;
        let response = self.handle(endpoint, &message.body);
        self.endpoints.lock()[at].count(begun.elapsed(), response.error.as_ref());
        Some(response)
    }
}

#[allow(clippy::expect_used, reason = "the message names the invariant")]
fn json_response(value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("invariant: keys are texts");
    Response { body, error: None }
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn malformed(error: CommandError) -> Refusal {
    let code = if matches!(error, CommandError::TooLong(_)) { 413 } else { 400 };
    (code, error.to_string())
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn refused(refused: Refused) -> Refusal {
    let code = if matches!(refused, Refused::Stopped | Refused::Stuck) { 503 } else { 409 };
    (code, refused.to_string())
}
