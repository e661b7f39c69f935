//! The shipped election in a simulated world.
//!
//! Two to seven processes, each with its own clock, drive the real state machine as the renewal
//! loop does. The server, the network, the operators and the applications misbehave as a seed says.
//! After each event every rule of the protocol is checked, see `simulation/rules.rs`. One seed
//! determines the whole run.
//!
//! * `LEASEHOLD_SEEDS=N` runs N seeds, from `LEASEHOLD_FIRST_SEED` on, default 0.
//! * `LEASEHOLD_KEEP_GOING=1` goes on after the first failure.
//! * `LEASEHOLD_SEED=S` runs one seed and prints the end of its trace; with `LEASEHOLD_TRACE=1` the
//!   whole trace.
//! * `LEASEHOLD_RULE=I7` checks one rule only, by code or name.
#![allow(clippy::struct_excessive_bools, reason = "each is a fault that is on or off")]
#![allow(clippy::large_enum_variant, reason = "short-lived, and boxes cost more than they save")]

#[path = "simulation/mod.rs"]
mod simulation;

#[test]
fn no_seed_breaks_a_rule() {
    simulation::run::main();
}
