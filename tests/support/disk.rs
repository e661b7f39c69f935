//! A small disk for one server: a file system in memory that a test can fill.
//!
//! It is mounted in a mount namespace of its own, which an ordinary user may make together with a
//! user namespace. A process that does nothing keeps both, so the disk outlives the server's
//! restarts; what is on it is reached by way of that process's root.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::process::{Process, bound_command};

/// Mounting takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A mounted file system, gone when dropped.
#[derive(Debug)]
pub struct Disk {
    keeper: Process,
    folder: TempDir,
}

impl Disk {
    /// Makes one of `bytes`, rounded up to pages.
    ///
    /// # Panics
    /// When the kernel does not let an ordinary user make namespaces.
    pub fn new(bytes: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mount = format!(
            "mount -t tmpfs -o size={bytes},mode=777 disk {} && echo '{{}}' && exec cat",
            folder.path().display()
        );
        let mut command = bound_command("unshare");
        command.args(["--user", "--map-root-user", "--mount", "--", "sh", "-c", &mount]);
        let keeper = Process::spawn(command);
        keeper.json_where(PATIENCE, "a disk mounted in a user namespace of its own", |_| true);
        Self { keeper, folder }
    }

    /// Where it is mounted, in the eyes of a process started by [`command`](Self::command).
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command for `program` that sees the disk, and dies with its parent.
    pub fn command(&self, program: impl Into<PathBuf>) -> Command {
        let mut command = bound_command("nsenter");
        command.arg(format!("--target={}", self.keeper.id()));
        command.args(["--user", "--mount", "--preserve-credentials", "--"]);
        // Said once more, as the kernel forgets it where the credentials change.
        command.args(["setpriv", "--pdeathsig", "KILL", "--"]).arg(program.into());
        command
    }

    /// Fills it to the last byte.
    pub fn fill(&self) {
        let mut file = File::create(self.filler()).expect("the disk is mounted");
        for size in [4096, 1] {
            loop {
                match file.write_all(&vec![0; size]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("filling the disk: {error}"),
                }
            }
        }
    }

    /// Takes away what [`fill`](Self::fill) has put there.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    /// Removes all that is on it.
    pub fn clear(&self) {
        for entry in fs::read_dir(self.seen_from_here()).expect("the disk is mounted") {
            let path = entry.expect("a readable entry").path();
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.expect("a file of ours");
        }
    }

    fn filler(&self) -> PathBuf {
        self.seen_from_here().join("filler")
    }

    fn seen_from_here(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.keeper.id());
        Path::new(&root).join(self.folder.path().strip_prefix("/").expect("an absolute path"))
    }
}
