//! A renewal thread with the handles to it: what a node and an observer have in common.

use std::mem::{forget, replace};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use crate::clock::{Clock, Timestamp};
use crate::config::{Config, ConfigError, InvalidId, check_meta, check_node_id};
use crate::election::{Election, Input, Settings};
use crate::error::{Refused, StartError, StoreError, WaitError};
use crate::event::{Reason, Role};
use crate::events::{EventSink, Events, Missed, queue};
use crate::leadership::{Leadership, TermCell};
use crate::lease::{Epoch, SessionId};
use crate::renewal::{Board, Orders, Parts, Renewal, View};
use crate::store::Store;
use crate::store::nats::{BucketOptions, NatsStore};
use crate::task::Task;
use crate::vip;

/// How long closing the connection may take after the election has stopped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// What scheduling may add to a bound before a thread that does not end is left behind.
const GRACE: Duration = Duration::from_secs(1);

/// What can be seen of a renewal thread and asked of it, from anywhere; keeps nothing running.
#[derive(Clone, Debug)]
pub(crate) struct Core {
    pub(crate) config: Arc<Config>,
    pub(crate) session: SessionId,
    pub(crate) clock: Clock,
    pub(crate) cell: Arc<TermCell>,
    pub(crate) orders: Orders,
    pub(crate) board: Arc<Board>,
    pub(crate) missed: Missed,
    pub(crate) started: Timestamp,
    /// Whether the virtual IPs are held here.
    pub(crate) vip_held: Arc<AtomicBool>,
}

/// A started renewal thread.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) core: Core,
    pub(crate) events: Events,
    /// `None` once it was stopped.
    task: Option<Task>,
}

impl Core {
    /// The token of the present term, if there is one.
    pub(crate) fn leadership(&self) -> Option<Leadership> {
        let (epoch, _) = self.cell.in_force(&self.clock)?;
        let (cell, clock) = (Arc::clone(&self.cell), self.clock.clone());
        Some(Leadership::new(cell, clock, Epoch::new(epoch)?, self.session))
    }

    pub(crate) fn role(&self) -> Role {
        if self.cell.in_force(&self.clock).is_some() { Role::Leader } else { Role::Follower }
    }

    /// Tells the loop whether the application is fit to lead.
    pub(crate) fn set_healthy(&self, healthy: bool) {
        // Refused only when the node has stopped, or has nothing to step down from; where the loop
        // hangs it stands.
        let _ = self.orders.ask(Input::SetHealthy(healthy));
    }

    /// Gives the loop a value for the records to carry.
    pub(crate) fn set_meta(&self, meta: Option<serde_json::Value>) -> Result<(), ConfigError> {
        if let Some(meta) = &meta {
            check_meta(meta)?;
        }
        // Refused only when the node has stopped, and carries nothing any more; where the loop
        // hangs it stands.
        let _ = self.orders.ask(Input::SetMeta(meta));
        Ok(())
    }

    pub(crate) fn transfer_to(&self, node_id: &str) -> Result<(), TransferError> {
        check_node_id(node_id)?;
        Ok(self.orders.ask_resign(Reason::Transfer { to: node_id.to_owned() })?)
    }

    /// Waits until `look` finds what it wants.
    pub(crate) fn wait<T>(
        &self,
        timeout: Duration,
        mut look: impl FnMut(&View) -> Option<T>,
    ) -> Result<T, WaitError> {
        if self.board.is_inherited() {
            return Err(WaitError::Forked);
        }
        let until = self.clock.now() + timeout;
        let found = self.board.wait(&self.clock, until, |view| match view.ended {
            Some(_) => Some(Err(WaitError::Stopped)),
            None => look(view).map(Ok),
        });
        found.unwrap_or(Err(WaitError::TimedOut))
    }
}

impl Deref for Running {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

/// Why a transfer was not begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The text is not a node id.
    #[error(transparent)]
    NodeId(#[from] InvalidId),
    /// The node refused.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// What to start besides the configuration.
pub(crate) struct Start {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Box<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) observer: bool,
    /// Further listeners: hooks, say.
    pub(crate) sinks: Vec<EventSink>,
    pub(crate) vip: Option<vip::Worker>,
}

impl Running {
    /// Starts the thread and, unless told to start disconnected, waits until the store was read.
    pub(crate) fn start(start: Start) -> Result<Self, StartError> {
        let Start { config, store, clock, observer, mut sinks, vip } = start;
        let session = new_session()?;
        if let Some(warning) = config.timing().warning() {
            log::warn!(cluster = config.cluster_id(), node = config.node_id(); "{warning}");
        }
        let (sink, events) = queue(config.event_capacity());
        sinks.push(sink);
        let (startup, usable) = bounded(16);
        let election = Election::new(settings(&config, session, observer));
        let cell = Arc::clone(election.cell());
        let vip_held = vip.as_ref().map(vip::Worker::held).unwrap_or_default();
        let (renewal, orders, board) = Renewal::new(Parts {
            cluster_id: config.cluster_id().to_owned(),
            node_id: config.node_id().to_owned(),
            session,
            election,
            store,
            clock: clock.clone(),
            sinks,
            vip,
            startup,
            close_timeout: CLOSE_TIMEOUT,
        });
        let task = Task::spawn("leasehold-renew", Duration::ZERO, || renewal.run());
        let task = Some(task.map_err(StartError::Thread)?);
        let (missed, started) = (events.missed_counter(), clock.now());
        let core = Core { config, session, clock, cell, orders, board, missed, started, vip_held };
        let running = Self { core, events, task };
        running.wait_until_usable(&usable)?;
        Ok(running)
    }

    fn wait_until_usable(
        &self,
        usable: &Receiver<Result<(), StoreError>>,
    ) -> Result<(), StartError> {
        if self.config.start_disconnected() {
            return Ok(());
        }
        let until = self.clock.now() + self.config.connect_timeout();
        let mut problem = unanswered(&self.config);
        loop {
            match usable.recv_timeout(until.since(self.clock.now())) {
                Ok(Ok(())) => return Ok(()),
                // The first server of several may be down; credentials are wrong everywhere.
                Ok(Err(error)) if error.may_pass() => problem = error,
                Ok(Err(error)) => return Err(StartError::Store(error)),
                Err(_) => return Err(StartError::Store(problem)),
            }
        }
    }

    /// Stops within `bound`, give or take a moment of scheduling. False when a lease was left to
    /// lapse. Nothing is stopped from within a forked child.
    pub(crate) fn stop(&mut self, bound: Duration) -> bool {
        let Some(task) = self.task.take() else { return true };
        if self.board.is_inherited() {
            // Other threads of the parent may have held its locks.
            forget(replace(&mut self.events, Events::nobodys()));
            return false;
        }
        let until = self.clock.now() + bound;
        // What only this handle could still take goes with it, and the drain guards in it.
        self.events = Events::nobodys();
        self.orders.leave(Input::Stop { until });
        // A thread that hangs is left behind: its term ends at the deadline in any case.
        if !task.join(bound + CLOSE_TIMEOUT + GRACE) {
            log::error!("the renewal thread does not end; it is left behind");
        }
        self.cell.end();
        self.board.read(|view| view.ended == Some(false))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.task.is_some() {
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
    NatsStore::new(config.connection(), BucketOptions::of(config), clock)
}
