//! JSON as it stands in a file, taken apart section by section.
//!
//! A derived reader would do, but for what its messages lack: the path of the field, the range it
//! should be in, the key that was perhaps meant. Keys are known by being asked for, so that the
//! list of known keys cannot fall behind the reader.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::connection::Secret;
use super::error::{ConfigError, quoted};
use super::limits::Limit;

/// A JSON value that remembers whether a key stood twice.
pub(super) enum Tree {
    Null,
    Flag(bool),
    Number(Number),
    Text(String),
    List(Vec<Tree>),
    Object { fields: BTreeMap<String, Tree>, twice: Option<String> },
}

impl Tree {
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        // Syntax errors name what was expected and where, and quote nothing.
        serde_json::from_str(text)
            .map_err(|error| ConfigError::Syntax { reason: error.to_string() })
    }

    /// What it is, for "expected ..., found ...".
    fn describe(&self) -> String {
        match self {
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => quoted(text),
            Self::Null | Self::List(_) | Self::Object { .. } => self.kind().to_owned(),
        }
    }

    /// What it is, when it may be or hold a secret.
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Flag(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object { .. } => "an object",
        }
    }

    fn into_value(self, path: &str) -> Result<Value, ConfigError> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Flag(flag) => Value::Bool(flag),
            Self::Number(number) => Value::Number(number),
            Self::Text(text) => Value::String(text),
            Self::List(list) => {
                let items = list.into_iter().map(|item| item.into_value(path));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Self::Object { fields, twice } => {
                refuse_twice(path, twice)?;
                let items = fields.into_iter().map(|(key, item)| {
                    let value = item.into_value(&joined(path, &key));
                    value.map(|value| (key, value))
                });
                Value::Object(items.collect::<Result<_, _>>()?)
            }
        })
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Tree, E> {
        Ok(Tree::Flag(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        Ok(Number::from_f64(number).map_or(Tree::Null, Tree::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Tree, E> {
        Ok(Tree::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut fields = BTreeMap::new();
        let mut twice = None;
        while let Some((key, item)) = entries.next_entry::<String, Tree>()? {
            match fields.entry(key) {
                Entry::Vacant(slot) => _ = slot.insert(item),
                Entry::Occupied(slot) => twice = Some(slot.key().clone()),
            }
        }
        Ok(Tree::Object { fields, twice })
    }
}

/// One object of the file. `null` counts as absent, as it does for Go.
pub(super) struct Section {
    path: String,
    fields: BTreeMap<String, Tree>,
    known: Vec<&'static str>,
}

impl Section {
    /// The whole file.
    pub(super) fn top(tree: Tree) -> Result<Self, ConfigError> {
        Self::new(String::new(), Some(tree))
    }

    fn new(path: String, tree: Option<Tree>) -> Result<Self, ConfigError> {
        let fields = match tree {
            None => BTreeMap::new(),
            Some(Tree::Object { fields, twice }) => {
                refuse_twice(&path, twice)?;
                fields
            }
            Some(other) => {
                let path = if path.is_empty() { "the configuration".to_owned() } else { path };
                return Err(mismatch(path, "an object", other.kind()));
            }
        };
        Ok(Self { path, fields, known: Vec::new() })
    }

    /// An object inside; empty when it is absent.
    pub(super) fn section(&mut self, key: &'static str) -> Result<Self, ConfigError> {
        let tree = self.take(key);
        Self::new(joined(&self.path, key), tree)
    }

    /// A text; an empty one counts as absent, since Go writes fields that are not set so.
    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some(Tree::Text(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
            Some(other) => Err(self.mismatch(key, "a text", &other.describe())),
        }
    }

    /// A text that no message may quote, whatever stands there.
    pub(super) fn secret(&mut self, key: &'static str) -> Result<Option<Secret>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some(Tree::Text(text)) if text.is_empty() => Ok(None),
            Some(Tree::Text(text)) => Ok(Some(Secret::new(text))),
            Some(other) => Err(self.mismatch(key, "a text", other.kind())),
        }
    }

    /// A list of texts that no message may quote; absent is empty.
    pub(super) fn secrets(&mut self, key: &'static str) -> Result<Vec<Secret>, ConfigError> {
        let list = match self.take(key) {
            None => return Ok(Vec::new()),
            Some(Tree::List(list)) => list,
            Some(other) => return Err(self.mismatch(key, "a list of texts", other.kind())),
        };
        let secret = |(index, item): (usize, Tree)| match item {
            Tree::Text(text) => Ok(Secret::new(text)),
            other => Err(self.mismatch(&format!("{key}[{index}]"), "a text", other.kind())),
        };
        list.into_iter().enumerate().map(secret).collect()
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Result<Option<bool>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some(Tree::Flag(flag)) => Ok(Some(flag)),
            Some(other) => Err(self.mismatch(key, "true or false", &other.describe())),
        }
    }

    /// A whole number from 0 up. Its range is checked later, together with the builder's.
    pub(super) fn number(&mut self, limit: &Limit) -> Result<Option<u64>, ConfigError> {
        let Some(tree) = self.take(limit.key()) else { return Ok(None) };
        let number = match &tree {
            Tree::Number(number) => number.as_u64(),
            _ => None,
        };
        let refuse = || self.mismatch(limit.key(), &limit.expected(), &tree.describe());
        number.ok_or_else(refuse).map(Some)
    }

    pub(super) fn millis(&mut self, limit: &Limit) -> Result<Option<Duration>, ConfigError> {
        Ok(self.number(limit)?.map(Duration::from_millis))
    }

    /// Any JSON.
    pub(super) fn value(&mut self, key: &'static str) -> Result<Option<Value>, ConfigError> {
        let path = joined(&self.path, key);
        self.take(key).map(|tree| tree.into_value(&path)).transpose()
    }

    /// Refuses what was not asked for.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        let Some(key) = self.fields.keys().next() else { return Ok(()) };
        let path = joined(&self.path, key);
        let hint = match (replaced(&path), nearest(key, &self.known)) {
            (Some(hint), _) => format!(", {hint}"),
            (None, Some(known)) => format!(", did you mean {known}?"),
            (None, None) => format!(", known here are {}", self.known.join(", ")),
        };
        Err(ConfigError::UnknownKey { path, hint })
    }

    fn take(&mut self, key: &'static str) -> Option<Tree> {
        self.known.push(key);
        self.fields.remove(key).filter(|tree| !matches!(tree, Tree::Null))
    }

    fn mismatch(&self, key: &str, expected: &str, found: &str) -> ConfigError {
        mismatch(joined(&self.path, key), expected, found)
    }
}

fn mismatch(path: String, expected: &str, found: &str) -> ConfigError {
    ConfigError::Expected { path, expected: expected.to_owned(), found: found.to_owned() }
}

fn refuse_twice(path: &str, twice: Option<String>) -> Result<(), ConfigError> {
    twice.map_or(Ok(()), |key| Err(ConfigError::DuplicateKey { path: joined(path, &key) }))
}

/// `path.key`; a key that is not plain is quoted, escaped and cut.
fn joined(path: &str, key: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'[' | b']');
    let plain = (1..=64).contains(&key.len()) && key.bytes().all(plain);
    let key = if plain { key.to_owned() } else { quoted(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// What took the place of keys that later versions of go-cluster have.
fn replaced(path: &str) -> Option<&'static str> {
    match path {
        "election.heartbeatIntervalMs" => Some("its name here is renewIntervalMs"),
        "nats.maxReconnects" => Some("a node here never gives up reconnecting"),
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

/// Characters to insert, delete or replace (Levenshtein's distance), case aside.
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_path_stays_on_one_line_whatever_the_key() {
        assert_eq!(joined("", "nats"), "nats");
        assert_eq!(joined("nats", "a b\n"), "nats.\"a b\\n\"");
        assert!(joined("nats", &"x".repeat(100_000)).len() < 100);
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_at_any_depth() {
        let twice = |text: &str| {
            let mut top = Section::top(Tree::parse(text)?)?;
            top.section("nats")?.finish()?;
            top.value("meta")?;
            top.finish()
        };
        let message = |text: &str| twice(text).unwrap_err().to_string();
        assert_eq!(message(r#"{"a":1,"a":2}"#), "a appears twice");
        assert_eq!(message(r#"{"nats":{"b":1,"b":1}}"#), "nats.b appears twice");
        assert_eq!(message(r#"{"meta":{"c":{"d":1,"d":1}}}"#), "meta.c.d appears twice");
        twice(r#"{"nats":{},"meta":{"c":{"c":[null,true,-1,1.5,"x"]}}}"#).unwrap();
    }
}
