//! Connections to NATS servers, for the lease store and for requests.
//!
//! [`Connection`](connection::Connection) is what the rest of the library uses: it connects to one
//! of the configured servers, connects again when that ends, sends, receives, and reports what
//! happens as events. Below it are two transports: `direct` is this library's own client, and
//! `nats_client` uses the `nats` crate, which only the files of that group name. Both make their
//! first contact with a server by the same code (`dial.rs`). A library that is built with neither
//! has stores in memory and stores of your own; connections are refused.
#![cfg_attr(
    not(all(feature = "direct", feature = "nats-client")),
    allow(dead_code, reason = "each transport uses a part")
)]

pub(crate) mod connection;
mod connector;
#[cfg(feature = "_servers")]
mod credentials;
#[cfg(feature = "_servers")]
mod dial;
#[cfg(feature = "direct")]
mod direct;
#[cfg(feature = "_servers")]
mod handshake;
#[cfg(feature = "_servers")]
mod keep_alive;
pub(crate) mod message;
#[cfg(feature = "nats-client")]
mod nats_client;
#[cfg(feature = "_servers")]
mod parser;
mod round;
mod server_error;
#[cfg(feature = "_servers")]
mod tls;
pub(crate) mod transport;
pub(crate) mod version;
#[cfg(feature = "_servers")]
mod wire;

#[cfg(all(any(test, fuzzing), feature = "_servers"))]
pub(crate) mod bytes;

pub(crate) use server_error::PermissionViolation;

use crate::clock::Clock;
use crate::config::connection::{ConnectionSettings, ServerAddress};
use crate::error::StoreError;
use crate::text::excerpt;
use transport::{ConnectionOptions, Transport};

/// The transport that the settings choose.
fn transport(
    settings: ConnectionSettings,
    options: ConnectionOptions,
    clock: Clock,
) -> Result<Box<dyn Transport>, StoreError> {
    #[cfg(feature = "nats-client")]
    if settings.transport.is_nats_client() {
        return Ok(Box::new(nats_client::CrateTransport::new(settings, options, clock)));
    }
    #[cfg(feature = "direct")]
    return Ok(Box::new(direct::Direct::new(settings, options, clock)?));
    #[cfg(not(feature = "direct"))]
    {
        let reason =
            "this program was built without a transport: the feature direct or nats-client";
        let servers: Vec<_> = settings.servers.iter().map(ToString::to_string).collect();
        drop((settings, options, clock));
        Err(StoreError::Unreachable { servers: servers.join(", ").into(), reason: reason.into() })
    }
}

/// The prefix of response subjects for one connection, which no other connection has.
fn new_inbox(prefix: &str) -> String {
    let mut bits = [0; 16];
    // Without random bits, only the account's permissions keep inboxes apart.
    let _ = getrandom::fill(&mut bits);
    format!("{prefix}.{:032x}", u128::from_be_bytes(bits))
}

/// The error of an attempt to connect to a server.
fn unreachable(server: &ServerAddress, reason: &str) -> StoreError {
    StoreError::Unreachable { servers: server.to_string().into(), reason: excerpt(reason).into() }
}
