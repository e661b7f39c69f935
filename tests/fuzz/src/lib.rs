//! The targets' common part: what a reader may allocate, and how that is measured.

#[path = "../../hostile/mod.rs"]
pub mod hostile;
mod memory;

pub use memory::measured;
