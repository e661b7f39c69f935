//! How many replicas a bucket should have, by what the servers say of themselves.
//!
//! A NATS server greets every client with INFO, before the client logs in: its id, its version, the
//! name of its cluster, and the addresses of the other servers if they are advertised. So nothing
//! is sent, and no credentials are needed. Servers of one cluster are counted by their ids, as one
//! server can have many addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use serde::{Deserialize, Serialize};

use super::Manager;
use crate::clock::{Clock, Timestamp};
use crate::json;
use crate::nats::version::Version;
use crate::store::nats::REPLICAS_SINCE;
use crate::task::spawn;
use crate::text::excerpt;

/// The replicas that survive the loss of a server, and the servers that they need.
const REPLICAS: u64 = 3;
/// Servers that are asked at most.
const MAX_ASKED: usize = 64;
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;
/// The longest INFO, in bytes.
const MAX_INFO: usize = 64 * 1024;

/// How many replicas a bucket should have, and why.
///
/// ```no_run
/// use std::time::Duration;
/// use leasehold::{Config, Manager};
///
/// let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?;
/// let advice = Manager::new(config.clone()).advise_replicas(Duration::from_secs(1));
/// println!("{} replicas: {}", advice.replicas, advice.reason);
/// let config = config.to_builder().replicas(advice.replicas).build()?;
/// # Ok::<(), leasehold::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReplicaAdvice {
    /// 1 or 3.
    pub replicas: u64,
    /// Why, in words.
    pub reason: String,
    /// No server answered, so this is a guess.
    pub assumed: bool,
    /// A server that answered has a cluster. Without one there is no choice.
    pub clustered: bool,
}

impl Manager {
    /// Asks the servers of the configuration for at most `timeout`: 3 replicas in a cluster of
    /// three or more servers with JetStream, all of nats-server 2.11 or newer, else 1.
    ///
    /// Asks also the servers that these name. Sends nothing, and needs no credentials.
    #[must_use]
    pub fn advise_replicas(&self, timeout: Duration) -> ReplicaAdvice {
        let servers = &self.config.connection().servers;
        let servers = servers.iter().map(|server| (server.host.clone(), server.port));
        advise(&ask_all(servers, timeout))
    }
}

/// A server by host and port.
type Address = (String, u16);

/// The part of INFO that is needed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Info {
    server_id: String,
    version: String,
    cluster: String,
    jetstream: bool,
    connect_urls: Vec<String>,
}

/// What each server answered; `None` for one that did not.
type Answers = BTreeMap<Address, Option<Info>>;

fn ask_all(servers: impl Iterator<Item = Address>, timeout: Duration) -> Answers {
    let (clock, (sender, answers)) = (Clock::boot(), unbounded());
    let until = clock.now() + timeout;
    let mut survey = Survey { asked: Answers::new(), open: 0, sender, until };
    servers.for_each(|server| survey.ask(server));
    survey.collect(&answers, &clock);
    survey.asked
}

/// The questions so far. Each server is asked on a thread of its own, as names are resolved without
/// a timeout. A thread that hangs is left behind.
struct Survey {
    asked: Answers,
    open: usize,
    sender: Sender<(Address, io::Result<Info>)>,
    until: Timestamp,
}

impl Survey {
    fn ask(&mut self, server: Address) {
        if self.asked.len() >= MAX_ASKED || self.asked.contains_key(&server) {
            return;
        }
        self.asked.insert(server.clone(), None);
        let (sender, until) = (self.sender.clone(), self.until);
        let work = move || {
            let info = ask(&server, until);
            // The survey may be over.
            let _ = sender.send((server, info));
        };
        self.open += usize::from(spawn("leasehold-survey", work).is_ok());
    }

    fn collect(&mut self, answers: &Receiver<(Address, io::Result<Info>)>, clock: &Clock) {
        while self.open > 0 {
            let left = self.until.since(clock.now());
            let Ok((server, info)) = answers.recv_timeout(left) else { return };
            self.open -= 1;
            match info {
                Ok(info) => {
                    let named = info.connect_urls.iter().filter_map(|url| parse_address(url));
                    let named: Vec<_> = named.collect();
                    self.asked.insert(server, Some(info));
                    for server in named {
                        self.ask(server);
                    }
                }
                Err(error) => log::debug!("{}:{}: {error}", server.0, server.1),
            }
        }
    }
}

/// `host:port`, with an IPv6 address in brackets.
fn parse_address(text: &str) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').map_or(Some(host), |host| host.strip_suffix(']'))?;
    Some((host.to_owned(), port.parse().ok()?)).filter(|(host, _)| !host.is_empty())
}

/// Connects to a server and reads its INFO.
fn ask(server: &Address, until: Timestamp) -> io::Result<Info> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (server.0.as_str(), server.1).to_socket_addrs()?.take(MAX_ADDRESSES) {
        let asked = TcpStream::connect_timeout(&address, left(until)?);
        match asked.and_then(|stream| read_info(stream, until)) {
            Ok(info) => return Ok(info),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The time that is left, which is not zero.
fn left(until: Timestamp) -> io::Result<Duration> {
    let left = until.since(Clock::boot().now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

fn read_info(mut stream: TcpStream, until: Timestamp) -> io::Result<Info> {
    let (mut line, mut piece) = (Vec::new(), [0; 4096]);
    while !line.contains(&b'\n') && line.len() <= MAX_INFO {
        stream.set_read_timeout(Some(left(until)?))?;
        let length = stream.read(&mut piece)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(&piece[..length]);
    }
    parse_info(&line).ok_or_else(|| io::Error::other("not a NATS server"))
}

/// The INFO in a server's first bytes.
fn parse_info(bytes: &[u8]) -> Option<Info> {
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    json::from_slice(line.strip_prefix(b"INFO ")?).ok()
}

fn advise(answers: &Answers) -> ReplicaAdvice {
    let infos: Vec<&Info> = answers.values().flatten().collect();
    let clustered = infos.iter().any(|info| !info.cluster.is_empty());
    let assumed = infos.is_empty();
    let one = |reason: String| ReplicaAdvice { replicas: 1, reason, assumed, clustered };
    let Some(first) = infos.first() else {
        return one("no server answered".to_owned());
    };
    if infos.iter().any(|info| info.cluster != first.cluster) {
        return one("the servers are not of one cluster".to_owned());
    }
    if first.cluster.is_empty() {
        return one("the servers are not clustered".to_owned());
    }
    let members = infos.iter().filter(|info| info.jetstream && !info.server_id.is_empty());
    let count = members.clone().map(|info| &info.server_id).collect::<BTreeSet<_>>().len();
    let (cluster, silent) = (excerpt(&first.cluster), silent(answers));
    if (count as u64) < REPLICAS {
        let reason = format!(
            "{count} with JetStream answered of the servers of cluster {cluster:?}{silent}; 3 are \
             needed for 3 replicas"
        );
        return one(reason);
    }
    let oldest = members.map(|info| Version::parse(&info.version)).min().unwrap_or_default();
    if oldest < REPLICAS_SINCE {
        let needs = format!("3 replicas need nats-server {REPLICAS_SINCE}");
        return one(format!("{needs}, and cluster {cluster:?} has a server of {oldest}"));
    }
    let reason = format!("cluster {cluster:?} has {count} servers of nats-server {oldest}");
    ReplicaAdvice { replicas: REPLICAS, reason, assumed, clustered }
}

/// The servers that did not answer, in words.
fn silent(answers: &Answers) -> String {
    let silent = answers.iter().filter(|(_, answer)| answer.is_none());
    let names: Vec<_> = silent.map(|((host, port), _)| format!("{host}:{port}")).collect();
    match names.len() {
        0 => String::new(),
        1..=3 => format!(", {} did not", excerpt(&names.join(", "))),
        count => format!(", {count} did not"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, cluster: &str, version: &str) -> Info {
        Info {
            server_id: id.into(),
            version: version.into(),
            cluster: cluster.into(),
            jetstream: true,
            connect_urls: Vec::new(),
        }
    }

    /// The advice for servers that gave these answers.
    fn of(answers: &[Option<Info>]) -> ReplicaAdvice {
        let hosts = (1..).map(|number: u16| (format!("h{number}"), 4222));
        advise(&hosts.zip(answers.iter().cloned()).collect())
    }

    #[test]
    fn three_servers_of_a_new_cluster_get_three_replicas() {
        let server = |id: &str| Some(member(id, "east", "2.15.1"));
        let advice = of(&[server("a"), server("b"), None, server("c")]);
        assert_eq!((advice.replicas, advice.assumed, advice.clustered), (3, false, true));
        assert_eq!(advice.reason, "cluster \"east\" has 3 servers of nats-server 2.15.1");
        // One server with two addresses.
        let advice = of(&[server("a"), server("b"), None, server("b")]);
        assert_eq!((advice.replicas, advice.assumed), (1, false));
        assert!(advice.reason.contains("h3:4222 did not"), "{}", advice.reason);
    }

    #[test]
    fn everything_else_gets_one() {
        let new = |id: &str, cluster: &str| Some(member(id, cluster, "2.11.0"));
        let old = Some(member("c", "east", "2.10.29"));
        let without = Some(Info { jetstream: false, ..member("c", "east", "2.15.1") });
        for (third, reason) in [
            (old, "3 replicas need nats-server 2.11.0"),
            (without, "2 with JetStream answered"),
            (new("c", "west"), "not of one cluster"),
            (new("c", ""), "not of one cluster"),
        ] {
            let advice = of(&[new("a", "east"), new("b", "east"), third]);
            assert_eq!((advice.replicas, advice.assumed), (1, false));
            assert!(advice.reason.contains(reason), "{}", advice.reason);
        }
        let advice = of(&[new("a", ""), new("b", ""), new("c", "")]);
        assert_eq!(
            (advice.reason.as_str(), advice.clustered),
            ("the servers are not clustered", false)
        );
        for none in [&[][..], &[None, None, None]] {
            assert!(matches!(of(none), ReplicaAdvice { replicas: 1, assumed: true, .. }));
        }
    }

    #[test]
    fn only_a_greeting_of_a_server_is_taken() {
        let info = parse_info(b"INFO {\"server_id\":\"A\",\"cluster\":\"c\"} \r\nPING\r\n");
        assert_eq!(info.map(|info| info.cluster).as_deref(), Some("c"));
        for bytes in [&b""[..], b"INFO ", b"INFO []\r\n", b"HTTP/1.1 400\r\n", b"INFO {\"x\":"] {
            assert_eq!(parse_info(bytes), None);
        }
        let address = |text: &str| parse_address(text);
        assert_eq!(address("[::1]:4222"), Some(("::1".to_owned(), 4222)));
        assert_eq!(address("10.0.0.1:1"), Some(("10.0.0.1".to_owned(), 1)));
        for bad in ["", ":4222", "host", "host:70000", "[::1:4222"] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }
}
