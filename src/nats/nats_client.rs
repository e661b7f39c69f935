//! Connections made by the `nats` crate, and all that keeps the crate in check.
//!
//! The crate is used to transport messages only. Its key-value and JetStream parts are not used:
//! their calls have no timeout, they take a lost race for a success, and they keep writes for after
//! a reconnect.
//!
//! # How a connection is made
//! [`Connector`] chooses a server and the moment. Each attempt runs on a thread of its own, which
//! first probes the server under a deadline (`handshake.rs`) and then has the crate connect. The
//! result is a [`NatsClient`]: one TCP connection, which is never made again.
//!
//! # Why sending does not block
//! The crate's locks are held over socket writes by its flushing thread. Messages are therefore
//! sent by `try_publish…`, which takes the lock only if it is free, and writes only into a buffer
//! with room enough. A message that cannot be sent now stays in the caller's outbox.
//!
//! # Limits
//! * The crate reads a server's lines into a buffer of 4096 bytes and panics on a longer one. The
//!   probe refuses such a server. A server that sends one later ends the crate's reading thread;
//!   the silence that follows makes the owner of the connection build a new one.
//! * The crate does not limit the size of an incoming message.
//! * It gives up a connection on which it receives headers that it cannot read. `notice_breaker.rs`
//!   limits what a forger of notices can do with that; for the inbox there is no such remedy.
//! * Over TLS, the crate's flushing thread may read a message that its reading thread sees only
//!   with the next bytes. Echoes (`echo.rs`), or timeouts and reads of the lease store, cover that.
//! * Servers that want TLS before their INFO (`handshake_first`) are not supported by the crate.
#![allow(deprecated)] // The crate is deprecated as a whole; see the guide, "dependencies".

mod attempt;
mod auth;
#[cfg(any(test, fuzzing))]
pub(crate) mod bytes;
mod client;
mod connector;
mod echo;
mod handshake;
mod notice_breaker;
mod reaper;
mod tls;

pub(super) use client::NatsClient;
pub(super) use connector::Connector;
