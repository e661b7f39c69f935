//! The part of the child: one node, its log on stdout, commands on stdin.
//!
//! Lines out are JSON objects with `event` and the moment `at`, in nanoseconds of boot time:
//!
//! * what [`Event`] has: `became`, `resigning`, `lost`, `leader`, `connected`, `disconnected`,
//!   `duplicate`, `ttl`, `corrupt`, `problem`, `missed`; with hooks, `hook_became`, `hook_lost`;
//! * `sample`: what `is_leader()` said, whenever that, the epoch or the deadline has changed, and
//!   after every gap (a stop, say) in which it was not asked; see [`Sampler`];
//! * `done`: the outcome of one command, in the order of the commands;
//! * `started`, or `refused` with the error.
//!
//! Lines in: `step_down`, `transfer NODE`, `promote`, `healthy BOOL`, `set_meta JSON`,
//! `hold_drain`, `drain`, `status`, `stats`, `wall`, `jump MILLIS`, `jump_leading MILLIS` (not
//! unless it leads), `stop`. The end of stdin ends the process at once, without a release.
//!
//! A node whose clock was made to jump logs its deadlines as the machine's clock would have them.

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

/// Where the child finds its configuration: `{"config": …, "hooks": …, "jumps": …, "more": …}`.
pub const ROLE: &str = "LEASEHOLD_TEST_NODE";

/// How often `is_leader()` is asked.
const PACE: Duration = Duration::from_millis(1);
/// Without a pause from then on before the deadline, so that its edge is seen exactly.
const EDGE: u64 = 2_000_000;
/// Nothing but a stop keeps the sampler waiting for so long; a loaded machine does no harm.
const GAP: u64 = 200_000_000;

/// Becomes a node if the parent has given this process the part, and never returns then.
pub fn play() {
    play_as(|builder, _| builder, |_, _| {});
}

/// The same with something to add to the node before it starts, and something to do with it once
/// it has; both are given what the parent has left for them.
pub fn play_as(
    equip: impl FnOnce(NodeBuilder, &Value) -> NodeBuilder,
    attend: impl FnOnce(&Arc<Node>, &Value),
) {
    let Ok(script) = env::var(ROLE) else { return };
    let script: Value = serde_json::from_str(&script).expect("the parent writes JSON");
    let config = Config::from_json(&script["config"].to_string()).expect("checked by the parent");
    let mut builder = Node::builder(config);
    if script["hooks"] == true {
        builder = builder.hooks(Telling);
    }
    let clock = if script["jumps"] == true { Clock::shifted() } else { Clock::boot() };
    builder = builder.clock(clock.clone());
    match equip(builder, &script["more"]).start() {
        Ok(node) => {
            let player = Player::new(node, clock);
            attend(&player.node, &script["more"]);
            player.run();
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

/// Guards that are held back; `None` when each is to be dropped at once.
type Held = Arc<Mutex<Option<Vec<DrainGuard>>>>;

/// By how much this node's clock has jumped, in nanoseconds. Held while a deadline is read, so that
/// both are of the same side of a jump; no term outlives one.
static JUMPED: Mutex<u64> = Mutex::new(0);

/// A term's deadline on the machine's clock; `None` when it has ended.
fn deadline(term: &Leadership) -> Option<u64> {
    let jumped = JUMPED.lock().unwrap_or_else(PoisonError::into_inner);
    Some(term.deadline()?.as_nanos() - *jumped)
}

struct Player {
    node: Arc<Node>,
    clock: Clock,
    held: Held,
    slowest: Arc<AtomicU64>,
}

impl Player {
    fn new(node: Node, clock: Clock) -> Self {
        say("started", json!({ "session": node.session().to_string() }));
        let (node, held, slowest) = (Arc::new(node), Held::default(), Arc::default());
        let events = node.events().clone();
        let listener = Arc::clone(&held);
        thread::spawn(move || tell_all(&events, &listener));
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
            let mut outcome = self.obey(&line);
            outcome["command"] = line.into();
            outcome["asked"] = asked.into();
            say("done", outcome);
        }
    }

    fn obey(&self, line: &str) -> Value {
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

    /// Lets the boot-time clock go on by more than any term is valid, as a suspend does, and asks
    /// at once whether the node leads; `led` says whether it did before.
    fn jump(&self, millis: &str, follower_too: bool) -> Value {
        let by = Duration::from_millis(millis.parse().expect("milliseconds"));
        assert!(by >= self.node.config().lease_ttl(), "a deadline would be told wrongly");
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
            // The sampler has it for moments only.
            match Arc::try_unwrap(shared) {
                Ok(node) => break node,
                Err(still) => shared = still,
            }
            thread::yield_now();
        };
        let lapses = node.stop().left_to_expire;
        say("done", json!({ "command": "stop", "asked": asked, "left_to_expire": lapses }));
    }
}

fn wall_clock() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970")
}

fn outcome<E: std::error::Error>(result: Result<(), E>) -> Value {
    json!({ "error": result.err().map(|error| error.to_string()) })
}

fn tell_all(events: &Events, held: &Held) {
    for event in events {
        tell(event, held);
    }
}

fn tell(event: Event, held: &Held) {
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

struct Telling;

impl Hooks for Telling {
    fn on_become_leader(&mut self, term: Leadership) {
        say("hook_became", json!({ "epoch": term.epoch() }));
    }

    fn on_lose_leadership(&mut self, epoch: Epoch, cause: &Cause) {
        say("hook_lost", json!({ "epoch": epoch, "cause": cause.to_string() }));
    }
}

/// What is worth a line when it changes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Answer {
    leads: bool,
    epoch: u64,
    deadline: u64,
}

/// Asks `is_leader()` all the time.
///
/// A `sample` says what was answered (`leads`) to the call that began `at`; `epoch` and `deadline`
/// of the term; `last_yes`, when the newest call began that was answered with yes; and `gap`, how
/// long before `at` the call before it had begun.
struct Sampler {
    node: Weak<Node>,
    term: Option<Leadership>,
    slowest: Arc<AtomicU64>,
    told: Answer,
    last_yes: u64,
    last_asked: u64,
}

impl Sampler {
    fn new(node: Weak<Node>, slowest: Arc<AtomicU64>) -> Self {
        let told = Answer { leads: false, epoch: 0, deadline: 0 };
        Self { node, term: None, slowest, told, last_yes: 0, last_asked: now() }
    }

    fn run(&mut self) {
        loop {
            let asked = now();
            let leads = self.ask();
            self.slowest.fetch_max(now() - asked, Ordering::SeqCst);
            self.note(asked, leads);
            let close = leads && self.told.deadline.saturating_sub(now()) < EDGE;
            if !close {
                thread::sleep(PACE);
            }
        }
    }

    /// The node's answer, or that of the last term's token once the node is being stopped.
    fn ask(&mut self) -> bool {
        match self.node.upgrade() {
            Some(node) => node.is_leader(),
            None => self.term.as_ref().is_some_and(Leadership::is_valid),
        }
    }

    fn note(&mut self, asked: u64, leads: bool) {
        let mut answer = Answer { leads, ..self.told };
        if leads {
            self.term = self.node.upgrade().and_then(|node| node.leadership()).or(self.term.take());
            let deadline = self.term.as_ref().and_then(deadline);
            // Without one the term has just ended, and which one it was cannot be told any more.
            if let (Some(term), Some(deadline)) = (&self.term, deadline) {
                self.last_yes = asked;
                answer.epoch = term.epoch().as_u64();
                answer.deadline = deadline;
            }
        }
        let gap = asked - self.last_asked;
        self.last_asked = asked;
        if answer != self.told || gap > GAP {
            self.told = answer;
            say(
                "sample",
                json!({
                    "at": asked, "leads": leads, "epoch": answer.epoch, "deadline": answer.deadline,
                    "last_yes": self.last_yes, "gap": gap,
                }),
            );
        }
    }
}
