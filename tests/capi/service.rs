//! The virtual IP and health of a node in a C program, from its configuration file alone.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use leasehold::{Config, Role, health};
use serde_json::json;
use tempfile::TempDir;

use super::program::{Checker, PATIENCE, Program, passed};
use super::wait_for;
use crate::netns::{ip, isolated, shown};
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::eventually;

const VIP: &str = "10.0.0.10";

/// A configuration file in a temporary folder.
fn file(url: &str, node: &str, vip: bool) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("node.json");
    let mut text = json!({
        "clusterId": "service", "nodeId": node, "nats": { "servers": [url] },
        "election": { "leaseTtlMs": 10000, "renewIntervalMs": 500, "cooldownMs": 0 },
    });
    if vip {
        text["vip"] = json!({ "address": VIP, "netmask": 32, "interface": "eth0" });
    }
    fs::write(&path, text.to_string()).expect("a file");
    (folder, path)
}

/// The network namespace of the calling thread.
fn namespace() -> String {
    format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid())
}

/// The address appears when the node leads, and is removed before the program ends.
pub(crate) fn holds_a_virtual_ip(checker: Checker) {
    // The first child process fixes the namespace of later ones: it must not be the isolated one.
    let program = Program::of_tests("member");
    drop(program.start(Checker::Nothing, &[]));
    isolated(move || {
        ip("link add name eth0 type veth peer name eth1");
        ip("link set eth0 up");
        ip("link set eth1 up");
        let space = namespace();
        let server = NatsServer::builder(Version::Newest).namespace(&space).start();
        let (_folder, path) = file(&server.url(), "node-1", true);
        let mut process =
            program.start_in(&space, checker, &[path.to_str().expect("a readable path")]);
        wait_for(&process, " leads, epoch ");
        eventually(PATIENCE, "the address", || shown(VIP, "eth0").is_some());
        process.close_stdin();
        let lines = passed(process);
        assert_eq!(lines.last().map(String::as_str), Some("done"));
        assert!(shown(VIP, "eth0").is_none(), "it is removed before the end");
    });
}

/// The node answers health queries while it runs.
pub(crate) fn answers_for_its_health(version: Version, checker: Checker) {
    let server = NatsServer::start(version);
    let (_folder, path) = file(&server.url(), "node-1", false);
    let program = Program::of_tests("member");
    let mut process = program.start(checker, &[path.to_str().expect("a readable path")]);
    wait_for(&process, " leads, epoch ");
    let asker = Config::new("service", "asker", [server.url()]).expect("valid");
    eventually(PATIENCE, "an answer", || {
        let answer = health::query(&asker, "node-1", Duration::from_secs(10));
        answer.is_ok_and(|answer| answer.health.role == Role::Leader && answer.health.epoch > 0)
    });
    process.close_stdin();
    assert_eq!(passed(process).last().map(String::as_str), Some("done"));
    assert!(health::query(&asker, "node-1", Duration::from_secs(1)).is_err());
}
