//! Processes that share a gate by its file.

use std::fs::{self, OpenOptions};
use std::io::{Stdin, Write, stdin};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};
use std::time::{Duration, Instant};
use std::{env, io};

use leasehold::fence::{FileGate, FileGateError, Token};
use leasehold::lease::{Epoch, SessionId};
use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};

use crate::support::alone::test_name;
use crate::support::process::Process;

/// A loaded machine gets this much for what takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// The lock timeout where a gate is to be found busy.
const SHORT: Duration = Duration::from_millis(300);

/// The variables with the file of a child's gate, and its lock timeout in milliseconds.
const FILE: &str = "LEASEHOLD_TEST_GATE";
const TIMEOUT: &str = "LEASEHOLD_TEST_GATE_TIMEOUT";

/// Plays the part of a process with a gate, if the parent has started this process for that.
///
/// Commands: `admit TOKEN`; `hold TOKEN`, which stays inside its act until it gets a line;
/// `start TOKEN`, which starts a program inside its act and stays; `write SESSION EPOCHS LEDGER`.
fn run_if_child() {
    let Some(file) = env::var_os(FILE) else { return };
    let timeout = env::var(TIMEOUT).expect("set by the parent").parse().expect("milliseconds");
    let gate = FileGate::new(file).unwrap().lock_timeout(Duration::from_millis(timeout));
    let input = stdin();
    while let Some(line) = next_line(&input) {
        let (command, rest) = line.split_once(' ').expect("a command and its arguments");
        let result = match command {
            "admit" => gate.admit(rest.parse().unwrap()),
            "hold" => gate.admit_with(rest.parse().unwrap(), || {
                say(&json!({ "inside": true }));
                next_line(&input);
            }),
            "start" => gate.admit_with(rest.parse().unwrap(), || {
                say(&json!({ "inside": start_program() }));
                next_line(&input);
            }),
            "write" => write_epochs(&gate, rest),
            _ => panic!("{line}"),
        };
        say(&verdict(&result));
    }
    exit(0);
}

fn next_line(input: &Stdin) -> Option<String> {
    let mut line = String::new();
    let length = input.read_line(&mut line).unwrap();
    (length > 0).then(|| line.trim_end().to_owned())
}

fn say(value: &Value) {
    println!("{value}");
}

fn verdict(result: &Result<(), FileGateError>) -> Value {
    match result {
        Ok(()) => json!({ "verdict": "admitted" }),
        Err(FileGateError::Fenced { fenced, .. }) => {
            json!({ "verdict": "fenced", "highest": fenced.highest().to_string() })
        }
        Err(FileGateError::Busy { .. }) => json!({ "verdict": "busy" }),
        Err(error) => json!({ "verdict": error.to_string() }),
    }
}

/// Starts a program that runs as long as this process's standard input is open; its process id.
fn start_program() -> u32 {
    let mut command = Command::new("cat");
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("cat is a part of every system").id()
}

/// Appends a line to the ledger for each epoch that the gate admits.
fn write_epochs(gate: &FileGate, arguments: &str) -> Result<(), FileGateError> {
    let words: Vec<_> = arguments.splitn(3, ' ').collect();
    let [session, epochs, ledger] = words[..] else { panic!("{arguments}") };
    let append = |token: Token| -> io::Result<()> {
        let mut ledger = OpenOptions::new().create(true).append(true).open(ledger)?;
        writeln!(ledger, "{token}")
    };
    for epoch in 1..=epochs.parse().unwrap() {
        let token = token(epoch, session.parse().unwrap());
        match gate.admit_with(token, || append(token)) {
            Ok(appended) => appended.unwrap(),
            Err(FileGateError::Fenced { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn token(epoch: u64, session: u128) -> Token {
    Token::new(Epoch::new(epoch).unwrap(), SessionId::from_bits(session))
}

/// A folder with a gate, and the processes that use it.
struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("gate")
    }

    fn member(&self, lock_timeout: Duration) -> Member {
        let file = self.file();
        let timeout = lock_timeout.as_millis().to_string();
        let variables = [(FILE, file.to_str().expect("a plain path")), (TIMEOUT, &timeout)];
        Member(Process::this_test(&test_name(), &variables))
    }
}

struct Member(Process);

impl Member {
    fn ask(&mut self, command: &str) -> Value {
        self.0.say(command);
        self.answer()
    }

    fn answer(&self) -> Value {
        self.0.json_where(PATIENCE, "an answer", |_| true)
    }

    #[track_caller]
    fn is_admitted(&mut self, token: Token) {
        assert_eq!(self.ask(&format!("admit {token}")), json!({ "verdict": "admitted" }));
    }

    #[track_caller]
    fn is_fenced(&mut self, token: Token, highest: Token) {
        let fenced = json!({ "verdict": "fenced", "highest": highest.to_string() });
        assert_eq!(self.ask(&format!("admit {token}")), fenced);
    }

    /// Returns when the process is inside its act.
    fn hold(&mut self, token: Token) {
        assert_eq!(self.ask(&format!("hold {token}")), json!({ "inside": true }));
    }
}

/// What a gate in memory cannot know: another process has admitted a later token.
#[test]
fn a_deposed_process_is_refused_after_another_one_was_admitted() {
    run_if_child();
    let site = Site::new();
    let (mut old, mut new) = (site.member(PATIENCE), site.member(PATIENCE));
    old.is_admitted(token(6, 1));
    new.is_admitted(token(7, 2));
    old.is_fenced(token(6, 1), token(7, 2));
    new.is_admitted(token(7, 2));
    // A process that starts later knows it too.
    site.member(PATIENCE).is_fenced(token(6, 1), token(7, 2));
}

#[test]
fn a_process_stopped_inside_its_act_keeps_others_out_for_the_lock_timeout() {
    run_if_child();
    let site = Site::new();
    let (mut old, mut new) = (site.member(PATIENCE), site.member(SHORT));
    old.hold(token(6, 1));
    old.0.pause();
    let start = Instant::now();
    assert_eq!(new.ask(&format!("admit {}", token(7, 2))), json!({ "verdict": "busy" }));
    assert!((SHORT..PATIENCE).contains(&start.elapsed()));
    old.0.resume();
    assert_eq!(old.ask("leave"), json!({ "verdict": "admitted" }));
    new.is_admitted(token(7, 2));
    old.is_fenced(token(6, 1), token(7, 2));
}

#[test]
fn a_process_that_waits_is_admitted_when_the_act_ends() {
    run_if_child();
    let site = Site::new();
    let (mut old, mut new) = (site.member(PATIENCE), site.member(PATIENCE));
    old.hold(token(6, 1));
    new.0.say(&format!("hold {}", token(7, 2)));
    assert_eq!(old.ask("leave"), json!({ "verdict": "admitted" }));
    assert_eq!(new.answer(), json!({ "inside": true }));
    assert_eq!(new.ask("leave"), json!({ "verdict": "admitted" }));
}

#[test]
fn a_process_killed_inside_its_act_leaves_its_token_and_no_lock() {
    run_if_child();
    let site = Site::new();
    let (mut killed, mut other) = (site.member(PATIENCE), site.member(PATIENCE));
    killed.hold(token(7, 1));
    killed.0.kill();
    other.is_fenced(token(6, 2), token(7, 1));
    other.is_admitted(token(8, 2));
}

#[test]
fn a_program_started_inside_the_act_does_not_inherit_the_lock() {
    run_if_child();
    let site = Site::new();
    let mut other = site.member(SHORT);
    // The first one makes the file, the second one opens it.
    for epoch in [6, 8] {
        let mut killed = site.member(PATIENCE);
        let inside = killed.ask(&format!("start {}", token(epoch, 1)));
        let program = i32::try_from(inside["inside"].as_u64().expect("a process id")).unwrap();
        killed.0.kill();
        other.is_admitted(token(epoch + 1, 2));
        assert!(test_kill_process(Pid::from_raw(program).unwrap()).is_ok(), "the program runs");
    }
}

#[test]
fn many_processes_write_in_fenced_order() {
    const EPOCHS: u64 = 50;
    run_if_child();
    let site = Site::new();
    let ledger = site.0.path().join("ledger");
    let mut members: Vec<_> = (1..=4).map(|_| site.member(PATIENCE)).collect();
    for (session, member) in (1..).zip(&mut members) {
        member.0.say(&format!("write {session} {EPOCHS} {}", ledger.display()));
    }
    for member in &members {
        assert_eq!(member.answer(), json!({ "verdict": "admitted" }));
    }
    let written = read(&ledger);
    assert!(written.len() as u64 >= EPOCHS, "each epoch was admitted once at least");
    for pair in written.windows(2) {
        assert!(pair[1].epoch() > pair[0].epoch() || pair[1] == pair[0], "{pair:?}");
    }
    let highest = FileGate::new(site.file()).unwrap().highest().unwrap();
    assert_eq!(highest.as_ref(), written.last());
}

fn read(ledger: &Path) -> Vec<Token> {
    let text = fs::read_to_string(ledger).expect("a ledger");
    text.lines().map(|line| line.parse().expect("a token")).collect()
}
