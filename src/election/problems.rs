//! What keeps this node from using the store at present, by what it was doing. A problem is
//! reported when it is new, and it is over when a request of its kind succeeds.

use super::requests::{Kind, Pending};
use super::{Change, Election};
use crate::error::StoreError;
use crate::store::{Outcome, Ticket};

/// So many requests of a kind in a row without an answer are a problem. One is usual while a stream
/// changes its leader.
const SILENT: u32 = 2;

/// The present problems.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// Why there is no connection.
    pub(super) connection: Option<StoreError>,
    writing: Problem,
    creating: Problem,
    reading: Problem,
    /// A problem that belongs to no request.
    other: Option<StoreError>,
}

/// The problem of one kind of requests.
#[derive(Debug, Default)]
struct Problem {
    error: Option<StoreError>,
    /// The revision of the record when the error came.
    revision: u64,
    /// Requests in a row that were not answered in time.
    silent: u32,
}

impl Problems {
    /// There is a connection. Permissions are those of a connection.
    pub(super) fn connected(&mut self) {
        (self.connection, self.other) = (None, None);
        for problem in [&mut self.writing, &mut self.creating, &mut self.reading] {
            problem.silent = 0;
            problem.error.take_if(|error| matches!(error, StoreError::Permission(_)));
        }
    }

    /// A read showed the record at `revision`. If it is another than at the last failure, writing
    /// succeeds, at least for another node. Permissions are this node's own.
    pub(super) fn record_shown(&mut self, revision: u64) {
        self.creating.error = None;
        let Problem { error, revision: before, .. } = &mut self.writing;
        error.take_if(|error| *before != revision && !matches!(error, StoreError::Permission(_)));
    }

    fn of(&mut self, kind: Kind) -> &mut Problem {
        match kind {
            Kind::Write => &mut self.writing,
            Kind::Create => &mut self.creating,
            Kind::Read => &mut self.reading,
        }
    }

    fn all(&self) -> impl Iterator<Item = &StoreError> {
        let requests = [&self.writing, &self.creating, &self.reading];
        let requests = requests.into_iter().filter_map(|problem| problem.error.as_ref());
        self.connection.iter().chain(requests).chain(&self.other)
    }

    fn contains(&self, error: &StoreError) -> bool {
        self.all().any(|known| is_same(known, error))
    }
}

impl Election {
    /// The most serious of the present problems: why there is no connection, or else the last error
    /// of a request of a kind of which none has succeeded since.
    #[must_use]
    pub fn problem(&self) -> Option<&StoreError> {
        self.problems.all().next()
    }

    /// Reports a problem that belongs to no request.
    pub(super) fn report_problem(&mut self, error: StoreError) {
        if !self.problems.contains(&error) {
            self.problems.other = Some(error.clone());
            self.out.changes.push(Change::Problem(error));
        }
    }

    /// Reports why a request failed, or why its outcome is unknown.
    pub(super) fn report_failure(&mut self, kind: Kind, error: StoreError) {
        let new = !self.problems.contains(&error);
        let revision = self.view.confirmed().map_or(0, |confirmed| confirmed.revision);
        let problem = self.problems.of(kind);
        (problem.error, problem.revision) = (Some(error.clone()), revision);
        if new {
            self.out.changes.push(Change::Problem(error));
        }
    }

    /// Takes note of the outcome of a request, also of one that is not awaited any more: `pending`
    /// is `None` then.
    pub(super) fn report_outcome(
        &mut self,
        ticket: Ticket,
        pending: Option<Pending>,
        outcome: &Outcome,
    ) {
        let late =
            || if self.requests.write(ticket.0).is_some() { Kind::Write } else { Kind::Read };
        let kind = pending.map_or_else(late, |pending| pending.kind);
        self.problems.of(kind).silent = 0;
        match outcome {
            Outcome::Failed(error) => self.report_failure(kind, error.clone()),
            // The end of a connection is reported as such.
            Outcome::Unknown(StoreError::Disconnected(_) | StoreError::TimedOut) => {}
            Outcome::Unknown(error) => self.report_failure(kind, error.clone()),
            // Another write came first. That says nothing about what the store does with this one.
            Outcome::LostRace => {}
            Outcome::Stored { .. } | Outcome::Read(_) | Outcome::NoBucket | Outcome::Created => {
                self.problems.of(kind).error = None;
            }
        }
    }

    /// Takes note of a request that was not answered in time, while others are.
    pub(super) fn report_silence(&mut self, kind: Kind) {
        let problem = self.problems.of(kind);
        problem.silent += 1;
        if problem.silent >= SILENT {
            self.report_failure(kind, StoreError::TimedOut);
        }
    }
}

/// Whether two errors are the same but for numbers in the server's text, such as a revision.
fn is_same(one: &StoreError, other: &StoreError) -> bool {
    let words = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    match (one, other) {
        (
            StoreError::Server { code: one, description: said },
            StoreError::Server { code: other, description: says },
        ) => one == other && words(said) == words(says),
        _ => one == other,
    }
}
