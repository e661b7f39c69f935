//! The C library, built and installed once for all tests of this binary by `make install`, and
//! found by pkg-config.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::support::process::without_package;

/// The target folder of this run; its builds of the dependencies are reused.
pub(crate) fn target() -> PathBuf {
    let test = env::current_exe().expect("a test knows its own path");
    let target = test.ancestors().nth(3).expect("test binaries are in target/<profile>/deps");
    target.to_owned()
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the library is installed, in the development profile.
pub(crate) fn prefix() -> &'static Path {
    static PREFIX: LazyLock<PathBuf> = LazyLock::new(|| {
        let prefix = target().join("capi/prefix");
        run(make("install", &prefix));
        prefix
    });
    &PREFIX
}

/// A goal of the library's Makefile, for a prefix; the build goes to a folder beside it.
pub(crate) fn make(goal: &str, prefix: &Path) -> Command {
    let mut command = Command::new("make");
    command.arg("-C").arg(root().join("src/capi")).args([goal, "PROFILE=dev"]);
    command.arg(format!("PREFIX={}", prefix.display()));
    command.arg(format!("OUT={}", prefix.with_file_name("built").display()));
    command.env("CARGO", env!("CARGO")).env("CARGO_TARGET_DIR", target());
    // Other flags would rebuild the dependencies.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command.env_remove("MAKEFLAGS").env_remove("CARGO_MAKEFLAGS");
    without_package(&mut command);
    command
}

/// Where pkg-config finds the installed library.
pub(crate) fn pkg_config_path() -> PathBuf {
    prefix().join("lib/pkgconfig")
}

/// The output of pkg-config, as words.
pub(crate) fn pkg_config(arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new("pkg-config");
    command.args(arguments).arg("leasehold").env("PKG_CONFIG_PATH", pkg_config_path());
    run(command).split_whitespace().map(String::from).collect()
}

/// Runs a command, which must succeed, and returns its output.
///
/// # Panics
/// If it fails, with its output; if it is missing, with the command that installs it.
#[track_caller]
pub(crate) fn run(mut command: Command) -> String {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|error| {
        panic!("{name}: {error}: apt-get install gcc g++ make cmake pkg-config valgrind binutils")
    });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}{errors}", output.status);
    text
}
