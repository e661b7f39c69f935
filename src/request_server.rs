//! Answers requests, on a thread with a connection of its own.
//!
//! The thread shares nothing with the renewal thread, so it can still report on that one when it
//! hangs. It runs this library's code only, none of which waits for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::{Clock, Timestamp};
use crate::config::connection::ConnectionSettings;
use crate::error::{StartError, StoreError};
use crate::nats::connection::{Connection, ConnectionEvent, ConnectionOptions};
use crate::nats::message::{Headers, Message, SERVICE_ERROR, SERVICE_ERROR_CODE};
use crate::task::Task;
use crate::text::excerpt;
use crate::wait::Waker;

/// How long stopping waits for the connection's end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest wait; the connection wakes up earlier for reasons of its own.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Requests that may wait on a subject; more are dropped.
const MAX_WAITING: usize = 128;
/// A request's body is cut one byte above this, so that it is too long and small.
const MAX_BODY: usize = 64 * 1024;
/// Longest reply subject that is responded to, in bytes.
const MAX_REPLY: usize = 512;

/// Responds to requests on some subjects.
pub(crate) trait Handler: Send {
    /// The subjects. Asked for once.
    fn subjects(&self) -> Vec<String>;

    /// The response to a request; `None` when the request is for another handler.
    fn respond(&mut self, message: &Message) -> Option<Response>;

    /// The subject of a request of its own, if one is due. Asked for at least every
    /// [`LONGEST_WAIT`] while there is a connection.
    fn question(&mut self, now: Timestamp) -> Option<String> {
        let _ = now;
        None
    }

    /// Takes a response to its last request. There may be any number, from anyone.
    fn take_response(&mut self, message: &Message) {
        let _ = message;
    }
}

/// A response to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) body: Vec<u8>,
    /// Code and description, when it is an error of the services protocol.
    pub(crate) error: Option<(u16, String)>,
}

/// The thread, and how to end it.
#[derive(Debug)]
pub(crate) struct RequestServer {
    stopping: Arc<AtomicBool>,
    waker: Waker,
    _task: Task,
    state: Arc<Mutex<ConnectionState>>,
}

#[derive(Clone, Debug, Default)]
struct ConnectionState {
    server: Option<String>,
    problem: Option<StoreError>,
}

impl RequestServer {
    /// Starts the thread, which connects, and connects again, in the background. `purpose` is added
    /// to the connection's name.
    pub(crate) fn open(
        settings: &ConnectionSettings,
        purpose: &'static str,
        clock: Clock,
        handlers: Vec<Box<dyn Handler>>,
    ) -> Result<Self, StartError> {
        let options = ConnectionOptions {
            purpose,
            subjects: handlers.iter().flat_map(|handler| handler.subjects()).collect(),
            max_waiting: MAX_WAITING,
            keep_alive: true,
            hints: None,
        };
        let connection =
            Connection::new(settings, options, clock.clone()).map_err(StartError::Store)?;
        let waker = connection.waker();
        let server = ServerLoop {
            connection,
            settings: settings.clone(),
            handlers,
            clock,
            state: Arc::default(),
            stopped: Arc::default(),
            warned: false,
            questions: Vec::new(),
        };
        let (stopping, state) = (Arc::clone(&server.stopped), Arc::clone(&server.state));
        let task = Task::spawn("leasehold-answer", CLOSE_TIMEOUT * 2, || server.run())
            .map_err(StartError::Thread)?;
        Ok(Self { stopping, waker, _task: task, state })
    }

    /// The server that is connected to.
    pub(crate) fn server(&self) -> Option<String> {
        self.state.lock().server.clone()
    }

    /// The last error while there is no connection, or the last denial of the server.
    pub(crate) fn problem(&self) -> Option<StoreError> {
        self.state.lock().problem.clone()
    }
}

impl Drop for RequestServer {
    /// Tells the thread to end; dropping the task waits for that.
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.waker.wake();
    }
}

/// The state of the thread.
struct ServerLoop {
    settings: ConnectionSettings,
    connection: Connection,
    handlers: Vec<Box<dyn Handler>>,
    state: Arc<Mutex<ConnectionState>>,
    clock: Clock,
    stopped: Arc<AtomicBool>,
    /// A request asked for a response where none may be sent, and this was logged.
    warned: bool,
    /// The last request of each handler.
    questions: Vec<Question>,
}

/// A request of a handler.
struct Question {
    /// The number that its responses carry.
    number: u64,
    /// The index of the handler.
    handler: usize,
    subject: String,
    /// The server does not permit it on this connection.
    denied: bool,
}

impl ServerLoop {
    fn run(mut self) {
        while !self.stopped.load(Ordering::SeqCst) {
            let now = self.clock.now();
            self.ask(now);
            let until = now + LONGEST_WAIT;
            if let Some(event) = self.connection.poll(until) {
                self.handle(event);
            }
        }
        let until = self.clock.now() + CLOSE_TIMEOUT;
        self.connection.close(until);
    }

    /// Sends the requests that are due.
    fn ask(&mut self, now: Timestamp) {
        if self.connection.ready().is_err() {
            return;
        }
        for (index, handler) in self.handlers.iter_mut().enumerate() {
            let last = self.questions.iter().position(|question| question.handler == index);
            if last.is_some_and(|last| self.questions[last].denied) {
                continue;
            }
            let Some(subject) = handler.question(now) else { continue };
            last.map(|last| self.questions.swap_remove(last));
            // If it cannot be sent now, it is due again later.
            let request = self.connection.request(&subject, Headers::default(), Vec::new());
            let new = |number| Question { number, handler: index, subject, denied: false };
            self.questions.extend(request.ok().map(new));
        }
    }

    fn take_response(&mut self, request: u64, message: &Message) {
        let asked = self.questions.iter().find(|question| question.number == request);
        if let Some(question) = asked {
            self.handlers[question.handler].take_response(message);
        }
    }

    /// Does not ask again on this connection what the server does not permit.
    fn denied(&mut self, subject: &str) {
        for question in self.questions.iter_mut().filter(|question| question.subject == subject) {
            question.denied = true;
        }
    }

    fn handle(&mut self, event: ConnectionEvent) {
        match event {
            ConnectionEvent::Message(message) => self.respond(message),
            ConnectionEvent::Connected { server } => {
                self.questions.clear();
                *self.state.lock() = ConnectionState { server: Some(server), problem: None };
            }
            ConnectionEvent::Disconnected { error } => {
                log::debug!("no requests can be answered: {error}");
                *self.state.lock() = ConnectionState { server: None, problem: Some(error) };
            }
            ConnectionEvent::Denied { subject, error, .. } => {
                self.denied(&subject);
                log::warn!("requests or their responses are not permitted: {error}");
                self.state.lock().problem = Some(error);
            }
            ConnectionEvent::Response { request, message } => {
                self.take_response(request, &message);
            }
            ConnectionEvent::HintsMissed => {}
        }
    }

    fn respond(&mut self, mut message: Message) {
        // A request without a reply subject has no effect either.
        let Some(reply) = message.reply.clone().filter(|reply| self.may_respond(reply)) else {
            return;
        };
        message.body.truncate(MAX_BODY + 1);
        let response = self.handlers.iter_mut().find_map(|handler| handler.respond(&message));
        let Some(Response { body, error }) = response else { return };
        let mut headers = Headers::default();
        if let Some((code, description)) = error {
            headers.add(SERVICE_ERROR, &description);
            headers.add(SERVICE_ERROR_CODE, &code.to_string());
        }
        if let Err(error) = self.connection.publish(&reply, headers, body) {
            log::debug!("a response was not sent: {error}");
        }
    }

    fn may_respond(&mut self, reply: &str) -> bool {
        let may = is_inbox(reply, &self.settings.inbox_prefix, &self.settings.api_prefix);
        // Logged once: such requests come in numbers.
        if !may && !std::mem::replace(&mut self.warned, true) {
            let reply = excerpt(reply);
            log::warn!(
                "a request asks for a response on {reply:?}, which is no inbox: none is sent"
            );
        }
        may
    }
}

/// Whether a response may go to `reply`. Anyone may write anything into a request: with our
/// permissions it would otherwise reach a subject that the requester may not publish on, the
/// lease's key for one. So only inboxes are responded to. They begin with an underscore, as all
/// clients' reply subjects do, or with the first token of our own inboxes.
fn is_inbox(reply: &str, own_inboxes: &str, api_prefix: &str) -> bool {
    let well_formed = reply.len() <= MAX_REPLY
        && reply.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'*' | b'>'))
        && reply.split('.').all(|token| !token.is_empty());
    let first = |subject: &str| subject.split('.').next().unwrap_or_default().to_owned();
    let token = first(reply);
    let system = token.starts_with('$')
        || token == "cluster"
        || token.starts_with("cluster_")
        || token == first(api_prefix);
    well_formed && !system && (token.starts_with('_') || token == first(own_inboxes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_go_to_inboxes_only() {
        let may = |reply: &str| is_inbox(reply, "inbox.node-1", "JS.hub.API");
        for reply in ["_INBOX.a.1", "_INBOX_reader.x", "_R_.abc.def", "inbox.operator.7"] {
            assert!(may(reply), "{reply}");
        }
        for reply in [
            "$KV.cluster-orders.lease",
            "$JS.API.STREAM.DELETE.KV_cluster-orders",
            "$SRV.PING",
            "cluster.orders.kv.lease",
            "cluster.orders.health.node-1",
            "cluster_orders.control.node-1.stepdown",
            "JS.hub.API.STREAM.DELETE.x",
            "orders.commands",
            "",
            ".",
            "_INBOX..a",
            "_INBOX.*",
            "_INBOX.>",
            "_INBOX.a b",
            "_INBOX.a\r\nPUB x 0",
        ] {
            assert!(!may(reply), "{reply}");
        }
        assert!(!is_inbox("$KV.x", "$KV", "$JS.API"), "an inbox prefix opens no system subject");
        assert!(!may(&format!("_INBOX.{}", "x".repeat(MAX_REPLY))));
    }
}
