//! A client of a database: a shell that reads statements from a pipe.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::postgres::Postgres;
use crate::sqlite::Sqlite;
use crate::support::process::{Process, bound_command};

/// A statement takes milliseconds; a loaded machine gets much more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Printed after each block of statements.
const END: &str = "end of the block";

/// What the guide's statements are given.
#[derive(Clone, Copy)]
pub(crate) struct Parameters {
    pub(crate) epoch: u64,
    pub(crate) session: u128,
    /// What the client writes.
    pub(crate) state: &'static str,
}

impl Parameters {
    /// The values by the names that the guide uses, as literals of SQL.
    pub(crate) fn literals(self) -> [(&'static str, String); 3] {
        [
            ("epoch", self.epoch.to_string()),
            ("session", format!("'{:032x}'", self.session)),
            ("state", format!("'{}'", self.state)),
        ]
    }
}

/// A database for one test, empty at first.
pub(crate) enum Database {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Database {
    /// A client with a name of its own.
    pub(crate) fn client(&self, name: &str, parameters: Parameters) -> Client {
        match self {
            Self::Sqlite(sqlite) => sqlite.client(parameters),
            Self::Postgres(postgres) => postgres.client(name, parameters),
        }
    }

    /// Returns when the client of that name waits for another one, as far as the database tells.
    pub(crate) fn wait_until_blocked(&self, name: &str) {
        match self {
            Self::Sqlite(_) => {}
            Self::Postgres(postgres) => postgres.wait_until_blocked(name),
        }
    }
}

/// A shell of a database, in a process of its own.
pub(crate) struct Client {
    process: Process,
    /// The command of the shell that prints its argument.
    print: &'static str,
}

impl Client {
    /// Starts a [`shell`].
    pub(crate) fn start(command: Command, print: &'static str) -> Self {
        Self { process: Process::spawn(command), print }
    }

    /// Sends statements; [`printed`](Self::printed) waits for them.
    pub(crate) fn send(&mut self, sql: &str) {
        for line in sql.lines() {
            self.process.say(line);
        }
        self.process.say(&format!("{} {END}", self.print));
    }

    /// What the statements of the oldest [`send`](Self::send) have printed. A shell that ends at an
    /// error has printed all.
    pub(crate) fn printed(&self) -> String {
        let lines = std::iter::from_fn(|| self.process.line(PATIENCE));
        lines.take_while(|line| line != END).collect::<Vec<_>>().join("\n")
    }

    /// Sends statements and returns what they have printed.
    pub(crate) fn run(&mut self, sql: &str) -> String {
        self.send(sql);
        self.printed()
    }
}

/// A command for the shell of a database. What it says of an error is among what it prints.
pub(crate) fn shell(program: &Path) -> Command {
    let mut command = bound_command("sh");
    command.args(["-c", r#"exec "$0" "$@" 2>&1"#]).arg(program);
    command
}

/// Where `tests/run.sh` keeps the programs of databases.
pub(crate) fn fetched() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/databases/bin")
}

pub(crate) fn on_path() -> Vec<PathBuf> {
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect()
}
