//! A bell that `poll(2)` and its kin can wait for.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use super::bell::Bell;

#[cfg(all(target_os = "linux", not(leasehold_portable)))]
type Device = counter::Counter;
#[cfg(not(all(target_os = "linux", not(leasehold_portable))))]
type Device = pair::Pair;

/// A descriptor to wait for events with, in a main loop of `select`, `poll` or `epoll`.
///
/// It is readable from the moment an event is queued until a look at the queue has found it empty,
/// and once more when the node has stopped. **Only wait for it**: reading it, writing it or closing
/// it is [`Events`](super::Events)' own affair. Use it level-triggered, and take one event for each
/// wake-up or all of them, as you like; edge-triggered, take events until there are none.
///
/// Cheap to clone. The descriptor stays open as long as a clone of this or of its `Events` exists,
/// also when the node is gone. It is closed by `exec`; a forked child may close its copy, and must
/// leave it alone otherwise.
#[derive(Clone, Debug)]
pub struct Pollable(Arc<Device>);

impl Pollable {
    /// # Errors
    /// The process or the system has no descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        Device::new().map(Arc::new).map(Self)
    }
}

impl Bell for Pollable {
    fn ring(&self) {
        self.0.ring();
    }

    fn clear(&self) {
        self.0.clear();
    }
}

impl AsFd for Pollable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Pollable {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

#[cfg(all(target_os = "linux", not(leasehold_portable)))]
mod counter {
    use std::os::fd::OwnedFd;

    use rustix::event::{EventfdFlags, eventfd};

    use super::{AsFd, Bell, BorrowedFd, io};

    /// An eventfd: readable while its count is not zero; reading sets it to zero.
    #[derive(Debug)]
    pub(super) struct Counter(OwnedFd);

    impl Counter {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
        }
    }

    impl Bell for Counter {
        fn ring(&self) {
            // Fails only when the count is at its limit, and the descriptor readable.
            let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
        }

        fn clear(&self) {
            // Fails only when it is cleared already.
            let _ = rustix::io::read(&self.0, &mut [0; 8]);
        }
    }

    impl AsFd for Counter {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}

#[cfg(any(test, not(all(target_os = "linux", not(leasehold_portable)))))]
mod pair {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::{AsFd, Bell, BorrowedFd, io};

    /// A pipe, made of sockets because those are to be had without unsafe code everywhere.
    #[derive(Debug)]
    pub(super) struct Pair {
        inlet: UnixStream,
        outlet: UnixStream,
    }

    impl Pair {
        pub(super) fn new() -> io::Result<Self> {
            let (inlet, outlet) = UnixStream::pair()?;
            inlet.set_nonblocking(true)?;
            outlet.set_nonblocking(true)?;
            Ok(Self { inlet, outlet })
        }
    }

    impl Bell for Pair {
        fn ring(&self) {
            // Fails only when it is full, and the other end readable.
            let _ = (&self.inlet).write(&[1]);
        }

        fn clear(&self) {
            let mut rings = [0; 64];
            while (&self.outlet).read(&mut rings).is_ok_and(|read| read == rings.len()) {}
        }
    }

    impl AsFd for Pair {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.outlet.as_fd()
        }
    }
}

#[cfg(all(test, target_os = "linux", not(leasehold_portable)))]
#[path = "pollable_tests.rs"]
mod tests;
