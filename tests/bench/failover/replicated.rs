//! The hand-over in a bucket that three servers keep.

use super::handover::{Pair, Way, by_turns, config};
use super::report::Budget;
use super::yardstick::{Yardstick, create_bucket};
use super::{Bench, CLIENTS};
use crate::support::cluster::Cluster;

/// Everybody talks to the server that leads their bucket, so that the ways are equally long.
pub(crate) fn measure(bench: &mut Bench) {
    let rounds = bench.rounds(200);
    bench.begin("three servers");
    let servers = Cluster::start(bench.server.version());
    let urls = servers.urls();
    let leader_of = |cluster: &str| {
        create_bucket(&urls[0], cluster, 3);
        urls[servers.stream_leader(&format!("KV_cluster-{cluster}"))].clone()
    };
    let mut yardstick = Yardstick::new(&leader_of("bare"), "bare");
    let mut pairs = CLIENTS.map(|client| {
        let url = leader_of(client.name());
        Pair::start(&config(&url, client, client.name()).replicas(3), Way::StepDown)
    });
    let hops = by_turns(bench, rounds, &mut yardstick, &mut pairs);
    let what = "step-down with three replicas → the other process leads";
    let columns = bench.columns(what, rounds, pairs.map(|pair| pair.took_over));
    let row = bench.row(what, columns).beside(hops);
    bench.report.row(row.within(Budget::Times { median: 1.5, p99: None }));
}
