//! The probe: a whole handshake with a server, under a deadline.
//!
//! The crate's own `connect` waits for ever for a server that is mute, before its INFO, after it or
//! within TLS. So each address is first tried here: INFO, TLS where it is wanted, CONNECT with the
//! credentials, PING, and the PONG that shows that they were accepted. Failures have a type here;
//! in the crate they are text.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nats::rustls::pki_types::ServerName;
use nats::rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::auth::Credentials;
use super::tls::client_config;
use crate::config::connection::{ConnectionSettings, ServerAddress};
use crate::error::StoreError;
use crate::json;
use crate::nats::server_error::is_about_credentials;
use crate::nats::version::Version;
use crate::text::excerpt;

/// Longer lines than this break the crate, which reads them into a buffer of 4096.
const MAX_LINE: usize = 4000;

/// What the probe learnt about a server.
#[derive(Clone)]
pub(super) struct ServerFacts {
    pub(super) version: Version,
    /// The configuration for TLS, when it is to be used.
    pub(super) tls: Option<ClientConfig>,
}

/// The server's first message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools)] // The server's format.
struct Info {
    version: String,
    nonce: String,
    headers: bool,
    tls_required: bool,
    tls_available: bool,
    tls_verify: bool,
    ldm: bool,
}

impl Info {
    fn parse(line: &str) -> Option<Self> {
        json::from_slice(line.strip_prefix("INFO ")?.as_bytes()).ok()
    }
}

/// How long one read may last, so that closing a connection does not wait for a mute server.
const LONGEST_READ: Duration = Duration::from_millis(50);

/// One handshake to be tried.
pub(super) struct Probe<'a> {
    pub(super) settings: &'a ConnectionSettings,
    pub(super) server: &'a ServerAddress,
    pub(super) credentials: &'a Credentials,
    pub(super) deadline: Instant,
    /// Set when the result is not wanted any more.
    pub(super) cancelled: &'a AtomicBool,
}

/// Tries the addresses of the server one after the other.
///
/// # Errors
/// That of the last address.
pub(super) fn probe(probe: &Probe<'_>) -> Result<ServerFacts, StoreError> {
    let server = probe.server;
    let addresses = (server.host.as_str(), server.port)
        .to_socket_addrs()
        .map_err(|error| probe.unreachable(&error))?;
    let mut last = probe.unreachable(&"the name has no address");
    for address in addresses {
        match probe.address(address) {
            Ok(facts) => return Ok(facts),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl<'a> Probe<'a> {
    fn address(&self, address: SocketAddr) -> Result<ServerFacts, StoreError> {
        let left = self.left().map_err(|error| self.unreachable(&error))?;
        let tcp = TcpStream::connect_timeout(&address, left)
            .and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp))
            .map_err(|error| self.unreachable(&error))?;
        let mut stream = Timed { tcp, deadline: self.deadline, cancelled: self.cancelled };
        let info = self.info(&mut stream)?;
        let tls = self.tls(&info)?;
        match &tls {
            None => self.login(&mut stream, &info, false)?,
            Some(config) => {
                let mut stream = self.secure(stream, config)?;
                self.login(&mut stream, &info, true)?;
            }
        }
        Ok(ServerFacts { version: Version::parse(&info.version), tls })
    }

    fn info(&self, stream: &mut impl Read) -> Result<Info, StoreError> {
        let line = read_line(stream)
            .map_err(|error| self.unreachable(&format!("no INFO: {}", describe(&error))))?;
        let info = Info::parse(&line).ok_or_else(|| self.unreachable(&"not a NATS server"))?;
        if !info.headers {
            return Err(self.unreachable(&"the server has no message headers"));
        }
        if info.ldm && self.settings.servers.len() > 1 {
            return Err(self.unreachable(&"the server is shutting down (lame duck mode)"));
        }
        Ok(info)
    }

    /// Whether TLS is to be used, and how.
    fn tls(&self, info: &Info) -> Result<Option<ClientConfig>, StoreError> {
        let wanted = self.settings.tls.required || self.server.tls;
        if wanted && !info.tls_required && !info.tls_available {
            return Err(self.tls_failed(&"the server does not offer it"));
        }
        if !wanted && !info.tls_required {
            return Ok(None);
        }
        if info.tls_verify && self.settings.tls.cert_file.is_none() {
            return Err(self.tls_failed(&"the server demands a client certificate"));
        }
        client_config(&self.settings.tls).map(Some).map_err(|error| self.tls_failed(&error))
    }

    fn secure(
        &self,
        stream: Timed<'a>,
        config: &ClientConfig,
    ) -> Result<TlsStream<'a>, StoreError> {
        let name = ServerName::try_from(self.server.host.clone())
            .map_err(|_| self.tls_failed(&"the host is no name that a certificate can have"))?;
        let session = ClientConnection::new(Arc::new(config.clone()), name)
            .map_err(|error| self.tls_failed(&error))?;
        let mut stream = StreamOwned::new(session, stream);
        while stream.conn.is_handshaking() {
            stream
                .conn
                .complete_io(&mut stream.sock)
                .map_err(|error| self.tls_failed(&describe(&error)))?;
        }
        Ok(stream)
    }

    fn login(
        &self,
        stream: &mut (impl Read + Write),
        info: &Info,
        tls: bool,
    ) -> Result<(), StoreError> {
        let connect = self.connect(info, tls);
        let sent = stream
            .write_all(format!("CONNECT {}\r\nPING\r\n", Value::Object(connect)).as_bytes())
            .and_then(|()| stream.flush());
        // A server that refuses may send its error and close before it has read everything.
        let mut last = sent.err();
        loop {
            let line = match read_line(stream) {
                Ok(line) => line,
                Err(error) => return Err(self.no_pong(last.as_ref().unwrap_or(&error), info, tls)),
            };
            match line.split_ascii_whitespace().next() {
                Some("PONG") => return Ok(()),
                Some("PING") => last = stream.write_all(b"PONG\r\n").err(),
                Some("-ERR") => return Err(self.refused(&line)),
                _ => {}
            }
        }
    }

    /// The handshake as far as it is text, with a peer of any kind.
    #[cfg(any(test, fuzzing))]
    pub(super) fn converse(&self, stream: &mut (impl Read + Write)) -> Result<(), StoreError> {
        let info = self.info(stream)?;
        self.login(stream, &info, info.tls_required)
    }

    fn connect(&self, info: &Info, tls: bool) -> Map<String, Value> {
        let mut connect = Map::new();
        for (name, value) in [
            ("verbose", false),
            ("pedantic", false),
            ("echo", true),
            ("headers", true),
            ("no_responders", true),
            ("tls_required", tls),
        ] {
            connect.insert(name.into(), value.into());
        }
        connect.insert("name".into(), format!("{} probe", self.settings.name).into());
        connect.insert("lang".into(), "rust".into());
        connect.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        connect.insert("protocol".into(), 1.into());
        self.credentials.fill(&info.nonce, &mut connect);
        connect
    }

    /// The connection ended, or nothing arrived, where a PONG was due.
    fn no_pong(&self, error: &io::Error, info: &Info, tls: bool) -> StoreError {
        // With TLS 1.3, the alert about a refused client certificate arrives only now, if the end
        // of the connection does not overtake it.
        let verified = info.tls_verify && !is_timeout(error);
        if tls && (verified || error.kind() == ErrorKind::InvalidData) {
            let reason = format!("no response to our certificate: {}", describe(error));
            return self.tls_failed(&reason);
        }
        self.unreachable(&format!("no response to CONNECT: {}", describe(error)))
    }

    fn refused(&self, line: &str) -> StoreError {
        let reason = excerpt(line.trim_start_matches("-ERR").trim().trim_matches('\''));
        let server = self.server.to_string().into();
        if is_about_credentials(&reason) {
            StoreError::Authentication { server, reason: reason.into() }
        } else if reason.contains("TLS") {
            StoreError::Tls { server, reason: reason.into() }
        } else {
            self.unreachable(&reason)
        }
    }

    fn left(&self) -> io::Result<Duration> {
        remaining(self.deadline)
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> StoreError {
        unreachable(self.settings, &format!("{}: {error}", self.server))
    }

    fn tls_failed(&self, error: &dyn std::fmt::Display) -> StoreError {
        StoreError::Tls {
            server: self.server.to_string().into(),
            reason: excerpt(&error.to_string()).into(),
        }
    }
}

/// The error that names all servers.
pub(super) fn unreachable(settings: &ConnectionSettings, reason: &str) -> StoreError {
    let servers: Vec<_> = settings.servers.iter().map(ToString::to_string).collect();
    StoreError::Unreachable { servers: servers.join(", ").into(), reason: excerpt(reason).into() }
}

type TlsStream<'a> = StreamOwned<ClientConnection, Timed<'a>>;

/// A socket whose calls all end at a deadline, however slowly the server sends.
struct Timed<'a> {
    tcp: TcpStream,
    deadline: Instant,
    cancelled: &'a AtomicBool,
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(io::Error::other("cancelled"));
            }
            self.tcp.set_read_timeout(Some(remaining(self.deadline)?.min(LONGEST_READ)))?;
            match self.tcp.read(buffer) {
                Err(error) if is_timeout(&error) => {}
                result => return result,
            }
        }
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(Some(remaining(self.deadline)?))?;
        self.tcp.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// The time left until `deadline`; never zero, which would mean "no timeout".
fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Reads a line byte by byte, so that the bytes after it (TLS) are left.
fn read_line(stream: &mut impl Read) -> io::Result<String> {
    let mut line = Vec::with_capacity(512);
    loop {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) if line.len() == MAX_LINE => {
                return Err(io::Error::other("a line longer than the client can read"));
            }
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    String::from_utf8(line).map_err(|_| io::Error::other("a line that is not text"))
}

/// Whether a socket's timeout has passed; it has two names.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// An I/O error for people: the system calls a timeout "Resource temporarily unavailable".
fn describe(error: &io::Error) -> String {
    match error.kind() {
        _ if is_timeout(error) => "it stayed silent".into(),
        ErrorKind::UnexpectedEof => "it closed the connection".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_to_its_end_only() {
        let mut bytes: &[u8] = b"INFO {}\r\nrest";
        assert_eq!(read_line(&mut bytes).unwrap(), "INFO {}\r");
        assert_eq!(bytes, b"rest");
    }

    #[test]
    fn the_first_message_is_an_object() {
        assert!(Info::parse(r#"INFO {"version":"2.9.10"}"#).is_some());
        let array = r#"INFO ["2.9.10","",true,false,false,false,false]"#;
        assert!(Info::parse(array).is_none());
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut bytes: &[u8] = &[b'x'; MAX_LINE + 1];
        assert!(read_line(&mut bytes).is_err());
        let mut bytes: &[u8] = b"\xff\xfe\n";
        assert!(read_line(&mut bytes).is_err());
    }
}
