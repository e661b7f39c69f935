//! Every error code that JetStream has.

use serde_json::{Value, json};

use super::version::Version;

/// An error code, and the status that it comes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// `err_code`.
    pub code: u32,
    /// `code`, as in HTTP.
    pub status: u32,
}

impl Code {
    /// Words that no other code has.
    pub fn description(self) -> String {
        format!("refused by code {}", self.code)
    }

    /// The error of a response.
    pub fn error(self) -> Value {
        json!({ "code": self.status, "err_code": self.code, "description": self.description() })
    }
}

/// All codes of a server, in the order of their statuses.
///
/// # Panics
/// When the list in `tests/fixtures` is not what it should be.
pub fn codes_of(version: Version) -> Vec<Code> {
    let list: Value = serde_json::from_str(include_str!("../fixtures/jetstream_errors.json"))
        .expect("a fixture is JSON");
    let of = match version {
        Version::Oldest => "2.9.10",
        Version::Newest => "2.15",
    };
    let statuses = list[of].as_object().expect("an object");
    let codes = statuses.iter().flat_map(|(status, codes)| {
        let status = status.parse().expect("a status");
        let codes = codes.as_array().expect("a list").iter();
        codes.map(move |code| {
            let code = code.as_u64().and_then(|code| code.try_into().ok()).expect("a code");
            Code { code, status }
        })
    });
    let codes: Vec<_> = codes.collect();
    assert!(codes.len() > 100, "only {} codes", codes.len());
    codes
}
