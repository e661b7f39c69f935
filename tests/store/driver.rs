//! Stores on NATS under the driver of the contract's suite.
#![allow(unreachable_pub, reason = "`pub` marks what is offered to the tests")]

use std::time::Duration;

use leasehold::clock::Clock;
use leasehold::config::{Config, ConfigBuilder};
use leasehold::store::nats::{BucketOptions, NatsStore};

pub use leasehold::store::contract::driver::{
    Driver, PATIENCE, SILENCE, release, release_id, value, write, write_if,
};

/// The cluster of these tests.
pub const CLUSTER: &str = "test";

/// A store on these servers with the configuration that `set` makes.
pub fn on_nats(servers: &[String], set: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Driver {
    Driver::new(Box::new(nats_store(servers, 1, set)))
}

/// The same with the defaults, connected.
pub fn connected(servers: &[String]) -> Driver {
    let mut driver = on_nats(servers, |config| config);
    driver.wait_connected();
    driver
}

pub fn nats_store(
    servers: &[String],
    replicas: u8,
    set: impl FnOnce(ConfigBuilder) -> ConfigBuilder,
) -> NatsStore {
    let config = set(Config::builder(CLUSTER, "node", servers.to_vec())).build().expect("valid");
    let bucket =
        BucketOptions { cluster_id: CLUSTER.into(), replicas, min_max_age: Duration::from_secs(7) };
    NatsStore::new(config.connection(), bucket, Clock::boot()).expect("descriptors")
}
