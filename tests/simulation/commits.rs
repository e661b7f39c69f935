//! The invariants that are checked when a write is stored: I2, I3, I4, I7, I8.

use std::rc::Rc;
use std::time::Duration;

use leasehold::clock::Timestamp;
use leasehold::lease::{Lease, SessionId};

use super::model::{Observed, Term};
use super::rules::Rule;
use super::server::{Bucket, Record, Truth};
use super::world::{Operation, Request, World};

/// The epochs of one incarnation in commit order.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    incarnation: u64,
    /// The highest epoch so far. Only its owner may use it again.
    floor: u64,
    owner: Option<SessionId>,
    /// A backup was restored, or a stale condition held in a replaced bucket. Revisions repeat
    /// then, and the rules about commits cannot be checked.
    pub(crate) restored: bool,
    /// The write that the store lost after all processes knew of it. Its epoch and revision are
    /// given once more.
    pub(crate) lost: Option<u64>,
    /// A gate may see an epoch that is lower than an earlier one: a bucket was replaced, a record
    /// was lost, or two nodes led at once as the known limits allow.
    pub(crate) epochs_may_fall: bool,
    /// The records that operators wrote.
    foreign_records: Vec<Rc<Record>>,
}

impl Ledger {
    /// All processes that knew the earlier records have ended.
    pub(crate) fn start_over() -> Self {
        Self { epochs_may_fall: true, ..Self::default() }
    }

    /// The record with the epoch is gone. A process that never saw it goes on from the revision.
    pub(crate) fn record_gone(&mut self, bucket: Option<&Bucket>) {
        let last = bucket.map_or(0, |bucket| bucket.last);
        if self.floor > last {
            self.floor = last;
            self.owner = None;
            self.epochs_may_fall = true;
        }
    }

    /// An operator has overwritten the record.
    pub(crate) fn overwritten(&mut self, by: &Record) {
        self.enter(by.incarnation);
        if self.floor >= by.revision {
            self.floor = by.revision;
            self.owner = None;
            self.epochs_may_fall = true;
        }
        if let Truth::Lease(lease) = &by.truth {
            if lease.epoch.as_u64() > self.floor {
                (self.floor, self.owner) = (lease.epoch.as_u64(), None);
            }
        }
    }

    /// When revisions start anew, no process can tell a foreign record from an equal one at the
    /// same revision before. Two records of nodes are never equal.
    pub(crate) fn remember_foreign(&mut self, record: &Rc<Record>) {
        let same = |other: &Rc<Record>| {
            (other.incarnation, other.revision) == (record.incarnation, record.revision)
                && other.content == record.content
        };
        self.restored |= self.foreign_records.iter().any(same);
        self.foreign_records.push(Rc::clone(record));
    }

    fn enter(&mut self, incarnation: u64) {
        if self.incarnation != incarnation {
            self.epochs_may_fall |= self.incarnation != 0;
            (self.incarnation, self.floor, self.owner) = (incarnation, 0, None);
        }
    }
}

impl World {
    pub(crate) fn check_commit(
        &mut self,
        request: &Request,
        before: Option<&Bucket>,
        replaced: Option<&Record>,
        record: &Record,
    ) {
        let Operation::Write(write) = &request.operation else { return };
        let lease = &write.lease;
        let process = request.process;
        let model = &mut self.processes[process].model;
        model.wrote_into = record.incarnation;
        let Some(write) = model.write_mut(lease.write) else { return };
        write.stored = true;
        let (challenges, meant_for) = (write.challenges, write.incarnation);
        self.ledger.enter(record.incarnation);
        // It was sent to another bucket, and its condition happened to hold in this one.
        self.ledger.restored |= meant_for != record.incarnation;
        if let Some(lost) = self.ledger.lost {
            return self.check_after_loss(request, replaced, lost);
        }
        if self.ledger.restored {
            return;
        }
        if challenges {
            self.check_new_epoch(process, lease, record);
        } else {
            self.check_old_epoch(process, lease);
        }
        if lease.is_released() {
            self.check_stored_release(process, lease, replaced);
        } else if challenges {
            self.check_takeover(request, before, replaced);
            self.liveness.taken_over();
        }
        if lease.clean {
            self.expect_takeover(process, lease);
        }
    }

    /// I7: a process that knows of the term which the store lost waits for its end before it takes
    /// the release before that term over once more.
    fn check_after_loss(&mut self, request: &Request, replaced: Option<&Record>, lost: u64) {
        let Operation::Write(write) = &request.operation else { return };
        let node = &self.processes[request.process];
        let before = replaced.filter(|record| record.id < lost).and_then(Record::lease);
        let released = before.is_some_and(|lease| lease.clean);
        let known = node.model.first_seen(Observed::Record(lost)).filter(|at| *at <= write.sent);
        let waited = known.is_none_or(|at| write.sent >= at + node.timing.ttl());
        self.verdict.demand(Rule::I7, !released || waited, || {
            format!(
                "p{} knew of a lost term since {known:?} and takes over at {:?}",
                request.process, write.sent
            )
        });
    }

    /// I2, I3, I4: a term begins.
    fn check_new_epoch(&mut self, process: usize, lease: &Lease, record: &Record) {
        let (epoch, floor) = (lease.epoch.as_u64(), self.ledger.floor);
        let what = || format!("p{process} stores epoch {epoch}, the highest before is {floor}");
        let repeats = epoch == floor && self.ledger.owner == lease.session;
        self.verdict.demand(Rule::I4, epoch != floor || repeats, what);
        self.verdict.demand(Rule::I2, epoch > floor || repeats, what);
        let highest = self.processes[process].model.highest_epoch;
        let remembered = epoch <= record.revision || highest + 1 >= epoch;
        self.verdict.demand(Rule::I3, remembered, || {
            let revision = record.revision;
            format!("p{process} stores epoch {epoch} as revision {revision}, having seen {highest}")
        });
        (self.ledger.floor, self.ledger.owner) = (epoch.max(floor), lease.session);
    }

    /// I2, I4: a term goes on, or is released.
    fn check_old_epoch(&mut self, process: usize, lease: &Lease) {
        let (epoch, floor) = (lease.epoch.as_u64(), self.ledger.floor);
        let what =
            || format!("p{process} writes with {epoch} again, the highest before is {floor}");
        let own = self.ledger.owner.is_none() || self.ledger.owner == lease.session;
        self.verdict.demand(Rule::I2, epoch >= floor, what);
        self.verdict.demand(Rule::I4, epoch != floor || own, what);
        (self.ledger.floor, self.ledger.owner) = (epoch.max(floor), lease.session);
    }

    /// I8: only the holder writes a release over what it holds.
    fn check_stored_release(&mut self, process: usize, release: &Lease, replaced: Option<&Record>) {
        let holder = match replaced.and_then(Record::lease) {
            Some(lease) => lease.session == release.session && lease.epoch == release.epoch,
            // It was purged, and the second condition proves that nothing was written since.
            None => replaced.is_none(),
        };
        self.verdict.demand(Rule::I8, holder, || {
            format!("p{process} releases epoch {} over {replaced:?}", release.epoch)
        });
    }

    /// I7 and I8: what a challenge may replace, and how long it has to be known before.
    fn check_takeover(
        &mut self,
        request: &Request,
        before: Option<&Bucket>,
        replaced: Option<&Record>,
    ) {
        let (Some(before), Operation::Write(write)) = (before, &request.operation) else { return };
        let (process, sent) = (request.process, write.sent);
        let node = &self.processes[process];
        let longest = node.model.longest_ttl_at_challenge;
        let absent = Observed::Absent { incarnation: before.incarnation, last: before.last };
        let observed = replaced.map_or(absent, |record| Observed::Record(record.id));
        let (rule, wait) = match replaced.map(|record| &record.truth) {
            None if before.is_pristine() && self.found_missing(process, sent) => return,
            None => (Rule::I8, longest),
            Some(Truth::Lease(lease)) => self.wait_for(process, lease, longest),
            Some(Truth::Marker | Truth::Garbage) => (Rule::I8, longest),
        };
        let seen = node.model.first_seen(observed);
        // The process knows its successor only from a true notice.
        if write.expect.release.is_some() {
            self.check_unread(process, write.lease.write, replaced);
            if seen.is_none_or(|at| at > sent) {
                return;
            }
        }
        let node = &self.processes[process];
        let read = node.model.write(write.lease.write).map_or(Timestamp::ZERO, |w| w.read);
        let read_from = seen.map(|at| at + wait - node.timing.confirm_lead());
        // In a bucket that was never written to, another read could show nothing new.
        let empty = replaced.is_none() && before.is_pristine();
        let released = write.expect.release.is_some();
        let at_once = released || empty || wait <= node.timing.successor_wait();
        self.verdict.demand(rule, at_once || read_from.is_none_or(|from| read >= from), || {
            format!("p{process} takes over {observed:?}, seen {seen:?}, last read at {read:?}")
        });
        let waited = seen.is_some_and(|at| sent >= at + wait);
        self.verdict.demand(rule, waited, || {
            format!(
                "p{process} takes over {observed:?}, {replaced:?}, seen {seen:?}, at {sent:?}, \
                 must wait {wait:?}"
            )
        });
    }

    /// I8, for a release that was challenged unread. The server had to check that it is the named
    /// clean release. The process must have read the released term in this very bucket.
    fn check_unread(&mut self, process: usize, number: u64, replaced: Option<&Record>) {
        let release = replaced.filter(|record| record.lease().is_some_and(|lease| lease.clean));
        self.verdict.demand(Rule::I8, release.is_some(), || {
            format!("p{process} takes over {replaced:?} as a release")
        });
        let known = self.processes[process].model.write(number).and_then(|write| write.knows);
        let released = replaced.and_then(Term::of);
        self.verdict.demand(Rule::I8, known == released, || {
            format!("p{process} takes over a release of {released:?}, having read {known:?}")
        });
    }

    fn wait_for(&self, process: usize, lease: &Lease, longest: Duration) -> (Rule, Duration) {
        let node = &self.processes[process];
        let own = lease.session == Some(node.session);
        let for_other = lease.successor.as_ref().is_some_and(|to| *to != node.name);
        if lease.clean {
            let reserved = own || for_other;
            let wait = if reserved { node.timing.successor_wait() } else { Duration::ZERO };
            return (Rule::I8, wait);
        }
        let wait = if own { Duration::ZERO } else { lease.ttl.unwrap_or(longest) };
        (Rule::I7, wait)
    }

    fn found_missing(&self, process: usize, sent: Timestamp) -> bool {
        let model = &self.processes[process].model;
        let lately = |at: Timestamp| sent.since(at) < model.longest_ttl + model.longest_ttl;
        !self.plan.strict && model.missing_at.is_some_and(lately)
    }
}
