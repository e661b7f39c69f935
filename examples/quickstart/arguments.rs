//! The command line.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
Three nodes elect a leader; it steps down, the next one crashes, and comes back.

Usage: cargo run --example quickstart [-- OPTIONS]

  --server URL   a NATS server with JetStream to use; a bucket of this run stays there
  --memory       no server: the store in memory
  --json         one JSON object a line for each event, the last one a summary
  --help         this text

With neither --server nor --memory, a nats-server is looked for: in LEASEHOLD_NATS_NEWEST, on PATH
and where tests/run.sh puts it. It is started on a free loopback port with a temporary store, and
ended afterwards. When there is none, the store in memory is used.

Exit code: 0; 1 when something went wrong; 2 for a wrong option; 130 when interrupted.";

/// What this process is to do.
pub(crate) enum Role {
    Story(Arguments),
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

/// First arguments that put a process into another role; not for people.
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
    Ok(Role::Story(options))
}
