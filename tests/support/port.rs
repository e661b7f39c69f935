//! Loopback ports that stay one's own while nothing listens on them.
//!
//! A server that is stopped and started again must find its port free. Ports come from below the
//! range that the kernel hands to outgoing connections, and each is reserved against other tests,
//! of this process and of others, by a name in the abstract socket namespace: like a port it is
//! one per network namespace, and the kernel lets go of it when its holder dies.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};

/// First port handed out, and how many there are; Linux gives outgoing connections 32768 and up.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// A TCP port on 127.0.0.1, reserved until dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _reservation: UnixListener,
}

impl Port {
    /// Reserves a port on which nothing listens now.
    pub fn reserve() -> Self {
        (0..1000)
            .find_map(|_| Self::try_reserve(FIRST + random() % COUNT))
            .expect("a free loopback port in 1000 attempts")
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// 127.0.0.1 with this port.
    pub fn address(&self) -> SocketAddr {
        loopback(self.number)
    }

    fn try_reserve(number: u16) -> Option<Self> {
        let name = UnixAddr::from_abstract_name(format!("leasehold-test-port-{number}")).ok()?;
        let reservation = UnixListener::bind_addr(&name).ok()?;
        TcpListener::bind(loopback(number)).ok()?;
        Some(Self { number, _reservation: reservation })
    }
}

/// A random number: the standard library seeds its hasher from the operating system.
fn random() -> u16 {
    (RandomState::new().hash_one(()) >> 48) as u16
}

fn loopback(number: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, number).into()
}
