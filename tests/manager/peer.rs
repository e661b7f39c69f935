//! A NATS client that is not ours, `nats-py`, beside our daemons: `tests/manager/peer.py` has what
//! it does.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::daemons::{Daemon, PATIENCE};
use crate::support::server::NatsServer;
use crate::support::version::Version;

on_both_servers!(a_python_client_finds_inspects_and_commands_the_cluster, |version| {
    let folder = env!("CARGO_MANIFEST_DIR");
    let client = Path::new(folder).join("target/peer");
    assert!(client.exists(), "no Python client: run tests/run.sh --servers");
    let server = NatsServer::start(version);
    let first = Daemon::of(&server.url(), "node-1");
    first.leads();
    let second = Daemon::of(&server.url(), "node-2");
    second.node().wait_for_leader(PATIENCE).unwrap();

    let mut command = Command::new("python3");
    command.arg("-B").arg(Path::new(folder).join("tests/manager/peer.py")).arg(server.url());
    let output = command.env("PYTHONPATH", client).output().expect("python3 is installed");
    let (said, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{error}");
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let whats: Vec<_> = lines.iter().map(|line| line["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["discovered", "leads", "stepped down", "stats", "health"]);
    assert_eq!(lines[0]["nodes"], json!(["node-1", "node-2"]));
    assert_eq!(lines[2]["successor"], "node-2");
    assert!(second.node().is_leader());
});
