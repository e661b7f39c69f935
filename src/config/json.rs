//! The JSON file: the format of go-cluster v1, and new optional keys beside its own.

use std::path::Path;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::builder::ConfigBuilder;
use super::connection::{Auth, Secret, Tls};
use super::error::ConfigError;
use super::limits::{self, Limit};
use super::tree::{Section, Tree};
use super::vip::VipConfig;

/// Takes a text apart. What it says is judged by the builder.
pub(super) fn read(text: &str) -> Result<ConfigBuilder, ConfigError> {
    let mut top = Section::top(Tree::parse(text)?)?;
    let cluster_id = top.text("clusterId")?.unwrap_or_default();
    let node_id = top.text("nodeId")?.unwrap_or_default();
    let mut builder = ConfigBuilder::new(cluster_id, node_id, Vec::new());
    read_nats(top.section("nats")?, &mut builder)?;
    builder.vip = read_vip(top.section("vip")?)?;
    read_election(top.section("election")?, &mut builder)?;
    top.finish()?;
    Ok(builder)
}

fn read_nats(mut nats: Section, builder: &mut ConfigBuilder) -> Result<(), ConfigError> {
    builder.servers = nats.secrets("servers")?;
    read_auth(&mut nats, builder)?;
    builder.tls = read_tls(nats.section("tls")?)?;
    builder.js_domain = nats.text("domain")?;
    builder.api_prefix = nats.text("apiPrefix")?;
    builder.inbox_prefix = nats.text("inboxPrefix")?;
    set(&mut builder.replicas, nats.number(&limits::REPLICAS)?);
    set(&mut builder.connect_timeout, nats.millis(&limits::CONNECT_TIMEOUT)?);
    set(&mut builder.reconnect_wait, nats.millis(&limits::RECONNECT_WAIT)?);
    set(&mut builder.start_disconnected, nats.flag("startDisconnected")?);
    nats.finish()
}

fn read_auth(nats: &mut Section, builder: &mut ConfigBuilder) -> Result<(), ConfigError> {
    let mut ways: Vec<(&'static str, Auth)> = Vec::new();
    if let Some(file) = nats.text("credentials")? {
        ways.push(("nats.credentials", Auth::CredentialsFile(file.into())));
    }
    match (nats.text("user")?, nats.secret("password")?) {
        (None, None) => {}
        (user, password) => {
            // One without the other is left to the builder, which asks for the missing one.
            let (user, password) = (user.unwrap_or_default(), password.unwrap_or(Secret::new("")));
            ways.push(("nats.user", Auth::UserPassword { user, password }));
        }
    }
    if let Some(token) = nats.secret("token")? {
        ways.push(("nats.token", Auth::Token(token)));
    }
    if let Some(seed) = nats.secret("nkey")? {
        ways.push(("nats.nkey", Auth::NkeySeed(seed)));
    }
    builder.nkey_file = nats.text("nkeyFile")?.map(Into::into);
    if builder.nkey_file.is_some() {
        ways.push(("nats.nkeyFile", Auth::None));
    }
    if let [(one, _), (other, _), ..] = ways[..] {
        return Err(ConfigError::conflict(one, other));
    }
    set(&mut builder.auth, ways.pop().map(|(_, auth)| auth));
    Ok(())
}

fn read_tls(mut tls: Section) -> Result<Tls, ConfigError> {
    let read = Tls {
        required: tls.flag("required")?.unwrap_or_default(),
        ca_file: tls.text("ca")?.map(Into::into),
        cert_file: tls.text("cert")?.map(Into::into),
        key_file: tls.text("key")?.map(Into::into),
    };
    tls.finish()?;
    Ok(read)
}

/// Without an address there is no virtual IP, whatever else the section says: so in go-cluster.
fn read_vip(mut vip: Section) -> Result<Option<VipConfig>, ConfigError> {
    let address = vip.text("address")?;
    let netmask = vip.number(&limits::NETMASK)?.unwrap_or(0);
    let interface = vip.text("interface")?.unwrap_or_default();
    vip.finish()?;
    address.map(|address| VipConfig::parse(&address, &interface)?.with_netmask(netmask)).transpose()
}

fn read_election(mut section: Section, builder: &mut ConfigBuilder) -> Result<(), ConfigError> {
    let election = &mut section;
    // Go writes zero for a timer that is not set; no other timer can be in its files.
    let v1 = |timer: Option<Duration>| timer.filter(|timer| !timer.is_zero());
    set(&mut builder.lease_ttl, v1(election.millis(&limits::LEASE_TTL)?));
    set(&mut builder.renew_interval, v1(election.millis(&limits::RENEW_INTERVAL)?));
    builder.request_timeout = election.millis(&limits::REQUEST_TIMEOUT)?;
    let drift = election.number(&limits::CLOCK_DRIFT)?;
    set(&mut builder.clock_drift_percent, drift.map(|n| u32::try_from(n).unwrap_or(u32::MAX)));
    builder.cooldown = election.millis(&limits::COOLDOWN)?;
    set(&mut builder.drain_timeout, election.millis(&limits::DRAIN_TIMEOUT)?);
    set(&mut builder.stop_timeout, election.millis(&limits::STOP_TIMEOUT)?);
    set(&mut builder.strict_bootstrap, election.flag("strictBootstrap")?);
    let capacity = election.number(&limits::EVENT_CAPACITY)?;
    set(&mut builder.event_capacity, capacity.map(|n| usize::try_from(n).unwrap_or(usize::MAX)));
    builder.meta = election.value("meta")?;
    section.finish()
}

fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

/// The text of a configuration that was built. go-cluster's keys are always written, new ones only
/// when they are not at their default: what v1 can express, v1 can read.
pub(super) fn write(given: &ConfigBuilder) -> String {
    let file = Object::default()
        .put("clusterId", Some(given.cluster_id.as_str()))
        .put("nodeId", Some(given.node_id.as_str()))
        .section("nats", write_nats(given))
        .section("vip", given.vip.as_ref().map(write_vip).unwrap_or_default())
        .section("election", write_election(given));
    serde_json::to_string_pretty(&file).expect("invariant: keys are texts") + "\n"
}

fn write_nats(given: &ConfigBuilder) -> Object {
    let plain = plain();
    let servers: Vec<&str> = given.servers.iter().map(Secret::expose).collect();
    write_auth(given, Object::default().put("servers", Some(servers)))
        .section("tls", write_tls(&given.tls))
        .put("domain", given.js_domain.clone())
        .put("apiPrefix", given.api_prefix.clone())
        .put("inboxPrefix", given.inbox_prefix.clone())
        .put("replicas", changed(given.replicas, &plain.replicas))
        .millis(&limits::CONNECT_TIMEOUT, changed(given.connect_timeout, &plain.connect_timeout))
        .millis(&limits::RECONNECT_WAIT, changed(given.reconnect_wait, &plain.reconnect_wait))
        .put("startDisconnected", changed(given.start_disconnected, &plain.start_disconnected))
}

fn write_auth(given: &ConfigBuilder, nats: Object) -> Object {
    let nats = nats.put("nkeyFile", given.nkey_file.as_deref().map(text_of));
    match &given.auth {
        Auth::None => nats,
        Auth::UserPassword { user, password } => {
            nats.put("user", Some(user.as_str())).put("password", Some(password.expose()))
        }
        Auth::Token(token) => nats.put("token", Some(token.expose())),
        Auth::NkeySeed(seed) => nats.put("nkey", Some(seed.expose())),
        Auth::CredentialsFile(file) => nats.put("credentials", Some(text_of(file))),
    }
}

fn write_tls(tls: &Tls) -> Object {
    Object::default()
        .put("required", changed(tls.required, &false))
        .put("ca", tls.ca_file.as_deref().map(text_of))
        .put("cert", tls.cert_file.as_deref().map(text_of))
        .put("key", tls.key_file.as_deref().map(text_of))
}

fn write_vip(vip: &VipConfig) -> Object {
    Object::default()
        .put("address", Some(vip.address().to_string()))
        .put("netmask", Some(vip.netmask()))
        .put("interface", Some(vip.interface()))
}

fn write_election(given: &ConfigBuilder) -> Object {
    let plain = plain();
    let drift = changed(given.clock_drift_percent, &plain.clock_drift_percent);
    Object::default()
        .millis(&limits::LEASE_TTL, Some(given.lease_ttl))
        .millis(&limits::RENEW_INTERVAL, Some(given.renew_interval))
        .millis(&limits::REQUEST_TIMEOUT, given.request_timeout)
        .put("clockDriftPercent", drift)
        .millis(&limits::COOLDOWN, given.cooldown)
        .millis(&limits::DRAIN_TIMEOUT, changed(given.drain_timeout, &plain.drain_timeout))
        .millis(&limits::STOP_TIMEOUT, changed(given.stop_timeout, &plain.stop_timeout))
        .put("strictBootstrap", changed(given.strict_bootstrap, &plain.strict_bootstrap))
        .put("eventCapacity", changed(given.event_capacity, &plain.event_capacity))
        .put("meta", given.meta.clone())
}

/// All defaults.
fn plain() -> ConfigBuilder {
    ConfigBuilder::new(String::new(), String::new(), Vec::new())
}

/// What is to be written of an option: nothing, when it is at its default.
fn changed<T: PartialEq>(value: T, default: &T) -> Option<T> {
    (value != *default).then_some(value)
}

fn text_of(path: &Path) -> String {
    path.to_str().expect("invariant: paths in a built configuration are UTF-8").to_owned()
}

/// An object whose keys keep the order in which people expect them.
#[derive(Default)]
struct Object(Vec<(&'static str, Item)>);

#[derive(Serialize)]
#[serde(untagged)]
enum Item {
    Value(Value),
    Object(Object),
}

impl Object {
    fn put(mut self, key: &'static str, value: Option<impl Into<Value>>) -> Self {
        self.0.extend(value.map(|value| (key, Item::Value(value.into()))));
        self
    }

    fn millis(self, limit: &Limit, value: Option<Duration>) -> Self {
        self.put(limit.key(), value.map(limits::millis))
    }

    fn section(mut self, key: &'static str, section: Self) -> Self {
        if !section.0.is_empty() {
            self.0.push((key, Item::Object(section)));
        }
        self
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, item)| (key, item)))
    }
}
