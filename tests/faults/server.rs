//! Faults of servers and of what they store on.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::fault::Remedy;
use super::site::{Ground, STREAM, Site};
use crate::support::bucket::Bucket;
use crate::support::disk::Disk;
use crate::support::server::NatsServer;
use crate::support::wait::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

pub fn kill_all(site: &mut Site) -> Remedy {
    site.ground_mut().all_mut().iter_mut().for_each(NatsServer::kill);
    Box::new(|site| site.ground_mut().launch())
}

pub fn delete_store(site: &mut Site) -> Remedy {
    let server = lease_server(site);
    site.ground().all()[server].delete_store();
    Box::new(move |site| {
        site.ground_mut().all_mut()[server].kill();
        site.ground_mut().launch();
    })
}

pub fn send_away(site: &mut Site) -> Remedy {
    let server = lease_server(site);
    site.ground().all()[server].signal(Signal::USR2);
    Box::new(move |site| {
        site.ground_mut().all_mut()[server].ended(PATIENCE);
        site.ground_mut().launch();
    })
}

/// The server that answers for the lease.
fn lease_server(site: &Site) -> usize {
    match site.ground() {
        Ground::One(_) => 0,
        Ground::Three(cluster) => cluster.stream_leader(STREAM),
    }
}

/// Fills the account with another stream. The oldest server still takes a record in place of one
/// that is as long.
pub fn fill_account(site: &mut Site) -> Remedy {
    const FILLER: &str = "filler";
    let witness = site.witness();
    let filler = Bucket::new(&witness, FILLER).limit(Duration::from_secs(3));
    let mut config = filler.usual_config();
    config["num_replicas"] = json!(site.replicas());
    config["max_msgs_per_subject"] = json!(-1);
    eventually(PATIENCE, "a stream beside the lease", || filler.create(&config).is_ok());
    for size in [16 * 1024, 1024, 16] {
        eventually(PATIENCE, "a full account", || {
            (0..1000).any(|_| filler.put("filler", vec![b'x'; size]).is_err())
        });
    }
    Box::new(|site| {
        let witness = site.witness();
        let filler = Bucket::new(&witness, FILLER).limit(Duration::from_secs(3));
        eventually(PATIENCE, "room in the account", || filler.delete().is_ok());
    })
}

pub fn fill_disks(site: &mut Site) -> Remedy {
    site.ground().all().iter().filter_map(NatsServer::disk).for_each(Disk::fill);
    site.stalled();
    Box::new(|site| {
        for server in site.ground_mut().all_mut() {
            server.kill();
            server.disk().expect("a disk that was filled").free();
        }
        site.ground_mut().launch();
    })
}
