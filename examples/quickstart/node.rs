//! One node: reports its events and executes commands, until there are no more commands.

use std::io::{self, BufRead, Write};
use std::thread;

use crossbeam_channel::{Receiver, select, unbounded};
use leasehold::Node;

use crate::Result;
use crate::report::{Command, Kind, Report};

/// Runs until the sender of the commands is dropped, then stops the node.
pub(crate) fn run(
    node: Node,
    commands: &Receiver<Command>,
    mut report: impl FnMut(Report) -> Result<()>,
) -> Result<()> {
    loop {
        select! {
            recv(node.events().receiver()) -> event => {
                // A resignation is drained when its event is dropped: after it was reported.
                report(Report::of(&event?))?;
            }
            recv(commands) -> command => match command {
                Ok(command) => execute(&node, command).map_or(Ok(()), &mut report)?,
                Err(_) => break,
            }
        }
    }
    node.stop();
    Ok(())
}

fn execute(node: &Node, command: Command) -> Option<Report> {
    match command {
        Command::StepDown => {
            let refused = node.step_down().err()?;
            Some(Report::plain(Kind::Refused, format!("does not step down: {refused}")))
        }
        Command::LeaderCheck { newest } => {
            let leads = node.leadership().map(|leadership| leadership.epoch());
            Some(Report::leader_check(newest, leads))
        }
    }
}

/// A node in this process, which talks in lines of JSON. The end of standard input stops it, which
/// the death of the parent brings about as well.
pub(crate) fn run_as_child(cluster_id: &str, node_id: &str, url: &str) -> Result<()> {
    let node = Node::start(crate::config(cluster_id, node_id, url)?)?;
    let (commands, received) = unbounded();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(io::Result::ok) {
            let Ok(command) = serde_json::from_str(&line) else { break };
            if commands.send(command).is_err() {
                break;
            }
        }
    });
    run(node, &received, |report| {
        Ok(writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)?)
    })
}
