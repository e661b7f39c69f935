//! The same programs make no memory error and no leak, by the memory checker. `tests/run.sh` runs
//! these with `--all`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::examples::{check_legacy, check_quick_start, check_raii};
use crate::program::Checker::Valgrind;
use crate::program::shared_library;
#[cfg(feature = "vip")]
use crate::service::{answers_for_its_health, holds_a_virtual_ip};
use crate::support::version::Version;
use crate::{check_loading, verify};

/// Held by the test that runs: a program under valgrind is so slow that another one beside it would
/// run into its timeouts.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

on_both_servers!(elections, |version| {
    let _alone = alone();
    verify("election", version, Valgrind, &[]);
});

#[test]
fn misuse() {
    let _alone = alone();
    verify("misuse", Version::Newest, Valgrind, &[]);
}

#[test]
fn callbacks() {
    let _alone = alone();
    verify("callbacks", Version::Newest, Valgrind, &[]);
}

#[test]
fn many_threads() {
    let _alone = alone();
    verify("threads", Version::Newest, Valgrind, &["3"]);
}

#[test]
fn exhausted_descriptors_and_threads() {
    let _alone = alone();
    verify("limits", Version::Newest, Valgrind, &[]);
}

#[test]
fn a_forked_child() {
    let _alone = alone();
    verify("forked", Version::Newest, Valgrind, &["3"]);
}

#[test]
fn a_plug_in() {
    let _alone = alone();
    check_loading(Valgrind);
}

#[cfg(feature = "vip")]
#[test]
fn a_virtual_ip() {
    let _alone = alone();
    holds_a_virtual_ip(Valgrind);
}

#[cfg(feature = "vip")]
#[test]
fn health_queries() {
    let _alone = alone();
    answers_for_its_health(Version::Newest, Valgrind);
}

#[test]
fn cpp_destructors() {
    let _alone = alone();
    check_raii(Valgrind);
}

#[test]
fn a_legacy_service() {
    let _alone = alone();
    check_legacy(Version::Newest, "legacy", Valgrind);
}

#[test]
fn the_quick_start() {
    let _alone = alone();
    check_quick_start(&shared_library(), Valgrind);
}
