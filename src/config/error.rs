//! Errors of configurations.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::options;
use crate::timing::TimingError;

/// A configuration is not accepted. Nothing was started and nothing was written.
///
/// Fields are named by their path in the JSON file (`election.leaseTtlMs`), also when the value
/// came from a [`ConfigBuilder`](super::ConfigBuilder), whose methods name the paths. No message
/// holds a secret.
///
/// ```
/// use leasehold::config::{Config, ConfigError};
///
/// let text = r#"{
///     "clusterId": "orders", "nodeId": "node-1", "nats": { "servers": ["nats://a.example"] },
///     "election": { "leaseTtlMs": "10 s" }
/// }"#;
/// let error = Config::from_json(text).unwrap_err();
/// eprintln!("the configuration is not accepted: {error}");
/// assert!(matches!(error, ConfigError::Expected { .. }));
/// assert_eq!(error.path(), Some("election.leaseTtlMs")); // the field to correct
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A field is missing, excluded by another one, or its value breaks a rule.
    #[error("{path} {problem}")]
    Invalid {
        /// The field.
        path: String,
        /// The rule, and where there is one the nearest accepted value.
        problem: String,
    },
    /// A value is of the wrong type or out of its range.
    #[error("{path}: expected {expected}, found {found}")]
    Expected {
        /// The field.
        path: String,
        /// The type, unit and range.
        expected: String,
        /// The value that was found; of a secret only its type.
        found: String,
    },
    /// Durations that do not fit together. The message carries accepted values.
    #[error("{path}: {source}")]
    Timing {
        /// The field to change.
        path: String,
        /// Which durations, and why.
        source: TimingError,
    },
    /// A key that this library does not know.
    #[error("{path} is not a known key{hint}")]
    UnknownKey {
        /// The key.
        path: String,
        /// The nearest known key, or the key that replaces it; begins with a comma.
        hint: String,
    },
    /// The text is not JSON, or a key stands twice in one object.
    #[error("not valid JSON: {reason}")]
    Syntax {
        /// The fault, with line and column.
        reason: String,
    },
    /// The text is too long for a configuration.
    #[error("longer than {limit} bytes, which is the limit for a configuration")]
    TooLong {
        /// The longest text that is read.
        limit: usize,
    },
    /// A file could not be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A file could not be written. The old file is still there. If only flushing its folder to
    /// disk failed, the new file is there, whole.
    #[error("cannot write {}: {source}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A file was read, but its configuration is not accepted.
    #[error("{}: {source}", file.display())]
    InFile {
        /// The file.
        file: PathBuf,
        /// The error of the configuration.
        source: Box<ConfigError>,
    },
}

impl ConfigError {
    /// The path of the field at fault, where there is one.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Invalid { path, .. }
            | Self::Expected { path, .. }
            | Self::Timing { path, .. }
            | Self::UnknownKey { path, .. } => Some(path),
            Self::InFile { source, .. } => source.path(),
            _ => None,
        }
    }

    /// The same error, of the entry `index` of a section that is a list.
    pub(super) fn in_list(mut self, section: &str, index: usize) -> Self {
        if let Self::Invalid { path, .. }
        | Self::Expected { path, .. }
        | Self::UnknownKey { path, .. } = &mut self
        {
            if let Some(rest) = path.strip_prefix(section) {
                *path = format!("{section}[{index}]{rest}");
            }
        }
        self
    }

    pub(super) fn missing(path: &str) -> Self {
        Self::invalid(path, "is required")
    }

    pub(super) fn invalid(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { path: path.into(), problem: problem.into() }
    }

    pub(super) fn expected(path: impl Into<String>, what: &str, found: impl Into<String>) -> Self {
        Self::Expected { path: path.into(), expected: what.to_owned(), found: found.into() }
    }
}

impl From<TimingError> for ConfigError {
    fn from(source: TimingError) -> Self {
        let row = match source {
            TimingError::Drift { .. } => &options::CLOCK_DRIFT,
            TimingError::Ttl { .. } | TimingError::TtlTooShortForVirtualIp { .. } => {
                &options::LEASE_TTL
            }
            TimingError::RequestTimeoutTooShort { .. }
            | TimingError::RequestTimeoutTooLong { .. } => &options::REQUEST_TIMEOUT,
            TimingError::RenewIntervalTooShort { .. }
            | TimingError::RenewIntervalTooLong { .. } => &options::RENEW_INTERVAL,
        };
        Self::Timing { path: row.path.to_owned(), source }
    }
}

/// `text` in quotes, escaped and cut, so that a message stays on one line of a sane length.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 64;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
