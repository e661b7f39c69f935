//! A cluster of nodes, each behind wires of its own, on one server or three.

use std::thread;
use std::time::Duration;

use leasehold::Config;
use leasehold::config::ConfigBuilder;

use super::clock::WallClock;
use super::fault::Hit;
use crate::nodes::process::{Kit, NodeProcess};
use crate::nodes::{Nodes, now};
use crate::support::bucket::Bucket;
use crate::support::cluster::Cluster;
use crate::support::disk::Disk;
use crate::support::nats::Client;
use crate::support::proxy::Proxy;
use crate::support::server::{Builder, NatsServer};
use crate::support::version::Version;
use crate::support::wait::{eventually, eventually_some};

/// D of all nodes: short, so that the matrix is.
pub const TTL: Duration = Duration::from_secs(1);
const RENEW_INTERVAL: Duration = Duration::from_millis(300);

/// How long a loaded machine may take to come back to a leader that all agree on. Three servers
/// have elections of their own first.
const PATIENCE: Duration = Duration::from_secs(150);

/// Names of the seats, in their order.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// The nodes' cluster, and so their bucket.
pub const CLUSTER: &str = "faults";

/// The stream of the lease.
pub const STREAM: &str = "KV_cluster-faults";

/// The bucket of the lease.
pub fn bucket(witness: &Client) -> Bucket<'_> {
    Bucket::of_cluster(witness, CLUSTER).limit(Duration::from_secs(3))
}

/// What a small disk holds: enough for the logs of three servers between their compactions.
const DISK: u64 = 8 << 20;

/// Which servers a site stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Servers {
    /// One server.
    One(Version),
    /// Three, with three replicas, of the newest version.
    Three,
}

impl Servers {
    /// In words of a table: `2.9.10`, `2.15.1` or `2.15.1-R3`.
    pub fn label(self) -> &'static str {
        match self {
            Self::One(Version::Oldest) => "2.9.10",
            Self::One(Version::Newest) => "2.15.1",
            Self::Three => "2.15.1-R3",
        }
    }
}

/// What a site is to be made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Servers store on disks that can be filled.
    SmallDisk,
    /// The account may store little.
    SmallAccount,
    /// Nodes with a boot-time clock that can be made to jump.
    JumpingClocks,
    /// Nodes with a wall clock that can be set.
    WallClocks,
}

impl Need {
    /// What every fault asks for at once.
    pub const ALL: [Self; 4] =
        [Self::SmallDisk, Self::SmallAccount, Self::JumpingClocks, Self::WallClocks];
}

/// The servers.
#[derive(Debug)]
pub enum Ground {
    /// One.
    One(Box<NatsServer>),
    /// Three.
    Three(Cluster),
}

impl Ground {
    fn new(servers: Servers, needs: &[Need]) -> Self {
        let change = |builder: Builder| {
            let builder = builder.config("lame_duck_duration: 30s\nlame_duck_grace_period: 500ms");
            let builder = if needs.contains(&Need::SmallDisk) {
                builder.disk(Disk::new(DISK))
            } else {
                builder
            };
            if needs.contains(&Need::SmallAccount) {
                builder.config(SMALL_ACCOUNT)
            } else {
                builder
            }
        };
        match servers {
            Servers::One(version) => {
                Self::One(Box::new(change(NatsServer::builder(version)).start()))
            }
            Servers::Three => Self::Three(Cluster::start_as(Version::Newest, change)),
        }
    }

    /// Each of them.
    pub fn all(&self) -> &[NatsServer] {
        match self {
            Self::One(server) => std::slice::from_ref(server),
            Self::Three(cluster) => cluster.servers(),
        }
    }

    /// Each of them, to be stopped and started.
    pub fn all_mut(&mut self) -> &mut [NatsServer] {
        match self {
            Self::One(server) => std::slice::from_mut(server),
            Self::Three(cluster) => cluster.servers_mut(),
        }
    }

    /// Starts those that do not run, and returns when all are ready.
    pub fn launch(&mut self) {
        for server in self.all_mut().iter_mut().filter(|server| server.id().is_none()) {
            server.launch();
        }
        match self {
            Self::One(server) => server.wait_until_ready(),
            Self::Three(cluster) => cluster.wait_until_complete(),
        }
    }
}

/// Everybody is of this account who does not say otherwise.
const SMALL_ACCOUNT: &str = "\
accounts {
  lease {
    jetstream { max_file: 262144, max_memory: 0 }
    users: [ { user: lease, password: lease } ]
  }
}
no_auth_user: lease";

/// A node's place: its name and its wires, which outlive its processes.
#[derive(Debug)]
pub struct Seat {
    name: &'static str,
    /// One to each server.
    wires: Vec<Proxy>,
    wall_clock: Option<WallClock>,
    /// Its present process among the nodes.
    process: usize,
}

/// The whole of it.
#[derive(Debug)]
pub struct Site {
    // In the order in which they go.
    nodes: Nodes,
    seats: Vec<Seat>,
    ground: Ground,
    servers: Servers,
    jumping_clocks: bool,
}

impl Site {
    /// Starts servers and so many nodes.
    pub fn new(servers: Servers, nodes: usize, needs: &[Need]) -> Self {
        let ground = Ground::new(servers, needs);
        let seats = NAMES[..nodes].iter().map(|name| {
            let wires = ground.all().iter().map(|server| Proxy::start(server.address())).collect();
            let wall_clock = needs.contains(&Need::WallClocks).then(WallClock::new);
            Seat { name, wires, wall_clock, process: usize::MAX }
        });
        let (seats, jumping_clocks) = (seats.collect(), needs.contains(&Need::JumpingClocks));
        let nodes = Nodes::new(config(servers));
        let mut site = Self { nodes, seats, ground, servers, jumping_clocks };
        for seat in 0..site.seats.len() {
            site.start_node(seat);
        }
        site
    }

    /// Starts a new process in a seat whose last one has ended.
    pub fn start_node(&mut self, seat: usize) {
        let config = self.config_of(seat);
        let environment = self.seats[seat].wall_clock.as_ref().map(WallClock::environment);
        let kit = Kit { jumps: self.jumping_clocks, environment: environment.unwrap_or_default() };
        let node = NodeProcess::equipped(&config, &kit);
        self.seats[seat].process = self.nodes.add(node);
    }

    fn config_of(&self, seat: usize) -> Config {
        let seat = &self.seats[seat];
        let config = config(self.servers).node_id(seat.name);
        config.servers(seat.wires.iter().map(Proxy::url)).build().expect("valid")
    }

    /// What it stands on.
    pub fn servers(&self) -> Servers {
        self.servers
    }

    /// Its servers.
    pub fn ground(&self) -> &Ground {
        &self.ground
    }

    /// Its servers, to be stopped and started.
    pub fn ground_mut(&mut self) -> &mut Ground {
        &mut self.ground
    }

    /// The three servers.
    pub fn cluster(&mut self) -> &mut Cluster {
        match &mut self.ground {
            Ground::Three(cluster) => cluster,
            Ground::One(_) => panic!("a fault of three servers, and there is one"),
        }
    }

    /// How many seats there are.
    pub fn size(&self) -> usize {
        self.seats.len()
    }

    /// The process in a seat.
    pub fn node(&mut self, seat: usize) -> &mut NodeProcess {
        &mut self.nodes[self.seats[seat].process]
    }

    /// Every process there was.
    pub fn nodes(&mut self) -> &mut Nodes {
        &mut self.nodes
    }

    /// The wall clock of a seat.
    ///
    /// # Panics
    /// When the site was made without.
    pub fn wall_clock(&self, seat: usize) -> &WallClock {
        self.seats[seat].wall_clock.as_ref().expect("a site with wall clocks")
    }

    /// How many copies of the lease there are.
    pub fn replicas(&self) -> u64 {
        if self.servers == Servers::Three { 3 } else { 1 }
    }

    /// The wires of a seat.
    pub fn wires(&self, seat: usize) -> &[Proxy] {
        &self.seats[seat].wires
    }

    /// The seat that is hit.
    pub fn seat(&mut self, hit: Hit) -> usize {
        let leader = self.leader();
        match hit {
            Hit::Leader => leader,
            Hit::Follower(number) => {
                let others = self.seats.len() - 1;
                (leader + 1 + number % others) % self.seats.len()
            }
        }
    }

    /// Starts servers again that have crashed by themselves: nats-server 2.9.10 may, while a bucket
    /// is made or deleted.
    pub fn revive_servers(&mut self) {
        self.ground_mut().all_mut().iter_mut().for_each(NatsServer::revive);
    }

    /// The seat of the node that says it leads, as soon as one does.
    pub fn leader(&mut self) -> usize {
        eventually_some(PATIENCE, "a leader", || {
            self.revive_servers();
            let mut seats = 0..self.size();
            let leads = |seat: &usize| self.node(*seat).is_alive() && self.node(*seat).leads();
            seats.find(leads).or_else(unhurried)
        })
    }

    /// The seat of the leader, as soon as one leads and every node knows it.
    pub fn settled(&mut self) -> usize {
        eventually_some(PATIENCE, "all to agree on a leader", || {
            let leader = self.leader();
            let name = self.seats[leader].name;
            let mut seats = 0..self.size();
            let agreed = seats.all(|seat| self.node(seat).status()["leader"] == name);
            agreed.then_some(leader).or_else(unhurried)
        })
    }

    /// Returns when the lease was renewed some times and all agree on the leader: by then the
    /// others have read what they first had only heard of.
    pub fn steady(&mut self) -> usize {
        let before = self.renewals();
        eventually(PATIENCE, "renewals", || self.renewals() >= before + 3 || unhurried().is_some());
        self.settled()
    }

    /// Returns when no renewal succeeds any more.
    pub fn stalled(&mut self) {
        eventually(PATIENCE, "renewals to fail", || {
            let before = self.renewals();
            thread::sleep(2 * RENEW_INTERVAL);
            self.renewals() == before
        });
    }

    fn renewals(&mut self) -> u64 {
        self.revive_servers();
        (0..self.size()).map(|seat| self.node(seat).count("renewals")).sum()
    }

    /// Somebody who looks on without a wire between, at a server that runs.
    pub fn witness(&self) -> Client {
        let mut up = self.ground.all().iter().filter(|server| server.id().is_some());
        Client::connect(&up.next().expect("a server that runs").url())
    }

    /// How many terms have begun since `from`.
    pub fn terms_since(&mut self, from: u64) -> usize {
        self.nodes.iter_mut().for_each(NodeProcess::catch_up);
        self.nodes.terms().iter().filter(|term| term.began >= from).count()
    }

    /// Milliseconds without a leader from `from` on, all together and the longest at once.
    pub fn leaderless_since(&mut self, from: u64) -> (u64, u64) {
        let gaps = self.nodes.gaps(from, now());
        let lengths = gaps.iter().map(|(from, to)| (to - from) / 1_000_000);
        (lengths.clone().sum(), lengths.max().unwrap_or(0))
    }
}

/// Nothing, after a pause: every question is a line in a log that may have to be read.
fn unhurried() -> Option<usize> {
    thread::sleep(Duration::from_millis(20));
    None
}

fn config(servers: Servers) -> ConfigBuilder {
    let replicas = if servers == Servers::Three { 3 } else { 1 };
    Config::builder(CLUSTER, "unnamed", ["nats://127.0.0.1:1"])
        .replicas(replicas)
        .lease_ttl(TTL)
        .renew_interval(RENEW_INTERVAL)
        .reconnect_wait(Duration::from_millis(200))
        .connect_timeout(Duration::from_secs(2))
        .start_disconnected(true)
}
