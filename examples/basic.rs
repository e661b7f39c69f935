//! A service of which one instance works at a time.
//!
//! Start two of them. End the one that leads with Ctrl-C: the other leads at once.
//!
//! ```sh
//! cargo run --example basic -- node-1
//! cargo run --example basic -- node-2
//! ```
//!
//! Arguments, all optional: node id, cluster id, server.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leasehold::{Config, Event, Leadership, LeadershipLost, Node};
use signal_hook::consts::{SIGINT, SIGTERM};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("basic: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let node_id = arguments.next().unwrap_or_else(|| format!("node-{}", std::process::id()));
    let cluster_id = arguments.next().unwrap_or_else(|| "basic".into());
    let server = arguments.next().unwrap_or_else(|| "nats://127.0.0.1:4222".into());

    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }

    let node = Node::start(Config::new(cluster_id, &node_id, [server])?)?;
    let mut term: Option<Leadership> = None;
    while !stop.load(Ordering::Relaxed) {
        if let Some(event) = node.events().next_timeout(Duration::from_millis(100)) {
            println!("{node_id} {event}");
            // `Resigning` needs no arm: no work is under way, and the guard is dropped here.
            if let Event::BecameLeader(leadership) = event {
                term = Some(leadership);
            }
        }
        // A lost token never becomes valid again.
        if term.as_ref().is_some_and(|term| work(term).is_err()) {
            term = None;
        }
    }
    node.stop(); // releases the lease, so that another instance need not wait
    Ok(())
}

/// One small step of the work that only the leader may do. It checks the token first.
fn work(term: &Leadership) -> Result<(), LeadershipLost> {
    let epoch = term.ensure()?;
    // Send the epoch with each write: see the example `fenced_writer`.
    println!("working in epoch {epoch}");
    Ok(())
}
