//! The shipped election in a simulated world.
//!
//! Two to seven nodes with clocks of their own drive the real state machine through the renewal
//! loop's turns. The server, the network, the operators and the applications around them misbehave
//! as a seed says; every promise of the protocol is checked after each event, by its name. A seed
//! is the whole case.
//!
//! `LEASEHOLD_SEEDS=N` plays N seeds, `LEASEHOLD_SEED=S` plays one and shows its trace.
#![allow(clippy::struct_excessive_bools, reason = "each is a fault that is on or off")]
#![allow(clippy::large_enum_variant, reason = "short-lived, and boxes cost more than they save")]

#[path = "simulation/mod.rs"]
mod simulation;

#[test]
fn no_seed_breaks_a_promise() {
    simulation::run::main();
}
