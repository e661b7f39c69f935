//! How long nobody leads, what leading costs, and how far both are from what cannot be avoided.
//!
//! ```sh
//! cargo bench --bench failover                                     # all, twenty minutes
//! cargo bench --bench failover -- --busy 0,2,4 --rounds 20         # on a busy machine too
//! cargo bench --bench failover -- --only step-down,stop --rounds 20
//! cargo bench --bench failover -- --smallest-ttl                   # which TTL holds
//! cargo bench --bench failover -- --stream-leader --server 2.15.1  # which timers hold with three
//! ```
//!
//! The two clients are columns, measured in turn in the same run. `--busy` starts so many endless
//! loops beside, one run for each number. Options: `--rounds N` for fewer rounds, `--only` for
//! parts (`step-down`, `stop`, `start`, `crash`, `frozen`, `replicated`, `cost`, `process`),
//! `--server 2.9.10` or `--server 2.15.1` for one of them, `--seed N` for the pauses, `--json` for
//! JSON on stdout instead of the tables, `--out FOLDER` for `failover.json`, `failover.md` and
//! `failover.svg` there (default: `target/bench`), `--guide` to renew the tables in the guide and
//! the picture.
//!
//! The yardstick is the same messages by plain sockets on one thread, in turn with the clients, so
//! that a slow or busy machine slows all of them. Nodes are processes of their own, and all moments
//! are of the boot-time clock, which processes of one machine share.

#[cfg(all(feature = "direct", feature = "nats-client"))]
#[path = "failover/mod.rs"]
mod failover;
#[cfg(all(feature = "direct", feature = "nats-client"))]
#[macro_use]
#[path = "../support/mod.rs"]
mod support;

#[cfg(all(feature = "direct", feature = "nats-client"))]
fn main() {
    failover::member::play();
    failover::run();
}

/// Both clients are compared: builds itself again with both.
#[cfg(not(all(feature = "direct", feature = "nats-client")))]
fn main() {
    use std::os::unix::process::CommandExt;

    if std::env::args().any(|argument| argument == "--help") {
        return print!("{}", include_str!("failover/usage.txt"));
    }
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args(["bench", "--features", "direct,nats-client", "--bench", "failover", "--"]);
    let failed = cargo.args(std::env::args_os().skip(1)).exec();
    panic!("cargo: {failed}");
}
