//! Faults of a node's clocks.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::fault::{Hit, Remedy};
use super::site::Site;
use crate::nodes::NodeProcess;
use crate::support::wait::eventually_some;

const PATIENCE: Duration = Duration::from_secs(60);

/// By how much a wall clock is moved.
const HOURS: u64 = 7;

/// A wall clock that can be set, by a library between the process and the system's own. It moves no
/// other clock.
#[derive(Debug)]
pub struct WallClock {
    folder: TempDir,
}

impl WallClock {
    /// One that is right.
    pub fn new() -> Self {
        let clock = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        clock.set("+0");
        clock
    }

    /// Sets it by an offset such as `+7h`.
    pub fn set(&self, offset: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, offset).and_then(|()| fs::rename(&new, self.file())).expect("written");
    }

    /// What the process is to have in its environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", library().display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }
}

/// libfaketime, as `tests/run.sh` has fetched it or Debian installs it.
///
/// # Panics
/// When it is not there; the message is the command that fetches it.
fn library() -> PathBuf {
    const NAME: &str = "faketime/libfaketimeMT.so.1";
    let fetched = concat!(env!("CARGO_MANIFEST_DIR"), "/target/faketime/usr/lib");
    let folders = [Path::new(fetched), Path::new("/usr/lib")];
    let found = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    found
        .filter_map(Result::ok)
        .map(|architecture| architecture.path().join(NAME))
        .find(|path| path.exists())
        .expect("libfaketime is missing: tests/run.sh --servers, or apt-get install libfaketime")
}

pub fn move_wall_clock(site: &mut Site, hit: Hit) -> Remedy {
    let seat = site.seat(hit);
    let before = wall(site.node(seat));
    site.wall_clock(seat).set(&format!("+{HOURS}h"));
    let moved = wall(site.node(seat)).saturating_sub(before);
    assert!(moved >= HOURS * 3600, "the wall clock was moved by {moved} s");
    Box::new(move |site| {
        site.wall_clock(seat).set("+0");
        let back = wall(site.node(seat));
        assert!(back < before + 3600, "the wall clock is back");
    })
}

fn wall(node: &mut NodeProcess) -> u64 {
    node.order("wall")["seconds"].as_u64().expect("seconds")
}

/// More than any wait.
const SUSPEND: Duration = Duration::from_secs(60);

/// To a leader it is as if it had been suspended: it leads no longer at its first look. Nothing is
/// done to one that has just ceased to lead: to a follower it would be a clock that runs too fast.
pub fn suspend_leader(site: &mut Site) -> Remedy {
    let suspended = eventually_some(PATIENCE, "a leader to be suspended", || {
        let leader = site.leader();
        let answer = site.node(leader).order(&format!("jump_leading {}", SUSPEND.as_millis()));
        (answer["led"] == true).then_some(answer)
    });
    assert_eq!(suspended["leads"], false, "after a suspend of {SUSPEND:?}");
    Box::new(|_| {})
}
