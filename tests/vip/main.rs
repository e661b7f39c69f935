//! Virtual IPs, in network namespaces of their own.

#![cfg(all(feature = "vip", target_os = "linux", not(leasehold_portable)))]

#[path = "../netns/mod.rs"]
mod netns;
#[path = "../nodes/mod.rs"]
mod nodes;
#[path = "../support/mod.rs"]
#[macro_use]
mod support;

mod cluster;
mod kernel;
mod network;
mod node;
mod others;
mod process;

/// What a child process of the cluster's test runs.
#[test]
fn node_process() {
    cluster::member::play();
}
