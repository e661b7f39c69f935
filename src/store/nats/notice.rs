//! What comes unasked: notices of stored revisions, and the server's complaints.

use super::jetstream::{Subjects, clip_value, marks_deletion};
use super::{MAX_COMPLAINTS, NatsStore, handshake};
use crate::error::StoreError;
use crate::store::{Content, Entry, StoreEvent};

impl NatsStore {
    /// Listens where the present bucket repeats what is stored; where it does not, on the key.
    pub(super) fn listen_on(&mut self, republished: Option<String>) {
        let subject = republished.unwrap_or_else(|| self.subjects.key.clone());
        if subject == self.notice_subject {
            return;
        }
        self.notice_subject.clone_from(&subject);
        if let Some(link) = self.link.as_mut().filter(|link| !link.listens_on(&self.silence)) {
            link.resubscribe(&subject, &self.connector.signals);
        }
    }

    /// Listens on a connection that did not, when it is time.
    pub(super) fn listen_again(&mut self) {
        let now = self.clock.now();
        if !self.hearing.listens(now) {
            return;
        }
        if let Some(link) = self.link.as_mut().filter(|link| link.listens_on(&self.silence)) {
            link.resubscribe(&self.notice_subject, &self.connector.signals);
            self.hearing.begin(now, true);
        }
    }

    /// A message on the notices' subject. On the key's own subject there are writes before they are
    /// accepted, without a revision: no more than hints, and none at all when they are our own.
    pub(super) fn noticed(&self, message: &nats::Message) -> Option<StoreEvent> {
        if message.subject == self.subjects.key {
            let own = |reply: &String| {
                self.link.as_ref().is_some_and(|link| reply.starts_with(&link.inbox_prefix))
            };
            return (!message.reply.as_ref().is_some_and(own)).then_some(StoreEvent::Hint);
        }
        repeated(message, &self.subjects).map(StoreEvent::Notice)
    }

    /// The server's complaint about something we did, which it does not connect to a request.
    pub(super) fn complained(&mut self, text: &str) {
        let Some(violation) = Violation::parse(text) else {
            self.last_words = Some(text.to_owned());
            if !handshake::is_about_credentials(text) {
                log::warn!(cluster = self.options.cluster_id.as_str(); "the server said: {text}");
            }
            return;
        };
        let error = StoreError::Permission(text.into());
        if violation.publish {
            self.refused(violation.subject, &error);
        }
        if self.complaints.len() < MAX_COMPLAINTS && self.complaints.insert(text.to_owned()) {
            self.events.push_back(StoreEvent::Problem(error));
        }
    }

    /// Ends the request that was not let through, if it is clear which one that was.
    fn refused(&mut self, subject: &str, error: &StoreError) {
        let (numbers, certain) = self.exchanges.about(subject);
        for number in numbers {
            if certain {
                self.fail(number, error.clone());
            } else {
                self.doubt(number, error.clone());
            }
        }
    }
}

/// What the server stored under the key and repeats in `message`, if it is that.
pub(super) fn repeated(message: &nats::Message, subjects: &Subjects) -> Option<Entry> {
    let headers = message.headers.as_ref()?;
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())
    };
    if one("Nats-Stream")? != &subjects.stream || one("Nats-Subject")? != &subjects.key {
        return None;
    }
    let revision = one("Nats-Sequence")?.parse().ok().filter(|revision| *revision > 0)?;
    let marker =
        headers.iter().any(|(name, values)| values.iter().any(|value| marks_deletion(name, value)));
    let content = if marker { Content::Marker } else { Content::Value(clip_value(&message.data)) };
    Some(Entry { revision, content })
}

/// A permission violation, as the server words it.
pub(super) struct Violation<'a> {
    pub(super) subject: &'a str,
    /// Of publishing; else of subscribing, or of asking for a reply there.
    pub(super) publish: bool,
}

impl<'a> Violation<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        if !lower.starts_with("permissions violation") {
            return None;
        }
        let publish = lower.starts_with("permissions violation for publish to");
        let subject = text.split('"').nth(1).unwrap_or_default();
        Some(Self { subject, publish })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_names_its_subject() {
        let text = "Permissions Violation for Publish to \"$KV.cluster-a.lease\"";
        let violation = Violation::parse(text).unwrap();
        assert_eq!((violation.subject, violation.publish), ("$KV.cluster-a.lease", true));
        let text = "Permissions Violation for Subscription to \"cluster.a.kv.lease\" using queue";
        let violation = Violation::parse(text).unwrap();
        assert_eq!((violation.subject, violation.publish), ("cluster.a.kv.lease", false));
        assert!(Violation::parse("Stale Connection").is_none());
        assert_eq!(Violation::parse("permissions violation").unwrap().subject, "");
    }
}
