//! Faults of one server of three.

use super::fault::Remedy;
use super::site::{STREAM, Site};
use crate::support::server::NatsServer;

pub fn kill_leader(site: &mut Site) -> Remedy {
    let leader = leader(site);
    site.cluster().server_mut(leader).kill();
    Box::new(|site| site.ground_mut().launch())
}

pub fn isolate_leader(site: &mut Site) -> Remedy {
    let leader = leader(site);
    isolate(site, leader)
}

pub fn isolate_follower(site: &mut Site) -> Remedy {
    let follower = (leader(site) + 1) % 3;
    isolate(site, follower)
}

fn isolate(site: &mut Site, server: usize) -> Remedy {
    site.cluster().isolate(server);
    Box::new(move |site| {
        site.cluster().rejoin(server);
        site.cluster().wait_until_complete();
    })
}

/// Each is stopped when the one before has caught up, as an upgrade does it.
pub fn restart_in_turn(site: &mut Site) -> Remedy {
    for server in 0..3 {
        NatsServer::stop(site.cluster().server_mut(server));
        site.ground_mut().launch();
    }
    Box::new(|_| {})
}

fn leader(site: &mut Site) -> usize {
    site.cluster().stream_leader(STREAM)
}
