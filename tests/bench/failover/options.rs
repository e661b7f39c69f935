//! What the command line asks for.

use std::path::PathBuf;
use std::process::exit;

use crate::support::version::Version;

/// A part of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    StepDown,
    Stop,
    Start,
    Crash,
    Frozen,
    Replicated,
    Cost,
    /// Within a process.
    Process,
}

const PARTS: [(&str, Part); 8] = [
    ("step-down", Part::StepDown),
    ("stop", Part::Stop),
    ("start", Part::Start),
    ("crash", Part::Crash),
    ("frozen", Part::Frozen),
    ("replicated", Part::Replicated),
    ("cost", Part::Cost),
    ("process", Part::Process),
];

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Parts,
    SmallestTtl,
    StreamLeader,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) what: What,
    /// Empty for all.
    only: Vec<Part>,
    /// Endless loops beside, one run each.
    pub(crate) busy: Vec<usize>,
    /// The most rounds of each measurement.
    pub(crate) rounds: Option<usize>,
    pub(crate) json: bool,
    pub(crate) guide: bool,
    pub(crate) servers: Vec<Version>,
    pub(crate) seed: u64,
    pub(crate) out: PathBuf,
}

const USAGE: &str = include_str!("usage.txt");

impl Options {
    /// Reads the arguments, or ends the process with what is wrong with them.
    pub(crate) fn parse() -> Self {
        let mut options = Self {
            what: What::Parts,
            only: Vec::new(),
            busy: vec![0],
            rounds: None,
            json: false,
            guide: false,
            servers: vec![Version::Oldest, Version::Newest],
            seed: 1,
            out: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench")),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            if let Err(what) = options.take(&argument, &mut arguments) {
                eprint!("{what}\n{USAGE}");
                exit(2);
            }
        }
        options
    }

    pub(crate) fn wants(&self, part: Part) -> bool {
        self.what == What::Parts && (self.only.is_empty() || self.only.contains(&part))
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
            "--help" => {
                print!("{USAGE}");
                exit(0);
            }
            "--json" => self.json = true,
            "--guide" => self.guide = true,
            "--smallest-ttl" => self.what = What::SmallestTtl,
            "--stream-leader" => self.what = What::StreamLeader,
            "--only" => self.only = list(&value()?, part)?,
            "--busy" => self.busy = list(&value()?, number)?,
            "--rounds" => self.rounds = Some(number::<usize>(&value()?)?.max(1)),
            "--out" => self.out = value()?.into(),
            "--seed" => self.seed = number(&value()?)?,
            "--server" => self.servers = list(&value()?, server)?,
            other => return Err(format!("no such option: {other}")),
        }
        Ok(())
    }
}

fn list<T>(text: &str, one: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(one).collect()
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

fn part(name: &str) -> Result<Part, String> {
    let part = PARTS.iter().find(|(known, _)| *known == name);
    part.map(|(_, part)| *part).ok_or(format!("no part {name}"))
}

fn server(name: &str) -> Result<Version, String> {
    match name {
        "2.9.10" => Ok(Version::Oldest),
        "2.15.1" => Ok(Version::Newest),
        other => Err(format!("no server {other}: 2.9.10 or 2.15.1")),
    }
}
