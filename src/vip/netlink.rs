//! The socket to rtnetlink: one request, one response.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::libc::MSG_TRUNC;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::codec::{Request, ResponseError, ResponseReader};
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
    pub(super) fn change(&mut self, request: Request<'_>) -> Result<(), NetlinkError> {
        self.request(request, |_, _| Ok(None::<()>)).map(|_| ())
    }

    /// Sends a request, and returns the results of `take` for the messages of its response.
    pub(super) fn request<T>(
        &mut self,
        request: Request<'_>,
        take: impl Fn(u16, &[u8]) -> Result<Option<T>, ResponseError>,
    ) -> Result<Vec<T>, NetlinkError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.request_once(request, &take) {
                Err(NetlinkError::Response(ResponseError::Interrupted))
                    if attempts < DUMP_ATTEMPTS => {}
                result => return result,
            }
        }
    }

    fn request_once<T>(
        &mut self,
        request: Request<'_>,
        take: &impl Fn(u16, &[u8]) -> Result<Option<T>, ResponseError>,
    ) -> Result<Vec<T>, NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let kernel = SocketAddr::new(0, 0);
        self.socket.send_to(&request.to_bytes(self.sequence), &kernel, 0)?;
        let mut response = ResponseReader::to(self.sequence, self.port);
        let mut taken = Vec::new();
        while !response.is_complete() {
            self.receive()?;
            response.read(&self.buffer, |kind, payload| {
                taken.extend(take(kind, payload)?);
                Ok(())
            })?;
        }
        Ok(taken)
    }

    /// Reads the kernel's next datagram into the buffer, and skips those of other senders.
    fn receive(&mut self) -> Result<(), NetlinkError> {
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, MSG_TRUNC) {
                Ok((_, sender)) if sender.port_number() != 0 => {}
                Ok((length, _)) if length > self.buffer.len() => {
                    return Err(ResponseError::Malformed(format!("cut off: {length} bytes")).into());
                }
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Why a request failed.
#[derive(Debug)]
pub(super) enum NetlinkError {
    Response(ResponseError),
    Socket(io::Error),
}

impl From<ResponseError> for NetlinkError {
    fn from(refusal: ResponseError) -> Self {
        Self::Response(refusal)
    }
}

impl From<io::Error> for NetlinkError {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

impl NetlinkError {
    /// The kernel's errno; 0 when it did not answer.
    pub(super) const fn errno(&self) -> i32 {
        match self {
            Self::Response(ResponseError::Kernel { errno, .. }) => *errno,
            _ => 0,
        }
    }

    /// The fault, whatever the request was.
    pub(super) fn into_fault(self) -> Fault {
        match self {
            Self::Response(ResponseError::Kernel { errno, detail }) => {
                Fault::Kernel { errno, detail }
            }
            Self::Response(ResponseError::Interrupted) => {
                Fault::NoAnswer("the address table changes faster than it can be read".into())
            }
            Self::Response(ResponseError::Malformed(what)) => Fault::NoAnswer(what),
            Self::Socket(error) => Fault::NoAnswer(error.to_string()),
        }
    }
}
