//! The command `leasehold`: elections and virtual IPs for programs in any language.
//!
//! `daemon` runs a node; the other commands read the state or send requests to daemons.
//! [`Manager`](leasehold::Manager) does the work.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

mod args;
mod commands;
mod daemon;
mod failure;
mod help;
mod hooks;
mod logger;
mod markdown;
mod output;
mod process;
mod screen;
mod systemd;
mod terminal;
mod text;
mod watch;

use std::process::ExitCode;

use args::{Args, Command, parser};
use clap::FromArgMatches;
use clap::error::ErrorKind;
use failure::Failure;

fn main() -> ExitCode {
    let matches = parser().try_get_matches();
    let args = match matches.and_then(|matches| Args::from_arg_matches(&matches)) {
        Ok(args) => args,
        // Not a mistake: help or the version was asked for, or there were no arguments.
        Err(error) if !is_mistake(&error) => error.exit(),
        Err(error) => return end(std::env::args_os().any(|arg| arg == "--json"), &error.into()),
    };
    let log = logger::start(&args);
    let result = run(&args);
    let code = result.map_or_else(|failure| end(args.json, &failure), |()| ExitCode::SUCCESS);
    log.finish();
    code
}

fn is_mistake(error: &clap::Error) -> bool {
    error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

fn end(json: bool, failure: &Failure) -> ExitCode {
    output::failure(json, failure);
    ExitCode::from(failure.exit_code())
}

fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Init(wanted) => commands::init(args, wanted),
        Command::Daemon(options) => daemon::daemon(args, options),
        Command::Status(which) => commands::status(args, which),
        Command::Join => commands::join(args),
        Command::Watch(options) => watch::watch(args, options.interval),
        Command::Promote { force } => commands::promote(args, *force),
        Command::Demote => commands::demote(args),
        Command::Transfer { to } => commands::transfer(args, to),
        Command::Leave => commands::leave(args),
        Command::Help { name } => help::help(args.json, name.as_deref()),
        Command::Version => output::version(args.json),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut parser(), "leasehold", &mut script);
            output::raw(&script).map(drop)
        }
    }
}
