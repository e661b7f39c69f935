//! What must hold when a write is stored: I2, I3, I4, I7, I8.

use std::rc::Rc;
use std::time::Duration;

use leasehold::clock::Timestamp;
use leasehold::lease::{Lease, SessionId};

use super::rules::Rule;
use super::server::{Bucket, Record, Truth};
use super::shadow::{Sight, Term};
use super::world::{Ask, Request, World};

/// The epochs of one incarnation in commit order.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    incarnation: u64,
    /// No term may have this epoch any more, but for its owner's.
    floor: u64,
    owner: Option<SessionId>,
    /// A backup was restored, or a bucket replaced by one in which a stale condition held:
    /// revisions repeat, and nothing can be told from them.
    pub(crate) restored: bool,
    /// The write that the store lost after everybody had heard of it: its epoch and revision are
    /// given once more.
    pub(crate) lost: Option<u64>,
    /// A gate can see an epoch that is lower than one before: where a bucket was replaced or its
    /// record lost, or where two led at once as the known limits allow.
    pub(crate) epochs_may_fall: bool,
    /// What was written by strangers.
    strangers: Vec<Rc<Record>>,
}

impl Ledger {
    /// Everybody who knew of what was before has ended.
    pub(crate) fn afresh() -> Self {
        Self { epochs_may_fall: true, ..Self::default() }
    }

    /// The record that carried the epoch is gone. Who never saw it goes on from the revision.
    pub(crate) fn record_gone(&mut self, bucket: Option<&Bucket>) {
        let last = bucket.map_or(0, |bucket| bucket.last);
        if self.floor > last {
            self.floor = last;
            self.owner = None;
            self.epochs_may_fall = true;
        }
    }

    /// Somebody wrote over the record.
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

    /// In a bucket whose revisions began anew, the same content at the same revision cannot be told
    /// from what was there before. No two records of ours are the same.
    pub(crate) fn remember_stranger(&mut self, record: &Rc<Record>) {
        let same = |other: &Rc<Record>| {
            (other.incarnation, other.revision) == (record.incarnation, record.revision)
                && other.content == record.content
        };
        self.restored |= self.strangers.iter().any(same);
        self.strangers.push(Rc::clone(record));
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
        let Ask::Write(write) = &request.ask else { return };
        let lease = &write.lease;
        let process = request.process;
        let shadow = &mut self.processes[process].shadow;
        shadow.wrote_into = record.incarnation;
        let Some(write) = shadow.write_mut(lease.write) else { return };
        write.stored = true;
        let (challenges, meant_for) = (write.challenges, write.incarnation);
        self.ledger.enter(record.incarnation);
        // Its condition was about another bucket, and happens to hold in this one.
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
            self.check_release(process, lease, replaced);
        } else if challenges {
            self.check_takeover(request, before, replaced);
            self.liveness.taken_over();
        }
        if lease.clean {
            self.expect_takeover(process, lease);
        }
    }

    /// I7: who heard of the term that the store lost waits for its end before the release beneath
    /// it is taken over once more.
    fn check_after_loss(&mut self, request: &Request, replaced: Option<&Record>, lost: u64) {
        let Ask::Write(write) = &request.ask else { return };
        let node = &self.processes[request.process];
        let beneath = replaced.filter(|record| record.id < lost).and_then(Record::lease);
        let released = beneath.is_some_and(|lease| lease.clean);
        let heard = node.shadow.first_seen(Sight::Record(lost)).filter(|at| *at <= write.sent);
        let waited = heard.is_none_or(|at| write.sent >= at + node.timing.ttl());
        self.verdict.demand(Rule::I7, !released || waited, || {
            format!(
                "p{} heard {heard:?} of a term and takes over at {:?}",
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
        let highest = self.processes[process].shadow.highest_epoch;
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
        let what = || format!("p{process} goes on with {epoch}, the highest before is {floor}");
        let own = self.ledger.owner.is_none() || self.ledger.owner == lease.session;
        self.verdict.demand(Rule::I2, epoch >= floor, what);
        self.verdict.demand(Rule::I4, epoch != floor || own, what);
        (self.ledger.floor, self.ledger.owner) = (epoch.max(floor), lease.session);
    }

    /// I8: only the holder writes a release over what it holds.
    fn check_release(&mut self, process: usize, release: &Lease, replaced: Option<&Record>) {
        let holder = match replaced.and_then(Record::lease) {
            Some(lease) => lease.session == release.session && lease.epoch == release.epoch,
            // Purged, and nothing written since: the second condition proved it.
            None => replaced.is_none(),
        };
        self.verdict.demand(Rule::I8, holder, || {
            format!("p{process} releases epoch {} over {replaced:?}", release.epoch)
        });
    }

    /// I7 and I8: what a challenge may replace, and since when it must have been seen.
    fn check_takeover(
        &mut self,
        request: &Request,
        before: Option<&Bucket>,
        replaced: Option<&Record>,
    ) {
        let (Some(before), Ask::Write(write)) = (before, &request.ask) else { return };
        let (process, sent) = (request.process, write.sent);
        let node = &self.processes[process];
        let longest = node.shadow.longest_ttl_at_challenge;
        let absent = Sight::Absent { incarnation: before.incarnation, last: before.last };
        let sight = replaced.map_or(absent, |record| Sight::Record(record.id));
        let (rule, wait) = match replaced.map(|record| &record.truth) {
            None if before.is_pristine() && self.found_missing(process, sent) => return,
            None => (Rule::I8, longest),
            Some(Truth::Lease(lease)) => self.wait_for(process, lease, longest),
            Some(Truth::Marker | Truth::Garbage) => (Rule::I8, longest),
        };
        let seen = node.shadow.first_seen(sight);
        // Whom such a release is left to is known only of what was truly noticed.
        if write.expect.release.is_some() {
            self.check_unread(process, write.lease.write, replaced);
            if seen.is_none_or(|at| at > sent) {
                return;
            }
        }
        let node = &self.processes[process];
        let read = node.shadow.write(write.lease.write).map_or(Timestamp::ZERO, |w| w.read);
        let looked = seen.map(|at| at + wait - node.timing.confirm_lead());
        // A bucket in which nothing was ever written has nothing that another look could show.
        let empty = replaced.is_none() && before.is_pristine();
        let released = write.expect.release.is_some();
        let at_once = released || empty || wait <= node.timing.successor_wait();
        self.verdict.demand(rule, at_once || looked.is_none_or(|from| read >= from), || {
            format!("p{process} takes over {sight:?}, seen {seen:?}, and last looked at {read:?}")
        });
        let waited = seen.is_some_and(|at| sent >= at + wait);
        self.verdict.demand(rule, waited, || {
            format!(
                "p{process} takes over {sight:?}, {replaced:?}, seen {seen:?}, at {sent:?}, \
                 must wait {wait:?}"
            )
        });
    }

    /// I8: that it is the clean release which was meant was for the server to prove; that nobody in
    /// an earlier bucket has to be waited for, for the process to have read.
    fn check_unread(&mut self, process: usize, number: u64, replaced: Option<&Record>) {
        let release = replaced.filter(|record| record.lease().is_some_and(|lease| lease.clean));
        self.verdict.demand(Rule::I8, release.is_some(), || {
            format!("p{process} takes over {replaced:?} as a release")
        });
        let known = self.processes[process].shadow.write(number).and_then(|write| write.knows);
        let released = replaced.and_then(Term::of);
        self.verdict.demand(Rule::I8, known == released, || {
            format!("p{process} takes over a release of {released:?} and had read {known:?}")
        });
    }

    fn wait_for(&self, process: usize, lease: &Lease, longest: Duration) -> (Rule, Duration) {
        let node = &self.processes[process];
        let own = lease.session == Some(node.session);
        let for_other = lease.successor.as_ref().is_some_and(|to| *to != node.name);
        if lease.clean {
            let courtesy = own || for_other;
            let wait = if courtesy { node.timing.successor_wait() } else { Duration::ZERO };
            return (Rule::I8, wait);
        }
        let wait = if own { Duration::ZERO } else { lease.ttl.unwrap_or(longest) };
        (Rule::I7, wait)
    }

    fn found_missing(&self, process: usize, sent: Timestamp) -> bool {
        let shadow = &self.processes[process].shadow;
        let lately = |at: Timestamp| sent.since(at) < shadow.longest_ttl + shadow.longest_ttl;
        !self.plan.strict && shadow.missing_at.is_some_and(lately)
    }
}
