//! The socket to rtnetlink: one request, one response.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::libc::MSG_TRUNC;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::codec::{Request, ResponseReader};
use super::error::Fault;

/// The kernel works inside `send`, so a response that is not there at once does not come.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The largest datagram of a dump: the kernel's limit (`NLMSG_GOODSIZE` times four).
const LARGEST_DATAGRAM: usize = 32 * 1024;

/// How many times a dump is requested when the table changes while it is read.
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
        set_socket_timeout(socket.as_fd(), Timeout::Recv, Some(RESPONSE_TIMEOUT))?;
        // Older kernels lack some of these; then a response says less.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        Ok(Self { socket, port, sequence: 0, buffer: Vec::with_capacity(LARGEST_DATAGRAM) })
    }

    /// Sends a request whose response has no content.
    pub(super) fn change(&mut self, request: Request<'_>) -> Result<(), Fault> {
        self.request(request, |_, _| Ok(None::<()>)).map(|_| ())
    }

    /// Sends a request, and returns the results of `take` for the messages of its response.
    pub(super) fn request<T>(
        &mut self,
        request: Request<'_>,
        take: impl Fn(u16, &[u8]) -> Result<Option<T>, Fault>,
    ) -> Result<Vec<T>, Fault> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(taken) = self.request_once(request, &take)? {
                return Ok(taken);
            }
        }
        Err(Fault::no_answer("the address table changes faster than it can be read"))
    }

    /// `None` when the table changed while it was read.
    fn request_once<T>(
        &mut self,
        request: Request<'_>,
        take: &impl Fn(u16, &[u8]) -> Result<Option<T>, Fault>,
    ) -> Result<Option<Vec<T>>, Fault> {
        self.sequence = self.sequence.wrapping_add(1);
        let kernel = SocketAddr::new(0, 0);
        self.socket
            .send_to(&request.to_bytes(self.sequence), &kernel, 0)
            .map_err(Fault::no_answer)?;
        let mut response = ResponseReader::to(self.sequence, self.port);
        let mut taken = Vec::new();
        while !response.is_complete() {
            self.receive()?;
            response.read(&self.buffer, |kind, payload| {
                taken.extend(take(kind, payload)?);
                Ok(())
            })?;
        }
        Ok((!response.is_interrupted()).then_some(taken))
    }

    /// Reads the kernel's next datagram into the buffer, and skips those of other senders.
    fn receive(&mut self) -> Result<(), Fault> {
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, MSG_TRUNC) {
                Ok((_, sender)) if sender.port_number() != 0 => {}
                Ok((length, _)) if length > self.buffer.len() => {
                    return Err(Fault::no_answer(format!("cut off: {length} bytes")));
                }
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::no_answer(error)),
            }
        }
    }
}
