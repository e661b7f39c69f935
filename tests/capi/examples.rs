//! The examples in C and C++, and the quick start, built and run as a user would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use rustix::process::Signal;

use crate::library::{pkg_config_path, prefix, root, run};
use crate::program::Checker::{self, Nothing};
use crate::program::{PATIENCE, Program, shared_library, static_library};
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::wait_for;

/// The examples, built by their own Makefile.
fn examples() -> &'static Path {
    static BUILT: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
        let folder = copy_of_examples();
        let mut make = Command::new("make");
        run_in(make.arg("-C").arg(folder.path()));
        folder
    });
    BUILT.path()
}

fn copy_of_examples() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["legacy.c", "raii.cpp", "Makefile", "CMakeLists.txt"] {
        let from = root().join("examples/c").join(name);
        fs::copy(from, folder.path().join(name)).expect("an example");
    }
    folder
}

/// Runs a build that finds the installed library.
fn run_in(command: &mut Command) {
    let mut own = Command::new(command.get_program());
    own.args(command.get_args()).env("PKG_CONFIG_PATH", pkg_config_path());
    own.env_remove("MAKEFLAGS");
    run(own);
}

#[test]
fn cmake_finds_the_library() {
    let folder = copy_of_examples();
    let build = folder.path().join("build");
    let prefix = format!("-DCMAKE_PREFIX_PATH={}", prefix().display());
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(folder.path()).arg("-B").arg(&build).arg(prefix);
    run(configure);
    let mut command = Command::new("cmake");
    command.arg("--build").arg(&build);
    run(command);
    let server = NatsServer::start(Version::Newest);
    let lines = Program::at(build.join("raii")).passes(Nothing, &[&server.url()]);
    assert_eq!(lines.len(), 3, "{lines:?}");
}

pub(crate) fn check_raii(checker: Checker) {
    let server = NatsServer::start(Version::Newest);
    let lines = Program::at(examples().join("raii")).passes(checker, &[&server.url()]);
    assert_eq!(lines, ["job in epoch 1"; 3]);
}

#[test]
fn cpp_destructors_free_handles() {
    check_raii(Nothing);
}

/// In a ledger no epoch is lower than the one before, and no epoch has two sessions.
fn check_ledger(ledger: &Path) {
    let text = fs::read_to_string(ledger).expect("a ledger");
    let lines: Vec<(u64, &str)> = text
        .lines()
        .map(|line| line.split_once(' ').expect("an epoch and a session"))
        .map(|(epoch, session)| (epoch.parse().expect("an epoch"), session))
        .collect();
    for pair in lines.windows(2) {
        let same = pair[0] == pair[1];
        assert!(same || pair[0].0 < pair[1].0, "{pair:?}");
    }
    assert!(lines.len() > 3, "{text}");
}

/// The first instance is killed; the second is paused, replaced, and resumed; the third is ended.
pub(crate) fn check_legacy(version: Version, program: &str, checker: Checker) {
    let server = NatsServer::start(version);
    let url = server.url();
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = folder.path().join("ledger");
    let path = ledger.to_str().expect("a readable path");
    let legacy = Program::at(examples().join(program));
    let start = |node| legacy.start(checker, &[node, "orders", &url, path]);

    let mut first = start("first");
    wait_for(&first, "worked in epoch 1");
    let mut second = start("second");
    wait_for(&second, "first leads, epoch 1");
    first.kill();
    wait_for(&second, "worked in epoch 2");

    let mut third = start("third");
    wait_for(&third, "second leads, epoch 2");
    second.pause();
    wait_for(&third, "worked in epoch 3");
    second.resume();
    wait_for(&second, "third leads, epoch 3");

    third.signal(Signal::TERM);
    assert!(third.exited(PATIENCE).success(), "{}", third.transcript());
    wait_for(&second, "worked in epoch 4");
    second.signal(Signal::INT);
    assert!(second.exited(PATIENCE).success(), "{}", second.transcript());
    check_ledger(&ledger);
}

on_both_servers!(a_legacy_service_works_in_one_instance_at_a_time, |version| {
    check_legacy(version, "legacy", Nothing);
});

#[test]
fn a_statically_linked_legacy_service() {
    check_legacy(Version::Newest, "legacy-static", Nothing);
}

/// The first block of C in the README, as it stands there. The guide has the same.
fn quick_start(folder: &Path) -> PathBuf {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    let (_, rest) = readme.split_once("```c\n").expect("a block of C");
    let (code, _) = rest.split_once("```").expect("the block's end");
    assert!(code.lines().count() <= 27, "a quick start is short");
    let page = fs::read_to_string(root().join("src/guide/c.md")).expect("a page");
    assert!(page.contains(&format!("```c\n{code}```")), "the guide shows another program");
    let source = folder.join("app.c");
    fs::write(&source, code).expect("a file");
    source
}

/// A leader that ends hands over at once.
pub(crate) fn check_quick_start(link: &[String], checker: Checker) {
    let server = NatsServer::start(Version::Newest);
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::compile(&quick_start(folder.path()), link);
    let mut first = program.start(checker, &["node-1", &server.url()]);
    wait_for(&first, "leads, epoch 1");
    wait_for(&first, "leading");
    let mut second = program.start(checker, &["node-2", &server.url()]);
    wait_for(&second, "learns that node-1 leads, epoch 1");
    first.signal(Signal::INT);
    assert!(first.exited(PATIENCE).success(), "{}", first.transcript());
    wait_for(&second, "leads, epoch 2");
    wait_for(&second, "leading");
    second.signal(Signal::TERM);
    assert!(second.exited(PATIENCE).success(), "{}", second.transcript());
    let mut none = program.start(checker, &[]);
    assert_eq!(none.exited(PATIENCE).code(), Some(1), "{}", none.transcript());
    assert!(none.transcript().contains("NODE SERVERS"), "{}", none.transcript());
}

#[test]
fn the_quick_start_runs_as_it_stands_in_the_readme() {
    check_quick_start(&shared_library(), Nothing);
    check_quick_start(&static_library(), Nothing);
}
