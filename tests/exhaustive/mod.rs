//! The parts of the exhaustive search.

mod check;
mod node;
pub(crate) mod search;
pub(crate) mod setting;
mod store;
mod world;
