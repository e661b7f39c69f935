//! The arguments. Their documentation is the text of `--help`.
#![allow(clippy::doc_markdown, reason = "terminals show no backticks")]

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{ColorChoice, CommandFactory, Parser, Subcommand};
use leasehold::guide::TOPICS;
use log::LevelFilter;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: no server within the time limit, no virtual IP, …
  2  wrong arguments or configuration
  3  not the leader, or another node leads
  4  no daemon answers
  5  no response or no effect in time; a request may still take effect
  6  a daemon of this node already runs
  7  refused by the daemon, or not permitted by the server

`leasehold help` lists the topics of the manual.";

/// Elects one leader among the nodes of a cluster, over NATS. Commands and a virtual IP follow the
/// leader.
#[derive(Debug, Parser)]
#[command(name = "leasehold", version, after_help = EXIT_CODES, max_term_width = 100)]
#[command(disable_help_subcommand = true, next_help_heading = "Global options")]
pub(super) struct Args {
    /// The configuration file
    #[arg(short, long, global = true, value_name = "FILE", default_value = "cluster.json")]
    pub(super) config: PathBuf,
    /// Print JSON: one object, or one per line for `watch` and for the daemon's log
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Log level on stderr [default: info for the daemon, else error]
    #[arg(long, global = true, value_name = "LEVEL", value_parser = level_parser())]
    pub(super) log_level: Option<LevelFilter>,
    /// Time limit of a command. Each TIME needs a unit: 500ms, 1.5s, 2m, 1h
    #[arg(long, global = true, value_name = "TIME", default_value = "15s", value_parser = duration)]
    pub(super) timeout: Duration,
    /// Colours; auto: on a terminal unless NO_COLOR is set
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    pub(super) color: ColorChoice,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a configuration file
    Init(Init),
    /// Run the daemon in the foreground
    ///
    /// It ends at SIGTERM, SIGINT or `leasehold leave`.
    ///
    /// /bin/sh runs each hook command in its own process group, without input, with these
    /// variables: LEASEHOLD_EVENT (primary, passive or change), LEASEHOLD_CLUSTER, LEASEHOLD_NODE,
    /// LEASEHOLD_LEADER (empty when unknown), LEASEHOLD_EPOCH (0 when unknown) and, for passive,
    /// LEASEHOLD_CAUSE. The first 64 KiB of its output are logged. Processes that are still running
    /// when it ends or times out are killed: start services with your service manager.
    #[command(verbatim_doc_comment)]
    Daemon(Daemon),
    /// Show the status of this node, of another node, or of all
    Status(Status),
    /// Check that this node could join the cluster, and show the cluster; changes nothing
    ///
    /// It fails when no server can be reached (exit code 1), when a daemon with this node id
    /// already runs (6), and when the server does not permit it (7).
    Join,
    /// Show the cluster live; press q to quit
    Watch(Watch),
    /// Make this node the leader, and wait until it is
    Promote {
        /// Ask the current leader to hand over
        #[arg(short, long)]
        force: bool,
    },
    /// Make this node step down, and wait until it has
    #[command(aliases = ["step-down", "stepdown"])]
    Demote,
    /// Make the leader hand over to another node, and wait until that node leads
    Transfer {
        /// The node that takes over
        #[arg(value_name = "NODE")]
        to: String,
    },
    /// Stop this node's daemon, on any host, and wait until it has ended
    Leave,
    /// Print the help of a command or a topic of the manual; without a name, list them
    Help {
        /// A command or a topic
        name: Option<String>,
    },
    /// Print the version
    Version,
    /// Print a shell's completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// The cluster id: 1 to 64 of A-Z a-z 0-9 - _
    #[arg(long, value_name = "ID")]
    pub(super) cluster_id: String,
    /// The id of this node: the same characters, and dots inside
    #[arg(long, value_name = "ID")]
    pub(super) node_id: String,
    /// Servers, separated by commas; can be given several times
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
    /// A virtual IP address for the leader; can be given several times
    #[arg(long, value_name = "IP", requires = "vip_interface")]
    pub(super) vip_address: Vec<String>,
    /// Prefix length that status shows, once for all addresses or once for each; on the interface
    /// an address always has its full length [default: 32, IPv6: 128]
    #[arg(long, value_name = "BITS", requires = "vip_address")]
    pub(super) vip_netmask: Vec<u64>,
    /// Network interface of the virtual IP, once for all addresses or once for each
    #[arg(long, value_name = "NAME", requires = "vip_address")]
    pub(super) vip_interface: Vec<String>,
    /// Lease TTL: how long other nodes wait before they replace a dead leader; set --renew-interval
    /// as well, to a third of it [default: 10s, with three or more replicas 20s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) lease_ttl: Option<Duration>,
    /// How often the leader renews its lease [default: 3s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) renew_interval: Option<Duration>,
    /// Replicas of the bucket: 1, 3 or 5 [default: the servers are asked, for a second; 3 in a
    /// cluster of three or more of nats-server 2.11, else 1]
    #[arg(long, value_name = "COUNT", value_parser = replicas())]
    pub(super) replicas: Option<u64>,
    /// Replace an existing file
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Daemon {
    /// Run this when the node becomes the leader; if it fails, the node steps down
    #[arg(long, value_name = "CMD")]
    pub(super) on_primary: Option<String>,
    /// Run this when the node stops leading; the lease is released only after it succeeds
    #[arg(long, value_name = "CMD")]
    pub(super) on_passive: Option<String>,
    /// Run this when the known leader changes; changes during a run cause one further run
    #[arg(long, value_name = "CMD")]
    pub(super) on_change: Option<String>,
    /// Time limit of a hook command [default: 500ms less than the shorter of the drain and stop
    /// timeouts, at least 500ms]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) hook_timeout: Option<Duration>,
    /// Refuse `promote`, `demote`, `transfer` and `leave` over NATS
    #[arg(long)]
    pub(super) no_control: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// All nodes that answer within a second
    #[arg(short, long, conflicts_with = "node")]
    pub(super) all: bool,
    /// The node to show
    #[arg(short, long, value_name = "ID")]
    pub(super) node: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    /// How often nodes are asked; a leader change shows at once
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub(super) interval: Duration,
}

/// The parser of the command line. `help` takes the names of commands and topics.
pub(super) fn parser() -> clap::Command {
    let parser = Args::command();
    let topics = TOPICS.iter().map(|topic| PossibleValue::new(topic.name).help(topic.summary));
    let topics = topics.chain([PossibleValue::new("vip").hide(true)]);
    let commands = parser.get_subcommands().map(|command| {
        let summary = command.get_about().map(ToString::to_string);
        PossibleValue::new(command.get_name().to_owned()).help(summary.unwrap_or_default())
    });
    let names = PossibleValuesParser::new(commands.chain(topics).collect::<Vec<_>>());
    parser.mut_subcommand("help", |help| help.mut_arg("name", |name| name.value_parser(names)))
}

fn replicas() -> impl TypedValueParser<Value = u64> {
    PossibleValuesParser::new(["1", "3", "5"]).try_map(|count| count.parse::<u64>())
}

fn level_parser() -> impl TypedValueParser<Value = LevelFilter> {
    let levels = PossibleValuesParser::new(["error", "warn", "info", "debug", "trace"]);
    levels.try_map(|level| level.parse::<LevelFilter>())
}

/// `500ms`, `10s`, `1.5s`, `2m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "" => return Err("no unit; use ms, s, m or h, as in 500ms or 3s".to_owned()),
        _ => return Err(format!("unknown unit {unit:?}; use ms, s, m or h")),
    };
    let number: f64 = number.parse().map_err(|_| "not a number with ms, s, m or h".to_owned())?;
    let duration = Duration::try_from_secs_f64(number * seconds).ok();
    duration
        .filter(|duration| (1..=86_400_000).contains(&duration.as_millis()))
        .ok_or_else(|| "must be 1ms to 24h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_arguments_is_valid() {
        parser().debug_assert();
    }

    #[test]
    fn no_topic_has_the_name_of_a_command() {
        let parser = parser();
        for topic in TOPICS {
            assert!(parser.find_subcommand(topic.name).is_none(), "{}", topic.name);
        }
    }

    #[test]
    fn durations_have_units() {
        for (text, millis) in [("500ms", 500), ("1.5s", 1_500), ("2m", 120_000), ("1h", 3_600_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "3000", "-1s", "1d", "0s", "25h", "1..2s", "1e3", "NaN", "inf"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
