//! The crate's options for our credentials.

use crate::nats::credentials::{Credentials, sign};

/// Options with these credentials.
pub(super) fn of(credentials: &Credentials) -> nats::Options {
    match credentials.clone() {
        Credentials::None => nats::Options::new(),
        Credentials::UserPassword(user, password) => {
            nats::Options::with_user_pass(&user, password.expose())
        }
        Credentials::Token(token) => nats::Options::with_token(token.expose()),
        Credentials::Nkey(key) => {
            nats::Options::with_nkey(&key.public_key(), move |nonce| sign(&key, nonce))
        }
        Credentials::Jwt(jwt, key) => nats::Options::with_jwt(
            move || Ok(jwt.expose().to_owned()),
            move |nonce| sign(&key, nonce),
        ),
    }
}
