//! What was asked of the store: the one request that is awaited, and the writes that may still
//! turn out to have been stored.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::lease::Lease;
use crate::store::{Incarnation, Ticket};

/// How many writes are remembered. More than fit into any term: what is older counts for nothing.
const REMEMBERED: usize = 32;

/// What a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Challenge,
    Renewal,
    Release,
}

/// A write of this session, named by its number and epoch.
#[derive(Clone, Debug)]
pub(super) struct OwnWrite {
    pub(super) lease: Lease,
    pub(super) purpose: Purpose,
    /// The bucket it was meant for.
    pub(super) incarnation: Option<Incarnation>,
    /// Read from the clock before it was sent.
    pub(super) sent: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Create,
    Write,
}

/// The request whose answer is awaited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) ticket: u64,
    pub(super) kind: Kind,
    pub(super) sent: Timestamp,
}

/// At most one request is awaited; one counter numbers them all, so no number is ever reused.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    last: u64,
    pending: Option<Pending>,
    /// The read that the awaited one repeats: a read takes two round trips, and where the two take
    /// longer than one timeout its repetition would come no sooner, nor the one after that.
    late_read: Option<Pending>,
    writes: VecDeque<OwnWrite>,
    timeouts_in_a_row: u32,
}

impl Requests {
    /// The number that the next request will bear.
    pub(super) fn next_number(&self) -> u64 {
        self.last + 1
    }

    pub(super) fn pending(&self) -> Option<Pending> {
        self.pending
    }

    pub(super) fn open(&mut self, kind: Kind, now: Timestamp) -> Ticket {
        debug_assert!(self.pending.is_none(), "one request is awaited at a time");
        self.last += 1;
        if kind != Kind::Read {
            self.late_read = None;
        }
        self.pending = Some(Pending { ticket: self.last, kind, sent: now });
        Ticket(self.last)
    }

    pub(super) fn remember(&mut self, write: OwnWrite) {
        if self.writes.len() == REMEMBERED {
            self.writes.pop_front();
        }
        self.writes.push_back(write);
    }

    /// The remembered write of that number, for as long as it is remembered.
    pub(super) fn write(&self, number: u64) -> Option<&OwnWrite> {
        self.writes.iter().find(|write| write.lease.write == number)
    }

    /// The remembered write that a record is, if it is one.
    pub(super) fn write_of(&self, lease: &Lease) -> Option<&OwnWrite> {
        self.write(lease.write).filter(|write| {
            write.lease.session == lease.session && write.lease.epoch == lease.epoch
        })
    }

    /// Whether a write is awaited.
    pub(super) fn is_writing(&self) -> bool {
        self.pending.is_some_and(|pending| pending.kind == Kind::Write)
    }

    /// Takes the awaited request if `ticket` is its, or that of the read which it repeats.
    pub(super) fn close(&mut self, ticket: Ticket) -> Option<Pending> {
        let late = self.late_read.take_if(|late| late.ticket == ticket.0);
        let closed = late.or_else(|| self.pending.take_if(|pending| pending.ticket == ticket.0))?;
        self.abandon();
        Some(closed)
    }

    /// Takes the awaited request, whichever it is.
    pub(super) fn abandon(&mut self) -> Option<Pending> {
        self.late_read = None;
        self.pending.take()
    }

    /// Takes the awaited request if it was sent `timeout` ago or earlier.
    pub(super) fn overdue(&mut self, now: Timestamp, timeout: Duration) -> Option<Pending> {
        let overdue = self.pending.take_if(|pending| now >= pending.sent + timeout)?;
        self.timeouts_in_a_row += 1;
        self.late_read = Some(overdue).filter(|overdue| overdue.kind == Kind::Read);
        Some(overdue)
    }

    /// The server answers.
    pub(super) fn answered(&mut self) {
        self.timeouts_in_a_row = 0;
    }

    /// Whether the connection should be given up: two requests in a row went unanswered.
    pub(super) fn is_unresponsive(&mut self) -> bool {
        let deaf = self.timeouts_in_a_row >= 2;
        if deaf {
            self.timeouts_in_a_row = 0;
            self.late_read = None;
        }
        deaf
    }
}
