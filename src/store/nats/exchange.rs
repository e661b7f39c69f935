//! Requests on their way: which reply belongs to which ticket, and what is asked next.

use std::collections::BTreeMap;

use crate::error::StoreError;
use crate::store::{Entry, Incarnation, Ticket};

/// Requests that are remembered; beyond, the oldest is forgotten and a late reply to it ignored.
pub(super) const MAX_OPEN: usize = 256;

/// What a reply is awaited to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// A read's first question when no incarnation is known yet: which is it?
    Learn {
        round: u8,
    },
    /// What stands under the key? Asked when the bucket was known to be `base`.
    Get {
        base: Incarnation,
        round: u8,
    },
    /// Is it still `base`?
    Info {
        base: Incarnation,
        entry: Option<Entry>,
        round: u8,
    },
    Write,
    Create,
    /// Nobody answered to the other question: is there any JetStream?
    Account {
        unanswered: StoreError,
    },
}

/// One request on its way.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) ticket: Ticket,
    pub(super) step: Step,
    pub(super) subject: String,
    /// It was reported as unknown, which a definite outcome may still follow.
    pub(super) told: bool,
}

/// All of them, by the last token of their reply subject.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    last: u64,
    open: BTreeMap<u64, Exchange>,
    /// Some were forgotten: an error that names only a subject may be about one of them.
    forgotten: bool,
}

impl Exchanges {
    /// Remembers a request, and returns its number.
    pub(super) fn insert(&mut self, exchange: Exchange) -> u64 {
        self.last += 1;
        self.open.insert(self.last, exchange);
        if self.open.len() > MAX_OPEN {
            self.open.pop_first();
            self.forgotten = true;
        }
        self.last
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Exchange> {
        self.open.get_mut(&number)
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Exchange> {
        self.open.remove(&number)
    }

    /// The requests that a complaint about `subject` may be meant for; and whether it certainly is
    /// meant for the only one of them.
    pub(super) fn about(&self, subject: &str) -> (Vec<u64>, bool) {
        let candidates: Vec<_> = self
            .open
            .iter()
            .filter(|(_, exchange)| exchange.subject == subject)
            .map(|(number, _)| *number)
            .collect();
        let certain = candidates.len() == 1 && !self.forgotten;
        (candidates, certain)
    }

    /// Forgets everything; returns what was not reported yet, in the order of submission.
    pub(super) fn clear(&mut self) -> Vec<Ticket> {
        self.forgotten = false;
        let open = std::mem::take(&mut self.open);
        let mut tickets: Vec<_> =
            open.into_values().filter(|exchange| !exchange.told).map(|e| e.ticket).collect();
        tickets.sort_unstable();
        tickets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(ticket: u64, told: bool) -> Exchange {
        Exchange { ticket: Ticket(ticket), step: Step::Write, subject: "s".into(), told }
    }

    #[test]
    fn the_oldest_is_forgotten_and_then_no_complaint_is_certain() {
        let mut all = Exchanges::default();
        let first = all.insert(exchange(1, false));
        assert_eq!(all.about("s"), (vec![first], true));
        for ticket in 0..MAX_OPEN as u64 {
            all.insert(exchange(ticket + 2, true));
        }
        assert!(all.get_mut(first).is_none());
        assert!(!all.about("s").1);
    }

    #[test]
    fn only_what_was_not_reported_yet_is_given_back() {
        let mut all = Exchanges::default();
        all.insert(exchange(9, false));
        all.insert(exchange(7, true));
        all.insert(exchange(3, false));
        assert_eq!(all.clear(), [Ticket(3), Ticket(9)]);
        assert_eq!(all.clear(), []);
    }
}
