//! One leader at a time, for programs without an async runtime: lease-based leader election over
//! NATS JetStream KV, an epoch that fences off stale leaders, and virtual IPs that follow the lead.
//!
//! # In short
//!
//! Every node of a cluster starts a [`Node`] with the same cluster id. One of them leads; it learns
//! so, and everything else, from a channel that it drains in its own loop.
//!
//! ```no_run
//! use std::time::Duration;
//! use leasehold::{Config, Event, Node};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::start(Config::new("orders", "node-1", ["nats://127.0.0.1:4222"])?)?;
//! let mut leadership = None;
//! loop {
//!     match node.events().next_timeout(Duration::from_millis(100)) {
//!         Some(Event::BecameLeader(token)) => leadership = Some(token),
//!         Some(Event::Resigning { drain, .. }) => {
//!             leadership = None; // finish what is under way, then let the lease go
//!             drop(drain);
//!         }
//!         Some(Event::LostLeadership { .. }) => leadership = None,
//!         Some(_) | None => {}
//!     }
//!     if let Some(Ok(epoch)) = leadership.as_ref().map(|token| token.ensure()) {
//!         println!("leading, epoch {epoch}"); // send the epoch along with every effect
//!     }
//! #   break;
//! }
//! node.stop(); // releases the lease: the next node takes over within milliseconds
//! # Ok(())
//! # }
//! ```
//!
//! # Without a server
//!
//! The same, on a store in memory, with everything that can go wrong with one:
//!
//! ```
//! use std::time::Duration;
//! use leasehold::clock::Clock;
//! use leasehold::store::memory::MemoryServer;
//! use leasehold::{Config, Node};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = MemoryServer::new();
//! let start = |name: &str| -> Result<Node, Box<dyn std::error::Error>> {
//!     let config = Config::new("orders", name, ["nats://localhost"])?;
//!     Ok(Node::builder(config).store(server.connect(Clock::boot())).start()?)
//! };
//! let first = start("first")?;
//! let token = first.wait_for_leadership(Duration::from_secs(5))?;
//! let second = start("second")?;
//! assert_eq!(second.wait_for_leader(Duration::from_secs(5))?, "first");
//!
//! first.step_down()?;
//! assert!(!first.is_leader() && !token.is_valid());
//! let next = second.wait_for_leadership(Duration::from_secs(5))?;
//! assert!(next.epoch() > token.epoch());
//! # Ok(())
//! # }
//! ```
//!
//! # What to rely on
//!
//! * **At most one node's [`is_leader`](Node::is_leader) is true**, as long as no two hosts' clock
//!   rates differ by more than the configured bound (10 % each way). It is a comparison of the
//!   boot-time clock with a deadline: it needs no thread, no lock and no network to turn false.
//!   [`election`] has the argument.
//! * **Epochs only rise**, over step-down, expiry, deletion of the record, and restarts of
//!   everybody.
//! * **A lease that is given back is released only after the work has stopped**: after every
//!   [`DrainGuard`] was dropped.
//! * **Nothing waits for the application.** A hook that hangs, a channel that nobody drains, a
//!   panic in a callback: renewals go on.
//!
//! What no lease can do is stop a process between its check and its act. Where that matters, let
//! the resource compare epochs: [`fence`].
//!
//! # Threads
//!
//! One of this library's own for each node (`leasehold-renew`) and two of the NATS client's; one
//! for hooks, if there are any; one for virtual IPs, if there are any; one for each health
//! responder and service, with a connection and so two threads of the client's of its own (a
//! [`Manager`]'s daemon has one for both); two for each health gate; short-lived ones to connect
//! and to put a dead connection away. All of them block all signals. Handles may be used from any
//! thread.
//!
//! # Where to go on
//!
//! [`Node`] and [`Config`] for programs, [`Observer`] to look without taking part, [`Hooks`] for
//! callbacks, [`fence::Gate`] for the resource's side, [`Manager`] for daemons and their operators,
//! [`health`] and [`service`] to be asked and commanded over NATS, [`metrics`] for a monitor,
//! [`store`] to put the lease elsewhere than in NATS, [`election`] for the protocol, [`vip`] for
//! virtual IPs.

#[cfg(all(feature = "capi", unix))]
pub mod capi;
pub mod clock;
pub mod config;
pub mod election;
pub mod error;
pub mod event;
mod events;
pub mod fence;
pub mod guide;
pub mod health;
mod hooks;
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
mod running;
pub mod service;
pub mod store;
mod sys;
mod task;
#[doc(hidden)]
pub mod text;
pub mod timing;
#[cfg(all(feature = "vip", target_os = "linux", not(leasehold_portable)))]
pub mod vip;
#[cfg(not(all(feature = "vip", target_os = "linux", not(leasehold_portable))))]
#[path = "vip/absent.rs"]
pub mod vip;
mod wait;

pub use config::Config;
pub use error::{Refused, StartError, StoreError, WaitError};
pub use event::{Cause, DrainGuard, Event, Reason, Role};
#[cfg(unix)]
pub use events::Pollable;
pub use events::{EventIter, Events};
pub use hooks::Hooks;
pub use leadership::{Leadership, LeadershipLost};
pub use lease::{Epoch, SessionId};
pub use manager::{Manager, ManagerError};
pub use node::{Node, NodeBuilder, NodeHandle, Pulse, Stats, Status, Stopped, TransferError};
pub use observer::Observer;

/// What the README shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
