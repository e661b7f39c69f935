//! The command line.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
Three nodes elect a leader. It steps down, the next leader crashes, and comes back.

Usage: cargo run --example quickstart [-- OPTIONS]

  --server URL   use this NATS server with JetStream; the bucket of the run stays there
  --memory       use the in-memory store, and no server
  --json         print one JSON object per event, and a summary as the last one
  --help         print this text

Without --server and --memory, the program looks for a nats-server: in LEASEHOLD_NATS_NEWEST, on
PATH, and where tests/run.sh puts it. It starts the server on a free loopback port with a temporary
store, and ends it afterwards. If there is none, it uses the in-memory store.

Exit codes: 0 success, 1 failure, 2 wrong option, 130 interrupted.";

/// The role of this process.
pub(crate) enum Role {
    Scenario(Arguments),
    Help,
    /// A node in a process of its own.
    Node {
        cluster_id: String,
        node_id: String,
        url: String,
    },
    /// Runs a server for as long as standard input is open.
    Server {
        program: PathBuf,
    },
}

/// The options.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) server: Option<String>,
    pub(crate) memory: bool,
    pub(crate) json: bool,
}

/// First arguments of child processes.
pub(crate) const NODE: &str = "--be-node";
pub(crate) const SERVER: &str = "--be-server";

pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Result<Role, String> {
    let given: Vec<String> = arguments.collect();
    let words: Vec<&str> = given.iter().map(String::as_str).collect();
    match words[..] {
        [NODE, cluster_id, node_id, url] => Ok(Role::Node {
            cluster_id: cluster_id.to_owned(),
            node_id: node_id.to_owned(),
            url: url.to_owned(),
        }),
        [SERVER, program] => Ok(Role::Server { program: program.into() }),
        _ => read_options(&words),
    }
}

fn read_options(words: &[&str]) -> Result<Role, String> {
    let mut options = Arguments::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--help" | "-h" => return Ok(Role::Help),
            "--json" => options.json = true,
            "--memory" => options.memory = true,
            "--server" => {
                let url = words.next().ok_or("--server needs a URL")?;
                options.server = Some((*url).to_owned());
            }
            other => return Err(format!("unknown argument {other:?}")),
        }
    }
    if options.memory && options.server.is_some() {
        return Err("--memory and --server exclude each other".to_owned());
    }
    Ok(Role::Scenario(options))
}
