//! Bytes of any origin through this group's readers, for tests and fuzzing.

use std::io::{self, Read, Write};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::auth::Credentials;
use super::client::convert;
use super::handshake::Probe;
use crate::config::Config;
use crate::error::StoreError;
use crate::nats::message::Message;

/// The message on `subject` of a header block as it is on the wire, and a body.
pub(crate) fn message(subject: &str, headers: &[u8], body: &[u8]) -> Option<Message> {
    let headers = nats::HeaderMap::try_from(headers).ok()?;
    Some(convert(nats::Message::new(subject, None, body, Some(headers))))
}

/// A handshake with a server that sends `bytes` and reads all.
pub(crate) fn handshake(config: &Config, bytes: &[u8]) -> Result<(), StoreError> {
    let settings = config.connection();
    let probe = Probe {
        settings,
        server: &settings.servers[0],
        credentials: &Credentials::None,
        // Not looked at: a slice of bytes never waits.
        deadline: Instant::now(),
        cancelled: &AtomicBool::new(false),
    };
    probe.converse(&mut Server(bytes))
}

struct Server<'a>(&'a [u8]);

impl Read for Server<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Server<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
