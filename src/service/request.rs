//! The bodies of commands. Any client with the permission to publish may send them, so they are
//! checked before the node acts.

use serde::Deserialize;
use thiserror::Error;

use crate::config::{InvalidId, check_node_id};
use crate::json;

/// Longest body of a command, in bytes.
pub const MAX_REQUEST_BYTES: usize = 1024;

/// The body of a command cannot be parsed. Nothing was done.
///
/// ```
/// use leasehold::service::{CommandError, parse_transfer};
///
/// let status = |body: &[u8]| match parse_transfer(body) {
///     Ok(_) => 200,
///     Err(CommandError::TooLong(_)) => 413,
///     Err(_) => 400,
/// };
/// assert_eq!((status(b"node-2"), status(b"node 2"), status(&[b'x'; 2000])), (200, 400, 413));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The body is too long.
    #[error("the request has {0} bytes, at most {MAX_REQUEST_BYTES} are accepted")]
    TooLong(usize),
    /// The body has another form than this command takes.
    #[error("{0}")]
    Malformed(&'static str),
    /// The body has no valid node id.
    #[error(transparent)]
    NodeId(#[from] InvalidId),
}

/// The successor that a transfer names: a node id as plain text, or `{"to":"node-2"}`.
///
/// # Errors
/// [`CommandError`] when the body is too long, is no text, or has no valid node id.
pub fn parse_transfer(body: &[u8]) -> Result<String, CommandError> {
    #[derive(Deserialize)]
    struct Transfer {
        to: String,
    }
    const WANTED: &str = "the body must be a node id, as text or as {\"to\":\"node-2\"}";
    let text = bounded_text(body)?;
    let to = if text.starts_with('{') {
        let parsed = json::from_slice::<Transfer>(text.as_bytes());
        parsed.map_err(|_| CommandError::Malformed(WANTED))?.to
    } else if text.is_empty() {
        return Err(CommandError::Malformed(WANTED));
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
/// [`CommandError`] when the body is too long or has another form.
pub fn parse_promote(body: &[u8]) -> Result<bool, CommandError> {
    #[derive(Deserialize)]
    struct Promote {
        #[serde(default)]
        force: bool,
    }
    let text = bounded_text(body)?;
    if text.is_empty() {
        return Ok(false);
    }
    let wanted = CommandError::Malformed("the body must be empty or {\"force\":true}");
    json::from_slice(text.as_bytes()).map(|promote: Promote| promote.force).map_err(|_| wanted)
}

/// Commands without a parameter ignore the body, unless it is too long.
pub(super) fn check_length(body: &[u8]) -> Result<(), CommandError> {
    if body.len() > MAX_REQUEST_BYTES { Err(CommandError::TooLong(body.len())) } else { Ok(()) }
}

fn bounded_text(body: &[u8]) -> Result<&str, CommandError> {
    check_length(body)?;
    let text =
        std::str::from_utf8(body).map_err(|_| CommandError::Malformed("the body is not UTF-8"))?;
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
        assert!(matches!(parse_transfer(&[0xff]), Err(CommandError::Malformed(_))));
        let long = vec![b'a'; MAX_REQUEST_BYTES + 1];
        assert!(matches!(parse_transfer(&long), Err(CommandError::TooLong(_))));
    }

    #[test]
    fn a_promotion_is_forced_only_by_its_body() {
        for (body, force) in [("", false), ("{}", false), ("{\"force\":true}", true)] {
            assert_eq!(parse_promote(body.as_bytes()).unwrap(), force, "{body}");
        }
        for body in ["true", "force", "{\"force\":1}", "[]"] {
            assert!(parse_promote(body.as_bytes()).is_err(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn parsing_bytes_never_panics(body in proptest::collection::vec(any::<u8>(), 0..1100)) {
            if let Ok(to) = parse_transfer(&body) {
                prop_assert!(check_node_id(&to).is_ok());
            }
            let _ = parse_promote(&body);
        }

        #[test]
        fn parsing_json_never_panics(to in ".{0,80}", force in ".{0,9}") {
            let body = serde_json::json!({ "to": to, "force": force }).to_string();
            if let Ok(named) = parse_transfer(body.as_bytes()) {
                prop_assert!(check_node_id(&named).is_ok());
            }
            prop_assert!(parse_promote(body.as_bytes()).is_err());
        }
    }
}
