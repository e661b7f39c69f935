//! Runs the command `leasehold`: processes, their output and their exit codes.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of this module")]

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::process::{Process, bound_command};
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::eventually_some;

/// The time limit of a wait, far above what a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_leasehold");

/// A server and a folder with configuration files.
pub struct Site {
    pub server: NatsServer,
    pub folder: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Its output as one JSON object.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// It ended with this code and printed only one line, which contains `words`.
    #[track_caller]
    pub fn failed(self, code: i32, words: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!((self.stderr.lines().count(), self.stdout.as_str()), (1, ""), "{self:?}");
        assert!(self.stderr.starts_with("leasehold: ") && self.stderr.contains(words), "{self:?}");
    }
}

impl Site {
    pub fn new(version: Version) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { server: NatsServer::start(version), folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `<node>.json` with a lease that is long enough for a loaded machine.
    pub fn init(&self, node: &str) {
        let (file, url) = (format!("{node}.json"), self.server.url());
        let names = ["--cluster-id", "orders", "--node-id", node, "--nats-url", &url];
        let times = ["--lease-ttl", "3s", "--renew-interval", "300ms"];
        self.run(&[&["init", "-c", &file], &names[..], &times[..]].concat()).succeeded();
    }

    /// Runs a command to its end, in the folder.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, &[])
    }

    /// The same with arguments that need not be text, and more environment variables. A command
    /// that does not end is killed, with the exit code 124.
    pub fn run_with(&self, arguments: &[impl AsRef<OsStr>], environment: &[(&str, &str)]) -> Ended {
        let mut command = Command::new("timeout");
        command.arg("--foreground").arg(PATIENCE.as_secs().to_string()).arg(PROGRAM);
        command.args(arguments).envs(environment.iter().copied());
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        let output = command.output().expect("`timeout` is there");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Ended {
            code: output.status.code().expect("not killed"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Changes a node's file.
    pub fn change(&self, node: &str, change: impl FnOnce(&mut Value)) {
        let file = self.path(&format!("{node}.json"));
        let mut config = serde_json::from_slice(&fs::read(&file).expect("a file")).expect("JSON");
        change(&mut config);
        fs::write(&file, config.to_string()).expect("its own file");
    }

    /// Runs a command with the file of a node.
    pub fn of(&self, node: &str, arguments: &[&str]) -> Ended {
        self.run(&[&["-c", &format!("{node}.json")], arguments].concat())
    }

    /// The status of a node.
    pub fn status(&self, node: &str) -> Value {
        self.of(node, &["status", "--json"]).succeeded().json()
    }

    /// Starts a daemon, without waiting for its node.
    pub fn daemon(&self, node: &str, arguments: &[&str]) -> Process {
        self.daemon_with(node, arguments, &[])
    }

    pub fn daemon_with(
        &self,
        node: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Process {
        let mut command = bound_command(PROGRAM);
        command.current_dir(self.folder.path()).envs(environment.iter().copied());
        command.args(["-c", &format!("{node}.json"), "daemon"]).args(arguments);
        Process::spawn(command)
    }

    /// Waits until the status of a node is as `wanted`.
    #[track_caller]
    pub fn wait(&self, node: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually_some(PATIENCE, what, || {
            let ended = self.of(node, &["status", "--json"]);
            let status = serde_json::from_str(&ended.stdout).unwrap_or_default();
            (ended.code == 0 && wanted(&status)).then_some(status)
        })
    }

    #[track_caller]
    pub fn wait_for_lead(&self, node: &str) -> Value {
        self.wait(node, &format!("{node} to lead"), |status| status["role"] == "PRIMARY")
    }

    /// Waits for a file that a command writes.
    #[track_caller]
    pub fn wait_for_file(&self, name: &str) -> String {
        eventually_some(PATIENCE, name, || {
            fs::read_to_string(self.path(name)).ok().filter(|text| text.ends_with('\n'))
        })
    }
}

/// Processes whose command line contains `words`.
pub fn processes_with(words: &str) -> Vec<String> {
    let folder = fs::read_dir("/proc").expect("Linux");
    folder
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            // The daemon's arguments contain its commands.
            (line.contains(words) && !line.contains(" daemon ")).then(|| format!("{pid}: {line}"))
        })
        .collect()
}
