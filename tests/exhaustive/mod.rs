//! The modules of the exhaustive search.

mod invariants;
mod node;
#[allow(dead_code, reason = "the simulator checks more rules, and lists them")]
#[path = "../simulation/rules.rs"]
pub(crate) mod rules;
pub(crate) mod search;
pub(crate) mod settings;
mod store;
mod world;
