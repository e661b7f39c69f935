//! The node with its threads on the store in memory, and what its threads share.

#[path = "../support/mod.rs"]
#[macro_use]
mod support;

mod events;

mod every_store;
#[cfg(target_os = "linux")]
mod exhaustion;
mod hostile;
mod in_memory;
#[cfg(target_os = "linux")]
mod leaks;
mod metrics;
mod moved_clock;
#[cfg(all(feature = "capi", target_os = "linux"))]
mod races;
mod types;
