//! Bytes of any origin through this group's readers, for tests and fuzzing.

use std::sync::Arc;

use super::credentials::Credentials;
use super::handshake::{Handshake, Hello, Step};
use super::message::Message;
use super::parser::{MAX_LINE, Operation, ParseError, Parser, parse_headers};
use crate::config::Config;
use crate::error::StoreError;

/// The message on `subject` of a header block as it is on the wire, and a body.
pub(crate) fn message(subject: &str, headers: &[u8], body: &[u8]) -> Option<Message> {
    #[cfg(feature = "nats-client")]
    let _ = super::nats_client::message(subject, headers, body);
    let headers = parse_headers(headers)?;
    Some(Message { subject: subject.into(), headers, body: body.into(), reply: None })
}

/// Takes all operations in `bytes`, which arrive in pieces of `piece` bytes.
pub(crate) fn each_operation(
    bytes: &[u8],
    piece: usize,
    mut take: impl FnMut(Operation),
) -> Result<(), ParseError> {
    let mut parser = Parser::new(1024);
    for mut piece in bytes.chunks(piece.max(1)) {
        while let Some(operation) = parser.next(&mut piece)? {
            take(operation);
        }
    }
    Ok(())
}

/// A handshake with a server that sends `bytes` and reads all.
pub(crate) fn handshake(config: &Config, mut bytes: &[u8]) -> Result<(), StoreError> {
    let settings = Arc::new(config.connection().clone());
    let server = settings.servers[0].clone();
    let hello = Hello { longest_info: MAX_LINE, ..Hello::default() };
    let mut handshake = Handshake::new(settings, server, Credentials::None, hello);
    let mut parser = Parser::new(1024);
    handshake.begin()?;
    loop {
        match parser.next(&mut bytes) {
            Ok(Some(operation)) => match handshake.handle(operation)? {
                Step::Done => return Ok(()),
                Step::StartTls => _ = handshake.secured(),
                Step::Wait | Step::Send(_) => {}
            },
            Ok(None) => {
                let end = std::io::ErrorKind::UnexpectedEof.into();
                return Err(handshake.ended(&end, false));
            }
            Err(error) => return Err(handshake.unreadable(error)),
        }
    }
}
