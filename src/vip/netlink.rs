//! The socket to rtnetlink: one request, one answer.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::libc::MSG_TRUNC;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::codec::{Answer, Refusal, Request};
use super::error::Fault;

/// The kernel works inside `send`, so an answer that is not there at once is not coming.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Dumps come in datagrams of at most this, the kernel's own limit (`NLMSG_GOODSIZE` times four).
const LARGEST_DATAGRAM: usize = 32 * 1024;

/// How often to ask again when the table changes while it is read.
const DUMP_ATTEMPTS: u32 = 8;

/// A socket to rtnetlink. It belongs to the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Netlink {
    // The crate's socket can be cloned and then closes twice: never clone it.
    socket: Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        set_socket_timeout(socket.as_fd(), Timeout::Recv, Some(ANSWER_TIMEOUT))?;
        // Each of these is newer than rtnetlink itself; without one an answer only says less.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        Ok(Self { socket, port, sequence: 0, buffer: Vec::with_capacity(LARGEST_DATAGRAM) })
    }

    /// Sends a request that has no result but success.
    pub(super) fn change(&mut self, request: Request<'_>) -> Result<(), Failure> {
        self.ask(request, |_, _| Ok(None::<()>)).map(|_| ())
    }

    /// Sends a request and hands every message of its answer to `take`; returns what was taken.
    pub(super) fn ask<T>(
        &mut self,
        request: Request<'_>,
        take: impl Fn(u16, &[u8]) -> Result<Option<T>, Refusal>,
    ) -> Result<Vec<T>, Failure> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.ask_once(request, &take) {
                Err(Failure::Refused(Refusal::Interrupted)) if attempts < DUMP_ATTEMPTS => {}
                result => return result,
            }
        }
    }

    fn ask_once<T>(
        &mut self,
        request: Request<'_>,
        take: &impl Fn(u16, &[u8]) -> Result<Option<T>, Refusal>,
    ) -> Result<Vec<T>, Failure> {
        self.sequence = self.sequence.wrapping_add(1);
        let kernel = SocketAddr::new(0, 0);
        self.socket.send_to(&request.to_bytes(self.sequence), &kernel, 0)?;
        let mut answer = Answer::to(self.sequence, self.port);
        let mut taken = Vec::new();
        while !answer.is_complete() {
            self.receive()?;
            answer.read(&self.buffer, |kind, payload| {
                taken.extend(take(kind, payload)?);
                Ok(())
            })?;
        }
        Ok(taken)
    }

    /// Fills the buffer with the kernel's next datagram, passing over anybody else's.
    fn receive(&mut self) -> Result<(), Failure> {
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, MSG_TRUNC) {
                Ok((_, sender)) if sender.port_number() != 0 => {}
                Ok((length, _)) if length > self.buffer.len() => {
                    return Err(Refusal::Malformed(format!("cut off: {length} bytes")).into());
                }
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Why a request came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    Refused(Refusal),
    Socket(io::Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

impl Failure {
    /// The errno the kernel answered with; 0 when it did not answer.
    pub(super) const fn errno(&self) -> i32 {
        match self {
            Self::Refused(Refusal::Kernel { errno, .. }) => *errno,
            _ => 0,
        }
    }

    /// The failure without any knowledge of what was asked.
    pub(super) fn into_fault(self) -> Fault {
        match self {
            Self::Refused(Refusal::Kernel { errno, detail }) => Fault::Kernel { errno, detail },
            Self::Refused(Refusal::Interrupted) => {
                Fault::NoAnswer("the address table changes faster than it can be read".into())
            }
            Self::Refused(Refusal::Malformed(what)) => Fault::NoAnswer(what),
            Self::Socket(error) => Fault::NoAnswer(error.to_string()),
        }
    }
}
