//! Connections made by the `nats` crate, and all that keeps the crate in check.
//!
//! The crate is used to transport messages only. Its key-value and JetStream parts are not used:
//! their calls have no timeout, they take a lost race for a success, and they keep writes for after
//! a reconnect.
//!
//! # How a connection is made
//! Each attempt runs on a thread of its own, which first probes the server under a deadline and
//! then has the crate connect (`attempt.rs`). The result is a [`NatsClient`]: one TCP connection,
//! which is never made again.
//!
//! # Why sending does not block
//! The crate's locks are held over socket writes by its flushing thread. Messages are therefore
//! sent by `try_publish…`, which takes the lock only if it is free, and writes only into a buffer
//! with room enough. A message that cannot be sent now stays in the caller's outbox.
//!
//! # Limits
//! * The crate reads a server's lines into a buffer of 4096 bytes and panics on a longer one. The
//!   probe refuses such a server. A server that sends one later ends the crate's reading thread;
//!   the silence that follows makes the owner of the connection build a new one.
//! * The crate does not limit the size of an incoming message.
//! * It gives up a connection on which it receives headers that it cannot read. `notice_breaker.rs`
//!   limits what a forger of notices can do with that; for the inbox there is no such remedy.
//! * Over TLS, the crate's flushing thread may read a message that its reading thread sees only
//!   with the next bytes. Echoes (`keep_alive.rs`), or timeouts and reads of the lease store, cover
//!   that.
//! * Servers that want TLS before their INFO (`handshake_first`) are not supported by the crate.
//! * It takes the name that TLS verifies from the address it connects to. `tls.rs` puts the name of
//!   the server back, but the server is not told it (SNI).
//! * It panics when the system gives no thread. That is caught and reported; the panic's message on
//!   standard error, and the thread and the connection that the crate had made by then, stay.
#![allow(deprecated)] // The crate is deprecated as a whole; see the guide, "dependencies".

mod attempt;
mod client;
mod notice_breaker;
mod options;
mod reaper;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, unbounded};

use super::keep_alive::KeepAlive;
#[cfg(any(test, fuzzing))]
use super::message::Message;
use super::transport::{ConnectionOptions, Incoming, Outgoing, Peer, Sent, Transport};
use super::unreachable;
use crate::clock::{Clock, Timestamp};
use crate::config::connection::{ConnectionSettings, ServerAddress};
use crate::error::StoreError;
use crate::wait::{Waiter, Waker};
use attempt::{Attempt, ClientSetup, ConnectFailure, Finished};
use client::NatsClient;
use notice_breaker::NoticeBreaker;

/// Longer lines than this break the crate, which reads them into a buffer of 4096.
const MAX_LINE: usize = 4000;
/// Threads that may hang in the crate's connect, which has no timeout. With more, there is one
/// attempt in [`RARE`], as long as there are fewer than [`MAX_CLIENTS`].
const MAX_ATTEMPTS: usize = 4;
/// See [`MAX_ATTEMPTS`].
const RARE: Duration = Duration::from_secs(15);
/// Clients that may exist at a time, those included that wait for a frozen server to wake up.
const MAX_CLIENTS: usize = 32;

/// See the [module](self).
pub(super) struct CrateTransport {
    setup: Arc<ClientSetup>,
    clock: Clock,
    /// The subject of hints, if there are any.
    hints: Option<String>,
    breaker: NoticeBreaker,
    /// The number of the last attempt, and whether it is under way.
    number: u64,
    trying: bool,
    last_attempt: Timestamp,
    present: Option<Box<NatsClient>>,
    results: Receiver<Finished>,
    woken: Receiver<()>,
    waiter: Waiter,
}

impl CrateTransport {
    pub(super) fn new(
        settings: ConnectionSettings,
        mut options: ConnectionOptions,
        clock: Clock,
    ) -> Self {
        let hints = options.hints.take();
        // Unbounded, as such a channel drops its messages together with its receiver. In another
        // one, a client that is never taken out would live as long as an attempt that is stuck.
        let (sender, results) = unbounded();
        let (waker, woken) = bounded(1);
        let setup = ClientSetup {
            settings: Arc::new(settings),
            options,
            results: sender,
            waker,
            closed: AtomicBool::new(false),
            clients: Arc::default(),
            attempts: Arc::default(),
            helpers: Arc::default(),
        };
        Self {
            setup: Arc::new(setup),
            clock,
            hints,
            breaker: NoticeBreaker::default(),
            number: 0,
            trying: false,
            last_attempt: Timestamp::ZERO,
            present: None,
            results,
            woken,
            waiter: Waiter::default(),
        }
    }

    /// A connection that was subscribed to hints since `since` has ended.
    fn hints_ended(&mut self, since: Option<Timestamp>, now: Timestamp) {
        if since.is_some_and(|since| self.breaker.ended(since, now)) {
            let hints = self.hints.as_deref().unwrap_or_default();
            log::warn!(connection = self.setup.settings.name.as_str();
                "connections end soon after they subscribed to {hints}; for a minute none does");
        }
    }

    /// Has the present client subscribe to hints if it does not yet and the breaker allows it.
    fn update_hints(&mut self, now: Timestamp) {
        let Some(client) = &mut self.present else { return };
        let Some(hints) = self.hints.as_ref().filter(|_| self.breaker.allows(now)) else { return };
        if client.hint_subject.as_ref() != Some(hints) {
            client.hints_since = client.hints_since.or(Some(now));
            client.resubscribe(hints);
        }
    }
}

impl Transport for CrateTransport {
    fn connect(
        &mut self,
        server: &ServerAddress,
        timeout: Duration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.trying = false;
        let busy = |counter: &Arc<()>, most| alive(counter) >= most;
        let rare = now.since(self.last_attempt) >= RARE;
        let attempts = if rare { MAX_CLIENTS } else { MAX_ATTEMPTS };
        if busy(&self.setup.attempts, attempts) || busy(&self.setup.clients, MAX_CLIENTS) {
            let reason = "earlier connections have not ended yet";
            return Err(unreachable(server, reason));
        }
        self.number += 1;
        self.last_attempt = now;
        let attempt = Attempt {
            number: self.number,
            server: server.clone(),
            hints: self.hints.clone().filter(|_| self.breaker.allows(now)),
            // The attempt waits by the clock of the machine, whatever this one reads.
            deadline: Clock::boot().now() + timeout,
        };
        self.setup.start(attempt)?;
        self.trying = true;
        Ok(())
    }

    fn give_up(&mut self) {
        self.trying = false;
    }

    fn finished(&mut self, now: Timestamp) -> Option<Result<Peer, StoreError>> {
        // A client of an attempt that was given up ends here, as it is dropped.
        let wanted = |result: &Finished| self.trying && result.number == self.number;
        let result = std::iter::from_fn(|| self.results.try_recv().ok()).find(wanted)?.result;
        self.trying = false;
        match result {
            Ok(mut client) => {
                client.hints_since = client.hint_subject.as_ref().map(|_| now);
                client.echo =
                    self.setup.options.keep_alive.then(|| KeepAlive::new(client.secure, now));
                Some(Ok(self.present.insert(client).peer.clone()))
            }
            Err(ConnectFailure { error, subscribed_hints }) => {
                self.hints_ended(subscribed_hints.then_some(now), now);
                Some(Err(error))
            }
        }
    }

    fn next(&mut self, now: Timestamp) -> Option<Incoming> {
        self.update_hints(now);
        self.present.as_mut()?.next(now)
    }

    fn send(&mut self, message: &Outgoing) -> Sent {
        self.present.as_mut().map_or(Sent::Closed, |client| client.send(message))
    }

    fn set_hints(&mut self, subject: &str) {
        if let Some(hints) = &mut self.hints {
            subject.clone_into(hints);
        }
    }

    fn expect_response(&mut self, until: Timestamp) {
        if let Some(client) = &mut self.present {
            client.expect_response(until);
        }
    }

    fn is_leaving(&self) -> bool {
        self.present.as_ref().is_some_and(|client| client.is_leaving())
    }

    fn disconnect(&mut self, now: Timestamp) {
        let since = self.present.take().and_then(|client| client.hints_since);
        self.hints_ended(since, now);
    }

    fn waker(&self) -> Waker {
        self.waiter.waker()
    }

    fn look(&mut self) {
        self.waiter.look();
        while self.woken.try_recv().is_ok() {}
    }

    fn take_wake(&mut self) -> bool {
        self.waiter.take()
    }

    fn next_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.present.as_ref().and_then(|client| client.next_at(now))
    }

    fn wait(&mut self, at_most: Duration) {
        self.waiter.sleep(at_most, |select| {
            select.recv(&self.results);
            select.recv(&self.woken);
            if let Some(client) = &self.present {
                client.wait_on(select);
            }
        });
    }

    fn close(&mut self, until: Timestamp) {
        self.setup.closed.store(true, Ordering::Relaxed);
        self.trying = false;
        self.present = None;
        loop {
            // A client that still comes about is dropped here.
            while self.results.try_recv().is_ok() {}
            let busy = alive(&self.setup.clients) + alive(&self.setup.attempts) > 0;
            if !busy || self.clock.now() >= until {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// How many clones of a counter there are besides the setup's own.
fn alive(counter: &Arc<()>) -> usize {
    Arc::strong_count(counter) - 1
}

/// The message on `subject` of a header block as it is on the wire, and a body, as the crate reads
/// them.
#[cfg(any(test, fuzzing))]
pub(super) fn message(subject: &str, headers: &[u8], body: &[u8]) -> Option<Message> {
    let headers = nats::HeaderMap::try_from(headers).ok()?;
    Some(client::convert(nats::Message::new(subject, None, body, Some(headers))))
}
