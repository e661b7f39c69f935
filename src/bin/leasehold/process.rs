//! A command with a deadline that leaves nothing behind.
//!
//! The command gets a process group of its own. When it ends, or its time is up, what is left of
//! the group is killed. What left the group as well (`setsid`, a double fork) has become a child of
//! the daemon, which the kernel makes the parent of its orphans, and is known by a mark in its
//! environment: it is looked for and killed too, until nothing is left.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, kill_process, kill_process_group,
    pidfd_open, set_child_subreaper, waitid,
};

/// The variable that marks all processes of one run.
const MARK: &str = "LEASEHOLD_RUN";
/// Between asking a command to end and killing it.
const GRACE: Duration = Duration::from_millis(300);
/// The longest single wait.
const SLICE: Duration = Duration::from_millis(50);
/// What is kept of a command's output, in bytes.
pub(super) const MAX_OUTPUT: usize = 64 * 1024;
/// The longest line that is kept in one piece.
const MAX_LINE: usize = 2048;
/// How long leftovers are chased.
const CHASE: Duration = Duration::from_secs(1);
/// Variables that are for the daemon alone.
const OWN: [&str; 5] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS"];

/// Commands that run, by process id.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Makes this process the parent of its descendants' orphans.
pub(super) fn adopt_orphans() {
    if let Err(error) = set_child_subreaper(Some(getpid())) {
        log::warn!("what leaves a command's process group cannot be followed: {error}");
    }
}

/// Kills all commands that run, and what left their process groups: the daemon ends at once.
pub(super) fn kill_running() {
    for pid in RUNNING.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        if let Some(pid) = Pid::from_raw(*pid) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
    sweep(|_| true);
}

/// What is to be run, and until when.
pub(super) struct Run<'a> {
    /// For /bin/sh.
    pub(super) command: &'a str,
    pub(super) environment: &'a [(&'static str, String)],
    pub(super) limit: Duration,
    /// Looked at all the time; true ends it.
    pub(super) cancelled: &'a dyn Fn() -> bool,
    /// Takes the output, line by line.
    pub(super) line: &'a mut dyn FnMut(&str),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("cannot be started: {0}")]
    Start(io::Error),
    #[error("ended with {0}")]
    Exit(ExitStatus),
    #[error("did not end within {0:?} and was killed")]
    TooLong(Duration),
    #[error("was killed: it is not wanted any more")]
    Cancelled,
}

impl Run<'_> {
    /// Runs it to its end. Returns at the latest about a second and a half after its limit.
    pub(super) fn run(self) -> Result<(), Failed> {
        let mark = format!("{}-{:?}", std::process::id(), Instant::now());
        let mark: String = mark.chars().filter(|c| c.is_ascii_digit() || *c == '-').collect();
        let mut child = self.start(&mark).map_err(Failed::Start)?;
        let pid = Pid::from_child(&child);
        let known = Known::new(pid);
        let ended = Watched::new(&mut child, self.line).until_end(self.limit, self.cancelled, pid);
        // Before it is waited for: until then nobody else can have its number.
        let _ = kill_process_group(pid, Signal::KILL);
        let status = child.wait();
        drop(known);
        sweep(|orphan| orphan.is_of(&mark));
        match (ended, status) {
            (Err(failed), _) => Err(failed),
            (Ok(()), Ok(status)) if status.success() => Ok(()),
            (Ok(()), Ok(status)) => Err(Failed::Exit(status)),
            (Ok(()), Err(error)) => Err(Failed::Start(error)),
        }
    }

    fn start(&self, mark: &str) -> io::Result<Child> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(self.command).env(MARK, mark);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        for name in OWN {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).spawn()
    }
}

/// A command that runs is in the list.
struct Known(i32);

impl Known {
    fn new(pid: Pid) -> Self {
        let pid = pid.as_raw_nonzero().get();
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).insert(pid);
        Self(pid)
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// A running command and what it says.
struct Watched<'a> {
    pipes: Vec<(Box<dyn Pipe>, Vec<u8>)>,
    line: &'a mut dyn FnMut(&str),
    kept: usize,
    dropped: usize,
}

trait Pipe: Read + AsFd {}

impl<T: Read + AsFd> Pipe for T {}

impl<'a> Watched<'a> {
    fn new(child: &mut Child, line: &'a mut dyn FnMut(&str)) -> Self {
        let mut pipes: Vec<(Box<dyn Pipe>, Vec<u8>)> = Vec::new();
        pipes.extend(child.stdout.take().map(|pipe| (Box::new(pipe) as _, Vec::new())));
        pipes.extend(child.stderr.take().map(|pipe| (Box::new(pipe) as _, Vec::new())));
        Self { pipes, line, kept: 0, dropped: 0 }
    }

    /// Returns when the command has ended, or must not go on.
    fn until_end(
        mut self,
        limit: Duration,
        cancelled: &dyn Fn() -> bool,
        pid: Pid,
    ) -> Result<(), Failed> {
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok();
        let until = Instant::now() + limit;
        let mut why = None;
        let mut kill_at = None;
        loop {
            let left = kill_at.unwrap_or(until).saturating_duration_since(Instant::now());
            self.listen(handle.as_ref(), left.min(SLICE));
            if has_ended(pid) {
                break;
            }
            if kill_at.is_none() && (cancelled() || Instant::now() >= until) {
                let cause = if cancelled() { Failed::Cancelled } else { Failed::TooLong(limit) };
                why = Some(cause);
                kill_at = Some(Instant::now() + GRACE);
                let _ = kill_process_group(pid, Signal::TERM);
            }
            if kill_at.is_some_and(|at| Instant::now() >= at) {
                break;
            }
        }
        // What is in the pipes by now.
        for _ in 0..MAX_OUTPUT / 4096 {
            if !self.listen(None, Duration::ZERO) {
                break;
            }
        }
        self.finish();
        why.map_or(Ok(()), Err)
    }

    /// Takes what the command says within `wait`; false when it said nothing.
    fn listen(&mut self, handle: Option<&OwnedFd>, wait: Duration) -> bool {
        let timeout = Timespec::try_from(wait).ok();
        let ready: Vec<bool> = {
            let mut polled: Vec<_> =
                self.pipes.iter().map(|(pipe, _)| PollFd::new(pipe, PollFlags::IN)).collect();
            polled.extend(handle.map(|handle| PollFd::new(handle, PollFlags::IN)));
            if polled.is_empty() {
                sleep(wait.min(SLICE / 5));
            } else if poll(&mut polled, timeout.as_ref()).is_err() {
                return false;
            }
            polled.iter().map(|polled| !polled.revents().is_empty()).collect()
        };
        let mut said = false;
        let mut index = 0;
        let mut pipes = std::mem::take(&mut self.pipes);
        pipes.retain_mut(|(pipe, begun)| {
            index += 1;
            if !ready[index - 1] {
                return true;
            }
            let mut buffer = [0; 4096];
            let count = pipe.read(&mut buffer).unwrap_or(0);
            said |= count > 0;
            self.take(begun, &buffer[..count]);
            if count == 0 {
                self.end_line(begun);
            }
            count > 0
        });
        self.pipes = pipes;
        said
    }

    fn take(&mut self, begun: &mut Vec<u8>, bytes: &[u8]) {
        let room = MAX_OUTPUT - self.kept;
        let (kept, dropped) = bytes.split_at(bytes.len().min(room));
        self.kept += kept.len();
        self.dropped += dropped.len();
        for &byte in kept {
            if byte != b'\n' {
                begun.push(byte);
            }
            if byte == b'\n' || begun.len() >= MAX_LINE {
                self.end_line(begun);
            }
        }
    }

    fn end_line(&mut self, begun: &mut Vec<u8>) {
        if !begun.is_empty() {
            (self.line)(&String::from_utf8_lossy(begun));
            begun.clear();
        }
    }

    fn finish(mut self) {
        for (_, mut begun) in std::mem::take(&mut self.pipes) {
            self.end_line(&mut begun);
        }
        if self.dropped > 0 {
            (self.line)(&format!("… and {} bytes more, which are not kept", self.dropped));
        }
    }
}

/// Whether a child has ended; it is not waited for yet.
fn has_ended(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(pid), options), Ok(None))
}

/// Kills what was left behind, and what that leaves behind in turn.
fn sweep(wanted: impl Fn(&Orphan) -> bool) {
    let until = Instant::now() + CHASE;
    let mut told = false;
    while Instant::now() < until {
        let left: Vec<_> = orphans().into_iter().filter(&wanted).collect();
        if left.is_empty() {
            return;
        }
        for orphan in left {
            if !orphan.ended && !std::mem::replace(&mut told, true) {
                log::warn!("a command left a process behind, which is killed: {}", orphan.name);
            }
            let _ = kill_process(orphan.pid, Signal::KILL);
            let _ = waitid(WaitId::Pid(orphan.pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
        sleep(Duration::from_millis(2));
    }
    log::error!("a command left processes behind that cannot be killed");
}

/// A child of this process that no command that runs accounts for.
struct Orphan {
    pid: Pid,
    name: String,
    ended: bool,
    mark: Option<String>,
    alone: bool,
}

impl Orphan {
    /// Whether a run is to answer for it. One that hides its origin belongs to the only run.
    fn is_of(&self, mark: &str) -> bool {
        match &self.mark {
            Some(of) => of == mark,
            None => self.alone || self.ended,
        }
    }
}

fn orphans() -> Vec<Orphan> {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Ok(folder) = fs::read_dir("/proc") else { return Vec::new() };
    let own = getpid().as_raw_nonzero().get();
    folder
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| !running.contains(pid))
        .filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (front, rest) = stat.rsplit_once(')')?;
            let mut fields = rest.split_ascii_whitespace();
            let ended = fields.next()? == "Z";
            let parent: i32 = fields.next()?.parse().ok()?;
            (parent == own).then_some(())?;
            let name = front.split_once('(').map_or("", |(_, name)| name).to_owned();
            let (mark, alone) = (mark_of(pid), running.is_empty());
            Some(Orphan { pid: Pid::from_raw(pid)?, name, ended, mark, alone })
        })
        .collect()
}

fn mark_of(pid: i32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let prefix = format!("{MARK}=");
    environment
        .split(|byte| *byte == 0)
        .find_map(|entry| Some(std::str::from_utf8(entry).ok()?.strip_prefix(&prefix)?.to_owned()))
}
