//! One connection: from a server address to a client object, and to its end.
//!
//! A client object lives as long as its TCP connection. The client would reconnect by itself, but
//! on a path of its own, without the probe; here its disconnect callback ends it instead, and the
//! store builds a new one.
//!
//! # Ending a client
//! The client's `close` ends its threads in an orderly way, but waits for a PONG without a timeout.
//! So a message to our own inbox goes first. When it comes back, or the server says that it is not
//! permitted, the peer is alive, and `close` it is. Else the client is dropped, which would leave
//! its reading thread blocked in `read` and its flushing thread asleep for two minutes, were it not
//! for this, found in its source:
//! - dropping the last [`nats::Connection`] sets its shutdown flag;
//! - dropping a subscription afterwards wakes the flushing thread, which sees the flag and ends;
//! - the reading thread looks at the flag after whatever arrives: that message, when the peer wakes
//!   up. Until then, or until TCP gives it up, the connection keeps its thread and its socket; the
//!   store counts these and stops making more at [`MAX_CLIENTS`].
//!
//! All of that may wait for the client's write lock, so it happens on a reaper thread.
//!
//! # Why sending does not block
//! The client's locks are held over socket writes by its flushing thread. Requests are therefore
//! sent by `try_publish…`, which takes the lock only if it is free, and writes only into a buffer
//! with room enough. When it cannot, the request waits in the store's own queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use super::auth::Login;
use super::handshake::{Facts, Probe, probe, unreachable};
use crate::config::connection::{ConnectionSettings, ServerAddress};
use crate::error::StoreError;
use crate::task::spawn;
use crate::text::excerpt;

/// Client objects that may exist at a time, those included that wait for a frozen peer to wake up.
pub(super) const MAX_CLIENTS: usize = 32;
/// How often, and how long each time, the last message to a peer is waited for.
const ECHO_LOOKS: u32 = 50;
const ECHO_PAUSE: Duration = Duration::from_millis(10);
/// Complaints that may wait to be read.
const MAX_COMPLAINTS: usize = 64;

/// What connections tell the store; the store looks at the link's flags as well, so that a signal
/// that found the channel full is not missed.
pub(super) enum Signal {
    Attempt {
        number: u64,
        result: Result<Box<Link>, Failure>,
    },
    /// Something happened to a link: lost, lame duck, a new subscription, a complaint.
    Look,
}

/// What it takes to connect.
pub(super) struct Plan {
    pub(super) connection: ConnectionSettings,
    pub(super) signals: Sender<Signal>,
    /// Messages that may wait to be read on a subject; more are dropped.
    pub(super) most_waiting: usize,
    /// Nobody wants a connection any more.
    pub(super) closed: AtomicBool,
    /// One clone per client object that has not ended.
    pub(super) clients: Arc<()>,
    /// One clone per thread that tries to connect.
    pub(super) attempts: Arc<()>,
}

/// Why an attempt came to nothing.
pub(super) struct Failure {
    pub(super) error: StoreError,
    /// It had begun to listen.
    pub(super) listened: bool,
}

/// One try.
pub(super) struct Attempt {
    pub(super) number: u64,
    pub(super) server: ServerAddress,
    /// What to listen on besides the inbox.
    pub(super) subjects: Vec<String>,
    pub(super) deadline: Instant,
}

impl Plan {
    /// Starts a thread for one attempt; its result comes as a [`Signal`].
    pub(super) fn start(self: &Arc<Self>, attempt: Attempt) -> std::io::Result<()> {
        let plan = Arc::clone(self);
        let running = Arc::clone(&self.attempts);
        spawn("leasehold-connect", move || {
            let number = attempt.number;
            let result = plan.connect(&attempt).map(Box::new);
            let signals = plan.signals.clone();
            drop(plan);
            if let Err(unsent) = signals.send(Signal::Attempt { number, result }) {
                // The store is gone; a link ends with its message.
                drop(unsent);
            }
            drop(running);
        })
        .map(|_| ())
    }

    fn connect(&self, attempt: &Attempt) -> Result<Link, Failure> {
        let before = |error| Failure { error, listened: false };
        let wires = Arc::new(Wires::default());
        let (client, facts) =
            self.open(&attempt.server, attempt.deadline, &wires).map_err(before)?;
        let failed = |error: std::io::Error| Failure {
            error: unreachable(&self.connection, &attempt.server, &error),
            listened: true,
        };
        let inbox_prefix = new_inbox(&self.connection.inbox_prefix);
        let held = Held::open(client, &inbox_prefix, &attempt.subjects, self.most_waiting)
            .map_err(failed)?;
        let inbox = held.inbox.receiver().clone();
        let heard = held.others.iter().map(|other| other.receiver().clone()).collect();
        wires.put(held, &inbox_prefix).map_err(failed)?;
        Ok(Link {
            number: attempt.number,
            server: attempt.server.to_string(),
            version: facts.version,
            secure: facts.tls.is_some(),
            most_waiting: self.most_waiting,
            inbox_prefix,
            subjects: attempt.subjects.clone(),
            inbox,
            heard,
            wires,
        })
    }

    /// A client that listens to nothing yet, and what was learnt of its server before.
    fn open(
        &self,
        server: &ServerAddress,
        deadline: Instant,
        wires: &Arc<Wires>,
    ) -> Result<(nats::Connection, Facts), StoreError> {
        let login = Login::load(&self.connection, server)?;
        let facts = probe(&Probe {
            connection: &self.connection,
            server,
            login: &login,
            deadline,
            cancelled: &self.closed,
        })?;
        let client = self
            .options(&login, &facts, wires)
            .connect(client_url(server).as_str())
            .map_err(|error| unreachable(&self.connection, server, &error))?;
        Ok((client, facts))
    }

    fn options(&self, login: &Login, facts: &Facts, wires: &Arc<Wires>) -> nats::Options {
        let alive = Arc::clone(&self.clients);
        let [delay, lost, lame, words] = [(); 4].map(|()| Arc::clone(wires));
        let [lost_look, lame_look, words_look] = [(); 3].map(|()| self.signals.clone());
        let mut options = login
            .options()
            .with_name(&self.connection.name)
            // Nothing is kept for later: what is sent while disconnected must not land.
            .reconnect_buffer_size(0)
            .max_reconnects(None)
            .reconnect_delay_callback(move |_| delay.pause())
            .disconnect_callback(move || {
                lost.lost.store(true, Ordering::SeqCst);
                lost.drop_held();
                nudge(&lost_look);
            })
            .lame_duck_callback(move || {
                lame.lame.store(true, Ordering::SeqCst);
                nudge(&lame_look);
            })
            .error_callback(move |error| {
                words.complain(&error.to_string());
                nudge(&words_look);
            })
            // Lives as long as the options, and they as long as the client's threads.
            .close_callback(move || drop(Arc::clone(&alive)))
            .tls_required(facts.tls.is_some());
        if let Some(tls) = &facts.tls {
            return options.tls_client_config(tls.clone());
        }
        if cfg!(unix) {
            // Else the client reads and decodes all of the system's authorities, for each
            // connection that needs none; here it reads a file without any. Most of what it takes
            // to connect.
            options = options.add_root_certificate("/dev/null");
        }
        options
    }
}

fn nudge(signals: &Sender<Signal>) {
    // What waits already wakes the store as well.
    if signals.is_empty() {
        let _ = signals.send(Signal::Look);
    }
}

/// The address without credentials, as the client reads it.
fn client_url(server: &ServerAddress) -> String {
    server.to_string()
}

/// A prefix of reply subjects that nobody else uses.
pub(super) fn new_inbox(prefix: &str) -> String {
    format!("{prefix}.{}", token())
}

/// 128 random bits as hexadecimal digits.
fn token() -> String {
    let mut bits = [0; 16];
    // Without randomness an inbox is still told from others by the account's permissions only.
    let _ = getrandom::fill(&mut bits);
    format!("{:032x}", u128::from_be_bytes(bits))
}

/// What keeps a client alive. Dropped in this order; see the module's documentation.
struct Held {
    connection: nats::Connection,
    inbox: nats::Subscription,
    /// One for each subject of the link, in the same order.
    others: Vec<nats::Subscription>,
}

impl Held {
    /// Subscribes, and returns when the server has processed that.
    fn open(
        connection: nats::Connection,
        inbox: &str,
        subjects: &[String],
        most_waiting: usize,
    ) -> std::io::Result<Self> {
        let inbox = connection.subscribe(&format!("{inbox}.*"))?;
        inbox.set_message_limits(most_waiting);
        let listen = |subject: &String| {
            let subscription = connection.subscribe(subject)?;
            subscription.set_message_limits(most_waiting);
            Ok(subscription)
        };
        let others = subjects.iter().map(listen).collect::<std::io::Result<_>>()?;
        let held = Self { connection, inbox, others };
        held.connection.flush()?;
        Ok(held)
    }
}

/// The part of a link that the client's callbacks share.
#[derive(Default)]
struct Wires {
    held: Mutex<Option<(Held, String)>>,
    lost: AtomicBool,
    lame: AtomicBool,
    resubscribed: Mutex<Option<(String, Receiver<nats::Message>)>>,
    /// The server's words that nobody has looked at yet.
    complaints: Mutex<Vec<String>>,
}

impl Wires {
    /// Puts the client in, unless it was lost meanwhile.
    fn put(&self, held: Held, inbox: &str) -> std::io::Result<()> {
        *self.held.lock() = Some((held, inbox.to_owned()));
        if self.lost.load(Ordering::SeqCst) {
            self.drop_held();
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }

    fn drop_held(&self) {
        let held = self.held.lock().take();
        drop(held);
    }

    /// Keeps the server's words; a flood of them is cut off.
    fn complain(&self, words: &str) {
        let mut complaints = self.complaints.lock();
        if complaints.len() < MAX_COMPLAINTS {
            complaints.push(excerpt(words));
        }
    }

    /// The client's pause before it connects: none at first. Afterwards it should have ended, so
    /// whatever it still does, it does slowly.
    fn pause(&self) -> Duration {
        if self.lost.load(Ordering::SeqCst) {
            sleep(Duration::from_secs(1));
        }
        Duration::ZERO
    }

    /// Ends the client. May wait for its lock: not for the polling thread.
    fn end(&self) {
        if self.answers() {
            // Not under our lock: it waits for the thread that calls back.
            let held = self.held.lock().take();
            if let Some((held, _)) = held {
                held.connection.clone().close();
            }
            return;
        }
        // Under it: should the peer hang up just now, the client's reading thread goes on from its
        // callback only when the flag is set. It would try to reconnect else, and its flushing
        // thread would not be woken.
        let mut held = self.held.lock();
        drop(held.take());
    }

    /// Whether the peer says anything within half a second of being made to. Whoever calls back
    /// meanwhile finds the client in its place.
    fn answers(&self) -> bool {
        let ours =
            |(held, inbox): &(Held, String)| (held.inbox.receiver().clone(), format!("{inbox}.0"));
        let Some((inbox, echo)) = self.held.lock().as_ref().map(ours) else { return false };
        // What came before says nothing of now.
        while inbox.try_recv().is_ok() {}
        self.complaints.lock().clear();
        let mut sent = false;
        for _ in 0..ECHO_LOOKS {
            if self.lost.load(Ordering::SeqCst) {
                return false;
            }
            // It may be busy with sending.
            sent = sent || self.publish(&echo);
            if inbox.recv_timeout(ECHO_PAUSE).is_ok() || !self.complaints.lock().is_empty() {
                return true;
            }
        }
        false
    }

    fn publish(&self, subject: &str) -> bool {
        self.held.lock().as_ref().is_some_and(|(held, _)| {
            held.connection.try_publish_with_reply_or_headers(subject, None, None, b"").is_some()
        })
    }
}

/// What became of a message that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Yes,
    /// Not now: the client's lock is taken, or its buffer full.
    Busy,
    /// The client has ended.
    Gone,
}

/// A connection that stands, or stood a moment ago.
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) server: String,
    pub(super) version: super::bucket::Version,
    /// Whether it is encrypted.
    pub(super) secure: bool,
    pub(super) inbox_prefix: String,
    pub(super) subjects: Vec<String>,
    most_waiting: usize,
    pub(super) inbox: Receiver<nats::Message>,
    /// What comes on each of the subjects, in their order.
    pub(super) heard: Vec<Receiver<nats::Message>>,
    wires: Arc<Wires>,
}

impl Link {
    pub(super) fn is_lost(&self) -> bool {
        self.wires.lost.load(Ordering::SeqCst)
    }

    /// Whether the server said that it is going to shut down.
    pub(super) fn is_lame(&self) -> bool {
        self.wires.lame.load(Ordering::SeqCst)
    }

    /// What the server complained of since the last look.
    pub(super) fn take_complaints(&self) -> Vec<String> {
        std::mem::take(&mut self.wires.complaints.lock())
    }

    /// Sends without blocking.
    pub(super) fn send(
        &self,
        subject: &str,
        reply: Option<&str>,
        headers: Option<&nats::HeaderMap>,
        body: &[u8],
    ) -> Sent {
        let held = self.wires.held.lock();
        let Some((held, _)) = held.as_ref() else { return Sent::Gone };
        match held.connection.try_publish_with_reply_or_headers(subject, reply, headers, body) {
            None => Sent::Busy,
            Some(Ok(())) => Sent::Yes,
            Some(Err(_)) => Sent::Gone,
        }
    }

    /// Listens on another first subject than before, from a helper thread; [`take_resubscribed`]
    /// has the result.
    ///
    /// [`take_resubscribed`]: Self::take_resubscribed
    pub(super) fn resubscribe(&mut self, subject: &str, signals: &Sender<Signal>) {
        if let Some(first) = self.subjects.first_mut() {
            subject.clone_into(first);
        }
        let (wires, signals) = (Arc::clone(&self.wires), signals.clone());
        let most_waiting = self.most_waiting;
        let subject = subject.to_owned();
        let work = move || {
            let connection = wires.held.lock().as_ref().map(|(held, _)| held.connection.clone());
            let Some(Ok(new)) = connection.map(|connection| connection.subscribe(&subject)) else {
                return;
            };
            new.set_message_limits(most_waiting);
            let receiver = new.receiver().clone();
            // Whichever subscription is not needed is dropped without the lock.
            let unneeded = match wires.held.lock().as_mut().map(|(held, _)| &mut held.others[..]) {
                Some([first, ..]) => std::mem::replace(first, new),
                _ => new,
            };
            *wires.resubscribed.lock() = Some((subject, receiver));
            drop(unneeded);
            nudge(&signals);
        };
        // Without a thread there are no notices, and polling goes on.
        let _ = spawn("leasehold-subscribe", work);
    }

    /// Whether it listens on `subject` first of all, or is about to.
    pub(super) fn listens_on(&self, subject: &str) -> bool {
        self.subjects.first().is_some_and(|first| first == subject)
    }

    /// Takes a new subscription into use. True when there was one: something may have been missed.
    pub(super) fn take_resubscribed(&mut self) -> bool {
        match self.wires.resubscribed.lock().take() {
            Some((subject, receiver)) if self.subjects.first() == Some(&subject) => {
                self.heard[0] = receiver;
                true
            }
            _ => false,
        }
    }
}

impl Drop for Link {
    /// Gives the client to a reaper thread.
    fn drop(&mut self) {
        let wires = Arc::clone(&self.wires);
        if spawn("leasehold-reaper", move || wires.end()).is_err() {
            self.wires.drop_held();
        }
    }
}
