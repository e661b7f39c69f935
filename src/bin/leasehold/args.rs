//! The arguments. What documents them is what `--help` says.
#![allow(clippy::doc_markdown, reason = "terminals show no backticks")]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: no server, no virtual IP, …
  2  wrong arguments or configuration
  3  not the leader, or another node leads
  4  no daemon answers
  5  timed out; what was asked for may yet happen
  6  a daemon of this node runs already
  7  refused by the daemon, or not permitted by the server";

/// Elects one leader among the nodes of a cluster, over NATS, and lets commands and a virtual IP
/// follow it.
#[derive(Debug, Parser)]
#[command(name = "leasehold", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(super) struct Args {
    /// The configuration's file
    #[arg(short, long, global = true, value_name = "FILE", default_value = "cluster.json")]
    pub(super) config: PathBuf,
    /// Answer in JSON: one object, or one for each line
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// What is logged to stderr [default: info for the daemon, else error]
    #[arg(long, global = true, value_enum, value_name = "LEVEL")]
    pub(super) log_level: Option<Level>,
    /// How long a command may take, as 500ms, 10s, 2m
    #[arg(long, global = true, value_name = "TIME", default_value = "15s", value_parser = duration)]
    pub(super) timeout: Duration,
    /// Colours: on a terminal unless NO_COLOR is set, or as told
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    pub(super) color: When,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a configuration's file
    Init(Init),
    /// Run this node until SIGTERM, SIGINT, `leave` or the end of the machine
    ///
    /// A command is run by /bin/sh in a process group of its own, without input, with these
    /// variables: LEASEHOLD_EVENT (primary, passive or change), LEASEHOLD_CLUSTER, LEASEHOLD_NODE,
    /// LEASEHOLD_LEADER (empty when unknown), LEASEHOLD_EPOCH (0 when unknown) and, for passive,
    /// LEASEHOLD_CAUSE. Its output is logged, up to 64 KiB. Whatever it leaves running when it ends
    /// or its time is up is killed: start services with your service manager.
    #[command(verbatim_doc_comment)]
    Daemon(Daemon),
    /// Show this node, another one, or all
    Status(Status),
    /// Check that the cluster can be reached, and show it; nothing is joined
    Join,
    /// Show the cluster live; q quits
    Watch(Watch),
    /// Make this node lead, and wait until it does
    Promote {
        /// Ask the present leader to hand over
        #[arg(short, long)]
        force: bool,
    },
    /// Have this node give the lead back, and wait until it has
    Demote,
    /// Have the leader hand over to another node, and wait until that leads
    Transfer {
        /// The node that is to lead
        #[arg(value_name = "NODE")]
        to: String,
    },
    /// Stop this node's daemon, wherever it runs, and wait until it has ended
    Leave,
    /// Print the version
    Version,
    /// Print what a shell needs to complete arguments
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// The cluster: 1 to 64 of A-Z a-z 0-9 - _
    #[arg(long, value_name = "ID")]
    pub(super) cluster_id: String,
    /// This node: the same, and dots inside
    #[arg(long, value_name = "ID")]
    pub(super) node_id: String,
    /// A server; may be given several times, or a list with commas
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        default_value = "nats://127.0.0.1:4222"
    )]
    pub(super) nats_url: Vec<String>,
    /// A NATS credentials file
    #[arg(long, value_name = "FILE")]
    pub(super) credentials: Option<PathBuf>,
    /// A virtual IP that follows the leader
    #[arg(long, value_name = "IP", requires = "vip_interface")]
    pub(super) vip_address: Option<String>,
    /// Its prefix length [default: 24, IPv6: 128]; 32 ties nothing else to it
    #[arg(long, value_name = "BITS", requires = "vip_address")]
    pub(super) vip_netmask: Option<u64>,
    /// The interface it is added to
    #[arg(long, value_name = "NAME", requires = "vip_address")]
    pub(super) vip_interface: Option<String>,
    /// How long others wait before they take over from a leader that is gone [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) lease_ttl: Option<Duration>,
    /// How often the leader renews [default: 3s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) renew_interval: Option<Duration>,
    /// Replace a file that is there
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Daemon {
    /// Run when this node has become the leader; if it fails, the lead is given back
    #[arg(long, value_name = "CMD")]
    pub(super) on_primary: Option<String>,
    /// Run when this node leads no longer; the lease is released only when it has succeeded
    #[arg(long, value_name = "CMD")]
    pub(super) on_passive: Option<String>,
    /// Run when another leader is known, or none; what comes meanwhile is summed up in one run
    #[arg(long, value_name = "CMD")]
    pub(super) on_change: Option<String>,
    /// How long a command may run [default: half a second less than the drain and stop timeouts,
    /// and at least that]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) hook_timeout: Option<Duration>,
    /// Take no commands over NATS: `promote`, `demote`, `transfer` and `leave` are refused
    #[arg(long)]
    pub(super) no_control: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// Every node that answers within a second
    #[arg(short, long, conflicts_with = "node")]
    pub(super) all: bool,
    /// Another node
    #[arg(short, long, value_name = "ID")]
    pub(super) node: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    /// How often nodes are asked; changes of the leader show at once
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub(super) interval: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum When {
    Auto,
    Always,
    Never,
}

/// `500ms`, `10s`, `1.5s`, `2m`, `1h`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{unit:?} is no unit; use ms, s, m or h")),
    };
    let number: f64 = number.parse().map_err(|_| "use a number and ms, s, m or h".to_owned())?;
    let duration = Duration::try_from_secs_f64(number * seconds).ok();
    duration
        .filter(|duration| (1..=86_400_000).contains(&duration.as_millis()))
        .ok_or_else(|| "must be 1ms to 24h".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Args::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        for (text, millis) in
            [("500ms", 500), ("1.5s", 1_500), ("2", 2_000), ("2m", 120_000), ("1h", 3_600_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "1d", "0s", "25h", "1..2s", "1e3", "NaN", "inf"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
