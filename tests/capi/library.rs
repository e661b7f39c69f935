//! The C library, built and installed once for all tests of this binary as its user would: by
//! `make install`, and found through pkg-config.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The target folder of this run, whose builds of the dependencies serve the C library too.
pub(crate) fn target() -> PathBuf {
    let test = env::current_exe().expect("a test knows its own path");
    let target = test.ancestors().nth(3).expect("test binaries are in target/<profile>/deps");
    target.to_owned()
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where it is installed. The development profile serves: what is tested is the interface.
pub(crate) fn prefix() -> &'static Path {
    static PREFIX: LazyLock<PathBuf> = LazyLock::new(|| {
        let prefix = target().join("capi/prefix");
        run(make("install", &prefix));
        prefix
    });
    &PREFIX
}

/// A goal of the library's Makefile, for a prefix; what is built for it is beside it.
pub(crate) fn make(goal: &str, prefix: &Path) -> Command {
    let mut command = Command::new("make");
    command.arg("-C").arg(root().join("src/capi")).args([goal, "PROFILE=dev"]);
    command.arg(format!("PREFIX={}", prefix.display()));
    command.arg(format!("OUT={}", prefix.with_file_name("built").display()));
    command.env("CARGO", env!("CARGO")).env("CARGO_TARGET_DIR", target());
    // What this run of cargo was told is not meant for the library: a flag would build it anew.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command.env_remove("MAKEFLAGS").env_remove("CARGO_MAKEFLAGS");
    command
}

/// Where pkg-config finds the installed library.
pub(crate) fn pkg_config_path() -> PathBuf {
    prefix().join("lib/pkgconfig")
}

/// What pkg-config says, as words.
pub(crate) fn pkg_config(arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new("pkg-config");
    command.args(arguments).arg("leasehold").env("PKG_CONFIG_PATH", pkg_config_path());
    run(command).split_whitespace().map(String::from).collect()
}

/// Runs a command to its end; it must succeed, and what it printed is returned.
///
/// # Panics
/// When it fails, with all it said; when it is missing, with what installs it.
#[track_caller]
pub(crate) fn run(mut command: Command) -> String {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|error| {
        panic!("{name}: {error}: apt-get install gcc g++ make cmake pkg-config valgrind binutils")
    });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}{said}", output.status);
    text
}
