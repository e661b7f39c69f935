//! The parent's side: one node in a process of its own, its commands and its log.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use leasehold::Config;
use serde_json::{Value, json};

use super::child::SCRIPT;
use super::{PATIENCE, nanos, now};
use crate::support::process::{Process, bound_command};
use crate::support::wait::eventually;

/// Why and when a term ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The term's epoch.
    pub epoch: u64,
    /// The displayed cause.
    pub cause: String,
    /// When the event was taken from the channel.
    pub at: u64,
}

/// The beginning of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Win {
    /// The term's epoch.
    pub epoch: u64,
    /// When its challenge was sent, or later.
    pub challenged: u64,
    /// When the event was taken from the channel.
    pub at: u64,
}

/// Settings of a process beside its configuration.
#[derive(Clone, Debug, Default)]
pub struct Kit {
    /// Its clock can be moved with the command `jump`.
    pub jumps: bool,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
}

/// One node in a process of its own.
#[derive(Debug)]
pub struct NodeProcess {
    name: String,
    validity: u64,
    process: Process,
    /// When the parent ended it.
    ended: Option<u64>,
    events: Vec<Value>,
    samples: Vec<Value>,
    replies: VecDeque<Value>,
    /// The next event to be read.
    cursor: usize,
}

impl NodeProcess {
    /// Starts a process with one node and hooks.
    pub fn start(config: &Config) -> Self {
        Self::equipped(config, &Kit::default())
    }

    /// Starts a process with one node and hooks, and a kit of its own.
    pub fn equipped(config: &Config, kit: &Kit) -> Self {
        let mut script = script(config, &Value::Null);
        script["jumps"] = kit.jumps.into();
        let script = script.to_string();
        let given = kit.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let environment = given.chain([(SCRIPT, script.as_str())]).collect::<Vec<_>>();
        Self::new(config, Process::this_test("node_process", &environment))
    }

    /// Starts a process with one node in the network namespace at the path `namespace`. `more` goes
    /// into its script.
    pub fn start_in(namespace: &str, config: &Config, more: &Value) -> Self {
        let script = script(config, more).to_string();
        Self::new(config, Process::this_test_in(namespace, "node_process", &[(SCRIPT, &script)]))
    }

    /// A process that only logs these lines and exits.
    pub fn reciting(config: &Config, lines: &[Value]) -> Self {
        let mut command = bound_command("printf");
        command.arg("%s\\n").args(lines.iter().map(Value::to_string));
        Self::new(config, Process::spawn(command))
    }

    fn new(config: &Config, process: Process) -> Self {
        Self {
            name: config.node_id().to_owned(),
            validity: nanos(config.timing().validity()),
            process,
            ended: None,
            events: Vec::new(),
            samples: Vec::new(),
            replies: VecDeque::new(),
            cursor: 0,
        }
    }

    /// The node's id.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long a term is valid after its newest stored write was sent, in nanoseconds.
    pub fn validity(&self) -> u64 {
        self.validity
    }

    /// Whether the parent has not ended the process.
    pub fn is_alive(&self) -> bool {
        self.ended.is_none()
    }

    /// When the parent ended the process, if it did.
    pub fn ended(&self) -> Option<u64> {
        self.ended
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The log so far, without samples and replies.
    pub fn events(&self) -> &[Value] {
        &self.events
    }

    /// The samples of `is_leader()` so far.
    pub fn samples(&self) -> &[Value] {
        &self.samples
    }

    // Commands.

    /// Gives a command and returns its outcome.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> Value {
        self.process.say(command);
        self.await_reply(command)
    }

    /// Gives a command that must succeed, and returns its outcome.
    #[track_caller]
    pub fn order(&mut self, command: &str) -> Value {
        let reply = self.ask(command);
        assert_eq!(reply["error"], Value::Null, "{command} at {}", self.name);
        reply
    }

    /// Stops the node. True when its lease was left to expire.
    #[track_caller]
    pub fn stop(&mut self) -> bool {
        let reply = self.ask("stop");
        self.ended = Some(now());
        self.read_to_end();
        reply["left_to_expire"].as_bool().expect("a bool")
    }

    /// Kills the process, as a power cut would.
    pub fn kill(&mut self) {
        self.process.kill();
        self.ended.get_or_insert_with(now);
        self.catch_up();
    }

    /// Ends the process without a release.
    pub fn end(&mut self) {
        self.process.close_stdin();
        self.ended.get_or_insert_with(now);
        self.read_to_end();
    }

    /// Stops the process (SIGSTOP). It has stopped when this returns.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Continues the process (SIGCONT).
    pub fn resume(&self) {
        self.process.resume();
    }

    // Queries.

    /// The status of the node.
    #[track_caller]
    pub fn status(&mut self) -> Value {
        self.ask("status")
    }

    /// A counter of the node.
    #[track_caller]
    pub fn count(&mut self, counter: &str) -> u64 {
        self.ask("stats")[counter].as_u64().expect("a known counter")
    }

    /// Whether the status says that it leads.
    #[track_caller]
    pub fn leads(&mut self) -> bool {
        self.status()["role"] == "leader"
    }

    /// Waits until its status has this leader.
    #[track_caller]
    pub fn knows_leader(&mut self, leader: &str) {
        let name = self.name.clone();
        eventually(PATIENCE, &format!("{name} to know that {leader} leads"), || {
            self.status()["leader"] == leader
        });
    }

    // The log.

    /// Waits until the node has started.
    #[track_caller]
    pub fn started(&mut self) {
        let kinds = ["started", "refused"];
        let first = self.find("the outcome of the start", |event| {
            let found = event["event"].as_str().is_some_and(|kind| kinds.contains(&kind));
            found.then(|| event.clone())
        });
        assert_eq!(first["event"], "started", "{first}");
    }

    /// The next begin of a term in the unread log.
    #[track_caller]
    pub fn became(&mut self) -> Win {
        let validity = self.validity;
        let event = self.next("became");
        let at = number(&event, "at");
        let deadline = event["deadline"].as_u64().unwrap_or(at + validity);
        Win { epoch: number(&event, "epoch"), challenged: deadline - validity, at }
    }

    /// The next end of a term in the unread log.
    #[track_caller]
    pub fn lost(&mut self) -> Loss {
        let event = self.next("lost");
        let cause = event["cause"].as_str().unwrap_or_default().to_owned();
        Loss { epoch: number(&event, "epoch"), cause, at: number(&event, "at") }
    }

    /// The next event of a kind in the unread log.
    #[track_caller]
    pub fn next(&mut self, kind: &str) -> Value {
        self.find(kind, |event| (event["event"] == kind).then(|| event.clone()))
    }

    /// The first event in the unread log for which `pick` returns something.
    #[track_caller]
    pub fn find<T>(&mut self, what: &str, mut pick: impl FnMut(&Value) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            while let Some(event) = self.events.get(self.cursor) {
                self.cursor += 1;
                if let Some(found) = pick(event) {
                    return found;
                }
            }
            let left = PATIENCE.saturating_sub(start.elapsed());
            assert!(self.pull(left), "{} did not log {what}", self.name);
        }
    }

    /// The number of events of a kind so far.
    pub fn told(&self, kind: &str) -> usize {
        self.events.iter().filter(|event| event["event"] == kind).count()
    }

    /// The deadline in the newest sample.
    pub fn last_deadline(&self) -> u64 {
        self.samples.last().map_or(0, |sample| number(sample, "deadline"))
    }

    /// The result of the first call of `is_leader()` after a gap of at least `gap`.
    #[track_caller]
    pub fn answer_after_gap(&mut self, gap: Duration) -> bool {
        let start = Instant::now();
        loop {
            let after = self.samples.iter().find(|sample| number(sample, "gap") >= nanos(gap));
            if let Some(sample) = after {
                return sample["leads"].as_bool().expect("a sample says whether it leads");
            }
            let left = PATIENCE.saturating_sub(start.elapsed());
            assert!(self.pull(left), "{} did not continue", self.name);
        }
    }

    #[track_caller]
    fn await_reply(&mut self, command: &str) -> Value {
        let start = Instant::now();
        loop {
            if let Some(reply) = self.replies.pop_front() {
                assert_eq!(reply["command"], command);
                return reply;
            }
            let left = PATIENCE.saturating_sub(start.elapsed());
            assert!(self.pull(left), "{} did not answer {command}", self.name);
        }
    }

    /// Waits for its exit and reads the rest of its log.
    #[track_caller]
    fn read_to_end(&mut self) {
        self.process.exited(PATIENCE);
        self.catch_up();
    }

    /// Reads the log as far as it has come. After the exit that is all of it.
    pub fn catch_up(&mut self) {
        while self.pull(Duration::ZERO) {}
    }

    /// Reads one line of the log, waiting for at most `limit`. False when there is none.
    fn pull(&mut self, limit: Duration) -> bool {
        let Some(line) = self.process.try_json_where(limit, |_| true) else { return false };
        match line["event"].as_str() {
            Some("done") => self.replies.push_back(line),
            Some("sample") => self.samples.push(line),
            _ => self.events.push(line),
        }
        true
    }
}

fn script(config: &Config, more: &Value) -> Value {
    let whole: Value = serde_json::from_str(&config.to_json()).expect("the file is JSON");
    json!({ "config": whole, "hooks": true, "more": more })
}

/// A number in a line of the log.
#[track_caller]
pub fn number(line: &Value, field: &str) -> u64 {
    line[field].as_u64().unwrap_or_else(|| panic!("no {field} in {line}"))
}
