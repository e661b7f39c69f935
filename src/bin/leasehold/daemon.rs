//! `daemon`: the node with its commands, signals, and the service manager.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use leasehold::Manager;
use leasehold::config::Config;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::args::{self, Args};
use super::commands::load;
use super::failure::Failure;
use super::hook::{Commands, Runner};
use super::hooks::Follower;
use super::systemd::{self, Notifier};
use super::{process, reload};

/// What is left of the drain and stop timeouts when a command's time is up: to kill it, and to
/// release the lease.
const MARGIN: Duration = Duration::from_millis(500);

pub(super) fn daemon(args: &Args, options: &args::Daemon) -> Result<(), Failure> {
    let config = load(args)?;
    process::adopt_orphans();
    let runner = Runner::start(commands(&config, options))?;
    let follower =
        Follower { node: config.node_id().to_owned(), orders: runner.orders(), leader: None };
    let manager = Manager::builder(config).hooks(follower).control(!options.no_control).build();
    let manager = Arc::new(manager);
    runner.serve(&manager);
    let notifier = Arc::new(Notifier::from_environment());
    let (stop, stopped) = bounded(1);
    let signals = listen(args, &manager, &notifier, stop)?;
    let (end, ended) = channel();
    let (watched, told) = (Arc::clone(&manager), Arc::clone(&notifier));
    let supervisor = thread::Builder::new()
        .name("leasehold-systemd".into())
        .spawn(move || systemd::supervise(&watched, &told, &ended))?;
    let result = manager.run(&stopped);
    notifier.tell("STOPPING=1");
    drop(end);
    signals.close();
    let _ = supervisor.join();
    if !runner.finish() {
        log::error!("a command does not end, not even killed, and is left behind");
    }
    if result?.left_to_lapse {
        log::warn!("the lease could not be released: others wait until it has run out");
    }
    Ok(())
}

fn commands(config: &Config, options: &args::Daemon) -> Commands {
    let bound = config.drain_timeout().min(config.stop_timeout());
    let limit = options.hook_timeout.unwrap_or(bound.saturating_sub(MARGIN).max(MARGIN));
    if options.on_passive.is_some() && limit + MARGIN > bound {
        log::warn!(
            "commands may run {limit:?}, but the lease lapses unreleased after {bound:?} \
             (election.drainTimeoutMs, election.stopTimeoutMs)"
        );
    }
    Commands {
        primary: options.on_primary.clone(),
        passive: options.on_passive.clone(),
        change: options.on_change.clone(),
        limit,
        cluster: config.cluster_id().to_owned(),
        node: config.node_id().to_owned(),
    }
}

/// Follows signals: SIGTERM and SIGINT end the daemon, the second one at once; SIGHUP reads the
/// configuration again.
fn listen(
    args: &Args,
    manager: &Arc<Manager>,
    notifier: &Arc<Notifier>,
    stop: Sender<()>,
) -> std::io::Result<Handle> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let handle = signals.handle();
    let (manager, notifier) = (Arc::clone(manager), Arc::clone(notifier));
    let file = args.config.clone();
    thread::Builder::new().name("leasehold-signals".into()).spawn(move || {
        let mut asked = false;
        for signal in &mut signals {
            match signal {
                // What is not ready yet must not be said to be again.
                SIGHUP if manager.node().is_none() => {
                    log::warn!("the configuration is not read again: the node has not started yet");
                }
                SIGHUP => {
                    notifier.tell(&reloading());
                    reload::reload(&manager, &file);
                    notifier.tell("READY=1");
                }
                _ if std::mem::replace(&mut asked, true) => {
                    log::error!("a second signal: ends without giving the lease back");
                    process::kill_running();
                    std::process::exit(1);
                }
                _ => {
                    log::info!("was asked to stop");
                    notifier.tell("STOPPING=1");
                    let _ = stop.try_send(());
                }
            }
        }
    })?;
    Ok(handle)
}

/// With the time, which `Type=notify-reload` wants.
fn reloading() -> String {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
    format!("RELOADING=1\nMONOTONIC_USEC={micros}")
}
