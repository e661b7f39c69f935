//! The two server versions that every feature is tested against.

use std::env;
use std::path::PathBuf;

/// A version of nats-server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 2.9.10, of Debian 12.
    Oldest,
    /// 2.15.1.
    Newest,
}

impl Version {
    /// The server program of this version: what `LEASEHOLD_NATS_OLDEST` or `LEASEHOLD_NATS_NEWEST`
    /// names, else what `tests/run.sh` has fetched, else for the newest one on PATH.
    ///
    /// # Panics
    /// When it is not there; the message is the command that fetches it.
    pub fn binary(self) -> PathBuf {
        self.find().unwrap_or_else(|missing| panic!("{missing}"))
    }

    /// The same, or the command that fetches it.
    pub fn find(self) -> Result<PathBuf, String> {
        let (variable, number) = match self {
            Self::Oldest => ("LEASEHOLD_NATS_OLDEST", "2.9.10"),
            Self::Newest => ("LEASEHOLD_NATS_NEWEST", "2.15.1"),
        };
        let fetched = format!("{}/target/nats/{number}/nats-server", env!("CARGO_MANIFEST_DIR"));
        env::var_os(variable)
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(fetched)).filter(|path| path.exists()))
            .or_else(|| (self == Self::Newest).then(on_path).flatten())
            .ok_or_else(|| format!("no nats-server {number}: run tests/run.sh --servers"))
    }
}

fn on_path() -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join("nats-server")).find(|path| path.exists())
}

/// Makes a test `name::oldest` and a test `name::newest` of one body, which is given the version.
macro_rules! on_both_servers {
    ($name:ident, |$version:ident| $body:block) => {
        mod $name {
            use super::*;

            fn check($version: Version) {
                $body
            }

            #[test]
            fn oldest() {
                check(Version::Oldest);
            }

            #[test]
            fn newest() {
                check(Version::Newest);
            }
        }
    };
}
