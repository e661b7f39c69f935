//! Nodes in a process of their own: the part of the child, and of the parent.
//!
//! The child reads commands from stdin and writes JSON lines: `done` for a command, with the moment
//! `asked` just before it was carried out, and of hand-overs the moment `returned`; `became` and
//! `lost`, with the moment `at` which the event was taken from its channel. It asks for nothing by
//! itself: a child that kept the machine busy would be measured too.

use std::collections::VecDeque;
use std::io::stdin;
use std::process::exit;
use std::thread::sleep;
use std::time::{Duration, Instant};

use leasehold::clock::{Clock, Timestamp};
use leasehold::config::ConfigBuilder;
use leasehold::{Cause, Config, Event, Leadership, Node};
use serde_json::{Value, json};

use crate::support::process::Process;

/// Where the child finds its configuration.
const ROLE: &str = "LEASEHOLD_BENCH_MEMBER";

/// By then a hand-over is over, nearly always.
const OVER: Duration = Duration::from_millis(20);
/// Nothing that is waited for takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn now() -> u64 {
    Clock::boot().now().as_nanos()
}

/// Becomes a child if the parent has given this process the part, and never returns then.
pub(crate) fn play() {
    let Ok(config) = std::env::var(ROLE) else { return };
    let mut child = Child { config, nodes: Vec::new() };
    for line in stdin().lines().map_while(Result::ok) {
        child.obey(&line);
    }
    // The end of stdin is a crash: nothing is released.
    exit(0);
}

struct Child {
    config: String,
    nodes: Vec<Node>,
}

impl Child {
    fn obey(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let asked = now();
        let mut done = json!({ "event": "done", "asked": asked });
        match verb {
            "start" => self.start(rest.parse().expect("a number of nodes")),
            "step_down" => {
                done["refused"] = self.nodes[0].step_down().is_err().into();
                over(&mut done);
            }
            "stop" => {
                for node in self.nodes.drain(..) {
                    node.stop();
                }
                over(&mut done);
            }
            "deadline" => done["deadline"] = deadline(&self.nodes[0]).into(),
            "stats" => {
                let stats = self.nodes[0].stats();
                done["renewals"] = stats.renewals.into();
                done["terms"] = stats.terms.into();
            }
            other => panic!("no such command: {other}"),
        }
        println!("{done}");
    }

    fn start(&mut self, count: usize) {
        let config: Value = serde_json::from_str(&self.config).expect("the parent writes JSON");
        for number in 0..count {
            let mut config = config.clone();
            if count > 1 {
                config["nodeId"] = format!("crowd-{number}").into();
            }
            let config = Config::from_json(&config.to_string()).expect("checked by the parent");
            let node = Node::start(config).expect("the server is there");
            let events = node.subscribe();
            std::thread::spawn(move || events.iter().for_each(|event| tell(&event)));
            self.nodes.push(node);
        }
    }
}

/// Notes that the call has returned, and waits: the one who asked would wake up now, in the middle
/// of what it measures.
fn over(done: &mut Value) {
    done["returned"] = now().into();
    sleep(OVER);
}

fn deadline(node: &Node) -> Option<u64> {
    node.leadership().as_ref().and_then(Leadership::deadline).map(Timestamp::as_nanos)
}

fn tell(event: &Event) {
    let at = now();
    match event {
        Event::BecameLeader(term) => {
            println!("{}", json!({ "event": "became", "at": at, "epoch": term.epoch() }));
        }
        // That of a hand-over would wake up whoever reads this, in the middle of it.
        Event::LostLeadership { cause, .. } if !matches!(cause, Cause::Resigned(_)) => {
            println!("{}", json!({ "event": "lost", "at": at, "cause": cause.to_string() }));
        }
        _ => {}
    }
}

/// The part of the parent.
pub(crate) struct Member {
    process: Process,
    /// What was told and not asked for yet.
    told: VecDeque<Value>,
}

impl Member {
    /// Starts a process with so many nodes; with one, it is called `name`.
    pub(crate) fn start(config: &ConfigBuilder, name: &str, count: usize) -> Self {
        let config = config.clone().node_id(name).build().expect("a valid configuration");
        let process = Process::this_test("member", &[(ROLE, &config.to_json())]);
        let mut member = Self { process, told: VecDeque::new() };
        member.ask(&format!("start {count}"));
        member
    }

    /// Has a command carried out, and returns what was said of it.
    pub(crate) fn ask(&mut self, command: &str) -> Value {
        self.process.say(command);
        self.next("done", PATIENCE).unwrap_or_else(|| {
            panic!("no answer to {command}: {}", self.process.transcript());
        })
    }

    /// The moment just before the command was carried out.
    pub(crate) fn moment(&mut self, command: &str) -> u64 {
        self.ask(command)["asked"].as_u64().expect("a moment")
    }

    /// The next event of that kind.
    pub(crate) fn next(&mut self, kind: &str, limit: Duration) -> Option<Value> {
        if let Some(at) = self.told.iter().position(|told| told["event"] == kind) {
            return self.told.remove(at);
        }
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let told = self.process.try_json_where(left, |_| true)?;
            if told["event"] == kind {
                return Some(told);
            }
            self.told.push_back(told);
        }
    }

    /// When it began to lead, as its application heard.
    pub(crate) fn became(&mut self) -> Option<u64> {
        self.next("became", PATIENCE)?["at"].as_u64()
    }

    /// Forgets what it told so far.
    pub(crate) fn forget(&mut self) {
        while self.process.try_json_where(Duration::ZERO, |_| true).is_some() {}
        self.told.clear();
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }
}
