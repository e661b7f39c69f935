//! From requests to messages, and from replies to outcomes.

use super::NatsStore;
use super::exchange::{Exchange, MAX_OPEN, Step};
use super::jetstream::{self, Ack, Creation, Found, Info, malformed};
use super::link::Sent;
use crate::error::StoreError;
use crate::lease::MAX_RECORD_BYTES;
use crate::store::{
    Entry, Expect, Incarnation, Outcome, ReleaseId, Request, Snapshot, StoreEvent, Ticket,
};

/// How often a read begins anew because the bucket was replaced meanwhile.
const MAX_ROUNDS: u8 = 4;
/// How often a busy client is asked again before the message has to wait.
const SPINS: u32 = 16;

/// A message that is ready to be sent.
pub(super) struct Message {
    /// The number of its exchange.
    number: u64,
    subject: String,
    headers: Option<nats::HeaderMap>,
    body: Vec<u8>,
}

/// A reply, as far as it matters.
pub(super) struct Reply<'a> {
    number: u64,
    no_responders: bool,
    body: &'a [u8],
}

impl<'a> Reply<'a> {
    pub(super) fn of(message: &'a nats::Message, inbox: &str) -> Option<Self> {
        let number = message.subject.strip_prefix(inbox)?.strip_prefix('.')?.parse().ok()?;
        let no_responders = message.is_no_responders();
        Some(Self { number, no_responders, body: &message.data })
    }
}

/// What follows from a reply.
enum Next {
    /// It is decided.
    Finish(Outcome),
    /// It cannot be told from this; a better reply may follow.
    Doubt(StoreError),
    Ask(Step),
}

impl NatsStore {
    pub(super) fn begin(&mut self, ticket: Ticket, request: Request) {
        let refused = match &self.link {
            None => Some(StoreError::Disconnected("there is no connection".into())),
            // The peer takes nothing; what is not handed over has no effect.
            Some(_) if self.outbox.len() >= MAX_OPEN => {
                Some(StoreError::Disconnected("the connection takes nothing any more".into()))
            }
            Some(link) => match &request {
                Request::Write { value, .. } if value.len() > MAX_RECORD_BYTES => {
                    Some(malformed("a record longer than can be read back"))
                }
                Request::CreateBucket { .. } => {
                    self.options.check_replicas(self.options.replicas, link.version).err()
                }
                _ => None,
            },
        };
        if let Some(error) = refused {
            return self.complete(ticket, Outcome::Failed(error));
        }
        match request {
            Request::Read => self.ask(ticket, self.first_question()),
            // Whether it holds cannot be told there; see "Names".
            Request::Write { expect, .. } if expect.release.is_some() && self.replicated => {
                self.complete(ticket, Outcome::LostRace);
            }
            Request::Write { expect, id, value } => self.write(ticket, expect, id, value),
            Request::CreateBucket { first_seq } => {
                let body = self.options.create_body(&self.subjects, first_seq);
                self.send(ticket, Step::Create, None, body);
            }
        }
    }

    fn first_question(&self) -> Step {
        match &self.known {
            Some(base) => Step::Get { base: base.clone(), round: 1 },
            None => Step::Learn { round: 1 },
        }
    }

    fn write(&mut self, ticket: Ticket, expect: Expect, id: Option<ReleaseId>, value: Vec<u8>) {
        let mut headers = nats::HeaderMap::new();
        headers.insert("Nats-Expected-Stream", self.subjects.stream.as_str());
        headers.insert("Nats-Expected-Last-Subject-Sequence", expect.revision.to_string());
        if let Some(last) = expect.last_seq {
            headers.insert("Nats-Expected-Last-Sequence", last.to_string());
        }
        if let Some(last) = expect.release {
            headers.insert("Nats-Expected-Last-Msg-Id", last.to_string());
        }
        if let Some(id) = id.filter(|_| !self.replicated) {
            headers.insert("Nats-Msg-Id", id.to_string());
        }
        self.send(ticket, Step::Write, Some(headers), value);
    }

    fn ask(&mut self, ticket: Ticket, step: Step) {
        let body = match step {
            Step::Get { .. } => self.subjects.get_body(),
            _ => Vec::new(),
        };
        self.send(ticket, step, None, body);
    }

    fn send(
        &mut self,
        ticket: Ticket,
        step: Step,
        headers: Option<nats::HeaderMap>,
        body: Vec<u8>,
    ) {
        let subjects = &self.subjects;
        let subject = match step {
            Step::Learn { .. } | Step::Info { .. } => &subjects.info,
            Step::Get { .. } => &subjects.get,
            Step::Write => &subjects.write,
            Step::Create => &subjects.create,
            Step::Account { .. } => &subjects.account,
        };
        let subject = subject.clone();
        let exchange = Exchange { ticket, step, subject: subject.clone(), told: false };
        let number = self.exchanges.insert(exchange);
        self.outbox.push_back(Message { number, subject, headers, body });
        self.resend();
    }

    /// Sends what waits, as far as that is possible without blocking.
    pub(super) fn resend(&mut self) {
        while let Some(message) = self.outbox.front() {
            match self.try_send(message) {
                Sent::Yes => {
                    self.outbox.pop_front();
                }
                Sent::Busy => return,
                Sent::Gone => return self.lose(None),
            }
        }
    }

    fn try_send(&self, message: &Message) -> Sent {
        let Some(link) = &self.link else { return Sent::Gone };
        let reply = format!("{}.{}", link.inbox_prefix, message.number);
        let attempt =
            || link.send(&message.subject, Some(&reply), message.headers.as_ref(), &message.body);
        for _ in 0..SPINS {
            let sent = attempt();
            if sent != Sent::Busy {
                return sent;
            }
            std::thread::yield_now();
        }
        Sent::Busy
    }

    pub(super) fn replied(&mut self, reply: &Reply<'_>) {
        let Some(exchange) = self.exchanges.get_mut(reply.number) else { return };
        let step = exchange.step.clone();
        let next = if reply.no_responders {
            unanswered(&exchange.subject, &step)
        } else {
            self.understand(&step, reply.body)
        };
        self.follow(reply.number, next);
    }

    fn follow(&mut self, number: u64, next: Next) {
        match next {
            Next::Doubt(error) => self.doubt(number, error),
            Next::Finish(outcome) => {
                if let Some(exchange) = self.exchanges.remove(number) {
                    self.complete(exchange.ticket, outcome);
                }
            }
            Next::Ask(step) => {
                if let Some(exchange) = self.exchanges.remove(number) {
                    self.ask(exchange.ticket, step);
                }
            }
        }
    }

    /// Reports a request as unknown, once, and goes on waiting for it.
    pub(super) fn doubt(&mut self, number: u64, error: StoreError) {
        let Some(exchange) = self.exchanges.get_mut(number) else { return };
        if !std::mem::replace(&mut exchange.told, true) {
            let ticket = exchange.ticket;
            self.complete(ticket, Outcome::Unknown(error));
        }
    }

    /// Ends a request that certainly had no effect.
    pub(super) fn fail(&mut self, number: u64, error: StoreError) {
        let step = self.exchanges.get_mut(number).map(|exchange| exchange.step.clone());
        let outcome = match step {
            // That question was only to explain the silence of another.
            Some(Step::Account { unanswered }) => Outcome::Unknown(unanswered),
            _ => Outcome::Failed(error),
        };
        self.follow(number, Next::Finish(outcome));
    }

    fn complete(&mut self, ticket: Ticket, outcome: Outcome) {
        self.events.push_back(StoreEvent::Completed { ticket, outcome });
    }

    fn understand(&mut self, step: &Step, body: &[u8]) -> Next {
        match step {
            Step::Write => match jetstream::parse_ack(body, &self.subjects.stream) {
                Ack::Stored(revision) => Next::Finish(Outcome::Stored { revision }),
                Ack::LostRace => Next::Finish(Outcome::LostRace),
                Ack::Refused(error) => Next::Finish(Outcome::Failed(error)),
                Ack::Doubtful(error) => Next::Doubt(error),
            },
            Step::Create => match jetstream::parse_create(body, &self.subjects.stream) {
                Creation::Created => Next::Finish(Outcome::Created),
                Creation::Refused(error) => Next::Finish(Outcome::Failed(error)),
                Creation::Doubtful(error) => Next::Doubt(error),
            },
            Step::Get { base, round } => self.got(base, *round, body),
            Step::Learn { round } => self.informed(None, None, *round, body),
            Step::Info { base, entry, round } => {
                self.informed(Some(base), entry.clone(), *round, body)
            }
            // Somebody answers for JetStream: the silence before was a passing one.
            Step::Account { unanswered } => match jetstream::parse_account(body) {
                Ok(()) => Next::Finish(Outcome::Unknown(unanswered.clone())),
                Err(error @ StoreError::Malformed(_)) => Next::Doubt(error),
                Err(error) => Next::Finish(Outcome::Failed(error)),
            },
        }
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

    /// The answer to a question about the stream; `base` is what it was when `entry` was asked for.
    fn informed(
        &mut self,
        base: Option<&Incarnation>,
        entry: Option<Entry>,
        round: u8,
        body: &[u8],
    ) -> Next {
        let info = match jetstream::parse_info(body, &self.subjects.stream) {
            Ok(Found::Some(info)) => info,
            Ok(_) => return self.no_bucket(),
            Err(error) => return failed_read(error),
        };
        if let Err(error) = self.learn(&info) {
            return Next::Finish(Outcome::Failed(error));
        }
        let Info { incarnation, last_seq, pristine, .. } = info;
        if base == Some(&incarnation) {
            let snapshot = Snapshot { incarnation, last_seq, pristine, entry };
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
        Next::Finish(Outcome::NoBucket)
    }

    /// Takes note of the bucket as it is now, and refuses it if it will not do.
    fn learn(&mut self, info: &Info) -> Result<(), StoreError> {
        let version = self.link.as_ref().map(|link| link.version).unwrap_or_default();
        let warning = self.options.check(&info.config, &self.subjects, version)?;
        self.known = Some(info.incarnation.clone());
        self.replicated = info.config.num_replicas > 1;
        if let Some(warning) = warning.filter(|_| self.warned.as_ref() != Some(&info.incarnation)) {
            self.warned = Some(info.incarnation.clone());
            log::warn!(bucket = self.options.bucket().as_str(); "{warning}");
        }
        self.listen_on(info.config.notice_subject(&self.subjects.key));
        Ok(())
    }
}

fn failed_read(error: StoreError) -> Next {
    match error {
        StoreError::Malformed(_) => Next::Doubt(error),
        _ => Next::Finish(Outcome::Failed(error)),
    }
}

/// What "no responders" means for a request.
fn unanswered(subject: &str, step: &Step) -> Next {
    let error = StoreError::NoResponders(subject.into());
    match step {
        // The server that we asked knows of nobody. Another may know more, and have been asked too.
        Step::Write => Next::Finish(Outcome::Unknown(error)),
        Step::Account { .. } => Next::Finish(Outcome::Failed(StoreError::JetStream(
            format!("nobody answers on {subject}; is it enabled, for this account too?").into(),
        ))),
        Step::Learn { .. } | Step::Get { .. } | Step::Info { .. } | Step::Create => {
            Next::Ask(Step::Account { unanswered: error })
        }
    }
}
