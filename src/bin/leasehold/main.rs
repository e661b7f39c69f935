//! The command `leasehold`: elections and virtual IPs for programs in any language.
//!
//! `daemon` runs a node; everything else looks, or asks daemons. All of it is
//! [`Manager`](leasehold::Manager)'s work; here are the words around it.

mod args;
mod commands;
mod daemon;
mod failure;
mod hook;
mod hooks;
mod init;
mod logger;
mod output;
mod process;
mod reload;
mod screen;
mod systemd;
mod terminal;
mod text;
mod watch;

use std::process::ExitCode;

use args::{Args, Command};
use clap::{CommandFactory, Parser};
use failure::Failure;

fn main() -> ExitCode {
    let args = Args::parse();
    let log = logger::start(&args);
    let result = run(&args);
    let code = match &result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::failure(args.json, failure);
            ExitCode::from(failure.exit_code())
        }
    };
    log.finish();
    code
}

fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Init(wanted) => init::init(args, wanted),
        Command::Daemon(options) => daemon::daemon(args, options),
        Command::Status(which) => commands::status(args, which),
        Command::Join => commands::join(args),
        Command::Watch(options) => watch::watch(args, options.interval),
        Command::Promote { force } => commands::promote(args, *force),
        Command::Demote => commands::demote(args),
        Command::Transfer { to } => commands::transfer(args, to),
        Command::Leave => commands::leave(args),
        Command::Version => output::version(args.json),
        Command::Completions { shell } => {
            let mut command = Args::command();
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut command, "leasehold", &mut script);
            output::raw(&script)
        }
    }
}
