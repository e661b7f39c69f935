//! The bucket as this node knows it, and the record in it: a revision, its decoded content, and
//! since when it is known.

use std::time::Duration;

use super::Timestamp;
use crate::lease::Lease;
use crate::store::{Content, Expect, Incarnation, ReleaseId, Snapshot};

/// The decoded content of the key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record {
    Lease(Lease),
    Marker,
    Undecodable(String),
    /// There is nothing under the key. The observation's revision is the bucket's newest then.
    Absent,
}

impl Record {
    pub(super) fn of(content: &Content) -> Self {
        match content {
            Content::Marker => Self::Marker,
            Content::Value(bytes) => match Lease::decode(bytes) {
                Ok(lease) => Self::Lease(lease),
                Err(error) => Self::Undecodable(error.to_string()),
            },
        }
    }
}

/// A revision, and the moment from which the waits for it count. That moment never moves.
#[derive(Clone, Debug)]
pub(super) struct Observation {
    pub(super) revision: u64,
    pub(super) record: Record,
    pub(super) first_seen: Timestamp,
}

impl Observation {
    /// What a read at `now` shows.
    pub(super) fn of(shown: &Snapshot, now: Timestamp) -> Self {
        let (revision, record) = match &shown.entry {
            Some(entry) => (entry.revision, Record::of(&entry.content)),
            None => (shown.last_seq, Record::Absent),
        };
        Self { revision, record, first_seen: now }
    }

    /// The condition of a write that is to replace exactly this.
    pub(super) fn expect(&self) -> Expect {
        match self.record {
            Record::Absent => Expect::nothing_since(self.revision),
            _ => Expect::revision(self.revision),
        }
    }

    /// Whether a write of that condition can still be stored while this is the current record.
    pub(super) fn meets(&self, expect: Expect) -> bool {
        match expect.release {
            None => self.expect() == expect,
            id => self.revision == expect.revision && self.lease().and_then(ReleaseId::of) == id,
        }
    }

    pub(super) fn lease(&self) -> Option<&Lease> {
        let Record::Lease(lease) = &self.record else { return None };
        Some(lease)
    }
}

/// The bucket that holds the record.
#[derive(Clone, Debug, Default)]
pub(super) enum Bucket {
    /// No read was answered yet, or the connection was lost while the bucket was missing.
    #[default]
    Unknown,
    /// The newest read found no bucket, at that time.
    Missing(Timestamp),
    Known {
        incarnation: Incarnation,
        /// When it was last found missing. Only while it is new: empty ever since, so that no node
        /// can hold a lease in it.
        missing_at: Option<Timestamp>,
    },
}

impl Bucket {
    pub(super) fn incarnation(&self) -> Option<&Incarnation> {
        let Self::Known { incarnation, .. } = self else { return None };
        Some(incarnation)
    }

    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(_))
    }

    /// Whether it was missing a moment ago and is empty: no node can hold a lease in it.
    pub(super) fn is_new(&self) -> bool {
        matches!(self, Self::Known { missing_at: Some(_), .. })
    }

    /// A read shows the bucket. It counts as new if it was missing less than `longest` ago and
    /// nothing was ever written into it.
    pub(super) fn read(&mut self, now: Timestamp, shown: &Snapshot, longest: Duration) {
        let missing_at = match self {
            Self::Unknown => None,
            Self::Missing(at) => Some(*at),
            Self::Known { missing_at, .. } => *missing_at,
        };
        let empty = shown.pristine && shown.entry.is_none();
        let missing_at = missing_at.filter(|at| empty && now.since(*at) < longest);
        let incarnation = shown.incarnation.clone();
        *self = Self::Known { incarnation, missing_at };
    }

    /// A write of this node was stored in it.
    pub(super) fn written(&mut self) {
        if let Self::Known { missing_at, .. } = self {
            *missing_at = None;
        }
    }

    /// While there is no connection, a bucket can be created, filled and emptied.
    pub(super) fn disconnected(&mut self) {
        match self {
            Self::Unknown => {}
            Self::Missing(_) => *self = Self::Unknown,
            Self::Known { missing_at, .. } => *missing_at = None,
        }
    }
}
