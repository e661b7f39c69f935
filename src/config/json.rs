//! The JSON file: the format of go-cluster v1, and further optional keys. Read and written by the
//! option table.

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::connection::Secret;
use super::error::{ConfigError, quoted};
use super::options::{self, Kind, Row, kind_of};
use super::settings::{LIST, Setting, Settings, in_entry};
use super::strict_json;

/// Reads a file's text. Values are checked when the configuration is built.
pub(super) fn read(text: &str) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    read_section(&mut settings, "", strict_json::parse(text)?)?;
    Ok(settings)
}

/// Reads a value that a file could have at a key: that of one setting, or a whole section.
#[cfg(any(test, all(feature = "capi", unix)))]
pub(super) fn read_at(key: &str, value: Value) -> Result<Settings, ConfigError> {
    // More than any key has; without a bound, nested objects could exhaust the stack.
    const PARTS: usize = 4;
    let parts: Vec<&str> = key.splitn(PARTS, '.').collect();
    let enclose =
        |inner, key: &&str| Value::Object([((*key).to_owned(), inner)].into_iter().collect());
    let mut settings = Settings::default();
    read_section(&mut settings, "", parts.iter().rev().fold(value, enclose))?;
    Ok(settings)
}

/// `null` counts as absent, as it does for Go.
fn read_section(settings: &mut Settings, section: &str, value: Value) -> Result<(), ConfigError> {
    let fields = match value {
        Value::Null => return Ok(()),
        Value::Object(fields) => fields,
        Value::Array(entries) if section == LIST => return read_entries(settings, entries),
        other => {
            let path = if section.is_empty() { "the configuration" } else { section };
            return Err(ConfigError::expected(path, "an object", kind_of(&other)));
        }
    };
    let children = options::children(section);
    for (key, value) in fields {
        let path = joined(section, &key);
        match options::find(&path) {
            Some(row) => settings.set(row, read_value(row, value)?),
            None if children.contains(&path.as_str()) => read_section(settings, &path, value)?,
            None => return Err(unknown(path, &key, &children)),
        }
    }
    Ok(())
}

/// Reads a section that is a list of sections.
fn read_entries(settings: &mut Settings, entries: Vec<Value>) -> Result<(), ConfigError> {
    for (index, entry) in entries.into_iter().enumerate() {
        let mut read = Settings::default();
        let checked = match &entry {
            Value::Object(_) => read_section(&mut read, LIST, entry),
            other => Err(ConfigError::expected(LIST, "an object", kind_of(other))),
        };
        let addressed = checked.and_then(|()| match read.text(&options::VIP_ADDRESS) {
            Some(_) => Ok(()),
            None => Err(ConfigError::missing(options::VIP_ADDRESS.path)),
        });
        in_entry(Some(index), addressed)?;
        if index == 0 {
            settings.replace(LIST, read);
        } else {
            settings.add(read);
        }
    }
    Ok(())
}

/// `null`, an empty text, and 0 for a number of go-cluster mean the default: its files have them
/// for settings that are not set.
fn read_value(row: &Row, value: Value) -> Result<Option<Setting>, ConfigError> {
    Ok(Some(match (&row.kind, value) {
        (_, Value::Null) => return Ok(None),
        (Kind::Text(_) | Kind::Secret(_), Value::String(text)) if text.is_empty() => {
            return Ok(None);
        }
        (Kind::Number(_), value) if value == 0 && row.is_of_go_cluster() => return Ok(None),
        (Kind::Secret(_), Value::String(text)) => Setting::Secret(Secret::new(text)),
        (Kind::Servers, Value::Array(list)) => Setting::Secrets(read_list(row, list)?),
        (Kind::Text(_), value @ Value::String(_)) => Setting::Plain(value),
        (Kind::Flag, value @ Value::Bool(_)) => Setting::Plain(value),
        (Kind::Number(_), value) if value.is_u64() => Setting::Plain(value),
        (Kind::Meta, value) => Setting::Plain(value),
        (_, value) => return Err(row.mismatch(&value)),
    }))
}

fn read_list(row: &Row, list: Vec<Value>) -> Result<Vec<Secret>, ConfigError> {
    let text = |(index, item)| match item {
        Value::String(text) => Ok(Secret::new(text)),
        other => {
            Err(ConfigError::expected(format!("{}[{index}]", row.path), "a text", kind_of(&other)))
        }
    };
    list.into_iter().enumerate().map(text).collect()
}

/// `path.key`; a key that is not plain is quoted, escaped and cut.
fn joined(path: &str, key: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'[' | b']');
    let plain = (1..=64).contains(&key.len()) && key.bytes().all(plain);
    let key = if plain { key.to_owned() } else { quoted(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// The error for a key that is in no row, with the nearest known key.
fn unknown(path: String, key: &str, known: &[&'static str]) -> ConfigError {
    let known: Vec<_> = known.iter().copied().map(last).collect();
    let elsewhere = options::ROWS.iter().find(|row| last(row.path).eq_ignore_ascii_case(key));
    let meant = nearest(key, &known).or(elsewhere.map(|row| row.path));
    let hint = match (replacement(&path), meant) {
        (Some(hint), _) => format!(", {hint}"),
        (None, Some(known)) => format!(", did you mean {known}?"),
        (None, None) => format!(", known here are {}", known.join(", ")),
    };
    ConfigError::UnknownKey { path, hint }
}

/// What replaces keys that later versions of go-cluster have.
fn replacement(path: &str) -> Option<&'static str> {
    match path {
        "election.heartbeatIntervalMs" => Some("its name here is renewIntervalMs"),
        "nats.maxReconnects" => Some("remove it: a node here never gives up reconnecting"),
        _ => None,
    }
}

/// The known key that takes the fewest edits to reach, unless that would be a guess.
fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if key.len() > LONGEST {
        return None;
    }
    let measured = known.iter().map(|candidate| (edits(key, candidate), *candidate));
    let (distance, candidate) = measured.min()?;
    (distance <= candidate.len() / 3 + 1).then_some(candidate)
}

/// Characters to insert, delete or replace (Levenshtein's distance), without regard to case.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, a) in from.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, b) in to.iter().enumerate() {
            let replace = diagonal + usize::from(a != *b);
            diagonal = row[column + 1];
            row[column + 1] = replace.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

/// Writes the settings of a built configuration as a file's text, in the order of the table.
/// Defaults are left out, except where go-cluster writes them: it can read what it can express.
#[allow(clippy::expect_used, reason = "the message names the invariant")]
pub(super) fn write(settings: &Settings) -> String {
    let file = Written { path: "", settings };
    serde_json::to_string_pretty(&file).expect("invariant: keys are texts") + "\n"
}

/// A setting, or a section with what is set in it.
struct Written<'a> {
    path: &'static str,
    settings: &'a Settings,
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let settings = self.settings;
        match options::find(self.path).map(|row| settings.get(row)) {
            Some(Some(Setting::Plain(value))) => value.serialize(serializer),
            Some(Some(Setting::Secret(secret))) => serializer.serialize_str(secret.expose()),
            Some(Some(Setting::Secrets(list))) => {
                serializer.collect_seq(list.iter().map(Secret::expose))
            }
            Some(None) => serializer.serialize_unit(),
            None if self.path == LIST && !settings.more().is_empty() => {
                let entries = settings.entries();
                serializer
                    .collect_seq(entries.map(|(_, entry)| Section { path: LIST, settings: entry }))
            }
            None => Section { path: self.path, settings }.serialize(serializer),
        }
    }
}

/// The settings directly in a section, and the sections in it.
struct Section<'a> {
    path: &'static str,
    settings: &'a Settings,
}

impl Serialize for Section<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let settings = self.settings;
        let written = options::children(self.path).into_iter().filter(|path| settings.has(path));
        serializer.collect_map(written.map(|path| (last(path), Written { path, settings })))
    }
}

/// The last part of a path.
fn last(path: &'static str) -> &'static str {
    path.rsplit('.').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_on_one_line_whatever_the_key() {
        assert_eq!(joined("", "nats"), "nats");
        assert_eq!(joined("nats", "a b\n"), "nats.\"a b\\n\"");
        assert!(joined("nats", &"x".repeat(100_000)).len() < 100);
    }

    #[test]
    fn edits_are_counted_without_case() {
        assert_eq!(edits("", ""), 0);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("clusterID", "clusterId"), 0);
        assert_eq!(edits("kitten", "sitting"), 3);
    }

    #[test]
    fn the_nearest_key_is_offered_unless_it_would_be_a_guess() {
        let known = ["servers", "credentials", "tls"];
        assert_eq!(nearest("server", &known), Some("servers"));
        assert_eq!(nearest("credentails", &known), Some("credentials"));
        assert_eq!(nearest("TLS", &known), Some("tls"));
        assert_eq!(nearest("replication", &known), None);
        assert_eq!(nearest(&"x".repeat(100_000), &known), None);
    }
}
