//! Connections to NATS servers, for the lease store and for requests.
//!
//! [`Connection`](connection::Connection) is what the rest of the library uses: it connects to one
//! of the configured servers, connects again when that ends, sends, receives, and reports what
//! happens as events. Below it, `nats_client` makes single connections. That group uses the `nats`
//! crate, and its files are the only ones that name the crate.

pub(crate) mod connection;
pub(crate) mod message;
mod nats_client;
mod server_error;
pub(crate) mod transport;
pub(crate) mod version;

#[cfg(any(test, fuzzing))]
pub(crate) use nats_client::bytes;
pub(crate) use server_error::PermissionViolation;

/// The prefix of response subjects for one connection, which no other connection has.
fn new_inbox(prefix: &str) -> String {
    let mut bits = [0; 16];
    // Without random bits, only the account's permissions keep inboxes apart.
    let _ = getrandom::fill(&mut bits);
    format!("{prefix}.{:032x}", u128::from_be_bytes(bits))
}
