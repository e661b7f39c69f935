//! C programs: compiled without a warning, and run with and without a memory checker.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::library::{pkg_config, root, run};
use crate::support::process::{Process, bound_command, bound_command_in};

/// How long a program may take under the memory checker on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// With what a program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checker {
    Nothing,
    /// Memory errors, and blocks that nothing points to, are failures.
    Valgrind,
}

/// The exit code of a program that the memory checker complains of.
const COMPLAINT: &str = "--error-exitcode=99";

/// A compiled program, and the folder that goes with it.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    _folder: Option<TempDir>,
}

impl Program {
    /// One of `tests/capi/c`, with the library as a shared object.
    pub(crate) fn of_tests(name: &str) -> Self {
        let source = root().join(format!("tests/capi/c/{name}.c"));
        Self::compile(&source, &dynamic())
    }

    /// Any source, with what links the library.
    pub(crate) fn compile(source: &Path, link: &[String]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join(source.file_stem().expect("a file's name"));
        let mut command = Command::new("gcc");
        command.args(["-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]);
        command.args(pkg_config(&["--cflags"])).arg(source).arg("-o").arg(&program).args(link);
        run(command);
        Self { path: program, _folder: Some(folder) }
    }

    /// One that is there.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path, _folder: None }
    }

    /// Its process, which does not outlive this one.
    pub(crate) fn start(&self, checker: Checker, arguments: &[&str]) -> Process {
        Process::spawn(self.command(checker, arguments, bound_command))
    }

    /// In the network namespace behind this path.
    pub(crate) fn start_in(&self, space: &str, checker: Checker, arguments: &[&str]) -> Process {
        Process::spawn(self.command(checker, arguments, |program| bound_command_in(space, program)))
    }

    fn command(
        &self,
        checker: Checker,
        arguments: &[&str],
        bound: impl FnOnce(PathBuf) -> Command,
    ) -> Command {
        let mut command = match checker {
            Checker::Nothing => bound(self.path.clone()),
            Checker::Valgrind => {
                let mut command = bound("valgrind".into());
                command.args(["--quiet", "--fair-sched=try", "--leak-check=full", COMPLAINT]);
                command
                    .args(["--show-leak-kinds=definite,indirect", "--child-silent-after-fork=yes"]);
                command.arg("--errors-for-leak-kinds=definite,indirect").arg(&self.path);
                command
            }
        };
        command.args(arguments);
        command
    }

    /// Runs it to its end, which must be a good one; what it printed.
    #[track_caller]
    pub(crate) fn passes(&self, checker: Checker, arguments: &[&str]) -> Vec<String> {
        passed(self.start(checker, arguments))
    }
}

/// What a process prints to its end, which must be a good one.
#[track_caller]
pub(crate) fn passed(mut process: Process) -> Vec<String> {
    let lines = std::iter::from_fn(|| process.line(PATIENCE)).collect();
    let status = process.exited(PATIENCE);
    assert!(status.success(), "{status}:\n{}", process.transcript());
    lines
}

/// Links the shared library, and finds it where it was installed.
pub(crate) fn dynamic() -> Vec<String> {
    let folder = pkg_config(&["--variable=libdir"]).concat();
    let mut words = pkg_config(&["--libs"]);
    words.push(format!("-Wl,-rpath,{folder}"));
    words
}

/// Puts the library into the program.
pub(crate) fn in_itself() -> Vec<String> {
    pkg_config(&["--variable=static"])
}
