//! What it costs: requests by leader and followers, memory, threads, bytes on disk, dependencies.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Bench;
use super::handover::config;
use super::member::Member;
use super::report::{Row, Unit};
use crate::support::process::{Process, bound_command};
use crate::support::server::NatsServer;
use crate::support::version::Version;

pub(crate) fn measure(bench: &mut Bench) {
    let crowds: &[usize] = if bench.quick { &[1, 20] } else { &[1, 20, 200] };
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

/// Requests in some multiple of the interval between the reads by which followers confirm.
fn requests(bench: &mut Bench, followers: usize) {
    let server = bench.name;
    bench.progress.begin(&format!("{server}: requests, {followers} followers"));
    let cluster = format!("requests-{followers}");
    let ttl = Duration::from_secs(if bench.quick { 1 } else { 2 });
    let config = config(bench, &cluster).lease_ttl(ttl).renew_interval(ttl * 3 / 10);
    let mut leader = Member::start(&config, "leader", 1);
    leader.became().expect("nobody else is there");
    let _crowd = Member::start(&config, "follower", followers);
    std::thread::sleep(Duration::from_secs(1));
    let renewals = |leader: &mut Member| leader.ask("stats")["renewals"].as_u64().unwrap_or(0);
    let (before, renewed) = (sent(&bench.server), renewals(&mut leader));
    // Each follower's next confirming read falls into it once.
    let window = 3 * ttl * if bench.quick { 1 } else { 2 };
    std::thread::sleep(window);
    let (after, renewed) = (sent(&bench.server), renewals(&mut leader) - renewed);
    let own = format!("/{cluster}/leader");
    let of = |leads: bool| -> u64 {
        let ours = |name: &&String| name.contains(&format!("/{cluster}/"));
        let all = after.keys().filter(ours).filter(|name| name.ends_with(&own) == leads);
        all.map(|name| after[name] - before.get(name).copied().unwrap_or(0)).sum()
    };
    #[allow(clippy::cast_precision_loss)]
    let (leads, follow, renewed) = (of(true) as f64, of(false) as f64, renewed as f64);
    #[allow(clippy::cast_precision_loss)]
    let (count, spans) = (followers as f64, window.as_secs_f64() / (3.0 * ttl.as_secs_f64()));
    let of = if followers == 1 { "1 follower".into() } else { format!("{followers} followers") };
    let what = format!("requests by the leader per renewal, {of}");
    bench.report.row(Row::limit(&what, server, Unit::Count, leads / renewed, 1.05));
    // A confirming read is two requests: the record, then the bucket.
    let what = format!("confirming reads by each follower per 3·D, {of}");
    bench.report.row(Row::limit(&what, server, Unit::Count, follow / 2.0 / count / spans, 1.05));
}

/// The example `basic`, as cargo builds it for release.
fn weigh(bench: &mut Bench) {
    bench.progress.begin("examples/basic");
    let program = program();
    let url = bench.server.url();
    let mut command = bound_command(&program);
    command.args(["weighed", "weigh", &url]);
    let process = Process::spawn(command);
    while !process.line(Duration::from_secs(20)).expect("it leads").contains("working") {}
    std::thread::sleep(Duration::from_secs(1));
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).expect("it runs");
    let field = |name: &str| -> f64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
    };
    let (resident, threads) = (field("VmRSS:") / 1024.0, field("Threads:") - 1.0);
    #[allow(clippy::cast_precision_loss)]
    let bytes = fs::metadata(stripped(&program)).expect("it was built").len() as f64;
    let report = &mut bench.report;
    let row = |what, unit, value, budget| Row::limit(what, "2.15.1", unit, value, budget);
    report.row(row("resident memory of a process with one node", Unit::Megabytes, resident, 6.0));
    report.row(row("threads of a node, beside the program's own", Unit::Count, threads, 3.0));
    let size = bytes / 1_048_576.0;
    report.row(row("examples/basic, release, stripped", Unit::Megabytes, size, 3.5));
    let (direct, all) = dependencies();
    report.note(format!("dependencies with default features: {direct} direct, {all} in all"));
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::null());
    command
}

/// Builds what is weighed later; how long that takes depends on what was built before.
pub(crate) fn build() {
    let built = cargo().args(["build", "--release", "--example", "basic"]).status();
    assert!(built.expect("cargo runs").success(), "examples/basic does not build");
}

fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    target.join("release/examples/basic")
}

/// A copy without symbols, or the program itself where there is nothing to strip with.
fn stripped(program: &Path) -> PathBuf {
    let copy = program.with_extension("stripped");
    let done = Command::new("strip").arg("-o").arg(&copy).arg(program).status();
    if done.is_ok_and(|status| status.success()) { copy } else { program.to_owned() }
}

/// How many packages are named in `Cargo.toml`, and how many are built.
fn dependencies() -> (usize, usize) {
    let count = |more: &[&str]| {
        let mut command = cargo();
        command.args(["tree", "--edges", "normal", "--prefix", "none"]).args(more);
        let list = command.output().expect("cargo runs").stdout;
        let list = String::from_utf8_lossy(&list).into_owned();
        let mut names: Vec<_> =
            list.lines().filter_map(|line| line.split(" (").next()).map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names.len().saturating_sub(1)
    };
    (count(&["--depth", "1"]), count(&[]))
}
