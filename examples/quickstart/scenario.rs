//! The scenario: acts on the nodes, waits for the effect, and checks that no two nodes lead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::report::{Command, Kind, Report};
use crate::timeline::{Summary, Timeline, rounded_ms};
use crate::{NODES, Result};

/// The limit for every wait. On an idle machine two TTLs are enough.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long each leader leads before the next action: a few renewals.
const TERM: Duration = Duration::from_millis(700);
/// How often an interrupt is looked for.
const SLICE: Duration = Duration::from_millis(50);

/// The nodes. Dropping it stops all of them.
pub(crate) trait Cluster {
    fn start(&mut self, node: &str) -> Result<()>;
    fn send(&mut self, node: &str, command: Command) -> Result<()>;
    /// The nodes that take commands, crashed ones included.
    fn nodes(&self) -> Vec<String>;
    /// Returns what was done, in words that follow the node's name.
    fn crash(&mut self, node: &str) -> Result<&'static str>;
    /// Returns what was done, in words that follow the node's name.
    fn rejoin(&mut self, node: &str) -> Result<&'static str>;
}

/// A report, with its node and time.
pub(crate) struct NodeReport {
    pub(crate) at: Instant,
    pub(crate) node: String,
    pub(crate) report: Report,
}

pub(crate) struct Scenario {
    cluster: Box<dyn Cluster>,
    reports: Receiver<NodeReport>,
    timeline: Timeline,
    interrupted: Arc<AtomicBool>,
    terms: Vec<Term>,
    /// The epoch of the leader that each running node knows; 0 when it knows none.
    known: BTreeMap<String, u64>,
    /// The nodes that have not answered a leader check yet.
    asked: BTreeSet<String>,
}

/// A term, as the event of its leader reports it.
#[derive(Clone)]
struct Term {
    leader: String,
    epoch: u64,
    began: Instant,
}

impl Scenario {
    pub(crate) fn new(
        cluster: Box<dyn Cluster>,
        reports: Receiver<NodeReport>,
        timeline: Timeline,
        interrupted: Arc<AtomicBool>,
    ) -> Self {
        let (known, asked) = (BTreeMap::new(), BTreeSet::new());
        Self { cluster, reports, timeline, interrupted, terms: Vec::new(), known, asked }
    }

    pub(crate) fn run(mut self) -> Result<()> {
        self.election()?;
        let handover = self.step_down()?;
        let (victim, failover) = self.crash()?;
        self.rejoin(&victim)?;
        self.timeline.summary(Summary {
            store: String::new(),
            terms: self.terms.len(),
            epochs: self.terms.iter().map(|term| term.epoch).collect(),
            handover_ms: rounded_ms(handover),
            crash_failover_ms: rounded_ms(failover),
        })
    }

    fn election(&mut self) -> Result<()> {
        self.timeline.heading("Election")?;
        for node in NODES {
            self.known.insert(node.to_owned(), 0);
            self.cluster.start(node)?;
        }
        self.settle().map(drop)
    }

    fn step_down(&mut self) -> Result<Duration> {
        self.lead_for_a_while()?;
        self.timeline.heading("Step-down")?;
        let old = self.settle()?;
        self.timeline.action("step_down", &old.leader, "is asked to step down")?;
        let start = Instant::now();
        self.cluster.send(&old.leader, Command::StepDown)?;
        let new = self.term_after(&old)?;
        self.settle()?;
        Ok(new.began.duration_since(start))
    }

    fn crash(&mut self) -> Result<(String, Duration)> {
        self.lead_for_a_while()?;
        self.timeline.heading("Crash")?;
        let old = self.settle()?;
        let start = Instant::now();
        let done = self.cluster.crash(&old.leader)?;
        self.timeline.action("crash", &old.leader, done)?;
        self.known.remove(&old.leader);
        let new = self.term_after(&old)?;
        self.settle()?;
        Ok((old.leader, new.began.duration_since(start)))
    }

    fn rejoin(&mut self, node: &str) -> Result<()> {
        self.lead_for_a_while()?;
        self.timeline.heading("Rejoin")?;
        let done = self.cluster.rejoin(node)?;
        self.timeline.action("rejoin", node, done)?;
        self.known.insert(node.to_owned(), 0);
        self.settle().map(drop)
    }

    /// Lets the leader renew a few times.
    fn lead_for_a_while(&mut self) -> Result<()> {
        let until = Instant::now() + TERM;
        self.wait_until("time to pass", |_| (Instant::now() >= until).then_some(()))
    }

    /// Waits for the term of another node.
    fn term_after(&mut self, old: &Term) -> Result<Term> {
        self.wait_until("another leader", |scenario| {
            let newest = scenario.terms.last()?;
            (newest.epoch > old.epoch && newest.leader != old.leader).then(|| newest.clone())
        })
    }

    /// Waits until every running node knows the newest leader, and has answered its leader check.
    fn settle(&mut self) -> Result<Term> {
        self.wait_until("all nodes to know one leader", |scenario| {
            let newest = scenario.terms.last()?;
            let agreed = scenario.known.values().all(|known| *known == newest.epoch);
            (agreed && scenario.asked.is_empty()).then(|| newest.clone())
        })
    }

    fn wait_until<T>(&mut self, what: &str, found: impl Fn(&Self) -> Option<T>) -> Result<T> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = found(self) {
                return Ok(found);
            }
            if self.interrupted.load(Ordering::Relaxed) {
                return Err("interrupted".into());
            }
            match self.reports.recv_timeout(SLICE) {
                Ok(reports) => self.handle(&reports)?,
                Err(RecvTimeoutError::Timeout) if Instant::now() < until => {}
                Err(_) => {
                    return Err(format!("timed out after {PATIENCE:?}, waiting for {what}").into());
                }
            }
        }
    }

    fn handle(&mut self, reports: &NodeReport) -> Result<()> {
        let NodeReport { node, report, .. } = reports;
        match report.kind {
            Kind::LeaderCheck => return self.check_leaders(node, report),
            Kind::Ended => return Err(format!("{node} {}", report.text).into()),
            _ => self.timeline.report(reports)?,
        }
        match report.kind {
            Kind::BecameLeader => self.begin_term(reports),
            Kind::Refused => Err(format!("{node} {}", report.text).into()),
            Kind::LeaderChanged => {
                self.set_known(node, report.epoch);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A term begins. Its epoch must be the highest so far. No node may still lead an older one.
    fn begin_term(&mut self, NodeReport { at, node, report }: &NodeReport) -> Result<()> {
        let epoch = report.epoch.ok_or("a term without an epoch")?;
        let highest = self.terms.last().map_or(0, |term| term.epoch);
        if epoch <= highest {
            return Err(format!("{node} leads epoch {epoch} after epoch {highest}").into());
        }
        self.terms.push(Term { leader: node.clone(), epoch, began: *at });
        self.set_known(node, report.epoch);
        for node in self.cluster.nodes() {
            self.cluster.send(&node, Command::LeaderCheck { newest: epoch })?;
            self.asked.insert(node);
        }
        Ok(())
    }

    fn set_known(&mut self, node: &str, epoch: Option<u64>) {
        if let Some(known) = self.known.get_mut(node) {
            *known = epoch.unwrap_or_default();
        }
    }

    /// A node that was asked after a term began, and leads an older one, is a second leader.
    fn check_leaders(&mut self, node: &str, answer: &Report) -> Result<()> {
        self.asked.remove(node);
        match (answer.epoch, answer.newest) {
            (Some(epoch), Some(newest)) if epoch < newest => {
                Err(format!("two leaders: {node} leads epoch {epoch} beside {newest}").into())
            }
            _ => Ok(()),
        }
    }
}
