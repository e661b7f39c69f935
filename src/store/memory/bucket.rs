//! The bucket: one key, revisions, an incarnation.

use crate::store::{Content, Entry, Expect, Incarnation, ReleaseId, Snapshot};

/// The bucket as it was at some moment; see [`MemoryServer::backup`](super::MemoryServer::backup).
///
/// ```
/// # use leasehold::{clock::Clock, store::{Request, Store, Ticket}};
/// use leasehold::store::memory::MemoryServer;
///
/// let server = MemoryServer::new();
/// # let mut store = server.connect(Clock::boot());
/// # store.submit(Ticket(1), Request::CreateBucket { first_seq: 1 });
/// server.overwrite("old");
/// let backup = server.backup();
/// server.overwrite("new");
/// server.restore(&backup); // what was written since is lost
/// assert_eq!(server.entry().map(|entry| entry.revision), Some(1));
/// ```
#[derive(Clone, Debug)]
pub struct MemoryBackup(pub(super) Option<Bucket>);

#[derive(Clone, Debug)]
pub(super) struct Bucket {
    incarnation: Incarnation,
    first_seq: u64,
    last_seq: u64,
    pub(super) entry: Option<Entry>,
    /// The newest write is the release of that name.
    newest_release: Option<ReleaseId>,
}

impl Bucket {
    /// An empty bucket whose first revision will be `first_seq`, or 1 when that is 0.
    pub(super) fn new(number: u64, first_seq: u64) -> Self {
        let first_seq = first_seq.max(1);
        Self {
            incarnation: Incarnation::new(&format!("memory-{number}")),
            first_seq,
            last_seq: first_seq - 1,
            entry: None,
            newest_release: None,
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            incarnation: self.incarnation.clone(),
            last_seq: self.last_seq,
            pristine: self.last_seq == self.first_seq - 1,
            entry: self.entry.clone(),
        }
    }

    /// Whether the condition of a write holds at present.
    pub(super) fn holds(&self, expect: Expect) -> bool {
        let revision = self.entry.as_ref().map_or(0, |entry| entry.revision);
        revision == expect.revision
            && expect.last_seq.is_none_or(|seq| seq == self.last_seq)
            && (expect.release.is_none() || expect.release == self.newest_release)
    }

    pub(super) fn store(&mut self, content: Content, id: Option<ReleaseId>) -> Entry {
        self.last_seq += 1;
        self.newest_release = id;
        let entry = Entry { revision: self.last_seq, content };
        self.entry = Some(entry.clone());
        entry
    }
}
