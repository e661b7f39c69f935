//! `daemon`: runs the node with its hook commands, signals, and systemd.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use leasehold::Manager;
use leasehold::config::Config;
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::args::{self, Args};
use super::commands::load;
use super::failure::Failure;
use super::hooks::{Commands, Runner};
use super::process;
use super::systemd::{self, Notifier};

/// How much earlier than the drain and stop timeouts a command's time is up: time to kill it and to
/// release the lease.
const MARGIN: Duration = Duration::from_millis(500);

/// The only key that a running node takes: the election's safety does not depend on it.
const CHANGEABLE: &str = "election.meta";

pub(super) fn daemon(args: &Args, options: &args::Daemon) -> Result<(), Failure> {
    let config = load(args)?;
    process::adopt_orphans();
    let runner = Runner::start(commands(&config, options))?;
    let manager = Manager::builder(config).hooks(runner.hooks()).control(!options.no_control);
    let manager = Arc::new(manager.build());
    runner.set_manager(&manager);
    let notifier = Arc::new(Notifier::from_environment());
    let (stop, stopped) = bounded(1);
    let signals = listen(args, &manager, &notifier, stop)?;
    let (end, ended) = channel();
    let (watched, for_supervisor) = (Arc::clone(&manager), Arc::clone(&notifier));
    let supervisor = thread::Builder::new()
        .name("leasehold-systemd".into())
        .spawn(move || systemd::supervise(&watched, &for_supervisor, &ended))?;
    let result = manager.run(&stopped);
    notifier.notify("STOPPING=1");
    drop(end);
    signals.close();
    let _ = supervisor.join();
    if !runner.finish() {
        log::error!("a killed command does not end: the daemon ends without waiting for it");
    }
    if result?.left_to_expire {
        log::warn!("the lease was not released: other nodes wait until it expires");
    }
    Ok(())
}

fn commands(config: &Config, options: &args::Daemon) -> Commands {
    let bound = config.drain_timeout().min(config.stop_timeout());
    let limit = options.hook_timeout.unwrap_or(bound.saturating_sub(MARGIN).max(MARGIN));
    if options.on_passive.is_some() && limit + MARGIN > bound {
        log::warn!(
            "--hook-timeout is {limit:?}, but after {bound:?} the lease is no longer released \
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

/// SIGTERM and SIGINT end the daemon, a second one at once; SIGHUP reads the configuration again.
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
        let mut stopping = false;
        let mut meta = manager.config().meta().cloned();
        for signal in &mut signals {
            match signal {
                // READY must not be sent before the first one.
                SIGHUP if manager.node().is_none() => {
                    log::warn!("the configuration is not read again: the node has not started yet");
                }
                SIGHUP => {
                    notifier.notify(&reloading());
                    reload(&manager, &file, &mut meta);
                    notifier.notify("READY=1");
                }
                _ if std::mem::replace(&mut stopping, true) => {
                    log::error!("ends at once after a second signal, without releasing the lease");
                    process::kill_running();
                    std::process::exit(1);
                }
                _ => {
                    log::info!("stops after a signal");
                    notifier.notify("STOPPING=1");
                    let _ = stop.try_send(());
                }
            }
        }
    })?;
    Ok(handle)
}

/// Applies the change of [`CHANGEABLE`], and logs which other changes need a restart.
fn reload(manager: &Manager, file: &Path, meta: &mut Option<Value>) {
    let new = match Config::load(file) {
        Ok(new) => new,
        Err(error) => {
            return log::error!("the file is refused, the old configuration stays: {error}");
        }
    };
    let Some(node) = manager.node() else { return };
    if new.meta() != meta.as_ref() {
        if let Err(error) = node.set_meta(new.meta().cloned()) {
            return log::error!("the old configuration stays: {error}");
        }
        *meta = new.meta().cloned();
        log::info!("the file was read again; {CHANGEABLE} applies from the next renewal");
    }
    match needing_restart(node.config(), &new).join(", ").as_str() {
        "" => log::info!("the file was read again; no change needs a restart"),
        keys => log::warn!("the file was read again; these changes need a restart: {keys}"),
    }
}

/// The keys whose changes need a restart.
fn needing_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    old.changed_keys(new).into_iter().filter(|key| *key != CHANGEABLE).collect()
}

/// `Type=notify-reload` needs the time as well.
fn reloading() -> String {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
    format!("RELOADING=1\nMONOTONIC_USEC={micros}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_that_need_a_restart_are_named_without_values() {
        let config = |text: &str| Config::from_json(text).unwrap();
        let old = config(
            r#"{"clusterId":"c","nodeId":"n","nats":{"servers":["h"],"token":"s3cr3t"},
                "election":{"meta":{"a":1}}}"#,
        );
        let new = config(
            r#"{"clusterId":"c","nodeId":"n","nats":{"servers":["h"],"token":"other"},
                "election":{"meta":2,"leaseTtlMs":20000}}"#,
        );
        assert_eq!(needing_restart(&old, &new), ["nats.token", "election.leaseTtlMs"]);
        assert_eq!(needing_restart(&old, &old), [""; 0]);
    }
}
