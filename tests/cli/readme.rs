//! The commands of the README, run as they stand there.

use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::site::{PATIENCE, PROGRAM, Site};
use crate::support::process::{Process, bound_command, without_package};
use crate::support::version::Version;

/// Commands that need no daemon, and the test that runs each.
const ALONE: [&str; 3] = [
    // `the_first_command_of_the_readme_needs_nothing`.
    "cargo run --example quickstart",
    // It runs this test.
    "tests/run.sh",
    // The section "Install" of `tests/run.sh --all`.
    "cargo install --locked --path . --no-default-features --features cli,vip",
];

/// Every line of the README's shell blocks, without its comment.
fn commands() -> Vec<String> {
    let blocks = include_str!("../../README.md").split("```sh\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap_or_default());
    let command = |line: &str| line.split(" #").next().unwrap_or_default().trim().to_owned();
    blocks.flat_map(str::lines).map(command).collect()
}

/// Whether a command belongs to the session with two daemons.
fn is_of_session(command: &str) -> bool {
    ["leasehold ", "until leasehold ", "kill "].iter().any(|word| command.starts_with(word))
}

#[test]
fn every_command_of_the_readme_is_run_by_a_test() {
    let mut commands = commands();
    commands.retain(|command| !is_of_session(command));
    assert_eq!(commands, ALONE);
    let script = include_str!("../run.sh");
    assert!(script.contains(ALONE[2]), "tests/run.sh --all installs the command");
}

#[test]
fn the_first_command_of_the_readme_needs_nothing() {
    let mut shell = Command::new("sh");
    shell.args(["-c", ALONE[0]]).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    let output = without_package(&mut shell).output().expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("never two leaders"), "{output:?}");
}

on_both_servers!(the_session_of_the_readme_starts_two_daemons_and_hands_over, |version| {
    let site = Site::new(version);
    let mut daemons = Vec::new();
    for command in commands().into_iter().filter(|command| is_of_session(command)) {
        if command == "kill %1 %2" {
            break;
        }
        let command = command.replace("nats://127.0.0.1:4222", &site.server.url());
        let Some(command) = command.strip_suffix(" &") else {
            assert_output(&command, &run(&site, &command));
            continue;
        };
        daemons.push(Process::spawn(shell(&site, &format!("exec {command}"))));
    }
    let [first, second] = &mut daemons[..] else { panic!("two daemons") };
    site.wait_for_lead("n2");
    for daemon in [second, first] {
        daemon.signal(Signal::TERM);
        assert!(daemon.exited(PATIENCE).success());
        for output in ["start it", "stop it"] {
            assert!(daemon.transcript().contains(output), "{}", daemon.transcript());
        }
    }
});

/// A shell that finds `leasehold`.
fn shell(site: &Site, line: &str) -> Command {
    let folder = std::path::Path::new(PROGRAM).parent().expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = bound_command("sh");
    command.args(["-c", line]).env("PATH", format!("{}:{path}", folder.display()));
    command.current_dir(site.folder.path()).stdin(Stdio::null());
    command
}

/// Runs a command that ends by itself, and returns its output.
fn run(site: &Site, line: &str) -> String {
    let limit = PATIENCE.as_secs();
    let mut command = shell(site, &format!("exec timeout {limit} sh -c \"$0\""));
    let output = command.arg(line).output().expect("a shell");
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The output is what the README's comment says.
fn assert_output(line: &str, output: &str) {
    if line.starts_with("leasehold") && line.contains("status --all") {
        assert!(output.contains("n1    PRIMARY") && output.contains("n2    PASSIVE"), "{output}");
    }
    if line.contains("promote --force") {
        assert!(output.starts_with("n2 leads"), "{output}");
    }
}
