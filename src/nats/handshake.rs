//! A handshake with a server, as a state machine that does no input or output.
//!
//! A server sends INFO. The client makes TLS where that is wanted, and sends CONNECT with its
//! credentials, its subscriptions, and PING. The PONG shows that the server accepted the
//! credentials and has processed the subscriptions.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::credentials::Credentials;
use super::message::Message;
use super::parser::{Operation, ParseError};
use super::server_error::{PermissionViolation, is_about_credentials};
use super::tls::explain;
use super::unreachable;
use super::version::Version;
use crate::config::connection::{ConnectionSettings, ServerAddress};
use crate::error::{StoreError, is_exhausted};
use crate::json;
use crate::text::excerpt;

/// Messages, and also refusals, that are kept which arrive before the PONG.
const MAX_EARLY: usize = 64;
/// Bytes of the bodies of these messages; more are dropped, as a full subscription drops messages.
const MAX_EARLY_BYTES: usize = 64 * 1024;

/// The client's side of a handshake.
#[derive(Clone, Debug, Default)]
pub(super) struct Hello {
    /// Added to the connection's name.
    pub(super) name_suffix: &'static str,
    /// Subscriptions, as they are on the wire.
    pub(super) subscriptions: String,
    /// The longest INFO that the client can read, in bytes.
    pub(super) longest_info: usize,
    /// Whether the client can make TLS before the server's INFO.
    pub(super) tls_first: bool,
}

/// What is to be done next.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Wait for the next operation.
    Wait,
    /// Make TLS, and call [`Handshake::secured`].
    StartTls,
    Send(String),
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// TLS is made before the server says anything.
    TlsFirst,
    Info,
    Tls,
    Pong,
}

/// The server's first message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools)] // The server's format.
pub(super) struct Info {
    version: String,
    nonce: String,
    headers: bool,
    tls_required: bool,
    tls_available: bool,
    tls_verify: bool,
    /// The server is about to shut down (lame duck mode).
    pub(super) ldm: bool,
}

impl Info {
    pub(super) fn parse(text: &str) -> Option<Self> {
        json::from_slice(text.as_bytes()).ok()
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Handshake {
    settings: Arc<ConnectionSettings>,
    server: ServerAddress,
    credentials: Credentials,
    hello: Hello,
    state: State,
    secure: bool,
    info: Info,
    /// Subscriptions that the server refused.
    pub(super) denied: Vec<String>,
    /// Messages that arrived before the PONG.
    pub(super) early: Vec<(u64, Message)>,
}

impl Handshake {
    pub(super) fn new(
        settings: Arc<ConnectionSettings>,
        server: ServerAddress,
        credentials: Credentials,
        hello: Hello,
    ) -> Self {
        Self {
            settings,
            server,
            credentials,
            hello,
            state: State::Info,
            secure: false,
            info: Info::default(),
            denied: Vec::new(),
            early: Vec::new(),
        }
    }

    /// The first step.
    ///
    /// # Errors
    /// The server wants TLS first, and the client cannot do that.
    pub(super) fn begin(&mut self) -> Result<Step, StoreError> {
        if !self.settings.tls.handshake_first {
            return Ok(Step::Wait);
        }
        if !self.hello.tls_first {
            return Err(self.tls_failed(
                &"nats.tls.handshakeFirst does not work with the transport nats-client: \
                  set nats.transport to direct",
            ));
        }
        self.state = State::TlsFirst;
        Ok(Step::StartTls)
    }

    /// The step after an operation of the server.
    ///
    /// # Errors
    /// The server cannot be used, or refuses the client.
    pub(super) fn handle(&mut self, operation: Operation) -> Result<Step, StoreError> {
        match (self.state, operation) {
            (_, Operation::Error(text)) => self.error(text).map(|()| Step::Wait),
            (State::Info, Operation::Info(text)) => self.info(&text),
            (State::Info, _) => Err(self.unreachable(&"not a NATS server")),
            (State::Pong, Operation::Pong) => Ok(Step::Done),
            (State::Pong, Operation::Ping) => Ok(Step::Send("PONG\r\n".into())),
            (State::Pong, Operation::Message(sid, message)) => {
                let kept: usize = self.early.iter().map(|(_, early)| early.body.len()).sum();
                let room = kept + message.body.len() <= MAX_EARLY_BYTES;
                if room && self.early.len() < MAX_EARLY {
                    self.early.push((sid, message));
                }
                Ok(Step::Wait)
            }
            (State::Pong, Operation::Info(text)) => {
                self.info.ldm |= Info::parse(&text).is_some_and(|info| info.ldm);
                Ok(Step::Wait)
            }
            (State::TlsFirst | State::Tls | State::Pong, _) => Ok(Step::Wait),
        }
    }

    /// The step after TLS was made, or begun: bytes to send may be given to it already.
    pub(super) fn secured(&mut self) -> Step {
        self.secure = true;
        if self.state != State::TlsFirst {
            return self.log_in();
        }
        self.state = State::Info;
        Step::Wait
    }

    fn info(&mut self, text: &str) -> Result<Step, StoreError> {
        if text.len() > self.hello.longest_info {
            return Err(self.unreachable(&"no INFO: a line longer than the client can read"));
        }
        self.info = Info::parse(text).ok_or_else(|| self.unreachable(&"not a NATS server"))?;
        if !self.info.headers {
            return Err(self.unreachable(&"the server has no message headers"));
        }
        if self.info.ldm && self.settings.servers.len() > 1 {
            return Err(self.unreachable(&"the server is shutting down (lame duck mode)"));
        }
        if self.secure || !self.makes_tls()? {
            return Ok(self.log_in());
        }
        self.state = State::Tls;
        Ok(Step::StartTls)
    }

    /// Whether TLS is to be made after INFO.
    fn makes_tls(&self) -> Result<bool, StoreError> {
        let Info { tls_required, tls_available, tls_verify, .. } = self.info;
        let wanted = self.wants_tls();
        if wanted && !tls_required && !tls_available {
            return Err(self.tls_failed(
                &"it does not offer it: configure tls there, or use nats:// and unset \
                  nats.tls.required",
            ));
        }
        let wanted = wanted || tls_required;
        if wanted && tls_verify && self.settings.tls.cert_file.is_none() {
            return Err(self.tls_failed(
                &"it demands a client certificate: set nats.tls.cert and nats.tls.key",
            ));
        }
        Ok(wanted)
    }

    /// Whether the configuration wants TLS, whatever the server says.
    fn wants_tls(&self) -> bool {
        self.settings.tls.required || self.server.tls
    }

    fn log_in(&mut self) -> Step {
        self.state = State::Pong;
        let connect = Value::Object(self.connect());
        Step::Send(format!("CONNECT {connect}\r\n{}PING\r\n", self.hello.subscriptions))
    }

    fn connect(&self) -> Map<String, Value> {
        let mut connect = Map::new();
        for (name, value) in [
            ("verbose", false),
            ("pedantic", false),
            ("echo", true),
            ("headers", true),
            ("no_responders", true),
            ("tls_required", self.secure),
        ] {
            connect.insert(name.into(), value.into());
        }
        let name = format!("{}{}", self.settings.name, self.hello.name_suffix);
        connect.insert("name".into(), name.into());
        connect.insert("lang".into(), "rust".into());
        connect.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        connect.insert("protocol".into(), 1.into());
        self.credentials.fill(&self.info.nonce, &mut connect);
        connect
    }

    fn error(&mut self, text: String) -> Result<(), StoreError> {
        if self.state == State::Pong && PermissionViolation::parse(&text).is_some() {
            if self.denied.len() < MAX_EARLY {
                self.denied.push(text);
            }
            return Ok(());
        }
        let server = self.server.to_string().into();
        Err(if is_about_credentials(&text) {
            StoreError::Authentication { server, reason: text.into() }
        } else if text.contains("TLS") {
            StoreError::Tls { server, reason: text.into() }
        } else {
            self.unreachable(&text)
        })
    }

    /// The error when the server sends bytes that cannot be understood.
    pub(super) fn unreadable(&self, error: ParseError) -> StoreError {
        match (self.state, error) {
            (State::Info, ParseError::LongLine | ParseError::NotText) => {
                self.unreachable(&format!("no INFO: {error}"))
            }
            (State::Info, _) => self.unreachable(&"not a NATS server"),
            _ => self.unreachable(&error),
        }
    }

    /// The error when the connection ended, or nothing arrived, before the handshake was over.
    /// `making_tls` says whether TLS was being made.
    pub(super) fn ended(&self, error: &io::Error, making_tls: bool) -> StoreError {
        let reason = describe(error);
        if making_tls || tls_error(error).is_some() {
            return self.tls_failed(&reason);
        }
        match self.state {
            State::Info if self.secure => self.unreachable(&format!("no INFO: {reason}")),
            State::Info => self.unreachable(&format!("no INFO: {reason}; {}", self.tls_first())),
            // With TLS 1.3, the alert about a refused client certificate arrives only now, if the
            // end of the connection does not overtake it.
            _ if self.secure && self.info.tls_verify && !is_timeout(error) => self.tls_failed(
                &format!("{reason} instead of accepting the client certificate, nats.tls.cert"),
            ),
            _ => self.unreachable(&format!("no response to CONNECT: {reason}")),
        }
    }

    /// Why a server may say nothing.
    fn tls_first(&self) -> &'static str {
        if self.wants_tls() {
            "if it has handshake_first, set nats.tls.handshakeFirst"
        } else {
            "perhaps it is no NATS server, or wants TLS first (nats.tls.handshakeFirst)"
        }
    }

    /// The server's version, and whether it is about to shut down.
    pub(super) fn server(&self) -> (Version, bool) {
        (Version::parse(&self.info.version), self.info.ldm)
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(super) fn unreachable(&self, error: &dyn std::fmt::Display) -> StoreError {
        unreachable(&self.server, &error.to_string())
    }

    /// The error when the system gives no socket.
    pub(super) fn failed_socket(&self, purpose: &str, error: &io::Error) -> StoreError {
        if is_exhausted(error) {
            return StoreError::system(purpose, error);
        }
        self.unreachable(error)
    }

    pub(super) fn tls_failed(&self, error: &dyn std::fmt::Display) -> StoreError {
        StoreError::Tls {
            server: self.server.to_string().into(),
            reason: excerpt(&error.to_string()).into(),
        }
    }
}

/// Whether a socket's timeout has passed; it has two names.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// An I/O error for people.
pub(super) fn describe(error: &io::Error) -> String {
    if let Some(error) = tls_error(error) {
        return explain(error);
    }
    match error.kind() {
        _ if is_timeout(error) => "it stayed silent".into(),
        ErrorKind::UnexpectedEof => "it closed the connection".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const INFO: &str = r#"{"version":"2.9.10","headers":true,"nonce":"abc"#;

    fn handshake(set: impl FnOnce(&mut ConnectionSettings)) -> Handshake {
        let config = Config::new("c", "n", ["nats://h"]).unwrap();
        let mut settings = config.connection().clone();
        set(&mut settings);
        let server = settings.servers[0].clone();
        let hello = Hello { longest_info: 4096, tls_first: true, ..Hello::default() };
        Handshake::new(Arc::new(settings), server, Credentials::None, hello)
    }

    fn info(more: &str) -> Operation {
        Operation::Info(format!("{INFO}\"{more}}}"))
    }

    #[test]
    fn a_plain_server_gets_connect_and_ping_and_its_pong_ends_the_handshake() {
        let mut handshake = handshake(|_| {});
        handshake.hello.subscriptions = "SUB a 1\r\n".into();
        assert_eq!(handshake.begin(), Ok(Step::Wait));
        let Ok(Step::Send(text)) = handshake.handle(info("")) else { panic!() };
        assert!(text.starts_with("CONNECT {") && text.ends_with("}\r\nSUB a 1\r\nPING\r\n"));
        assert_eq!(handshake.handle(Operation::Ping), Ok(Step::Send("PONG\r\n".into())));
        assert_eq!(handshake.handle(Operation::Message(1, Message::default())), Ok(Step::Wait));
        assert_eq!(handshake.handle(Operation::Pong), Ok(Step::Done));
        assert_eq!((handshake.early.len(), handshake.server().0), (1, Version(2, 9, 10)));
    }

    #[test]
    fn tls_is_made_before_the_credentials_are_sent() {
        let mut handshake = handshake(|_| {});
        assert_eq!(handshake.handle(info(",\"tls_required\":true")), Ok(Step::StartTls));
        let Step::Send(text) = handshake.secured() else { panic!() };
        assert!(text.contains("\"tls_required\":true"));
    }

    #[test]
    fn a_server_that_names_no_version_can_be_used_with_tls() {
        let mut handshake = handshake(|_| {});
        let info = r#"{"headers":true,"tls_required":true}"#;
        assert_eq!(handshake.handle(Operation::Info(info.into())), Ok(Step::StartTls));
        assert!(matches!(handshake.secured(), Step::Send(_)));
    }

    #[test]
    fn tls_comes_first_where_the_server_wants_it() {
        let mut handshake = handshake(|settings| settings.tls.handshake_first = true);
        assert_eq!(handshake.begin(), Ok(Step::StartTls));
        assert_eq!(handshake.secured(), Step::Wait);
        assert!(matches!(handshake.handle(info(",\"tls_required\":true")), Ok(Step::Send(_))));
        handshake.hello.tls_first = false;
        assert!(handshake.begin().unwrap_err().to_string().contains("nats-client"));
    }

    #[test]
    fn a_server_that_cannot_be_used_is_refused_with_a_reason() {
        for (operation, reason) in [
            (Operation::Pong, "not a NATS server"),
            (Operation::Info(r#"["2.9.10","",true]"#.into()), "not a NATS server"),
            (Operation::Info("{}".into()), "no message headers"),
            (Operation::Info("x".repeat(5000)), "longer than the client can read"),
            (info(",\"tls_required\":true,\"tls_verify\":true"), "client certificate"),
            (Operation::Error("maximum connections exceeded".into()), "maximum connections"),
        ] {
            let error = handshake(|_| {}).handle(operation).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let error = handshake(|settings| settings.tls.required = true).handle(info(""));
        assert!(error.unwrap_err().to_string().contains("does not offer it"));
    }

    #[test]
    fn few_and_short_messages_are_kept_of_those_before_the_end() {
        let mut handshake = handshake(|_| {});
        handshake.handle(info("")).unwrap();
        let message = |length| Message { body: vec![0; length], ..Message::default() };
        handshake.handle(Operation::Message(1, message(MAX_EARLY_BYTES + 1))).unwrap();
        assert!(handshake.early.is_empty());
        for _ in 0..1_000 {
            handshake.handle(Operation::Message(1, message(1024))).unwrap();
        }
        assert_eq!(handshake.early.len(), MAX_EARLY);
    }

    #[test]
    fn a_refusal_after_connect_is_told_and_a_denied_subscription_kept() {
        let mut handshake = handshake(|_| {});
        handshake.handle(info("")).unwrap();
        let denied = "Permissions Violation for Subscription to \"a\"";
        assert_eq!(handshake.handle(Operation::Error(denied.into())), Ok(Step::Wait));
        assert_eq!(handshake.denied, [denied]);
        let error = handshake.handle(Operation::Error("Authorization Violation".into()));
        assert!(matches!(error, Err(StoreError::Authentication { .. })));
    }
}
