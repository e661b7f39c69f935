//! One attempt to connect: from a server's address to a client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::auth::Credentials;
use super::client::{NatsClient, wake};
use super::handshake::{Probe, ServerFacts, probe, unreachable};
use super::reaper::{OpenClient, Shared};
use crate::config::connection::{ConnectionSettings, ServerAddress};
use crate::error::StoreError;
use crate::nats::new_inbox;
use crate::nats::transport::ConnectionOptions;
use crate::task::spawn;

/// The part that all attempts of a connector share.
pub(super) struct ClientSetup {
    pub(super) settings: ConnectionSettings,
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
}

/// One attempt.
pub(super) struct Attempt {
    pub(super) number: u64,
    pub(super) server: ServerAddress,
    pub(super) hints: Option<String>,
    pub(super) deadline: Instant,
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
    pub(super) fn start(self: &Arc<Self>, attempt: Attempt) -> std::io::Result<()> {
        let setup = Arc::clone(self);
        let running = Arc::clone(&self.attempts);
        spawn("leasehold-connect", move || {
            let number = attempt.number;
            let result = setup.connect(&attempt).map(Box::new);
            let results = setup.results.clone();
            drop(setup);
            if let Err(unsent) = results.send(Finished { number, result }) {
                // The connector is gone; a client ends when it is dropped.
                drop(unsent);
            }
            drop(running);
        })
        .map(|_| ())
    }

    fn connect(&self, attempt: &Attempt) -> Result<NatsClient, ConnectFailure> {
        let shared = Arc::new(Shared::default());
        let (connection, facts) = self
            .open(&attempt.server, attempt.deadline, &shared)
            .map_err(|error| ConnectFailure { error, subscribed_hints: false })?;
        let failed = |error: std::io::Error| ConnectFailure {
            error: unreachable(&self.settings, &format!("{}: {error}", attempt.server)),
            subscribed_hints: attempt.hints.is_some(),
        };
        let open = self.subscribe(connection, attempt).map_err(failed)?;
        let client = NatsClient {
            server: attempt.server.to_string(),
            version: facts.version,
            secure: facts.tls.is_some(),
            inbox_prefix: open.inbox_prefix.clone(),
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
        shared.put(open).map_err(failed)?;
        Ok(client)
    }

    /// A client without subscriptions, and the facts about its server.
    fn open(
        &self,
        server: &ServerAddress,
        deadline: Instant,
        shared: &Arc<Shared>,
    ) -> Result<(nats::Connection, ServerFacts), StoreError> {
        let credentials = Credentials::load(&self.settings, server)?;
        let facts = probe(&Probe {
            settings: &self.settings,
            server,
            credentials: &credentials,
            deadline,
            cancelled: &self.closed,
        })?;
        let connection = self
            .options(&credentials, &facts, shared)
            .connect(server.to_string().as_str())
            .map_err(|error| unreachable(&self.settings, &format!("{server}: {error}")))?;
        Ok((connection, facts))
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

    fn options(
        &self,
        credentials: &Credentials,
        facts: &ServerFacts,
        shared: &Arc<Shared>,
    ) -> nats::Options {
        let alive = Arc::clone(&self.clients);
        let [delay, lost, leaving, errors] = [(); 4].map(|()| Arc::clone(shared));
        let [lost_waker, leaving_waker, errors_waker] = [(); 3].map(|()| self.waker.clone());
        let mut options = credentials
            .options()
            .with_name(&self.settings.name)
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
            .tls_required(facts.tls.is_some());
        if let Some(tls) = &facts.tls {
            return options.tls_client_config(tls.clone());
        }
        if cfg!(unix) {
            // Else the crate reads and decodes all of the system's authorities for each connection
            // that needs none, which takes most of the time to connect. This file has none.
            options = options.add_root_certificate("/dev/null");
        }
        options
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
