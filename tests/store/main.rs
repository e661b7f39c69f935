//! The lease store: one contract for the store in memory and the one on NATS, and tests that need
//! real servers and connections.

#[path = "../support/mod.rs"]
#[macro_use]
mod support;
mod driver;
#[path = "../netns/mod.rs"]
mod netns;

mod addresses;
mod auth;
mod contract;
mod link;
mod names;
mod nats;
mod refusals;
mod suite;
mod tls;
