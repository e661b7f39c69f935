//! The NATS server: one that the user names, or one that is started for this run.

use std::env::{self, consts::EXE_SUFFIX};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};
use leasehold::Observer;

use crate::Result;
use crate::arguments::SERVER;
use crate::child::Child;

/// Starting takes about 50 ms. A loaded machine needs more.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that can be reached.
pub(crate) struct Server {
    name: String,
    url: String,
    _child: Option<Child>,
}

impl Server {
    /// The server that the user names. It must answer. An observer leaves nothing there.
    pub(crate) fn of_user(url: &str) -> Result<Self> {
        let config = crate::config("quickstart", "observer", url)?;
        // As the configuration shows it, without its secrets.
        let name = config.servers().collect::<Vec<_>>().join(",");
        Observer::start(config)?.stop();
        Ok(Self { name, url: url.to_owned(), _child: None })
    }

    /// Starts a server. A child process runs it, and ends it when this process ends in any way.
    pub(crate) fn start(program: &Path) -> Result<Self> {
        let (ready, url) = bounded(1);
        let path = program.to_str().ok_or("the path of nats-server is not UTF-8")?;
        let child = Child::start(&[SERVER, path], move |line| {
            // The first line is the address. No line means that it failed.
            let _ = ready.try_send(line);
        })?;
        let name = version(program)?;
        match url.recv_timeout(PATIENCE + PATIENCE / 2) {
            Ok(Some(url)) => Ok(Self { name, url, _child: Some(child) }),
            Ok(None) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(format!("{path} did not start").into())
            }
        }
    }

    /// The name to print.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// Finds a server program: in the environment, then on PATH, then where `tests/run.sh` puts it.
pub(crate) fn find() -> Result<Option<PathBuf>> {
    if let Some(named) = env::var_os("LEASEHOLD_NATS_NEWEST").map(PathBuf::from) {
        let missing = || format!("LEASEHOLD_NATS_NEWEST names {}: no such file", named.display());
        return if named.is_file() { Ok(Some(named)) } else { Err(missing().into()) };
    }
    let program = format!("nats-server{EXE_SUFFIX}");
    let path = env::var_os("PATH").unwrap_or_default();
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let fetched = ["2.15.1", "2.9.10"].map(|version| package.join("target/nats").join(version));
    Ok(env::split_paths(&path)
        .chain(fetched)
        .map(|folder| folder.join(&program))
        .find(|file| file.is_file()))
}

/// `nats-server 2.15.1`
fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.trim().replace(": v", " "))
}

/// Runs a server until standard input ends, and prints its address.
pub(crate) fn run_as_child(program: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Command::new(program)
        .args(["--addr", "127.0.0.1", "--port", "-1", "--jetstream", "--store_dir"])
        .arg(folder.path())
        .arg("--ports_file_dir")
        .arg(folder.path())
        .arg("--log")
        .arg(folder.path().join("log"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let outcome = wait_for_address(&mut server, folder.path()).and_then(|url| {
        writeln!(io::stdout(), "{url}")?;
        Ok(io::copy(&mut io::stdin().lock(), &mut io::sink())?)
    });
    server.kill()?;
    server.wait()?;
    outcome.map(drop)
}

/// The server chooses its port, and writes it into a file once it listens.
fn wait_for_address(server: &mut Process, folder: &Path) -> Result<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(url) = address(folder) {
            return Ok(url);
        }
        if server.try_wait()?.is_some() || Instant::now() >= until {
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            return Err(format!("nats-server is not ready; its log:\n{log}").into());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The address in the ports file; `None` while that is missing or half written.
fn address(folder: &Path) -> Option<String> {
    let files = fs::read_dir(folder).ok()?.filter_map(io::Result::ok).map(|entry| entry.path());
    let mut ports = files.filter(|path| path.extension().is_some_and(|ext| ext == "ports"));
    let text = fs::read_to_string(ports.next()?).ok()?;
    let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
    ports["nats"][0].as_str().map(str::to_owned)
}
