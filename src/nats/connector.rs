//! When to connect, and to which server.
//!
//! Servers are tried one after the other. The first attempt is immediate. After a whole round
//! without success there is a pause, which doubles with every round up to the configured one and is
//! drawn from its upper half, so that nodes do not come back in step. A connection that lasted
//! shorter than the longest pause counts as a failure: a server that accepts and then hangs up is
//! not hammered.

use std::time::Duration;

use super::round::Round;
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

/// What came of an attempt.
#[derive(Debug)]
pub(super) enum Attempted {
    Connected(Peer),
    /// It failed, and other servers of the round are still to be tried.
    Failed,
    /// It failed, and so have all other servers since the round began.
    RoundFailed(StoreError),
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
    round: Round,
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
            round: Round::default(),
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
    ) -> Option<Attempted> {
        let now = self.clock.now();
        match self.state {
            State::Trying { give_up_at } => match transport.finished(now) {
                Some(Ok(peer)) => Some(self.connected(peer, now)),
                Some(Err(error)) => Some(self.attempt_failed(error)),
                None if now >= give_up_at => {
                    transport.give_up();
                    let server = self.settings.servers.get(self.turn)?;
                    Some(self.attempt_failed(unreachable(server, "no result in time")))
                }
                None => None,
            },
            State::Idle { not_before } if wanted && now >= not_before => {
                self.start(transport, now, replacement)
            }
            State::Idle { .. } | State::Closed => None,
        }
    }

    fn start(
        &mut self,
        transport: &mut dyn Transport,
        now: Timestamp,
        replacement: bool,
    ) -> Option<Attempted> {
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
            return Some(self.attempt_failed(error));
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

    fn connected(&mut self, peer: Peer, now: Timestamp) -> Attempted {
        self.connected_at = now;
        self.fresh = true;
        self.state = State::Idle { not_before: Timestamp::ZERO };
        self.round.end();
        Attempted::Connected(peer)
    }

    fn attempt_failed(&mut self, error: StoreError) -> Attempted {
        log::debug!(connection = self.settings.name.as_str(); "{error}");
        let round = self.round.failed(self.turn, error, &self.settings.servers);
        self.failed();
        round.map_or(Attempted::Failed, Attempted::RoundFailed)
    }

    /// What is known of the servers that failed since the last round ended.
    pub(super) fn failures(&self) -> Option<StoreError> {
        self.round.summary(&self.settings.servers)
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

#[cfg(test)]
mod tests {
    use super::super::transport::{Incoming, Outgoing, Sent};
    use super::super::version::Version;
    use super::*;
    use crate::config::Config;
    use crate::config::connection::ServerAddress;
    use crate::wait::Waker;

    /// Servers that refuse every connection, but for that of one attempt.
    #[derive(Default)]
    struct Refusing {
        trying: Option<String>,
        /// The servers that were tried.
        tried: Vec<String>,
        succeed: Option<usize>,
    }

    impl Transport for Refusing {
        fn connect(
            &mut self,
            server: &ServerAddress,
            _timeout: Duration,
            _now: Timestamp,
        ) -> Result<(), StoreError> {
            self.trying = Some(server.to_string());
            Ok(())
        }

        fn give_up(&mut self) {
            self.trying = None;
        }

        fn finished(&mut self, _now: Timestamp) -> Option<Result<Peer, StoreError>> {
            let server = self.trying.take()?;
            self.tried.push(server.clone());
            if self.succeed == Some(self.tried.len()) {
                let (version, inbox_prefix) = (Version::default(), "_INBOX".to_owned());
                return Some(Ok(Peer { server, version, inbox_prefix }));
            }
            let servers = server.into();
            Some(Err(StoreError::Unreachable { servers, reason: "refused".into() }))
        }

        fn next(&mut self, _now: Timestamp) -> Option<Incoming> {
            None
        }

        fn send(&mut self, _message: &Outgoing) -> Sent {
            Sent::Closed
        }

        fn set_hints(&mut self, _subject: &str) {}

        fn is_leaving(&self) -> bool {
            false
        }

        fn disconnect(&mut self, _now: Timestamp) {}

        fn waker(&self) -> Waker {
            Waker::new(|| {})
        }

        fn look(&mut self) {}

        fn take_wake(&mut self) -> bool {
            false
        }

        fn next_at(&self, _now: Timestamp) -> Option<Timestamp> {
            None
        }

        fn wait(&mut self, _at_most: Duration) {}

        fn close(&mut self, _until: Timestamp) {}
    }

    struct Scene {
        clock: Clock,
        connector: Connector,
        transport: Refusing,
    }

    impl Scene {
        fn new(servers: &[&str]) -> Self {
            let config = Config::new("c", "n", servers.to_vec()).unwrap();
            let clock = Clock::manual(Timestamp::ZERO);
            let connector = Connector::new(config.connection().clone(), clock.clone());
            Self { clock, connector, transport: Refusing::default() }
        }

        /// The errors of rounds in the next `attempts` attempts.
        fn rounds(&mut self, attempts: usize) -> Vec<String> {
            let (mut rounds, until) = (Vec::new(), self.transport.tried.len() + attempts);
            while self.transport.tried.len() < until {
                match self.connector.poll(&mut self.transport, true, false) {
                    Some(Attempted::RoundFailed(error)) => rounds.push(error.to_string()),
                    Some(Attempted::Connected(_)) => self.connector.lost(),
                    Some(Attempted::Failed) | None => {}
                }
                let next = self.connector.next_at(true).unwrap_or(Timestamp::ZERO);
                self.clock.advance(next.since(self.clock.now()).min(Duration::from_secs(1)));
            }
            rounds
        }
    }

    const ALL: &str = "no connection to nats://a:4222 (refused), nats://b:4222 (refused), \
                       nats://c:4222 (refused)";

    #[test]
    fn a_round_of_the_list_has_one_error_which_stays_the_same() {
        let mut scene = Scene::new(&["a", "b", "c"]);
        assert_eq!(scene.rounds(2), [""; 0]);
        assert_eq!(scene.connector.failures().unwrap().to_string().matches("refused").count(), 2);
        assert_eq!(scene.rounds(28), [ALL; 10]);
        let turns = scene
            .transport
            .tried
            .chunks(3)
            .all(|round| round == ["nats://a:4222", "nats://b:4222", "nats://c:4222"]);
        assert!(turns, "{:?}", scene.transport.tried);
    }

    /// The round begins at another server then.
    #[test]
    fn the_error_after_a_connection_names_every_server_in_the_same_order() {
        let mut scene = Scene::new(&["a", "b", "c"]);
        scene.transport.succeed = Some(2);
        assert_eq!(scene.rounds(2), [""; 0]);
        assert_eq!(scene.rounds(9), [ALL; 3]);
    }

    #[test]
    fn one_server_has_an_error_for_each_attempt() {
        let mut scene = Scene::new(&["a"]);
        assert_eq!(scene.rounds(3), ["no connection to nats://a:4222: refused"; 3]);
    }
}
