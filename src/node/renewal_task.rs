//! The renewal thread of a node or an observer: how it is started and stopped.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::NodeHandle;
use crate::clock::Clock;
use crate::config::Config;
use crate::election::{Election, Input, Settings};
use crate::error::{StartError, StoreError};
use crate::events::{Events, queue};
use crate::lease::SessionId;
use crate::renewal::{CLOSE_TIMEOUT, Parts, Renewal, Stopped};
use crate::store::nats::{BucketOptions, NatsStore};
use crate::task::Task;
use crate::vip;

/// How much later than its bound a thread may end before it is left behind.
const GRACE: Duration = Duration::from_secs(1);

/// A running renewal thread. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct RenewalTask {
    pub(crate) handle: NodeHandle,
    pub(super) events: Arc<Events>,
    /// `None` once it was stopped.
    task: Option<Task>,
}

impl RenewalTask {
    /// Starts the thread. Unless the configuration says to start disconnected, this blocks until
    /// the store was read.
    pub(crate) fn start(mut parts: Parts) -> Result<Self, StartError> {
        let (config, clock) = (Arc::clone(&parts.config), parts.clock.clone());
        let session = new_session()?;
        if let Some(warning) = config.timing().warning() {
            log::warn!(cluster = config.cluster_id(), node = config.node_id(); "{warning}");
        }
        let (sink, events) = queue(config.event_capacity());
        parts.sinks.push(sink);
        let (startup, readable) = bounded(16);
        let election = Election::new(settings(&config, session, parts.observer));
        let cell = Arc::clone(election.cell());
        let vips = parts.vip.as_ref().map(vip::Worker::states).unwrap_or_default();
        let (renewal, commands, shared) = Renewal::new(parts, session, election, startup);
        let task = Task::spawn("leasehold-renew", Duration::ZERO, || renewal.run());
        let task = Some(task.map_err(StartError::Thread)?);
        let (missed, started) = (events.missed_counter(), clock.now());
        let handle =
            NodeHandle { config, session, clock, cell, commands, shared, missed, started, vips };
        let running = Self { handle, events: Arc::new(events), task };
        running.wait_until_readable(&readable)?;
        Ok(running)
    }

    fn wait_until_readable(
        &self,
        readable: &Receiver<Result<(), StoreError>>,
    ) -> Result<(), StartError> {
        let config = &self.handle.config;
        if config.start_disconnected() {
            return Ok(());
        }
        // Real time, also when the node has a clock that nothing moves.
        let clock = Clock::boot();
        let until = clock.now() + config.connect_timeout();
        let mut problem = no_response(config);
        // Another server may answer after one that refuses.
        let (mut refusals, servers) = (0, config.servers().count());
        loop {
            match readable.recv_timeout(until.since(clock.now())) {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) if error.may_pass() => {
                    // A server that may come is waited for, whatever the others say.
                    if matches!(error, StoreError::Unreachable { .. }) {
                        refusals = 0;
                    }
                    // What an operator must put right is worth more.
                    if problem.may_pass() {
                        problem = error;
                    }
                }
                Ok(Err(error)) => {
                    refusals += 1;
                    if !error.is_of_one_server() || refusals >= servers {
                        return Err(StartError::Store(error));
                    }
                    problem = error;
                }
                Err(_) => return Err(StartError::Store(problem)),
            }
        }
    }

    pub(crate) fn events(&self) -> &Events {
        &self.events
    }

    /// Stops within `timeout`, plus a moment of scheduling. Does nothing in a forked child.
    pub(crate) fn stop(&mut self, timeout: Duration) -> Stopped {
        let unreleased = Stopped { left_to_expire: true };
        let Some(task) = self.task.take() else { return unreleased };
        if self.handle.shared.is_inherited() {
            return unreleased;
        }
        // Nobody can take from the node's own queue any more, unless the C API holds it too.
        if let Some(events) = Arc::get_mut(&mut self.events) {
            events.abandon();
        }
        let until = self.handle.clock.now() + timeout;
        self.handle.commands.send(Input::Stop { until });
        if !task.has_ended_within(timeout) {
            // Real time has passed. A clock that a test moves may not read `until` yet.
            self.handle.commands.send(Input::Stop { until: self.handle.clock.now() });
        }
        // A thread that hangs is left behind: its term ends at the deadline.
        if !task.join(CLOSE_TIMEOUT + GRACE) {
            log::error!("the renewal thread does not end; it is left behind");
        }
        self.handle.cell.end();
        self.handle.shared.read(|snapshot| snapshot.stopped).unwrap_or(unreleased)
    }
}

impl Drop for RenewalTask {
    fn drop(&mut self) {
        if self.task.is_some() {
            self.stop(self.handle.config.stop_timeout());
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

/// The error of a start during which no server reported anything.
fn no_response(config: &Config) -> StoreError {
    let servers: Vec<_> = config.servers().collect();
    if servers.is_empty() {
        return StoreError::TimedOut;
    }
    let reason = format!("no response within {:?}", config.connect_timeout());
    StoreError::Unreachable { servers: servers.join(", ").into(), reason: reason.into() }
}

fn new_session() -> Result<SessionId, StartError> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|error| StartError::Random(error.to_string()))?;
    Ok(SessionId::from_bits(u128::from_ne_bytes(bits)))
}

/// The store that the configuration names.
pub(crate) fn nats_store(config: &Config, clock: Clock) -> Result<NatsStore, StartError> {
    NatsStore::new(config.connection(), BucketOptions::of(config), clock).map_err(StartError::Store)
}
