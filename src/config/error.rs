//! What can be wrong with a configuration.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::options;
use crate::timing::TimingError;

/// A configuration that is not accepted. Nothing was started and nothing was written.
///
/// Fields are named by their path in the JSON file (`election.leaseTtlMs`), also when the value
/// came from a [`ConfigBuilder`](super::ConfigBuilder); each setter names its path. No message
/// holds a secret.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A field is missing or empty.
    #[error("{path} is required{when}")]
    Missing {
        /// The field.
        path: String,
        /// Under which condition; empty, or begins with a blank.
        when: String,
    },
    /// A value breaks a rule that is more than a range.
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
        /// What is there instead; of a secret only its type.
        found: String,
    },
    /// Two fields exclude each other.
    #[error("{path} and {other} exclude each other")]
    Conflict {
        /// One field.
        path: String,
        /// The other.
        other: &'static str,
    },
    /// Durations that do not fit together. The message carries the nearest accepted value.
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
        /// The nearest known key or what took its place; empty, or begins with a comma.
        hint: String,
    },
    /// The text is not JSON, or a key stands twice in one object.
    #[error("not valid JSON: {reason}")]
    Syntax {
        /// The fault, with line and column.
        reason: String,
    },
    /// The text is longer than any configuration.
    #[error("longer than {limit} bytes, which no configuration is")]
    TooLong {
        /// The longest text that is read.
        limit: usize,
    },
    /// A file could not be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The operating system's words.
        source: io::Error,
    },
    /// A file could not be written. There is what was there before, or all that was to be written
    /// when only flushing its folder to disk failed; never a part.
    #[error("cannot write {}: {source}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// The operating system's words.
        source: io::Error,
    },
    /// A file was read, but what it says is not accepted.
    #[error("{}: {source}", file.display())]
    InFile {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: Box<ConfigError>,
    },
}

impl ConfigError {
    /// The path of the field that is at fault, when it is a single field's fault.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Missing { path, .. }
            | Self::Invalid { path, .. }
            | Self::Expected { path, .. }
            | Self::Conflict { path, .. }
            | Self::Timing { path, .. }
            | Self::UnknownKey { path, .. } => Some(path),
            Self::InFile { source, .. } => source.path(),
            Self::Syntax { .. } | Self::TooLong { .. } | Self::Read { .. } | Self::Write { .. } => {
                None
            }
        }
    }

    pub(super) fn missing(path: &str) -> Self {
        Self::Missing { path: path.to_owned(), when: String::new() }
    }

    pub(super) fn missing_when(path: &str, other: &str) -> Self {
        Self::Missing { path: path.to_owned(), when: format!(" when {other} is set") }
    }

    pub(super) fn invalid(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { path: path.into(), problem: problem.into() }
    }

    pub(super) fn expected(
        path: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Expected { path: path.into(), expected: expected.into(), found: found.into() }
    }

    pub(super) fn conflict(path: &str, other: &'static str) -> Self {
        Self::Conflict { path: path.to_owned(), other }
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
