//! Nodes on real servers, of the oldest and the newest version.

#[path = "../nodes/mod.rs"]
mod nodes;
#[path = "../support/mod.rs"]
#[macro_use]
mod support;

mod damage;
mod election;
mod hostile;
mod outages;
mod refusals;
mod scale;
mod start;
mod v1;

/// The test that a child process runs.
#[test]
fn node_process() {
    nodes::child::run_if_child();
}
