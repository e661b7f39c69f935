//! A non-blocking socket, plain or with TLS, that carries the operations of the protocol.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::ops::Range;
use std::sync::Arc;

use mio::event::Event;
use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use thiserror::Error;

use super::parser::{Operation, ParseError, Parser};

/// Bytes that are read at a time.
const READ_BYTES: usize = 16 * 1024;
/// Reads in a row.
const MAX_READS: usize = 16;
/// Reads in a row that give no data, as they are of messages of TLS itself, or of a part of a
/// record. A whole record takes five.
const MAX_TLS_READS: usize = 8;
/// Bytes of a message's body that are kept. The largest that is of use is a JetStream response; a
/// response that is cut cannot be parsed, and counts as none.
const MAX_BODY: usize = 4 * 1024 * 1024;
/// More is not added to bytes that wait to be sent.
const MAX_OUTPUT: usize = 1024 * 1024;

/// Why nothing more is read.
#[derive(Debug, Error)]
pub(super) enum WireError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the server sent {0}")]
    Parse(#[from] ParseError),
}

/// See the [module](self). Events of the socket are edges, so each is remembered until a call would
/// block.
#[derive(Debug)]
pub(super) struct Wire {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    parser: Parser,
    input: Box<[u8]>,
    /// The part of `input` that was not parsed yet.
    unread: Range<usize>,
    output: Vec<u8>,
    /// How much of `output` was sent.
    sent: usize,
    /// Reading may give something.
    readable: bool,
    /// Sending failed. It is reported after what had arrived.
    broken: Option<io::Error>,
    /// Reads since then: a server that never stops sending must not hide it.
    read_since: usize,
}

impl Wire {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            tls: None,
            parser: Parser::new(MAX_BODY),
            input: vec![0; READ_BYTES].into(),
            unread: 0..0,
            output: Vec::new(),
            sent: 0,
            readable: true,
            broken: None,
            read_since: 0,
        }
    }

    /// Makes TLS from here on.
    ///
    /// # Errors
    /// The configuration cannot be used, or the server sent something in advance, which would pass
    /// for something that TLS protects.
    pub(super) fn start_tls(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<()> {
        if !self.unread.is_empty() {
            return Err(io::Error::other("it sent more before TLS"));
        }
        let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        tls.set_buffer_limit(Some(MAX_OUTPUT));
        self.tls = Some(Box::new(tls));
        // The client speaks first.
        self.flush();
        Ok(())
    }

    /// Whether TLS is being made.
    pub(super) fn is_making_tls(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Whether it is encrypted.
    pub(super) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// The socket, to be registered.
    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Takes note of what the socket is ready for.
    pub(super) fn ready(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        if event.is_writable() {
            self.flush();
        }
    }

    /// Whether the next event of the socket must be waited for.
    pub(super) fn is_idle(&self) -> bool {
        !self.readable && self.unread.is_empty()
    }

    /// Whether everything was sent.
    pub(super) fn is_flushed(&self) -> bool {
        self.is_passed_on() && self.tls.as_ref().is_none_or(|tls| !tls.wants_write())
    }

    /// Whether the socket, or TLS, has taken everything.
    fn is_passed_on(&self) -> bool {
        self.sent >= self.output.len()
    }

    /// Whether more may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.output.len() < MAX_OUTPUT
    }

    /// Sends `bytes`, or keeps them until the socket takes them. Without room, that is the end of
    /// the connection: a server that makes the client respond does not read.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        if !self.has_room() {
            return self.fail(io::Error::other("it does not read what it is sent"));
        }
        self.output.extend_from_slice(bytes);
        self.flush();
    }

    fn flush(&mut self) {
        match self.write() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => self.fail(error),
            _ => {}
        }
    }

    fn fail(&mut self, error: io::Error) {
        self.broken.get_or_insert(error);
        // What arrived before is read to its end.
        self.readable = true;
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.is_passed_on() {
            let rest = &self.output[self.sent..];
            let written = match &mut self.tls {
                None => retry(|| self.socket.write(rest))?,
                Some(tls) => {
                    // First, as TLS takes nothing while it is full. What it has taken counts as
                    // sent.
                    write_tls(tls, &mut self.socket)?;
                    tls.writer().write(rest)?
                }
            };
            if written == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.sent += written;
        }
        self.output.clear();
        self.sent = 0;
        self.tls.as_mut().map_or(Ok(()), |tls| write_tls(tls, &mut self.socket))
    }

    /// The next operation that has arrived. `None` also after much was read that is not an
    /// operation yet, so that no server can keep the caller; [`is_idle`](Self::is_idle) is false
    /// then.
    ///
    /// # Errors
    /// The connection has ended, or cannot be understood.
    pub(super) fn next(&mut self) -> Result<Option<Operation>, WireError> {
        for _ in 0..MAX_READS {
            let mut bytes = &self.input[self.unread.clone()];
            let operation = self.parser.next(&mut bytes)?;
            self.unread.start = self.unread.end - bytes.len();
            if operation.is_some() {
                return Ok(operation);
            }
            if !self.readable {
                return Ok(None);
            }
            match self.read() {
                Ok(Some(0)) => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
                Ok(count) => {
                    self.unread = 0..count.unwrap_or(0);
                    self.read_since += usize::from(self.broken.is_some());
                    if self.read_since > MAX_READS {
                        return self.broken.take().map_or(Ok(None), |error| Err(error.into()));
                    }
                    if count.is_none() {
                        return Ok(None);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    return self.broken.take().map_or(Ok(None), |error| Err(error.into()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// How many bytes were read. `None` after much that was nothing but messages of TLS itself;
    /// more may have arrived.
    fn read(&mut self) -> io::Result<Option<usize>> {
        let Some(tls) = &mut self.tls else {
            return retry(|| self.socket.read(&mut self.input)).map(Some);
        };
        for _ in 0..MAX_TLS_READS {
            match tls.reader().read(&mut self.input) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result.map(Some),
            }
            if retry(|| tls.read_tls(&mut self.socket))? == 0 {
                return Ok(Some(0));
            }
            let processed = tls.process_new_packets();
            // An answer of the handshake, or an alert.
            let written = write_tls(tls, &mut self.socket);
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            if let Err(error) = written {
                if error.kind() != ErrorKind::WouldBlock {
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// Tells the server that nothing more is sent.
    pub(super) fn shut_down(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.flush();
        // The server may have gone already.
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

fn write_tls(tls: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        retry(|| tls.write_tls(socket))?;
    }
    Ok(())
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream as StdStream};
    use std::thread::{self, JoinHandle};

    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{RootCertStore, ServerConfig, ServerConnection};

    use super::*;

    /// Messages of TLS that carry nothing: more bytes than are read in a row, and fewer than
    /// `rustls` takes.
    const TICKETS: usize = 500;

    /// A server that makes TLS, sends tickets, and then PING. The thread ends when all is sent.
    fn server_with_tickets() -> (StdStream, CertificateDer<'static>, JoinHandle<StdStream>) {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = pair.cert.der().clone();
        let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
        let provider = rustls::crypto::ring::default_provider().into();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        config.send_tls13_tickets = TICKETS;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let thread = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
            while tls.is_handshaking() {
                tls.complete_io(&mut socket).unwrap();
            }
            tls.writer().write_all(b"PING\r\n").unwrap();
            while tls.wants_write() {
                tls.write_tls(&mut socket).unwrap();
            }
            socket
        });
        (client, certificate, thread)
    }

    /// Else a server could keep the caller from its deadline for as long as it sends them.
    #[test]
    fn messages_of_tls_without_data_do_not_keep_the_caller() {
        let (client, certificate, server) = server_with_tickets();
        client.set_nonblocking(true).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let provider = rustls::crypto::ring::default_provider().into();
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut wire = Wire::new(TcpStream::from_std(client));
        wire.start_tls(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        while wire.is_making_tls() {
            assert_eq!(wire.next().unwrap(), None);
            wire.readable = true;
        }
        let _socket = server.join().expect("all is sent");
        let mut pauses = 0;
        let operation = loop {
            match wire.next().unwrap() {
                Some(operation) => break operation,
                None => pauses += usize::from(!wire.is_idle()),
            }
            wire.readable = true;
        };
        assert_eq!(operation, Operation::Ping);
        assert!(pauses > 0);
    }
}
