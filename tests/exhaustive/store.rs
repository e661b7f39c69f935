//! The store: one key, its revisions, and nothing else.

use leasehold::lease::Lease;
use leasehold::store::{Content, Entry, Expect, Incarnation, ReleaseId, Snapshot};

/// The record under the key. Without a lease it is a marker.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) revision: u64,
    pub(crate) lease: Option<Lease>,
    pub(crate) content: Content,
}

impl Record {
    pub(crate) fn entry(&self) -> Entry {
        Entry { revision: self.revision, content: self.content.clone() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) last: u64,
    pub(crate) record: Option<Record>,
}

impl Store {
    pub(crate) fn empty() -> Self {
        Self { last: 0, record: None }
    }

    pub(crate) fn holds(&self, expect: Expect) -> bool {
        let record = self.record.as_ref();
        let newest = record.filter(|record| record.revision == self.last);
        let release = newest.and_then(|record| record.lease.as_ref()).and_then(ReleaseId::of);
        record.map_or(0, |record| record.revision) == expect.revision
            && expect.last_seq.is_none_or(|last| last == self.last)
            && expect.release.is_none_or(|id| release == Some(id))
    }

    /// Writes without a condition, and returns the replaced record.
    pub(crate) fn write(&mut self, content: Content, lease: Option<Lease>) -> Option<Record> {
        self.last += 1;
        self.record.replace(Record { revision: self.last, lease, content })
    }

    /// The answer to a read that took `record` a moment ago.
    pub(crate) fn show(&self, record: Option<&Record>) -> Snapshot {
        Snapshot {
            incarnation: Incarnation::new("1"),
            last_seq: self.last,
            pristine: self.last == 0,
            entry: record.map(Record::entry),
        }
    }
}
