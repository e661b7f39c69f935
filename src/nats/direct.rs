//! This library's own client: one non-blocking socket, and no thread of its own.
//!
//! Everything happens in the calls of the owner, for the lease store on the renewal thread: one
//! `poll` waits for the socket and for wake-ups, and a message is read, decided on and answered
//! without passing to another thread. So on a busy machine a lease waits for a processor once, not
//! once per thread.
//!
//! Bytes become operations in `parser.rs`, which is shared with the handshake. `wire.rs` is the
//! socket, `dial.rs` an attempt to connect, `session.rs` a connection that stands.

mod session;
mod timer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::{Events, Poll, Token};

use super::dial::{Dial, Dialer};
use super::handshake::Hello;
use super::parser::MAX_LINE;
use super::transport::{ConnectionOptions, Incoming, Outgoing, Peer, Sent, Transport};
use crate::clock::{Clock, Timestamp};
use crate::config::connection::{ConnectionSettings, ServerAddress};
use crate::error::StoreError;
use crate::wait::Waker;
use session::{Session, Subscriptions};
use timer::Timer;

/// The token of wake-ups,
const WAKE: Token = Token(0);
/// and that of the timer; sockets have the ones after it.
const TIMER: Token = Token(1);
/// Sockets that may become ready in one wait; more come out of the next.
const MAX_EVENTS: usize = 16;

/// See the [module](self).
pub(super) struct Direct {
    poll: Poll,
    timer: Timer,
    events: Events,
    clock: Clock,
    dialer: Dialer,
    options: ConnectionOptions,
    /// Set by the waker.
    woken: Arc<AtomicBool>,
    /// A wake-up was taken and not yet reported.
    wake_taken: bool,
    subscriptions: Subscriptions,
    dial: Option<Dial>,
    session: Option<Session>,
}

impl Direct {
    /// # Errors
    /// [`StoreError::System`] when the system gives no descriptor.
    pub(super) fn new(
        settings: ConnectionSettings,
        options: ConnectionOptions,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let no_descriptor =
            |error: io::Error| StoreError::system("get a descriptor to wait on", &error);
        let poll = Poll::new().map_err(no_descriptor)?;
        let waker = mio::Waker::new(poll.registry(), WAKE).map_err(no_descriptor)?;
        let timer = Timer::new(poll.registry(), TIMER).map_err(no_descriptor)?;
        let subscriptions = Subscriptions::new(&settings.inbox_prefix);
        let dialer = Dialer {
            settings: Arc::new(settings),
            hello: Hello { longest_info: MAX_LINE, tls_first: true, ..Hello::default() },
            waker: Arc::new(waker),
            last_token: TIMER.0,
            helpers: Arc::default(),
        };
        Ok(Self {
            poll,
            timer,
            events: Events::with_capacity(MAX_EVENTS),
            clock,
            dialer,
            options,
            woken: Arc::default(),
            wake_taken: false,
            subscriptions,
            dial: None,
            session: None,
        })
    }

    /// Waits for the sockets and for wake-ups, and takes note of what is ready.
    fn poll(&mut self, at_most: Duration) {
        if !at_most.is_zero() {
            self.timer.set(at_most);
        }
        // Interrupted by a signal, it found nothing; other errors would be of this library.
        if let Err(error) = self.poll.poll(&mut self.events, Some(at_most)) {
            debug_assert_eq!(error.kind(), io::ErrorKind::Interrupted, "{error}");
            return;
        }
        for event in &self.events {
            if let Some(session) = self.session.as_mut().filter(|one| one.token == event.token()) {
                session.wire.ready(event);
            } else if let Some(dial) = &mut self.dial {
                dial.ready(event);
            }
        }
    }
}

impl Transport for Direct {
    fn connect(
        &mut self,
        server: &ServerAddress,
        timeout: Duration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        // Each attempt has an inbox of its own, so that no response of another connection counts.
        self.subscriptions = Subscriptions::new(&self.dialer.settings.inbox_prefix);
        self.dialer.hello.subscriptions = self.subscriptions.commands(&self.options);
        self.dial = Some(self.dialer.dial(server, now + timeout)?);
        Ok(())
    }

    fn give_up(&mut self) {
        self.dial = None;
    }

    fn finished(&mut self, now: Timestamp) -> Option<Result<Peer, StoreError>> {
        let dial = self.dial.as_mut()?;
        let result = dial.poll(&mut self.dialer, self.poll.registry(), now)?;
        let (server, subscriptions) = (dial.server.to_string(), self.subscriptions.clone());
        self.dial = None;
        Some(result.map(|reached| {
            let session = Session::new(reached, server, subscriptions, &self.options, now);
            let session = self.session.insert(session);
            // Their subject may have changed during the attempt.
            self.options.hints.iter().for_each(|subject| session.set_hints(subject));
            session.peer.clone()
        }))
    }

    fn next(&mut self, now: Timestamp) -> Option<Incoming> {
        self.session.as_mut()?.next(now)
    }

    fn send(&mut self, message: &Outgoing) -> Sent {
        self.session.as_mut().map_or(Sent::Closed, |session| session.send(message))
    }

    fn set_hints(&mut self, subject: &str) {
        let Some(hints) = &mut self.options.hints else { return };
        subject.clone_into(hints);
        if let Some(session) = &mut self.session {
            session.set_hints(subject);
        }
    }

    fn is_leaving(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.leaving)
    }

    fn disconnect(&mut self, _now: Timestamp) {
        self.session = None;
    }

    fn waker(&self) -> Waker {
        let (woken, waker) = (Arc::clone(&self.woken), Arc::clone(&self.dialer.waker));
        Waker::new(move || {
            // The one who waits is being woken already when it was set.
            if !woken.swap(true, Ordering::SeqCst) {
                // It fails when the counter is full: then it was woken, too.
                let _ = waker.wake();
            }
        })
    }

    fn look(&mut self) {
        self.wake_taken |= self.woken.swap(false, Ordering::SeqCst);
    }

    fn take_wake(&mut self) -> bool {
        std::mem::take(&mut self.wake_taken)
    }

    fn next_at(&self, now: Timestamp) -> Option<Timestamp> {
        let session = self.session.as_ref().and_then(|session| session.next_at(now));
        session.into_iter().chain(self.dial.as_ref().map(Dial::next_at)).min()
    }

    fn wait(&mut self, at_most: Duration) {
        let idle = self.session.as_ref().is_none_or(Session::is_idle)
            && self.dial.as_ref().is_none_or(Dial::is_idle);
        self.poll(if idle { at_most } else { Duration::ZERO });
    }

    fn close(&mut self, until: Timestamp) {
        self.dial = None;
        let mut told = false;
        while let Some(session) = &mut self.session {
            if !told && session.wire.is_flushed() {
                session.wire.shut_down();
                told = true;
            }
            // The server closes its side once it has read everything.
            let now = self.clock.now();
            if session.wire.next().is_err() || now >= until {
                self.session = None;
            } else {
                self.wait(until.since(now));
            }
        }
    }
}
