//! Everything that can go wrong, done to node processes and real servers.
//!
//! A [`Site`] is a cluster of nodes, each behind wires of its own, on one server or three. A
//! [`Fault`] is done to it and undone; [`case`] does one and judges, the soak many by the dice.
//! What is judged is in [`nodes::timeline`](crate::nodes::timeline).
#![allow(dead_code, reason = "each test binary uses a part of this module")]
#![allow(unreachable_pub, reason = "`pub` marks what a part offers to the tests")]

#[macro_use]
#[allow(unused_macros, reason = "each test binary uses a part of this module")]
pub mod case;

pub mod clock;
pub mod cluster;
pub mod fault;
pub mod link;
pub mod process;
pub mod record;
pub mod server;
pub mod site;

#[allow(unused_imports, reason = "the same")]
pub use fault::{Fault, Hit};
