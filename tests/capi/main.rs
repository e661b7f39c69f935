//! The C API, used by C and C++ programs: built, installed, compiled without warnings, and run on
//! real servers with and without a memory checker.
#![cfg(all(feature = "capi", target_os = "linux"))]

#[path = "../support/mod.rs"]
#[macro_use]
mod support;

mod examples;
mod header;
mod library;
#[cfg(feature = "vip")]
#[path = "../netns/mod.rs"]
mod netns;
mod program;
#[cfg(feature = "vip")]
mod service;
mod valgrind;

use std::fs;
use std::process::Command;

use library::{make, prefix, root, run};
use program::Checker::{self, Nothing};
use program::{PATIENCE, Program, static_library};
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

#[test]
fn every_misuse_returns_a_code() {
    verify("misuse", Version::Newest, Nothing, &[]);
}

#[test]
fn callbacks_may_call_the_library_and_may_hang() {
    verify("callbacks", Version::Newest, Nothing, &[]);
}

#[test]
fn many_threads_share_handles() {
    verify("threads", Version::Newest, Nothing, &["10"]);
}

#[test]
fn exhausted_descriptors_and_threads_return_a_code() {
    verify("limits", Version::Newest, Nothing, &[]);
}

#[test]
fn a_forked_child_never_leads() {
    verify("forked", Version::Newest, Nothing, &["50"]);
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

#[cfg(feature = "vip")]
mod by_configuration {
    use super::service::{answers_for_its_health, holds_a_virtual_ip};
    use super::{Nothing, Version};

    #[test]
    fn the_leader_holds_the_virtual_ip() {
        holds_a_virtual_ip(Nothing);
    }

    on_both_servers!(health_queries_are_answered, |version| {
        answers_for_its_health(version, Nothing);
    });
}

/// Waits for a line that contains `text`.
#[track_caller]
fn wait_for(process: &Process, text: &str) -> String {
    process.line_with(PATIENCE, text)
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
