//! The option table: one row for each setting of the file, the builder and the C API.
//!
//! The rows drive reading and writing JSON, the check of each value, the documentation of methods,
//! and the table in the guide. [`ConfigBuilder::build`] checks how settings fit together.
//!
//! [`ConfigBuilder::build`]: super::ConfigBuilder::build

mod table;

use serde_json::Value;

use super::error::{ConfigError, quoted};
use super::servers;
use super::settings::Setting;
use crate::lease::MAX_META_BYTES;

pub(super) use table::*;

/// One setting.
pub(super) struct Row {
    /// Its path in the file.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    /// What it may be. Of a number and a flag, errors quote this.
    value: &'static str,
    /// The default: of a number or a flag as JSON, otherwise in words.
    default: &'static str,
    /// What it does, for the guide and the documentation of methods.
    doc: &'static str,
}

/// What a value must be, and the function that checks it on its own.
pub(super) enum Kind {
    Text(Check),
    /// A text that no message may quote.
    Secret(Check),
    /// A list of server addresses, which may hold secrets.
    Servers,
    Flag,
    Number(fn(u64) -> bool),
    Meta,
}

/// Checks a text that is not empty; the path is for the message.
type Check = fn(path: &'static str, text: &str) -> Result<(), ConfigError>;

impl Row {
    /// The value of a setting that is not set, unless it follows from other settings.
    pub(super) fn default(&self) -> Option<Value> {
        match self.kind {
            Kind::Number(_) | Kind::Flag => serde_json::from_str(self.default).ok(),
            _ => None,
        }
    }

    /// Whether go-cluster writes this number. Then the file always has it, and 0 is the default.
    pub(super) fn is_of_go_cluster(&self) -> bool {
        GO_CLUSTER.iter().any(|row| row.path == self.path)
    }

    /// Checks a value on its own, whatever the other settings are.
    pub(super) fn check(&self, setting: &Setting) -> Result<(), ConfigError> {
        match (&self.kind, setting) {
            (Kind::Text(check), Setting::Plain(Value::String(text))) => {
                self.check_text(text, *check)
            }
            (Kind::Secret(check), Setting::Secret(text)) => self.check_text(text.expose(), *check),
            (Kind::Servers, Setting::Secrets(list)) => servers::parse_all(list).map(drop),
            (Kind::Number(check), Setting::Plain(value)) if !value.as_u64().is_some_and(check) => {
                Err(self.mismatch(value))
            }
            (Kind::Meta, Setting::Plain(value)) => check_meta(value),
            _ => Ok(()),
        }
    }

    fn check_text(&self, text: &str, check: Check) -> Result<(), ConfigError> {
        if text.is_empty() { Err(ConfigError::missing(self.path)) } else { check(self.path, text) }
    }

    /// The error for a value of the wrong type or out of range. What may be a secret is not quoted.
    pub(super) fn mismatch(&self, found: &Value) -> ConfigError {
        let (expected, is_secret) = match self.kind {
            Kind::Text(_) => ("a text", false),
            Kind::Secret(_) => ("a text", true),
            Kind::Servers => (self.value, true),
            Kind::Flag | Kind::Number(_) | Kind::Meta => (self.value, false),
        };
        let found = match found {
            Value::String(text) if !is_secret => quoted(text),
            Value::Bool(_) | Value::Number(_) if !is_secret => found.to_string(),
            _ => kind_of(found).to_owned(),
        };
        ConfigError::expected(self.path, expected, found)
    }

    /// Whether the setting is at a path, or in the section at that path.
    pub(super) fn is_at(&self, path: &str) -> bool {
        let rest = self.path.strip_prefix(path);
        rest.is_some_and(|rest| path.is_empty() || rest.is_empty() || rest.starts_with('.'))
    }
}

/// The table in Markdown, for the guide.
#[doc(hidden)]
#[must_use]
pub fn options_markdown() -> String {
    let head = "| key | value | default | meaning |\n|---|---|---|---|\n".to_owned();
    ROWS.iter().fold(head, |table, Row { path, value, default, doc, .. }| {
        table + &format!("| `{path}` | {value} | {default} | {doc} |\n")
    })
}

/// What a value is, for an error that does not quote it.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The setting at a path.
pub(super) fn find(path: &str) -> Option<&'static Row> {
    ROWS.iter().copied().find(|row| row.path == path)
}

/// The paths of the settings and sections directly in a section, in the order of the table.
pub(super) fn children(section: &str) -> Vec<&'static str> {
    let start = if section.is_empty() { 0 } else { section.len() + 1 };
    let inside = ROWS.iter().filter(|row| row.is_at(section) && row.path.len() > start);
    let child = |row: &&'static Row| {
        let dot = row.path[start..].find('.');
        &row.path[..dot.map_or(row.path.len(), |dot| start + dot)]
    };
    let mut paths: Vec<_> = inside.map(child).collect();
    paths.dedup();
    paths
}

/// Checks a value for the leader's record: at most [`MAX_META_BYTES`] of JSON, and not nested so
/// deeply that readers refuse it.
///
/// # Errors
/// Says how long it is, or that it is nested too deeply.
pub fn check_meta(meta: &Value) -> Result<(), ConfigError> {
    let text = meta.to_string();
    let refuse = |why: String| Err(ConfigError::invalid(META.path, why));
    if text.len() > MAX_META_BYTES {
        let length = text.len();
        return refuse(format!("is {length} bytes of JSON, must be at most {MAX_META_BYTES}"));
    }
    // Checked at the depth that it has in the file, where a parser's bound on depth counts.
    let placed = format!("{{\"election\":{{\"meta\":{text}}}}}");
    if serde_json::from_str::<Value>(&placed).is_err() {
        return refuse("is nested too deeply".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
