//! Whether to listen to notices.
//!
//! Whoever may publish where notices are expected can end the client's connection: it gives up on a
//! header block that it cannot read, and on a line longer than its buffer, and servers pass both
//! on. So when connections end again and again soon after they began to listen, the next ones do
//! not listen for a while. A lease needs no notices: they only make a hand-over quicker.

use std::time::Duration;

use crate::clock::Timestamp;

/// A connection that listened for longer has not been ended by what it heard.
const SHORT: Duration = Duration::from_secs(5);
/// Short ones in a row that make the next ones deaf.
const PATIENCE: u32 = 3;
/// For how long.
const DEAFNESS: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Hearing {
    listening_since: Option<Timestamp>,
    /// In a row.
    short: u32,
    deaf_until: Timestamp,
}

impl Hearing {
    /// Whether to listen now.
    pub(super) fn listens(&self, now: Timestamp) -> bool {
        now >= self.deaf_until
    }

    /// A connection begins, or a connection that stands begins to listen.
    pub(super) fn begin(&mut self, now: Timestamp, listening: bool) {
        self.listening_since = listening.then_some(now);
    }

    /// A connection has ended. True when the next ones will be deaf, and were not yet.
    pub(super) fn end(&mut self, now: Timestamp) -> bool {
        let Some(since) = self.listening_since.take() else { return false };
        self.short = if now.since(since) < SHORT { self.short + 1 } else { 0 };
        let deaf = self.short >= PATIENCE;
        if deaf {
            // One more is enough when it listens again.
            self.short = PATIENCE - 1;
            self.deaf_until = now + DEAFNESS;
        }
        deaf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    /// A connection from `begin` to `end`, which listens when it should.
    fn connection(hearing: &mut Hearing, begin: u64, end: u64) -> bool {
        let listens = hearing.listens(at(begin));
        hearing.begin(at(begin), listens);
        hearing.end(at(end))
    }

    #[test]
    fn the_third_short_connection_in_a_row_makes_deaf_for_a_while() {
        let mut hearing = Hearing::default();
        assert!(!connection(&mut hearing, 100, 104));
        assert!(!connection(&mut hearing, 104, 108));
        assert!(connection(&mut hearing, 108, 112));
        assert!(!hearing.listens(at(171)));
        assert!(hearing.listens(at(172)));
    }

    #[test]
    fn a_longer_connection_starts_the_count_anew() {
        let mut hearing = Hearing::default();
        for begin in [100, 104, 113, 117, 126] {
            let lasts = if begin == 104 || begin == 117 { 9 } else { 4 };
            assert!(!connection(&mut hearing, begin, begin + lasts), "{begin}");
        }
        assert!(hearing.listens(at(130)));
    }

    #[test]
    fn connections_that_do_not_listen_are_not_counted() {
        let mut hearing = Hearing::default();
        for begin in [100, 101, 102] {
            connection(&mut hearing, begin, begin + 1);
        }
        for begin in 103..120 {
            assert!(!connection(&mut hearing, begin, begin + 1));
        }
        assert!(hearing.listens(at(163)));
        assert!(connection(&mut hearing, 170, 171), "one is enough after that");
        assert!(!hearing.listens(at(230)));
        assert!(!connection(&mut hearing, 231, 240));
        assert!(!connection(&mut hearing, 240, 241), "and after a longer one it is not");
    }
}
