//! The end of a client, on a thread of its own.
//!
//! The crate's `close` ends its threads in an orderly way, but waits for a PONG without a timeout.
//! So a message to the own inbox goes first. When it comes back, or the server denies it, the
//! server is alive, and the client is closed. Else the client is dropped. That alone would leave
//! its reading thread blocked in `read` and its flushing thread asleep for two minutes. The crate's
//! source shows the way out:
//! - dropping the last [`nats::Connection`] sets its shutdown flag;
//! - dropping a subscription afterwards wakes the flushing thread, which sees the flag and ends;
//! - the reading thread looks at the flag after anything that arrives: that message, when the
//!   server wakes up. Until then, or until TCP gives it up, the connection keeps its thread and its
//!   socket. The connector counts these and stops making more.
//!
//! All of that may wait for the crate's write lock, hence the thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Receiver;
use parking_lot::Mutex;

use crate::nats::transport::Sent;
use crate::task::spawn;
use crate::text::excerpt;

/// How often, and how long each time, the last message to a server is waited for.
const ECHO_LOOKS: u32 = 50;
const ECHO_PAUSE: Duration = Duration::from_millis(10);
/// Errors of the server that may wait to be read.
const MAX_SERVER_ERRORS: usize = 64;

/// The parts that keep a client alive. Dropped in this order; see the module's documentation.
pub(super) struct OpenClient {
    pub(super) connection: nats::Connection,
    pub(super) inbox: nats::Subscription,
    /// One for each of the connection's subjects, in the same order.
    pub(super) subjects: Vec<nats::Subscription>,
    pub(super) hints: Option<nats::Subscription>,
    pub(super) inbox_prefix: String,
}

/// State shared by a client, the crate's callbacks and the reaper.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) open: Mutex<Option<OpenClient>>,
    pub(super) lost: AtomicBool,
    /// The server is about to shut down (lame duck mode).
    pub(super) leaving: AtomicBool,
    /// A new subscription to hints, with its subject.
    pub(super) resubscribed: Mutex<Option<(String, Receiver<nats::Message>)>>,
    server_errors: Mutex<VecDeque<String>>,
}

impl Shared {
    /// Takes the client, unless its connection was lost meanwhile.
    pub(super) fn put(&self, client: OpenClient) -> std::io::Result<()> {
        *self.open.lock() = Some(client);
        if self.lost.load(Ordering::SeqCst) {
            self.drop_client();
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }

    pub(super) fn drop_client(&self) {
        let client = self.open.lock().take();
        drop(client);
    }

    /// Keeps an error of the server; a flood of them is cut off.
    pub(super) fn keep_error(&self, text: &str) {
        let mut errors = self.server_errors.lock();
        if errors.len() < MAX_SERVER_ERRORS {
            errors.push_back(excerpt(text));
        }
    }

    pub(super) fn next_error(&self) -> Option<String> {
        self.server_errors.lock().pop_front()
    }

    /// Ends the client on a reaper thread.
    pub(super) fn end(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        if spawn("leasehold-reaper", move || shared.close_or_drop()).is_err() {
            self.drop_client();
        }
    }

    fn close_or_drop(&self) {
        if self.is_alive() {
            // Not under our lock: `close` waits for the thread that calls back.
            let client = self.open.lock().take();
            if let Some(client) = client {
                client.connection.clone().close();
            }
            return;
        }
        // Under the lock: should the server hang up just now, the crate's reading thread goes on
        // from its callback only when the flag is set. It would try to reconnect else, and its
        // flushing thread would not be woken.
        let mut open = self.open.lock();
        drop(open.take());
    }

    /// Whether the server sends anything within half a second of being made to. The client stays in
    /// its place meanwhile, for callbacks.
    fn is_alive(&self) -> bool {
        let inbox_of = |client: &OpenClient| {
            (client.inbox.receiver().clone(), echo_subject(&client.inbox_prefix))
        };
        let Some((inbox, echo)) = self.open.lock().as_ref().map(inbox_of) else { return false };
        // Earlier messages show nothing about now.
        while inbox.try_recv().is_ok() {}
        self.server_errors.lock().clear();
        let mut sent = false;
        for _ in 0..ECHO_LOOKS {
            if self.lost.load(Ordering::SeqCst) {
                return false;
            }
            // The crate may be busy with sending.
            sent = sent || self.publish(&echo, None, None, b"") != Sent::Busy;
            if inbox.recv_timeout(ECHO_PAUSE).is_ok() || !self.server_errors.lock().is_empty() {
                return true;
            }
        }
        false
    }

    /// Sends without blocking.
    pub(super) fn publish(
        &self,
        subject: &str,
        reply: Option<&str>,
        headers: Option<&nats::HeaderMap>,
        body: &[u8],
    ) -> Sent {
        let open = self.open.lock();
        let Some(client) = open.as_ref() else { return Sent::Closed };
        match client.connection.try_publish_with_reply_or_headers(subject, reply, headers, body) {
            None => Sent::Busy,
            Some(Ok(())) => Sent::Yes,
            Some(Err(_)) => Sent::Closed,
        }
    }
}

/// The subject of a message to the own inbox: no request has number 0.
pub(super) fn echo_subject(inbox_prefix: &str) -> String {
    format!("{inbox_prefix}.0")
}
