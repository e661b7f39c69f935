//! Virtual IPs that follow the leader, and that the kernel removes by itself.
//!
//! A [`Holder`] puts addresses on interfaces by netlink and announces them to the network. It is
//! independent of the election: it knows a deadline and nothing else. [`Worker`] runs a holder for
//! the terms of a node.
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
//!     eprintln!("the address is not held: {error}");
//! }
//! holder.release()?;
//! # Ok::<(), leasehold::vip::VipError>(())
//! ```
//!
//! # Why no address is left behind
//!
//! 1. The kernel knows how long each address may stay: what is left of the lease less two seconds
//!    ([`KERNEL_MARGIN`]), rounded down to whole seconds. If the address is not extended in time,
//!    because the process was killed, was stopped or hangs, the kernel removes it before the lease
//!    ends.
//! 2. The holder itself removes an address that is still there at the deadline.
//! 3. The kernel's clock stops while the machine sleeps; the lease's clock does not. After a jump
//!    between the two, the holder removes every address, and puts it back if the lease still holds.
//!
//! [`Timing::check_virtual_ip`](crate::timing::Timing::check_virtual_ip) says whether a lease is
//! long enough for this; a configuration with a virtual IP is checked when it is built. With a TTL
//! of 10 s and a renewal every 3 s the address survives one lost request, not two. After two the
//! kernel may remove it while the term lasts; the next acknowledged renewal then puts it back and
//! announces it.
//!
//! # Addresses of others are never changed
//!
//! A holder owns an address if the address has the mark of this library (`IFA_PROTO`, Linux 5.18
//! and later), or is the very instance that this holder added. The holder looks before every
//! change. Any other instance of the same address, such as an administrator's, is an error and
//! stays as it is. Addresses are compared as a whole. They get their full length as prefix and no
//! route, so that no other address of the interface depends on them. Several addresses of a holder
//! are held together: all or none.
//!
//! # Requirements
//!
//! `CAP_NET_ADMIN` to add and remove addresses, and `CAP_NET_RAW` to announce them and to probe for
//! other hosts; both are checked when the holder is built. Any interface can hold an address;
//! announcements need Ethernet.

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
mod state;
mod worker;

pub use address::{InterfaceName, MacAddress, VirtualAddress};
pub use backend::{Assigned, Backend, Interface, Sighting};
pub use error::{Capability, Fault, VipError};
pub use holder::{Extension, Holder};
pub use kernel::Kernel;
pub use memory::Memory;
pub use policy::{Existing, KERNEL_MARGIN, Lifetime, Policy};
pub use report::{VipEvent, VipStats};
pub(crate) use state::SharedStates;
pub use state::VipState;
pub use worker::Worker;

use crate::config::Config;

/// A worker for the virtual IPs of a configuration, with the default policy; `None` when the
/// configuration has none.
///
/// A [`Node`](crate::Node) calls this by itself. Blocks for a few system calls.
///
/// # Errors
/// As [`Holder::new`] and [`Worker::start`].
pub fn from_config(config: &Config) -> Result<Option<Worker>, VipError> {
    let addresses: Vec<_> = config.vips().iter().map(VirtualAddress::from).collect();
    if addresses.is_empty() {
        return Ok(None);
    }
    Worker::start(Holder::new(addresses, Policy::default())?).map(Some)
}

#[cfg(test)]
mod node_tests;
