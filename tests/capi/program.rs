//! C programs, compiled without warnings, and run with and without a memory checker.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::library::{pkg_config, root, run};
use crate::support::process::{Process, bound_command, bound_command_in};

/// The time limit of a wait, under the memory checker on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// The memory checker of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checker {
    Nothing,
    /// Memory errors and leaked blocks are failures.
    Valgrind,
}

/// The exit code for a memory error.
const ERROR_CODE: &str = "--error-exitcode=99";

/// A compiled program, and its folder, which is deleted with it.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    _folder: Option<TempDir>,
}

impl Program {
    /// A program of `tests/capi/c`, linked with the shared library.
    pub(crate) fn of_tests(name: &str) -> Self {
        let source = root().join(format!("tests/capi/c/{name}.c"));
        Self::compile(&source, &shared_library())
    }

    /// Compiles a source with these linker arguments.
    pub(crate) fn compile(source: &Path, link: &[String]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join(source.file_stem().expect("a file's name"));
        let mut command = Command::new("gcc");
        command.args(["-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]);
        command.args(pkg_config(&["--cflags"])).arg(source).arg("-o").arg(&program).args(link);
        run(command);
        Self { path: program, _folder: Some(folder) }
    }

    /// An existing program.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path, _folder: None }
    }

    /// Starts the program; its process ends with this one.
    pub(crate) fn start(&self, checker: Checker, arguments: &[&str]) -> Process {
        Process::spawn(self.command(checker, arguments, bound_command))
    }

    /// The same in the network namespace of this path.
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
                command.args(["--quiet", "--fair-sched=try", "--leak-check=full", ERROR_CODE]);
                command
                    .args(["--show-leak-kinds=definite,indirect", "--child-silent-after-fork=yes"]);
                command.arg("--errors-for-leak-kinds=definite,indirect").arg(&self.path);
                command
            }
        };
        command.args(arguments);
        command
    }

    /// Runs the program, which must succeed, and returns its lines.
    #[track_caller]
    pub(crate) fn passes(&self, checker: Checker, arguments: &[&str]) -> Vec<String> {
        passed(self.start(checker, arguments))
    }
}

/// The lines of a process, which must succeed.
#[track_caller]
pub(crate) fn passed(mut process: Process) -> Vec<String> {
    let lines = std::iter::from_fn(|| process.line(PATIENCE)).collect();
    let status = process.exited(PATIENCE);
    assert!(status.success(), "{status}:\n{}", process.transcript());
    lines
}

/// Linker arguments for the installed shared library.
pub(crate) fn shared_library() -> Vec<String> {
    let folder = pkg_config(&["--variable=libdir"]).concat();
    let mut words = pkg_config(&["--libs"]);
    words.push(format!("-Wl,-rpath,{folder}"));
    words
}

/// Linker arguments for the static library.
pub(crate) fn static_library() -> Vec<String> {
    pkg_config(&["--variable=static"])
}
