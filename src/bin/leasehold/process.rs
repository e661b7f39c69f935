//! A command with a deadline that leaves no process behind.
//!
//! The command gets a process group of its own. When it ends, or its time is up, the rest of the
//! group is killed. A process that left the group (`setsid`, a double fork) becomes a child of the
//! daemon, which is the subreaper of its descendants. Such a process is found by a mark in its
//! environment, and killed as well.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, kill_process, kill_process_group,
    pidfd_open, set_child_subreaper, waitid,
};

/// The environment variable that marks all processes of one run.
const MARK: &str = "LEASEHOLD_RUN";
/// The time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_millis(300);
/// The longest single wait.
const SLICE: Duration = Duration::from_millis(50);
/// How much of a command's output is logged, in bytes.
pub(super) const MAX_OUTPUT: usize = 64 * 1024;
/// The longest line in bytes; a longer one is split.
const MAX_LINE: usize = 2048;
/// How long leftover processes are killed again and again.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(1);
/// Variables of the daemon that commands do not inherit.
const OWN: [&str; 5] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS"];

/// The process ids of running commands.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Makes this process the parent of its descendants' orphans.
pub(super) fn adopt_orphans() {
    if let Err(error) = set_child_subreaper(Some(getpid())) {
        log::warn!("processes that leave a command's group cannot be killed: {error}");
    }
}

/// Kills all running commands and the processes that left their groups.
pub(super) fn kill_running() {
    for pid in RUNNING.lock().iter() {
        if let Some(pid) = Pid::from_raw(*pid) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
    sweep(|_| true);
}

/// One run of a command.
pub(super) struct Run<'a> {
    /// The script for `/bin/sh`.
    pub(super) command: &'a str,
    pub(super) environment: &'a [(&'static str, String)],
    pub(super) limit: Duration,
    /// Polled at least every [`SLICE`]; true ends the run.
    pub(super) cancelled: &'a dyn Fn() -> bool,
    /// Receives the output, line by line.
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
    #[error("was cancelled and killed")]
    Cancelled,
}

impl Run<'_> {
    /// Runs the command to its end. Returns at most about 1.5 s after the limit.
    pub(super) fn run(self) -> Result<(), Failed> {
        let mark = format!("{}-{:?}", std::process::id(), Instant::now());
        let mark: String = mark.chars().filter(|c| c.is_ascii_digit() || *c == '-').collect();
        let (mut child, registered, pipe) = self.start(&mark).map_err(Failed::Start)?;
        let pid = Pid::from_child(&child);
        let output = Output {
            pipe: Some(pipe),
            partial_line: Vec::new(),
            line: self.line,
            kept: 0,
            dropped: 0,
        };
        let ended = output.until_end(self.limit, self.cancelled, pid);
        // Before `wait`: until then no other process can have its id.
        let _ = kill_process_group(pid, Signal::KILL);
        let status = child.wait();
        drop(registered);
        sweep(|orphan| orphan.is_of(&mark));
        match (ended, status) {
            (Err(failed), _) => Err(failed),
            (Ok(()), Ok(status)) if status.success() => Ok(()),
            (Ok(()), Ok(status)) => Err(Failed::Exit(status)),
            (Ok(()), Err(error)) => Err(Failed::Start(error)),
        }
    }

    /// The process, which is registered, and the reading end of its output.
    fn start(&self, mark: &str) -> io::Result<(Child, Registered, File)> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(self.command).env(MARK, mark);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        for name in OWN {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let (child, registered) = Registered::spawn(command.process_group(0))?;
        Ok((child, registered, reader.into()))
    }
}

/// A running command is in [`RUNNING`].
struct Registered(i32);

impl Registered {
    /// Starts and registers a process in one step. [`orphans`] must not see it in between: it has
    /// no mark yet, or has ended already.
    fn spawn(command: &mut Command) -> io::Result<(Child, Self)> {
        let mut running = RUNNING.lock();
        let child = command.spawn()?;
        let pid = Pid::from_child(&child).as_raw_nonzero().get();
        running.insert(pid);
        Ok((child, Self(pid)))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        RUNNING.lock().remove(&self.0);
    }
}

/// The output of a running command, stdout and stderr in one pipe.
struct Output<'a> {
    pipe: Option<File>,
    partial_line: Vec<u8>,
    line: &'a mut dyn FnMut(&str),
    kept: usize,
    dropped: usize,
}

impl Output<'_> {
    /// Returns when the command has ended, or its time is up, or it was cancelled.
    fn until_end(
        mut self,
        limit: Duration,
        cancelled: &dyn Fn() -> bool,
        pid: Pid,
    ) -> Result<(), Failed> {
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok();
        let until = Instant::now() + limit;
        // Why it is killed, and when SIGKILL follows.
        let mut killed: Option<(Failed, Instant)> = None;
        loop {
            let end_at = killed.as_ref().map_or(until, |(_, end_at)| *end_at);
            let left = end_at.saturating_duration_since(Instant::now());
            self.read(handle.as_ref(), left.min(SLICE));
            let is_due = Instant::now() >= end_at;
            if has_ended(pid) || (killed.is_some() && is_due) {
                break;
            }
            let is_cancelled = cancelled();
            if killed.is_none() && (is_cancelled || is_due) {
                let why = if is_cancelled { Failed::Cancelled } else { Failed::TooLong(limit) };
                killed = Some((why, Instant::now() + GRACE));
                let _ = kill_process_group(pid, Signal::TERM);
            }
        }
        // The rest of the output.
        for _ in 0..MAX_OUTPUT / 4096 {
            if !self.read(None, Duration::ZERO) {
                break;
            }
        }
        self.finish();
        killed.map_or(Ok(()), |(why, _)| Err(why))
    }

    /// Reads output for at most `wait`; false when there was none.
    fn read(&mut self, handle: Option<&OwnedFd>, wait: Duration) -> bool {
        let pipe = self.pipe.as_ref().map(AsFd::as_fd);
        let descriptors = pipe.into_iter().chain(handle.map(AsFd::as_fd));
        let mut polled: Vec<_> =
            descriptors.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        if polled.is_empty() {
            sleep(wait.min(SLICE / 5));
        }
        let timeout = Timespec::try_from(wait).ok();
        let failed = polled.is_empty() || poll(&mut polled, timeout.as_ref()).is_err();
        let ready = !failed && !polled[0].revents().is_empty();
        let Some(pipe) = self.pipe.as_mut().filter(|_| ready) else { return false };
        let mut buffer = [0; 4096];
        let count = pipe.read(&mut buffer).unwrap_or(0);
        if count == 0 {
            self.pipe = None;
        }
        self.take(&buffer[..count]);
        count > 0
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = MAX_OUTPUT - self.kept;
        let (kept, dropped) = bytes.split_at(bytes.len().min(room));
        self.kept += kept.len();
        self.dropped += dropped.len();
        for &byte in kept {
            if byte != b'\n' {
                self.partial_line.push(byte);
            }
            if byte == b'\n' || self.partial_line.len() >= MAX_LINE {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        if !self.partial_line.is_empty() {
            (self.line)(&String::from_utf8_lossy(&self.partial_line));
            self.partial_line.clear();
        }
    }

    fn finish(mut self) {
        self.end_line();
        if self.dropped > 0 {
            (self.line)(&format!("… and {} bytes more, which are not logged", self.dropped));
        }
    }
}

/// Whether a child has ended; it stays a zombie.
fn has_ended(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(pid), options), Ok(None))
}

/// Kills leftover processes, and those that they leave behind in turn.
fn sweep(wanted: impl Fn(&Orphan) -> bool) {
    let until = Instant::now() + SWEEP_TIMEOUT;
    let mut logged = false;
    while Instant::now() < until {
        let left: Vec<_> = orphans().into_iter().filter(&wanted).collect();
        if left.is_empty() {
            return;
        }
        for orphan in left {
            if !orphan.ended && !std::mem::replace(&mut logged, true) {
                log::warn!("killed a process that a command left behind: {}", orphan.name);
            }
            let _ = kill_process(orphan.pid, Signal::KILL);
            let _ = waitid(WaitId::Pid(orphan.pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
        sleep(Duration::from_millis(2));
    }
    log::error!("processes that a command left behind could not be killed");
}

/// A child of this process that is not a running command.
struct Orphan {
    pid: Pid,
    name: String,
    ended: bool,
    mark: Option<String>,
    /// No command runs.
    alone: bool,
}

impl Orphan {
    /// Whether the run with this mark started it. A process without a mark belongs to the only run.
    fn is_of(&self, mark: &str) -> bool {
        match &self.mark {
            Some(of) => of == mark,
            None => self.alone || self.ended,
        }
    }
}

fn orphans() -> Vec<Orphan> {
    // Held to the end, so that no command starts meanwhile.
    let running = RUNNING.lock();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_starts_is_not_an_orphan_to_another_that_ends() {
        let run = |_| {
            let (environment, cancelled, mut line) = (&[], &|| false, |_: &str| {});
            let limit = Duration::from_secs(60);
            Run { command: "true", environment, limit, cancelled, line: &mut line }.run()
        };
        let runs = || (0..200).map(run).filter_map(Result::err).collect::<Vec<_>>();
        std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(runs));
            for thread in threads {
                let failed = thread.join().expect("no panic");
                assert!(failed.is_empty(), "{failed:?}");
            }
        });
    }
}
