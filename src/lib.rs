//! One leader at a time, for programs without an async runtime: leader election by a lease over
//! NATS JetStream, a fencing number for every term, and virtual IPs that follow the leader.
//!
//! Every node of a cluster starts a [`Node`] with the same cluster id. One of them leads. The
//! program takes [events](Event), and asks its [token](Leadership) before each step of work:
//!
//! ```no_run
//! use leasehold::{Config, Event, Node};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::start(Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?)?;
//! let mut term = None;
//! loop {
//!     match node.events().next_timeout(Duration::from_millis(100)) {
//!         Some(Event::BecameLeader(token)) => term = Some(token),
//!         Some(Event::Resigning { drain, .. }) => {
//!             term = None; // finish what is under way ...
//!             drop(drain); // ... then release the lease
//!         }
//!         Some(Event::LostLeadership { .. }) => term = None,
//!         _ => {}
//!     }
//!     if let Some(Ok(epoch)) = term.as_ref().map(|token| token.ensure()) {
//!         println!("leading, epoch {epoch}"); // work here; send the epoch with each write
//!     }
//! #   break;
//! }
//! node.stop(); // releases the lease: the next node leads within milliseconds
//! # Ok(())
//! # }
//! ```
//!
//! # The manual
//!
//! [`guide`] has one page per topic. Begin with the [quick start](guide::quick_start), the
//! [concepts](guide::concepts), and the [guarantees and limits](guide::guarantees). The
//! [embedding patterns](guide::embedding) show main loops, `select!`, `epoll`, mio, thread pools
//! and `fork`. [Losing leadership in your tests](guide::your_tests) needs no server and no time.
//!
//! # Where to find what
//!
//! | to … | see |
//! |---|---|
//! | lead | [`Node`], [`Config`], [`Event`], [`Leadership`] |
//! | watch without taking part | [`Observer`] |
//! | take events on several threads | [`NodeHandle::subscribe`] |
//! | test a program without a server | [`testing`], [`store::memory`] |
//! | get calls instead of events | [`Hooks`] |
//! | refuse the writes of a former leader | [`fence`] |
//! | hold virtual IPs (Linux) | [`vip`] |
//! | run a daemon, or command one | [`Manager`] |
//! | be asked and commanded over NATS | [`health`], [`service`] |
//! | feed a monitoring system | [`metrics`] |
//! | test a program without a server | [`store::memory`], [`clock`] |
//! | keep the record elsewhere than in NATS (unstable) | [`store`] |
//! | drive the protocol yourself (unstable) | [`election`] |
//!
//! # Threads
//!
//! A node has one thread of its own (`leasehold-renew`). With the transport `nats-client` each
//! connection has two more. Other threads exist only when they are used: one for hooks, one for
//! virtual IPs, one for each health responder and service (each with a connection), two for each
//! health check, and one for each [receiver](Events::receiver) whose queue was full once. A
//! short-lived thread resolves a server's name; with `nats-client` others connect, and close dead
//! connections. All of them block all signals. Every handle may be used from any thread.
//!
//! # Two clients
//!
//! The feature `nats-client` (default) connects by the `nats` crate. The feature `direct` has a
//! client of this library's own, without further threads: a lease changes hands faster on a busy
//! machine, and the program has half the dependencies. With both, `direct` is used unless
//! [`nats.transport`](guide::configuration) says otherwise. See
//! [dependencies](guide::dependencies).

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

#[cfg(all(feature = "capi", unix))]
pub mod capi;
pub mod clock;
pub mod config;
mod drain;
pub mod election;
pub mod error;
pub mod event;
mod events;
pub mod fence;
pub mod guide;
pub mod health;
mod hooks;
mod json;
pub mod leadership;
pub mod lease;
pub mod manager;
pub mod metrics;
mod nats;
mod node;
mod observer;
mod renewal;
mod request_server;
mod requester;
pub mod service;
pub mod store;
mod sys;
mod task;
pub mod testing;
#[doc(hidden)]
pub mod text;
pub mod timing;
#[doc(hidden)]
pub mod utc;
#[cfg(all(feature = "vip", target_os = "linux", not(leasehold_portable)))]
pub mod vip;
#[cfg(not(all(feature = "vip", target_os = "linux", not(leasehold_portable))))]
#[path = "vip/absent.rs"]
pub mod vip;
mod wait;

/// The channel of [`Events::receiver`], for `crossbeam_channel::select!`.
pub use crossbeam_channel;
/// The values of [`NodeHandle::set_meta`].
pub use serde_json;

pub use config::Config;
pub use drain::DrainGuard;
pub use error::{Refused, StartError, StoreError, WaitError};
pub use event::{Cause, Event, Reason, Role};
#[cfg(unix)]
pub use events::Pollable;
pub use events::{EventIter, Events};
pub use hooks::Hooks;
pub use leadership::{Leadership, LeadershipLost};
pub use lease::{Epoch, SessionId};
pub use manager::{Manager, ManagerError};
pub use node::{
    LeaderInfo, Node, NodeBuilder, NodeHandle, SetMetaError, Stats, Status, Stopped, ThreadHealth,
    TransferError,
};
pub use observer::Observer;

/// What the README shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
