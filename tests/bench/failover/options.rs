//! What the command line asks for.

use std::path::PathBuf;
use std::process::exit;

use crate::support::version::Version;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Everything,
    SmallestTtl,
    /// Only hand-overs.
    Handover,
    /// Only what happens within a process.
    Threads,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) mode: Mode,
    pub(crate) quick: bool,
    pub(crate) json: bool,
    pub(crate) guide: bool,
    pub(crate) servers: Vec<Version>,
    pub(crate) seed: u64,
    pub(crate) out: PathBuf,
}

const USAGE: &str = "options: [--quick | --full] [--json] [--server 2.9.10|2.15.1] [--seed N] \
                     [--out FOLDER] [--guide] \
                     [--smallest-ttl | --handover | --threads]";

impl Options {
    /// Reads the arguments, or ends the process with what is wrong with them.
    pub(crate) fn parse() -> Self {
        let mut options = Self {
            mode: Mode::Everything,
            quick: false,
            json: false,
            guide: false,
            servers: vec![Version::Oldest, Version::Newest],
            seed: 1,
            out: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench")),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            if let Err(what) = options.take(&argument, &mut arguments) {
                eprintln!("{what}\n{USAGE}");
                exit(2);
            }
        }
        options
    }

    fn take(
        &mut self,
        argument: &str,
        more: &mut impl Iterator<Item = String>,
    ) -> Result<(), String> {
        let mut value = || more.next().ok_or(format!("{argument} needs a value"));
        match argument {
            // What cargo adds.
            "--bench" => {}
            "--quick" => self.quick = true,
            "--full" => self.quick = false,
            "--json" => self.json = true,
            "--guide" => self.guide = true,
            "--smallest-ttl" => self.mode = Mode::SmallestTtl,
            "--handover" => self.mode = Mode::Handover,
            "--threads" => self.mode = Mode::Threads,
            "--out" => self.out = value()?.into(),
            "--seed" => {
                self.seed = value()?.parse().map_err(|_| "--seed wants a number".to_owned())?;
            }
            "--server" => {
                self.servers = vec![match value()?.as_str() {
                    "2.9.10" => Version::Oldest,
                    "2.15.1" => Version::Newest,
                    other => return Err(format!("no server {other}: 2.9.10 or 2.15.1")),
                }];
            }
            other => return Err(format!("no such option: {other}")),
        }
        Ok(())
    }
}
