//! The operator's commands and their output.

use std::net::IpAddr;
use std::time::Duration;

use leasehold::Manager;
use leasehold::config::{Config, VipConfig};
use leasehold::manager::{ClusterView, NodeStatus, NodeView, ReplicaAdvice};
use leasehold::text::printable;
use serde_json::json;

use super::args::{self, Args};
use super::failure::Failure;
use super::output;
use super::text;

/// How long all nodes have to answer.
const LISTEN: Duration = Duration::from_secs(1);
/// How long `init` asks the servers about their cluster.
const SURVEY: Duration = Duration::from_secs(1);
/// The lease TTL with several replicas. Servers elect another leader of a stream within 4 to 9
/// seconds, after which one renewal and the margin of a virtual IP must still fit: see the page
/// `timers` of the guide.
const REPLICATED_TTL: Duration = Duration::from_secs(20);

pub(super) fn load(args: &Args) -> Result<Config, Failure> {
    Config::load(&args.config).map_err(|error| Failure::config(&args.config, error))
}

fn manager(args: &Args) -> Result<Manager, Failure> {
    Ok(Manager::new(load(args)?))
}

pub(super) fn init(args: &Args, wanted: &args::Init) -> Result<(), Failure> {
    let file = &args.config;
    let config = configuration(wanted)?;
    // `exists` would follow a link, and miss one whose target is missing.
    if file.symlink_metadata().is_ok() && !wanted.force {
        let text = format!("{} already exists; --force replaces it", file.display());
        return Err(Failure::Usage(text));
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(missing) = folder.filter(|folder| !folder.is_dir()) {
        return Err(Failure::Usage(format!("there is no folder {}", missing.display())));
    }
    let (config, advice) = with_replicas(&config, wanted)?;
    let (config, timers) = with_timers(config, wanted, advice.as_ref())?;
    config.save(file)?;
    let (replicas, count) = (advice.as_ref().map(replicas).unwrap_or_default(), config.replicas());
    output::done(
        args.json,
        &format!("wrote {0}{replicas}{timers}; next: leasehold -c {0} daemon", file.display()),
        &json!({
            "file": file, "clusterId": wanted.cluster_id, "nodeId": wanted.node_id,
            "replicas": count, "replicasReason": advice.map(|advice| advice.reason),
            "leaseTtlMs": u64::try_from(config.lease_ttl().as_millis()).unwrap_or(u64::MAX),
        }),
    )
}

/// The configuration with the wanted replicas, or else with as many as the servers suggest.
fn with_replicas(
    config: &Config,
    wanted: &args::Init,
) -> Result<(Config, Option<ReplicaAdvice>), Failure> {
    if let Some(count) = wanted.replicas {
        return Ok((config.to_builder().replicas(count).build()?, None));
    }
    let advice = Manager::new(config.clone()).advise_replicas(SURVEY);
    Ok((config.to_builder().replicas(advice.replicas).build()?, Some(advice)))
}

/// With several replicas, unless the timers were given, a lease that outlasts the election of
/// another server as the leader of the stream; and what `init` says about it. Where the servers
/// could have advised more replicas, they could have advised another TTL too.
fn with_timers(
    config: Config,
    wanted: &args::Init,
    advice: Option<&ReplicaAdvice>,
) -> Result<(Config, String), Failure> {
    let given = wanted.lease_ttl.is_some() || wanted.renew_interval.is_some();
    if !given && config.replicas() < 3 && advice.is_some_and(|a| a.assumed || a.clustered) {
        let ttl = config.lease_ttl().as_secs();
        let text =
            format!(", and a lease TTL of {ttl} s; all nodes of a cluster need the same TTL");
        return Ok((config, text));
    }
    if given || config.replicas() < 3 {
        return Ok((config, String::new()));
    }
    let config = config.to_builder().lease_ttl(REPLICATED_TTL).build()?;
    let ttl = REPLICATED_TTL.as_secs();
    let why = "so that a lease outlasts the loss of the server that leads its stream";
    Ok((config, format!(", and a lease TTL of {ttl} s, {why}")))
}

/// What `init` says about the replicas; nothing where there is no choice.
fn replicas(advice: &ReplicaAdvice) -> String {
    let reason = &advice.reason;
    match advice.replicas {
        _ if advice.assumed => format!("; {reason}, so 1 replica is assumed (see --replicas)"),
        _ if !advice.clustered => String::new(),
        1 => format!(" with 1 replica: {reason}"),
        count => format!(" with {count} replicas: {reason}"),
    }
}

fn configuration(wanted: &args::Init) -> Result<Config, Failure> {
    let mut builder =
        Config::builder(&wanted.cluster_id, &wanted.node_id, wanted.nats_url.iter().cloned());
    if let Some(file) = &wanted.credentials {
        builder = builder.credentials_file(file);
    }
    if let Some(ttl) = wanted.lease_ttl {
        builder = builder.lease_ttl(ttl);
    }
    if let Some(interval) = wanted.renew_interval {
        builder = builder.renew_interval(interval);
    }
    Ok(builder.vips(virtual_ips(wanted)?).build()?)
}

fn virtual_ips(wanted: &args::Init) -> Result<Vec<VipConfig>, Failure> {
    let count = wanted.vip_address.len();
    let interfaces = for_each_address("--vip-interface", &wanted.vip_interface, count)?;
    let netmasks = for_each_address("--vip-netmask", &wanted.vip_netmask, count)?;
    let vip = |(index, text): (usize, &String)| {
        let address: IpAddr = text.parse().map_err(|_| {
            Failure::Usage(format!("vip.address: {text:?} is not a valid IP address"))
        })?;
        let interface = interfaces(index).map_or("", String::as_str);
        let full_length = if address.is_ipv4() { 32 } else { 128 };
        let netmask = netmasks(index).copied().unwrap_or(full_length);
        Ok(VipConfig::new(address, interface)?.with_netmask(netmask)?)
    };
    wanted.vip_address.iter().enumerate().map(vip).collect()
}

/// The value of an option for each address: the option was given once for all, or once for each.
fn for_each_address<'a, T>(
    option: &str,
    given: &'a [T],
    count: usize,
) -> Result<impl Fn(usize) -> Option<&'a T>, Failure> {
    if given.len() > 1 && given.len() != count {
        let counts = format!("found {} for {count} addresses", given.len());
        let text =
            format!("{option} must be given once for all addresses or once for each, {counts}");
        return Err(Failure::Usage(text));
    }
    Ok(move |index: usize| given.get(if given.len() == 1 { 0 } else { index }))
}

pub(super) fn status(args: &Args, which: &args::Status) -> Result<(), Failure> {
    let manager = manager(args)?;
    if which.all {
        let view = manager.query_all(LISTEN, args.timeout)?;
        return show_cluster(args, &view);
    }
    if let Some(node) = &which.node {
        let view = manager.query(node, args.timeout)?;
        return output::print(args.json, &view, &describe(&view.status, Some(&view)));
    }
    let status = manager.status(args.timeout)?;
    output::print(args.json, &status, &describe(&status, None))
}

pub(super) fn join(args: &Args) -> Result<(), Failure> {
    show_cluster(args, &manager(args)?.join(args.timeout)?)
}

fn show_cluster(args: &Args, view: &ClusterView) -> Result<(), Failure> {
    output::print(args.json, view, &text::cluster(view))
}

pub(super) fn promote(args: &Args, force: bool) -> Result<(), Failure> {
    let status = manager(args)?.promote(force, args.timeout)?;
    leads(args, &status)
}

pub(super) fn transfer(args: &Args, to: &str) -> Result<(), Failure> {
    let status = manager(args)?.transfer(to, args.timeout)?;
    leads(args, &status)
}

fn leads(args: &Args, status: &NodeStatus) -> Result<(), Failure> {
    let sentence = format!("{} leads, epoch {}", status.node_id, status.epoch);
    output::done(args.json, &sentence, status)
}

pub(super) fn demote(args: &Args) -> Result<(), Failure> {
    let status = manager(args)?.demote(args.timeout)?;
    let next = match &status.leader {
        Some(leader) => format!("; {leader} leads"),
        None => String::new(),
    };
    let sentence = format!("{} has stepped down{next}", status.node_id);
    output::done(args.json, &sentence, &status)
}

pub(super) fn leave(args: &Args) -> Result<(), Failure> {
    let manager = manager(args)?;
    manager.leave(args.timeout)?;
    let node = manager.config().node_id();
    output::done(args.json, &format!("the daemon of {node} has ended"), &json!({ "nodeId": node }))
}

/// The status of a node, one fact per line.
fn describe(status: &NodeStatus, view: Option<&NodeView>) -> String {
    let mut lines = vec![
        ("cluster", status.cluster_id.clone()),
        ("node", status.node_id.clone()),
        ("role", text::role(status.role).to_owned()),
        ("leader", status.leader.clone().unwrap_or_else(|| "unknown".into())),
        ("epoch", status.epoch.to_string()),
    ];
    for vip in &status.vips {
        let held = if vip.held { "held" } else { "not held" };
        let link = if vip.link_up == Some(false) { ", link down" } else { "" };
        lines.push(("virtual IP", format!("{} on {}, {held}{link}", vip.address, vip.interface)));
    }
    if let Some(left) = status.lease_remaining_ms {
        let (left, ttl) = (text::seconds(left), text::seconds(status.lease_ttl_ms));
        lines.push(("lease", format!("{left} of {ttl}")));
    }
    lines.push(("connected", if status.connected { "yes" } else { "no" }.to_owned()));
    lines.push(("daemon", daemon(status)));
    if let Some(view) = view {
        lines.push(("round trip", text::round_trip(view.round_trip)));
    }
    if let Some(problem) = &status.problem {
        lines.push(("problem", problem.clone()));
    }
    lines.extend(status.warnings.iter().map(|warning| ("warning", warning.clone())));
    lines
        .iter()
        .flat_map(|(name, value)| [format!("{name:<11} "), printable(value), "\n".into()])
        .collect()
}

fn daemon(status: &NodeStatus) -> String {
    if !status.daemon {
        return "does not answer; the rest is from the record on the server".to_owned();
    }
    let mut text = format!("up {}, version {}", text::uptime(status.uptime_ms), status.version);
    if status.resigning {
        text.push_str(", stepping down");
    }
    if status.stuck {
        text.push_str(", STUCK: the renewal thread does not run");
    }
    text
}
