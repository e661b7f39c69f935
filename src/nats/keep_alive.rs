//! When a connection makes the server send something.
//!
//! An echo is a message to the own inbox. It comes back, or the server refuses it, and either shows
//! that the server and the crate's reading thread are alive. Over TLS the crate may hold back what
//! it received until more arrives, so an echo also brings out a response.

use std::time::Duration;

use crate::clock::Timestamp;

/// An echo is sent after so long without anything received.
const IDLE: Duration = Duration::from_secs(5);
/// The connection is given up after so long without anything received, an echo included.
const SILENT: Duration = Duration::from_secs(15);
/// Over TLS, an echo is sent so often,
const SECURE: Duration = Duration::from_secs(1);
/// and so often while a response is expected.
const SECURE_EXPECTING: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct KeepAlive {
    secure: bool,
    received_at: Timestamp,
    sent_at: Timestamp,
    /// A response is expected until then.
    expecting_until: Timestamp,
}

impl KeepAlive {
    /// For a connection made at `now`, over TLS if `secure`.
    pub(super) fn new(secure: bool, now: Timestamp) -> Self {
        Self { secure, received_at: now, sent_at: now, expecting_until: Timestamp::ZERO }
    }

    pub(super) fn received(&mut self, now: Timestamp) {
        self.received_at = now;
    }

    pub(super) fn sent(&mut self, now: Timestamp) {
        self.sent_at = now;
    }

    pub(super) fn expect_response(&mut self, until: Timestamp) {
        self.expecting_until = self.expecting_until.max(until);
    }

    pub(super) fn next_at(&self, now: Timestamp) -> Timestamp {
        match (self.secure, now < self.expecting_until) {
            (true, true) => self.sent_at + SECURE_EXPECTING,
            (true, false) => self.sent_at + SECURE,
            (false, _) => self.sent_at.max(self.received_at) + IDLE,
        }
    }

    /// Whether not even an echo came back.
    pub(super) fn is_silent(&self, now: Timestamp) -> bool {
        now.since(self.received_at) >= SILENT && self.sent_at > self.received_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_plain_connection_sends_an_echo_when_idle() {
        let mut echo = KeepAlive::new(false, at(100));
        assert_eq!(echo.next_at(at(100)), at(105));
        echo.received(at(103));
        assert_eq!(echo.next_at(at(103)), at(108));
        echo.sent(at(108));
        assert_eq!(echo.next_at(at(108)), at(113));
    }

    #[test]
    fn over_tls_echoes_are_frequent_while_a_response_is_expected() {
        let mut echo = KeepAlive::new(true, at(100));
        assert_eq!(echo.next_at(at(100)), at(101));
        echo.expect_response(at(110));
        assert_eq!(echo.next_at(at(100)), at(100) + SECURE_EXPECTING);
        assert_eq!(echo.next_at(at(110)), at(101));
    }

    #[test]
    fn silence_counts_only_after_an_echo_was_sent() {
        let mut echo = KeepAlive::new(false, at(100));
        assert!(!echo.is_silent(at(200)), "a suspended process received nothing either");
        echo.sent(at(200));
        assert!(echo.is_silent(at(200)));
        echo.received(at(201));
        assert!(!echo.is_silent(at(201)));
    }
}
