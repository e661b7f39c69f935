//! A child process that runs this program in another role, until its standard input is closed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child as Process, ChildStdin, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Result;

/// How long a child may take to end by itself before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A child process. Dropping it ends it.
pub(crate) struct Child {
    process: Process,
    stdin: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
}

impl Child {
    /// Starts one. `handle` gets each line that it prints, and `None` when there are no more.
    pub(crate) fn start(
        arguments: &[&str],
        mut handle: impl FnMut(Option<String>) + Send + 'static,
    ) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        leave_ctrl_c_to_parent(&mut command);
        let mut process = command.spawn()?;
        let stdin = process.stdin.take();
        let reader = process.stdout.take().map(|stdout| {
            thread::spawn(move || {
                let lines = BufReader::new(stdout).lines().map_while(std::io::Result::ok);
                lines.for_each(|line| handle(Some(line)));
                handle(None);
            })
        });
        Ok(Self { process, stdin, reader })
    }

    pub(crate) fn send(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().ok_or("the child is already ending")?;
        Ok(writeln!(stdin, "{line}")?)
    }

    /// Kills it with SIGKILL. When this returns, all its lines have been handled.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        self.finish_reading();
        Ok(())
    }

    /// Closes its standard input, so that it ends. Does not wait for it.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    fn ends_within(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        true
    }

    fn finish_reading(&mut self) {
        if let Some(reader) = self.reader.take() {
            // The panic of a reader has been printed already.
            let _ = reader.join();
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.close_stdin();
        if !self.ends_within(PATIENCE) {
            // A failure cannot be reported from here.
            let _ = self.kill();
        }
        self.finish_reading();
    }
}

/// A terminal sends Ctrl-C to the whole process group. Only the parent shall get it, and end the
/// others in order.
#[cfg(unix)]
fn leave_ctrl_c_to_parent(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

#[cfg(not(unix))]
fn leave_ctrl_c_to_parent(_command: &mut Command) {}
