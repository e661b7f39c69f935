//! What the integration tests share: real servers, a faulty wire, processes, and a witness.
//!
//! A test file says `mod support;` and takes what it needs. Nothing in here uses the library, so
//! that what is seen here is evidence and not an echo.
#![allow(dead_code, unused_macros, reason = "each test binary uses a part of this module")]
#![allow(unreachable_pub, reason = "`pub` marks what a part offers to the tests")]

#[macro_use]
pub mod version;

pub mod alone;
pub mod bucket;
pub mod cluster;
pub mod codes;
pub mod disk;
pub mod monitor;
pub mod nats;
pub mod port;
pub mod process;
pub mod proxy;
pub mod server;
pub mod tls;
pub mod wait;
