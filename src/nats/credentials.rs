//! Credentials, read for each attempt to connect.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Map, Value};

use crate::config::connection::{Auth, ConnectionSettings, Secret, ServerAddress};
use crate::config::file::read_text;
use crate::error::StoreError;

/// A credentials file is a few kilobytes.
const MAX_CREDENTIALS_BYTES: usize = 64 * 1024;

/// Credentials, ready for use. No `Debug` output shows a secret.
#[derive(Clone)]
pub(super) enum Credentials {
    None,
    UserPassword(String, Secret),
    Token(Secret),
    Nkey(Arc<KeyPair>),
    Jwt(Secret, Arc<KeyPair>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// The credentials for `server`: its own, when its URL has some. A file is read anew.
    pub(super) fn load(
        settings: &ConnectionSettings,
        server: &ServerAddress,
    ) -> Result<Self, StoreError> {
        let auth = if server.auth == Auth::None { &settings.auth } else { &server.auth };
        let unusable = |reason: String| StoreError::Credentials(reason.into());
        match auth {
            Auth::None => Ok(Self::None),
            Auth::UserPassword { user, password } => {
                Ok(Self::UserPassword(user.clone(), password.clone()))
            }
            Auth::Token(token) => Ok(Self::Token(token.clone())),
            Auth::NkeySeed(seed) => key_pair(seed.expose()).map(Self::Nkey).map_err(unusable),
            Auth::CredentialsFile(path) => read_credentials(path).map_err(|reason| {
                unusable(format!("nats.credentials: {}: {reason}", path.display()))
            }),
        }
    }

    /// Adds these credentials to a CONNECT that answers a server's `nonce`.
    pub(super) fn fill(&self, nonce: &str, connect: &mut Map<String, Value>) {
        let mut set = |name: &str, value: &str| connect.insert(name.into(), value.into());
        let signature = |key| URL_SAFE_NO_PAD.encode(sign(key, nonce.as_bytes()));
        match self {
            Self::None => {}
            Self::UserPassword(user, password) => {
                set("user", user);
                set("pass", password.expose());
            }
            Self::Token(token) => {
                set("auth_token", token.expose());
            }
            Self::Nkey(key) => {
                set("nkey", &key.public_key());
                set("sig", &signature(key));
            }
            Self::Jwt(jwt, key) => {
                set("jwt", jwt.expose());
                set("sig", &signature(key));
            }
        }
    }
}

pub(super) fn sign(key: &KeyPair, nonce: &[u8]) -> Vec<u8> {
    // A pair made from a seed can sign. The server would refuse an empty signature.
    key.sign(nonce).unwrap_or_default()
}

fn key_pair(seed: &str) -> Result<Arc<KeyPair>, String> {
    // The error names the check that failed, and nothing of the seed.
    KeyPair::from_seed(seed.trim()).map(Arc::new).map_err(|e| format!("nkey seed: {e}"))
}

fn read_credentials(path: &Path) -> Result<Credentials, String> {
    let text = read_text(path, MAX_CREDENTIALS_BYTES).map_err(|error| error.to_string())?;
    let mut blocks = blocks(&text);
    let jwt = blocks.next().ok_or("no JWT in it")?;
    let seed = blocks.next().ok_or("no nkey seed in it")?;
    Ok(Credentials::Jwt(Secret::new(jwt), key_pair(seed)?))
}

/// The contents between the `-----BEGIN …` and `------END …` lines of a credentials file, which
/// are single lines.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    let mut lines = text.lines().map(str::trim);
    std::iter::from_fn(move || {
        lines.by_ref().find(|line| line.starts_with("---") && line.contains("BEGIN"))?;
        lines.by_ref().find(|line| !line.is_empty()).filter(|line| !line.starts_with("---"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credentials_file_has_a_jwt_and_a_seed() {
        let text = "-----BEGIN NATS USER JWT-----\r\neyJ0.abc\n------END NATS USER JWT------\n\n\
                    *** IMPORTANT ***\n-----BEGIN USER NKEY SEED-----\nSUAX\n\
                    ------END USER NKEY SEED------\n";
        assert_eq!(blocks(text).collect::<Vec<_>>(), ["eyJ0.abc", "SUAX"]);
    }

    #[test]
    fn other_files_have_no_blocks() {
        assert_eq!(blocks("-----BEGIN A-----\n-----END A-----\nx").count(), 0);
        assert_eq!(blocks("").count(), 0);
    }

    #[test]
    fn a_bad_seed_is_refused_without_being_repeated() {
        let error = key_pair("SUSECRETSECRET").map(|_| ()).unwrap_err();
        assert!(!error.contains("SECRET"), "{error}");
    }
}
