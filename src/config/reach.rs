//! Checks of what it takes to reach a server besides its address: credentials, TLS, prefixes.

use std::path::{Path, PathBuf};

use super::connection::{Auth, Secret, Tls};
use super::error::{ConfigError, quoted};
use super::file;

const NKEY_FILE: &str = "nats.nkeyFile";

/// The credentials in a file of a seed, which is read now.
pub(super) fn seed_in(file: &Path) -> Result<Auth, ConfigError> {
    let unreadable = |why| {
        // Quoted, so that the message is one line.
        let name = file.to_string_lossy();
        ConfigError::invalid(NKEY_FILE, format!("names {name:?}, which cannot be read: {why}"))
    };
    let text = file::text(file).map_err(unreadable)?;
    checked_seed(NKEY_FILE, text.trim())
}

/// The credentials in use, but for those of a seed's file.
pub(super) fn auth(given: &Auth, nkey_file: Option<&Path>) -> Result<Auth, ConfigError> {
    nkey_file.map_or(Ok(()), |file| check_file(NKEY_FILE, file))?;
    let present = |path: &str, text: &str, when| match text {
        "" => Err(ConfigError::Missing { path: path.to_owned(), when }),
        _ => Ok(()),
    };
    match given {
        Auth::None => {}
        Auth::UserPassword { user, password } => {
            present("nats.user", user, " when nats.password is set")?;
            present("nats.password", password.expose(), " when nats.user is set")?;
        }
        Auth::Token(token) => present("nats.token", token.expose(), "")?,
        Auth::NkeySeed(seed) => return checked_seed("nats.nkey", seed.expose()),
        Auth::CredentialsFile(file) => check_file("nats.credentials", file)?,
    }
    Ok(given.clone())
}

fn checked_seed(path: &str, seed: &str) -> Result<Auth, ConfigError> {
    const SEED_LENGTH: usize = 58;
    let base32 = seed.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'));
    if seed.starts_with("SU") && seed.len() == SEED_LENGTH && base32 {
        return Ok(Auth::NkeySeed(Secret::new(seed)));
    }
    Err(ConfigError::invalid(path, "is not a user's seed: 58 characters that begin with SU"))
}

/// A certificate and its key go together.
pub(super) fn check_tls(tls: &Tls) -> Result<(), ConfigError> {
    const CERT: &str = "nats.tls.cert";
    const KEY: &str = "nats.tls.key";
    let missing = |path: &str, when| Err(ConfigError::Missing { path: path.to_owned(), when });
    match (&tls.cert_file, &tls.key_file) {
        (Some(_), None) => return missing(KEY, " when nats.tls.cert is set"),
        (None, Some(_)) => return missing(CERT, " when nats.tls.key is set"),
        _ => {}
    }
    let files = [("nats.tls.ca", &tls.ca_file), (CERT, &tls.cert_file), (KEY, &tls.key_file)];
    files.into_iter().try_for_each(|(path, file)| {
        file.as_ref().map_or(Ok(()), |file: &PathBuf| check_file(path, file))
    })
}

/// Whether it is there is seen when it is needed: it may be mounted later than we start.
fn check_file(path: &str, file: &Path) -> Result<(), ConfigError> {
    if file.as_os_str().is_empty() {
        return Err(ConfigError::missing(path));
    }
    // The configuration is a text file; what it cannot hold could not be saved.
    let text = file.to_str().filter(|text| !text.contains('\0'));
    text.map(|_| ()).ok_or_else(|| ConfigError::invalid(path, "is not a path of valid UTF-8"))
}

/// Where the JetStream API answers.
pub(super) fn api_prefix(
    domain: Option<&str>,
    prefix: Option<&str>,
) -> Result<String, ConfigError> {
    const DOMAIN: &str = "nats.domain";
    const PREFIX: &str = "nats.apiPrefix";
    match (domain, prefix) {
        (None, None) => Ok("$JS.API".to_owned()),
        (Some(_), Some(_)) => Err(ConfigError::conflict(DOMAIN, PREFIX)),
        (Some(domain), None) if domain.contains('.') => {
            Err(ConfigError::invalid(DOMAIN, format!("is {}, must have no dot", quoted(domain))))
        }
        (Some(domain), None) => Ok(format!("$JS.{}.API", subject(DOMAIN, domain)?)),
        (None, Some(prefix)) => subject(PREFIX, prefix),
    }
}

/// First token or tokens of reply subjects.
pub(super) fn inbox_prefix(prefix: Option<&str>) -> Result<String, ConfigError> {
    prefix.map_or(Ok("_INBOX".to_owned()), |prefix| subject("nats.inboxPrefix", prefix))
}

/// A subject to put others behind; one final dot, which some tools write, is dropped.
fn subject(path: &str, text: &str) -> Result<String, ConfigError> {
    const LONGEST: usize = 128;
    let subject = text.strip_suffix('.').unwrap_or(text);
    let good = |b: u8| b.is_ascii_graphic() && !matches!(b, b'*' | b'>');
    let token = |token: &str| !token.is_empty() && token.bytes().all(good);
    if subject.len() <= LONGEST && subject.split('.').all(token) {
        return Ok(subject.to_owned());
    }
    let why = format!(
        "is {}, must be tokens of printable ASCII separated by dots, without * and >, at most \
         {LONGEST} characters in all",
        quoted(text)
    );
    Err(ConfigError::invalid(path, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = "SUEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE";

    #[test]
    fn prefixes_have_defaults_and_a_domain_makes_one() {
        assert_eq!(api_prefix(None, None).unwrap(), "$JS.API");
        assert_eq!(api_prefix(Some("leaf"), None).unwrap(), "$JS.leaf.API");
        assert_eq!(api_prefix(None, Some("acc.JS.API.")).unwrap(), "acc.JS.API");
        assert_eq!(inbox_prefix(None).unwrap(), "_INBOX");
        assert_eq!(inbox_prefix(Some("_INBOX.orders")).unwrap(), "_INBOX.orders");
        let message = api_prefix(Some("a"), Some("b")).unwrap_err().to_string();
        assert_eq!(message, "nats.domain and nats.apiPrefix exclude each other");
    }

    #[test]
    fn what_is_no_subject_is_refused() {
        for text in
            ["", ".", "..", "a..b", ".a", "a b", "a.*", "a.>", "a\r\nPUB", "ä", &"a".repeat(129)]
        {
            assert!(inbox_prefix(Some(text)).is_err(), "{text:?}");
            assert!(api_prefix(None, Some(text)).is_err(), "{text:?}");
            assert!(api_prefix(Some(text), None).is_err(), "{text:?}");
        }
        assert!(api_prefix(Some("a.b"), None).is_err());
    }

    #[test]
    fn a_certificate_and_its_key_go_together() {
        let mut tls = Tls { cert_file: Some("c".into()), ..Tls::default() };
        assert!(check_tls(&tls).unwrap_err().to_string().starts_with("nats.tls.key is required"));
        tls.key_file = Some("k".into());
        check_tls(&tls).unwrap();
        tls.cert_file = None;
        assert!(check_tls(&tls).unwrap_err().to_string().starts_with("nats.tls.cert is required"));
        let tls = Tls { ca_file: Some("".into()), ..Tls::default() };
        assert!(check_tls(&tls).unwrap_err().to_string().starts_with("nats.tls.ca is required"));
    }

    #[test]
    fn only_the_seed_of_a_user_passes_and_no_message_quotes_it() {
        assert_eq!(SEED.len(), 58);
        auth(&Auth::NkeySeed(Secret::new(SEED)), None).unwrap();
        for seed in ["", "SU", &SEED.replace("SU", "SA"), &SEED.to_lowercase(), &SEED[1..]] {
            let message = auth(&Auth::NkeySeed(Secret::new(seed)), None).unwrap_err().to_string();
            assert!(message.starts_with("nats.nkey is not"), "{message}");
            assert!(seed.len() < 3 || !message.contains(seed), "{message}");
        }
    }
}
