//! Asking others, and waiting for what they say: on the caller's thread, within a bound.

use std::time::Duration;

use crossbeam_channel::{Receiver, never};

use crate::clock::{Clock, Timestamp};
use crate::config::connection::ConnectionSettings;
use crate::error::StoreError;
use crate::store::nats::courier::{Courier, Message, Told};

/// Answers that are taken to one question asked of all; a flood of them ends there.
const MAX_ANSWERS: usize = 4096;

/// A connection to ask on.
pub(crate) struct Requester {
    courier: Courier,
    clock: Clock,
    nobody: Receiver<()>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequestError {
    /// No responder is subscribed to the subject.
    NoResponders,
    /// Nobody said anything in time.
    TimedOut,
    /// The server does not let the question through, or there is no connection.
    Store(StoreError),
}

/// What came, and how long after the question.
#[derive(Debug)]
pub(crate) struct TimedResponse {
    pub(crate) message: Message,
    pub(crate) round_trip: Duration,
    /// Which of the questions it answers.
    pub(crate) question: usize,
}

impl Requester {
    /// Connects within `timeout`.
    ///
    /// # Errors
    /// What the last attempt said; at once when waiting cannot help.
    pub(crate) fn connect(
        connection: &ConnectionSettings,
        timeout: Duration,
    ) -> Result<Self, StoreError> {
        let mut requester = Self::lazy(connection);
        let until = requester.clock.now() + timeout;
        requester.connected(until)?;
        Ok(requester)
    }

    /// Connects when it is needed, and in the background until then.
    pub(crate) fn lazy(connection: &ConnectionSettings) -> Self {
        let clock = Clock::boot();
        let courier = Courier::new(connection, "asks", Vec::new(), clock.clone());
        Self { courier, clock, nobody: never() }
    }

    /// The server that is connected to.
    pub(crate) fn server(&self) -> Option<&str> {
        self.courier.server()
    }

    fn connected(&mut self, until: Timestamp) -> Result<(), StoreError> {
        let mut problem = StoreError::TimedOut;
        // What was told before is old, and what the connection is now is looked at last.
        loop {
            match self.courier.poll(&self.nobody, Timestamp::ZERO) {
                Some(Told::Disconnected { error }) if error.may_pass() => problem = error,
                Some(Told::Disconnected { error }) => return Err(error),
                Some(_) => {}
                None if self.courier.server().is_some() => return Ok(()),
                None if self.clock.now() >= until => return Err(problem),
                None => self.wait_for_connection(until, &mut problem)?,
            }
        }
    }

    fn wait_for_connection(
        &mut self,
        until: Timestamp,
        problem: &mut StoreError,
    ) -> Result<(), StoreError> {
        match self.courier.poll(&self.nobody, until) {
            Some(Told::Disconnected { error }) if error.may_pass() => *problem = error,
            Some(Told::Disconnected { error }) => return Err(error),
            _ => {}
        }
        Ok(())
    }

    /// Asks one, and returns the first answer.
    pub(crate) fn ask(
        &mut self,
        subject: &str,
        body: &[u8],
        timeout: Duration,
    ) -> Result<TimedResponse, RequestError> {
        let mut heard = Vec::new();
        self.ask_until(&[(subject.to_owned(), body.to_owned())], timeout, |found| {
            heard.push(found);
            true
        })?;
        heard.pop().ok_or(RequestError::TimedOut)
    }

    /// Asks all who listen, and returns what was said within `timeout`, which passes unless nobody
    /// listens on any of the subjects.
    pub(crate) fn ask_all(
        &mut self,
        subjects: &[String],
        timeout: Duration,
    ) -> Result<Vec<TimedResponse>, StoreError> {
        self.gather(subjects, timeout, MAX_ANSWERS)
    }

    /// Asks several, and returns the first answer of any of them; none when nobody is there, or
    /// says anything in time.
    pub(crate) fn ask_any(
        &mut self,
        subjects: &[String],
        timeout: Duration,
    ) -> Result<Vec<TimedResponse>, StoreError> {
        self.gather(subjects, timeout, 1)
    }

    fn gather(
        &mut self,
        subjects: &[String],
        timeout: Duration,
        most: usize,
    ) -> Result<Vec<TimedResponse>, StoreError> {
        let questions: Vec<_> = subjects.iter().map(|subject| (subject.clone(), vec![])).collect();
        let mut heard = Vec::new();
        let ended = self.ask_until(&questions, timeout, |found| {
            heard.push(found);
            heard.len() >= most
        });
        match ended {
            Ok(()) | Err(RequestError::NoResponders | RequestError::TimedOut) => Ok(heard),
            // What was said is worth more than why no more was.
            Err(RequestError::Store(_)) if !heard.is_empty() => Ok(heard),
            Err(RequestError::Store(error)) => Err(error),
        }
    }

    fn ask_until(
        &mut self,
        questions: &[(String, Vec<u8>)],
        timeout: Duration,
        mut take: impl FnMut(TimedResponse) -> bool,
    ) -> Result<(), RequestError> {
        let until = self.clock.now() + timeout;
        self.connected(until).map_err(RequestError::Store)?;
        let asked = self.clock.now();
        let numbers: Vec<_> = questions
            .iter()
            .map(|(subject, body)| self.courier.ask(subject, body.clone(), until))
            .collect();
        if numbers.contains(&None) {
            return Err(gone("the connection takes nothing"));
        }
        let mut open = vec![true; questions.len()];
        let mut close = |question: usize, why: RequestError| {
            open[question] = false;
            // Others may be answered.
            if open.contains(&true) { Ok(()) } else { Err(why) }
        };
        loop {
            match self.courier.poll(&self.nobody, until).ok_or(RequestError::TimedOut)? {
                Told::Message(message) if message.answers.is_some() => {
                    let question = numbers.iter().position(|number| *number == message.answers);
                    let Some(question) = question else { continue };
                    if message.nobody {
                        close(question, RequestError::NoResponders)?;
                        continue;
                    }
                    let round_trip = self.clock.now().since(asked);
                    if take(TimedResponse { message, round_trip, question }) {
                        return Ok(());
                    }
                }
                Told::Denied { subject, publish: true, error } => {
                    let question = questions.iter().position(|(asked, _)| *asked == subject);
                    if let Some(question) = question {
                        close(question, RequestError::Store(error))?;
                    }
                }
                // No answer can be heard.
                Told::Denied { error, .. } | Told::Disconnected { error } => {
                    return Err(RequestError::Store(error));
                }
                Told::Message(_) | Told::Connected { .. } => {}
            }
        }
    }
}

fn gone(reason: &str) -> RequestError {
    RequestError::Store(StoreError::Disconnected(reason.into()))
}
