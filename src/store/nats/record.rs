//! The lease's record: from requests to messages, and from responses to outcomes.
//!
//! A [`RecordClient`] works over any [`Connection`]. The lease store gives it one of its own; a
//! command reads the record over the connection on which it asks nodes.

use std::collections::{HashSet, VecDeque};

use super::bucket::BucketOptions;
use super::exchange::{Exchange, Exchanges, Step};
use super::jetstream::{self, Ack, Found, Info, malformed};
use super::notice::parse_notice;
use super::races::LostRaces;
use super::subjects::Subjects;
use crate::error::StoreError;
use crate::lease::MAX_RECORD_BYTES;
use crate::nats::connection::{Connection, ConnectionEvent};
use crate::nats::message::{Headers, Message};
use crate::store::{
    Entry, Expect, Incarnation, Outcome, ReleaseId, Request, Snapshot, StoreEvent, Ticket,
};

/// How often a read begins anew because the bucket was replaced meanwhile.
const MAX_ROUNDS: u8 = 4;
/// Denials that are remembered, so that each is reported once.
const MAX_DENIALS: usize = 64;

/// The state of one bucket's requests.
pub(crate) struct RecordClient {
    options: BucketOptions,
    subjects: Subjects,
    exchanges: Exchanges,
    /// Events that were not handed out yet.
    events: VecDeque<StoreEvent>,
    /// The bucket's incarnation, as far as is known.
    known: Option<Incarnation>,
    /// The bucket has more than one replica, or may have.
    replicated: bool,
    /// Denials that were reported on the present connection.
    denials: HashSet<String>,
    /// The warnings that hold now. Each was logged when it was new.
    warnings: Vec<String>,
    races: LostRaces,
}

/// The next step after a response.
enum Next {
    /// The outcome is certain.
    Finish(Outcome),
    /// This response does not decide it; a better one may follow.
    Doubt(StoreError),
    Ask(Step),
}

impl RecordClient {
    pub(crate) fn new(options: BucketOptions, api_prefix: &str) -> Self {
        Self {
            subjects: Subjects::new(&options.bucket(), api_prefix),
            options,
            exchanges: Exchanges::default(),
            events: VecDeque::new(),
            known: None,
            replicated: true,
            denials: HashSet::new(),
            warnings: Vec::new(),
            races: LostRaces::default(),
        }
    }

    /// Sends a request. Its outcome comes out of [`next`](Self::next), at once if the connection
    /// does not take it.
    pub(crate) fn submit(&mut self, connection: &mut Connection, ticket: Ticket, request: Request) {
        if let Err(error) = connection.ready().and_then(|()| self.check(&request, connection)) {
            return self.complete(ticket, Outcome::Failed(error));
        }
        match request {
            Request::Read => self.ask(connection, ticket, self.first_question()),
            // Whether it holds cannot be known there; see "Names".
            Request::Write { expect, .. } if expect.release.is_some() && self.replicated => {
                self.complete(ticket, Outcome::LostRace);
            }
            Request::Write { expect, id, value } => {
                let headers = self.conditions(expect, id);
                self.send(connection, ticket, Step::Write(expect), headers, value);
            }
            Request::CreateBucket { first_seq } => {
                let body = self.options.create_body(&self.subjects, first_seq);
                self.send(connection, ticket, Step::Create, Headers::default(), body);
            }
        }
    }

    /// Takes in an event of the connection.
    pub(crate) fn handle(&mut self, connection: &mut Connection, event: ConnectionEvent) {
        match event {
            ConnectionEvent::Response { request, message } => {
                self.responded(connection, request, &message);
            }
            ConnectionEvent::Message(message) => self.noticed(connection, &message),
            ConnectionEvent::HintsMissed => self.events.push_back(StoreEvent::Hint),
            ConnectionEvent::Denied { subject, publish, error } => {
                self.denied(connection, publish.then_some(&subject), error);
            }
            ConnectionEvent::Connected { server } => {
                // It may be another server, and was not asked yet.
                self.replicated = true;
                self.denials.clear();
                self.events.push_back(StoreEvent::Connected { server });
            }
            ConnectionEvent::Disconnected { error } => {
                self.events.push_back(StoreEvent::Disconnected { error: error.clone() });
                for ticket in self.exchanges.clear() {
                    self.complete(ticket, Outcome::Unknown(error.clone()));
                }
            }
        }
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> Option<StoreEvent> {
        self.events.pop_front()
    }

    /// Forgets all requests.
    pub(super) fn clear(&mut self) {
        self.exchanges.clear();
        self.events.clear();
    }

    fn check(&self, request: &Request, connection: &Connection) -> Result<(), StoreError> {
        match request {
            Request::Write { value, .. } if value.len() > MAX_RECORD_BYTES => {
                Err(malformed("a record longer than can be read back"))
            }
            Request::CreateBucket { .. } => {
                self.options.check_replicas(self.options.replicas, connection.version())
            }
            Request::Write { .. } | Request::Read => Ok(()),
        }
    }

    fn first_question(&self) -> Step {
        match &self.known {
            Some(base) => Step::Get { base: base.clone(), round: 1 },
            None => Step::Learn { round: 1 },
        }
    }

    /// The headers of a write.
    fn conditions(&self, expect: Expect, id: Option<ReleaseId>) -> Headers {
        let mut headers = Headers::default();
        headers.add("Nats-Expected-Stream", &self.subjects.stream);
        headers.add("Nats-Expected-Last-Subject-Sequence", &expect.revision.to_string());
        if let Some(last) = expect.last_seq {
            headers.add("Nats-Expected-Last-Sequence", &last.to_string());
        }
        if let Some(last) = expect.release {
            headers.add("Nats-Expected-Last-Msg-Id", &last.to_string());
        }
        if let Some(id) = id.filter(|_| !self.replicated) {
            headers.add("Nats-Msg-Id", &id.to_string());
        }
        headers
    }

    fn ask(&mut self, connection: &mut Connection, ticket: Ticket, step: Step) {
        let body = match step {
            Step::Get { .. } => self.subjects.get_body(),
            _ => Vec::new(),
        };
        self.send(connection, ticket, step, Headers::default(), body);
    }

    fn send(
        &mut self,
        connection: &mut Connection,
        ticket: Ticket,
        step: Step,
        headers: Headers,
        body: Vec<u8>,
    ) {
        let subjects = &self.subjects;
        let subject = match step {
            Step::Learn { .. } | Step::Info { .. } => &subjects.info,
            Step::Get { .. } => &subjects.get,
            Step::Write(_) => &subjects.write,
            Step::Create => &subjects.create,
            Step::Account { .. } => &subjects.account,
        };
        match connection.request(subject, headers, body) {
            Ok(number) => {
                let exchange = Exchange { ticket, step, subject: subject.clone(), doubted: false };
                self.exchanges.insert(number, exchange);
            }
            // An earlier message of the same request may have had an effect.
            Err(error) => self.complete(ticket, Outcome::Unknown(error)),
        }
    }

    fn responded(&mut self, connection: &mut Connection, number: u64, message: &Message) {
        let Some(exchange) = self.exchanges.get_mut(number) else { return };
        let step = exchange.step.clone();
        let next = if message.is_no_responders() {
            no_responders(&exchange.subject, &step)
        } else {
            self.interpret(connection, &step, &message.body)
        };
        self.follow(connection, number, next);
    }

    fn follow(&mut self, connection: &mut Connection, number: u64, next: Next) {
        match next {
            Next::Doubt(error) => self.doubt(number, error),
            Next::Finish(outcome) => {
                if let Some(exchange) = self.exchanges.remove(number) {
                    self.complete(exchange.ticket, outcome);
                }
            }
            Next::Ask(step) => {
                if let Some(exchange) = self.exchanges.remove(number) {
                    self.ask(connection, exchange.ticket, step);
                }
            }
        }
    }

    /// Reports a request as unknown, once, and goes on waiting for its response.
    fn doubt(&mut self, number: u64, error: StoreError) {
        let Some(exchange) = self.exchanges.get_mut(number) else { return };
        if !std::mem::replace(&mut exchange.doubted, true) {
            let ticket = exchange.ticket;
            self.complete(ticket, Outcome::Unknown(error));
        }
    }

    fn complete(&mut self, ticket: Ticket, outcome: Outcome) {
        self.events.push_back(StoreEvent::Completed { ticket, outcome });
    }

    fn interpret(&mut self, connection: &mut Connection, step: &Step, body: &[u8]) -> Next {
        match step {
            Step::Write(expect) => self.acknowledged(*expect, body),
            Step::Create => decided(jetstream::parse_create(body, &self.subjects.stream)),
            Step::Get { base, round } => self.got(base, *round, body),
            Step::Learn { round } => self.informed(connection, None, None, *round, body),
            Step::Info { base, entry, round } => {
                self.informed(connection, Some(base), entry.clone(), *round, body)
            }
            // JetStream is there: its silence before will pass.
            Step::Account { unanswered } => match jetstream::parse_account(body) {
                Ok(()) => Next::Finish(Outcome::Unknown(unanswered.clone())),
                Err(error @ StoreError::Malformed(_)) => Next::Doubt(error),
                Err(error) => Next::Finish(Outcome::Failed(error)),
            },
        }
    }

    fn acknowledged(&mut self, expect: Expect, body: &[u8]) -> Next {
        let outcome = match jetstream::parse_ack(body, &self.subjects.stream) {
            Ok(Ack::Stored { revision }) => {
                self.races.stored();
                Outcome::Stored { revision }
            }
            Ok(Ack::Refused(error)) => Outcome::Failed(error),
            Ok(Ack::LostRace(error)) if self.races.lost(expect) => Outcome::Failed(error),
            Ok(Ack::LostRace(_)) => Outcome::LostRace,
            Err(error) => return Next::Doubt(error),
        };
        Next::Finish(outcome)
    }

    fn got(&mut self, base: &Incarnation, round: u8, body: &[u8]) -> Next {
        let entry = match jetstream::parse_get(body, &self.subjects.key) {
            Ok(Found::Some(entry)) => Some(entry),
            Ok(Found::NoMessage) => None,
            Ok(Found::NoBucket) => return self.no_bucket(),
            Err(error) => return failed_read(error),
        };
        Next::Ask(Step::Info { base: base.clone(), entry, round })
    }

    /// The response to a question about the stream; `base` is what it was when `entry` was asked
    /// for.
    fn informed(
        &mut self,
        connection: &mut Connection,
        base: Option<&Incarnation>,
        entry: Option<Entry>,
        round: u8,
        body: &[u8],
    ) -> Next {
        let info = match jetstream::parse_info(body, &self.subjects.stream) {
            Ok(Some(info)) => info,
            Ok(None) => return self.no_bucket(),
            Err(error) => return failed_read(error),
        };
        if let Err(error) = self.learn(connection, &info) {
            return Next::Finish(Outcome::Failed(error));
        }
        let Info { incarnation, last_seq, pristine, .. } = info;
        if base == Some(&incarnation) {
            let snapshot = Snapshot { incarnation, last_seq, pristine, entry };
            self.races.shown(&snapshot);
            return Next::Finish(Outcome::Read(snapshot));
        }
        if round >= MAX_ROUNDS {
            let error = malformed("the bucket is replaced faster than it can be read");
            return Next::Finish(Outcome::Unknown(error));
        }
        Next::Ask(Step::Get { base: incarnation, round: round + 1 })
    }

    fn no_bucket(&mut self) -> Next {
        self.known = None;
        self.replicated = true;
        self.warn(Vec::new());
        Next::Finish(Outcome::NoBucket)
    }

    /// Takes note of the bucket as it is now, and refuses it if it is unsuitable.
    fn learn(&mut self, connection: &mut Connection, info: &Info) -> Result<(), StoreError> {
        let (cluster, server) = (info.cluster.as_deref(), connection.version());
        let warnings = self.options.check(&info.config, cluster, &self.subjects, server)?;
        self.known = Some(info.incarnation.clone());
        self.replicated = info.config.num_replicas > 1;
        self.warn(warnings);
        // Without a rule to repeat stored messages, the key itself is the subject of hints.
        let republished = info.config.notice_subject(&self.subjects.key);
        connection.set_hints(republished.as_ref().unwrap_or(&self.subjects.key));
        Ok(())
    }

    /// Reports the warnings that hold now, if they are others than before, and logs the new ones.
    fn warn(&mut self, warnings: Vec<String>) {
        if warnings == self.warnings {
            return;
        }
        for warning in warnings.iter().filter(|warning| !self.warnings.contains(warning)) {
            log::warn!(bucket = self.options.bucket().as_str(); "{warning}");
        }
        self.warnings.clone_from(&warnings);
        self.events.push_back(StoreEvent::Warnings(warnings));
    }

    /// A message on the notices' subject. On the key's own subject there are writes before they are
    /// accepted, without a revision: a hint at most, and none at all when the write is our own.
    fn noticed(&mut self, connection: &Connection, message: &Message) {
        if message.subject != self.subjects.key {
            let notice = parse_notice(message, &self.subjects);
            self.events.extend(notice.map(StoreEvent::Notice));
        } else if !message.reply.as_ref().is_some_and(|reply| connection.is_own_inbox(reply)) {
            self.events.push_back(StoreEvent::Hint);
        }
    }

    /// The server denied publishing on the subject `published`, or a subscription. The denial names
    /// no message.
    fn denied(
        &mut self,
        connection: &mut Connection,
        published: Option<&String>,
        error: StoreError,
    ) {
        if let Some(subject) = published {
            let (numbers, certain) = self.exchanges.about(subject);
            for number in numbers {
                if certain {
                    self.fail(connection, number, error.clone());
                } else {
                    self.doubt(number, error.clone());
                }
            }
        }
        if self.denials.len() < MAX_DENIALS && self.denials.insert(error.to_string()) {
            self.events.push_back(StoreEvent::Problem(error));
        }
    }

    /// Ends a request that certainly had no effect.
    fn fail(&mut self, connection: &mut Connection, number: u64, error: StoreError) {
        let step = self.exchanges.get_mut(number).map(|exchange| exchange.step.clone());
        let outcome = match step {
            // That question was only to explain the silence about another.
            Some(Step::Account { unanswered }) => Outcome::Unknown(unanswered),
            _ => Outcome::Failed(error),
        };
        self.follow(connection, number, Next::Finish(outcome));
    }
}

fn decided(outcome: Result<Outcome, StoreError>) -> Next {
    outcome.map_or_else(Next::Doubt, Next::Finish)
}

fn failed_read(error: StoreError) -> Next {
    match error {
        StoreError::Malformed(_) => Next::Doubt(error),
        _ => Next::Finish(Outcome::Failed(error)),
    }
}

/// The next step after the server knew no responder for a request.
fn no_responders(subject: &str, step: &Step) -> Next {
    let error = StoreError::NoResponders(subject.into());
    match step {
        // This server knows no responder. Another may know one, and have passed the write on.
        Step::Write(_) => Next::Finish(Outcome::Unknown(error)),
        Step::Account { .. } => Next::Finish(Outcome::Failed(StoreError::JetStream(
            format!("nothing responds on {subject}; is it enabled, for this account too?").into(),
        ))),
        Step::Learn { .. } | Step::Get { .. } | Step::Info { .. } | Step::Create => {
            Next::Ask(Step::Account { unanswered: error })
        }
    }
}
