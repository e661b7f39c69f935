//! How long nobody leads, what leading costs, and how far both are from what cannot be avoided.
//!
//! ```sh
//! cargo bench --bench failover                    # both servers, some ten minutes
//! cargo bench --bench failover -- --quick         # under a minute
//! cargo bench --bench failover -- --smallest-ttl  # which TTL holds for ten minutes
//! cargo bench --bench failover -- --handover      # only hand-overs
//! cargo bench --bench failover -- --threads       # only what happens within a process
//! ```
//!
//! Options: `--server 2.9.10` or `--server 2.15.1` for one of them, `--seed N` for the pauses,
//! `--json` for JSON on stdout instead of the table, `--out FOLDER` for `failover.json`,
//! `failover.md` and `failover.svg` there (default: `target/bench`), `--guide` to renew the table
//! in the guide and the picture.
//!
//! Every figure stands beside a yardstick of the same run, taken in turn with it, so that a slow or
//! busy machine slows both. Nodes are processes of their own, and all moments are of the boot-time
//! clock, which processes of one machine share.
#![allow(deprecated, reason = "the yardstick uses the same client as the library")]

#[path = "failover/mod.rs"]
mod failover;
#[macro_use]
#[path = "../support/mod.rs"]
mod support;

fn main() {
    failover::member::play();
    failover::run();
}
