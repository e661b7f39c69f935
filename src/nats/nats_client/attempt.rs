//! One attempt to connect: from a server's address to a client.
//!
//! The crate's own `connect` waits for ever for a server that is mute, before its INFO, after it or
//! within TLS. So the server is probed first: a whole handshake by `dial.rs`, under a deadline. The
//! crate then connects to the very address that was proven.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crossbeam_channel::Sender;
use mio::{Events, Poll, Token};

use super::client::{NatsClient, wake};
use super::reaper::{OpenClient, Shared};
use super::{MAX_LINE, options, tls};
use crate::clock::{Clock, Timestamp};
use crate::config::connection::{ConnectionSettings, ServerAddress};
use crate::error::{StoreError, is_exhausted};
use crate::nats::dial::{Dialer, Helpers, Reached};
use crate::nats::handshake::Hello;
use crate::nats::transport::{ConnectionOptions, Peer};
use crate::nats::{new_inbox, unreachable};
use crate::task::spawn;

/// The longest wait of a probe, so that closing a connection does not wait for a mute server.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// The part that all attempts share.
pub(super) struct ClientSetup {
    pub(super) settings: Arc<ConnectionSettings>,
    pub(super) results: Sender<Finished>,
    /// Wakes the owner of the connection.
    pub(super) waker: Sender<()>,
    pub(super) options: ConnectionOptions,
    /// No connection is wanted any more.
    pub(super) closed: AtomicBool,
    /// One clone per client that has not ended.
    pub(super) clients: Arc<()>,
    /// One clone per thread that tries to connect.
    pub(super) attempts: Arc<()>,
    /// The threads that resolve names.
    pub(super) helpers: Arc<Helpers>,
}

/// One attempt.
pub(super) struct Attempt {
    pub(super) number: u64,
    pub(super) server: ServerAddress,
    pub(super) hints: Option<String>,
    pub(super) deadline: Timestamp,
}

/// How an attempt ended.
pub(super) struct Finished {
    pub(super) number: u64,
    pub(super) result: Result<Box<NatsClient>, ConnectFailure>,
}

/// Why an attempt failed.
pub(super) struct ConnectFailure {
    pub(super) error: StoreError,
    /// It had subscribed to hints.
    pub(super) subscribed_hints: bool,
}

impl ClientSetup {
    /// Starts a thread for one attempt, which sends its result.
    pub(super) fn start(self: &Arc<Self>, attempt: Attempt) -> Result<(), StoreError> {
        let setup = Arc::clone(self);
        let running = Arc::clone(&self.attempts);
        let work = move || {
            let number = attempt.number;
            let result = setup.connect(&attempt).map(Box::new);
            let results = setup.results.clone();
            drop(setup);
            if let Err(unsent) = results.send(Finished { number, result }) {
                // The transport is gone; a client ends when it is dropped.
                drop(unsent);
            }
            drop(running);
        };
        spawn("leasehold-connect", work)
            .map(drop)
            .map_err(|error| StoreError::system("start a thread to connect", &error))
    }

    fn connect(&self, attempt: &Attempt) -> Result<NatsClient, ConnectFailure> {
        let failed = |subscribed_hints| move |error| ConnectFailure { error, subscribed_hints };
        let unusable = |error: std::io::Error| unreachable(&attempt.server, &error.to_string());
        let reached = self.probe(attempt).map_err(failed(false))?;
        let version = reached.handshake.server().0;
        let shared = Arc::new(Shared::default());
        let secure = reached.wire.is_secure();
        let connection = self.open(&attempt.server, reached, &shared).map_err(failed(false))?;
        let open = self
            .subscribe(connection, attempt)
            .map_err(unusable)
            .map_err(failed(attempt.hints.is_some()))?;
        let peer = Peer {
            server: attempt.server.to_string(),
            version,
            inbox_prefix: open.inbox_prefix.clone(),
        };
        let client = NatsClient {
            peer,
            secure,
            hint_subject: attempt.hints.clone(),
            hints_since: None,
            inbox: open.inbox.receiver().clone(),
            subjects: open.subjects.iter().map(|one| one.receiver().clone()).collect(),
            hints: open.hints.as_ref().map(|hints| hints.receiver().clone()),
            max_waiting: self.options.max_waiting,
            waker: self.waker.clone(),
            echo: None,
            received: 0,
            broken: false,
            shared: Arc::clone(&shared),
        };
        shared.put(open).map_err(unusable).map_err(failed(attempt.hints.is_some()))?;
        Ok(client)
    }

    /// A handshake with the server, as far as a connection that stands.
    fn probe(&self, attempt: &Attempt) -> Result<Reached, StoreError> {
        let clock = Clock::boot();
        let no_descriptor =
            |error: std::io::Error| StoreError::system("get a descriptor to wait on", &error);
        let mut poll = Poll::new().map_err(no_descriptor)?;
        let waker = mio::Waker::new(poll.registry(), Token(0)).map_err(no_descriptor)?;
        let mut dialer = Dialer {
            settings: Arc::clone(&self.settings),
            hello: Hello { name_suffix: " probe", longest_info: MAX_LINE, ..Hello::default() },
            waker: Arc::new(waker),
            last_token: 0,
            helpers: Arc::clone(&self.helpers),
        };
        let mut dial = dialer.dial(&attempt.server, attempt.deadline)?;
        let mut events = Events::with_capacity(16);
        loop {
            if self.closed.load(Ordering::Relaxed) {
                return Err(unreachable(&attempt.server, "cancelled"));
            }
            let now = clock.now();
            if let Some(result) = dial.poll(&mut dialer, poll.registry(), now) {
                return result;
            }
            let wait = dial.next_at().since(now).min(LONGEST_WAIT);
            let wait = if dial.is_idle() { wait } else { Duration::ZERO };
            // Interrupted by a signal, it found nothing.
            if poll.poll(&mut events, Some(wait)).is_ok() {
                events.iter().for_each(|event| dial.ready(event));
            }
        }
    }

    /// A client without subscriptions, at the address that was reached.
    fn open(
        &self,
        server: &ServerAddress,
        reached: Reached,
        shared: &Arc<Shared>,
    ) -> Result<nats::Connection, StoreError> {
        let address = reached.address;
        let mut options = self.callbacks(options::of(reached.handshake.credentials()), shared);
        options = options.with_name(&self.settings.name).tls_required(reached.wire.is_secure());
        if reached.wire.is_secure() {
            let config = tls::client_config(&self.settings.tls, &server.host);
            options = options
                .tls_client_config(config.map_err(|error| reached.handshake.tls_failed(&error))?);
        } else if cfg!(unix) {
            // Else the crate reads and decodes all of the system's authorities for each connection
            // that needs none, which takes most of the time to connect. This file has none.
            options = options.add_root_certificate("/dev/null");
        }
        // The probe's own connection is not needed any more.
        drop(reached);
        // The crate panics when the system gives no thread.
        let connect = || options.connect(address.to_string());
        match catch_unwind(AssertUnwindSafe(connect)) {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) if is_exhausted(&error) => Err(StoreError::system("connect", &error)),
            Ok(Err(error)) => Err(unreachable(server, &error.to_string())),
            Err(_) => {
                let error = std::io::Error::other("the nats crate panicked");
                Err(StoreError::system("start the threads of a connection", &error))
            }
        }
    }

    /// Returns when the server has processed the subscriptions.
    fn subscribe(
        &self,
        connection: nats::Connection,
        attempt: &Attempt,
    ) -> std::io::Result<OpenClient> {
        let inbox_prefix = new_inbox(&self.settings.inbox_prefix);
        let subscribe = |subject: &String| {
            let subscription = connection.subscribe(subject)?;
            subscription.set_message_limits(self.options.max_waiting);
            Ok(subscription)
        };
        let inbox = subscribe(&format!("{inbox_prefix}.*"))?;
        let subjects =
            self.options.subjects.iter().map(subscribe).collect::<std::io::Result<_>>()?;
        let hints = attempt.hints.as_ref().map(subscribe).transpose()?;
        connection.flush()?;
        Ok(OpenClient { connection, inbox, subjects, hints, inbox_prefix })
    }

    fn callbacks(&self, options: nats::Options, shared: &Arc<Shared>) -> nats::Options {
        let alive = Arc::clone(&self.clients);
        let [delay, lost, leaving, errors] = [(); 4].map(|()| Arc::clone(shared));
        let [lost_waker, leaving_waker, errors_waker] = [(); 3].map(|()| self.waker.clone());
        options
            // A message that is sent while disconnected must not arrive later.
            .reconnect_buffer_size(0)
            .max_reconnects(None)
            .reconnect_delay_callback(move |_| reconnect_delay(&delay))
            .disconnect_callback(move || {
                lost.lost.store(true, Ordering::SeqCst);
                lost.drop_client();
                wake(&lost_waker);
            })
            .lame_duck_callback(move || {
                leaving.leaving.store(true, Ordering::SeqCst);
                wake(&leaving_waker);
            })
            .error_callback(move |error| {
                errors.keep_error(&error.to_string());
                wake(&errors_waker);
            })
            // Lives as long as the options, and they as long as the client's threads.
            .close_callback(move || drop(Arc::clone(&alive)))
    }
}

/// The crate's pause before it connects: none at first. After the connection was lost the client
/// should end, so all that the crate still does is slowed down.
fn reconnect_delay(shared: &Shared) -> Duration {
    if shared.lost.load(Ordering::SeqCst) {
        sleep(Duration::from_secs(1));
    }
    Duration::ZERO
}
