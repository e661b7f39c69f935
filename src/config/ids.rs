//! Names of clusters and nodes.
//!
//! They become parts of a bucket's name and of subjects. There a wildcard would match other names,
//! and a blank or a control character would change the protocol's line.

use thiserror::Error;

use super::error::{ConfigError, quoted};

/// Longest id, in characters.
pub const MAX_ID_LENGTH: usize = 64;

/// A text that is not accepted as an id.
///
/// ```
/// use leasehold::config::check_node_id;
///
/// let error = check_node_id("node 1").unwrap_err();
/// eprintln!("{error}"); // says what is wrong with it, and proposes another id
/// assert!(error.to_string().ends_with("nearest accepted: \"node-1\""));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the {name} {problem}")]
pub struct InvalidId {
    name: &'static str,
    /// The rule that it breaks; follows the name of the field.
    problem: String,
}

/// Checks a cluster id: 1 to 64 characters of `A-Z a-z 0-9 - _`.
///
/// # Errors
/// Names the character at fault, the rule, and the nearest accepted id.
pub fn check_cluster_id(id: &str) -> Result<(), InvalidId> {
    CLUSTER.check(id)
}

/// Checks a node id: as a cluster id, and `.` inside, but not two in a row.
///
/// # Errors
/// Names the character at fault, the rule, and the nearest accepted id.
pub fn check_node_id(id: &str) -> Result<(), InvalidId> {
    NODE.check(id)
}

impl InvalidId {
    /// The error for the field at `path`.
    pub(super) fn at(self, path: &str) -> ConfigError {
        ConfigError::invalid(path, self.problem)
    }
}

/// A kind of id, and what it may be.
struct Rule {
    name: &'static str,
    dots: bool,
    words: &'static str,
}

const CLUSTER: Rule = Rule {
    name: "cluster id",
    dots: false,
    words: "1 to 64 characters of A-Z a-z 0-9 - _ are allowed",
};
const NODE: Rule = Rule {
    name: "node id",
    dots: true,
    words: "1 to 64 characters of A-Z a-z 0-9 - _ are allowed, and single dots between them",
};

impl Rule {
    fn allows(&self, character: char) -> bool {
        let dot = self.dots && character == '.';
        dot || character.is_ascii_alphanumeric() || matches!(character, '-' | '_')
    }

    fn check(&self, id: &str) -> Result<(), InvalidId> {
        let Some(fault) = self.fault(id) else { return Ok(()) };
        let nearest = self.nearest(id);
        let nearest = nearest.map_or(String::new(), |id| format!("; nearest accepted: {id:?}"));
        let problem = format!("is {}, which {fault}: {}{nearest}", quoted(id), self.words);
        Err(InvalidId { name: self.name, problem })
    }

    fn fault(&self, id: &str) -> Option<String> {
        if id.is_empty() {
            return Some("is empty".to_owned());
        }
        let wrong = id.chars().enumerate().find(|(_, character)| !self.allows(*character));
        if let Some((index, character)) = wrong {
            return Some(format!("has {character:?} as character {}", index + 1));
        }
        let length = id.chars().count();
        if length > MAX_ID_LENGTH {
            return Some(format!("has {length} characters"));
        }
        if id.starts_with('.') || id.ends_with('.') {
            return Some("has '.' at an end".to_owned());
        }
        id.contains("..").then(|| "has two dots in a row".to_owned())
    }

    /// The nearest accepted id: other characters become `-`, surplus dots and length are dropped.
    fn nearest(&self, id: &str) -> Option<String> {
        let mut nearest = String::new();
        for character in id.trim().chars().map(|c| if self.allows(c) { c } else { '-' }) {
            let surplus_dot = character == '.' && (nearest.is_empty() || nearest.ends_with('.'));
            if !surplus_dot && nearest.len() < MAX_ID_LENGTH {
                nearest.push(character);
            }
        }
        let nearest = nearest.trim_end_matches('.');
        (!nearest.is_empty()).then(|| nearest.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_ids_pass() {
        for id in ["a", "orders", "ORDERS_2-b", &"x".repeat(64)] {
            check_cluster_id(id).unwrap();
            check_node_id(id).unwrap();
        }
        check_node_id("node-1.rack.example").unwrap();
    }

    #[test]
    fn an_error_names_character_rule_and_nearest_id() {
        let message = check_cluster_id("my cluster").unwrap_err().to_string();
        for part in ["the cluster id is", "' '", "character 3", "A-Z a-z 0-9", "\"my-cluster\""] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn ids_unfit_for_a_subject_are_refused() {
        for id in ["a.b", "*", ">", "a*", "a b", "a\n", "\0", "ä", "a/b", "$JS", &"x".repeat(65)] {
            assert!(check_cluster_id(id).is_err(), "{id:?}");
        }
        for id in [".", ".a", "a.", "a..b", "*", "a.>", "a. b", "a\u{7f}", "ä", &"x".repeat(65)] {
            assert!(check_node_id(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn an_empty_id_is_refused() {
        let message = check_node_id("").unwrap_err().to_string();
        assert!(message.starts_with("the node id is \"\", which is empty"), "{message}");
        assert!(check_cluster_id("").is_err());
    }

    #[test]
    fn the_nearest_id_is_accepted() {
        for id in ["..", " a ", "..a..b..", "ü", "a.b", &".".repeat(99), &"x.".repeat(99)] {
            if let Some(nearest) = NODE.nearest(id) {
                check_node_id(&nearest).unwrap();
            }
            if let Some(nearest) = CLUSTER.nearest(id) {
                check_cluster_id(&nearest).unwrap();
            }
        }
        assert_eq!(NODE.nearest("..a..b..").unwrap(), "a.b");
    }
}
