//! Open requests: which response belongs to which ticket, and what is asked next.

use std::collections::BTreeMap;

use crate::error::StoreError;
use crate::store::{Entry, Expect, Incarnation, Ticket};

/// Requests that are remembered. With more, the oldest is forgotten and a late response to it
/// ignored.
const MAX_OPEN: usize = 256;

/// The question that a response is awaited to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Which incarnation is the bucket? A read's first question when none is known yet.
    Learn {
        round: u8,
    },
    /// Which message is under the key? Asked when the bucket was known to be `base`.
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
    /// Was it stored under that condition?
    Write(Expect),
    Create,
    /// Nothing responded to the other question: is there any JetStream?
    Account {
        unanswered: StoreError,
    },
}

/// One open request.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) ticket: Ticket,
    pub(super) step: Step,
    pub(super) subject: String,
    /// It was reported as unknown, which a definite outcome may still follow.
    pub(super) doubted: bool,
}

/// All open requests, by the number that their responses carry.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    open: BTreeMap<u64, Exchange>,
    /// Some were forgotten: an error that names only a subject may be about one of them.
    forgotten: bool,
}

impl Exchanges {
    /// Remembers a request. Its number is higher than all before.
    pub(super) fn insert(&mut self, number: u64, exchange: Exchange) {
        self.open.insert(number, exchange);
        if self.open.len() > MAX_OPEN {
            self.open.pop_first();
            self.forgotten = true;
        }
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Exchange> {
        self.open.get_mut(&number)
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Exchange> {
        self.open.remove(&number)
    }

    /// The requests that a denial of `subject` may be about, and whether it certainly is about the
    /// only one of them.
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
            open.into_values().filter(|exchange| !exchange.doubted).map(|e| e.ticket).collect();
        tickets.sort_unstable();
        tickets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(ticket: u64, doubted: bool) -> Exchange {
        let step = Step::Write(Expect::revision(1));
        Exchange { ticket: Ticket(ticket), step, subject: "s".into(), doubted }
    }

    #[test]
    fn the_oldest_is_forgotten_and_then_no_denial_is_certain() {
        let mut all = Exchanges::default();
        all.insert(1, exchange(1, false));
        assert_eq!(all.about("s"), (vec![1], true));
        for number in 2..MAX_OPEN as u64 + 2 {
            all.insert(number, exchange(number, true));
        }
        assert!(all.get_mut(1).is_none());
        assert!(!all.about("s").1);
    }

    #[test]
    fn clearing_returns_the_tickets_that_were_not_reported_yet() {
        let mut all = Exchanges::default();
        all.insert(1, exchange(9, false));
        all.insert(2, exchange(7, true));
        all.insert(3, exchange(3, false));
        assert_eq!(all.clear(), [Ticket(3), Ticket(9)]);
        assert_eq!(all.clear(), []);
    }
}
