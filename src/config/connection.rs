//! How to reach the servers: addresses, credentials, TLS, prefixes.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A secret. No `Debug` output, log line or error shows it.
///
/// ```
/// use leasehold::config::Secret;
///
/// let secret = Secret::new("swordfish");
/// assert_eq!(format!("{secret:?}"), "[secret]");
/// assert_eq!(secret.expose(), "swordfish");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being printed.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// How the node authenticates. Credentials in a server's address replace it for that server.
///
/// ```
/// use leasehold::config::{Auth, Config};
///
/// let config = Config::builder("orders", "node-1", ["nats://a.example"])
///     .user_password("orders", "swordfish")
///     .build()?;
/// assert!(matches!(config.auth(), Auth::UserPassword { user, .. } if user == "orders"));
/// # Ok::<(), leasehold::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Auth {
    /// Without credentials. The default.
    #[default]
    None,
    /// A user name and its password.
    UserPassword {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token.
    Token(Secret),
    /// The seed of a user nkey (`SU…`); it signs the server's nonce.
    NkeySeed(Secret),
    /// A credentials file (JWT and seed), as `nsc` writes it. Read again for each connection. In a
    /// built configuration the path is absolute.
    CredentialsFile(PathBuf),
}

/// Transport security.
///
/// A relative path is one of the current folder of the moment at which the configuration is built,
/// which makes it absolute. A file that is saved has the path as it was given.
///
/// ```
/// use leasehold::config::{Config, Tls};
///
/// let ca_file = Some("/etc/orders/ca.pem".into());
/// let tls = Tls { required: true, ca_file, ..Tls::default() };
/// let config = Config::builder("orders", "node-1", ["a.example"]).tls(tls).build()?;
/// assert!(config.tls().required);
/// # Ok::<(), leasehold::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Refuse servers that do not offer TLS. Default: TLS is used when the server or a `tls://` URL
    /// asks for it.
    pub required: bool,
    /// Make TLS before the server's first message, for servers that are configured with
    /// `handshake_first`. Only with the transport `direct`. Default false.
    pub handshake_first: bool,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the client certificate; goes with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// PEM file of the client certificate's key; goes with `cert_file`.
    pub key_file: Option<PathBuf>,
}

/// The client that connects to the servers.
///
/// ```
/// use leasehold::config::{Config, TransportChoice};
///
/// let argument = "auto"; // of the program's command line
/// let choice = TransportChoice::of(argument).ok_or("unknown transport")?;
/// let builder = Config::builder("orders", "node-1", ["nats://a.example"]).transport(choice);
/// let config = builder.build()?; // refuses a client that the program was built without
/// assert_eq!(config.transport().name(), "auto");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportChoice {
    /// `direct` where the program was built with it, else `nats-client`. The default.
    #[default]
    Auto,
    /// This library's own client (feature `direct`): no thread of its own.
    Direct,
    /// The `nats` crate (feature `nats-client`).
    NatsClient,
}

impl TransportChoice {
    /// The choice of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "direct" => Some(Self::Direct),
            "nats-client" => Some(Self::NatsClient),
            _ => None,
        }
    }

    /// Whether the choice is the `nats` crate.
    #[cfg(feature = "nats-client")]
    pub(crate) fn is_nats_client(self) -> bool {
        // A configuration of the build lets all tests run with the crate.
        let auto = cfg!(any(not(feature = "direct"), leasehold_nats_client));
        self == Self::NatsClient || (self == Self::Auto && auto)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Direct => "direct",
            Self::NatsClient => "nats-client",
        }
    }
}

/// One server: host, port, and the security and credentials of its address.
///
/// ```
/// use leasehold::Config;
///
/// let config = Config::new("orders", "node-1", ["tls://user:swordfish@a.example"])?;
/// let servers: Vec<String> = config.servers().collect(); // each address as it is displayed
/// assert_eq!(servers, ["tls://a.example:4222"]);
/// # Ok::<(), leasehold::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) auth: Auth,
}

impl fmt::Display for ServerAddress {
    /// The address without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "tls" } else { "nats" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// How to reach the servers. Always valid.
///
/// ```
/// use leasehold::Config;
///
/// let config = Config::new("orders", "node-1", ["nats://a.example"])?;
/// let reloaded = config.to_builder().replicas(3).build()?;
/// // The servers are reached as before: the program can keep its connections.
/// assert_eq!(config.connection(), reloaded.connection());
/// # Ok::<(), leasehold::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionSettings {
    pub(crate) servers: Vec<ServerAddress>,
    pub(crate) auth: Auth,
    pub(crate) tls: Tls,
    pub(crate) transport: TransportChoice,
    /// `$JS.API`, `$JS.<domain>.API`, or an account import's prefix; without a trailing dot.
    pub(crate) api_prefix: String,
    /// First token(s) of reply subjects, without a trailing dot. Default `_INBOX`.
    pub(crate) inbox_prefix: String,
    /// How long one attempt may take, handshake included. Default 5 s.
    pub(crate) connect_timeout: Duration,
    /// The longest pause between attempts; the first is immediate. Default 2 s.
    pub(crate) reconnect_wait: Duration,
    /// The connection's name on the server: `leasehold/<cluster>/<node>`.
    pub(crate) name: String,
}
