//! The same programs make no memory error and no leak, by the memory checker. `tests/run.sh` runs
//! these with `--all`.

use crate::examples::{check_legacy, check_quick_start, check_raii};
use crate::program::Checker::Valgrind;
use crate::program::shared_library;

#[cfg(feature = "vip")]
use crate::service::{answers_for_its_health, holds_a_virtual_ip};
use crate::support::version::Version;
use crate::{check_loading, verify};

on_both_servers!(elections, |version| {
    verify("election", version, Valgrind, &[]);
});

#[test]
fn misuse() {
    verify("misuse", Version::Newest, Valgrind, &[]);
}

#[test]
fn callbacks() {
    verify("callbacks", Version::Newest, Valgrind, &[]);
}

#[test]
fn many_threads() {
    verify("threads", Version::Newest, Valgrind, &["3"]);
}

#[test]
fn exhausted_descriptors_and_threads() {
    verify("limits", Version::Newest, Valgrind, &[]);
}

#[test]
fn a_forked_child() {
    verify("forked", Version::Newest, Valgrind, &["3"]);
}

#[test]
fn a_plug_in() {
    check_loading(Valgrind);
}

#[cfg(feature = "vip")]
#[test]
fn a_virtual_ip() {
    holds_a_virtual_ip(Valgrind);
}

#[cfg(feature = "vip")]
#[test]
fn health_queries() {
    answers_for_its_health(Version::Newest, Valgrind);
}

#[test]
fn cpp_destructors() {
    check_raii(Valgrind);
}

#[test]
fn a_legacy_service() {
    check_legacy(Version::Newest, "legacy", Valgrind);
}

#[test]
fn the_quick_start() {
    check_quick_start(&shared_library(), Valgrind);
}
