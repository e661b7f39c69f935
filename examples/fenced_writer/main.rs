//! A leader that writes too late, and a resource that refuses the write.
//!
//! ```sh
//! cargo run --example fenced_writer
//! cargo run --example fenced_writer -- --server nats://127.0.0.1:4222
//! ```
//!
//! A leader checks its token and then stalls before it writes: its process is suspended, or a
//! packet is held up. Meanwhile it loses its connection, and another node leads and writes. No
//! lease can stop the first node from writing after its check. The epoch can, if the resource
//! compares it.

mod link;

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::time::Duration;

use leasehold::clock::Clock;
use leasehold::fence::{Fenced, Gate};
use leasehold::store::memory::MemoryServer;
use leasehold::store::nats::{BucketOptions, NatsStore};
use leasehold::{Config, Leadership, Node};

use link::{Link, Linked};

/// The time to live of the lease.
const TTL: Duration = Duration::from_secs(2);
/// The limit for every wait. On an idle machine the whole run takes one TTL.
const PATIENCE: Duration = Duration::from_secs(30);

/// The resource. It takes writes of the newest leader and refuses those of former leaders.
#[derive(Default)]
struct Ledger {
    gate: Gate,
    lines: Vec<String>,
}

impl Ledger {
    /// Checks the writer and appends a line, in one step.
    fn append(&mut self, by: &Leadership, line: &str) -> Result<(), Fenced> {
        let Self { gate, lines } = self;
        gate.admit_with(by.token(), || lines.push(format!("epoch {}: {line}", by.epoch())))
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fenced_writer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::from_arguments()?;
    let mut ledger = Ledger::default();

    let (first, link) = cluster.start("first")?;
    let old = first.wait_for_leadership(PATIENCE)?;
    let (second, _) = cluster.start("second")?;
    ledger.append(&old, "written by the first")?;
    println!("first   leads epoch {}, writes: admitted", old.epoch());

    old.ensure()?;
    println!("first   checks its token: valid; then it stalls, and its link is cut");
    link.cut();

    let new = second.wait_for_leadership(PATIENCE)?;
    ledger.append(&new, "written by the second")?;
    println!("second  leads epoch {}, writes: admitted", new.epoch());

    println!("first   goes on, and sends its write");
    match ledger.append(&old, "written too late") {
        Ok(()) => return Err("a stale writer was admitted".into()),
        Err(fenced) => println!("first   is refused: {fenced}"),
    }
    if let Err(lost) = old.ensure() {
        println!("first   looks at its token again: {lost}");
    }
    println!("\nThe ledger:\n{}", ledger.lines.join("\n"));
    Ok(())
}

/// The cluster: on a server, or in this process.
struct Cluster {
    id: String,
    server: Option<String>,
    memory: MemoryServer,
}

impl Cluster {
    fn from_arguments() -> Result<Self, Box<dyn Error>> {
        let arguments: Vec<_> = std::env::args().skip(1).collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let server = match arguments[..] {
            [] => None,
            ["--server", url] => Some(url.to_owned()),
            _ => return Err("usage: fenced_writer [--server URL]".into()),
        };
        // A cluster id of this run only, because the server may be shared.
        let id = format!("fenced-writer-{:016x}", RandomState::new().hash_one(()));
        Ok(Self { id, server, memory: MemoryServer::new() })
    }

    /// A node, and the link to its store.
    fn start(&self, node_id: &str) -> Result<(Node, Link), Box<dyn Error>> {
        let config = Config::builder(&self.id, node_id, [self.server.as_deref().unwrap_or("none")])
            .lease_ttl(TTL)
            .renew_interval(TTL * 3 / 10)
            .build()?;
        let link = Link::default();
        let (end, clock) = (link.clone(), Clock::boot());
        let node = if self.server.is_some() {
            let bucket = BucketOptions {
                cluster_id: self.id.clone(),
                replicas: 1,
                min_max_age: config.timing().shortest_max_age(),
            };
            let store = NatsStore::new(config.connection(), bucket, clock)?;
            Node::builder(config).store(Linked { store, link: end })
        } else {
            Node::builder(config).store(Linked { store: self.memory.connect(clock), link: end })
        };
        Ok((node.start()?, link))
    }
}
