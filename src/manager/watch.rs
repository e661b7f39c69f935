//! A live view of a cluster.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::client::ClusterClient;
use super::view::{ClusterView, NodeView, RecordView};
use super::{ManagerError, step};
use crate::clock::{Clock, Timestamp, millis};
use crate::config::Config;
use crate::event::{Event, Role};
use crate::observer::Observer;

/// How long the nodes have to answer, at most; also how late a call may return.
const LISTEN: Duration = Duration::from_millis(400);
/// After this many requests in a row without a response a node is down.
const DOWN_AFTER: u32 = 3;
/// After this many a node is removed from the view.
const FORGOTTEN_AFTER: u32 = 30;

/// A change that a [`ClusterWatch`] reports.
///
/// ```no_run
/// use std::time::Duration;
/// use leasehold::manager::WatchEvent;
/// use leasehold::{Config, Manager};
///
/// let manager = Manager::new(Config::load("cluster.json")?);
/// let mut watch = manager.watch(Duration::from_secs(1))?;
/// while let Some(event) = watch.next_timeout(Duration::from_secs(10)) {
///     match event {
///         WatchEvent::NodeDown { node_id } => eprintln!("{node_id} does not answer"),
///         WatchEvent::RoleChanged { node_id, role } => println!("{node_id} is a {role} now"),
///         WatchEvent::Election(event) => println!("the watch {event}"),
///         _ => {}
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum WatchEvent {
    /// The state of the cluster. Reported once per interval.
    View(ClusterView),
    /// A change of the leader or of the connection, reported at once.
    Election(Event),
    /// A node answers that did not answer before.
    NodeUp {
        /// The node.
        node_id: String,
    },
    /// A node has not answered three requests in a row.
    NodeDown {
        /// The node.
        node_id: String,
    },
    /// A node answers with another role than before.
    RoleChanged {
        /// The node.
        node_id: String,
        /// Its new role.
        role: Role,
    },
}

/// A live view of a cluster. Writes nothing, and never leads.
///
/// ```no_run
/// use std::time::Duration;
/// use leasehold::{Config, Manager};
///
/// let manager = Manager::new(Config::load("cluster.json")?);
/// let mut watch = manager.watch(Duration::from_secs(1))?;
/// while watch.latest().leader.is_none() {
///     let _ = watch.next_timeout(Duration::from_secs(5)); // renews the view
/// }
/// println!("{:?}", watch.latest());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ClusterWatch {
    observer: Observer,
    client: ClusterClient,
    interval: Duration,
    clock: Clock,
    next_at: Timestamp,
    latest: ClusterView,
    /// The leader, its epoch, and when its lease ends, from its latest response.
    lease: Option<(String, u64, Timestamp)>,
    waiting: VecDeque<WatchEvent>,
}

impl fmt::Debug for ClusterWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterWatch").field("latest", &self.latest).finish_non_exhaustive()
    }
}

impl ClusterWatch {
    pub(super) fn start(config: &Config, interval: Duration) -> Result<Self, ManagerError> {
        let patient = config.to_builder().start_disconnected(true).build()?;
        let clock = Clock::boot();
        Ok(Self {
            observer: Observer::start(patient)?,
            client: ClusterClient::new(config)?,
            interval: interval.clamp(Duration::from_millis(100), Duration::from_secs(3600)),
            next_at: clock.now(),
            clock,
            latest: ClusterView::empty(config),
            lease: None,
            waiting: VecDeque::new(),
        })
    }

    /// The next event, within `timeout` and the time that the nodes have to answer (0.4 s, or half
    /// the interval if that is less).
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<WatchEvent> {
        let until = self.clock.now() + timeout;
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            let wait = until.min(self.next_at).since(self.clock.now());
            if let Some(event) = self.observer.events().next_timeout(wait) {
                return Some(WatchEvent::Election(event));
            }
            let now = self.clock.now();
            if now >= self.next_at {
                self.refresh();
            } else if now >= until {
                return None;
            }
        }
    }

    /// The newest view; empty before the first.
    #[must_use]
    pub fn latest(&self) -> &ClusterView {
        &self.latest
    }

    fn refresh(&mut self) {
        let now = self.clock.now();
        self.next_at = now + self.interval;
        let answered = self.client.nodes(step(LISTEN, self.interval / 2));
        let seen = self.observer.status();
        let before = std::mem::take(&mut self.latest.nodes);
        let mut view = ClusterView { problem: None, ..self.latest.clone() };
        // The observer does not notice a server that hangs for a long time.
        view.connected = seen.connected && self.client.server().is_some();
        view.server = self.client.server();
        view.epoch = 0;
        view.set_record(&RecordView::observed(&seen));
        let nodes = answered.unwrap_or_else(|error| {
            view.problem = Some(error.to_string());
            Vec::new()
        });
        view.set_nodes(self.compare(before, nodes));
        self.follow_lease(&mut view);
        self.latest.clone_from(&view);
        self.waiting.push_back(WatchEvent::View(view));
    }

    /// Merges the nodes that answered into the known ones, and queues events for the changes.
    fn compare(&mut self, before: Vec<NodeView>, now: Vec<NodeView>) -> Vec<NodeView> {
        for node in &now {
            let (node_id, role) = (node.status.node_id.clone(), node.status.role);
            match before.iter().find(|known| known.identity() == node.identity()) {
                Some(known) if known.missed < DOWN_AFTER => {
                    if known.status.role != role {
                        self.waiting.push_back(WatchEvent::RoleChanged { node_id, role });
                    }
                }
                _ => self.waiting.push_back(WatchEvent::NodeUp { node_id }),
            }
        }
        let mut nodes = now;
        for mut node in before {
            // A later daemon of the same node takes the place of an earlier one that is gone.
            let again = |one: &NodeView| one.status.node_id == node.status.node_id;
            if nodes.iter().any(again) || node.missed >= FORGOTTEN_AFTER {
                continue;
            }
            node.missed += 1;
            if node.missed == DOWN_AFTER {
                let node_id = node.status.node_id.clone();
                self.waiting.push_back(WatchEvent::NodeDown { node_id });
            }
            nodes.push(node);
        }
        nodes.sort_by(|a, b| a.identity().cmp(&b.identity()));
        nodes
    }

    /// The rest of the lease, also while its holder does not answer.
    fn follow_lease(&mut self, view: &mut ClusterView) {
        let now = self.clock.now();
        if let (Some(left), Some(leader)) = (view.lease_remaining_ms, &view.leader) {
            self.lease = Some((leader.clone(), view.epoch, now + Duration::from_millis(left)));
        }
        let is_current = |(holder, epoch, _): &&(String, u64, Timestamp)| {
            Some(holder) == view.leader.as_ref() && *epoch == view.epoch
        };
        let lease = self.lease.as_ref().filter(is_current);
        view.lease_remaining_ms = lease.map(|(.., until)| millis(until.since(now)));
    }
}
