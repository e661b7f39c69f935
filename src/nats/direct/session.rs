//! A connection that stands, until it ends.

use std::collections::VecDeque;
use std::fmt::Write as _;

use mio::Token;

use super::super::dial::Reached;
use super::super::handshake::Info;
use super::super::keep_alive::KeepAlive;
use super::super::message::Message;
use super::super::new_inbox;
use super::super::parser::Operation;
use super::super::transport::{
    ConnectionEvent, ConnectionOptions, Incoming, Outgoing, Peer, Sent, arrived,
};
use super::super::wire::{Wire, WireError};
use crate::clock::Timestamp;

/// So many messages are taken in a row before the owner gets to do other things.
const BATCH: usize = 64;
/// The number of the subscription to the inbox; those to subjects have the numbers after it.
const INBOX: u64 = 1;

/// The subscriptions of one connection.
#[derive(Clone, Debug)]
pub(super) struct Subscriptions {
    inbox_prefix: String,
    /// The number of the last one.
    last: u64,
    /// The number of the one to hints, and its subject.
    hints: Option<(u64, String)>,
}

impl Subscriptions {
    /// With an inbox that no other connection has.
    pub(super) fn new(inbox_prefix: &str) -> Self {
        Self { inbox_prefix: new_inbox(inbox_prefix), last: INBOX, hints: None }
    }

    /// The commands that subscribe to everything.
    pub(super) fn commands(&mut self, options: &ConnectionOptions) -> String {
        let mut commands = format!("SUB {}.* {INBOX}\r\n", self.inbox_prefix);
        for subject in &options.subjects {
            self.last += 1;
            let _ = write!(commands, "SUB {subject} {}\r\n", self.last);
        }
        if let Some(hints) = &options.hints {
            commands += &self.subscribe_to_hints(hints);
        }
        commands
    }

    fn subscribe_to_hints(&mut self, subject: &str) -> String {
        self.last += 1;
        let former = self.hints.replace((self.last, subject.to_owned()));
        let leave = former.map(|(sid, _)| format!("UNSUB {sid}\r\n")).unwrap_or_default();
        format!("{leave}SUB {subject} {}\r\n", self.last)
    }
}

/// What a PING was sent for.
#[derive(Debug, PartialEq)]
enum Ping {
    KeepAlive,
    /// Its PONG shows that the server has processed a new subscription to hints.
    Hints,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Session {
    pub(super) token: Token,
    pub(super) wire: Wire,
    pub(super) peer: Peer,
    /// The server is about to shut down (lame duck mode).
    pub(super) leaving: bool,
    subscriptions: Subscriptions,
    /// Refusals and messages that arrived during the handshake.
    early: VecDeque<Operation>,
    keep_alive: Option<KeepAlive>,
    /// PINGs without their PONG, oldest first.
    pings: VecDeque<Ping>,
    /// Operations that were taken since the owner last got to do other things.
    taken: usize,
}

impl Session {
    pub(super) fn new(
        reached: Reached,
        server: String,
        subscriptions: Subscriptions,
        options: &ConnectionOptions,
        now: Timestamp,
    ) -> Self {
        let Reached { token, wire, handshake, .. } = reached;
        let (version, leaving) = handshake.server();
        let denied = handshake.denied.into_iter().map(Operation::Error);
        let early = handshake.early.into_iter();
        let early = early.map(|(sid, message)| Operation::Message(sid, message));
        Self {
            token,
            wire,
            peer: Peer { server, version, inbox_prefix: subscriptions.inbox_prefix.clone() },
            leaving,
            subscriptions,
            early: denied.chain(early).collect(),
            keep_alive: options.keep_alive.then(|| KeepAlive::new(false, now)),
            pings: VecDeque::new(),
            taken: 0,
        }
    }

    /// The next report. `None` when there is none, and after each batch of operations.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Incoming> {
        while self.taken < BATCH {
            self.taken += 1;
            let operation = match self.early.pop_front() {
                Some(operation) => Ok(Some(operation)),
                None => self.wire.next(),
            };
            match operation {
                Ok(Some(operation)) => {
                    self.keep_alive.iter_mut().for_each(|timer| timer.received(now));
                    if let Some(report) = self.handle(operation) {
                        return Some(report);
                    }
                }
                Ok(None) => break,
                Err(WireError::Parse(error)) => {
                    log::warn!("{}: {}", self.peer.server, WireError::from(error));
                    return Some(Incoming::Closed(Some(
                        "it sent bytes that are not of the protocol",
                    )));
                }
                // The server closed it, or the network did.
                Err(WireError::Io(error)) => {
                    log::debug!("{}: {error}", self.peer.server);
                    return Some(Incoming::Closed(None));
                }
            }
        }
        self.taken = 0;
        self.keep_alive(now)
    }

    /// Whether the next event of the socket must be waited for.
    pub(super) fn is_idle(&self) -> bool {
        self.early.is_empty() && self.wire.is_idle()
    }

    fn handle(&mut self, operation: Operation) -> Option<Incoming> {
        match operation {
            Operation::Message(sid, message) => self.message(sid, message),
            Operation::Error(text) => Some(Incoming::error(text)),
            Operation::Ping => {
                self.wire.send(b"PONG\r\n");
                None
            }
            Operation::Pong => {
                let hints = self.pings.pop_front() == Some(Ping::Hints);
                hints.then_some(Incoming::Event(ConnectionEvent::HintsMissed))
            }
            Operation::Info(text) => {
                self.leaving |= Info::parse(&text).is_some_and(|info| info.ldm);
                None
            }
            Operation::Unreadable(subject) => {
                log::debug!("a message on {subject} has headers that cannot be read");
                None
            }
            Operation::Ok => None,
        }
    }

    fn message(&self, sid: u64, message: Message) -> Option<Incoming> {
        arrived(message, &self.peer.inbox_prefix, sid == INBOX)
    }

    /// Makes something arrive where nothing does, and gives up a connection on which nothing does.
    fn keep_alive(&mut self, now: Timestamp) -> Option<Incoming> {
        let timer = self.keep_alive.as_mut().filter(|timer| now >= timer.next_at(now))?;
        if timer.is_silent(now) {
            return Some(Incoming::Closed(Some("it sends nothing any more")));
        }
        timer.sent(now);
        self.ping(Ping::KeepAlive);
        None
    }

    fn ping(&mut self, ping: Ping) {
        self.pings.push_back(ping);
        self.wire.send(b"PING\r\n");
    }

    /// When something needs to be done if nothing happens.
    pub(super) fn next_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.keep_alive.as_ref().map(|timer| timer.next_at(now))
    }

    /// Subscribes to hints on another subject than before.
    pub(super) fn set_hints(&mut self, subject: &str) {
        if self.subscriptions.hints.as_ref().is_some_and(|(_, known)| known == subject) {
            return;
        }
        let commands = self.subscriptions.subscribe_to_hints(subject);
        self.wire.send(commands.as_bytes());
        self.ping(Ping::Hints);
    }

    pub(super) fn send(&mut self, message: &Outgoing) -> Sent {
        if !self.wire.has_room() {
            return Sent::Busy;
        }
        self.wire.send(&publication(message));
        Sent::Yes
    }
}

/// A message as it is on the wire.
fn publication(message: &Outgoing) -> Vec<u8> {
    let Outgoing { subject, reply, headers, body } = message;
    // A subject with a space or a line end would be another command. All are of checked parts.
    debug_assert!(
        subject.bytes().chain(reply.iter().flat_map(|one| one.bytes())).all(|b| b > b' ')
    );
    let reply = reply.as_ref().map(|reply| format!(" {reply}")).unwrap_or_default();
    let mut bytes = if headers.is_empty() {
        format!("PUB {subject}{reply} {}\r\n", body.len())
    } else {
        let mut block = "NATS/1.0\r\n".to_owned();
        for (name, value) in headers.iter() {
            let _ = write!(block, "{name}: {value}\r\n");
        }
        block += "\r\n";
        let all = block.len() + body.len();
        format!("HPUB {subject}{reply} {} {all}\r\n{block}", block.len())
    }
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nats::message::Headers;

    #[test]
    fn a_message_is_written_as_the_protocol_has_it() {
        let mut message = Outgoing {
            subject: "a.b".into(),
            reply: None,
            headers: Headers::default(),
            body: b"hi".to_vec(),
        };
        assert_eq!(publication(&message), b"PUB a.b 2\r\nhi\r\n");
        message.reply = Some("_INBOX.x.1".into());
        assert_eq!(publication(&message), b"PUB a.b _INBOX.x.1 2\r\nhi\r\n");
        message.headers.add("A", "b");
        assert_eq!(
            publication(&message),
            b"HPUB a.b _INBOX.x.1 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nhi\r\n"
        );
    }

    #[test]
    fn every_subscription_has_a_number() {
        let mut subscriptions = Subscriptions::new("_INBOX");
        let options = ConnectionOptions {
            subjects: vec!["a".into(), "b".into()],
            hints: Some("h".into()),
            ..ConnectionOptions::default()
        };
        let inbox = subscriptions.inbox_prefix.clone();
        let commands = subscriptions.commands(&options);
        assert_eq!(commands, format!("SUB {inbox}.* 1\r\nSUB a 2\r\nSUB b 3\r\nSUB h 4\r\n"));
        assert_eq!(subscriptions.subscribe_to_hints("i"), "UNSUB 4\r\nSUB i 5\r\n");
    }
}
