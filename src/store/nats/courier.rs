//! Core NATS for what is not the lease: questions and answers, on a connection of their own.
//!
//! A courier listens on fixed subjects, publishes, and asks. It shares with the store how a
//! connection is made, watched and ended, and has the same shape: [`Courier::poll`] is where all
//! work is done, and nothing blocks on the network.
//!
//! It never shares a connection with the store: the client reads all subscriptions with one thread
//! and writes under one lock, so a flood of questions would stand in the way of renewals; and a
//! renewal loop that hears nothing gives its connection up, on which nobody could then be told why.

use std::cell::Cell;
use std::collections::VecDeque;
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::connector::Connector;
use super::handshake::is_about_credentials;
use super::link::{Failure, Link, Sent, Signal};
use super::notice::Violation;
use super::{BATCH, RESEND, SLICE};
use crate::clock::{Clock, Timestamp};
use crate::config::connection::ConnectionSettings;
use crate::error::StoreError;
use crate::store::wait::Waiter;
use crate::text::{excerpt, printable};

/// Longest body that is taken in whole; of a longer one comes one byte more than this.
pub(crate) const MAX_BODY: usize = 64 * 1024;
/// Questions that may wait on a subject; more are dropped.
const MAX_QUESTIONS: usize = 128;
/// Answers that may wait.
const MAX_ANSWERS: usize = 4096;
/// Messages that wait to be sent; more are dropped, as the peer takes nothing.
const MAX_OUTBOX: usize = 256;
/// Longest reply subject that is answered to, in bytes.
const MAX_REPLY: usize = 512;
/// After so long without anything, something of our own is made to come: an echo, or the server's
/// refusal of it.
const ECHO: Duration = Duration::from_secs(5);
/// Without that either, the connection is given up. A peer that vanished is noticed so, and a
/// client whose reading thread has ended over a line that it could not read.
const DEAF: Duration = Duration::from_secs(15);
/// Over TLS the client may hold back what came in until more comes, so there is an echo so often;
const SECURE_ECHO: Duration = Duration::from_secs(1);
/// and so often while answers are awaited.
const QUICK_ECHO: Duration = Duration::from_millis(50);

/// A message that came.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Where it was published.
    pub(crate) subject: String,
    /// Where an answer is wanted, if one is, and may be sent.
    pub(crate) reply: Option<String>,
    /// At most [`MAX_BODY`] bytes, and one more if there were more.
    pub(crate) body: Vec<u8>,
    /// The number of the question that it answers.
    pub(crate) answers: Option<u64>,
    /// Nobody is there to answer.
    pub(crate) nobody: bool,
    /// The two headers of an error of the services protocol.
    pub(crate) error: Option<(String, String)>,
}

/// What a courier tells.
#[derive(Debug)]
pub(crate) enum Told {
    /// A message.
    Message(Message),
    /// There is a connection; everything is listened on.
    Connected { server: String },
    /// There is none any more, or an attempt failed. What was asked is not answered any more.
    Disconnected { error: StoreError },
    /// The server refused something: publishing on this subject, or else listening on it.
    Denied { subject: String, publish: bool, error: StoreError },
}

/// What is to be sent.
struct Outgoing {
    subject: String,
    reply: Option<String>,
    headers: Option<nats::HeaderMap>,
    body: Vec<u8>,
}

/// See the [module](self). Owned by one thread.
pub(crate) struct Courier {
    subjects: Vec<String>,
    own_inboxes: String,
    api_prefix: String,
    clock: Clock,
    waiter: Waiter,
    connector: Connector,
    signals: Receiver<Signal>,
    link: Option<Box<Link>>,
    outbox: VecDeque<Outgoing>,
    told: VecDeque<Told>,
    /// The number of the last question.
    asked: u64,
    /// An answer is awaited until then.
    awaiting: Timestamp,
    /// When anything came last.
    heard_at: Timestamp,
    echo_at: Timestamp,
    last_words: Option<String>,
    /// Somebody wanted an answer where none may be sent, and this was logged.
    warned: Cell<bool>,
}

impl Courier {
    /// Starts to connect in the background and returns at once. `purpose` is added to the
    /// connection's name.
    pub(crate) fn new(
        connection: &ConnectionSettings,
        purpose: &str,
        subjects: Vec<String>,
        clock: Clock,
    ) -> Self {
        // Whoever only asks awaits an answer of each node of a cluster; who is asked may be
        // flooded.
        let most_waiting = if subjects.is_empty() { MAX_ANSWERS } else { MAX_QUESTIONS };
        let mut connection = connection.clone();
        connection.name = format!("{} {purpose}", connection.name);
        let own_inboxes = connection.inbox_prefix.clone();
        let api_prefix = connection.api_prefix.clone();
        let (connector, signals) = Connector::new(connection, clock.clone(), most_waiting);
        let mut courier = Self {
            subjects,
            own_inboxes,
            api_prefix,
            clock,
            waiter: Waiter::default(),
            connector,
            signals,
            link: None,
            outbox: VecDeque::new(),
            told: VecDeque::new(),
            asked: 0,
            awaiting: Timestamp::ZERO,
            heard_at: Timestamp::ZERO,
            echo_at: Timestamp::ZERO,
            last_words: None,
            warned: Cell::new(false),
        };
        courier.work();
        courier
    }

    /// The server that is connected to.
    pub(crate) fn server(&self) -> Option<&str> {
        self.link.as_ref().map(|link| link.server.as_str())
    }

    /// Sends a message, as soon as that is possible. False when there is no connection, or too much
    /// is waiting already.
    pub(crate) fn send(
        &mut self,
        subject: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> bool {
        let headers = (!headers.is_empty()).then(|| header_map(headers));
        self.post(Outgoing { subject: subject.to_owned(), reply: None, headers, body: body.into() })
    }

    /// Asks a question, and returns its number, which the answers carry. Answers are awaited until
    /// `until`; those that come later come all the same.
    pub(crate) fn ask(
        &mut self,
        subject: &str,
        body: impl Into<Vec<u8>>,
        until: Timestamp,
    ) -> Option<u64> {
        let prefix = &self.link.as_ref()?.inbox_prefix;
        let number = self.asked + 1;
        let reply = Some(format!("{prefix}.{number}"));
        self.asked = number;
        self.awaiting = self.awaiting.max(until);
        let body = body.into();
        let subject = subject.to_owned();
        self.post(Outgoing { subject, reply, headers: None, body }).then_some(number)
    }

    fn post(&mut self, message: Outgoing) -> bool {
        if self.link.is_none() || self.outbox.len() >= MAX_OUTBOX {
            return false;
        }
        self.outbox.push_back(message);
        self.flush();
        true
    }

    /// The next thing that happened, or `None` as soon as `wake` holds a message (which is taken)
    /// or the clock reads `until`.
    pub(crate) fn poll(&mut self, wake: &Receiver<()>, until: Timestamp) -> Option<Told> {
        loop {
            self.waiter.look(wake);
            if self.told.is_empty() {
                self.work();
            }
            if let Some(told) = self.told.pop_front() {
                return Some(told);
            }
            let now = self.clock.now();
            if self.waiter.take() || now >= until {
                return None;
            }
            self.sleep(wake, until.since(now).min(self.idle_time(now)));
        }
    }

    /// Closes the connection, and waits for its threads until `until`.
    pub(crate) fn close(&mut self, until: Timestamp) {
        self.connector.close();
        self.link = None;
        self.outbox.clear();
        while self.connector.is_busy() && self.clock.now() < until {
            while self.signals.try_recv().is_ok() {}
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn work(&mut self) {
        self.receive();
        self.look_after_link();
        self.flush();
        self.keep_hearing();
        self.connect();
    }

    fn receive(&mut self) {
        if let Some(link) = self.link.as_ref() {
            let inbox = format!("{}.", link.inbox_prefix);
            if !link.inbox.is_empty() || link.heard.iter().any(|heard| !heard.is_empty()) {
                self.heard_at = self.clock.now();
            }
            for message in link.inbox.try_iter().take(BATCH) {
                self.told.extend(self.answer(message, &inbox).map(Told::Message));
            }
            for heard in &link.heard {
                for message in heard.try_iter().take(BATCH) {
                    self.told.push_back(Told::Message(self.letter(message)));
                }
            }
        }
        for _ in 0..BATCH {
            match self.signals.try_recv() {
                Ok(Signal::Attempt { number, result }) => self.attempted(number, result),
                Ok(Signal::Look) => {}
                Err(_) => return,
            }
        }
    }

    fn answer(&self, message: nats::Message, inbox: &str) -> Option<Message> {
        // Number 0 is an echo.
        let number = message.subject.strip_prefix(inbox)?.parse().ok().filter(|n| *n > 0)?;
        Some(Message { answers: Some(number), ..self.letter(message) })
    }

    fn letter(&self, message: nats::Message) -> Message {
        let nobody = message.is_no_responders();
        let error = message.headers.as_ref().and_then(|headers| {
            let one = |name: &str| headers.get(name).map(|text| excerpt(text));
            Some((one(ERROR_CODE)?, one(ERROR).unwrap_or_default()))
        });
        let reply = message.reply.filter(|reply| self.may_answer(reply));
        let mut body = message.data;
        body.truncate(MAX_BODY + 1);
        Message { subject: message.subject, reply, body, answers: None, nobody, error }
    }

    fn may_answer(&self, reply: &str) -> bool {
        let may = may_answer(reply, &self.own_inboxes, &self.api_prefix);
        // Once: whoever asks so does it often.
        if !may && !self.warned.replace(true) {
            log::warn!(
                "an answer was wanted on {:?}, which is no inbox: none is sent",
                excerpt(reply)
            );
        }
        may
    }

    fn attempted(&mut self, number: u64, result: Result<Box<Link>, Failure>) {
        if !self.connector.finished(number, result.is_ok()) {
            return;
        }
        match result {
            Ok(link) => {
                self.lose("the server is shutting down (lame duck mode)");
                self.last_words = None;
                self.heard_at = self.clock.now();
                self.echo_at = self.heard_at;
                self.told.push_back(Told::Connected { server: link.server.clone() });
                self.link = Some(link);
            }
            Err(Failure { error, .. }) if self.link.is_none() => {
                self.told.push_back(Told::Disconnected { error });
            }
            Err(_) => {}
        }
    }

    fn look_after_link(&mut self) {
        let Some(link) = &self.link else { return };
        // Looked at first: what it said before it was lost is known then.
        let lost = link.is_lost();
        for words in link.take_complaints() {
            self.complained(&words);
        }
        if lost {
            self.lose("it closed the connection");
        }
    }

    fn complained(&mut self, words: &str) {
        self.heard_at = self.clock.now();
        let Some(violation) = Violation::parse(words) else {
            self.last_words = Some(words.to_owned());
            return;
        };
        let (subject, publish) = (violation.subject.to_owned(), violation.publish);
        if self.link.as_ref().is_some_and(|link| subject == echo_subject(link)) {
            // The refusal makes something come as well.
            return;
        }
        let error = StoreError::Permission(words.into());
        self.told.push_back(Told::Denied { subject, publish, error });
    }

    fn lose(&mut self, reason: &str) {
        let Some(link) = self.link.take() else { return };
        self.connector.lost(link.number);
        self.outbox.clear();
        let server = link.server.clone();
        let error = match self.last_words.take() {
            Some(words) if is_about_credentials(&words) => {
                StoreError::Authentication { server: server.into(), reason: words.into() }
            }
            words => {
                let reason = words.as_deref().unwrap_or(reason);
                StoreError::Disconnected(format!("{server}: {reason}").into())
            }
        };
        self.told.push_back(Told::Disconnected { error });
    }

    fn flush(&mut self) {
        while let (Some(link), Some(next)) = (&self.link, self.outbox.front()) {
            let (reply, headers) = (next.reply.as_deref(), next.headers.as_ref());
            match link.send(&next.subject, reply, headers, &next.body) {
                Sent::Yes => drop(self.outbox.pop_front()),
                Sent::Busy => return,
                Sent::Gone => return self.lose("it is gone"),
            }
        }
    }

    /// Makes something come where nothing does, and gives up a connection on which nothing comes.
    fn keep_hearing(&mut self) {
        let now = self.clock.now();
        let Some(link) = &self.link else { return };
        if now < self.echo_due(link) {
            return;
        }
        if now.since(self.heard_at) >= DEAF && self.echo_at > self.heard_at {
            return self.lose("it answers nothing");
        }
        self.echo_at = now;
        // What cannot be sent now is made up for by the next one.
        let _ = link.send(&echo_subject(link), None, None, b"");
    }

    fn echo_due(&self, link: &Link) -> Timestamp {
        match (link.secure, self.clock.now() < self.awaiting) {
            (true, true) => self.echo_at + QUICK_ECHO,
            (true, false) => self.echo_at + SECURE_ECHO,
            (false, _) => self.echo_at.max(self.heard_at) + ECHO,
        }
    }

    fn connect(&mut self) {
        if !self.wants_connection() {
            return;
        }
        if let Some(error) = self.connector.advance(self.link.is_some(), &self.subjects) {
            if self.link.is_none() {
                self.told.push_back(Told::Disconnected { error });
            }
        }
    }

    fn wants_connection(&self) -> bool {
        self.link.as_ref().is_none_or(|link| link.is_lame())
    }

    fn idle_time(&self, now: Timestamp) -> Duration {
        if !self.outbox.is_empty() {
            return RESEND;
        }
        let idle = self.connector.idle_time(now, self.wants_connection()).min(SLICE);
        let echo = self.link.as_ref().map_or(idle, |link| self.echo_due(link).since(now));
        idle.min(echo)
    }

    fn sleep(&self, wake: &Receiver<()>, at_most: Duration) {
        self.waiter.sleep(wake, at_most, |select| {
            select.recv(&self.signals);
            if let Some(link) = &self.link {
                select.recv(&link.inbox);
                for heard in &link.heard {
                    select.recv(heard);
                }
            }
        });
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.close(Timestamp::ZERO);
    }
}

/// No question has the number 0.
fn echo_subject(link: &Link) -> String {
    format!("{}.0", link.inbox_prefix)
}

/// The headers by which the services protocol tells of an error.
pub(crate) const ERROR: &str = "Nats-Service-Error";
/// Its number.
pub(crate) const ERROR_CODE: &str = "Nats-Service-Error-Code";

fn header_map(headers: &[(&str, &str)]) -> nats::HeaderMap {
    let mut map = nats::HeaderMap::new();
    for (name, value) in headers {
        // A line's end would end the header.
        map.insert(*name, printable(value));
    }
    map
}

/// Whether an answer may be sent there.
///
/// Whoever asks chooses the subject, and we publish on it with *our* permissions: on the record's,
/// on a control endpoint's, a reader would so write what he may not. Only inboxes are answered to:
/// subjects that begin with `_`, as clients' inboxes and the servers' own reply subjects do, or
/// with the first token of our own inboxes.
pub(crate) fn may_answer(reply: &str, own_inboxes: &str, api_prefix: &str) -> bool {
    let well_formed = reply.len() <= MAX_REPLY
        && reply.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'*' | b'>'))
        && reply.split('.').all(|token| !token.is_empty());
    let first = |subject: &str| subject.split('.').next().unwrap_or_default().to_owned();
    let token = first(reply);
    let ours = token.starts_with('$')
        || token == "cluster"
        || token.starts_with("cluster_")
        || token == first(api_prefix);
    well_formed && !ours && (token.starts_with('_') || token == first(own_inboxes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_inboxes_are_answered_to() {
        let may = |reply: &str| may_answer(reply, "inbox.node-1", "JS.hub.API");
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
        assert!(!may_answer("$KV.x", "$KV", "$JS.API"), "an inbox prefix opens no system subject");
        assert!(!may(&format!("_INBOX.{}", "x".repeat(MAX_REPLY))));
    }

    #[test]
    fn a_header_has_one_line() {
        let map = header_map(&[("A", "one\r\nB: two")]);
        assert_eq!(map.get("A").map(String::as_str), Some("one  B: two"));
    }
}
