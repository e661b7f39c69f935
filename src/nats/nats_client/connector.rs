//! When to connect, and to which server.
//!
//! Servers are tried one after the other. The first attempt is immediate. After a whole round
//! without success there is a pause, which doubles with every round up to the configured one and is
//! drawn from its upper half, so that nodes do not come back in step. A connection that lasted
//! shorter than the longest pause counts as a failure: a server that accepts and then hangs up is
//! not hammered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, bounded, unbounded};

use super::attempt::{Attempt, ClientSetup, ConnectFailure, Finished};
use super::client::NatsClient;
use super::echo::Echo;
use super::handshake::unreachable;
use super::notice_breaker::NoticeBreaker;
use crate::clock::{Clock, Timestamp};
use crate::config::connection::ConnectionSettings;
use crate::error::StoreError;
use crate::nats::transport::ConnectionOptions;

/// The pause after the first round.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// One attempt of several gets at least this much of the connect timeout.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);
/// The time beyond its own deadline after which an attempt is given up as stuck.
const GRACE: Duration = Duration::from_millis(500);
/// Threads that may hang in name resolution, or in the crate's connect, which has no timeout.
const MAX_ATTEMPTS: usize = 4;
/// Clients that may exist at a time, those included that wait for a frozen server to wake up.
const MAX_CLIENTS: usize = 32;

#[derive(Debug, PartialEq)]
enum State {
    /// No attempt is under way; the next one may start then.
    Idle {
        not_before: Timestamp,
    },
    Trying {
        number: u64,
        give_up_at: Timestamp,
    },
    Closed,
}

/// See the [module](self).
pub(crate) struct Connector {
    setup: Arc<ClientSetup>,
    /// The subject of hints, if there are any.
    hints: Option<String>,
    clock: Clock,
    state: State,
    /// Number of the last attempt.
    number: u64,
    /// Index of the server whose turn it is.
    turn: usize,
    /// Failures in a row.
    failures: u32,
    connected_at: Timestamp,
    breaker: NoticeBreaker,
    results: Receiver<Finished>,
    woken: Receiver<()>,
}

impl Connector {
    pub(crate) fn new(
        settings: &ConnectionSettings,
        mut options: ConnectionOptions,
        clock: Clock,
    ) -> Self {
        let hints = options.hints.take();
        let mut settings = settings.clone();
        if !options.purpose.is_empty() {
            settings.name = format!("{} {}", settings.name, options.purpose);
        }
        // Unbounded, as such a channel drops its messages together with its receiver. In another
        // one, a client that is never taken out would live as long as an attempt that is stuck.
        let (sender, results) = unbounded();
        let (waker, woken) = bounded(1);
        let setup = ClientSetup {
            settings,
            options,
            results: sender,
            waker,
            closed: AtomicBool::new(false),
            clients: Arc::new(()),
            attempts: Arc::new(()),
        };
        Self {
            setup: Arc::new(setup),
            hints,
            clock,
            state: State::Idle { not_before: Timestamp::ZERO },
            number: 0,
            turn: 0,
            failures: 0,
            connected_at: Timestamp::ZERO,
            breaker: NoticeBreaker::default(),
            results,
            woken,
        }
    }

    /// Takes the result of an attempt, gives up one that is stuck, or starts one if the `present`
    /// connection does not suffice and it is time.
    pub(crate) fn poll(
        &mut self,
        present: Option<&mut NatsClient>,
    ) -> Option<Result<Box<NatsClient>, StoreError>> {
        while let Ok(Finished { number, result }) = self.results.try_recv() {
            // An attempt that was given up ends here; its client ends when it is dropped.
            if matches!(self.state, State::Trying { number: current, .. } if current == number) {
                return Some(self.finished(result));
            }
        }
        let now = self.clock.now();
        match self.state {
            State::Trying { give_up_at, .. } if now >= give_up_at => {
                return Some(Err(self.failed_attempt("no result in time")));
            }
            State::Idle { not_before } if now >= not_before && is_wanted(present.as_deref()) => {
                return self.start(now, present.is_some()).map(Err);
            }
            _ => {}
        }
        self.update_hints(now, present?);
        None
    }

    fn start(&mut self, now: Timestamp, replacement: bool) -> Option<StoreError> {
        if replacement && self.servers() == 1 {
            // There is no other server; this one will close the connection.
            self.state = State::Idle { not_before: now + Duration::from_secs(1) };
            return None;
        }
        let busy = |counter: &Arc<()>, most| alive(counter) >= most;
        if busy(&self.setup.attempts, MAX_ATTEMPTS) || busy(&self.setup.clients, MAX_CLIENTS) {
            return Some(self.failed_attempt("earlier connections have not ended yet"));
        }
        let timeout = self.attempt_timeout();
        self.number += 1;
        let attempt = Attempt {
            number: self.number,
            server: self.setup.settings.servers.get(self.turn)?.clone(),
            hints: self.hints.clone().filter(|_| self.breaker.allows(now)),
            deadline: Instant::now() + timeout,
        };
        if self.setup.start(attempt).is_err() {
            return Some(self.failed_attempt("the system gives no thread"));
        }
        self.state = State::Trying { number: self.number, give_up_at: now + timeout + GRACE };
        None
    }

    /// A start waits for the connect timeout as a whole: one mute server of several must not use it
    /// up alone.
    fn attempt_timeout(&self) -> Duration {
        let whole = self.setup.settings.connect_timeout;
        (whole / self.servers().clamp(1, 3)).max(whole.min(SHORTEST_ATTEMPT))
    }

    fn servers(&self) -> u32 {
        u32::try_from(self.setup.settings.servers.len()).unwrap_or(u32::MAX)
    }

    fn finished(
        &mut self,
        result: Result<Box<NatsClient>, ConnectFailure>,
    ) -> Result<Box<NatsClient>, StoreError> {
        let now = self.clock.now();
        match result {
            Ok(mut client) => {
                self.connected_at = now;
                self.state = State::Idle { not_before: Timestamp::ZERO };
                client.hints_since = client.hint_subject.as_ref().map(|_| now);
                client.echo = self.setup.options.keep_alive.then(|| Echo::new(client.secure, now));
                Ok(client)
            }
            Err(ConnectFailure { error, subscribed_hints }) => {
                self.hints_ended(subscribed_hints.then_some(now));
                self.failed();
                Err(error)
            }
        }
    }

    /// Makes `subject` the subject of hints, if there are any.
    pub(crate) fn set_hints(&mut self, subject: &str) {
        if let Some(hints) = &mut self.hints {
            subject.clone_into(hints);
        }
    }

    /// Has `client` subscribe to hints if it does not yet and the breaker allows it.
    fn update_hints(&mut self, now: Timestamp, client: &mut NatsClient) {
        let Some(hints) = self.hints.as_ref().filter(|_| self.breaker.allows(now)) else { return };
        if client.hint_subject.as_ref() != Some(hints) {
            client.hints_since = client.hints_since.or(Some(now));
            client.resubscribe(hints);
        }
    }

    /// Takes note of the end of the last connection: it is the next server's turn.
    pub(crate) fn lost(&mut self, client: &NatsClient) {
        self.hints_ended(client.hints_since);
        if !matches!(self.state, State::Idle { .. }) {
            // An attempt for its replacement is under way already.
            return;
        }
        let lasted = self.clock.now().since(self.connected_at);
        if lasted >= self.setup.settings.reconnect_wait {
            self.failures = 0;
            self.next_turn();
            self.state = State::Idle { not_before: Timestamp::ZERO };
        } else {
            self.failed();
        }
    }

    /// A connection that was subscribed to hints since `since` has ended.
    fn hints_ended(&mut self, since: Option<Timestamp>) {
        let now = self.clock.now();
        if since.is_some_and(|since| self.breaker.ended(since, now)) {
            let hints = self.hints.as_deref().unwrap_or_default();
            log::warn!(connection = self.setup.settings.name.as_str();
                "connections end soon after they subscribed to {hints}; for a minute none does");
        }
    }

    fn failed_attempt(&mut self, reason: &str) -> StoreError {
        self.failed();
        unreachable(&self.setup.settings, reason)
    }

    fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.next_turn();
        self.state = State::Idle { not_before: self.clock.now() + self.pause() };
    }

    fn next_turn(&mut self) {
        self.turn = (self.turn + 1) % self.setup.settings.servers.len().max(1);
    }

    /// None within a round; after it, twice as long as after the one before.
    fn pause(&self) -> Duration {
        let servers = self.servers().max(1);
        if self.failures % servers != 0 {
            return Duration::ZERO;
        }
        let rounds = (self.failures / servers - 1).min(16);
        let longest = self.setup.settings.reconnect_wait;
        let pause = (FIRST_PAUSE * 2_u32.pow(rounds)).min(longest);
        pause.mul_f64(0.5 + random_half())
    }

    /// When something needs to be done if nothing happens.
    pub(crate) fn next_at(&self, present: Option<&NatsClient>) -> Option<Timestamp> {
        match self.state {
            State::Trying { give_up_at, .. } => Some(give_up_at),
            State::Idle { not_before } => is_wanted(present).then_some(not_before),
            State::Closed => None,
        }
    }

    /// Adds all that can become ready to `select`.
    pub(crate) fn wait_on<'a>(&'a self, select: &mut Select<'a>) {
        select.recv(&self.results);
        select.recv(&self.woken);
    }

    /// Forgets wake-ups. To be called *before* looking for their reasons.
    pub(crate) fn clear_wakes(&self) {
        while self.woken.try_recv().is_ok() {}
    }

    /// Starts nothing more, and drops clients that come about.
    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
        self.setup.closed.store(true, Ordering::Relaxed);
        while self.results.try_recv().is_ok() {}
    }

    /// Whether a client or an attempt is left.
    pub(crate) fn is_busy(&self) -> bool {
        alive(&self.setup.clients) + alive(&self.setup.attempts) > 0
    }
}

/// Whether there is no connection, or only one whose server is about to shut down.
fn is_wanted(present: Option<&NatsClient>) -> bool {
    present.is_none_or(NatsClient::is_leaving)
}

/// How many clones of a counter there are besides the setup's own.
fn alive(counter: &Arc<()>) -> usize {
    Arc::strong_count(counter) - 1
}

/// A number from 0 to 0.5.
fn random_half() -> f64 {
    let mut bits = [0; 2];
    // Without random bits the pauses are the shortest, which is allowed.
    let _ = getrandom::fill(&mut bits);
    f64::from(u16::from_le_bytes(bits)) / f64::from(u16::MAX) / 2.0
}
