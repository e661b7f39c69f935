//! One node: reports its events, and carries orders out until there are no more.

use std::io::{self, BufRead, Write};
use std::thread;

use crossbeam_channel::{Receiver, select, unbounded};
use leasehold::Node;

use crate::Result;
use crate::report::{Kind, Order, Report};

/// Runs until whoever gives the orders hangs up, then stops the node.
pub(crate) fn run(
    node: Node,
    orders: &Receiver<Order>,
    mut report: impl FnMut(Report) -> Result<()>,
) -> Result<()> {
    loop {
        select! {
            recv(node.events().receiver()) -> event => {
                // A resignation is drained when its event is dropped: after it was reported.
                report(Report::of(&event?))?;
            }
            recv(orders) -> order => match order {
                Ok(order) => carry_out(&node, order).map_or(Ok(()), &mut report)?,
                Err(_) => break,
            }
        }
    }
    node.stop();
    Ok(())
}

fn carry_out(node: &Node, order: Order) -> Option<Report> {
    match order {
        Order::StepDown => {
            let refused = node.step_down().err()?;
            Some(Report::plain(Kind::Refused, format!("does not step down: {refused}")))
        }
        Order::Census { newest } => {
            let leads = node.leadership().map(|leadership| leadership.epoch());
            Some(Report::census(newest, leads))
        }
    }
}

/// A node in this process, which talks in lines of JSON. The end of standard input stops it, which
/// the death of the parent brings about as well.
pub(crate) fn run_as_child(cluster_id: &str, node_id: &str, url: &str) -> Result<()> {
    let node = Node::start(crate::config(cluster_id, node_id, url)?)?;
    let (orders, ordered) = unbounded();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(io::Result::ok) {
            let Ok(order) = serde_json::from_str(&line) else { break };
            if orders.send(order).is_err() {
                break;
            }
        }
    });
    run(node, &ordered, |report| Ok(writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)?))
}
