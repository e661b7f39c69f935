//! Real NATS servers, each a process of its own with its own port and store folder.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::disk::Disk;
use super::monitor::Monitor;
use super::port::Port;
use super::process::{self, bound_command, bound_command_in, spawn_bound};
use super::tls::Certificates;
use super::version::Version;
use super::wait::{eventually, eventually_some};

/// Starting and stopping takes some 50 ms; a loaded machine gets much more.
const PATIENCE: Duration = Duration::from_secs(120);

/// One server process, ended with its folder when dropped.
#[derive(Debug)]
pub struct NatsServer {
    version: Version,
    name: String,
    folder: TempDir,
    store: PathBuf,
    port: Port,
    monitor: Port,
    /// Where its process lives, if not where the test does.
    namespace: Option<String>,
    jetstream: bool,
    child: Option<Child>,
    /// The length of the log when the process was started.
    logged_before: usize,
    /// Dropped after the process.
    disk: Option<Disk>,
}

impl NatsServer {
    /// Starts a server with JetStream on a free loopback port; it is ready when this returns.
    pub fn start(version: Version) -> Self {
        Self::builder(version).start()
    }

    /// A server that is to be configured first.
    pub fn builder(version: Version) -> Builder {
        Builder {
            version,
            name: "test".into(),
            store: None,
            port: None,
            namespace: None,
            jetstream: Some(String::new()),
            config: String::new(),
            disk: None,
        }
    }

    /// Where clients connect, `nats://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its name in a cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its monitoring endpoint.
    pub fn monitor(&self) -> Monitor {
        Monitor::new(self.monitor.address())
    }

    /// The folder JetStream stores in.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// The disk of its own that it stores on, if it was given one.
    pub fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }

    /// Removes what it has stored, whether or not it runs.
    pub fn delete_store(&self) {
        match &self.disk {
            Some(disk) => disk.clear(),
            None => fs::remove_dir_all(&self.store).expect("the server's store folder"),
        }
    }

    /// The process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// All it has logged, over its restarts; not how often it was found not ready yet.
    pub fn log(&self) -> String {
        let log = self.whole_log();
        let lines = log.split_inclusive('\n');
        lines.filter(|line| !line.contains("Healthcheck failed")).collect()
    }

    /// Ends it as a power cut would (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends it in an orderly way (SIGTERM) and returns when it is gone.
    pub fn stop(&mut self) {
        if self.child.is_some() {
            self.signal(Signal::TERM);
            self.ended(PATIENCE);
        }
    }

    /// Returns when it has ended of itself.
    ///
    /// # Panics
    /// When it has not within `limit`.
    #[track_caller]
    pub fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        let status = eventually_some(limit, "nats-server to end", || {
            child.try_wait().expect("waiting for an own child")
        });
        Some(status)
    }

    /// Stops it (SIGSTOP): it keeps its connections and answers nothing.
    pub fn pause(&self) {
        process::pause(self.running());
    }

    /// Lets it run again (SIGCONT).
    pub fn resume(&self) {
        process::resume(self.running());
    }

    /// Sends it a signal: HUP reloads the configuration, USR2 starts lame duck mode.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.running(), signal);
    }

    /// Stops it if it runs, starts it on the same port and store, and returns when it is ready.
    pub fn restart(&mut self) {
        self.stop();
        self.launch();
        self.wait_until_ready();
    }

    /// Starts it again if it has crashed, as a supervisor would, or if it has lost the folder of a
    /// stream, as an operator would.
    ///
    /// 2.9.10 removes the folder of a deleted stream a little later, also if another stream of that
    /// name has it by then. It stores nothing in that one until it is started again.
    pub fn revive(&mut self) {
        let Some(child) = &mut self.child else { return };
        let ended = child.try_wait().expect("waiting for an own child").is_some();
        let log = self.whole_log();
        let log = log.get(self.logged_before..).unwrap_or_default();
        let crashed = ended && log.contains("goroutine ");
        let has_lost = || !ended && log.contains("error opening msg block file");
        let lost = self.disk.is_none() && self.version == Version::Oldest && has_lost();
        if crashed || lost {
            self.kill();
            self.launch();
        }
    }

    fn whole_log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Starts the process without waiting for it.
    pub fn launch(&mut self) {
        self.logged_before = self.whole_log().len();
        let log = File::options().create(true).append(true).open(self.log_path());
        let log = log.expect("a log in the temporary folder");
        let program = self.version.binary();
        let mut command = match (&self.namespace, &self.disk) {
            (Some(namespace), _) => bound_command_in(namespace, program),
            (None, Some(disk)) => disk.command(program),
            (None, None) => bound_command(program),
        };
        command.arg("--config").arg(self.config_path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(spawn_bound(command));
    }

    /// Returns when it greets clients and says it is healthy.
    ///
    /// # Panics
    /// When it ends instead, or is not ready within two minutes; its log follows.
    #[track_caller]
    pub fn wait_until_ready(&mut self) {
        eventually(PATIENCE, "nats-server to be ready", || {
            let child = self.child.as_mut().expect("launched");
            let ended = child.try_wait().expect("waiting for an own child");
            assert!(ended.is_none(), "nats-server ended with {ended:?}");
            self.greets() && self.is_healthy()
        });
    }

    fn greets(&self) -> bool {
        greeting(self.address()).is_ok_and(|line| line.starts_with("INFO "))
    }

    /// The health check of JetStream would fail where there is none.
    fn is_healthy(&self) -> bool {
        !self.jetstream || self.monitor().is_healthy()
    }

    fn running(&self) -> &Child {
        self.child.as_ref().expect("the server runs")
    }

    fn config_path(&self) -> PathBuf {
        self.folder.path().join("server.conf")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("nats-server {} had logged:\n{}", self.name, self.log());
        }
    }
}

fn greeting(address: SocketAddr) -> io::Result<String> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line)
}

/// What a server is started with; JetStream on, no authentication and no TLS unless said.
#[derive(Debug)]
#[must_use = "a builder starts nothing before `start`"]
pub struct Builder {
    version: Version,
    name: String,
    store: Option<PathBuf>,
    port: Option<Port>,
    namespace: Option<String>,
    jetstream: Option<String>,
    config: String,
    disk: Option<Disk>,
}

impl Builder {
    /// Names the server.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Keeps the store in `folder`, which stays when the server is dropped.
    pub fn store(mut self, folder: impl Into<PathBuf>) -> Self {
        self.store = Some(folder.into());
        self
    }

    /// Keeps the store on a disk of its own.
    pub fn disk(mut self, disk: Disk) -> Self {
        self.store = Some(disk.folder().to_owned());
        self.disk = Some(disk);
        self
    }

    /// Listens on `port`, so that its address is known before it starts.
    pub fn port(mut self, port: Port) -> Self {
        self.port = Some(port);
        self
    }

    /// Runs in the network namespace behind this path and listens on all its addresses. Everything
    /// that talks to it, starting it above all, is to be done from a thread of that namespace.
    pub fn namespace(mut self, path: &str) -> Self {
        self.namespace = Some(path.to_owned());
        self
    }

    /// Leaves JetStream off.
    pub fn without_jetstream(mut self) -> Self {
        self.jetstream = None;
        self
    }

    /// Adds a line to the `jetstream` block, `max_file_store: 65536` for one.
    pub fn jetstream(mut self, line: &str) -> Self {
        let block = self.jetstream.get_or_insert_default();
        let _ = writeln!(block, "  {line}");
        self
    }

    /// Adds lines to the configuration file.
    pub fn config(mut self, lines: &str) -> Self {
        let _ = writeln!(self.config, "{lines}");
        self
    }

    /// Demands a user and a password.
    pub fn user(self, user: &str, password: &str) -> Self {
        self.config(&format!("authorization {{ user: {user:?}, password: {password:?} }}"))
    }

    /// Demands a token.
    pub fn token(self, token: &str) -> Self {
        self.config(&format!("authorization {{ token: {token:?} }}"))
    }

    /// Demands a signature by the key behind `public_key` (`U…`).
    pub fn nkey(self, public_key: &str) -> Self {
        self.config(&format!("authorization {{ users: [ {{ nkey: {public_key} }} ] }}"))
    }

    /// Demands TLS.
    pub fn tls(self, certificates: &Certificates) -> Self {
        self.config(&format!("tls {{ {} }}", certificates.server_config()))
    }

    /// Demands TLS with a client certificate.
    pub fn tls_with_client_certificate(self, certificates: &Certificates) -> Self {
        self.config(&format!("tls {{ {} verify: true }}", certificates.server_config()))
    }

    /// Starts the server and returns when it is ready.
    ///
    /// # Panics
    /// When it ends or is not ready in time; its log follows.
    #[track_caller]
    pub fn start(self) -> NatsServer {
        let mut server = self.prepare();
        server.launch();
        server.wait_until_ready();
        server
    }

    /// Everything but starting it.
    pub fn prepare(self) -> NatsServer {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = NatsServer {
            version: self.version,
            name: self.name,
            store: self.store.unwrap_or_else(|| folder.path().join("store")),
            folder,
            port: self.port.unwrap_or_else(Port::reserve),
            monitor: Port::reserve(),
            namespace: self.namespace,
            jetstream: self.jetstream.is_some(),
            child: None,
            logged_before: 0,
            disk: self.disk,
        };
        let text = config_file(&server, self.jetstream.as_deref(), &self.config);
        fs::write(server.config_path(), text).expect("writing into the temporary folder");
        server
    }
}

fn config_file(server: &NatsServer, jetstream: Option<&str>, more: &str) -> String {
    let block = jetstream.map_or_else(String::new, |lines| {
        format!("jetstream {{\n  store_dir: \"{}\"\n{lines}}}\n", server.store.display())
    });
    let mut listen = server.address();
    if server.namespace.is_some() {
        listen.set_ip(Ipv4Addr::UNSPECIFIED.into());
    }
    format!(
        "server_name: {:?}\nlisten: \"{listen}\"\nhttp: \"{}\"\n{block}{more}",
        server.name,
        server.monitor.address(),
    )
}
