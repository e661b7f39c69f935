//! An error with its remedy and its exit code.

use std::fmt;
use std::io;
use std::path::Path;

use leasehold::ManagerError;
use leasehold::config::ConfigError;

use super::args::parser;

#[derive(Debug)]
pub(super) enum Failure {
    Manager(ManagerError),
    /// Wrong arguments or configuration.
    Usage(String),
    /// An error of this host.
    System(String),
}

impl Failure {
    /// `leasehold --help` lists the codes.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Manager(error) => error.exit_code(),
            Self::Usage(_) => 2,
            Self::System(_) => 1,
        }
    }

    /// The error of a configuration file.
    pub(super) fn config(file: &Path, error: ConfigError) -> Self {
        match error {
            ConfigError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Self::Usage(format!(
                    "{} does not exist; `leasehold init` writes it, --config names another file",
                    file.display()
                ))
            }
            error => Self::Manager(error.into()),
        }
    }
}

fn remedy(error: &ManagerError) -> Option<&'static str> {
    match error {
        ManagerError::NotLeader { leader: Some(_), .. } => {
            Some("use the leader's configuration, or `leasehold transfer NODE`")
        }
        ManagerError::NotLeader { .. } | ManagerError::NoLeader { .. } => {
            Some("`leasehold status --all` shows all nodes")
        }
        ManagerError::TimedOut { .. } => Some(
            "the request may still take effect: see `leasehold status`; --timeout waits longer",
        ),
        ManagerError::Store(error) if error.may_pass() => {
            Some("check nats.servers in the configuration, and whether the server runs")
        }
        _ => None,
    }
}

impl fmt::Display for Failure {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manager(ManagerError::OtherLeader { leader }) => {
                write!(f, "{leader} leads; `leasehold promote --force` asks it to hand over")
            }
            Self::Manager(error) => {
                write!(f, "{error}")?;
                remedy(error).map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
            }
            Self::Usage(text) | Self::System(text) => f.write_str(text),
        }
    }
}

impl From<clap::Error> for Failure {
    /// The mistake on one line, without the usage.
    fn from(error: clap::Error) -> Self {
        let text = error.to_string();
        let mistake = text.split("Usage: ").next().unwrap_or_default();
        let mistake = mistake.split("For more information").next().unwrap_or_default();
        let mut message = String::new();
        for line in mistake.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let part = line.trim_start_matches("error: ").trim_start_matches("tip: ");
            let between = match message.chars().last() {
                None => "",
                Some(':') => " ",
                Some(_) if part.starts_with('[') => " ",
                Some(_) => "; ",
            };
            message.extend([between, part]);
        }
        let parser = parser();
        let command = std::env::args().skip(1).find_map(|word| parser.find_subcommand(word));
        let command = command.map(|command| format!(" {}", command.get_name())).unwrap_or_default();
        Self::Usage(format!("{message}; see `leasehold{command} --help`"))
    }
}

impl From<ManagerError> for Failure {
    fn from(error: ManagerError) -> Self {
        Self::Manager(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::System(error.to_string())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Manager(error.into())
    }
}
