//! The section `nats`: checks of its texts, and the connection that it describes.

use std::env;
use std::path::{Path, PathBuf};

use super::connection::{Auth, ConnectionSettings, Secret, Tls, TransportChoice};
use super::error::{ConfigError, quoted};
use super::options::{
    API_PREFIX, CLUSTER_ID, CONNECT_TIMEOUT, CREDENTIALS, DOMAIN, INBOX_PREFIX, NKEY, NKEY_FILE,
    NODE_ID, PASSWORD, RECONNECT_WAIT, Row, TLS_CA, TLS_CERT, TLS_FIRST, TLS_KEY, TLS_REQUIRED,
    TOKEN, TRANSPORT, USER,
};
use super::settings::Settings;
use super::{file, servers};

/// How to reach the servers, from settings that were checked. Reads the file of an nkey's seed.
pub(super) fn connection(
    settings: &Settings,
    folder: Option<&Path>,
) -> Result<ConnectionSettings, ConfigError> {
    let id = |row| settings.required_text(row);
    let file = |row| named_file(settings, row, folder);
    Ok(ConnectionSettings {
        servers: settings.servers().map_or(Ok(Vec::new()), servers::parse_all)?,
        tls: Tls {
            required: settings.flag(&TLS_REQUIRED),
            handshake_first: settings.flag(&TLS_FIRST),
            ca_file: file(&TLS_CA),
            cert_file: file(&TLS_CERT),
            key_file: file(&TLS_KEY),
        },
        transport: settings.text(&TRANSPORT).and_then(TransportChoice::of).unwrap_or_default(),
        api_prefix: api_prefix(settings),
        inbox_prefix: inbox_prefix(settings).to_owned(),
        connect_timeout: settings.duration(&CONNECT_TIMEOUT),
        reconnect_wait: settings.duration(&RECONNECT_WAIT),
        name: format!("leasehold/{}/{}", id(&CLUSTER_ID), id(&NODE_ID)),
        // The last step, as it may read a file.
        auth: auth(settings, folder)?,
    })
}

/// Settings that name a file.
static FILES: [&Row; 5] = [&CREDENTIALS, &NKEY_FILE, &TLS_CA, &TLS_CERT, &TLS_KEY];

/// The folder that relative paths count from: the one that was `known` before, or else the current
/// one, if there is such a path.
pub(super) fn folder(
    settings: &Settings,
    known: Option<PathBuf>,
) -> Result<Option<PathBuf>, ConfigError> {
    let relative =
        |row: &&Row| settings.text(row).is_some_and(|file| Path::new(file).is_relative());
    let row = FILES.iter().copied().find(relative).filter(|_| known.is_none());
    let Some(row) = row else { return Ok(known) };
    env::current_dir().map(Some).map_err(|why| {
        let problem = format!("must be absolute, as the current folder cannot be found: {why}");
        ConfigError::invalid(row.path, problem)
    })
}

/// The file that a setting names, by an absolute path.
fn named_file(settings: &Settings, row: &Row, folder: Option<&Path>) -> Option<PathBuf> {
    // Joined, an absolute path stays as it is.
    Some(folder.unwrap_or(Path::new("")).join(settings.text(row)?))
}

fn auth(settings: &Settings, folder: Option<&Path>) -> Result<Auth, ConfigError> {
    let user = settings.text(&USER).zip(settings.secret(&PASSWORD));
    let user = user.map(|(user, password)| Auth::UserPassword {
        user: user.to_owned(),
        password: password.clone(),
    });
    let token = settings.secret(&TOKEN).cloned().map(Auth::Token);
    let seed = settings.secret(&NKEY).cloned().map(Auth::NkeySeed);
    let file = named_file(settings, &CREDENTIALS, folder).map(Auth::CredentialsFile);
    match named_file(settings, &NKEY_FILE, folder) {
        Some(file) => seed_in(&file, settings.required_text(&NKEY_FILE)),
        None => Ok(user.or(token).or(seed).or(file).unwrap_or_default()),
    }
}

/// The seed in a file, which errors name as it was given.
fn seed_in(file: &Path, given: &str) -> Result<Auth, ConfigError> {
    let unreadable = |why| {
        let problem = format!("names {}, which cannot be read: {why}", quoted(given));
        ConfigError::invalid(NKEY_FILE.path, problem)
    };
    let text = file::read_text(file, file::MAX_FILE_BYTES).map_err(unreadable)?;
    check_seed(NKEY_FILE.path, text.trim())?;
    Ok(Auth::NkeySeed(Secret::new(text.trim())))
}

pub(super) fn check_seed(path: &'static str, seed: &str) -> Result<(), ConfigError> {
    const SEED_LENGTH: usize = 58;
    let base32 = seed.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'));
    if seed.starts_with("SU") && seed.len() == SEED_LENGTH && base32 {
        return Ok(());
    }
    Err(ConfigError::invalid(path, "is not a user's seed: 58 characters that begin with SU"))
}

/// Checks a path. The file may be missing yet: it is opened when it is needed.
pub(super) fn check_path(path: &'static str, file: &str) -> Result<(), ConfigError> {
    if file.contains(['\0', char::REPLACEMENT_CHARACTER]) {
        return Err(ConfigError::invalid(path, "is not a path of valid UTF-8"));
    }
    // Errors quote paths.
    if check_seed(path, file.trim()).is_ok() {
        return Err(ConfigError::invalid(path, "is a seed, must be the path of a file"));
    }
    Ok(())
}

/// Checks the name of a transport: this program must have been built with it.
pub(super) fn check_transport(path: &'static str, name: &str) -> Result<(), ConfigError> {
    let missing = match TransportChoice::of(name) {
        Some(TransportChoice::Direct) if cfg!(not(feature = "direct")) => "direct",
        Some(TransportChoice::NatsClient) if cfg!(not(feature = "nats-client")) => "nats-client",
        Some(_) => return Ok(()),
        None => {
            let why = format!("is {}, must be auto, direct or nats-client", quoted(name));
            return Err(ConfigError::invalid(path, why));
        }
    };
    let why = format!("is {missing:?}, which this program was built without: use auto");
    Err(ConfigError::invalid(path, why))
}

fn api_prefix(settings: &Settings) -> String {
    match settings.text(&DOMAIN) {
        Some(domain) => format!("$JS.{domain}.API"),
        None => settings.text(&API_PREFIX).map_or("$JS.API", without_dot).to_owned(),
    }
}

fn inbox_prefix(settings: &Settings) -> &str {
    settings.text(&INBOX_PREFIX).map_or("_INBOX", without_dot)
}

/// Drops one final dot, which some tools write.
fn without_dot(subject: &str) -> &str {
    subject.strip_suffix('.').unwrap_or(subject)
}

/// Checks the first tokens of a subject.
pub(super) fn check_subject(path: &'static str, text: &str) -> Result<(), ConfigError> {
    const LONGEST: usize = 128;
    let subject = without_dot(text);
    let good = |b: u8| b.is_ascii_graphic() && !matches!(b, b'*' | b'>');
    let token = |token: &str| !token.is_empty() && token.bytes().all(good);
    if subject.len() <= LONGEST && subject.split('.').all(token) {
        return Ok(());
    }
    let why = format!(
        "is {}, must be tokens of printable ASCII separated by dots, without * and >, at most \
         {LONGEST} characters in all",
        quoted(text)
    );
    Err(ConfigError::invalid(path, why))
}

/// Checks a JetStream domain, which is one token.
pub(super) fn check_domain(path: &'static str, text: &str) -> Result<(), ConfigError> {
    if text.contains('.') {
        return Err(ConfigError::invalid(path, format!("is {}, must have no dot", quoted(text))));
    }
    check_subject(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::Row;
    use crate::config::settings::Setting;

    const SEED: &str = "SUEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE";

    #[test]
    fn prefixes_have_defaults_and_a_domain_makes_one() {
        let with = |row: &Row, text: &str| {
            let mut settings = Settings::default();
            settings.set(row, Some(Setting::Plain(text.into())));
            settings
        };
        let plain = Settings::default();
        assert_eq!((api_prefix(&plain).as_str(), inbox_prefix(&plain)), ("$JS.API", "_INBOX"));
        assert_eq!(api_prefix(&with(&DOMAIN, "leaf")), "$JS.leaf.API");
        assert_eq!(api_prefix(&with(&API_PREFIX, "acc.JS.API.")), "acc.JS.API");
        assert_eq!(inbox_prefix(&with(&INBOX_PREFIX, "_INBOX.orders")), "_INBOX.orders");
    }

    #[test]
    fn texts_that_are_no_subject_are_refused() {
        for text in
            ["", ".", "..", "a..b", ".a", "a b", "a.*", "a.>", "a\r\nPUB", "ä", &"a".repeat(129)]
        {
            assert!(check_subject("nats.apiPrefix", text).is_err(), "{text:?}");
            assert!(check_domain("nats.domain", text).is_err(), "{text:?}");
        }
        check_subject("nats.apiPrefix", "a.b").unwrap();
        assert!(check_domain("nats.domain", "a.b").is_err());
    }

    #[test]
    fn only_the_seed_of_a_user_passes_and_no_message_quotes_it() {
        assert_eq!(SEED.len(), 58);
        check_seed(NKEY.path, SEED).unwrap();
        for seed in ["", "SU", &SEED.replace("SU", "SA"), &SEED.to_lowercase(), &SEED[1..]] {
            let message = check_seed(NKEY.path, seed).unwrap_err().to_string();
            assert!(message.starts_with("nats.nkey is not"), "{message}");
            assert!(seed.len() < 3 || !message.contains(seed), "{message}");
        }
    }
}
