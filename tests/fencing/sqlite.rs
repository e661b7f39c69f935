//! SQLite, by its shell.

use std::env;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::database::{Client, PATIENCE, Parameters, fetched, on_path, shell};

/// A file with a database.
pub(crate) struct Sqlite(TempDir);

impl Sqlite {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn client(&self, parameters: Parameters) -> Client {
        let mut command = shell(&program());
        command.args(["-bail", "database"]).current_dir(self.0.path());
        // Not what its user has in a file of settings.
        command.env("HOME", self.0.path());
        let mut client = Client::start(command, ".print");
        client.run(&settings(parameters));
        client
    }
}

/// The lines that set the parameters, and how long a locked database is waited for.
fn settings(parameters: Parameters) -> String {
    let set = |(name, literal)| format!(".parameter set :{name} \"{literal}\"\n");
    let parameters: String = parameters.literals().map(set).concat();
    format!(".timeout {}\n{parameters}", PATIENCE.as_millis())
}

/// What `LEASEHOLD_SQLITE` names, else what `tests/run.sh` has fetched, else the one on PATH.
fn program() -> PathBuf {
    if let Some(given) = env::var_os("LEASEHOLD_SQLITE") {
        return given.into();
    }
    let folders = std::iter::once(fetched()).chain(on_path());
    let mut programs = folders.map(|folder| folder.join("sqlite3"));
    let found = programs.find(|program| program.exists());
    found.expect("no sqlite3: run tests/run.sh --servers, or apt-get install sqlite3")
}
