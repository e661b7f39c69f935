//! Nodes as processes of their own, and a check of their logs.
//!
//! A test binary with `mod nodes;` needs one test that runs as such a process:
//!
//! ```ignore
//! #[test]
//! fn node_process() {
//!     nodes::child::run_if_child();
//! }
//! ```
//!
//! [`Nodes`] starts the processes of one cluster and gives them commands. When it is dropped, it
//! checks in all their logs that no two of them ever led at once and that epochs only rose. Every
//! line has a time of the boot-time clock, which is the same for all processes of a host.
#![allow(dead_code, reason = "each test binary uses a part of this module")]
#![allow(unreachable_pub, reason = "`pub` marks what a part offers to the tests")]

pub mod child;
pub mod process;
pub mod timeline;

use std::ops::{Index, IndexMut};
use std::thread;
use std::time::Duration;

use leasehold::config::ConfigBuilder;
use leasehold::{Config, clock::Clock};

pub use process::NodeProcess;
pub use timeline::{Findings, Term};

use crate::support::wait::eventually_some;

/// Longer than any wait takes, even on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A configuration for tests: the default TTL of 10 s, enough for a loaded machine, a renewal
/// every 0.5 s, and a quick reconnect.
pub fn config(url: &str) -> ConfigBuilder {
    Config::builder("orders", "unnamed", [url])
        .renew_interval(Duration::from_millis(500))
        .reconnect_wait(Duration::from_millis(200))
}

/// The current time, as in every line of a log.
pub fn now() -> u64 {
    Clock::boot().now().as_nanos()
}

/// A duration in the unit of [`now`].
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("less than 584 years")
}

/// Prints a measurement, which shows with `--nocapture`.
pub fn measured(what: &str, mut millis: Vec<f64>) {
    millis.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (millis.first(), millis.last()) else { return };
    let (median, count) = (millis[millis.len() / 2], millis.len());
    println!("measured: {what}: {least:.1}/{median:.1}/{most:.1} ms (min/median/max of {count})");
}

/// The milliseconds from `from` to `to`, both as [`now`] has them; negative when `to` is earlier.
#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
pub fn millis_between(from: u64, to: u64) -> f64 {
    if to < from { -millis_between(to, from) } else { (to - from) as f64 / 1e6 }
}

/// The nodes of one cluster.
#[derive(Debug)]
pub struct Nodes {
    config: ConfigBuilder,
    all: Vec<NodeProcess>,
    /// [`Drop`] must not check the logs again.
    judged: bool,
}

impl Nodes {
    /// A cluster without nodes. Later nodes are configured with `config`.
    pub fn new(config: ConfigBuilder) -> Self {
        Self { config, all: Vec::new(), judged: false }
    }

    /// A cluster of nodes, started one after the other.
    pub fn started(config: ConfigBuilder, names: &[&str]) -> Self {
        let mut nodes = Self::new(config);
        for name in names {
            nodes.start(name);
        }
        nodes
    }

    /// Starts another node and returns its index.
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

    /// Adds a process, waits until its node has started, and returns its index.
    #[track_caller]
    pub fn add(&mut self, mut node: NodeProcess) -> usize {
        node.started();
        self.take(node)
    }

    /// Adds a process and returns its index.
    pub fn take(&mut self, node: NodeProcess) -> usize {
        self.all.push(node);
        self.all.len() - 1
    }

    /// All nodes, by index.
    pub fn iter(&self) -> impl Iterator<Item = &NodeProcess> {
        self.all.iter()
    }

    /// All nodes, by index.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut NodeProcess> {
        self.all.iter_mut()
    }

    /// Waits until a node leads, and returns its index.
    #[track_caller]
    pub fn leader(&mut self) -> usize {
        eventually_some(PATIENCE, "a leader", || {
            (0..self.all.len()).find(|at| self.all[*at].is_alive() && self.all[*at].leads())
        })
    }

    /// Waits until all nodes know the leader with index `leader`.
    #[track_caller]
    pub fn agree_on(&mut self, leader: usize) {
        let name = self.all[leader].name().to_owned();
        for node in self.all.iter_mut().filter(|node| node.is_alive()) {
            node.knows_leader(&name);
        }
    }

    /// Waits until all nodes agree on a leader, and returns its index.
    #[track_caller]
    pub fn agree(&mut self) -> usize {
        eventually_some(PATIENCE, "all to agree on a leader", || {
            let leader = self.leader();
            let name = self.all[leader].name().to_owned();
            let mut alive = self.all.iter_mut().filter(|node| node.is_alive());
            alive.all(|node| node.status()["leader"] == name).then_some(leader)
        })
    }

    /// The highest epoch that a node has led.
    pub fn highest_epoch(&self) -> u64 {
        self.terms().last().map_or(0, |term| term.epoch)
    }

    /// The logged terms, by epoch.
    pub fn terms(&self) -> Vec<Term> {
        let terms = self.all.iter().enumerate().flat_map(|(at, node)| timeline::of(at, node));
        let mut terms = terms.collect::<Vec<_>>();
        terms.sort_by_key(|term| term.epoch);
        terms
    }

    /// Kills all processes, as a power cut would.
    pub fn kill_all(&mut self) {
        for node in &mut self.all {
            node.kill();
        }
    }

    /// The intervals from `from` to `to` without a leader. All of that time must be logged.
    pub fn gaps(&mut self, from: u64, to: u64) -> Vec<(u64, u64)> {
        self.all.iter_mut().for_each(NodeProcess::catch_up);
        timeline::gaps(&self.all, from, to)
    }

    /// Ends all processes and returns the violations in their logs.
    pub fn judge(&mut self) -> Findings {
        self.judged = true;
        self.all.iter_mut().for_each(NodeProcess::end);
        timeline::examine(&self.all)
    }

    /// Ends all processes and checks their logs.
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
