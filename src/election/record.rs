//! The record as this node knows it: a revision, its decoded content, and since when it is known.

use super::Timestamp;
use crate::lease::Lease;
use crate::store::{Content, Expect, ReleaseId, Snapshot};

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
        match &self.record {
            Record::Lease(lease) => Some(lease),
            Record::Marker | Record::Undecodable(_) | Record::Absent => None,
        }
    }
}
