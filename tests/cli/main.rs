//! The command `leasehold`, run as processes.

mod site;
#[path = "../support/mod.rs"]
#[macro_use]
mod support;

mod commands;
mod daemon;
mod readme;
mod story;
