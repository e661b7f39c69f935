//! A round: one attempt to connect to each server, and what is said when all of them have failed.
//!
//! Servers are tried one after the other. An error for each attempt would change with every server,
//! and so be told each time. The error of a round names all servers in the order of the
//! configuration. While an outage goes on it stays the same, whichever server was tried first.

use std::collections::BTreeMap;

use crate::config::connection::ServerAddress;
use crate::error::StoreError;
use crate::text::truncated;

/// The longest reason of one server, in bytes.
const MAX_REASON: usize = 200;
/// When a list of reasons is as long as this, the servers that are left are only counted.
const MAX_LIST: usize = 1000;

/// The servers that failed in the present round, by their number; see the [module](self).
#[derive(Debug, Default)]
pub(super) struct Round(BTreeMap<usize, StoreError>);

impl Round {
    /// Takes the failure of a server. Returns the error of the round when that was the last one,
    /// and the next round begins.
    pub(super) fn failed(
        &mut self,
        server: usize,
        error: StoreError,
        servers: &[ServerAddress],
    ) -> Option<StoreError> {
        self.0.insert(server, error);
        let summary = self.summary(servers).filter(|_| self.0.len() >= servers.len());
        if summary.is_some() {
            self.0.clear();
        }
        summary
    }

    /// A server was connected to: the next round begins.
    pub(super) fn end(&mut self) {
        self.0.clear();
    }

    /// What is to be said of the servers that failed so far; `None` when there is none.
    ///
    /// An error that is not of one server comes first. If all servers need an operator, the error
    /// of the first one has those of the others in its reason. Else waiting may help.
    pub(super) fn summary(&self, servers: &[ServerAddress]) -> Option<StoreError> {
        let of_all = |error: &&StoreError| !error.may_pass() && !error.is_of_one_server();
        let first = self.0.values().find(of_all).or_else(|| self.0.values().next())?;
        let refused = self.0.values().all(|error| !error.may_pass());
        if servers.len() == 1 || refused || of_all(&first) {
            return Some(self.with_others(first));
        }
        let failed = self.0.iter().filter_map(|(index, error)| Some((servers.get(*index)?, error)));
        let each = failed.map(|(server, error)| format!("{server} ({})", reason(error)));
        Some(StoreError::Unreachable { servers: list(each, ", ").into(), reason: "".into() })
    }

    /// `first` with the other errors in its reason.
    fn with_others(&self, first: &StoreError) -> StoreError {
        let others = self.0.values().filter(|error| *error != first);
        let others = list(others.map(|error| truncated(&error.to_string(), MAX_REASON)), "; ");
        if others.is_empty() {
            return first.clone();
        }
        let with = |reason: &str| format!("{reason}; {others}").into();
        match first.clone() {
            StoreError::Authentication { server, reason } => {
                StoreError::Authentication { server, reason: with(&reason) }
            }
            StoreError::Tls { server, reason } => StoreError::Tls { server, reason: with(&reason) },
            StoreError::Credentials(reason) => StoreError::Credentials(with(&reason)),
            StoreError::System { purpose, reason } => {
                StoreError::System { purpose, reason: with(&reason) }
            }
            other => other,
        }
    }
}

/// Why a server failed, without its name.
fn reason(error: &StoreError) -> String {
    let text = match error {
        StoreError::Unreachable { reason, .. } => reason.to_string(),
        StoreError::Authentication { reason, .. } => format!("refused the credentials: {reason}"),
        StoreError::Tls { reason, .. } => format!("TLS failed: {reason}"),
        other => other.to_string(),
    };
    truncated(&text, MAX_REASON)
}

/// The items, as far as there is room, and how many more there are.
fn list(items: impl Iterator<Item = String>, separator: &str) -> String {
    let (mut text, mut more) = (String::new(), 0);
    for item in items {
        if text.len() + item.len() > MAX_LIST {
            more += 1;
        } else if text.is_empty() {
            text = item;
        } else {
            text = text + separator + &item;
        }
    }
    if more > 0 { format!("{text}{separator}and {more} more") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn servers(count: usize) -> Vec<ServerAddress> {
        let names = (0..count).map(|index| format!("nats://h{index}"));
        Config::new("c", "n", names).unwrap().connection().servers.clone()
    }

    fn unreachable(server: &str, reason: &str) -> StoreError {
        StoreError::Unreachable { servers: server.into(), reason: reason.into() }
    }

    fn refused(server: &str, reason: &str) -> StoreError {
        StoreError::Authentication { server: server.into(), reason: reason.into() }
    }

    /// The error of a round in which the servers fail in this order.
    fn round(failures: &[(usize, StoreError)]) -> StoreError {
        let (mut round, servers) = (Round::default(), servers(failures.len()));
        let (last, before) = failures.split_last().unwrap();
        for (server, error) in before {
            assert_eq!(round.failed(*server, error.clone(), &servers), None);
        }
        let summary = round.failed(last.0, last.1.clone(), &servers).expect("all have failed");
        assert_eq!(round.summary(&servers), None, "another round begins");
        summary
    }

    #[test]
    fn each_server_is_named_with_its_reason_in_the_order_of_the_configuration() {
        let failures = [
            (0, unreachable("nats://h0:4222", "refused")),
            (1, StoreError::TimedOut),
            (2, refused("nats://h2:4222", "Authorization Violation")),
        ];
        let text = "no connection to nats://h0:4222 (refused), \
                    nats://h1:4222 (no response in time), \
                    nats://h2:4222 (refused the credentials: Authorization Violation)";
        let summary = round(&failures);
        assert_eq!(summary.to_string(), text);
        assert!(summary.may_pass());
        for turned in 0..3 {
            let mut failures = failures.to_vec();
            failures.rotate_left(turned);
            assert_eq!(round(&failures), summary);
        }
    }

    #[test]
    fn one_server_has_its_own_error() {
        for error in [unreachable("nats://h0:4222", "why"), refused("h0", "why")] {
            assert_eq!(round(&[(0, error.clone())]), error);
        }
    }

    #[test]
    fn a_round_of_refusals_needs_an_operator_and_names_them_all() {
        let failures = [(1, refused("nats://h1", "no")), (0, refused("nats://h0", "never"))];
        let summary = round(&failures);
        assert!(matches!(summary, StoreError::Authentication { .. }), "{summary:?}");
        let text =
            "nats://h0 refused the credentials: never; nats://h1 refused the credentials: no";
        assert_eq!(summary.to_string(), text);
    }

    #[test]
    fn an_error_of_this_machine_comes_first_and_only_once() {
        let missing = || StoreError::Credentials("nats.credentials: /x: missing".into());
        assert_eq!(round(&[(0, missing()), (1, missing())]), missing());
        let summary = round(&[(0, unreachable("nats://h0", "refused")), (1, missing())]);
        assert!(!summary.may_pass());
        let text = "unusable credentials: nats.credentials: /x: missing; \
                    no connection to nats://h0: refused";
        assert_eq!(summary.to_string(), text);
    }

    #[test]
    fn a_connection_begins_a_new_round() {
        let (mut round, servers) = (Round::default(), servers(2));
        assert_eq!(round.failed(0, StoreError::TimedOut, &servers), None);
        let so_far = round.summary(&servers).unwrap().to_string();
        assert_eq!(so_far, "no connection to nats://h0:4222 (no response in time)");
        round.end();
        assert_eq!(round.failed(1, StoreError::TimedOut, &servers), None);
        assert!(round.failed(0, StoreError::TimedOut, &servers).is_some());
    }

    #[test]
    fn the_text_is_bounded() {
        let long = |index: usize| (index, unreachable("nats://h", &"x".repeat(300)));
        let text = round(&(0..64).map(long).collect::<Vec<_>>()).to_string();
        assert!(text.len() < 1_100 && text.ends_with(", and 60 more"), "{text}");
        let long = |index: usize| (index, refused(&format!("h{index}"), &"x".repeat(300)));
        let text = round(&(0..64).map(long).collect::<Vec<_>>()).to_string();
        assert!(text.len() < 1_500 && text.ends_with(" more"), "{text}");
    }
}
