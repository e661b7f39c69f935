//! The C API, used by C and C++ programs: built, installed, compiled without warnings, and run on
//! real servers with and without a memory checker.
#![cfg(all(feature = "capi", target_os = "linux"))]

#[path = "../support/mod.rs"]
#[macro_use]
mod support;

mod header;
mod library;
#[cfg(feature = "vip")]
#[path = "../netns/mod.rs"]
mod netns;
mod program;
#[cfg(feature = "vip")]
mod service;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use rustix::process::Signal;

use library::{make, pkg_config_path, prefix, root, run};
use program::Checker::{self, Nothing, Valgrind};
use program::{PATIENCE, Program, shared_library, static_library};
use support::process::Process;
use support::server::NatsServer;
use support::version::Version;

const HEADER: &str = "src/capi/leasehold.h";

/// `LEASEHOLD_WRITE=1 cargo test --features capi --test capi the_header` writes the header.
#[test]
fn the_header_equals_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/capi/leasehold.h");
    let generated = header::generate();
    if std::env::var_os("LEASEHOLD_WRITE").is_some() {
        fs::write(path, &generated).expect("a file");
    }
    let committed = fs::read_to_string(path).expect("a file");
    let lines = || committed.lines().zip(generated.lines()).enumerate();
    let first = lines().find(|(_, (old, new))| old != new);
    assert!(committed == generated, "{HEADER} is stale, first at {first:?}");
}

/// Runs a program of `tests/capi/c` on a server, with further arguments.
fn verify(name: &str, version: Version, checker: Checker, arguments: &[&str]) {
    let server = NatsServer::start(version);
    let url = server.url();
    let arguments: Vec<_> = [url.as_str()].iter().chain(arguments).copied().collect();
    let lines = Program::of_tests(name).passes(checker, &arguments);
    assert!(lines.last().is_some_and(|line| line.starts_with("done")), "{lines:?}");
}

on_both_servers!(events_arrive_by_timeout_poll_and_callback, |version| {
    verify("election", version, Nothing, &[]);
});

on_both_servers!(elections_make_no_memory_error, |version| {
    verify("election", version, Valgrind, &[]);
});

#[test]
fn every_misuse_returns_a_code() {
    verify("misuse", Version::Newest, Nothing, &[]);
}

#[test]
fn misuse_makes_no_memory_error() {
    verify("misuse", Version::Newest, Valgrind, &[]);
}

#[test]
fn callbacks_may_call_the_library_and_may_hang() {
    verify("callbacks", Version::Newest, Nothing, &[]);
}

#[test]
fn callbacks_make_no_memory_error() {
    verify("callbacks", Version::Newest, Valgrind, &[]);
}

#[test]
fn many_threads_share_handles() {
    verify("threads", Version::Newest, Nothing, &["10"]);
}

#[test]
fn many_threads_make_no_memory_error() {
    verify("threads", Version::Newest, Valgrind, &["3"]);
}

#[test]
fn exhausted_descriptors_and_threads_return_a_code() {
    verify("limits", Version::Newest, Nothing, &[]);
}

#[test]
fn exhausted_descriptors_and_threads_make_no_memory_error() {
    verify("limits", Version::Newest, Valgrind, &[]);
}

#[test]
fn a_forked_child_never_leads() {
    verify("forked", Version::Newest, Nothing, &["50"]);
}

#[test]
fn a_forked_child_makes_no_memory_error() {
    verify("forked", Version::Newest, Valgrind, &["3"]);
}

/// Without the memory checker, which handles signals in its own way.
#[test]
fn signals_and_the_exit_are_left_to_the_program() {
    verify("signals", Version::Newest, Nothing, &[]);
}

fn check_loading(checker: Checker) {
    let server = NatsServer::start(Version::Newest);
    let program = Program::compile(&root().join("tests/capi/c/loader.c"), &[]);
    let library = prefix().join("lib/libleasehold.so");
    let library = library.to_str().expect("a readable path");
    assert_eq!(program.passes(checker, &[library, &server.url()]), ["done"]);
}

#[test]
fn a_plug_in_is_loaded_and_unloaded() {
    check_loading(Nothing);
}

#[test]
fn a_plug_in_makes_no_memory_error() {
    check_loading(Valgrind);
}

#[cfg(feature = "vip")]
mod by_configuration {
    use super::service::{answers_for_its_health, holds_a_virtual_ip};
    use super::{Nothing, Valgrind, Version};

    #[test]
    fn the_leader_holds_the_virtual_ip() {
        holds_a_virtual_ip(Nothing);
    }

    #[test]
    fn a_virtual_ip_makes_no_memory_error() {
        holds_a_virtual_ip(Valgrind);
    }

    on_both_servers!(health_queries_are_answered, |version| {
        answers_for_its_health(version, Nothing);
    });

    #[test]
    fn health_queries_make_no_memory_error() {
        answers_for_its_health(Version::Newest, Valgrind);
    }
}

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

fn check_raii(checker: Checker) {
    let server = NatsServer::start(Version::Newest);
    let lines = Program::at(examples().join("raii")).passes(checker, &[&server.url()]);
    assert_eq!(lines, ["job in epoch 1"; 3]);
}

#[test]
fn cpp_destructors_free_handles() {
    check_raii(Nothing);
}

#[test]
fn cpp_destructors_make_no_memory_error() {
    check_raii(Valgrind);
}

/// Waits for a line that contains `text`.
#[track_caller]
fn wait_for(process: &Process, text: &str) -> String {
    process.line_with(PATIENCE, text)
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
fn check_legacy(version: Version, program: &str, checker: Checker) {
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

#[test]
fn a_legacy_service_makes_no_memory_error() {
    check_legacy(Version::Newest, "legacy", Valgrind);
}

/// The first block of C in the README, as it stands there. The guide has the same.
fn quick_start(folder: &Path) -> PathBuf {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    let (_, rest) = readme.split_once("```c\n").expect("a block of C");
    let (code, _) = rest.split_once("```").expect("the block's end");
    assert!(code.lines().count() <= 25, "a quick start is short");
    let page = fs::read_to_string(root().join("src/guide/c.md")).expect("a page");
    assert!(page.contains(&format!("```c\n{code}```")), "the guide shows another program");
    let source = folder.join("app.c");
    fs::write(&source, code).expect("a file");
    source
}

/// A leader that ends hands over at once.
fn check_quick_start(link: &[String], checker: Checker) {
    let server = NatsServer::start(Version::Newest);
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::compile(&quick_start(folder.path()), link);
    let mut first = program.start(checker, &["node-1", &server.url()]);
    wait_for(&first, "leads, epoch 1");
    wait_for(&first, "leading");
    let mut second = program.start(checker, &["node-2", &server.url()]);
    wait_for(&second, "hears that node-1 leads, epoch 1");
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

#[test]
fn the_quick_start_makes_no_memory_error() {
    check_quick_start(&shared_library(), Valgrind);
}

#[test]
fn the_installed_library_links_both_ways_and_uninstalls() {
    let server = NatsServer::start(Version::Newest);
    let source = root().join("tests/capi/c/election.c");
    let program = Program::compile(&source, &static_library());
    assert_eq!(program.passes(Nothing, &[&server.url()]), ["done"]);

    let folder = tempfile::tempdir().expect("a folder");
    let prefix = folder.path().join("prefix");
    let files = || {
        let mut find = Command::new("find");
        find.arg(&prefix).args(["-not", "-type", "d", "-printf", "%P\n"]);
        let mut files: Vec<_> = run(find).lines().map(String::from).collect();
        files.sort();
        files
    };
    run(make("install", &prefix));
    let version = env!("CARGO_PKG_VERSION");
    let installed = [
        "include/leasehold.h",
        "lib/libleasehold.a",
        "lib/libleasehold.so",
        "lib/libleasehold.so.1",
        &format!("lib/libleasehold.so.1.{version}"),
        "lib/pkgconfig/leasehold.pc",
    ];
    assert_eq!(files(), installed);
    let mut readelf = Command::new("readelf");
    readelf.arg("-d").arg(prefix.join("lib/libleasehold.so"));
    let dynamic = run(readelf);
    assert!(dynamic.contains("soname: [libleasehold.so.1]"), "{dynamic}");
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
    run(make("uninstall", &prefix));
    assert_eq!(files(), [""; 0]);
}
