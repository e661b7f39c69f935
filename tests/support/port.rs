//! Loopback ports that stay one's own while nothing listens on them.
//!
//! A server that is stopped and started again must find its port free. Ports come from below the
//! range that the kernel hands to outgoing connections, and each is reserved against other tests,
//! of this process and of others, by a name in the abstract socket namespace: like a port it is
//! one per network namespace, and the kernel lets go of it when its holder dies.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::time::Duration;

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use super::wait::eventually_some;

/// First port handed out, and how many there are; Linux gives outgoing connections 32768 and up.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;
/// A process that another test starts holds our sockets until it runs its own program.
const FORK: Duration = Duration::from_secs(30);

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

    /// Listens here, where one may have listened and closed just before.
    pub fn listen(&self) -> TcpListener {
        eventually_some(FORK, "a reserved port", || match TcpListener::bind(self.address()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
            listener => Some(listener.expect("a loopback port")),
        })
    }

    fn try_reserve(number: u16) -> Option<Self> {
        let name = UnixAddr::from_abstract_name(format!("leasehold-test-port-{number}")).ok()?;
        let reservation = UnixListener::bind_addr(&name).ok()?;
        probe(loopback(number)).ok()?;
        Some(Self { number, _reservation: reservation })
    }
}

/// Fails when somebody listens there. Does not listen itself: a process just forked would go on
/// with that for a moment.
fn probe(address: SocketAddr) -> rustix::io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)
}

/// A random number: the standard library seeds its hasher from the operating system.
fn random() -> u16 {
    (RandomState::new().hash_one(()) >> 48) as u16
}

fn loopback(number: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, number).into()
}
