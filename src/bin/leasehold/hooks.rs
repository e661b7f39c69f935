//! The daemon's hook commands: which runs when, and in which order.
//!
//! `--on-primary` and `--on-passive` run on one thread, one after the other. A primary command that
//! still runs when the term ends is killed, and the lease is released only after the passive
//! command has ended. `--on-change` has a thread of its own: if it hangs, it delays neither of
//! them. No renewal waits for a command.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use leasehold::manager::DaemonHooks;
use leasehold::{Cause, Epoch, Hooks, Leadership, Manager};

use super::process::{Failed, Run};

/// How often a step-down looks whether the daemon's node has started.
const POLL: Duration = Duration::from_millis(50);
/// How long [`Runner::finish`] waits for the threads.
const FINISH_TIMEOUT: Duration = Duration::from_secs(3);

/// The commands, and the settings that are the same in each run.
pub(super) struct Commands {
    pub(super) primary: Option<String>,
    pub(super) passive: Option<String>,
    pub(super) change: Option<String>,
    pub(super) limit: Duration,
    pub(super) cluster: String,
    pub(super) node: String,
}

/// The variables of one run.
#[derive(Clone, Debug, Default)]
struct Facts {
    leader: Option<String>,
    epoch: u64,
    cause: Option<String>,
}

enum Job {
    Primary(Leadership, Facts),
    /// Sends whether the command succeeded.
    Passive(Facts, SyncSender<bool>),
    /// The last job. The channel stays open, as the daemon's hooks keep a sender.
    End,
}

/// The threads that run the commands.
pub(super) struct Runner {
    hooks: CommandHooks,
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

struct Shared {
    commands: Commands,
    /// The daemon ends: commands that still run are killed.
    finishing: AtomicBool,
    manager: OnceLock<Weak<Manager>>,
}

impl Runner {
    pub(super) fn start(commands: Commands) -> std::io::Result<Self> {
        let (finishing, manager) = (AtomicBool::new(false), OnceLock::new());
        let shared = Arc::new(Shared { commands, finishing, manager });
        let (jobs, job_receiver) = channel();
        let (changes, change_receiver) = channel();
        let (for_roles, for_changes) = (Arc::clone(&shared), Arc::clone(&shared));
        let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
        let threads = vec![
            spawn("leasehold-roles").spawn(move || for_roles.run_roles(&job_receiver))?,
            spawn("leasehold-change").spawn(move || for_changes.run_changes(&change_receiver))?,
        ];
        let node = shared.commands.node.clone();
        let hooks = CommandHooks { node, leader: None, jobs, changes };
        Ok(Self { hooks, threads, shared })
    }

    /// The hooks that queue the commands.
    pub(super) fn hooks(&self) -> CommandHooks {
        self.hooks.clone()
    }

    /// Names the manager whose node steps down when the primary command fails.
    pub(super) fn set_manager(&self, manager: &Arc<Manager>) {
        let _ = self.shared.manager.set(Arc::downgrade(manager));
    }

    /// Kills commands that still run, after the daemon has stopped. False when a command does not
    /// end.
    pub(super) fn finish(self) -> bool {
        self.shared.finishing.store(true, Ordering::SeqCst);
        let _ = (self.hooks.jobs.send(Job::End), self.hooks.changes.send(None));
        let until = Instant::now() + FINISH_TIMEOUT;
        let ended = || self.threads.iter().all(JoinHandle::is_finished);
        while Instant::now() < until && !ended() {
            thread::sleep(Duration::from_millis(5));
        }
        ended()
    }
}

/// Queues the commands. Returns at once, except when the term ends: the passive command must end
/// before the lease is released. The library logs the events themselves.
#[derive(Clone)]
pub(super) struct CommandHooks {
    node: String,
    leader: Option<String>,
    jobs: Sender<Job>,
    changes: Sender<Option<Facts>>,
}

impl CommandHooks {
    /// Returns when the passive command has ended and no primary command runs. False when the
    /// passive command failed: the service may still run.
    fn run_passive(&self, facts: Facts) -> bool {
        let (done, finished) = sync_channel(1);
        let _ = self.jobs.send(Job::Passive(facts, done));
        finished.recv().unwrap_or(true)
    }
}

impl Hooks for CommandHooks {
    fn on_become_leader(&mut self, leadership: Leadership) {
        let epoch = leadership.epoch().as_u64();
        let facts = Facts { leader: Some(self.node.clone()), epoch, cause: None };
        let _ = self.jobs.send(Job::Primary(leadership, facts));
    }

    fn on_lose_leadership(&mut self, epoch: Epoch, cause: &Cause) {
        let leader = self.leader.clone().filter(|leader| *leader != self.node);
        let facts = Facts { leader, epoch: epoch.as_u64(), cause: Some(cause.to_string()) };
        let stopped = self.run_passive(facts);
        if !stopped && matches!(cause, Cause::Resigned(_)) {
            // Tells the library that the work may go on: it does not release the lease.
            resume_unwind(Box::new(()));
        }
    }

    fn on_leader_change(&mut self, leader: Option<&str>, epoch: Option<Epoch>) {
        self.leader = leader.map(str::to_owned);
        let epoch = epoch.map_or(0, Epoch::as_u64);
        let facts = Facts { leader: self.leader.clone(), epoch, cause: None };
        let _ = self.changes.send(Some(facts));
    }
}

impl DaemonHooks for CommandHooks {}

impl Shared {
    fn run_roles(&self, jobs: &Receiver<Job>) {
        for job in jobs {
            match job {
                Job::Primary(leadership, facts) => self.run_primary(&leadership, &facts),
                Job::Passive(facts, done) => {
                    let command = self.commands.passive.as_deref();
                    let _ = done.send(self.run("passive", command, &facts, &|| false));
                }
                Job::End => return,
            }
        }
    }

    fn run_changes(&self, changes: &Receiver<Option<Facts>>) {
        while let Ok(first) = changes.recv() {
            // Only the newest change counts; `None` ends the thread.
            let Some(facts) = changes.try_iter().last().unwrap_or(first) else { return };
            self.run("change", self.commands.change.as_deref(), &facts, &|| false);
        }
    }

    fn run_primary(&self, leadership: &Leadership, facts: &Facts) {
        if !leadership.is_valid() {
            return;
        }
        let lost = || !leadership.is_valid();
        if !self.run("primary", self.commands.primary.as_deref(), facts, &lost) {
            self.step_down(leadership);
        }
    }

    /// Runs a command until it ends, its time is up, or `cancelled`. False when it failed.
    fn run(
        &self,
        event: &'static str,
        command: Option<&str>,
        facts: &Facts,
        cancelled: &dyn Fn() -> bool,
    ) -> bool {
        let Some(command) = command else { return true };
        let epoch = facts.epoch;
        log::info!(event, epoch; "runs the command for {event}");
        let begun = Instant::now();
        let ended = Run {
            command,
            environment: &self.environment(event, facts),
            limit: self.commands.limit,
            cancelled: &|| cancelled() || self.finishing.load(Ordering::SeqCst),
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

    /// A leader whose service does not start is of no use: another node may do better.
    fn step_down(&self, leadership: &Leadership) {
        while leadership.is_valid() && !self.finishing.load(Ordering::SeqCst) {
            let manager = self.manager.get().and_then(Weak::upgrade);
            // The first term can begin before the manager has published its node.
            if let Some(node) = manager.and_then(|manager| manager.node()) {
                log::warn!("the node steps down: its primary command failed");
                if let Err(refused) = node.step_down() {
                    log::warn!("could not step down: {refused}");
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

    /// The daemon's hooks, which outlive the runner, can still queue commands.
    #[test]
    fn the_runner_finishes_while_hooks_exist() {
        let commands = Commands {
            primary: None,
            passive: None,
            change: Some("exec sleep 60".to_owned()),
            limit: Duration::from_secs(60),
            cluster: "c".to_owned(),
            node: "n".to_owned(),
        };
        let runner = Runner::start(commands).unwrap();
        let hooks = runner.hooks();
        assert!(hooks.run_passive(Facts::default()));
        hooks.changes.send(Some(Facts::default())).unwrap();
        assert!(runner.finish());
        assert!(hooks.run_passive(Facts::default()), "no command runs that could go on");
    }
}
