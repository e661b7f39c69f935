//! Our threads: named, with small stacks, and out of the way of the program's signals.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Enough for TLS and JSON with a wide margin; the default is 2 MiB.
const STACK_BYTES: usize = 512 * 1024;

/// Starts a thread on which every signal is blocked, as on those that it starts itself: signals go
/// to the program's own threads, whose handlers may not expect to run on a library's.
///
/// # Errors
/// When the system gives no more threads.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(move || {
        block_signals();
        work()
    })
}

#[cfg(all(unix, not(leasehold_portable)))]
pub(crate) fn block_signals() {
    // Fails for no valid set, and there is nothing to be done then.
    let _ = nix::sys::signal::SigSet::all().thread_block();
}

#[cfg(not(all(unix, not(leasehold_portable))))]
pub(crate) fn block_signals() {}
