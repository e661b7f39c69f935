//! The daemon's commands: which runs when, and in what order.
//!
//! `--on-primary` and `--on-passive` run on one thread, one after the other, so that what was
//! started is stopped. A primary command that still runs when the lead is lost is killed, and the
//! lease is released only after the passive one has ended. `--on-change` has a thread of its own:
//! it may hang, and delays neither. No renewal waits for any of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use leasehold::{Leadership, Manager};

use super::process::{Failed, Run};

/// Between two looks at whether the daemon's node is there.
const POLL: Duration = Duration::from_millis(50);
/// How long the end waits for a command that is being killed.
const FAREWELL: Duration = Duration::from_secs(3);

/// The commands, and what they are told.
pub(super) struct Commands {
    pub(super) primary: Option<String>,
    pub(super) passive: Option<String>,
    pub(super) change: Option<String>,
    pub(super) limit: Duration,
    pub(super) cluster: String,
    pub(super) node: String,
}

/// What a command is told beside the names.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) leader: Option<String>,
    pub(super) epoch: u64,
    pub(super) cause: Option<String>,
}

enum Job {
    Primary(Leadership, Facts),
    /// What it sends when it is done: whether that went well.
    Passive(Facts, SyncSender<bool>),
    /// There are no more: the daemon's hooks, which keep a sender, live on.
    End,
}

/// Where the daemon's hooks leave word.
pub(super) struct Runner {
    jobs: Sender<Job>,
    changes: Sender<Option<Facts>>,
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

struct Shared {
    commands: Commands,
    /// Commands that still run are not wanted any more.
    over: AtomicBool,
    manager: OnceLock<Weak<Manager>>,
}

impl Runner {
    pub(super) fn start(commands: Commands) -> std::io::Result<Self> {
        let (over, manager) = (AtomicBool::new(false), OnceLock::new());
        let shared = Arc::new(Shared { commands, over, manager });
        let (jobs, waiting) = channel();
        let (changes, heard) = channel();
        let (first, second) = (Arc::clone(&shared), Arc::clone(&shared));
        let work = thread::Builder::new().name("leasehold-roles".into());
        let watch = thread::Builder::new().name("leasehold-change".into());
        let threads = vec![
            work.spawn(move || first.work(&waiting))?,
            watch.spawn(move || second.follow(&heard))?,
        ];
        Ok(Self { jobs, changes, threads, shared })
    }

    /// Where to give the lead back to when the primary command fails.
    pub(super) fn serve(&self, manager: &Arc<Manager>) {
        let _ = self.shared.manager.set(Arc::downgrade(manager));
    }

    pub(super) fn orders(&self) -> Orders {
        Orders { jobs: self.jobs.clone(), changes: self.changes.clone() }
    }

    /// Ends what still runs. The daemon has stopped. False when something does not end.
    pub(super) fn finish(self) -> bool {
        self.shared.over.store(true, Ordering::SeqCst);
        let _ = (self.jobs.send(Job::End), self.changes.send(None));
        let until = Instant::now() + FAREWELL;
        let ended = || self.threads.iter().all(JoinHandle::is_finished);
        while Instant::now() < until && !ended() {
            thread::sleep(Duration::from_millis(5));
        }
        ended()
    }
}

/// For the hooks: to leave word and go.
#[derive(Clone)]
pub(super) struct Orders {
    jobs: Sender<Job>,
    changes: Sender<Option<Facts>>,
}

impl Orders {
    pub(super) fn primary(&self, leadership: Leadership, facts: Facts) {
        let _ = self.jobs.send(Job::Primary(leadership, facts));
    }

    /// Returns when the passive command has ended, and no primary one runs. False when it failed:
    /// what it was to stop may go on.
    pub(super) fn passive(&self, facts: Facts) -> bool {
        let (done, finished) = sync_channel(1);
        let _ = self.jobs.send(Job::Passive(facts, done));
        finished.recv().unwrap_or(true)
    }

    pub(super) fn change(&self, facts: Facts) {
        let _ = self.changes.send(Some(facts));
    }
}

impl Shared {
    fn work(&self, jobs: &Receiver<Job>) {
        for job in jobs {
            match job {
                Job::Primary(leadership, facts) => self.primary(&leadership, &facts),
                Job::Passive(facts, done) => {
                    let command = self.commands.passive.as_deref();
                    let _ = done.send(self.run("passive", command, &facts, &|| false));
                }
                Job::End => return,
            }
        }
    }

    fn follow(&self, changes: &Receiver<Option<Facts>>) {
        while let Ok(first) = changes.recv() {
            // Only the newest counts; none is the last.
            let Some(facts) = changes.try_iter().last().unwrap_or(first) else { return };
            self.run("change", self.commands.change.as_deref(), &facts, &|| false);
        }
    }

    fn primary(&self, leadership: &Leadership, facts: &Facts) {
        if !leadership.is_valid() {
            return;
        }
        let lost = || !leadership.is_valid();
        if !self.run("primary", self.commands.primary.as_deref(), facts, &lost) {
            self.give_back(leadership);
        }
    }

    /// Runs a command; false when it failed and that matters.
    fn run(
        &self,
        event: &'static str,
        command: Option<&str>,
        facts: &Facts,
        unwanted: &dyn Fn() -> bool,
    ) -> bool {
        let Some(command) = command else { return true };
        let epoch = facts.epoch;
        log::info!(event, epoch; "runs the command for {event}");
        let begun = Instant::now();
        let ended = Run {
            command,
            environment: &self.environment(event, facts),
            limit: self.commands.limit,
            cancelled: &|| unwanted() || self.over.load(Ordering::SeqCst),
            line: &mut |line| log::info!(event; "{line}"),
        }
        .run();
        match ended {
            Ok(()) => {
                let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                log::info!(event, epoch, ms = took; "the command for {event} has ended");
            }
            Err(failed @ Failed::Cancelled) => {
                log::warn!(event, epoch; "the command for {event} {failed}");
            }
            Err(failed) => {
                log::error!(event, epoch; "the command for {event} {failed}");
                return false;
            }
        }
        true
    }

    fn environment(&self, event: &str, facts: &Facts) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("LEASEHOLD_EVENT", event.to_owned()),
            ("LEASEHOLD_CLUSTER", self.commands.cluster.clone()),
            ("LEASEHOLD_NODE", self.commands.node.clone()),
            ("LEASEHOLD_LEADER", facts.leader.clone().unwrap_or_default()),
            ("LEASEHOLD_EPOCH", facts.epoch.to_string()),
        ];
        environment.extend(facts.cause.clone().map(|cause| ("LEASEHOLD_CAUSE", cause)));
        environment
    }

    /// Nobody is served by a leader whose service does not start: another node may do better.
    fn give_back(&self, leadership: &Leadership) {
        while leadership.is_valid() && !self.over.load(Ordering::SeqCst) {
            let manager = self.manager.get().and_then(Weak::upgrade);
            // It may not have got so far yet.
            if let Some(node) = manager.and_then(|manager| manager.node()) {
                log::warn!("gives the lead back");
                if let Err(refused) = node.step_down() {
                    log::warn!("the lead is not given back: {refused}");
                }
                return;
            }
            thread::sleep(POLL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever may order goes on living with the daemon's hooks; nobody waits for that.
    #[test]
    fn it_ends_although_somebody_could_order_more() {
        let commands = Commands {
            primary: None,
            passive: None,
            change: Some("exec sleep 60".to_owned()),
            limit: Duration::from_secs(60),
            cluster: "c".to_owned(),
            node: "n".to_owned(),
        };
        let runner = Runner::start(commands).unwrap();
        let orders = runner.orders();
        assert!(orders.passive(Facts::default()));
        orders.change(Facts::default());
        assert!(runner.finish());
        assert!(orders.passive(Facts::default()), "nothing runs that could go on");
    }
}
