//! The examples do what they show, on real servers and on none.

#[macro_use]
mod support;

use std::net::TcpStream;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use support::process::{Process, bound_command, example_path};
use support::server::NatsServer;
use support::version::Version;
use support::wait::eventually;

/// An example takes seconds; a loaded machine gets much more.
const PATIENCE: Duration = Duration::from_secs(60);

/// All that a process prints to its end, and how it ends.
fn output(mut process: Process) -> (Vec<String>, ExitStatus) {
    let lines = std::iter::from_fn(|| process.line(PATIENCE)).collect();
    (lines, process.exited(PATIENCE))
}

#[track_caller]
fn wait_for(process: &Process, text: &str) -> String {
    process.line_with(PATIENCE, text)
}

/// Runs the quickstart to its end; its events and its summary.
fn quickstart(process: Process) -> (Vec<Value>, Value) {
    let (lines, status) = output(process);
    assert!(status.success(), "{status} after {lines:#?}");
    let parse = |line: &String| serde_json::from_str(line).expect("JSON, and nothing else");
    let mut events: Vec<Value> = lines.iter().map(parse).collect();
    let last = events.pop().expect("a summary");
    (events, last["summary"].clone())
}

/// The story was told: the summary is true, and every part of it is there.
fn check_story(events: &[Value], summary: &Value) {
    let of = |kind: &str| events.iter().filter(|e| e["event"] == kind).collect::<Vec<_>>();
    let epochs: Vec<_> = of("became_leader").iter().map(|event| event["epoch"].clone()).collect();
    assert_eq!(summary["epochs"], Value::from(epochs.clone()));
    assert_eq!(summary["terms"], epochs.len());
    assert!(epochs.len() >= 3, "{summary}");
    assert!(epochs.is_sorted_by(|a, b| a.as_u64() < b.as_u64()), "{summary}");
    let within = |field: &str, range: std::ops::Range<f64>| {
        let ms = summary[field].as_f64().expect("a number");
        assert!(range.contains(&ms), "{field} is {ms}");
    };
    within("handover_ms", 0.0..15_000.0);
    // A leader dies no later than its deadline, which is 182 ms before others may take over.
    within("crash_failover_ms", 0.0..15_000.0);
    for event in ["step_down", "resigning", "crash", "rejoin"] {
        assert_eq!(of(event).len(), 1, "{event}");
    }
    assert!(of("connected").len() >= 4, "three nodes, one of them twice");
    assert_eq!(of("store")[0]["store"], summary["store"]);
    let times: Vec<_> = events.iter().map(|event| event["ms"].as_u64()).collect();
    assert!(times.iter().all(Option::is_some));
}

fn on_found_server(version: Version) -> Process {
    let mut command = bound_command(example_path("quickstart"));
    command.arg("--json").env("LEASEHOLD_NATS_NEWEST", version.binary());
    Process::spawn(command)
}

on_both_servers!(quickstart_on_a_server_that_it_finds, |version| {
    let (events, summary) = quickstart(on_found_server(version));
    check_story(&events, &summary);
    let store = summary["store"].as_str().expect("a text");
    assert!(store.starts_with("nats-server 2."), "{store}");
});

#[test]
fn quickstart_on_a_server_that_is_given() {
    let server = NatsServer::start(Version::Newest);
    let arguments = ["--json", "--server", &server.url()];
    let (events, summary) = quickstart(Process::example("quickstart", &arguments));
    check_story(&events, &summary);
    assert_eq!(summary["store"], server.url());
}

#[test]
fn quickstart_without_any_server() {
    let mut command = bound_command("env");
    command.args(["--unset=LEASEHOLD_NATS_NEWEST", "PATH=", "CARGO_MANIFEST_DIR=/nowhere"]);
    command.arg(example_path("quickstart")).arg("--json");
    let (events, summary) = quickstart(Process::spawn(command));
    check_story(&events, &summary);
    assert_eq!(summary["store"], "memory");
}

#[test]
fn quickstart_for_people() {
    let (lines, status) = output(Process::example("quickstart", &["--memory"]));
    assert!(status.success(), "{lines:#?}");
    for part in ["Election", "Step-down", "Crash", "Rejoin"] {
        assert!(lines.iter().any(|line| line == part), "{part} in {lines:#?}");
    }
    assert!(lines.iter().all(|line| !line.contains('\x1b')), "no colours in a pipe: {lines:#?}");
}

#[test]
fn an_interrupted_quickstart_leaves_no_server_behind() {
    let mut process = on_found_server(Version::Newest);
    let connected = wait_for(&process, "\"connected\"");
    let (_, address) = connected.rsplit_once("nats://").expect("a server's address");
    let address = address.trim_end_matches(['"', '}']);
    assert!(TcpStream::connect(address).is_ok(), "{address}");
    process.signal(Signal::INT);
    assert_eq!(process.exited(PATIENCE).code(), Some(130));
    // A process that another test is just starting may hold the server's socket for a moment.
    eventually(PATIENCE, "the server to be gone", || TcpStream::connect(address).is_err());
}

#[test]
fn quickstart_refuses_what_it_does_not_know() {
    for arguments in [&["--sever"][..], &["--server"], &["--memory", "--server", "x"]] {
        let (lines, status) = output(Process::example("quickstart", arguments));
        assert_eq!((status.code(), lines.len()), (Some(2), 0), "{arguments:?}");
    }
    let (lines, status) = output(Process::example("quickstart", &["--help"]));
    assert!(status.success() && lines.iter().any(|line| line.contains("--server URL")));
    let nobody = ["--server", "nats://127.0.0.1:1"];
    assert_eq!(output(Process::example("quickstart", &nobody)).1.code(), Some(1));
}

fn check_fenced_writer(arguments: &[&str]) {
    let (lines, status) = output(Process::example("fenced_writer", arguments));
    assert!(status.success(), "{lines:#?}");
    let text = lines.join("\n");
    assert!(text.contains("first   is refused: fenced: epoch 1 of session "), "{text}");
    let ledger = "The ledger:\nepoch 1: written by the first\nepoch 2: written by the second";
    assert!(text.ends_with(ledger), "{text}");
}

#[test]
fn fenced_writer_in_memory() {
    check_fenced_writer(&[]);
}

on_both_servers!(fenced_writer_on_a_server, |version| {
    let server = NatsServer::start(version);
    check_fenced_writer(&["--server", &server.url()]);
});

on_both_servers!(basic_hands_over_when_it_is_ended, |version| {
    let server = NatsServer::start(version);
    let start = |node| Process::example("basic", &[node, "orders", &server.url()]);
    let mut first = start("first");
    wait_for(&first, "working in epoch 1");
    let mut second = start("second");
    wait_for(&second, "second learns that first leads, epoch 1");
    first.signal(Signal::TERM);
    assert!(first.exited(PATIENCE).success());
    wait_for(&second, "second leads, epoch 2");
    wait_for(&second, "working in epoch 2");
    second.signal(Signal::INT);
    assert!(second.exited(PATIENCE).success());
});

/// What it does otherwise takes minutes: `tests/run.sh --all`.
#[test]
fn soak_refuses_what_it_does_not_know() {
    for arguments in [&["--minute"][..], &["--minutes", "0"], &["--seed"], &["--server", "2.8.0"]] {
        let (lines, status) = output(Process::example("soak", arguments));
        assert_eq!((status.code(), lines.len()), (Some(2), 0), "{arguments:?}");
    }
    let (lines, status) = output(Process::example("soak", &["--help"]));
    assert!(status.success() && lines.iter().any(|line| line.contains("--cluster")));
}

#[test]
fn what_keeps_an_example_from_running_is_one_line_for_people() {
    let nobody = "nats://127.0.0.1:1";
    for (name, arguments) in [
        ("basic", &["node-1", "basic", nobody][..]),
        ("fenced_writer", &["--server", nobody]),
        ("vip", &["--interface", "none", "--address", "10.0.0.256", "--seconds", "1"]),
    ] {
        let mut process = Process::example(name, arguments);
        assert_eq!(process.exited(PATIENCE).code(), Some(1));
        let told = process.transcript();
        let one_line = told.lines().count() == 1 && told.starts_with(&format!("stderr: {name}: "));
        assert!(one_line && !told.contains(['{', '"']), "{told}");
    }
}
