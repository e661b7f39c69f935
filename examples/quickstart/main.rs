//! The library's main job, with no set-up: three nodes elect a leader; it steps down, the next one
//! crashes, and comes back. `--help` tells the options.
//!
//! With a NATS server the nodes are processes: this program again, in the role of a [node](node).
//! The crash is a SIGKILL then. Without one they are threads on the store in memory, and the crash
//! is a node cut off from it.

mod arguments;
mod child;
mod memory;
mod node;
mod processes;
mod report;
mod server;
mod story;
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
use server::Server;
use story::{Stage, Story};
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
        Role::Story(arguments) => tell(&arguments, &interrupted),
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

/// The whole story. However it ends, what was started for it is ended with it.
fn tell(arguments: &Arguments, interrupted: &Arc<AtomicBool>) -> Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(interrupted))?;
    }
    let mut timeline = Timeline::new(arguments.json);
    let server = choose_server(arguments)?;
    let (news, heard) = unbounded();
    let stage: Box<dyn Stage> = if let Some(server) = &server {
        timeline.opening(server.name(), "a process each; the crash is a SIGKILL")?;
        Box::new(Processes::new(server.url(), news))
    } else {
        timeline.opening("memory", "a thread each; the crash is a cut from the store")?;
        Box::new(Memory::new(news))
    };
    Story::new(stage, heard, timeline, Arc::clone(interrupted)).tell()
    // The nodes have ended here; the server is dropped last.
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

/// The configuration of a node; everybody's but for the name.
fn config(cluster_id: &str, node_id: &str, url: &str) -> std::result::Result<Config, ConfigError> {
    Config::builder(cluster_id, node_id, [url])
        .lease_ttl(TTL)
        .connect_timeout(Duration::from_secs(15))
        .renew_interval(RENEW_INTERVAL)
        .build()
}
