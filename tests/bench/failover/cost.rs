//! What it costs: requests by leader and followers, memory, threads, bytes on disk, dependencies.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use leasehold::config::TransportChoice;

use super::handover::config;
use super::member::Member;
use super::report::{Budget, Unit};
use super::stats::Series;
use super::{Bench, CLIENTS};
use crate::support::process::{Process, bound_command, without_package};
use crate::support::server::NatsServer;
use crate::support::version::Version;

pub(crate) fn measure(bench: &mut Bench) {
    let crowds: &[usize] = if bench.options.rounds.is_some() { &[1] } else { &[1, 20, 200] };
    for followers in crowds {
        requests(bench, *followers);
    }
    if bench.server.version() == Version::Newest {
        weigh(bench);
    }
}

/// What each connection has sent so far, as the server counts, by the connection's name.
fn sent(server: &NatsServer) -> BTreeMap<String, u64> {
    let (_, body) = server.monitor().get("/connz?limit=1024").expect("the server answers");
    let answer: serde_json::Value = serde_json::from_str(&body).expect("with JSON");
    let all = answer["connections"].as_array().into_iter().flatten();
    all.map(|connection| {
        let name = connection["name"].as_str().unwrap_or_default().to_owned();
        (name, connection["in_msgs"].as_u64().unwrap_or(0))
    })
    .collect()
}

/// Requests in a multiple of the interval between the reads by which followers confirm.
fn requests(bench: &mut Bench, followers: usize) {
    bench.begin(&format!("requests, {followers} followers"));
    let counted = CLIENTS.map(|client| count(bench, client, followers));
    let of = if followers == 1 { "1 follower".into() } else { format!("{followers} followers") };
    let what = [
        format!("requests by the leader per renewal, {of}"),
        format!("confirming reads by each follower per 3·D, {of}"),
    ];
    for (at, what) in what.iter().enumerate() {
        let columns = counted.map(|counts| Series::new(vec![counts[at]]));
        let row = bench.row(what, columns.into()).unit(Unit::Count);
        bench.report.row(row.within(Budget::Median(1.05)));
    }
}

/// Requests by the leader per renewal, and confirming reads by each follower per 3·D.
#[allow(clippy::cast_precision_loss)]
fn count(bench: &Bench, client: TransportChoice, followers: usize) -> [f64; 2] {
    let cluster = format!("requests-{followers}-{}", client.name());
    let ttl = Duration::from_secs(1);
    let config = config(&bench.server.url(), client, &cluster).lease_ttl(ttl);
    let mut leader = Member::start(&config, "leader", 1);
    leader.became().expect("nobody else is there");
    let _crowd = Member::start(&config, "follower", followers);
    std::thread::sleep(Duration::from_secs(1));
    let renewals = |leader: &mut Member| leader.ask("stats")["renewals"].as_u64().unwrap_or(0);
    let (before, renewed) = (sent(&bench.server), renewals(&mut leader));
    // Each follower's next confirming read falls into it twice.
    let spans = 2;
    std::thread::sleep(3 * ttl * spans);
    let (after, renewed) = (sent(&bench.server), renewals(&mut leader) - renewed);
    let own = format!("/{cluster}/leader");
    let of = |leads: bool| -> u64 {
        let ours = |name: &&String| name.contains(&format!("/{cluster}/"));
        let all = after.keys().filter(ours).filter(|name| name.ends_with(&own) == leads);
        all.map(|name| after[name] - before.get(name).copied().unwrap_or(0)).sum()
    };
    // A confirming read is two requests: the record, then the bucket.
    let reads = of(false) as f64 / 2.0;
    [of(true) as f64 / renewed as f64, reads / followers as f64 / f64::from(spans)]
}

/// The example `basic` with one client alone, as cargo builds it for release.
fn weigh(bench: &mut Bench) {
    bench.begin("examples/basic");
    let url = bench.server.url();
    let weighed = CLIENTS.map(|client| weigh_one(client, &url));
    let rows = [
        ("resident memory of a process with one node", Unit::Megabytes, Some(3.5)),
        ("threads of a node, beside the program's own", Unit::Count, Some(1.0)),
        ("examples/basic, release, stripped", Unit::Megabytes, None),
        ("crates", Unit::Count, Some(75.0)),
    ];
    for (at, (what, unit, budget)) in rows.into_iter().enumerate() {
        let columns = weighed.map(|figures| Series::new(vec![figures[at]]));
        let row = bench.row(&format!("{what}, with this client alone"), columns.into()).unit(unit);
        bench.report.row(match budget {
            Some(budget) => row.within(Budget::Median(budget)),
            None => row,
        });
    }
}

/// Memory, threads, size and crates.
#[allow(clippy::cast_precision_loss)]
fn weigh_one(client: TransportChoice, url: &str) -> [f64; 4] {
    let program = program(client);
    let mut command = bound_command(&program);
    command.args(["weighed", client.name(), url]);
    let process = Process::spawn(command);
    process.line_with(Duration::from_secs(20), "working");
    std::thread::sleep(Duration::from_secs(1));
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).expect("it runs");
    let field = |name: &str| -> f64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
    };
    let bytes = fs::metadata(stripped(&program)).expect("it was built").len() as f64;
    let (resident, threads) = (field("VmRSS:") / 1024.0, field("Threads:") - 1.0);
    [resident, threads, bytes / 1_048_576.0, crates(client) as f64]
}

fn cargo(arguments: &[&str], client: TransportChoice) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::null()).args(arguments);
    command.args(["--no-default-features", "--features", &format!("{},vip", client.name())]);
    without_package(&mut command);
    command
}

/// Builds what is weighed later; how long that takes depends on what was built before.
pub(crate) fn build() {
    for client in CLIENTS {
        let built = cargo(&["build", "--release", "--example", "basic"], client).status();
        assert!(built.expect("cargo runs").success(), "examples/basic does not build");
        fs::copy(target().join("release/examples/basic"), program(client)).expect("a copy");
    }
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from)
}

fn program(client: TransportChoice) -> PathBuf {
    target().join(format!("release/examples/basic-with-{}", client.name()))
}

/// A copy without symbols, or the program itself where there is nothing to strip with.
fn stripped(program: &Path) -> PathBuf {
    let copy = program.with_extension("stripped");
    let done = Command::new("strip").arg("-o").arg(&copy).arg(program).status();
    if done.is_ok_and(|status| status.success()) { copy } else { program.to_owned() }
}

/// How many crates are built for the library, beside it.
fn crates(client: TransportChoice) -> usize {
    let mut command = cargo(&["tree", "--edges", "normal", "--prefix", "none"], client);
    let list = command.output().expect("cargo runs").stdout;
    let list = String::from_utf8_lossy(&list).into_owned();
    let names: BTreeSet<_> = list.lines().filter_map(|line| line.split(" (").next()).collect();
    names.len().saturating_sub(1)
}
