//! Nodes as processes of their own, and what their logs prove.
//!
//! A test binary that says `mod nodes;` needs one test in which it becomes such a process:
//!
//! ```ignore
//! #[test]
//! fn node_process() {
//!     nodes::role::play();
//! }
//! ```
//!
//! [`Nodes`] starts the processes of one cluster and tells them what to do. When it is dropped it
//! checks over all their logs that no two of them ever led at once and that epochs only rose; the
//! boot-time clock, with which every line is stamped, is the same for all processes of a host.
#![allow(dead_code, reason = "each test binary uses a part of this module")]
#![allow(unreachable_pub, reason = "`pub` marks what a part offers to the tests")]

pub mod process;
pub mod role;
pub mod timeline;

use std::ops::{Index, IndexMut};
use std::thread;
use std::time::Duration;

use leasehold::config::ConfigBuilder;
use leasehold::{Config, clock::Clock};

pub use process::NodeProcess;
pub use timeline::{Findings, Term};

use crate::support::wait::eventually_some;

/// Nothing that is waited for takes this long; a loaded machine may.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A configuration for tests: the default TTL of 10 s, which no loaded machine exceeds, renewals
/// every 0.5 s, quick to connect again.
pub fn config(url: &str) -> ConfigBuilder {
    Config::builder("orders", "unnamed", [url])
        .renew_interval(Duration::from_millis(500))
        .reconnect_wait(Duration::from_millis(200))
}

/// The present moment, as every line of a log has it.
pub fn now() -> u64 {
    Clock::boot().now().as_nanos()
}

/// A duration in the unit of [`now`].
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("less than 584 years")
}

/// Prints a figure, for whoever runs the test with `--nocapture`.
pub fn measured(what: &str, mut millis: Vec<f64>) {
    millis.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (millis.first(), millis.last()) else { return };
    let (median, count) = (millis[millis.len() / 2], millis.len());
    println!("measured: {what}: {least:.1}/{median:.1}/{most:.1} ms (min/median/max of {count})");
}

/// The milliseconds from `from` to `to`, both as [`now`] has them; negative when `to` is earlier.
#[allow(clippy::cast_precision_loss, reason = "a figure to be read by people")]
pub fn millis_between(from: u64, to: u64) -> f64 {
    if to < from { -millis_between(to, from) } else { (to - from) as f64 / 1e6 }
}

/// The nodes of one cluster.
#[derive(Debug)]
pub struct Nodes {
    config: ConfigBuilder,
    all: Vec<NodeProcess>,
    /// The history was judged by somebody else than [`Drop`].
    judged: bool,
}

impl Nodes {
    /// A cluster without nodes yet; they will be configured with `config`.
    pub fn new(config: ConfigBuilder) -> Self {
        Self { config, all: Vec::new(), judged: false }
    }

    /// A cluster of nodes that are started one after the other.
    pub fn started(config: ConfigBuilder, names: &[&str]) -> Self {
        let mut nodes = Self::new(config);
        for name in names {
            nodes.start(name);
        }
        nodes
    }

    /// Starts another node, and returns its place when it has started.
    #[track_caller]
    pub fn start(&mut self, name: &str) -> usize {
        let config = self.config.clone().node_id(name);
        self.start_as(config)
    }

    /// Starts a node with a configuration of its own.
    #[track_caller]
    pub fn start_as(&mut self, config: ConfigBuilder) -> usize {
        self.add(NodeProcess::start(&config.build().expect("a valid configuration")))
    }

    /// Takes in a node that was started otherwise, and returns its place when it has started.
    #[track_caller]
    pub fn add(&mut self, mut node: NodeProcess) -> usize {
        node.started();
        self.take(node)
    }

    /// Takes in a process as it is, and returns its place.
    pub fn take(&mut self, node: NodeProcess) -> usize {
        self.all.push(node);
        self.all.len() - 1
    }

    /// Every node, by its place.
    pub fn iter(&self) -> impl Iterator<Item = &NodeProcess> {
        self.all.iter()
    }

    /// Every node.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut NodeProcess> {
        self.all.iter_mut()
    }

    /// The place of the node that says it leads, as soon as one does.
    #[track_caller]
    pub fn leader(&mut self) -> usize {
        eventually_some(PATIENCE, "a leader", || {
            (0..self.all.len()).find(|at| self.all[*at].is_alive() && self.all[*at].leads())
        })
    }

    /// Returns when every node names the node at `leader`.
    #[track_caller]
    pub fn agree_on(&mut self, leader: usize) {
        let name = self.all[leader].name().to_owned();
        for node in self.all.iter_mut().filter(|node| node.is_alive()) {
            node.knows_leader(&name);
        }
    }

    /// The place of the node that leads, as soon as all agree on one, whichever it is.
    #[track_caller]
    pub fn agree(&mut self) -> usize {
        eventually_some(PATIENCE, "all to agree on a leader", || {
            let leader = self.leader();
            let name = self.all[leader].name().to_owned();
            let mut alive = self.all.iter_mut().filter(|node| node.is_alive());
            alive.all(|node| node.status()["leader"] == name).then_some(leader)
        })
    }

    /// The highest epoch that any of them has led.
    pub fn highest_epoch(&self) -> u64 {
        self.terms().last().map_or(0, |term| term.epoch)
    }

    /// The terms led so far, as far as they were logged, by epoch.
    pub fn terms(&self) -> Vec<Term> {
        let terms = self.all.iter().enumerate().flat_map(|(at, node)| timeline::of(at, node));
        let mut terms = terms.collect::<Vec<_>>();
        terms.sort_by_key(|term| term.epoch);
        terms
    }

    /// Ends all processes at once, as a power cut would.
    pub fn kill_all(&mut self) {
        for node in &mut self.all {
            node.kill();
        }
    }

    /// The times between two moments, of which all is logged, in which nobody led.
    pub fn gaps(&mut self, from: u64, to: u64) -> Vec<(u64, u64)> {
        self.all.iter_mut().for_each(NodeProcess::catch_up);
        timeline::gaps(&self.all, from, to)
    }

    /// Ends all processes and says what is wrong with what they have logged.
    pub fn judge(&mut self) -> Findings {
        self.judged = true;
        self.all.iter_mut().for_each(NodeProcess::end);
        timeline::examine(&self.all)
    }

    /// Ends all processes and checks what they have logged.
    ///
    /// # Panics
    /// When two have led at once, the epochs did not rise, or events are missing.
    pub fn check(&mut self) {
        self.all.iter_mut().for_each(NodeProcess::end);
        timeline::check(&self.all);
    }
}

impl Index<usize> for Nodes {
    type Output = NodeProcess;

    fn index(&self, at: usize) -> &NodeProcess {
        &self.all[at]
    }
}

impl IndexMut<usize> for Nodes {
    fn index_mut(&mut self, at: usize) -> &mut NodeProcess {
        &mut self.all[at]
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        if !thread::panicking() && !self.judged {
            self.check();
        }
    }
}
