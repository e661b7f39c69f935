//! Names of clusters and nodes.
//!
//! They become parts of a bucket's name and of subjects, where a wildcard, a blank or a control
//! character would reach further than meant.

use super::error::{ConfigError, quoted};

/// Longest id, in characters.
pub const MAX_ID_LENGTH: usize = 64;

/// Checks a cluster id: 1 to 64 characters of `A-Z a-z 0-9 - _`.
///
/// # Errors
/// Names the character at fault, the rule, and the nearest accepted id.
pub fn check_cluster_id(id: &str) -> Result<(), ConfigError> {
    check("clusterId", id, Kind::Cluster)
}

/// Checks a node id: as a cluster id, and `.` inside, but not two in a row.
///
/// # Errors
/// Names the character at fault, the rule, and the nearest accepted id.
pub fn check_node_id(id: &str) -> Result<(), ConfigError> {
    check("nodeId", id, Kind::Node)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cluster,
    Node,
}

impl Kind {
    fn allows(self, character: char) -> bool {
        let dot = self == Self::Node && character == '.';
        dot || character.is_ascii_alphanumeric() || matches!(character, '-' | '_')
    }

    fn rule(self) -> &'static str {
        match self {
            Self::Cluster => "1 to 64 characters of A-Z a-z 0-9 - _ are allowed",
            Self::Node => {
                "1 to 64 characters of A-Z a-z 0-9 - _ are allowed, and single dots between them"
            }
        }
    }
}

fn check(path: &str, id: &str, kind: Kind) -> Result<(), ConfigError> {
    if id.is_empty() {
        return Err(ConfigError::missing(path));
    }
    let Some(fault) = fault(id, kind) else { return Ok(()) };
    let nearest = nearest(id, kind);
    let nearest = nearest.map_or(String::new(), |id| format!("; nearest accepted: {id:?}"));
    let problem = format!("is {}, which {fault}: {}{nearest}", quoted(id), kind.rule());
    Err(ConfigError::invalid(path, problem))
}

fn fault(id: &str, kind: Kind) -> Option<String> {
    let wrong = id.chars().enumerate().find(|(_, character)| !kind.allows(*character));
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

/// What the id could have been: other characters become `-`, surplus dots and length go.
fn nearest(id: &str, kind: Kind) -> Option<String> {
    let mut nearest = String::new();
    for character in id.trim().chars().map(|c| if kind.allows(c) { c } else { '-' }) {
        let surplus_dot = character == '.' && (nearest.is_empty() || nearest.ends_with('.'));
        if !surplus_dot && nearest.len() < MAX_ID_LENGTH {
            nearest.push(character);
        }
    }
    let nearest = nearest.trim_end_matches('.');
    (!nearest.is_empty()).then(|| nearest.to_owned())
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
    fn a_refusal_names_field_character_rule_and_nearest_id() {
        let message = check_cluster_id("my cluster").unwrap_err().to_string();
        for part in ["clusterId", "' '", "character 3", "A-Z a-z 0-9", "\"my-cluster\""] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn what_would_reach_further_is_refused() {
        for id in ["a.b", "*", ">", "a*", "a b", "a\n", "\0", "ä", "a/b", "$JS", &"x".repeat(65)] {
            assert!(check_cluster_id(id).is_err(), "{id:?}");
        }
        for id in [".", ".a", "a.", "a..b", "*", "a.>", "a. b", "a\u{7f}", "ä", &"x".repeat(65)] {
            assert!(check_node_id(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn an_empty_id_is_a_missing_one() {
        assert_eq!(check_cluster_id("").unwrap_err().to_string(), "clusterId is required");
        assert_eq!(check_node_id("").unwrap_err().to_string(), "nodeId is required");
    }

    #[test]
    fn the_nearest_id_is_accepted() {
        for id in ["..", " a ", "..a..b..", "ü", "a.b", &".".repeat(99), &"x.".repeat(99)] {
            if let Some(nearest) = nearest(id, Kind::Node) {
                check_node_id(&nearest).unwrap();
            }
            if let Some(nearest) = nearest(id, Kind::Cluster) {
                check_cluster_id(&nearest).unwrap();
            }
        }
        assert_eq!(nearest("..a..b..", Kind::Node).unwrap(), "a.b");
    }
}
