//! A client: one connection, from when it is made until it ends.
//!
//! The crate would reconnect by itself, but without the probe. Here its disconnect callback ends
//! the client instead, and the owner builds a new one.

use std::iter::once;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Select, Sender};

use super::reaper::{Shared, echo_subject};
use crate::clock::Timestamp;
use crate::nats::PermissionViolation;
use crate::nats::keep_alive::KeepAlive;
use crate::nats::message::Message;
use crate::nats::transport::{ConnectionEvent, Incoming, Outgoing, Peer, Sent, arrived};
use crate::task::spawn;

/// So many messages are taken in a row before the owner gets to do other things.
const BATCH: usize = 64;

/// A connection that stands, or stood a moment ago. Dropping it ends it.
pub(crate) struct NatsClient {
    pub(super) peer: Peer,
    /// Whether it is encrypted.
    pub(super) secure: bool,
    /// The subject of hints that it is subscribed to, or is about to be.
    pub(super) hint_subject: Option<String>,
    /// When it subscribed to hints.
    pub(super) hints_since: Option<Timestamp>,
    pub(super) inbox: Receiver<nats::Message>,
    pub(super) subjects: Vec<Receiver<nats::Message>>,
    pub(super) hints: Option<Receiver<nats::Message>>,
    pub(super) max_waiting: usize,
    pub(super) waker: Sender<()>,
    pub(super) echo: Option<KeepAlive>,
    /// Counts messages, so that subjects take turns.
    pub(super) received: usize,
    /// Sending failed.
    pub(super) broken: bool,
    pub(super) shared: Arc<Shared>,
}

impl NatsClient {
    /// The next report. `None` when there is none, and after each batch of messages.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<Incoming> {
        // Read first: every message from before the end is in the channels then.
        let lost = self.broken || self.shared.lost.load(Ordering::SeqCst);
        let report = self.next_message(now).or_else(|| self.take_resubscribed());
        if let Some(report) = report.or_else(|| self.next_error(now)) {
            return Some(report);
        }
        if lost && self.receivers().all(Receiver::is_empty) {
            return Some(Incoming::Closed(None));
        }
        self.keep_alive(now)
    }

    fn next_message(&mut self, now: Timestamp) -> Option<Incoming> {
        self.received += 1;
        if self.received % (BATCH + 1) == 0 {
            return None;
        }
        let count = self.receivers().count();
        for turn in 0..count {
            let index = (self.received + turn) % count;
            let message = self.receivers().nth(index)?.try_recv();
            let Ok(message) = message else { continue };
            self.received_something(now);
            let report = arrived(convert(message), &self.peer.inbox_prefix, index == 0);
            if report.is_some() {
                return report;
            }
        }
        None
    }

    fn next_error(&mut self, now: Timestamp) -> Option<Incoming> {
        while let Some(text) = self.shared.next_error() {
            self.received_something(now);
            // A refused echo serves its purpose as well.
            let echo = echo_subject(&self.peer.inbox_prefix);
            let violation = PermissionViolation::parse(&text);
            if self.echo.is_none() || violation.is_none_or(|violation| violation.subject != echo) {
                return Some(Incoming::error(text));
            }
        }
        None
    }

    fn received_something(&mut self, now: Timestamp) {
        if let Some(echo) = &mut self.echo {
            echo.received(now);
        }
    }

    /// Makes something arrive where nothing does, and gives up a connection on which nothing does.
    fn keep_alive(&mut self, now: Timestamp) -> Option<Incoming> {
        let echo = self.echo.as_mut().filter(|echo| now >= echo.next_at(now))?;
        if echo.is_silent(now) {
            return Some(Incoming::Closed(Some("it sends nothing any more")));
        }
        echo.sent(now);
        // An echo that cannot be sent now is made up for by the next one.
        self.shared.publish(&echo_subject(&self.peer.inbox_prefix), None, None, b"");
        None
    }

    /// Sends without blocking.
    pub(crate) fn send(&mut self, message: &Outgoing) -> Sent {
        let Outgoing { subject, reply, headers, body } = message;
        let headers = (!headers.is_empty()).then(|| headers.iter().collect());
        let sent = self.shared.publish(subject, reply.as_deref(), headers.as_ref(), body);
        self.broken |= sent == Sent::Closed;
        sent
    }

    /// A response is expected until `until`.
    pub(crate) fn expect_response(&mut self, until: Timestamp) {
        if let Some(echo) = &mut self.echo {
            echo.expect_response(until);
        }
    }

    /// When something needs to be done if nothing happens.
    pub(crate) fn next_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.echo.as_ref().map(|echo| echo.next_at(now))
    }

    /// Adds all that can become ready to `select`.
    pub(crate) fn wait_on<'a>(&'a self, select: &mut Select<'a>) {
        for receiver in self.receivers() {
            select.recv(receiver);
        }
    }

    fn receivers(&self) -> impl Iterator<Item = &Receiver<nats::Message>> {
        once(&self.inbox).chain(&self.subjects).chain(&self.hints)
    }

    /// Whether the server announced that it is going to shut down.
    pub(crate) fn is_leaving(&self) -> bool {
        self.shared.leaving.load(Ordering::SeqCst)
    }

    /// Subscribes to hints on another subject than before, on a helper thread. The
    /// result is [`ConnectionEvent::HintsMissed`].
    pub(crate) fn resubscribe(&mut self, subject: &str) {
        self.hint_subject = Some(subject.to_owned());
        let (shared, waker) = (Arc::clone(&self.shared), self.waker.clone());
        let max_waiting = self.max_waiting;
        let subject = subject.to_owned();
        let work = move || {
            let connection = shared.open.lock().as_ref().map(|client| client.connection.clone());
            let Some(Ok(new)) = connection.map(|connection| connection.subscribe(&subject)) else {
                return;
            };
            new.set_message_limits(max_waiting);
            let receiver = new.receiver().clone();
            let unneeded = match shared.open.lock().as_mut() {
                Some(client) => client.hints.replace(new),
                None => Some(new),
            };
            *shared.resubscribed.lock() = Some((subject, receiver));
            // Not under the lock: that waits for the crate's own.
            drop(unneeded);
            wake(&waker);
        };
        // Without a thread there are no hints, and reading goes on.
        let _ = spawn("leasehold-subscribe", work);
    }

    /// Takes a new subscription into use.
    fn take_resubscribed(&mut self) -> Option<Incoming> {
        let (subject, receiver) = self.shared.resubscribed.lock().take()?;
        if self.hint_subject.as_ref() != Some(&subject) {
            return None;
        }
        self.hints = Some(receiver);
        Some(Incoming::Event(ConnectionEvent::HintsMissed))
    }
}

impl Drop for NatsClient {
    fn drop(&mut self) {
        self.shared.end();
    }
}

/// Wakes the owner of a connection.
pub(super) fn wake(waker: &Sender<()>) {
    // A full channel wakes it as well.
    let _ = waker.try_send(());
}

pub(super) fn convert(message: nats::Message) -> Message {
    let nats::Message { subject, reply, data: body, headers, .. } = message;
    let pairs = headers
        .iter()
        .flat_map(|headers| headers.iter())
        .flat_map(|(name, values)| values.iter().map(move |value| (name.clone(), value.clone())));
    Message { subject, reply, headers: pairs.collect(), body }
}
