//! The targets' common part: what a reader may allocate, and how that is measured.

#[path = "../../hostile/checks.rs"]
pub mod checks;
mod memory;

pub use memory::measured;
