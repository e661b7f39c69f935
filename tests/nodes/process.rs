//! The part of the parent: one node in a process of its own, told what to do and listened to.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use leasehold::Config;
use serde_json::{Value, json};

use super::role::ROLE;
use super::{PATIENCE, nanos, now};
use crate::support::process::{Process, bound_command};
use crate::support::wait::eventually;

/// Why and when a term ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The term's epoch.
    pub epoch: u64,
    /// The cause, in words.
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

/// What a process is given beside its configuration.
#[derive(Clone, Debug, Default)]
pub struct Kit {
    /// A boot-time clock that the command `jump` moves.
    pub jumps: bool,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
}

/// One node in a process of its own.
#[derive(Debug)]
pub struct NodeProcess {
    name: String,
    validity: u64,
    process: Process,
    /// When it was ended from here.
    ended: Option<u64>,
    events: Vec<Value>,
    samples: Vec<Value>,
    replies: VecDeque<Value>,
    /// Events before it were looked at.
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
        let environment = given.chain([(ROLE, script.as_str())]).collect::<Vec<_>>();
        Self::new(config, Process::this_test("node_process", &environment))
    }

    /// The same in the network namespace behind the path `namespace`, with `more` in the script for
    /// whoever plays the part.
    pub fn start_in(namespace: &str, config: &Config, more: &Value) -> Self {
        let script = script(config, more).to_string();
        Self::new(config, Process::this_test_in(namespace, "node_process", &[(ROLE, &script)]))
    }

    /// A process that logs just these lines, and ends.
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

    /// How long a term is valid after its newest stored write was sent.
    pub fn validity(&self) -> u64 {
        self.validity
    }

    /// Whether the process has not been ended from here.
    pub fn is_alive(&self) -> bool {
        self.ended.is_none()
    }

    /// When the process was ended from here, if it was.
    pub fn ended(&self) -> Option<u64> {
        self.ended
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it has logged, apart from samples, so far.
    pub fn events(&self) -> &[Value] {
        &self.events
    }

    /// What `is_leader()` was, so far.
    pub fn samples(&self) -> &[Value] {
        &self.samples
    }

    // Commands.

    /// Gives a command and returns what came of it.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> Value {
        self.process.say(command);
        self.await_reply(command)
    }

    /// Gives a command that is not to fail.
    #[track_caller]
    pub fn order(&mut self, command: &str) -> Value {
        let reply = self.ask(command);
        assert_eq!(reply["error"], Value::Null, "{command} at {}", self.name);
        reply
    }

    /// Stops the node in order; whether its lease was left to lapse.
    #[track_caller]
    pub fn stop(&mut self) -> bool {
        let reply = self.ask("stop");
        self.ended = Some(now());
        self.read_to_end();
        reply["left_to_expire"].as_bool().expect("a stop says how it went")
    }

    /// Ends the process as a power cut would.
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

    /// Stops the process (SIGSTOP); it stands still when this returns.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.process.resume();
    }

    // Questions.

    /// Its status.
    #[track_caller]
    pub fn status(&mut self) -> Value {
        self.ask("status")
    }

    /// A counter of its statistics.
    #[track_caller]
    pub fn count(&mut self, counter: &str) -> u64 {
        self.ask("stats")[counter].as_u64().expect("a known counter")
    }

    /// Whether it says that it leads.
    #[track_caller]
    pub fn leads(&mut self) -> bool {
        self.status()["role"] == "leader"
    }

    /// Returns when it names `leader`.
    #[track_caller]
    pub fn knows_leader(&mut self, leader: &str) {
        let name = self.name.clone();
        eventually(PATIENCE, &format!("{name} to know that {leader} leads"), || {
            self.status()["leader"] == leader
        });
    }

    // What it logs.

    /// Waits for its start to succeed.
    #[track_caller]
    pub fn started(&mut self) {
        let kinds = ["started", "refused"];
        let first = self.find("how its start went", |event| {
            let told = event["event"].as_str().is_some_and(|kind| kinds.contains(&kind));
            told.then(|| event.clone())
        });
        assert_eq!(first["event"], "started", "{first}");
    }

    /// The next term that begins, after what was looked at before.
    #[track_caller]
    pub fn became(&mut self) -> Win {
        let validity = self.validity;
        let event = self.next("became");
        let at = number(&event, "at");
        let deadline = event["deadline"].as_u64().unwrap_or(at + validity);
        Win { epoch: number(&event, "epoch"), challenged: deadline - validity, at }
    }

    /// The next term that ends, after what was looked at before.
    #[track_caller]
    pub fn lost(&mut self) -> Loss {
        let event = self.next("lost");
        let cause = event["cause"].as_str().unwrap_or_default().to_owned();
        Loss { epoch: number(&event, "epoch"), cause, at: number(&event, "at") }
    }

    /// The next event of a kind, after what was looked at before.
    #[track_caller]
    pub fn next(&mut self, kind: &str) -> Value {
        self.find(kind, |event| (event["event"] == kind).then(|| event.clone()))
    }

    /// The first event that `pick` takes, after what was looked at before.
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
            assert!(self.pull(left), "{} never told: {what}", self.name);
        }
    }

    /// How many events of a kind there were so far.
    pub fn told(&self, kind: &str) -> usize {
        self.events.iter().filter(|event| event["event"] == kind).count()
    }

    /// The deadline that was last sampled.
    pub fn last_deadline(&self) -> u64 {
        self.samples.last().map_or(0, |sample| number(sample, "deadline"))
    }

    /// What the first call of `is_leader()` said that began after a gap of at least `gap`.
    #[track_caller]
    pub fn answer_after_gap(&mut self, gap: Duration) -> bool {
        let start = Instant::now();
        loop {
            let after = self.samples.iter().find(|sample| number(sample, "gap") >= nanos(gap));
            if let Some(sample) = after {
                return sample["leads"].as_bool().expect("a sample says whether it leads");
            }
            let left = PATIENCE.saturating_sub(start.elapsed());
            assert!(self.pull(left), "{} was not seen to come back", self.name);
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

    /// Takes in all that it has logged, once it has ended.
    #[track_caller]
    fn read_to_end(&mut self) {
        self.process.exited(PATIENCE);
        self.catch_up();
    }

    /// Takes in what was read of its log by now; that is all of it once it has ended.
    pub fn catch_up(&mut self) {
        while self.pull(Duration::ZERO) {}
    }

    /// Takes in one line; false when there is none.
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

/// A field that is a number in every line of its kind.
#[track_caller]
pub fn number(line: &Value, field: &str) -> u64 {
    line[field].as_u64().unwrap_or_else(|| panic!("no {field} in {line}"))
}
