//! Every fault, on each of the servers, against nodes in processes of their own; and the tools of
//! these tests, which are tested first.

#[path = "../nodes/mod.rs"]
mod nodes;
#[path = "../support/mod.rs"]
#[macro_use]
mod support;
#[path = "../faults/mod.rs"]
#[macro_use]
mod faults;

mod checker;
mod support_self;
mod support_wire;

mod clock;
mod cluster;
mod limits;
mod link;
mod process;
mod record;
mod server;

/// What a child process runs.
#[test]
fn node_process() {
    nodes::child::run_if_child();
}
