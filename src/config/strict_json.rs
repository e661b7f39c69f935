//! JSON in which no key stands twice in one object. `serde_json` alone would take the last one.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::error::{ConfigError, quoted};

/// Reads a text, with a byte order mark or without.
///
/// # Errors
/// [`ConfigError::Syntax`] says what is wrong and where; of the text it quotes keys only.
pub(crate) fn parse(text: &str) -> Result<Value, ConfigError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let strict: serde_json::Result<Strict> = serde_json::from_str(text);
    strict
        .map(|Strict(value)| value)
        .map_err(|error| ConfigError::Syntax { reason: error.to_string() })
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

/// Methods that take a value which is no list and no object.
macro_rules! plain {
    ($($visit:ident: $type:ty,)*) => {
        $(fn $visit<E>(self, value: $type) -> Result<Value, E> {
            Ok(value.into())
        })*
    };
}

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    plain! {
        visit_bool: bool,
        visit_u64: u64,
        visit_i64: i64,
        visit_f64: f64,
        visit_str: &str,
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some((key, Strict(value))) = entries.next_entry::<String, _>()? {
            if fields.contains_key(&key) {
                return Err(A::Error::custom(format!("key {} appears twice", quoted(&key))));
            }
            fields.insert(key, value);
        }
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_refused_at_any_depth() {
        let message = |text: &str| parse(text).unwrap_err().to_string();
        let twice = "not valid JSON: key \"a\" appears twice at line 1 column ";
        for text in [r#"{"a":1,"a":2}"#, r#"{"b":{"a":1,"a":1}}"#, r#"{"b":[{"a":{},"a":{}}]}"#] {
            assert!(message(text).starts_with(twice), "{}", message(text));
        }
        let fine = r#"{"a":{"a":[null,true,-1,1.5,"x"]},"b":{"a":{}}}"#;
        assert_eq!(parse(fine).unwrap(), serde_json::from_str::<Value>(fine).unwrap());
        assert_eq!(parse(&format!("\u{feff}{fine}\r\n")).unwrap(), parse(fine).unwrap());
    }
}
