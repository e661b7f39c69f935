//! When to connect, and where to.
//!
//! Servers are tried one after the other. The first try is immediate; after a whole round without
//! success there is a pause, which doubles with every round up to the configured one and is drawn
//! from its upper half, so that nodes do not come back in step. A connection that lasted shorter
//! than the longest pause counts as a failure: a server that accepts and then hangs up is not
//! hammered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};

use super::link::{Attempt, MAX_CLIENTS, Plan, Signal};
use crate::clock::{Clock, Timestamp};
use crate::config::connection::ConnectionSettings;
use crate::error::StoreError;

/// The pause after the first round.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// One attempt of several gets at least this much of the connect timeout.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);
/// What an attempt gets beyond its own deadline before it is given up as stuck.
const GRACE: Duration = Duration::from_millis(500);
/// Threads that may hang in name resolution, or in the client's connect, which has no timeout.
const MAX_ATTEMPTS: usize = 4;

#[derive(Debug, PartialEq)]
enum State {
    /// Nothing is going on; the next attempt may start then.
    Idle {
        not_before: Timestamp,
    },
    Trying {
        number: u64,
        give_up_at: Timestamp,
    },
    Closed,
}

pub(super) struct Connector {
    plan: Arc<Plan>,
    clock: Clock,
    state: State,
    /// Number of the last attempt, which becomes that of its link.
    number: u64,
    /// Index of the server whose turn it is.
    turn: usize,
    /// Failures in a row.
    failures: u32,
    connected_at: Timestamp,
    pub(super) signals: crossbeam_channel::Sender<Signal>,
}

impl Connector {
    /// `most_waiting` messages may wait to be read on each subject.
    pub(super) fn new(
        connection: ConnectionSettings,
        clock: Clock,
        most_waiting: usize,
    ) -> (Self, Receiver<Signal>) {
        // Unbounded, as such a channel drops what is in it together with its receiver. A connection
        // that nobody takes out would keep itself alive: its client has senders.
        let (sender, signals) = unbounded();
        let plan = Plan {
            connection,
            signals: sender.clone(),
            most_waiting,
            closed: AtomicBool::new(false),
            clients: Arc::new(()),
            attempts: Arc::new(()),
        };
        let connector = Self {
            plan: Arc::new(plan),
            clock,
            state: State::Idle { not_before: Timestamp::ZERO },
            number: 0,
            turn: 0,
            failures: 0,
            connected_at: Timestamp::ZERO,
            signals: sender,
        };
        (connector, signals)
    }

    /// Starts an attempt when it is time, and gives up one that is stuck. Returns what failed.
    pub(super) fn advance(&mut self, lame: bool, subjects: &[String]) -> Option<StoreError> {
        let now = self.clock.now();
        match self.state {
            State::Trying { give_up_at, .. } if now >= give_up_at => {
                self.failed();
                Some(self.stuck("no result in time"))
            }
            State::Idle { not_before } if now >= not_before => {
                if lame && self.plan.connection.servers.len() == 1 {
                    // There is nowhere to go; the server will close the connection.
                    self.state = State::Idle { not_before: now + Duration::from_secs(1) };
                    return None;
                }
                self.start(now, subjects)
            }
            _ => None,
        }
    }

    fn start(&mut self, now: Timestamp, subjects: &[String]) -> Option<StoreError> {
        if alive(&self.plan.attempts) >= MAX_ATTEMPTS || alive(&self.plan.clients) >= MAX_CLIENTS {
            self.failed();
            return Some(self.stuck("earlier connections have not ended yet"));
        }
        let timeout = self.attempt_timeout();
        self.number += 1;
        let attempt = Attempt {
            number: self.number,
            server: self.plan.connection.servers.get(self.turn)?.clone(),
            subjects: subjects.to_vec(),
            deadline: Instant::now() + timeout,
        };
        if self.plan.start(attempt).is_err() {
            self.failed();
            return Some(self.stuck("the system gives no thread"));
        }
        self.state = State::Trying { number: self.number, give_up_at: now + timeout + GRACE };
        None
    }

    /// A start waits for the connect timeout as a whole: one mute server of several must not use it
    /// up alone.
    fn attempt_timeout(&self) -> Duration {
        let whole = self.plan.connection.connect_timeout;
        let servers = u32::try_from(self.plan.connection.servers.len()).unwrap_or(u32::MAX);
        (whole / servers.clamp(1, 3)).max(whole.min(SHORTEST_ATTEMPT))
    }

    /// Takes note of an attempt's end. False when it had been given up.
    pub(super) fn finished(&mut self, number: u64, success: bool) -> bool {
        if !matches!(self.state, State::Trying { number: current, .. } if current == number) {
            return false;
        }
        if success {
            self.connected_at = self.clock.now();
            self.state = State::Idle { not_before: Timestamp::ZERO };
        } else {
            self.failed();
        }
        true
    }

    /// Takes note of the end of a connection: the next server's turn.
    pub(super) fn lost(&mut self, number: u64) {
        if number != self.number || !matches!(self.state, State::Idle { .. }) {
            // Another attempt is under way already.
            return;
        }
        let lasted = self.clock.now().since(self.connected_at);
        if lasted >= self.plan.connection.reconnect_wait {
            self.failures = 0;
            self.next_turn();
            self.state = State::Idle { not_before: Timestamp::ZERO };
        } else {
            self.failed();
        }
    }

    fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.next_turn();
        self.state = State::Idle { not_before: self.clock.now() + self.pause() };
    }

    fn next_turn(&mut self) {
        self.turn = (self.turn + 1) % self.plan.connection.servers.len().max(1);
    }

    /// None within a round; after it, twice as long as after the one before.
    fn pause(&self) -> Duration {
        let servers = u32::try_from(self.plan.connection.servers.len()).unwrap_or(u32::MAX).max(1);
        if self.failures % servers != 0 {
            return Duration::ZERO;
        }
        let rounds = (self.failures / servers - 1).min(16);
        let longest = self.plan.connection.reconnect_wait;
        let pause = (FIRST_PAUSE * 2_u32.pow(rounds)).min(longest);
        pause.mul_f64(0.5 + random_half())
    }

    fn stuck(&self, reason: &str) -> StoreError {
        let servers: Vec<_> =
            self.plan.connection.servers.iter().map(ToString::to_string).collect();
        StoreError::Unreachable { servers: servers.join(", ").into(), reason: reason.into() }
    }

    /// How long nothing needs to be done, if nothing happens.
    pub(super) fn idle_time(&self, now: Timestamp, wanted: bool) -> Duration {
        match self.state {
            State::Trying { give_up_at, .. } => give_up_at.since(now),
            State::Idle { not_before } if wanted => not_before.since(now),
            State::Idle { .. } | State::Closed => Duration::MAX,
        }
    }

    /// Nothing more is started.
    pub(super) fn close(&mut self) {
        self.state = State::Closed;
        self.plan.closed.store(true, Ordering::Relaxed);
    }

    /// Whether a client or an attempt is left.
    pub(super) fn is_busy(&self) -> bool {
        alive(&self.plan.clients) + alive(&self.plan.attempts) > 0
    }
}

/// How many clones of a counter there are besides the plan's own.
fn alive(counter: &Arc<()>) -> usize {
    Arc::strong_count(counter) - 1
}

/// A number from 0 to 0.5.
fn random_half() -> f64 {
    let mut bits = [0; 2];
    // Without randomness the pauses are the shortest, which is allowed.
    let _ = getrandom::fill(&mut bits);
    f64::from(u16::from_le_bytes(bits)) / f64::from(u16::MAX) / 2.0
}
