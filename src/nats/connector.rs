//! When to connect, and to which server.
//!
//! Servers are tried one after the other. The first attempt is immediate. After a whole round
//! without success there is a pause, which doubles with every round up to the configured one and is
//! drawn from its upper half, so that nodes do not come back in step. A connection that lasted
//! shorter than the longest pause counts as a failure: a server that accepts and then hangs up is
//! not hammered.

use std::time::Duration;

use super::transport::{Peer, Transport};
use super::unreachable;
use crate::clock::{Clock, Timestamp};
use crate::config::connection::ConnectionSettings;
use crate::error::StoreError;

/// The pause after the first round.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// One attempt of several gets at least this much of the connect timeout.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);
/// The time beyond its own deadline after which an attempt is given up as stuck.
const GRACE: Duration = Duration::from_millis(500);

#[derive(Debug, PartialEq)]
enum State {
    /// No attempt is under way; the next one may start then.
    Idle {
        not_before: Timestamp,
    },
    Trying {
        give_up_at: Timestamp,
    },
    Closed,
}

/// See the [module](self).
pub(super) struct Connector {
    settings: ConnectionSettings,
    clock: Clock,
    state: State,
    /// Index of the server whose turn it is.
    turn: usize,
    /// Failures in a row.
    failures: u32,
    connected_at: Timestamp,
    /// The last connection has not been followed by another attempt yet.
    fresh: bool,
}

impl Connector {
    pub(super) fn new(settings: ConnectionSettings, clock: Clock) -> Self {
        Self {
            settings,
            clock,
            state: State::Idle { not_before: Timestamp::ZERO },
            turn: 0,
            failures: 0,
            connected_at: Timestamp::ZERO,
            fresh: false,
        }
    }

    /// Takes the result of an attempt, gives up one that is stuck, or starts one if another
    /// connection is `wanted` and it is time. `replacement` says whether there is one now.
    pub(super) fn poll(
        &mut self,
        transport: &mut dyn Transport,
        wanted: bool,
        replacement: bool,
    ) -> Option<Result<Peer, StoreError>> {
        let now = self.clock.now();
        match self.state {
            State::Trying { give_up_at } => match transport.finished(now) {
                Some(result) => Some(self.finished(result, now)),
                None if now >= give_up_at => {
                    transport.give_up();
                    self.failed();
                    Some(Err(unreachable(&self.settings, "no result in time")))
                }
                None => None,
            },
            State::Idle { not_before } if wanted && now >= not_before => {
                self.start(transport, now, replacement).map(Err)
            }
            State::Idle { .. } | State::Closed => None,
        }
    }

    fn start(
        &mut self,
        transport: &mut dyn Transport,
        now: Timestamp,
        replacement: bool,
    ) -> Option<StoreError> {
        if replacement && self.servers() == 1 {
            // There is no other server; this one will close the connection.
            self.state = State::Idle { not_before: now + Duration::from_secs(1) };
            return None;
        }
        // It is the next server's turn, with a pause if the last connection was a short one: a
        // server may accept connections and say each time that it is about to shut down.
        if std::mem::take(&mut self.fresh) && replacement {
            self.follow();
            return None;
        }
        let timeout = self.attempt_timeout();
        let server = self.settings.servers.get(self.turn)?;
        if let Err(error) = transport.connect(server, timeout, now) {
            self.failed();
            return Some(error);
        }
        self.state = State::Trying { give_up_at: now + timeout + GRACE };
        None
    }

    /// A start waits for the connect timeout as a whole: one mute server of several must not use it
    /// up alone.
    fn attempt_timeout(&self) -> Duration {
        let whole = self.settings.connect_timeout;
        (whole / self.servers().clamp(1, 3)).max(whole.min(SHORTEST_ATTEMPT))
    }

    fn servers(&self) -> u32 {
        u32::try_from(self.settings.servers.len()).unwrap_or(u32::MAX)
    }

    fn finished(
        &mut self,
        result: Result<Peer, StoreError>,
        now: Timestamp,
    ) -> Result<Peer, StoreError> {
        if result.is_ok() {
            self.connected_at = now;
            self.fresh = true;
            self.state = State::Idle { not_before: Timestamp::ZERO };
        } else {
            self.failed();
        }
        result
    }

    /// Takes note of the end of the last connection: it is the next server's turn.
    pub(super) fn lost(&mut self) {
        if !matches!(self.state, State::Idle { .. }) {
            // An attempt for its replacement is under way already.
            return;
        }
        self.follow();
    }

    /// After the last connection it is the next server's turn.
    fn follow(&mut self) {
        let lasted = self.clock.now().since(self.connected_at);
        if lasted >= self.settings.reconnect_wait {
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
        self.turn = (self.turn + 1) % self.settings.servers.len().max(1);
    }

    /// None within a round; after it, twice as long as after the one before.
    fn pause(&self) -> Duration {
        let servers = self.servers().max(1);
        if self.failures % servers != 0 {
            return Duration::ZERO;
        }
        let rounds = (self.failures / servers - 1).min(16);
        let longest = self.settings.reconnect_wait;
        let pause = (FIRST_PAUSE * 2_u32.pow(rounds)).min(longest);
        pause.mul_f64(0.5 + random_half())
    }

    /// When something needs to be done if nothing happens.
    pub(super) fn next_at(&self, wanted: bool) -> Option<Timestamp> {
        match self.state {
            State::Trying { give_up_at } => Some(give_up_at),
            State::Idle { not_before } => wanted.then_some(not_before),
            State::Closed => None,
        }
    }

    /// Starts nothing more.
    pub(super) fn close(&mut self) {
        self.state = State::Closed;
    }
}

/// A number from 0 to 0.5.
fn random_half() -> f64 {
    let mut bits = [0; 2];
    // Without random bits the pauses are the shortest, which is allowed.
    let _ = getrandom::fill(&mut bits);
    f64::from(u16::from_le_bytes(bits)) / f64::from(u16::MAX) / 2.0
}
