//! The modules of the simulator.

mod clock;
mod commits;
mod driver;
mod forger;
mod gate;
mod inject;
mod instant;
mod invariants;
mod liveness;
mod model;
mod network;
mod plan;
mod process;
mod rng;
mod rules;
pub(crate) mod run;
mod server;
mod trace;
mod verdict;
mod world;
