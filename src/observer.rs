//! An observer: who leads, without taking part.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::Config;
use crate::error::{StartError, WaitError};
use crate::event::Role;
use crate::events::Events;
use crate::lease::Epoch;
use crate::node::{Stats, Status};
use crate::running::{Running, Start, nats_store};
use crate::store::Store;

/// Follows an election without ever writing: it creates no bucket and never leads.
///
/// It needs no permission to write. It hears of changes by notices, and looks for itself once per
/// TTL or 30 s, whichever is longer.
#[derive(Debug)]
pub struct Observer(Running);

impl Observer {
    /// Starts an observer, and returns once the bucket was read or found missing. Blocks as
    /// [`Node::start`](crate::Node::start) does.
    ///
    /// # Errors
    /// [`StartError`]: nothing is left running.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let clock = Clock::boot();
        let store = nats_store(&config, clock.clone());
        Self::on(config, store, clock)
    }

    /// An observer of another store, or with another clock.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn on(
        config: Config,
        store: impl Store + 'static,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let (config, store) = (Arc::new(config), Box::new(store));
        let start = Start { config, store, clock, observer: true, sinks: Vec::new(), vip: None };
        Running::start(start).map(Self)
    }

    /// The holder's node id; `None` when there is none, or none was heard of for a TTL.
    #[must_use]
    pub fn leader(&self) -> Option<String> {
        self.0.board.read(|view| view.leader.as_ref().map(|(leader, _)| leader.clone()))
    }

    /// The application value of the newest record.
    #[must_use]
    pub fn leader_meta(&self) -> Option<serde_json::Value> {
        self.0.board.read(|view| view.leader_meta.clone())
    }

    /// The highest epoch seen; `None` before anything is known.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.0.board.read(|view| view.highest_epoch)
    }

    /// Whether there is a connection.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.board.read(|view| view.connected)
    }

    /// Leader and connection changes.
    #[must_use]
    pub fn events(&self) -> &Events {
        self.0.events.attach();
        &self.0.events
    }

    /// Everything at one moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let running = &self.0;
        running.board.read(|view| Status::of(running, Role::Follower, view))
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let running = &self.0;
        running.board.read(|view| Stats::of(running, view))
    }

    /// Waits until a leader is known, and names it.
    ///
    /// # Errors
    /// [`WaitError`] when none is within `timeout`, or the observer has stopped.
    pub fn wait_for_leader(&self, timeout: Duration) -> Result<String, WaitError> {
        self.0.wait(timeout, |view| view.leader.as_ref().map(|(leader, _)| leader.clone()))
    }

    /// Ends every thread, within the stop timeout (default 5 s); so does dropping.
    pub fn stop(mut self) {
        let bound = self.0.config.stop_timeout();
        self.0.stop(bound);
    }
}
