//! The bodies of commands. They come from anybody who may publish, and are judged before anything
//! is done.

use serde::Deserialize;
use thiserror::Error;

use crate::config::{InvalidId, check_node_id};

/// Longest body of a command, in bytes.
pub const MAX_REQUEST_BYTES: usize = 1024;

/// A command that is none. Nothing was done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The body is too long.
    #[error("a request of {0} bytes, at most {MAX_REQUEST_BYTES} are read")]
    TooLong(usize),
    /// The body is not what this command takes.
    #[error("{0}")]
    Unreadable(&'static str),
    /// The body names no node.
    #[error(transparent)]
    NodeId(#[from] InvalidId),
}

/// The node that a transfer is meant for: its id as plain text, or `{"to":"node-2"}`.
///
/// # Errors
/// [`RequestError`] when it is too long, no text, or no node's id.
pub fn parse_transfer(body: &[u8]) -> Result<String, RequestError> {
    #[derive(Deserialize)]
    struct Transfer {
        to: String,
    }
    const WANTED: &str = "the body must be a node id, as text or as {\"to\":\"node-2\"}";
    let text = bounded_text(body)?;
    let to = if text.starts_with('{') {
        let parsed = serde_json::from_str::<Transfer>(text);
        parsed.map_err(|_| RequestError::Unreadable(WANTED))?.to
    } else if text.is_empty() {
        return Err(RequestError::Unreadable(WANTED));
    } else {
        text.to_owned()
    };
    check_node_id(&to)?;
    Ok(to)
}

/// Whether a promotion is forced, for use while another node leads: `{"force":true}`. An empty body
/// means no. A live leader keeps its lease: the promoted node takes part in the election and waits.
///
/// # Errors
/// [`RequestError`] when it is too long or something else.
pub fn parse_promote(body: &[u8]) -> Result<bool, RequestError> {
    #[derive(Deserialize)]
    struct Promote {
        #[serde(default)]
        force: bool,
    }
    let text = bounded_text(body)?;
    if text.is_empty() {
        return Ok(false);
    }
    // An array would do for the parser.
    let object = Some(text).filter(|text| text.starts_with('{'));
    let promote = object.and_then(|text| serde_json::from_str::<Promote>(text).ok());
    let wanted = RequestError::Unreadable("the body must be empty or {\"force\":true}");
    promote.map(|promote| promote.force).ok_or(wanted)
}

/// Commands that take nothing ignore what they get, within the bound.
pub(super) fn check_length(body: &[u8]) -> Result<(), RequestError> {
    if body.len() > MAX_REQUEST_BYTES { Err(RequestError::TooLong(body.len())) } else { Ok(()) }
}

fn bounded_text(body: &[u8]) -> Result<&str, RequestError> {
    check_length(body)?;
    let text = std::str::from_utf8(body).map_err(|_| RequestError::Unreadable("not a text"))?;
    Ok(text.trim())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_transfer_names_a_node() {
        for body in ["node-2", " node-2\n", "{\"to\":\"node-2\"}", "{\"to\":\"node-2\",\"x\":1}"] {
            assert_eq!(parse_transfer(body.as_bytes()).unwrap(), "node-2", "{body}");
        }
        for body in ["", " ", "a b", "a.>", "*", "{}", "{\"to\":1}", "[\"a\"]", "\"a\"", "{", "a\0"]
        {
            assert!(parse_transfer(body.as_bytes()).is_err(), "{body}");
        }
        assert!(matches!(parse_transfer(&[0xff]), Err(RequestError::Unreadable(_))));
        let long = vec![b'a'; MAX_REQUEST_BYTES + 1];
        assert!(matches!(parse_transfer(&long), Err(RequestError::TooLong(_))));
    }

    #[test]
    fn a_promotion_is_forced_only_when_it_says_so() {
        for (body, force) in [("", false), ("{}", false), ("{\"force\":true}", true)] {
            assert_eq!(parse_promote(body.as_bytes()).unwrap(), force, "{body}");
        }
        for body in ["true", "force", "{\"force\":1}", "[]"] {
            assert!(parse_promote(body.as_bytes()).is_err(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(body in proptest::collection::vec(any::<u8>(), 0..1100)) {
            if let Ok(to) = parse_transfer(&body) {
                prop_assert!(check_node_id(&to).is_ok());
            }
            let _ = parse_promote(&body);
        }

        #[test]
        fn no_json_does_harm(to in ".{0,80}", force in ".{0,9}") {
            let body = serde_json::json!({ "to": to, "force": force }).to_string();
            if let Ok(named) = parse_transfer(body.as_bytes()) {
                prop_assert!(check_node_id(&named).is_ok());
            }
            prop_assert!(parse_promote(body.as_bytes()).is_err());
        }
    }
}
