//! Tests that need a process of their own, to count its threads or to change what belongs to it.

use std::time::Duration;
use std::{env, thread};

use super::process::Process;

/// Set in a process that runs one test alone.
const ALONE: &str = "LEASEHOLD_TEST_ALONE";

/// No such test takes this long, not even on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs `body`, which is all of the calling test, in a process that does nothing else.
///
/// # Panics
/// When it fails there; the message is all that the process printed.
#[track_caller]
pub fn alone(body: impl FnOnce()) {
    if env::var_os(ALONE).is_some() {
        return body();
    }
    let mut process = Process::this_test(&test_name(), &[(ALONE, "1")]);
    let status = process.exited(PATIENCE);
    let printed = process.transcript();
    assert!(status.success() && printed.contains("1 passed"), "{status}:\n{printed}");
    print!("{printed}");
}

/// The full name of the test that calls this from its own thread.
///
/// # Panics
/// When tests run one after the other: they have no threads of their own then.
#[track_caller]
pub fn test_name() -> String {
    let name = thread::current().name().unwrap_or_default().to_owned();
    assert!(!["", "main"].contains(&&*name), "run the tests with RUST_TEST_THREADS=2 or more");
    name
}
