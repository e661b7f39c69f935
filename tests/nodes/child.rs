//! The child process: it runs one node, writes a log to stdout, and reads commands from stdin.
//!
//! Each line of the log is a JSON object with `event` and the time `at`, in nanoseconds of boot
//! time:
//!
//! * the events of the node: `became`, `resigning`, `lost`, `leader`, `connected`, `disconnected`,
//!   `duplicate`, `ttl`, `corrupt`, `problem`, `missed`; with hooks, `hook_became`, `hook_lost`;
//! * `sample`: the result of `is_leader()`, when it, the epoch or the deadline has changed, and
//!   after each gap in which it was not called (while the process was stopped, for example); see
//!   [`Sampler`];
//! * `done`: the outcome of one command, in the order of the commands;
//! * `started`, or `refused` with the error.
//!
//! Commands: `step_down`, `transfer NODE`, `promote`, `healthy BOOL`, `set_meta JSON`,
//! `hold_drain`, `drain`, `status`, `stats`, `wall`, `jump MILLIS`, `jump_leading MILLIS` (only
//! while it leads), `stop`. The end of stdin ends the process at once, without a release.
//!
//! A node whose clock has jumped logs its deadlines on the clock of the machine.

use std::env;
use std::io::stdin;
use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, SystemTime};

use leasehold::clock::Clock;
use leasehold::{
    Cause, Config, DrainGuard, Epoch, Event, Events, Hooks, Leadership, Node, NodeBuilder,
};
use serde_json::{Map, Value, json};

use super::{nanos, now};

/// The variable with the script: `{"config": …, "hooks": …, "jumps": …, "more": …}`.
pub const SCRIPT: &str = "LEASEHOLD_TEST_NODE";

/// How often `is_leader()` is called.
const PACE: Duration = Duration::from_millis(1);
/// So close to the deadline, `is_leader()` is called without a pause, to see its end exactly.
const EDGE: u64 = 2_000_000;
/// Only a stopped process causes such a gap; a loaded machine does not.
const GAP: u64 = 200_000_000;

/// Runs a node and exits, if the parent has started this process for that.
pub fn run_if_child() {
    run_if_child_with(|builder, _| builder, |_, _| {});
}

/// The same. Calls `equip` before the node starts and `attend` afterwards, both with the `more` of
/// the script.
pub fn run_if_child_with(
    equip: impl FnOnce(NodeBuilder, &Value) -> NodeBuilder,
    attend: impl FnOnce(&Arc<Node>, &Value),
) {
    let Ok(script) = env::var(SCRIPT) else { return };
    let script: Value = serde_json::from_str(&script).expect("the parent writes JSON");
    let config = Config::from_json(&script["config"].to_string()).expect("checked by the parent");
    let mut builder = Node::builder(config);
    if script["hooks"] == true {
        builder = builder.hooks(LoggingHooks);
    }
    let clock = if script["jumps"] == true { Clock::shifted() } else { Clock::boot() };
    builder = builder.clock(clock.clone());
    match equip(builder, &script["more"]).start() {
        Ok(node) => {
            let child = Child::new(node, clock);
            attend(&child.node, &script["more"]);
            child.run();
        }
        Err(error) => say("refused", json!({ "error": error.to_string() })),
    }
    exit(0);
}

/// Writes a line of the log.
pub fn say(event: &str, fields: Value) {
    let mut line = Map::from_iter([("event".into(), event.into()), ("at".into(), now().into())]);
    if let Value::Object(fields) = fields {
        line.extend(fields);
    }
    println!("{}", Value::Object(line));
}

/// Drain guards that are kept; `None` to drop each at once.
type HeldDrains = Arc<Mutex<Option<Vec<DrainGuard>>>>;

/// How far the clock of this node has jumped, in nanoseconds. Locked while a deadline is read, so
/// that no jump comes between; every term ends at a jump.
static JUMPED: Mutex<u64> = Mutex::new(0);

/// The deadline of a term on the clock of the machine; `None` when the term has ended.
fn deadline(term: &Leadership) -> Option<u64> {
    let jumped = JUMPED.lock().unwrap_or_else(PoisonError::into_inner);
    Some(term.deadline()?.as_nanos() - *jumped)
}

struct Child {
    node: Arc<Node>,
    clock: Clock,
    held: HeldDrains,
    slowest: Arc<AtomicU64>,
}

impl Child {
    fn new(node: Node, clock: Clock) -> Self {
        say("started", json!({ "session": node.session().to_string() }));
        let (node, held, slowest) = (Arc::new(node), HeldDrains::default(), Arc::default());
        let events = node.subscribe();
        let listener = Arc::clone(&held);
        thread::spawn(move || log_events(&events, &listener));
        let mut sampler = Sampler::new(Arc::downgrade(&node), Arc::clone(&slowest));
        thread::spawn(move || sampler.run());
        Self { node, clock, held, slowest }
    }

    fn run(self) {
        for line in stdin().lines().map_while(Result::ok) {
            if line == "stop" {
                return self.stop();
            }
            let asked = now();
            let mut outcome = self.carry_out(&line);
            outcome["command"] = line.into();
            outcome["asked"] = asked.into();
            say("done", outcome);
        }
    }

    fn carry_out(&self, line: &str) -> Value {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let node = &self.node;
        match verb {
            "step_down" => outcome(node.step_down()),
            "transfer" => outcome(node.transfer_to(rest)),
            "promote" => outcome(node.promote()),
            "set_meta" => outcome(node.set_meta(serde_json::from_str(rest).ok())),
            "healthy" => {
                node.set_healthy(rest == "true");
                json!({})
            }
            "hold_drain" => {
                *self.held.lock().unwrap() = Some(Vec::new());
                json!({})
            }
            "drain" => {
                *self.held.lock().unwrap() = None;
                json!({})
            }
            "jump" => self.jump(rest, true),
            "jump_leading" => self.jump(rest, false),
            "wall" => json!({ "seconds": wall_clock().as_secs() }),
            "status" => self.status(),
            "stats" => self.stats(),
            other => panic!("no such command: {other}"),
        }
    }

    /// Moves the clock forward by more than a term is valid, as a suspend does. Returns whether the
    /// node led before and leads at once afterwards.
    fn jump(&self, millis: &str, follower_too: bool) -> Value {
        let by = Duration::from_millis(millis.parse().expect("milliseconds"));
        assert!(by >= self.node.config().lease_ttl(), "a term would outlive the jump");
        let mut jumped = JUMPED.lock().unwrap_or_else(PoisonError::into_inner);
        let led = self.node.is_leader();
        if led || follower_too {
            self.clock.advance(by);
            *jumped += nanos(by);
        }
        json!({ "led": led, "leads": self.node.is_leader() })
    }

    fn status(&self) -> Value {
        let status = self.node.status();
        json!({
            "node": status.node_id, "role": status.role.to_string(), "leader": status.leader,
            "resigning": status.resigning, "epoch": status.epoch, "revision": status.revision,
            "connected": status.connected, "meta": self.node.leader_meta(),
        })
    }

    fn stats(&self) -> Value {
        let stats = self.node.stats();
        json!({
            "terms": stats.terms, "renewals": stats.renewals, "failures": stats.failures,
            "unknown_outcomes": stats.unknown_outcomes, "lost_races": stats.lost_races,
            "reconnects": stats.reconnects, "abandoned": stats.abandoned_connections,
            "missed": stats.events_missed, "slowest_is_leader": self.slowest.load(Ordering::SeqCst),
        })
    }

    fn stop(self) {
        let asked = now();
        let mut shared = self.node;
        let node = loop {
            // The sampler holds it for short times only.
            match Arc::try_unwrap(shared) {
                Ok(node) => break node,
                Err(still) => shared = still,
            }
            thread::yield_now();
        };
        let left = node.stop().left_to_expire;
        say("done", json!({ "command": "stop", "asked": asked, "left_to_expire": left }));
    }
}

fn wall_clock() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970")
}

fn outcome<E: std::error::Error>(result: Result<(), E>) -> Value {
    json!({ "error": result.err().map(|error| error.to_string()) })
}

fn log_events(events: &Events, held: &HeldDrains) {
    for event in events {
        log_event(event, held);
    }
}

fn log_event(event: Event, held: &HeldDrains) {
    match event {
        Event::BecameLeader(term) => say("became", describe(&term)),
        Event::Resigning { epoch, reason, drain } => {
            say("resigning", json!({ "epoch": epoch, "reason": reason.to_string() }));
            if let Some(held) = held.lock().unwrap().as_mut() {
                held.push(drain);
            }
        }
        Event::LostLeadership { epoch, cause } => {
            say("lost", json!({ "epoch": epoch, "cause": cause.to_string() }));
        }
        Event::LeaderChanged { leader, epoch } => {
            say("leader", json!({ "leader": leader, "epoch": epoch }));
        }
        Event::Connected { server } => say("connected", json!({ "server": server })),
        Event::Disconnected { error } => {
            say("disconnected", json!({ "error": error.to_string() }));
        }
        Event::DuplicateNodeId { session } => {
            say("duplicate", json!({ "session": session.to_string() }));
        }
        Event::TtlMismatch { theirs, ours } => {
            say("ttl", json!({ "theirs": format!("{theirs:?}"), "ours": format!("{ours:?}") }));
        }
        Event::CorruptRecord { revision, reason } => {
            say("corrupt", json!({ "revision": revision, "reason": reason }));
        }
        Event::Problem(error) => say("problem", json!({ "error": error.to_string() })),
        Event::Missed { count } => say("missed", json!({ "count": count })),
        other => say("other", json!({ "text": format!("{other:?}") })),
    }
}

fn describe(term: &Leadership) -> Value {
    json!({
        "epoch": term.epoch(), "session": term.session().to_string(), "deadline": deadline(term),
    })
}

struct LoggingHooks;

impl Hooks for LoggingHooks {
    fn on_become_leader(&mut self, term: Leadership) {
        say("hook_became", json!({ "epoch": term.epoch() }));
    }

    fn on_lose_leadership(&mut self, epoch: Epoch, cause: &Cause) {
        say("hook_lost", json!({ "epoch": epoch, "cause": cause.to_string() }));
    }
}

/// A line is logged when it changes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sample {
    leads: bool,
    epoch: u64,
    deadline: u64,
}

/// Calls `is_leader()` all the time.
///
/// A `sample` has the result (`leads`) of the call that began `at`; the `epoch` and `deadline` of
/// the term; `last_yes`, the begin of the newest call that returned true; and `gap`, the time from
/// the begin of the previous call to `at`.
struct Sampler {
    node: Weak<Node>,
    term: Option<Leadership>,
    slowest: Arc<AtomicU64>,
    last: Sample,
    last_yes: u64,
    last_asked: u64,
}

impl Sampler {
    fn new(node: Weak<Node>, slowest: Arc<AtomicU64>) -> Self {
        let last = Sample { leads: false, epoch: 0, deadline: 0 };
        Self { node, term: None, slowest, last, last_yes: 0, last_asked: now() }
    }

    fn run(&mut self) {
        loop {
            let asked = now();
            let leads = self.ask();
            self.slowest.fetch_max(now() - asked, Ordering::SeqCst);
            self.note(asked, leads);
            let close = leads && self.last.deadline.saturating_sub(now()) < EDGE;
            if !close {
                thread::sleep(PACE);
            }
        }
    }

    /// The result of the node, or of the newest token once the node is being stopped.
    fn ask(&mut self) -> bool {
        match self.node.upgrade() {
            Some(node) => node.is_leader(),
            None => self.term.as_ref().is_some_and(Leadership::is_valid),
        }
    }

    fn note(&mut self, asked: u64, leads: bool) {
        let mut sample = Sample { leads, ..self.last };
        if leads {
            self.term = self.node.upgrade().and_then(|node| node.leadership()).or(self.term.take());
            let deadline = self.term.as_ref().and_then(deadline);
            // Without a deadline the term has just ended, and its epoch is unknown.
            if let (Some(term), Some(deadline)) = (&self.term, deadline) {
                self.last_yes = asked;
                sample.epoch = term.epoch().as_u64();
                sample.deadline = deadline;
            }
        }
        let gap = asked - self.last_asked;
        self.last_asked = asked;
        if sample != self.last || gap > GAP {
            self.last = sample;
            say(
                "sample",
                json!({
                    "at": asked, "leads": leads, "epoch": sample.epoch, "deadline": sample.deadline,
                    "last_yes": self.last_yes, "gap": gap,
                }),
            );
        }
    }
}
