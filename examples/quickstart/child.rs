//! This program again, in another role. It lives as long as its standard input is open.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child as Process, ChildStdin, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Result;

/// How long a child may take to end in an orderly way before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A child process, ended when dropped.
pub(crate) struct Child {
    process: Process,
    stdin: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
}

impl Child {
    /// Starts one; `hear` gets each line it prints, and `None` when it prints no more.
    pub(crate) fn start(
        arguments: &[&str],
        mut hear: impl FnMut(Option<String>) + Send + 'static,
    ) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        leave_ctrl_c_to_parent(&mut command);
        let mut process = command.spawn()?;
        let stdin = process.stdin.take();
        let reader = process.stdout.take().map(|stdout| {
            thread::spawn(move || {
                let lines = BufReader::new(stdout).lines().map_while(std::io::Result::ok);
                lines.for_each(|line| hear(Some(line)));
                hear(None);
            })
        });
        Ok(Self { process, stdin, reader })
    }

    pub(crate) fn say(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().ok_or("the child has been told to end")?;
        Ok(writeln!(stdin, "{line}")?)
    }

    /// Ends it as a crash does (SIGKILL). All that it said has been heard when this returns.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        self.finish_reading();
        Ok(())
    }

    /// Tells it to end, without waiting for it.
    pub(crate) fn hang_up(&mut self) {
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
            // A reader that panicked has said so.
            let _ = reader.join();
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.hang_up();
        if !self.ends_within(PATIENCE) {
            // There is nobody to tell if even that fails.
            let _ = self.kill();
        }
        self.finish_reading();
    }
}

/// A terminal sends Ctrl-C to the whole process group: only the parent shall hear it, and end the
/// others in order.
#[cfg(unix)]
fn leave_ctrl_c_to_parent(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

#[cfg(not(unix))]
fn leave_ctrl_c_to_parent(_command: &mut Command) {}
