//! The parts of the simulator.

mod clock;
mod commit;
mod dice;
mod examine;
mod forger;
mod gate;
mod liveness;
mod now;
mod plan;
mod process;
mod rules;
pub(crate) mod run;
mod server;
mod shadow;
mod strike;
mod trace;
mod turn;
mod wire;
mod world;
