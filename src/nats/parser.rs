//! Bytes from a server, turned into the operations of the NATS client protocol.
//!
//! The parser does no input or output. It takes bytes in pieces of any size, and its memory is
//! bounded whatever they are. The format is that of the NATS client protocol's documentation:
//! `INFO`, `MSG`, `HMSG`, `PING`, `PONG`, `+OK` and `-ERR`, each on a line that ends with CR LF.

use thiserror::Error;

use super::message::{Headers, Message};
use crate::text::excerpt;

/// Longest line in bytes; a server's own `INFO` has some hundred to a few thousand.
pub(crate) const MAX_LINE: usize = 64 * 1024;
/// Longest block of headers in bytes.
const MAX_HEADERS: usize = 64 * 1024;
/// The largest payload that a server can be configured to allow (`max_payload`), in bytes.
const MAX_PAYLOAD: usize = 64 * 1024 * 1024;

/// An operation of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// The JSON object of an `INFO`.
    Info(String),
    /// A message, and the number of the subscription it came by.
    Message(u64, Message),
    /// A message that is not handed out: its headers cannot be read.
    Unreadable(String),
    Ping,
    Pong,
    Ok,
    /// The text of an `-ERR`, shortened.
    Error(String),
}

/// Bytes that no server sends. The connection must be ended: nothing after them can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum ParseError {
    #[error("a line longer than the client can read")]
    LongLine,
    #[error("a line that is not text")]
    NotText,
    #[error("an unknown operation")]
    Unknown,
    #[error("a message with a malformed first line")]
    BadMessage,
    #[error("a message with headers of more than 64 KiB")]
    LongHeaders,
    #[error("a message of more than 64 MiB")]
    LongMessage,
    #[error("a message without its line end")]
    NoLineEnd,
}

/// The parser of one connection.
#[derive(Debug)]
pub(crate) struct Parser {
    /// Bytes of a message's body that are kept; the rest is left out.
    keep: usize,
    line: Vec<u8>,
    message: Option<Partial>,
}

/// A message of which not everything has arrived.
#[derive(Debug)]
struct Partial {
    sid: u64,
    subject: String,
    reply: Option<String>,
    headers: Vec<u8>,
    headers_left: usize,
    body: Vec<u8>,
    body_left: usize,
    /// Bytes of the line end that have arrived.
    line_end: usize,
}

impl Parser {
    /// A parser that keeps `keep` bytes of each message's body.
    pub(crate) fn new(keep: usize) -> Self {
        Self { keep, line: Vec::new(), message: None }
    }

    /// The next operation in `input`, whose bytes are taken. `None` when it needs more bytes: all
    /// of `input` is taken then.
    ///
    /// # Errors
    /// The bytes are not of the protocol. The parser must not be used after that.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Operation>, ParseError> {
        loop {
            if let Some(partial) = &mut self.message {
                if !partial.take(input, self.keep)? {
                    return Ok(None);
                }
                return Ok(self.message.take().map(Partial::finish));
            }
            let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
                let rest = std::mem::take(input);
                return self.add_to_line(rest).map(|()| None);
            };
            let (start, rest) = input.split_at(end);
            *input = &rest[1..];
            self.add_to_line(start)?;
            let line = std::mem::take(&mut self.line);
            if let Some(operation) = self.operation(&line)? {
                return Ok(Some(operation));
            }
        }
    }

    fn add_to_line(&mut self, bytes: &[u8]) -> Result<(), ParseError> {
        if self.line.len() + bytes.len() > MAX_LINE {
            return Err(ParseError::LongLine);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// The operation of a whole line; `None` for the first line of a message, and an empty one.
    fn operation(&mut self, line: &[u8]) -> Result<Option<Operation>, ParseError> {
        let line = std::str::from_utf8(line).map_err(|_| ParseError::NotText)?.trim();
        let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let rest = rest.trim_start();
        Ok(Some(match word.to_ascii_uppercase().as_str() {
            "MSG" => return self.begin(rest, false).map(|()| None),
            "HMSG" => return self.begin(rest, true).map(|()| None),
            "" => return Ok(None),
            "PING" => Operation::Ping,
            "PONG" => Operation::Pong,
            "+OK" => Operation::Ok,
            "-ERR" => Operation::Error(excerpt(rest.trim_matches('\''))),
            "INFO" => Operation::Info(rest.to_owned()),
            _ => return Err(ParseError::Unknown),
        }))
    }

    /// Reads `subject sid [reply] [bytes of the headers] bytes in all`.
    fn begin(&mut self, line: &str, with_headers: bool) -> Result<(), ParseError> {
        let mut words: Vec<_> = line.split_ascii_whitespace().collect();
        let mut size = || words.pop().and_then(number).ok_or(ParseError::BadMessage);
        let size_in_all = size()?;
        let headers_left = if with_headers { size()? } else { 0 };
        let (subject, sid, reply) = match words[..] {
            [subject, sid] => (subject, sid, None),
            [subject, sid, reply] => (subject, sid, Some(reply.to_owned())),
            _ => return Err(ParseError::BadMessage),
        };
        let sid = number(sid).ok_or(ParseError::BadMessage)?;
        let body_left = size_in_all.checked_sub(headers_left).ok_or(ParseError::BadMessage)?;
        if headers_left > MAX_HEADERS {
            return Err(ParseError::LongHeaders);
        }
        if body_left > MAX_PAYLOAD {
            return Err(ParseError::LongMessage);
        }
        self.message = Some(Partial {
            sid: u64::try_from(sid).unwrap_or(u64::MAX),
            subject: subject.to_owned(),
            reply,
            headers: Vec::new(),
            headers_left,
            body: Vec::new(),
            body_left,
            line_end: 0,
        });
        Ok(())
    }
}

impl Partial {
    /// Takes the message's bytes. True when it is complete.
    fn take(&mut self, input: &mut &[u8], keep: usize) -> Result<bool, ParseError> {
        self.headers.extend_from_slice(split(input, &mut self.headers_left));
        let body = split(input, &mut self.body_left);
        let room = keep.saturating_sub(self.body.len()).min(body.len());
        self.body.extend_from_slice(&body[..room]);
        while self.headers_left == 0 && self.body_left == 0 && self.line_end < 2 {
            let Some((first, rest)) = input.split_first() else { break };
            if *first != b"\r\n"[self.line_end] {
                return Err(ParseError::NoLineEnd);
            }
            self.line_end += 1;
            *input = rest;
        }
        Ok(self.line_end == 2)
    }

    fn finish(self) -> Operation {
        let Self { sid, subject, reply, headers, body, .. } = self;
        if headers.is_empty() {
            return Operation::Message(sid, Message { subject, reply, body, ..Message::default() });
        }
        match parse_headers(&headers) {
            Some(headers) => Operation::Message(sid, Message { subject, reply, headers, body }),
            None => Operation::Unreadable(subject),
        }
    }
}

/// Takes at most `left` bytes from the beginning of `input`, and counts them.
fn split<'a>(input: &mut &'a [u8], left: &mut usize) -> &'a [u8] {
    let (taken, rest) = input.split_at((*left).min(input.len()));
    *input = rest;
    *left -= taken.len();
    taken
}

/// A number of digits only.
fn number(text: &str) -> Option<usize> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The headers of a block as it is on the wire: a line `NATS/1.0`, which may have a status and its
/// description, then a line for each value, then an empty line.
pub(crate) fn parse_headers(block: &[u8]) -> Option<Headers> {
    let text = std::str::from_utf8(block).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("NATS/1.0")?;
    let mut pairs = Vec::new();
    if let Some(status) = status.split_ascii_whitespace().next() {
        pairs.push(("Status".to_owned(), status.to_owned()));
    }
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if name.is_empty() || line.contains('\n') || line.contains('\r') {
            return None;
        }
        pairs.push((name.trim_end().to_owned(), value.trim().to_owned()));
    }
    Some(pairs.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All operations of the pieces.
    fn parse(pieces: &[&[u8]]) -> Result<Vec<Operation>, ParseError> {
        let mut parser = Parser::new(1024);
        let mut operations = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(operation) = parser.next(&mut piece)? {
                operations.push(operation);
            }
            assert!(piece.is_empty(), "all bytes are taken");
        }
        Ok(operations)
    }

    #[test]
    fn every_operation_is_read() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let message = |subject: &str, reply: Option<&str>, headers: Vec<_>, body: &str| Message {
            subject: subject.into(),
            reply: reply.map(Into::into),
            headers: headers.into_iter().collect(),
            body: body.into(),
        };
        let hmsg = |line: &str, block: &str, body: &str| {
            let all = block.len() + body.len();
            format!("HMSG {line} {} {all}\r\n{block}{body}\r\n", block.len())
        };
        let stream = [
            "INFO {\"a\":1} \r\nPING\r\nMSG a.b 7 2\r\nhi\r\n",
            &hmsg("_INBOX.x.1 1", "NATS/1.0 503 No one\r\n\r\n", ""),
            "pong\r\n-ERR 'Stale Connection'\r\n+OK\r\n",
            &hmsg("s 2 back", "NATS/1.0\r\nA: b\r\nC:d\r\n\r\n", "xyz"),
            "MSG e 3 r 0\r\n\r\n",
        ]
        .concat();
        let expected = [
            Operation::Info("{\"a\":1}".into()),
            Operation::Ping,
            Operation::Message(7, message("a.b", None, vec![], "hi")),
            Operation::Message(1, message("_INBOX.x.1", None, vec![header("Status", "503")], "")),
            Operation::Pong,
            Operation::Error("Stale Connection".into()),
            Operation::Ok,
            Operation::Message(
                2,
                message("s", Some("back"), vec![header("A", "b"), header("C", "d")], "xyz"),
            ),
            Operation::Message(3, message("e", Some("r"), vec![], "")),
        ];
        let stream = stream.as_bytes();
        assert_eq!(parse(&[stream]).unwrap(), expected);
        for at in 0..stream.len() {
            assert_eq!(parse(&[&stream[..at], &stream[at..]]).unwrap(), expected, "split at {at}");
        }
        let bytes: Vec<_> = stream.chunks(1).collect();
        assert_eq!(parse(&bytes).unwrap(), expected);
    }

    #[test]
    fn bytes_that_no_server_sends_are_refused() {
        for (bytes, error) in [
            (&b"HTTP/1.1 200 OK\r\n"[..], ParseError::Unknown),
            (b"\xff\xfe\r\n", ParseError::NotText),
            (b"MSG a 1\r\n", ParseError::BadMessage),
            (b"MSG a 1 -1\r\n", ParseError::BadMessage),
            (b"MSG a 1 +1\r\n", ParseError::BadMessage),
            (b"MSG a x 1\r\n", ParseError::BadMessage),
            (b"MSG a 1 b c 1\r\n", ParseError::BadMessage),
            (b"HMSG a 1 5 4\r\n", ParseError::BadMessage),
            (b"HMSG a 1 4\r\n", ParseError::BadMessage),
            (b"MSG a 1 99999999999999999999999\r\n", ParseError::BadMessage),
            (b"MSG a 1 67108865\r\n", ParseError::LongMessage),
            (b"HMSG a 1 65537 65537\r\n", ParseError::LongHeaders),
            (b"MSG a 1 1\r\nabc", ParseError::NoLineEnd),
            (b"MSG a 1 1\r\na\rx", ParseError::NoLineEnd),
        ] {
            assert_eq!(parse(&[bytes]).unwrap_err(), error, "{}", bytes.escape_ascii());
            let single: Vec<_> = bytes.chunks(1).collect();
            assert_eq!(parse(&single).unwrap_err(), error, "{}", bytes.escape_ascii());
        }
        let line = vec![b'x'; MAX_LINE + 1];
        assert_eq!(parse(&[&line]).unwrap_err(), ParseError::LongLine);
    }

    #[test]
    fn a_long_body_is_cut_and_what_follows_is_read() {
        let mut parser = Parser::new(3);
        let mut input: &[u8] = b"MSG a 1 5\r\nabcde\r\nPING\r\n";
        let Ok(Some(Operation::Message(1, message))) = parser.next(&mut input) else { panic!() };
        assert_eq!(message.body, b"abc");
        assert_eq!(parser.next(&mut input), Ok(Some(Operation::Ping)));
    }

    #[test]
    fn a_message_with_unreadable_headers_is_left_out() {
        for block in ["NATS/2.0\r\n\r\n", "NATS/1.0\r\nA\r\n\r\n", "NATS/1.0\r\n: b\r\n\r\n", "x"] {
            let text = format!("HMSG a 1 {0} {0}\r\n{block}\r\nPING\r\n", block.len());
            let expected = [Operation::Unreadable("a".into()), Operation::Ping];
            assert_eq!(parse(&[text.as_bytes()]).unwrap(), expected, "{block:?}");
        }
    }
}
