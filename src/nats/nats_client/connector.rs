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
use super::notice_breaker::NoticeBreaker;
use crate::clock::{Clock, Timestamp};
use crate::config::connection::ConnectionSettings;
use crate::error::StoreError;

/// The pause after the first round.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// One attempt of several gets at least this much of the connect timeout.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);
/// What an attempt gets beyond its own deadline before it is given up as stuck.
const GRACE: Duration = Duration::from_millis(500);
/// Threads that may hang in name resolution, or in the crate's connect, which has no timeout.
const MAX_ATTEMPTS: usize = 4;
/// Clients that may exist at a time, those included that wait for a frozen server to wake up.
const MAX_CLIENTS: usize = 32;

/// What the owner of the connector lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    Connection,
    /// Another connection, as the server of the present one is about to shut down.
    Replacement,
}

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

pub(crate) struct Connector {
    setup: Arc<ClientSetup>,
    /// Subjects that every client is subscribed to.
    subjects: Vec<String>,
    keep_alive: bool,
    clock: Clock,
    state: State,
    /// Number of the last attempt, which becomes that of its client.
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
    /// `max_waiting` messages may wait to be read on each subject. With `keep_alive`, a connection
    /// on which nothing arrives sends itself something, and is given up if that does not arrive.
    pub(crate) fn new(
        settings: ConnectionSettings,
        subjects: Vec<String>,
        max_waiting: usize,
        keep_alive: bool,
        clock: Clock,
    ) -> Self {
        // Unbounded, as such a channel drops its messages together with its receiver. A client that
        // is never taken out would else keep its own threads.
        let (sender, results) = unbounded();
        let (waker, woken) = bounded(1);
        let setup = ClientSetup {
            settings,
            results: sender,
            waker,
            max_waiting,
            closed: AtomicBool::new(false),
            clients: Arc::new(()),
            attempts: Arc::new(()),
        };
        Self {
            setup: Arc::new(setup),
            subjects,
            keep_alive,
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

    /// Takes the result of an attempt, gives up one that is stuck, or starts one if it is time.
    pub(crate) fn poll(
        &mut self,
        need: Need,
        hints: Option<&str>,
    ) -> Option<Result<Box<NatsClient>, StoreError>> {
        while let Ok(Finished { number, result }) = self.results.try_recv() {
            // An attempt that was given up ends here; its client ends when it is dropped.
            if matches!(self.state, State::Trying { number: current, .. } if current == number) {
                return Some(self.finished(result, need, hints));
            }
        }
        let now = self.clock.now();
        match self.state {
            State::Trying { give_up_at, .. } if now >= give_up_at => {
                Some(Err(self.failed_attempt("no result in time")))
            }
            State::Idle { not_before } if now >= not_before && need != Need::Nothing => {
                self.advance(now, need, hints).map(Err)
            }
            _ => None,
        }
    }

    fn advance(&mut self, now: Timestamp, need: Need, hints: Option<&str>) -> Option<StoreError> {
        if need == Need::Replacement && self.servers() == 1 {
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
            subjects: self.subjects.clone(),
            hints: hints.filter(|_| self.breaker.allows(now)).map(str::to_owned),
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
        need: Need,
        hints: Option<&str>,
    ) -> Result<Box<NatsClient>, StoreError> {
        let now = self.clock.now();
        match result {
            Ok(mut client) => {
                self.connected_at = now;
                self.state = State::Idle { not_before: Timestamp::ZERO };
                client.echo = self.keep_alive.then(|| Echo::new(client.secure, now));
                Ok(client)
            }
            Err(ConnectFailure { error, subscribed_hints }) => {
                // The breaker follows the present connection, if there is one.
                if subscribed_hints && need == Need::Connection {
                    self.breaker.begin(now, true);
                    self.end_breaker(now, hints);
                }
                self.failed();
                Err(error)
            }
        }
    }

    /// Takes note that `client` is the present connection now.
    pub(crate) fn begin(&mut self, client: &NatsClient) {
        self.breaker.begin(self.clock.now(), client.hint_subject().is_some());
    }

    /// Has `client` subscribe to `hints` if it is not and the breaker allows it.
    pub(crate) fn update_hints(&mut self, client: &mut NatsClient, hints: &str) {
        let now = self.clock.now();
        if client.hint_subject() == Some(hints) || !self.breaker.allows(now) {
            return;
        }
        if client.hint_subject().is_none() {
            self.breaker.begin(now, true);
        }
        client.resubscribe(hints);
    }

    /// Takes note of the end of a connection: it is the next server's turn.
    pub(crate) fn lost(&mut self, client: &NatsClient) {
        let now = self.clock.now();
        self.end_breaker(now, client.hint_subject());
        if client.number != self.number || !matches!(self.state, State::Idle { .. }) {
            // Another attempt is under way already.
            return;
        }
        if now.since(self.connected_at) >= self.setup.settings.reconnect_wait {
            self.failures = 0;
            self.next_turn();
            self.state = State::Idle { not_before: Timestamp::ZERO };
        } else {
            self.failed();
        }
    }

    fn end_breaker(&mut self, now: Timestamp, hints: Option<&str>) {
        if self.breaker.end(now) {
            let (name, hints) = (self.setup.settings.name.as_str(), hints.unwrap_or_default());
            log::warn!(connection = name;
                "connections end soon after they subscribed to {hints}; for a minute none does");
        }
    }

    fn failed_attempt(&mut self, reason: &str) -> StoreError {
        self.failed();
        let servers = &self.setup.settings.servers;
        let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
        StoreError::Unreachable { servers: servers.join(", ").into(), reason: reason.into() }
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
    pub(crate) fn next_at(&self, need: Need) -> Option<Timestamp> {
        match self.state {
            State::Trying { give_up_at, .. } => Some(give_up_at),
            State::Idle { not_before } => (need != Need::Nothing).then_some(not_before),
            State::Closed => None,
        }
    }

    /// Adds all that can become ready to `select`.
    pub(crate) fn wait_on<'a>(&'a self, select: &mut Select<'a>) {
        select.recv(&self.results);
        select.recv(&self.woken);
    }

    /// Forgets wake-ups. To be called *before* looking for what they are about.
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
