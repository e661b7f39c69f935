//! Three servers in one cluster, each route between two of them by a wire of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::port::Port;
use super::proxy::Proxy;
use super::server::{Builder, NatsServer};
use super::version::Version;
use super::wait::{eventually, eventually_some};

/// Number of servers.
const SIZE: usize = 3;

/// The election of a meta leader or a stream leader takes some seconds by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Three servers, ended when dropped.
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<NatsServer>,
    /// From the first to the second of two servers.
    routes: HashMap<(usize, usize), Proxy>,
    _route_ports: Vec<Port>,
}

impl Cluster {
    /// Starts three servers and returns when all are healthy, agree on a meta leader, and follow.
    pub fn start(version: Version) -> Self {
        Self::start_with(version, "")
    }

    /// Starts three servers with more lines in the configuration file of each.
    pub fn start_with(version: Version, config: &str) -> Self {
        Self::start_as(version, |builder| builder.config(config))
    }

    /// Starts three servers, each changed before.
    pub fn start_as(version: Version, change: impl Fn(Builder) -> Builder) -> Self {
        let ports = (0..SIZE).map(|_| Port::reserve()).collect::<Vec<_>>();
        let routes = pairs()
            .map(|(from, to)| ((from, to), Proxy::start(ports[to].address())))
            .collect::<HashMap<_, _>>();
        let servers = (0..SIZE)
            .map(|index| {
                let block = cluster_block(ports[index].address(), &urls_from(index, &routes));
                let builder = NatsServer::builder(version).name(&format!("server-{index}"));
                change(builder.config(&block)).prepare()
            })
            .collect();
        let mut cluster = Self { servers, routes, _route_ports: ports };
        cluster.servers.iter_mut().for_each(NatsServer::launch);
        cluster.wait_until_complete();
        cluster
    }

    /// Returns when all three, which run, are healthy, agree on a meta leader, and follow.
    ///
    /// # Panics
    /// When they do not within a minute.
    #[track_caller]
    pub fn wait_until_complete(&mut self) {
        self.servers.iter_mut().for_each(NatsServer::wait_until_ready);
        eventually(PATIENCE, "a complete cluster", || self.is_complete());
    }

    /// One of the three, 0 to 2.
    pub fn server(&self, index: usize) -> &NatsServer {
        &self.servers[index]
    }

    /// One of the three, 0 to 2, to be stopped or restarted.
    pub fn server_mut(&mut self, index: usize) -> &mut NatsServer {
        &mut self.servers[index]
    }

    /// All of the three.
    pub fn servers(&self) -> &[NatsServer] {
        &self.servers
    }

    /// All of the three, to be stopped or restarted.
    pub fn servers_mut(&mut self) -> &mut [NatsServer] {
        &mut self.servers
    }

    /// Where clients connect to each of the three.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(NatsServer::url).collect()
    }

    /// Cuts a server off from the other two, silently; its clients still reach it.
    pub fn isolate(&self, index: usize) {
        self.routes_of(index).for_each(Proxy::freeze);
    }

    /// Lets a server that was isolated reach the others again.
    pub fn rejoin(&self, index: usize) {
        self.routes_of(index).for_each(Proxy::thaw);
    }

    /// The server that leads `stream` in the eyes of a majority; it may not listen to writes yet.
    ///
    /// # Panics
    /// When there is none within a minute.
    #[track_caller]
    pub fn stream_leader(&self, stream: &str) -> usize {
        self.stream_leader_where(stream, |_| true)
    }

    /// The server that leads `stream` in the eyes of a majority, once `accept` is true of it.
    ///
    /// # Panics
    /// When there is none within a minute.
    #[track_caller]
    pub fn stream_leader_where(&self, stream: &str, accept: impl Fn(usize) -> bool) -> usize {
        eventually_some(PATIENCE, "a stream leader", || {
            let views = self.views("/jsz?streams=1", |jsz| stream_leader(jsz, stream));
            let leader = majority(&views)?;
            let index = self.servers.iter().position(|server| server.name() == leader)?;
            accept(index).then_some(index)
        })
    }

    /// All know one leader, and the leader sees two others that have caught up.
    fn is_complete(&self) -> bool {
        let leaders = self.views("/jsz", |jsz| known(&jsz["meta_cluster"]["leader"]));
        let agreed = leaders.len() == SIZE && leaders.iter().all(|leader| *leader == leaders[0]);
        let followers = self.views("/jsz", |jsz| {
            let replicas = jsz["meta_cluster"]["replicas"].as_array()?;
            let current = |replica: &&Value| replica["current"] == true && !is_offline(replica);
            Some(replicas.iter().filter(current).count().to_string())
        });
        agreed && followers.contains(&(SIZE - 1).to_string())
    }

    /// What those servers that answer say.
    fn views(&self, path: &str, view: impl Fn(&Value) -> Option<String>) -> Vec<String> {
        self.servers
            .iter()
            .filter(|server| server.id().is_some())
            .filter_map(|server| server.monitor().get(path).ok())
            .filter_map(|(_, body)| view(&serde_json::from_str(&body).ok()?))
            .collect()
    }

    fn routes_of(&self, index: usize) -> impl Iterator<Item = &Proxy> {
        let touches = move |(from, to): &(usize, usize)| *from == index || *to == index;
        self.routes.iter().filter(move |(pair, _)| touches(pair)).map(|(_, proxy)| proxy)
    }
}

fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..SIZE).flat_map(|from| (0..SIZE).map(move |to| (from, to))).filter(|(from, to)| from != to)
}

fn urls_from(index: usize, routes: &HashMap<(usize, usize), Proxy>) -> String {
    routes
        .iter()
        .filter(|((from, _), _)| *from == index)
        .map(|(_, proxy)| format!("{:?}", proxy.url()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Servers tell each other where they are, and clients too. What they tell is of no use here: a
/// route that goes around its wire could not be cut. Port 1 answers nobody.
fn cluster_block(address: SocketAddr, routes: &str) -> String {
    format!(
        "cluster {{\n  name: test\n  listen: \"{address}\"\n  advertise: \"127.0.0.1:1\"\n  \
         no_advertise: true\n  routes: [{routes}]\n}}"
    )
}

fn stream_leader(jsz: &Value, stream: &str) -> Option<String> {
    let streams = jsz["account_details"][0]["stream_detail"].as_array()?;
    let detail = streams.iter().find(|detail| detail["name"] == stream)?;
    known(&detail["cluster"]["leader"])
}

/// A leader's name, unless there is none.
fn known(leader: &Value) -> Option<String> {
    leader.as_str().filter(|name| !name.is_empty()).map(ToOwned::to_owned)
}

fn is_offline(replica: &Value) -> bool {
    replica["offline"] == true
}

fn majority(views: &[String]) -> Option<&String> {
    views.iter().find(|view| views.iter().filter(|other| other == view).count() > SIZE / 2)
}
