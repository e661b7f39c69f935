//! Virtual IPs that follow the leader, and that the kernel takes away by itself.
//!
//! A [`Holder`] puts addresses on interfaces by netlink and tells the network where they are now.
//! It is independent of the election: it knows a deadline and nothing else. [`Worker`] ties it to
//! a term.
//!
//! ```no_run
//! use std::time::Duration;
//! use leasehold::clock::Clock;
//! use leasehold::vip::{Extension, Holder, Policy, VirtualAddress};
//!
//! let address = VirtualAddress::new("10.0.0.10".parse().unwrap(), "eth0")?;
//! let mut holder = Holder::new(vec![address], Policy::default())?;
//! holder.sweep_stale()?;
//!
//! let clock = Clock::boot();
//! holder.acquire(clock.now() + Duration::from_secs(8))?;
//! // At each renewal of the lease:
//! if let Extension::Lost(error) = holder.extend(clock.now() + Duration::from_secs(8)) {
//!     eprintln!("nobody holds the address: {error}");
//! }
//! holder.release()?;
//! # Ok::<(), leasehold::vip::VipError>(())
//! ```
//!
//! # Why no address is left behind
//!
//! 1. The kernel knows how long each address may stay: what is left of the lease less two seconds
//!    ([`KERNEL_MARGIN`]), in whole seconds, rounded down. When nobody extends it in time, because
//!    the process was killed, stopped or hangs, the kernel removes it before the lease is over.
//! 2. The holder itself removes it at the deadline, should it still be there.
//! 3. The kernel's clock stands still while the machine sleeps, the lease does not: after a jump
//!    between the two, every address is removed, and put back if the lease still holds.
//!
//! [`Timing::check_virtual_ip`](crate::timing::Timing::check_virtual_ip) says whether a lease is
//! long enough for this; a configuration with a virtual IP is checked when it is built. With a TTL
//! of 10 s renewed every 3 s the address outlives one lost request, not two: then the kernel may
//! remove it while the term still lives, and the next acknowledged renewal puts it back and
//! announces it.
//!
//! # What is never touched
//!
//! An address is ours if it bears our mark (`IFA_PROTO`, Linux 5.18 and later) or is the very
//! instance this holder made. Every change is preceded by a look; anything else with the same
//! address, an administrator's above all, is an error and stays as it is. Addresses are compared
//! whole, and put there with their full length as prefix and without a route, so that no other
//! address of the interface depends on them.
//!
//! # What it needs
//!
//! `CAP_NET_ADMIN` to add and remove, `CAP_NET_RAW` to announce and probe; both are checked when
//! the holder is built. Any interface will do for holding; announcements need Ethernet.

mod address;
mod announcer;
mod backend;
mod codec;
mod error;
mod frame;
mod holder;
mod kernel;
mod managed;
mod memory;
mod netlink;
mod policy;
mod report;
mod worker;

pub use address::{InterfaceName, MacAddress, VirtualAddress};
pub use backend::{Assigned, Backend, Interface, Sighting};
pub use error::{Capability, Fault, VipError};
pub use holder::{Extension, Holder};
pub use kernel::Kernel;
pub use memory::Memory;
pub use policy::{Existing, KERNEL_MARGIN, Lifetime, Policy};
pub use report::{VipEvent, VipStats};
pub use worker::Worker;

use crate::config::Config;

/// A worker for the virtual IP of a configuration, with the default policy; `None` when the
/// configuration has no virtual IP.
///
/// A [`Node`](crate::Node) calls this by itself. Blocks for a few system calls.
///
/// # Errors
/// As [`Holder::new`] and [`Worker::start`].
pub fn from_config(config: &Config) -> Result<Option<Worker>, VipError> {
    let start =
        |vip| Worker::start(Holder::new(vec![VirtualAddress::from(vip)], Policy::default())?);
    config.vip().map(start).transpose()
}

#[cfg(test)]
mod node_tests;
