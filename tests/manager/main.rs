//! The manager's daemons and commands, their health and their service, on real servers.

mod daemons;
#[path = "../support/mod.rs"]
#[macro_use]
mod support;

mod clusters;
mod daemon;
mod health;
#[cfg(target_os = "linux")]
mod leaks;
mod peer;
mod permissions;
mod service;
#[cfg(all(feature = "vip", target_os = "linux"))]
mod vip;
