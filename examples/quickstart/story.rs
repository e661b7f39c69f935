//! The story: what is done to the nodes, what must follow, and what must never.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::report::{Kind, Order, Report};
use crate::timeline::{Summary, Timeline, rounded_ms};
use crate::{NODES, Result};

/// How long anything may take; two TTLs on an idle machine.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long each leader serves before anything is done to it: some renewals.
const TERM: Duration = Duration::from_millis(700);
/// How soon an interrupt is noticed.
const SLICE: Duration = Duration::from_millis(50);

/// Where nodes live, and how they die. Dropping it stops them all.
pub(crate) trait Stage {
    fn start(&mut self, node: &str) -> Result<()>;
    fn order(&mut self, node: &str, order: Order) -> Result<()>;
    /// Those that can be given orders, crashed or not.
    fn nodes(&self) -> Vec<String>;
    /// Says what has been done, in words that follow the node's name.
    fn crash(&mut self, node: &str) -> Result<&'static str>;
    /// Says so too.
    fn rejoin(&mut self, node: &str) -> Result<&'static str>;
}

/// Something that a node reports.
pub(crate) struct News {
    pub(crate) at: Instant,
    pub(crate) node: String,
    pub(crate) report: Report,
}

pub(crate) struct Story {
    stage: Box<dyn Stage>,
    news: Receiver<News>,
    timeline: Timeline,
    interrupted: Arc<AtomicBool>,
    terms: Vec<Term>,
    /// The newest epoch that each living node knows the leader of; 0 when it knows none.
    known: BTreeMap<String, u64>,
    /// Those that have yet to answer a census.
    asked: BTreeSet<String>,
}

/// One term, from its leader's event.
#[derive(Clone)]
struct Term {
    leader: String,
    epoch: u64,
    began: Instant,
}

impl Story {
    pub(crate) fn new(
        stage: Box<dyn Stage>,
        news: Receiver<News>,
        timeline: Timeline,
        interrupted: Arc<AtomicBool>,
    ) -> Self {
        let (known, asked) = (BTreeMap::new(), BTreeSet::new());
        Self { stage, news, timeline, interrupted, terms: Vec::new(), known, asked }
    }

    pub(crate) fn tell(mut self) -> Result<()> {
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
            self.stage.start(node)?;
        }
        self.settle().map(drop)
    }

    fn step_down(&mut self) -> Result<Duration> {
        self.serve()?;
        self.timeline.heading("Step-down")?;
        let old = self.settle()?;
        self.timeline.deed("step_down", &old.leader, "is asked to step down")?;
        let begun = Instant::now();
        self.stage.order(&old.leader, Order::StepDown)?;
        let new = self.term_after(&old)?;
        self.settle()?;
        Ok(new.began.duration_since(begun))
    }

    fn crash(&mut self) -> Result<(String, Duration)> {
        self.serve()?;
        self.timeline.heading("Crash")?;
        let old = self.settle()?;
        let begun = Instant::now();
        let done = self.stage.crash(&old.leader)?;
        self.timeline.deed("crash", &old.leader, done)?;
        self.known.remove(&old.leader);
        let new = self.term_after(&old)?;
        self.settle()?;
        Ok((old.leader, new.began.duration_since(begun)))
    }

    fn rejoin(&mut self, node: &str) -> Result<()> {
        self.serve()?;
        self.timeline.heading("Rejoin")?;
        let done = self.stage.rejoin(node)?;
        self.timeline.deed("rejoin", node, done)?;
        self.known.insert(node.to_owned(), 0);
        self.settle().map(drop)
    }

    /// Lets the leader renew for a while.
    fn serve(&mut self) -> Result<()> {
        let until = Instant::now() + TERM;
        self.hear_until("time to pass", |_| (Instant::now() >= until).then_some(()))
    }

    /// Waits for another node's term.
    fn term_after(&mut self, old: &Term) -> Result<Term> {
        self.hear_until("another leader", |story| {
            let newest = story.terms.last()?;
            (newest.epoch > old.epoch && newest.leader != old.leader).then(|| newest.clone())
        })
    }

    /// Waits until every living node knows the newest leader and has said whether it leads itself.
    fn settle(&mut self) -> Result<Term> {
        self.hear_until("all nodes to know one leader", |story| {
            let newest = story.terms.last()?;
            let agreed = story.known.values().all(|known| *known == newest.epoch);
            (agreed && story.asked.is_empty()).then(|| newest.clone())
        })
    }

    fn hear_until<T>(&mut self, what: &str, found: impl Fn(&Self) -> Option<T>) -> Result<T> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = found(self) {
                return Ok(found);
            }
            if self.interrupted.load(Ordering::Relaxed) {
                return Err("interrupted".into());
            }
            match self.news.recv_timeout(SLICE) {
                Ok(news) => self.hear(&news)?,
                Err(RecvTimeoutError::Timeout) if Instant::now() < until => {}
                Err(_) => return Err(format!("waited {PATIENCE:?} in vain for {what}").into()),
            }
        }
    }

    fn hear(&mut self, news: &News) -> Result<()> {
        let News { node, report, .. } = news;
        match report.kind {
            Kind::Census => return self.check_census(node, report),
            Kind::Gone => return Err(format!("{node} {}", report.text).into()),
            _ => self.timeline.report(news)?,
        }
        match report.kind {
            Kind::BecameLeader => self.begin_term(news),
            Kind::Refused => Err(format!("{node} {}", report.text).into()),
            Kind::LeaderChanged => {
                self.note(node, report.epoch);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A term begins: above all epochs before it, and nobody leads an older one any more.
    fn begin_term(&mut self, News { at, node, report }: &News) -> Result<()> {
        let epoch = report.epoch.ok_or("a term without an epoch")?;
        let highest = self.terms.last().map_or(0, |term| term.epoch);
        if epoch <= highest {
            return Err(format!("{node} leads epoch {epoch} after epoch {highest}").into());
        }
        self.terms.push(Term { leader: node.clone(), epoch, began: *at });
        self.note(node, report.epoch);
        for node in self.stage.nodes() {
            self.stage.order(&node, Order::Census { newest: epoch })?;
            self.asked.insert(node);
        }
        Ok(())
    }

    fn note(&mut self, node: &str, epoch: Option<u64>) {
        if let Some(known) = self.known.get_mut(node) {
            *known = epoch.unwrap_or_default();
        }
    }

    /// Whoever was asked after a term had begun, and leads an older one, leads beside its leader.
    fn check_census(&mut self, node: &str, answer: &Report) -> Result<()> {
        self.asked.remove(node);
        match (answer.epoch, answer.newest) {
            (Some(epoch), Some(newest)) if epoch < newest => {
                Err(format!("two leaders: {node} leads epoch {epoch} beside {newest}").into())
            }
            _ => Ok(()),
        }
    }
}
