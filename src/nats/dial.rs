//! One attempt to connect: from a server's name to a connection whose server has logged us in.
//!
//! Names are resolved on a helper thread, as the system's resolver has no timeout; files are read
//! there too. A name may have several addresses. They are tried in turn, each a moment after the
//! one before (RFC 8305, "Happy Eyeballs"), and the first one where a whole handshake succeeds is
//! used. So an address that does not answer costs a quarter of a second, not the attempt.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token, Waker};
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::credentials::Credentials;
use super::handshake::{Handshake, Hello, Step, describe};
use super::wire::{Wire, WireError};
use super::{tls, unreachable};
use crate::clock::Timestamp;
use crate::config::connection::{Auth, ConnectionSettings, ServerAddress};
use crate::error::StoreError;
use crate::task::spawn;

/// How much later than an address the next one is tried (RFC 8305, section 8).
const STAGGER: Duration = Duration::from_millis(250);
/// How long after its failure an address is tried again while others stay silent.
const RETRY: Duration = Duration::from_millis(500);
/// Addresses of a name that are tried.
const MAX_ADDRESSES: usize = 16;
/// Operations of a server that are taken in a row, so that none can keep the caller.
const MAX_OPERATIONS: usize = 64;
/// Threads that may hang at a time, beside one for each name that is being resolved.
const MAX_HELPERS: usize = 4;

/// What all attempts of a connection share.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) settings: Arc<ConnectionSettings>,
    pub(super) hello: Hello,
    /// Wakes the one who polls.
    pub(super) waker: Arc<Waker>,
    /// The token of the last socket.
    pub(super) last_token: usize,
    pub(super) helpers: Arc<Helpers>,
}

/// The helper threads of all attempts of a connection.
#[derive(Debug, Default)]
pub(super) struct Helpers {
    /// One clone per thread.
    running: Arc<()>,
    /// What the threads of attempts that are over prepare, for the next attempt with that server:
    /// a name that takes longer than an attempt would never be resolved otherwise.
    late: Mutex<Vec<(ServerAddress, Preparing)>>,
}

impl Helpers {
    fn put(&self, server: &ServerAddress, preparing: Preparing) {
        let mut late = self.late.lock();
        late.retain(|(of, _)| of != server);
        late.push((server.clone(), preparing));
    }

    fn take(&self, server: &ServerAddress) -> Option<Preparing> {
        let mut late = self.late.lock();
        let found = late.iter().position(|(of, _)| of == server)?;
        Some(late.swap_remove(found).1)
    }
}

/// A connection whose handshake is over.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) address: SocketAddr,
    pub(super) token: Token,
    pub(super) wire: Wire,
    pub(super) handshake: Handshake,
}

/// What is prepared before the first socket.
#[derive(Debug)]
struct Prepared {
    addresses: VecDeque<SocketAddr>,
    credentials: Credentials,
    /// When TLS is wanted, whatever the server says; later when only the server wants it.
    tls: Option<Arc<ClientConfig>>,
}

type Preparing = Receiver<Result<Prepared, StoreError>>;

/// See the [module](self).
pub(super) struct Dial {
    pub(super) server: ServerAddress,
    deadline: Timestamp,
    preparing: Option<Preparing>,
    prepared: Option<Prepared>,
    candidates: Vec<Candidate>,
    /// Addresses that failed. A server may come back while another address stays silent.
    failed: VecDeque<SocketAddr>,
    /// When the next address is tried.
    next_at: Timestamp,
    last_error: Option<StoreError>,
    helpers: Arc<Helpers>,
}

impl Drop for Dial {
    fn drop(&mut self) {
        if let Some(preparing) = self.preparing.take().filter(|_| self.prepared.is_none()) {
            self.helpers.put(&self.server, preparing);
        }
    }
}

/// An address that is being tried.
struct Candidate {
    host: String,
    address: SocketAddr,
    token: Token,
    wire: Wire,
    /// The socket has no connection yet.
    connecting: bool,
    /// It is to make TLS, and the configuration of that has not been read yet.
    wants_tls: bool,
    handshake: Handshake,
}

impl Dialer {
    /// Starts an attempt that ends at `deadline`.
    ///
    /// # Errors
    /// [`StoreError::System`] without a thread for names and files.
    pub(super) fn dial(
        &self,
        server: &ServerAddress,
        deadline: Timestamp,
    ) -> Result<Dial, StoreError> {
        let mut dial = Dial {
            server: server.clone(),
            deadline,
            preparing: None,
            prepared: None,
            candidates: Vec::new(),
            failed: VecDeque::new(),
            next_at: Timestamp::ZERO,
            last_error: None,
            helpers: Arc::clone(&self.helpers),
        };
        dial.preparing = self.helpers.take(server);
        if dial.preparing.is_some() {
            return Ok(dial);
        }
        match server.host.parse::<IpAddr>() {
            Ok(ip) if !reads_files(&self.settings, server) => {
                let addresses = VecDeque::from([SocketAddr::new(ip, server.port)]);
                dial.prepared = Some(prepare(&self.settings, server, addresses)?);
            }
            _ => {
                let server = server.clone();
                dial.preparing = Some(self.on_thread(server, |settings, server| {
                    prepare(settings, server, resolve(server)?)
                })?);
            }
        }
        Ok(dial)
    }

    /// Prepares TLS for a server that turned out to want it.
    fn prepare_tls(&self, server: &ServerAddress) -> Result<Preparing, StoreError> {
        let server = ServerAddress { tls: true, ..server.clone() };
        self.on_thread(server, |settings, server| prepare(settings, server, VecDeque::new()))
    }

    fn on_thread(
        &self,
        server: ServerAddress,
        prepare: fn(&ConnectionSettings, &ServerAddress) -> Result<Prepared, StoreError>,
    ) -> Result<Preparing, StoreError> {
        let most = MAX_HELPERS + self.settings.servers.len();
        if Arc::strong_count(&self.helpers.running) > most {
            return Err(unreachable(
                &server,
                "earlier threads that resolve names and read files have not ended yet",
            ));
        }
        let (sender, receiver) = bounded(1);
        let settings = Arc::clone(&self.settings);
        let (waker, running) = (Arc::clone(&self.waker), Arc::clone(&self.helpers.running));
        let work = move || {
            // The attempt may be over.
            let _ = sender.send(prepare(&settings, &server));
            drop(sender);
            let _ = waker.wake();
            drop(running);
        };
        spawn("leasehold-names", work).map(|_| receiver).map_err(|error| {
            StoreError::system("start a thread that resolves names and reads files", &error)
        })
    }
}

/// Whether connecting to `server` needs files, which may be on a disk that does not answer.
fn reads_files(settings: &ConnectionSettings, server: &ServerAddress) -> bool {
    let auth = if server.auth == Auth::None { &settings.auth } else { &server.auth };
    settings.tls.required || server.tls || matches!(auth, Auth::CredentialsFile(_))
}

fn resolve(server: &ServerAddress) -> Result<VecDeque<SocketAddr>, StoreError> {
    let failed = |reason: &dyn std::fmt::Display| Err(unreachable(server, &reason.to_string()));
    match (server.host.as_str(), server.port).to_socket_addrs() {
        Ok(addresses) => {
            let mut addresses: VecDeque<_> = addresses.collect();
            alternate(&mut addresses);
            addresses.truncate(MAX_ADDRESSES);
            if addresses.is_empty() { failed(&"the name has no address") } else { Ok(addresses) }
        }
        Err(error) => failed(&error),
    }
}

/// Lets the families take turns, beginning with that of the first address (RFC 8305, section 4).
fn alternate(addresses: &mut VecDeque<SocketAddr>) {
    let first = addresses.front().is_some_and(SocketAddr::is_ipv6);
    let (mut one, mut other): (VecDeque<_>, VecDeque<_>) =
        addresses.drain(..).partition(|address| address.is_ipv6() == first);
    while let Some(address) = one.pop_front() {
        addresses.push_back(address);
        std::mem::swap(&mut one, &mut other);
        if one.is_empty() {
            std::mem::swap(&mut one, &mut other);
        }
    }
}

fn prepare(
    settings: &ConnectionSettings,
    server: &ServerAddress,
    addresses: VecDeque<SocketAddr>,
) -> Result<Prepared, StoreError> {
    let credentials = Credentials::load(settings, server)?;
    let wanted = settings.tls.required || server.tls;
    let tls = wanted.then(|| tls_config(settings, server)).transpose()?;
    Ok(Prepared { addresses, credentials, tls })
}

fn tls_config(
    settings: &ConnectionSettings,
    server: &ServerAddress,
) -> Result<Arc<ClientConfig>, StoreError> {
    tls::client_config(&settings.tls).map(Arc::new).map_err(|error| StoreError::Tls {
        server: server.to_string().into(),
        reason: error.to_string().into(),
    })
}

impl Dial {
    /// Takes note of what a socket is ready for.
    pub(super) fn ready(&mut self, event: &Event) {
        if let Some(one) = self.candidates.iter_mut().find(|one| one.token == event.token()) {
            one.wire.ready(event);
        }
    }

    /// Whether the next event of a socket must be waited for.
    pub(super) fn is_idle(&self) -> bool {
        let waits = |one: &Candidate| one.connecting || one.wants_tls || one.wire.is_idle();
        self.candidates.iter().all(waits)
    }

    /// When something needs to be done if no socket becomes ready.
    pub(super) fn next_at(&self) -> Timestamp {
        let more = self.untried() > 0 || !self.failed.is_empty();
        if more { self.next_at.min(self.deadline) } else { self.deadline }
    }

    /// Addresses that were not tried yet.
    fn untried(&self) -> usize {
        self.prepared.as_ref().map_or(0, |prepared| prepared.addresses.len())
    }

    /// Goes on as far as it can without waiting.
    pub(super) fn poll(
        &mut self,
        dialer: &mut Dialer,
        registry: &Registry,
        now: Timestamp,
    ) -> Option<Result<Reached, StoreError>> {
        if let Err(error) = self.take_prepared() {
            return Some(Err(error));
        }
        loop {
            if let Some(reached) = self.advance(now) {
                return Some(Ok(reached));
            }
            if self.preparing.is_none() && self.candidates.iter().any(|one| one.wants_tls) {
                match dialer.prepare_tls(&self.server) {
                    Ok(preparing) => self.preparing = Some(preparing),
                    Err(error) => return Some(Err(error)),
                }
            }
            if self.prepared.is_some() && self.is_over() {
                return Some(Err(self.last_error.take().unwrap_or(StoreError::TimedOut)));
            }
            if now >= self.deadline {
                return Some(Err(self.late()));
            }
            if !self.candidates.is_empty() && now < self.next_at {
                return None;
            }
            let untried = &mut self.prepared.as_mut()?.addresses;
            let address = untried.pop_front().or_else(|| self.failed.pop_front())?;
            match self.candidate(dialer, registry, address) {
                Ok(candidate) => {
                    self.candidates.push(candidate);
                    self.next_at = now + self.stagger(now);
                }
                Err(error) => self.failed(address, error, now),
            }
        }
    }

    /// Whether every address was tried, and waiting is of no use: no handshake is under way, and
    /// an address that does not answer is not waited for when another one said what an operator
    /// must put right.
    fn is_over(&self) -> bool {
        let refused = self.last_error.as_ref().is_some_and(|error| !error.may_pass());
        let over = |one: &Candidate| refused && one.connecting;
        self.untried() == 0 && self.candidates.iter().all(over)
    }

    /// The pause before the next address: the time that is left is shared among those left.
    fn stagger(&self, now: Timestamp) -> Duration {
        let left = u32::try_from(self.untried() + 1).unwrap_or(u32::MAX);
        STAGGER.min(self.deadline.since(now) / left)
    }

    fn failed(&mut self, address: SocketAddr, error: StoreError, now: Timestamp) {
        // What an operator must put right is worth more than that another address is silent.
        if self.last_error.as_ref().is_none_or(StoreError::may_pass) {
            self.last_error = Some(error);
        }
        self.failed.push_back(address);
        self.next_at = if self.untried() > 0 { now } else { now + RETRY };
    }

    /// Takes what the helper thread prepared.
    fn take_prepared(&mut self) -> Result<(), StoreError> {
        let Some(receiver) = &self.preparing else { return Ok(()) };
        let result = match receiver.try_recv() {
            Ok(result) => result,
            Err(TryRecvError::Empty) => return Ok(()),
            // The thread has panicked, which was reported there.
            Err(TryRecvError::Disconnected) => Err(StoreError::TimedOut),
        };
        // Also after an error: it is not for the next attempt.
        self.preparing = None;
        match (&mut self.prepared, result?) {
            (Some(prepared), new) => prepared.tls = new.tls,
            (none, new) => *none = Some(new),
        }
        Ok(())
    }

    /// Lets every candidate go on. Returns one whose handshake is over.
    fn advance(&mut self, now: Timestamp) -> Option<Reached> {
        let tls = self.prepared.as_ref().and_then(|prepared| prepared.tls.clone());
        let mut index = 0;
        while let Some(candidate) = self.candidates.get_mut(index) {
            match candidate.advance(tls.as_ref()) {
                Ok(false) => index += 1,
                Ok(true) => {
                    let Candidate { address, token, wire, handshake, .. } =
                        self.candidates.swap_remove(index);
                    return Some(Reached { address, token, wire, handshake });
                }
                Err(error) => {
                    let address = self.candidates.remove(index).address;
                    self.failed(address, error, now);
                }
            }
        }
        None
    }

    fn candidate(
        &self,
        dialer: &mut Dialer,
        registry: &Registry,
        address: SocketAddr,
    ) -> Result<Candidate, StoreError> {
        let credentials = self.prepared.as_ref().map(|prepared| prepared.credentials.clone());
        let handshake = Handshake::new(
            Arc::clone(&dialer.settings),
            self.server.clone(),
            credentials.unwrap_or(Credentials::None),
            dialer.hello.clone(),
        );
        dialer.last_token += 1;
        let token = Token(dialer.last_token);
        let mut socket = TcpStream::connect(address)
            .map_err(|error| handshake.failed_socket("open a socket", &error))?;
        registry
            .register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)
            .map_err(|error| handshake.failed_socket("wait for a socket", &error))?;
        let wire = Wire::new(socket);
        let host = self.server.host.clone();
        Ok(Candidate { host, address, token, wire, connecting: true, wants_tls: false, handshake })
    }

    /// The error when the time is over.
    fn late(&mut self) -> StoreError {
        let silent = io::Error::from(ErrorKind::TimedOut);
        let silent = || self.candidates.first().map(|candidate| candidate.ended(&silent));
        let error = self.last_error.take().or_else(silent);
        error.unwrap_or_else(|| unreachable(&self.server, "the name was not resolved in time"))
    }
}

type TlsConfig<'a> = Option<&'a Arc<ClientConfig>>;

impl Candidate {
    /// Goes on as far as it can without waiting. True when the handshake is over.
    fn advance(&mut self, tls: TlsConfig<'_>) -> Result<bool, StoreError> {
        if self.connecting {
            match is_connected(self.wire.socket()) {
                Ok(true) => self.connecting = false,
                Ok(false) => return Ok(false),
                Err(error) => return Err(self.handshake.unreachable(&error)),
            }
            let step = self.handshake.begin()?;
            self.follow(step, tls)?;
        }
        if std::mem::take(&mut self.wants_tls) {
            self.follow(Step::StartTls, tls)?;
        }
        for _ in 0..MAX_OPERATIONS {
            if self.wants_tls {
                break;
            }
            match self.wire.next() {
                Ok(None) => return Ok(false),
                Ok(Some(operation)) => {
                    let step = self.handshake.handle(operation)?;
                    if self.follow(step, tls)? {
                        return Ok(true);
                    }
                }
                Err(WireError::Io(error)) => return Err(self.ended(&error)),
                Err(WireError::Parse(error)) => return Err(self.handshake.unreadable(error)),
            }
        }
        Ok(false)
    }

    fn follow(&mut self, step: Step, tls: TlsConfig<'_>) -> Result<bool, StoreError> {
        match step {
            Step::Wait => {}
            Step::Done => return Ok(true),
            Step::Send(text) => self.wire.send(text.as_bytes()),
            Step::StartTls => {
                let Some(tls) = tls.cloned() else {
                    self.wants_tls = true;
                    return Ok(false);
                };
                let handshake = &mut self.handshake;
                let name = ServerName::try_from(self.host.clone()).map_err(|_| {
                    handshake.tls_failed(&"the host is no name that a certificate can have")
                })?;
                let started = self.wire.start_tls(Arc::clone(&tls), name);
                started.map_err(|error| handshake.tls_failed(&describe(&error)))?;
                let next = handshake.secured();
                return self.follow(next, Some(&tls));
            }
        }
        Ok(false)
    }

    fn ended(&self, error: &io::Error) -> StoreError {
        if self.connecting {
            return self.handshake.unreachable(&"it does not accept a connection");
        }
        self.handshake.ended(error, self.wire.is_making_tls())
    }
}

/// Whether a socket has its connection. An error when it will have none.
fn is_connected(socket: &mut TcpStream) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => socket.set_nodelay(true).map(|()| true),
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name may take longer than an attempt.
    #[test]
    fn what_a_helper_found_too_late_is_for_the_next_attempt_with_that_server() {
        let servers = ["nats://one.example", "nats://two.example"];
        let config = crate::config::Config::new("c", "n", servers).unwrap();
        let [one, two] = [0, 1].map(|index| config.connection().servers[index].clone());
        let helpers = Helpers::default();
        let (sender, receiver) = bounded(1);
        helpers.put(&one, receiver);
        assert!(helpers.take(&two).is_none());
        let late = helpers.take(&one).expect("it is still awaited");
        assert!(helpers.take(&one).is_none(), "once");
        sender.send(Err(StoreError::TimedOut)).unwrap();
        assert!(late.try_recv().is_ok());
    }

    #[test]
    fn the_families_take_turns() {
        let parse = |text: &str| -> VecDeque<SocketAddr> {
            text.split(' ').map(|one| one.parse().unwrap()).collect()
        };
        for (given, wanted) in [
            ("[::1]:1 [::2]:1 1.1.1.1:1 2.2.2.2:1", "[::1]:1 1.1.1.1:1 [::2]:1 2.2.2.2:1"),
            ("1.1.1.1:1 2.2.2.2:1 3.3.3.3:1 [::1]:1", "1.1.1.1:1 [::1]:1 2.2.2.2:1 3.3.3.3:1"),
            ("1.1.1.1:1 2.2.2.2:1", "1.1.1.1:1 2.2.2.2:1"),
        ] {
            let mut addresses = parse(given);
            alternate(&mut addresses);
            assert_eq!(addresses, parse(wanted), "{given}");
        }
    }
}
