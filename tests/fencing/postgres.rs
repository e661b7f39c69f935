//! PostgreSQL: a server on a socket in a temporary folder, and its shell.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::{env, fs};

use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use crate::database::{Client, PATIENCE, Parameters, fetched, on_path, shell};
use crate::support::process::{Process, bound_command};
use crate::support::wait::eventually;

const USER: &str = "leasehold";

/// A schema on a server.
pub(crate) struct Postgres {
    server: Arc<Server>,
    schema: String,
    /// The isolation of its transactions.
    isolation: &'static str,
}

impl Postgres {
    /// A new schema on the server that the tests share while one of them runs.
    pub(crate) fn new(isolation: &'static str) -> Self {
        static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        static SCHEMAS: AtomicU32 = AtomicU32::new(0);
        let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        let server = shared.upgrade().unwrap_or_else(|| Arc::new(Server::start()));
        *shared = Arc::downgrade(&server);
        let schema = format!("test_{}", SCHEMAS.fetch_add(1, Ordering::Relaxed));
        let postgres = Self { server, schema, isolation };
        postgres.run_once(&format!("CREATE SCHEMA {};", postgres.schema));
        postgres
    }

    pub(crate) fn client(&self, name: &str, parameters: Parameters) -> Client {
        let mut command = shell(&self.server.bin.join("psql"));
        command.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only"]);
        for (name, literal) in parameters.literals() {
            command.arg(format!("--set={name}={literal}"));
        }
        self.server.connect(&mut command);
        let options = format!(
            "-c search_path={} -c default_transaction_isolation={}",
            self.schema, self.isolation
        );
        command.env("PGOPTIONS", options).env("PGAPPNAME", self.application(name));
        Client::start(command, "\\echo")
    }

    /// Returns when the client of that name waits for a lock.
    pub(crate) fn wait_until_blocked(&self, name: &str) {
        let query = format!(
            "SELECT count(*) FROM pg_stat_activity
              WHERE application_name = '{}' AND wait_event_type = 'Lock';",
            self.application(name)
        );
        eventually(PATIENCE, &format!("{name} to wait for a lock"), || {
            self.run_once(&query) == "1"
        });
    }

    fn application(&self, client: &str) -> String {
        format!("{}_{client}", self.schema)
    }

    /// Runs statements by a client of their own and returns what they print.
    fn run_once(&self, sql: &str) -> String {
        let mut psql = Command::new(self.server.bin.join("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--command", sql]);
        self.server.connect(&mut psql);
        output(psql).trim_end().to_owned()
    }
}

/// A server process; it goes with its folder when dropped.
struct Server {
    /// Locked only so that threads may share the server.
    process: Mutex<Process>,
    folder: TempDir,
    bin: PathBuf,
}

impl Server {
    fn start() -> Self {
        let bin = bin();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        let mut initdb = unprivileged(&bin.join("initdb"));
        initdb.args(["--no-sync", "--no-locale", "--encoding=UTF8", "--auth=trust"]);
        initdb.arg(format!("--username={USER}")).arg("-D").arg(&data);
        output(initdb);
        let mut server = unprivileged(&bin.join("postgres"));
        // It has nothing to lose in a power failure.
        server.args(["-c", "listen_addresses=", "-c", "fsync=off", "-D"]).arg(&data);
        server.arg("-k").arg(folder.path());
        let process = Process::spawn(server);
        process.prints(PATIENCE, "ready to accept connections");
        Self { process: Mutex::new(process), folder, bin }
    }

    /// Tells a client where the server is.
    fn connect(&self, client: &mut Command) {
        client.env("PGHOST", self.folder.path()).env("PGUSER", USER);
        client.env("PGDATABASE", "postgres");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its fast way to end; killed, it would leave a segment of shared memory behind.
        let process = self.process.get_mut().unwrap_or_else(PoisonError::into_inner);
        process.signal(Signal::INT);
        process.exited(PATIENCE);
    }
}

/// A command for a program that refuses to run as root: for root in a user namespace, in which the
/// same user has another number.
fn unprivileged(program: &Path) -> Command {
    if !geteuid().is_root() {
        return bound_command(program);
    }
    let mut command = bound_command("unshare");
    command.args(["--user", "--map-user=1000", "--map-group=1000", "--"]);
    // Said once more, as the kernel forgets it where the credentials change.
    command.args(["setpriv", "--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// What a program prints to its end, which must be a good one.
fn output(mut command: Command) -> String {
    let output = command.output().expect("a program that was found");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The folder that `LEASEHOLD_POSTGRES_BIN` names, else what `tests/run.sh` has fetched, else where
/// Debian has it, else one on PATH.
fn bin() -> PathBuf {
    if let Some(given) = env::var_os("LEASEHOLD_POSTGRES_BIN") {
        return given.into();
    }
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders = vec![fetched()];
    folders.extend(debian.map(|version| version.path().join("bin")));
    folders.extend(on_path());
    let complete = |folder: &PathBuf| {
        ["initdb", "postgres", "psql"].iter().all(|program| folder.join(program).exists())
    };
    folders
        .into_iter()
        .find(complete)
        .expect("no PostgreSQL: run tests/run.sh --servers, or apt-get install postgresql")
}
