//! Readiness as a descriptor, for `poll(2)`, `select(2)` and `epoll(7)`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use super::readiness::Readiness;

#[cfg(all(target_os = "linux", not(leasehold_portable)))]
type Device = counter::Counter;
#[cfg(not(all(target_os = "linux", not(leasehold_portable))))]
type Device = pair::Pair;

/// A descriptor that is readable while there are events, for main loops of `select`, `poll` or
/// `epoll`.
///
/// It becomes readable when an event is queued, and when the node has stopped. It stays readable
/// until a call of [`Events`](super::Events) has found no event. **Only wait for it**: do not read,
/// write or close it. Level-triggered, take one event per wake-up or all. Edge-triggered, take
/// events until there are none.
///
/// Cheap to clone. The descriptor stays open while a clone of this or of its `Events` exists, also
/// after the node has stopped. `exec` closes it. A forked child may only close its copy.
///
/// ```
/// use rustix::event::{PollFd, PollFlags, poll};
///
/// # use leasehold::{Config, Node, clock::Clock, store::memory::MemoryServer};
/// # let store = MemoryServer::new().connect(Clock::boot());
/// # let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// # let node = Node::builder(config).store(store).start()?;
/// let readable = node.events().pollable()?;
/// let mut polled = [PollFd::new(&readable, PollFlags::IN)]; // and your own descriptors
/// poll(&mut polled, None)?;
/// if polled[0].revents().contains(PollFlags::IN) {
///     while let Some(event) = node.events().try_next() {
///         println!("{event}");
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pollable(Arc<Device>);

impl Pollable {
    /// # Errors
    /// The process or the system has no descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        Device::new().map(Arc::new).map(Self)
    }

    pub(super) fn readiness(&self) -> &impl Readiness {
        &*self.0
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

    use super::{AsFd, BorrowedFd, Readiness, io};

    /// An eventfd: readable while its count is not zero; reading sets it to zero.
    #[derive(Debug)]
    pub(super) struct Counter(OwnedFd);

    impl Counter {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
        }
    }

    impl Readiness for Counter {
        fn set(&self) {
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

    use super::{AsFd, BorrowedFd, Readiness, io};

    /// A pair of sockets: unlike a pipe, the standard library offers it without unsafe code.
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

    impl Readiness for Pair {
        fn set(&self) {
            // Fails only when it is full, and the other end readable.
            let _ = (&self.inlet).write(&[1]);
        }

        fn clear(&self) {
            let mut bytes = [0; 64];
            while (&self.outlet).read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
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
