//! The command line.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::faults::site::Servers;
use crate::support::version::Version;

pub(crate) const USAGE: &str = "\
Five node processes through random faults; ends with a verdict and a table.

Usage: cargo run --release --example soak [-- OPTIONS]

  --minutes N        how long (default 3)
  --seed S           which faults in which order (default: another each time, and told)
  --server VERSION   2.9.10 or 2.15.1 (the default): one server
  --cluster          three servers of 2.15.1, three replicas
  --help             this text

tests/run.sh --servers gets the servers, and the library that moves a wall clock.

Exit code: 0; 1 when two nodes led at once, epochs did not rise, events were lost, nobody led again
or a process grew; 2 for a wrong option.";

/// The options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) length: Duration,
    pub(crate) seed: u64,
    pub(crate) servers: Servers,
}

impl Arguments {
    /// What to type for the same again.
    pub(crate) fn command(&self) -> String {
        let servers = match self.servers {
            Servers::Three => "--cluster".to_owned(),
            one @ Servers::One(_) => format!("--server {}", one.label()),
        };
        format!(
            "cargo run --release --example soak -- --minutes {} --seed {} {servers}",
            self.length.as_secs() / 60,
            self.seed
        )
    }
}

/// Reads the options; `None` when help is wanted.
pub(crate) fn read(mut given: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let mut arguments = Arguments {
        length: Duration::from_secs(180),
        seed: RandomState::new().hash_one(()),
        servers: Servers::One(Version::Newest),
    };
    while let Some(option) = given.next() {
        let mut value = || given.next().ok_or_else(|| format!("{option} wants a value"));
        match option.as_str() {
            "--help" => return Ok(None),
            "--minutes" => arguments.length = minutes(&value()?)?,
            "--seed" => arguments.seed = number(&option, &value()?)?,
            "--server" => arguments.servers = server(&value()?)?,
            "--cluster" => arguments.servers = Servers::Three,
            _ => return Err(format!("unknown option {option}")),
        }
    }
    Ok(Some(arguments))
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes = number("--minutes", text)?;
    if !(1..=10_000).contains(&minutes) {
        return Err(format!("--minutes is {minutes}, 1 to 10000 is accepted"));
    }
    Ok(Duration::from_secs(60 * minutes))
}

fn number(option: &str, text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{option} is {text:?}, not a number"))
}

fn server(text: &str) -> Result<Servers, String> {
    [Version::Oldest, Version::Newest]
        .map(Servers::One)
        .into_iter()
        .find(|servers| servers.label() == text)
        .ok_or_else(|| format!("--server is {text:?}, 2.9.10 or 2.15.1 is accepted"))
}
