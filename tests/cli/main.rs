//! The command `leasehold` as its users meet it.

mod site;
#[path = "../support/mod.rs"]
#[macro_use]
mod support;

mod commands;
mod daemon;
mod readme;
mod story;
