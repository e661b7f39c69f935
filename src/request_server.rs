//! Where questions are answered: a thread with a connection of its own.
//!
//! It is apart from the renewal thread in everything, so that it can still tell how that one does
//! when it hangs. What it runs is this library's code only, and nothing of it waits for long.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::config::connection::ConnectionSettings;
use crate::error::StoreError;
use crate::store::nats::courier::{Courier, ERROR, ERROR_CODE, Message, Told};
use crate::task::Task;

/// How long stopping waits for the connection's end.
const FAREWELL: Duration = Duration::from_secs(1);
/// The longest wait; the courier has its own reasons to wake up earlier.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Somebody who answers what comes on some subjects.
pub(crate) trait Handler: Send {
    /// Where it listens. Asked once.
    fn subjects(&self) -> Vec<String>;

    /// The answer to what came on one of them; `None` when it is another handler's.
    fn respond(&mut self, message: &Message) -> Option<Response>;
}

/// What is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) body: Vec<u8>,
    /// Its code and words, when it is an error of the services protocol.
    pub(crate) error: Option<(u16, String)>,
}

/// The thread, and how to end it.
#[derive(Debug)]
pub(crate) struct RequestServer {
    stopping: Arc<AtomicBool>,
    wake: Sender<()>,
    _task: Task,
    state: Arc<Mutex<State>>,
}

/// How the connection is.
#[derive(Clone, Debug, Default)]
struct State {
    server: Option<String>,
    problem: Option<StoreError>,
}

impl RequestServer {
    /// Starts the thread, which connects, and connects again, in the background.
    pub(crate) fn open(
        connection: &ConnectionSettings,
        purpose: &str,
        clock: Clock,
        handlers: Vec<Box<dyn Handler>>,
    ) -> io::Result<Self> {
        let (wake, woken) = bounded(1);
        let stopping = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stopping);
        let state = Arc::<Mutex<State>>::default();
        let (connection, purpose) = (connection.clone(), purpose.to_owned());
        let shared = Arc::clone(&state);
        let task = Task::spawn("leasehold-answer", FAREWELL * 2, move || {
            let subjects = handlers.iter().flat_map(|handler| handler.subjects()).collect();
            let courier = Courier::new(&connection, &purpose, subjects, clock.clone());
            ServerLoop { courier, handlers, state: shared, clock, stopped }.serve(&woken);
        })?;
        Ok(Self { stopping, wake, _task: task, state })
    }

    /// The server that is connected to.
    pub(crate) fn server(&self) -> Option<String> {
        self.state.lock().server.clone()
    }

    /// What went wrong last, while there is no connection, or what the server forbids.
    pub(crate) fn problem(&self) -> Option<StoreError> {
        self.state.lock().problem.clone()
    }
}

impl Drop for RequestServer {
    /// Tells the thread to end; dropping the task waits for that.
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Full: it wakes up anyway.
        let _ = self.wake.try_send(());
    }
}

/// The state of the thread.
struct ServerLoop {
    courier: Courier,
    handlers: Vec<Box<dyn Handler>>,
    state: Arc<Mutex<State>>,
    clock: Clock,
    stopped: Arc<AtomicBool>,
}

impl ServerLoop {
    fn serve(mut self, wake: &Receiver<()>) {
        while !self.stopped.load(Ordering::SeqCst) {
            let until = self.clock.now() + LONGEST_WAIT;
            match self.courier.poll(wake, until) {
                Some(Told::Message(message)) => self.answer(&message),
                Some(Told::Connected { server }) => {
                    *self.state.lock() = State { server: Some(server), problem: None };
                }
                Some(Told::Disconnected { error }) => {
                    log::debug!("nobody can ask: {error}");
                    *self.state.lock() = State { server: None, problem: Some(error) };
                }
                Some(Told::Denied { error, .. }) => {
                    log::warn!("questions or their answers are not let through: {error}");
                    self.state.lock().problem = Some(error);
                }
                None => {}
            }
        }
        let until = self.clock.now() + FAREWELL;
        self.courier.close(until);
    }

    fn answer(&mut self, message: &Message) {
        // What wants no answer changes nothing either.
        let Some(reply) = &message.reply else { return };
        let Some(answer) = self.handlers.iter_mut().find_map(|handler| handler.respond(message))
        else {
            return;
        };
        let sent = match &answer.error {
            None => self.courier.send(reply, &[], answer.body),
            Some((code, words)) => {
                let code = code.to_string();
                self.courier.send(reply, &[(ERROR, words), (ERROR_CODE, &code)], answer.body)
            }
        };
        if !sent {
            log::debug!("an answer was not sent: the connection takes nothing");
        }
    }
}
