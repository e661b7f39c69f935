//! Server addresses: `nats://`, `tls://`, `host[:port]`, with credentials or without.
//!
//! No message quotes an address, as it may hold a password in any place.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::connection::{Auth, Secret, ServerAddress};
use super::error::ConfigError;

/// The most servers one configuration may name.
pub const MAX_SERVERS: usize = 64;
/// The port of an address without one.
pub const DEFAULT_PORT: u16 = 4222;

type Problem = &'static str;

const BAD_PORT: Problem = "has a port that is not a number from 1 to 65535";

/// Reads all addresses; one entry may hold several, separated by commas. Repetitions are merged.
pub(super) fn parse_all(entries: &[Secret]) -> Result<Vec<ServerAddress>, ConfigError> {
    let mut servers: Vec<ServerAddress> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        for text in entry.expose().split(',') {
            let path = || format!("nats.servers[{index}]");
            let server = parse(text.trim()).map_err(|why| ConfigError::invalid(path(), why))?;
            let same =
                |known: &&ServerAddress| known.host == server.host && known.port == server.port;
            match servers.iter().find(same) {
                None => servers.push(server),
                Some(known) if *known == server => {}
                Some(_) => {
                    let why = "names a server twice, with different credentials or security";
                    return Err(ConfigError::invalid(path(), why));
                }
            }
        }
    }
    match servers.len() {
        0 => Err(ConfigError::missing("nats.servers")),
        1..=MAX_SERVERS => Ok(servers),
        n => Err(ConfigError::invalid(
            "nats.servers",
            format!("has {n} servers, at most 64 are used"),
        )),
    }
}

fn parse(text: &str) -> Result<ServerAddress, Problem> {
    let (tls, rest) = split_scheme(text)?;
    let (credentials, place) = match rest.rsplit_once('@') {
        Some((credentials, place)) => (Some(credentials), place),
        None => (None, rest),
    };
    let auth = credentials.map_or(Ok(Auth::None), parse_credentials)?;
    let place = place.strip_suffix('/').unwrap_or(place);
    if place.contains(['/', '?', '#']) {
        return Err("has a path, query or fragment, which a server address has not");
    }
    let (host, port) = split_port(place)?;
    Ok(ServerAddress { host: check_host(host)?, port: parse_port(port)?, tls, auth })
}

fn split_scheme(text: &str) -> Result<(bool, &str), Problem> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return if text.is_empty() { Err("is empty") } else { Ok((false, text)) };
    };
    match scheme.to_ascii_lowercase().as_str() {
        "nats" => Ok((false, rest)),
        "tls" => Ok((true, rest)),
        "ws" | "wss" => {
            Err("is a WebSocket address, which is not supported: use nats:// or tls://")
        }
        _ => Err("has an unknown scheme: use nats:// or tls://"),
    }
}

fn parse_credentials(text: &str) -> Result<Auth, Problem> {
    if text.contains(['/', '?', '#', '@']) {
        return Err("has one of / ? # @ in its credentials: write it percent-encoded");
    }
    let nonempty = |text: &str, problem| match percent_decode(text) {
        Some(decoded) if decoded.is_empty() => Err(problem),
        Some(decoded) => Ok(decoded),
        None => Err("has credentials that are not valid percent-encoding: write % as %25"),
    };
    match text.split_once(':') {
        Some((user, password)) => Ok(Auth::UserPassword {
            user: nonempty(user, "has an empty user name before the colon")?,
            password: Secret::new(nonempty(password, "has an empty password after the colon")?),
        }),
        None => Ok(Auth::Token(Secret::new(nonempty(text, "has nothing before the @")?))),
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
            let value = digit()? * 16 + digit()?;
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn split_port(place: &str) -> Result<(&str, Option<&str>), Problem> {
    if let Some(bracketed) = place.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or("has a [ without its ]")?;
        host.parse::<Ipv6Addr>().map_err(|_| "has no IPv6 address between the brackets")?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(BAD_PORT),
        };
    }
    match place.split_once(':') {
        Some((_, port)) if port.contains(':') => {
            Err("has several colons: write an IPv6 address in brackets, as [::1]:4222")
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((place, None)),
    }
}

fn parse_port(text: Option<&str>) -> Result<u16, Problem> {
    let Some(text) = text else { return Ok(DEFAULT_PORT) };
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0).ok_or(BAD_PORT)
}

/// In lower case, since names compare without case.
fn check_host(host: &str) -> Result<String, Problem> {
    if let Ok(address) = host.parse::<Ipv6Addr>() {
        return Ok(address.to_string());
    }
    if host.is_empty() {
        return Err("has no host");
    }
    let numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err("has a host that is not a valid IPv4 address");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(allowed);
    let name = host.strip_suffix('.').unwrap_or(host);
    let valid = name.len() <= 253 && name.split('.').all(label);
    let problem = "has a host that is neither a name nor an address";
    if valid { Ok(host.to_ascii_lowercase()) } else { Err(problem) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> ServerAddress {
        let mut servers = parse_all(&[Secret::new(text)]).unwrap();
        assert_eq!(servers.len(), 1);
        servers.remove(0)
    }

    fn refusal(text: &str) -> String {
        parse_all(&[Secret::new(text)]).unwrap_err().to_string()
    }

    #[test]
    fn scheme_and_port_have_defaults() {
        for (text, shown) in [
            ("nats://a:1", "nats://a:1"),
            ("NATS://A", "nats://a:4222"),
            ("a", "nats://a:4222"),
            ("a:5", "nats://a:5"),
            ("tls://a.example./", "tls://a.example.:4222"),
            ("10.0.0.1", "nats://10.0.0.1:4222"),
            ("[::1]", "nats://[::1]:4222"),
            ("tls://[2001:DB8::1]:7", "tls://[2001:db8::1]:7"),
            (" a ", "nats://a:4222"),
        ] {
            assert_eq!(one(text).to_string(), shown);
        }
    }

    #[test]
    fn credentials_are_percent_decoded() {
        let server = one("nats://us%40er:p%3Aw:%2f@h");
        let Auth::UserPassword { user, password } = server.auth else { panic!() };
        assert_eq!((user.as_str(), password.expose()), ("us@er", "p:w:/"));
        assert_eq!(one("to%20ken@h").auth, Auth::Token(Secret::new("to ken")));
    }

    #[test]
    fn commas_separate_and_repetitions_merge() {
        let entries = [Secret::new("a, b:4223,a:4222"), Secret::new("nats://B:4223")];
        let servers = parse_all(&entries).unwrap();
        assert_eq!(servers.len(), 2);
        let entries = [Secret::new("a"), Secret::new("tls://a")];
        assert!(parse_all(&entries).unwrap_err().to_string().contains("nats.servers[1]"));
        assert_eq!(parse_all(&[]).unwrap_err().to_string(), "nats.servers is required");
        let many: Vec<_> = (0..=MAX_SERVERS).map(|n| Secret::new(format!("h{n}"))).collect();
        assert!(parse_all(&many).unwrap_err().to_string().contains("at most 64"));
        assert!(parse_all(&many[1..]).is_ok());
    }

    #[test]
    fn invalid_addresses_are_refused_with_a_reason() {
        for (text, reason) in [
            ("", "empty"),
            ("a,,b", "empty"),
            ("ws://a", "WebSocket"),
            ("wss://a", "WebSocket"),
            ("http://a", "unknown scheme"),
            ("nats://", "no host"),
            ("nats://a:0", "port"),
            ("nats://a:65536", "port"),
            ("nats://a:", "port"),
            ("nats://a:+1", "port"),
            ("::1", "brackets"),
            ("[::1", "]"),
            ("[a]", "IPv6"),
            ("[::1]4222", "port"),
            ("999.1.1.1", "IPv4"),
            ("a b", "host"),
            ("a..b", "host"),
            ("ä", "host"),
            ("a/b", "path"),
            ("a?tls=1", "path"),
            ("@a", "nothing before the @"),
            (":p@a", "empty user"),
            ("u:@a", "empty password"),
            ("u:p/w@a", "percent-encoded"),
            ("u:%zz@a", "percent-encoding"),
            ("u:%f@a", "percent-encoding"),
            ("u:%ff@a", "percent-encoding"),
        ] {
            let message = refusal(text);
            assert!(
                message.contains(reason) && message.starts_with("nats.servers[0]"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_refusal_never_quotes_the_address() {
        for text in
            ["u:hunter2@a:x", "u:hunter2%40h:4222", "x://hunter2@a", "u:hunter2/@a", "hunter2:x"]
        {
            assert!(!refusal(text).contains("hunter2"), "{text}");
        }
    }
}
