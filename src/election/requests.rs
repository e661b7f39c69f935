//! The requests to the store: the one that is awaited, and the writes that may still turn out to be
//! stored.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::lease::Lease;
use crate::store::{Incarnation, Ticket};

/// How many writes are remembered: more than a term can send before its deadline.
const REMEMBERED: usize = 32;

/// A write of this session.
#[derive(Clone, Debug)]
pub(super) struct OwnWrite {
    pub(super) lease: Lease,
    /// The bucket that it was sent to.
    pub(super) incarnation: Option<Incarnation>,
    /// What the clock read before it was sent.
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

/// All requests of a session. At most one is awaited. One counter numbers them all, so that no
/// number is used twice.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    last: u64,
    pending: Option<Pending>,
    /// The read that timed out and that the awaited read repeats. Its answer counts too: a read
    /// takes two round trips, and where these take longer than the timeout, no repetition is
    /// faster.
    late_read: Option<Pending>,
    writes: VecDeque<OwnWrite>,
    timeouts_in_a_row: u32,
}

impl Requests {
    /// The number of the next request.
    pub(super) fn next_number(&self) -> u64 {
        self.last + 1
    }

    pub(super) fn pending(&self) -> Option<Pending> {
        self.pending
    }

    /// Numbers a request that is sent now.
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

    /// The write of that number, if it is remembered.
    pub(super) fn write(&self, number: u64) -> Option<&OwnWrite> {
        self.writes.iter().find(|write| write.lease.write == number)
    }

    /// The remembered write that stored this record.
    pub(super) fn write_of(&self, lease: &Lease) -> Option<&OwnWrite> {
        self.write(lease.write).filter(|write| {
            write.lease.session == lease.session && write.lease.epoch == lease.epoch
        })
    }

    /// Whether a write is awaited.
    pub(super) fn is_writing(&self) -> bool {
        self.pending.is_some_and(|pending| pending.kind == Kind::Write)
    }

    /// Takes the awaited request if `ticket` is its own, or that of the read which it repeats.
    pub(super) fn close(&mut self, ticket: Ticket) -> Option<Pending> {
        let late = self.late_read.take_if(|late| late.ticket == ticket.0);
        let closed = late.or_else(|| self.pending.take_if(|pending| pending.ticket == ticket.0))?;
        self.abandon();
        Some(closed)
    }

    /// Takes the awaited request.
    pub(super) fn abandon(&mut self) -> Option<Pending> {
        self.late_read = None;
        self.pending.take()
    }

    /// Takes the awaited request if it has timed out.
    pub(super) fn overdue(&mut self, now: Timestamp, timeout: Duration) -> Option<Pending> {
        let overdue = self.pending.take_if(|pending| now >= pending.sent + timeout)?;
        self.timeouts_in_a_row += 1;
        self.late_read = Some(overdue).filter(|overdue| overdue.kind == Kind::Read);
        Some(overdue)
    }

    /// The server has answered.
    pub(super) fn answered(&mut self) {
        self.timeouts_in_a_row = 0;
    }

    /// Whether the connection is to be dropped, because two requests in a row have timed out. The
    /// count starts anew then.
    pub(super) fn gives_up_connection(&mut self) -> bool {
        let unresponsive = self.timeouts_in_a_row >= 2;
        if unresponsive {
            self.timeouts_in_a_row = 0;
            self.late_read = None;
        }
        unresponsive
    }
}
