//! Whether new connections subscribe to notices.
//!
//! A client that may publish on the notices' subject can end the crate's connections: the crate
//! gives up on a header block that it cannot read and on a line longer than its buffer, and servers
//! pass both on. So when several connections in a row end soon after they subscribed, the next ones
//! do not subscribe for a while. A lease needs no notices: they only make a hand-over quicker.

use std::time::Duration;

use crate::clock::Timestamp;

/// A connection that was subscribed for longer was not ended by a notice.
const SHORT: Duration = Duration::from_secs(5);
/// So many short connections in a row open the breaker.
const SHORT_CONNECTIONS: u32 = 3;
/// How long it stays open.
const OPEN_FOR: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct NoticeBreaker {
    /// Short connections in a row.
    short: u32,
    open_until: Timestamp,
}

impl NoticeBreaker {
    /// Whether to subscribe now.
    pub(super) fn allows(&self, now: Timestamp) -> bool {
        now >= self.open_until
    }

    /// A connection that was subscribed since `since` has ended. True when that opens the breaker.
    pub(super) fn ended(&mut self, since: Timestamp, now: Timestamp) -> bool {
        self.short = if now.since(since) < SHORT { self.short + 1 } else { 0 };
        let opens = self.short >= SHORT_CONNECTIONS;
        if opens {
            // One more is enough when it is closed again.
            self.short = SHORT_CONNECTIONS - 1;
            self.open_until = now + OPEN_FOR;
        }
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    /// A connection from `begin` to `end`, subscribed if the breaker allows it.
    fn connection(breaker: &mut NoticeBreaker, begin: u64, end: u64) -> bool {
        breaker.allows(at(begin)) && breaker.ended(at(begin), at(end))
    }

    #[test]
    fn the_third_short_connection_in_a_row_opens_it_for_a_while() {
        let mut breaker = NoticeBreaker::default();
        assert!(!connection(&mut breaker, 100, 104));
        assert!(!connection(&mut breaker, 104, 108));
        assert!(connection(&mut breaker, 108, 112));
        assert!(!breaker.allows(at(171)));
        assert!(breaker.allows(at(172)));
    }

    #[test]
    fn a_longer_connection_starts_the_count_anew() {
        let mut breaker = NoticeBreaker::default();
        for begin in [100, 104, 113, 117, 126] {
            let lasts = if begin == 104 || begin == 117 { 9 } else { 4 };
            assert!(!connection(&mut breaker, begin, begin + lasts), "{begin}");
        }
        assert!(breaker.allows(at(130)));
    }

    #[test]
    fn connections_without_the_subscription_are_not_counted() {
        let mut breaker = NoticeBreaker::default();
        for begin in [100, 101, 102] {
            connection(&mut breaker, begin, begin + 1);
        }
        for begin in 103..120 {
            assert!(!connection(&mut breaker, begin, begin + 1));
        }
        assert!(breaker.allows(at(163)));
        assert!(connection(&mut breaker, 170, 171), "one is enough after that");
        assert!(!breaker.allows(at(230)));
        assert!(!connection(&mut breaker, 231, 240));
        assert!(!connection(&mut breaker, 240, 241), "and after a longer one it is not");
    }
}
