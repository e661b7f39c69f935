//! Child processes that cannot outlive the test, talk in JSON lines, and take signals.
//!
//! Every child is started through `setpriv --pdeathsig KILL`, so the kernel ends it when its
//! parent dies, however that happens. The kernel counts the *thread* that forked as the parent;
//! therefore one thread that lives as long as the process forks them all, and a child started in
//! one test may be shared with another.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{env, io, thread};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;

use super::wait::{eventually, eventually_some};

/// How long the last words of a process may take to arrive after it has ended. They are in a pipe
/// by then; only a process that it started, and that holds the pipe open, makes this last.
const READ_TO_END: Duration = Duration::from_secs(60);

/// A command for [`spawn_bound`]: `program` with the kernel's order to die with its parent.
pub fn bound_command(program: impl Into<PathBuf>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program.into());
    command
}

/// The same in the network namespace behind this path.
pub fn bound_command_in(namespace: &str, program: impl Into<PathBuf>) -> Command {
    let mut command = bound_command("nsenter");
    command.arg(format!("--net={namespace}")).arg("--").arg(program.into());
    command
}

/// Starts a [`bound_command`] as a child of this process, not of the calling thread.
pub fn spawn_bound(command: Command) -> Child {
    type Request = (Command, Sender<io::Result<Child>>);
    static SPAWNER: LazyLock<Sender<Request>> = LazyLock::new(|| {
        let (requests, inbox) = channel::<Request>();
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        });
        requests
    });
    let (reply, answer) = channel();
    SPAWNER.send((command, reply)).expect("the spawning thread never ends");
    answer
        .recv()
        .expect("the spawning thread answers")
        .expect("cannot start `setpriv`: apt-get install util-linux")
}

/// Sends a signal to a child that has not been waited for.
pub fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("a child not yet waited for has its pid");
}

/// Stops a child (SIGSTOP) and returns when every thread of it stands still.
pub fn pause(child: &Child) {
    signal(child, Signal::STOP);
    let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(Pid::from_child(child)), options).expect("waiting for an own child");
}

/// Lets a paused child run again (SIGCONT).
pub fn resume(child: &Child) {
    signal(child, Signal::CONT);
}

/// A child process that prints JSON lines and reads line commands.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    transcript: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts this test binary again to run only the test `name`, which finds itself in the role
    /// of a child by an environment variable of the caller's choice.
    pub fn this_test(name: &str, environment: &[(&str, &str)]) -> Self {
        let program = env::current_exe().expect("a test knows its own path");
        Self::spawn_test(bound_command(program), name, environment)
    }

    /// The same in the network namespace behind the path `namespace`.
    pub fn this_test_in(namespace: &str, name: &str, environment: &[(&str, &str)]) -> Self {
        let program = env::current_exe().expect("a test knows its own path");
        Self::spawn_test(bound_command_in(namespace, program), name, environment)
    }

    fn spawn_test(mut command: Command, name: &str, environment: &[(&str, &str)]) -> Self {
        command.args(["--exact", name, "--nocapture", "--quiet"]);
        command.envs(environment.iter().copied());
        Self::spawn(command)
    }

    /// Starts the example `name` of this package.
    pub fn example(name: &str, arguments: &[&str]) -> Self {
        let mut command = bound_command(example_path(name));
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts a [`bound_command`] with its three standard streams taken over.
    pub fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn_bound(command);
        let transcript = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = channel();
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let readers = vec![
            read_lines(stdout, Arc::clone(&transcript), "", Some(sender)),
            read_lines(stderr, Arc::clone(&transcript), "stderr: ", None),
        ];
        Self { stdin: child.stdin.take(), child, lines, transcript, readers }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its stdout, whatever it says; `None` once it has closed it.
    ///
    /// # Panics
    /// When nothing comes within `limit`.
    #[track_caller]
    pub fn line(&self, limit: Duration) -> Option<String> {
        match self.lines.recv_timeout(limit) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("no line within {limit:?} from the process:\n{}", self.last_words())
            }
        }
    }

    /// The next line of its stdout that contains `text`; others are passed over.
    ///
    /// # Panics
    /// When its stdout ends before, or nothing comes within `limit`.
    #[track_caller]
    pub fn line_with(&self, limit: Duration, text: &str) -> String {
        loop {
            let line = self.line(limit);
            let line = line.unwrap_or_else(|| panic!("no {text:?} in:\n{}", self.last_words()));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The next JSON object on its stdout; other lines are passed over.
    ///
    /// # Panics
    /// When none comes within `limit`.
    #[track_caller]
    pub fn json(&self, limit: Duration) -> Value {
        self.json_where(limit, "a JSON object", |_| true)
    }

    /// The first JSON object on its stdout of which `accept` is true; earlier ones are passed over.
    ///
    /// # Panics
    /// When none comes within `limit`; the message says `what` was waited for.
    #[track_caller]
    pub fn json_where(
        &self,
        limit: Duration,
        what: &str,
        accept: impl FnMut(&Value) -> bool,
    ) -> Value {
        let Some(value) = self.try_json_where(limit, accept) else {
            panic!("not seen within {limit:?}: {what}; the process said:\n{}", self.last_words())
        };
        value
    }

    /// Like [`json_where`](Self::json_where); `None` when there is none within `limit`, or its
    /// stdout has ended.
    pub fn try_json_where(
        &self,
        limit: Duration,
        mut accept: impl FnMut(&Value) -> bool,
    ) -> Option<Value> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).ok()?;
            match serde_json::from_str::<Value>(&line) {
                Ok(value) if value.is_object() && accept(&value) => return Some(value),
                _ => {}
            }
        }
    }

    /// Writes one line to its stdin; a process that has gone away does not mind.
    pub fn say(&mut self, line: &str) {
        if let Some(stdin) = &mut self.stdin {
            let _ = writeln!(stdin, "{line}").and_then(|()| stdin.flush());
        }
    }

    /// Ends its stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends a signal.
    pub fn signal(&self, number: Signal) {
        signal(&self.child, number);
    }

    /// Stops it (SIGSTOP) and returns when every thread of it stands still.
    pub fn pause(&self) {
        pause(&self.child);
    }

    /// Lets it run again (SIGCONT).
    pub fn resume(&self) {
        resume(&self.child);
    }

    /// Ends it at once (SIGKILL) and returns when it is gone and all it printed has been read.
    ///
    /// # Panics
    /// When a process that it started holds its output open.
    #[track_caller]
    pub fn kill(&mut self) {
        self.end();
        self.read_to_end();
    }

    /// Returns how it ended, when it has ended and all it printed has been read: from then on the
    /// transcript is complete, and [`line`](Self::line) does not wait.
    ///
    /// # Panics
    /// When it has not ended within `limit`, or a process that it started holds its output open.
    #[track_caller]
    pub fn exited(&mut self, limit: Duration) -> ExitStatus {
        let status = eventually_some(limit, "the process to end", || {
            self.child.try_wait().expect("waiting for an own child")
        });
        self.read_to_end();
        status
    }

    /// All it has printed as far as that was read, stderr lines marked as such. Complete only
    /// after [`exited`](Self::exited) or [`kill`](Self::kill); before, use
    /// [`prints`](Self::prints).
    pub fn transcript(&self) -> String {
        self.transcript.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns once it has printed `text`.
    ///
    /// # Panics
    /// When it does not within `limit`.
    #[track_caller]
    pub fn prints(&self, limit: Duration, text: &str) {
        eventually(limit, &format!("the process to print {text:?}"), || {
            self.transcript().contains(text)
        });
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Joins the readers of a process that has ended.
    #[track_caller]
    fn read_to_end(&mut self) {
        let what = "the end of the output of a process that has ended; does one that it started \
                    hold it open?";
        eventually(READ_TO_END, what, || self.readers.iter().all(JoinHandle::is_finished));
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader does not panic");
        }
    }

    /// The transcript for a message, complete if the process has just ended.
    fn last_words(&self) -> String {
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until && !self.readers.iter().all(JoinHandle::is_finished) {
            thread::sleep(Duration::from_millis(5));
        }
        self.transcript()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        if thread::panicking() {
            eprintln!("process {} had printed:\n{}", self.id(), self.last_words());
        } else {
            self.read_to_end();
        }
    }
}

fn read_lines(
    stream: impl io::Read + Send + 'static,
    transcript: Arc<Mutex<String>>,
    mark: &'static str,
    lines: Option<Sender<String>>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut transcript = transcript.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = writeln!(transcript, "{mark}{line}");
            if let Some(lines) = &lines {
                let _ = lines.send(line);
            }
        }
    })
}

/// Takes out of a command's environment what cargo tells a test about its package. A cargo that is
/// started by a test must not see it: build scripts that look at it would run again, and once more
/// after the tests, and all that depends on them would be built anew each time.
pub fn without_package(command: &mut Command) -> &mut Command {
    let told = |name: &str| {
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|kind| name.starts_with(kind))
    };
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(told)) {
        command.env_remove(name);
    }
    command
}

/// Where cargo puts an example, beside the folder of the test binaries.
///
/// # Panics
/// When it is not there: a run of single tests (`--test`) does not build examples.
pub fn example_path(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows its own path");
    let profile = test.ancestors().nth(2).expect("test binaries are in <profile>/deps");
    let path = profile.join("examples").join(name);
    assert!(path.exists(), "{} is missing: cargo build --examples --all-features", path.display());
    path
}
