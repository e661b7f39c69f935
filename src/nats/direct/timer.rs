//! Ends a wait to the nanosecond, where the wait itself counts in milliseconds.
//!
//! `epoll_wait` rounds its timeout up. A node that may challenge at a moment would be up to a
//! millisecond late. On Linux a timer is one more descriptor to wait for; elsewhere the wait is as
//! fine as the system makes it.

#[cfg(all(target_os = "linux", not(leasehold_portable)))]
pub(super) use fine::Timer;
#[cfg(not(all(target_os = "linux", not(leasehold_portable))))]
pub(super) use rough::Timer;

#[cfg(all(target_os = "linux", not(leasehold_portable)))]
mod fine {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::time::Duration;

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    /// See the [module](super). It is never read: setting it again clears it, and a wait takes each
    /// of its ends once.
    pub(in super::super) struct Timer(OwnedFd);

    impl Timer {
        pub(in super::super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
            let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
            let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
            registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Self(timer))
        }

        /// Makes a wait return `after` from now. Zero is a wait that does not need it.
        pub(in super::super) fn set(&self, after: Duration) {
            let Ok(value) = Timespec::try_from(after) else { return };
            let interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            let spec = Itimerspec { it_interval: interval, it_value: value };
            // Without it the wait ends a little later.
            let _ = timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &spec);
        }
    }
}

#[cfg(not(all(target_os = "linux", not(leasehold_portable))))]
mod rough {
    use std::io;
    use std::time::Duration;

    use mio::{Registry, Token};

    /// See the [module](super).
    pub(in super::super) struct Timer;

    impl Timer {
        #[allow(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
        pub(in super::super) fn new(_registry: &Registry, _token: Token) -> io::Result<Self> {
            Ok(Self)
        }

        #[allow(clippy::unused_self, reason = "elsewhere it is used")]
        pub(in super::super) fn set(&self, _after: Duration) {}
    }
}
