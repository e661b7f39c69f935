//! The server: one bucket with one key, its revisions and incarnation, and what an operator can do
//! to it.

use std::fmt;
use std::rc::Rc;

use leasehold::lease::Lease;
use leasehold::store::{Content, Entry, Expect, Incarnation, ReleaseId};

/// What the writer of a revision meant by its bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Truth {
    Lease(Lease),
    Marker,
    Garbage,
}

/// One revision. Its `id` is unique in the world, even after a backup was restored.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) id: u64,
    pub(crate) incarnation: u64,
    pub(crate) revision: u64,
    pub(crate) content: Content,
    pub(crate) truth: Truth,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "revision {} of {}: {:?}", self.revision, self.incarnation, self.truth)
    }
}

impl Record {
    pub(crate) fn entry(&self) -> Entry {
        Entry { revision: self.revision, content: self.content.clone() }
    }

    /// Its name, if it is a clean release.
    pub(crate) fn release_id(&self) -> Option<ReleaseId> {
        self.lease().and_then(ReleaseId::of)
    }

    pub(crate) fn lease(&self) -> Option<&Lease> {
        match &self.truth {
            Truth::Lease(lease) => Some(lease),
            Truth::Marker | Truth::Garbage => None,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    pub(crate) incarnation: u64,
    pub(crate) name: Incarnation,
    first: u64,
    pub(crate) last: u64,
    pub(crate) record: Option<Rc<Record>>,
}

impl Bucket {
    pub(crate) fn is_pristine(&self) -> bool {
        self.last + 1 == self.first
    }

    fn holds(&self, expect: Expect) -> bool {
        let record = self.record.as_deref();
        let newest = record.filter(|record| record.revision == self.last);
        record.map_or(0, |record| record.revision) == expect.revision
            && expect.last_seq.is_none_or(|last| last == self.last)
            && expect.release.is_none_or(|id| newest.and_then(Record::release_id) == Some(id))
    }
}

/// The result of a write.
#[derive(Debug)]
pub(crate) enum Written {
    Stored { replaced: Option<Rc<Record>>, record: Rc<Record> },
    LostRace,
    NoBucket,
}

#[derive(Debug, Default)]
pub(crate) struct Server {
    pub(crate) bucket: Option<Bucket>,
    incarnations: u64,
    records: u64,
    /// The record that the newest one replaced.
    replaced: Option<Rc<Record>>,
    backup: Option<Bucket>,
}

impl Server {
    pub(crate) fn create(&mut self, first: u64) {
        if self.bucket.is_some() {
            return;
        }
        self.incarnations += 1;
        self.bucket = Some(Bucket {
            incarnation: self.incarnations,
            name: Incarnation::new(&self.incarnations.to_string()),
            first,
            last: first - 1,
            record: None,
        });
    }

    pub(crate) fn write(&mut self, expect: Expect, content: Content, truth: Truth) -> Written {
        match &self.bucket {
            None => Written::NoBucket,
            Some(bucket) if !bucket.holds(expect) => Written::LostRace,
            Some(_) => self.overwrite(content, truth),
        }
    }

    /// Writes without a condition.
    pub(crate) fn overwrite(&mut self, content: Content, truth: Truth) -> Written {
        let Some(bucket) = &mut self.bucket else { return Written::NoBucket };
        bucket.last += 1;
        self.records += 1;
        let (incarnation, revision) = (bucket.incarnation, bucket.last);
        let record = Rc::new(Record { id: self.records, incarnation, revision, content, truth });
        let replaced = bucket.record.replace(Rc::clone(&record));
        self.replaced.clone_from(&replaced);
        Written::Stored { replaced, record }
    }

    pub(crate) fn purge(&mut self) {
        if let Some(bucket) = &mut self.bucket {
            bucket.record = None;
        }
    }

    /// Whether the newest write began a term over a clean release.
    pub(crate) fn took_over_a_release(&self) -> bool {
        let clean = |record: &Rc<Record>| record.lease().is_some_and(|lease| lease.clean);
        self.replaced.as_ref().is_some_and(clean)
            && self.record().is_some_and(|record| !clean(record) && record.lease().is_some())
    }

    pub(crate) fn lose_newest(&mut self) {
        if let Some(bucket) = &mut self.bucket {
            bucket.record = self.replaced.take();
            bucket.last = bucket.record.as_ref().map_or(bucket.first - 1, |record| record.revision);
        }
    }

    pub(crate) fn reset(&mut self) {
        if let Some(bucket) = &mut self.bucket {
            bucket.record = None;
            bucket.last = bucket.first - 1;
        }
    }

    /// Makes a backup of the bucket.
    pub(crate) fn back_up(&mut self) {
        self.backup.clone_from(&self.bucket);
    }

    /// Restores the backup, if it is of the present bucket.
    pub(crate) fn restore(&mut self) -> bool {
        let known = self.bucket.as_ref().map(|bucket| bucket.incarnation);
        let usable = self.backup.as_ref().filter(|backup| Some(backup.incarnation) == known);
        if let Some(backup) = usable.cloned() {
            self.bucket = Some(backup);
            return true;
        }
        false
    }

    pub(crate) fn record(&self) -> Option<&Rc<Record>> {
        self.bucket.as_ref()?.record.as_ref()
    }
}
