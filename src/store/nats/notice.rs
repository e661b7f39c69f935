//! Notices: what the server repeats of what it stored.

use super::jetstream::{clip_value, marks_deletion};
use super::subjects::Subjects;
use crate::nats::message::Message;
use crate::store::{Content, Entry};

/// What the server stored under the key and repeats in `message`, if it is that.
pub(super) fn parse_notice(message: &Message, subjects: &Subjects) -> Option<Entry> {
    let headers = &message.headers;
    if headers.only("Nats-Stream")? != subjects.stream
        || headers.only("Nats-Subject")? != subjects.key
    {
        return None;
    }
    let revision = headers.only("Nats-Sequence")?.parse().ok().filter(|revision| *revision > 0)?;
    let marker = headers.iter().any(|(name, value)| marks_deletion(name, value));
    let content = if marker { Content::Marker } else { Content::Value(clip_value(&message.body)) };
    Some(Entry { revision, content })
}
