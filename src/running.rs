//! A renewal thread with the handles to it: what a node and an observer have in common.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::election::{Election, Input, Settings};
use crate::error::{StartError, StoreError, WaitError};
use crate::events::{EventSink, Events, queue};
use crate::leadership::TermCell;
use crate::lease::SessionId;
use crate::renewal::{Board, Follower, Orders, Parts, Renewal, View};
use crate::store::Store;
use crate::store::nats::{BucketOptions, NatsStore};
use crate::thread;

/// How long closing the connection may take after the election has stopped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// What scheduling may add to a bound before a thread that does not end is left behind.
const GRACE: Duration = Duration::from_secs(1);

/// A started renewal thread.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) config: Arc<Config>,
    pub(crate) session: SessionId,
    pub(crate) clock: Clock,
    pub(crate) cell: Arc<TermCell>,
    pub(crate) orders: Orders,
    pub(crate) board: Arc<Board>,
    pub(crate) events: Events,
    thread: Option<JoinHandle<()>>,
    ended: Receiver<()>,
}

/// What to start besides the configuration.
pub(crate) struct Start {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Box<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) observer: bool,
    /// Further listeners: hooks, say.
    pub(crate) sinks: Vec<EventSink>,
    pub(crate) follower: Option<Box<dyn Follower>>,
}

impl Running {
    /// Starts the thread and, unless told to start disconnected, waits until the store was read.
    pub(crate) fn start(start: Start) -> Result<Self, StartError> {
        let Start { config, store, clock, observer, mut sinks, follower } = start;
        let session = new_session()?;
        if let Some(warning) = config.timing().warning() {
            log::warn!(cluster = config.cluster_id(), node = config.node_id(); "{warning}");
        }
        let (sink, events) = queue(config.event_capacity());
        sinks.push(sink);
        let (startup, started) = bounded(16);
        let election = Election::new(settings(&config, session, observer));
        let cell = Arc::clone(election.cell());
        let (renewal, orders, board) = Renewal::new(Parts {
            cluster_id: config.cluster_id().to_owned(),
            node_id: config.node_id().to_owned(),
            session,
            election,
            store,
            clock: clock.clone(),
            sinks,
            follower,
            startup,
            close_timeout: CLOSE_TIMEOUT,
        });
        let (ends, ended) = bounded::<()>(0);
        let thread = thread::spawn("leasehold-renew", move || {
            renewal.run();
            drop(ends);
        })
        .map_err(StartError::Thread)?;
        let thread = Some(thread);
        let running = Self { config, session, clock, cell, orders, board, events, thread, ended };
        running.wait_until_usable(&started)?;
        Ok(running)
    }

    fn wait_until_usable(
        &self,
        started: &Receiver<Result<(), StoreError>>,
    ) -> Result<(), StartError> {
        if self.config.start_disconnected() {
            return Ok(());
        }
        let until = self.clock.now() + self.config.connect_timeout();
        let mut problem = unanswered(&self.config);
        loop {
            match started.recv_timeout(until.since(self.clock.now())) {
                Ok(Ok(())) => return Ok(()),
                // The first server of several may be down; credentials are wrong everywhere.
                Ok(Err(error)) if error.may_pass() => problem = error,
                Ok(Err(error)) => return Err(StartError::Store(error)),
                Err(_) => return Err(StartError::Store(problem)),
            }
        }
    }

    /// Waits until `look` finds what it wants.
    pub(crate) fn wait<T>(
        &self,
        timeout: Duration,
        mut look: impl FnMut(&View) -> Option<T>,
    ) -> Result<T, WaitError> {
        let until = self.clock.now() + timeout;
        let found = self.board.wait(&self.clock, until, |view| match view.ended {
            Some(_) => Some(Err(WaitError::Stopped)),
            None => look(view).map(Ok),
        });
        found.unwrap_or(Err(WaitError::TimedOut))
    }

    /// Stops within `bound`, give or take a moment of scheduling. False when a lease was left to
    /// lapse.
    pub(crate) fn stop(&mut self, bound: Duration) -> bool {
        let until = self.clock.now() + bound;
        // What only this handle could still take goes with it, and the drain guards in it.
        self.events = Events::nobodys();
        self.orders.leave(Input::Stop { until });
        self.join(until + CLOSE_TIMEOUT + GRACE);
        self.board.read(|view| view.ended == Some(false))
    }

    fn join(&mut self, until: Timestamp) {
        let Some(thread) = self.thread.take() else { return };
        match self.ended.recv_timeout(until.since(self.clock.now())) {
            Err(RecvTimeoutError::Disconnected) => drop(thread.join()),
            // The term has ended by its deadline; what the thread hangs on is no reason to hang.
            _ => log::error!("the renewal thread does not end; it is left behind"),
        }
        self.cell.end();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop(self.config.stop_timeout());
        }
    }
}

fn settings(config: &Config, session: SessionId, observer: bool) -> Settings {
    Settings {
        node_id: config.node_id().to_owned(),
        session,
        timing: config.timing().clone(),
        cooldown: config.cooldown().unwrap_or(config.lease_ttl()),
        drain_timeout: config.drain_timeout(),
        strict_bootstrap: config.strict_bootstrap(),
        observer,
        meta: config.meta().cloned(),
    }
}

/// What a start fails with that has heard nothing at all, of a server that is mute, say.
fn unanswered(config: &Config) -> StoreError {
    let servers: Vec<_> = config.servers().collect();
    let reason = format!("no answer within {:?}", config.connect_timeout());
    StoreError::Unreachable { servers: servers.join(", ").into(), reason: reason.into() }
}

fn new_session() -> Result<SessionId, StartError> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|error| StartError::Random(error.to_string()))?;
    Ok(SessionId::from_bits(u128::from_ne_bytes(bits)))
}

/// The store that a configuration names.
pub(crate) fn nats_store(config: &Config, clock: Clock) -> NatsStore {
    let bucket = BucketOptions {
        cluster_id: config.cluster_id().to_owned(),
        replicas: u8::try_from(config.replicas()).unwrap_or(u8::MAX),
        min_max_age: config.timing().shortest_max_age(),
    };
    NatsStore::new(config.connection().clone(), bucket, clock)
}
