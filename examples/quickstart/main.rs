//! Three nodes elect a leader. It steps down, the next leader crashes, and comes back. This needs
//! no set-up. `--help` lists the options.
//!
//! With a NATS server each node is a process: this program again, in the role of a [node](node).
//! The crash is a SIGKILL. Without a server the nodes are threads that share the in-memory store,
//! and the crash is a lost connection to it.

mod arguments;
mod child;
mod memory;
mod node;
mod processes;
mod report;
mod scenario;
mod server;
mod timeline;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::unbounded;
use leasehold::config::{Config, ConfigError};

use arguments::{Arguments, Role, USAGE};
use memory::Memory;
use processes::Processes;
use scenario::{Cluster, Scenario};
use server::Server;
use timeline::Timeline;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const TTL: Duration = Duration::from_secs(2);
const RENEW_INTERVAL: Duration = Duration::from_millis(500);
const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];

fn main() -> ExitCode {
    let role = match arguments::read(std::env::args().skip(1)) {
        Ok(role) => role,
        Err(problem) => {
            eprintln!("quickstart: {problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    let outcome = match role {
        Role::Help => {
            println!("{USAGE}");
            Ok(())
        }
        Role::Scenario(arguments) => run(&arguments, &interrupted),
        Role::Node { node_id, cluster_id, url } => node::run_as_child(&cluster_id, &node_id, &url),
        Role::Server { program } => server::run_as_child(&program),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if interrupted.load(Ordering::Relaxed) => ExitCode::from(130),
        Err(problem) => {
            eprintln!("quickstart: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the scenario. Everything that it started has ended when this returns.
fn run(arguments: &Arguments, interrupted: &Arc<AtomicBool>) -> Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(interrupted))?;
    }
    let mut timeline = Timeline::new(arguments.json);
    let server = choose_server(arguments)?;
    let (reports, received) = unbounded();
    let cluster: Box<dyn Cluster> = if let Some(server) = &server {
        timeline.opening(server.name(), "a process each; the crash is a SIGKILL")?;
        Box::new(Processes::new(server.url(), reports))
    } else {
        timeline.opening("memory", "a thread each; the crash is a lost connection")?;
        Box::new(Memory::new(reports))
    };
    Scenario::new(cluster, received, timeline, Arc::clone(interrupted)).run()
    // The nodes have ended here. The server is dropped last.
}

fn choose_server(arguments: &Arguments) -> Result<Option<Server>> {
    if arguments.memory {
        return Ok(None);
    }
    match &arguments.server {
        Some(url) => Server::of_user(url).map(Some),
        None => server::find()?.map(|program| Server::start(&program)).transpose(),
    }
}

/// The configuration of a node. All nodes have the same, except for the node id.
fn config(cluster_id: &str, node_id: &str, url: &str) -> std::result::Result<Config, ConfigError> {
    Config::builder(cluster_id, node_id, [url])
        .lease_ttl(TTL)
        .connect_timeout(Duration::from_secs(15))
        .renew_interval(RENEW_INTERVAL)
        .build()
}
