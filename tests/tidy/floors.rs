//! The floors of the house: a file imports only from floors below its own, or from its own group.

use super::lexer::Token;
use super::source::{Source, group_length};

/// Which floor a module is on. What is below a module in the tree of modules is on its floor, and
/// in its group, unless it has a line of its own.
const FLOORS: &[(&str, u8)] = &[
    ("clock", 0),
    ("error", 0),
    ("guide", 0),
    ("json", 0),
    ("sys", 0),
    ("text", 0),
    ("utc", 0),
    ("drain", 1),
    ("lease", 1),
    ("wait", 1),
    ("fence", 2),
    ("leadership", 3),
    ("store", 3),
    ("task", 3),
    ("timing", 3),
    ("config", 4),
    ("store::contract", 4),
    ("vip", 5),
    ("event", 6),
    ("election", 7),
    ("events", 7),
    ("nats", 7),
    ("store::memory", 7),
    ("testing", 7),
    ("hooks", 8),
    ("renewal", 8),
    ("request_server", 8),
    ("store::nats", 8),
    ("requester", 9),
    ("node", 10),
    ("health", 11),
    ("metrics", 11),
    ("observer", 11),
    ("service", 12),
    ("manager", 13),
    ("capi", 14),
    ("bin", 15),
];

/// A module that knows nothing of the election: it imports from here only.
const INDEPENDENT: (&str, &[&str]) = ("vip", &["clock", "config", "task"]);

/// Complains of imports from the same floor or from above, tests excepted.
pub(crate) fn upward_imports(source: &Source) -> Vec<String> {
    let Some(module) = module_of(&source.path).filter(|_| source.is_shipped()) else {
        return Vec::new();
    };
    let Some(own) = room_of(&module) else {
        return vec![format!("{}: has no floor, see tests/tidy/floors.rs", source.path)];
    };
    imports(&source.shipped_tokens(), &module)
        .iter()
        .filter_map(|import| {
            let what = objection(own, &import.path)?;
            let path = import.path.join("::");
            Some(source.complaint(import.line, format!("`{path}` {what}")))
        })
        .collect()
}

/// `["store", "memory"]` for `src/store/memory.rs`; none for the crate's root, which imports all.
fn module_of(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    let module = path.split('/').map(String::from).collect::<Vec<_>>();
    (!matches!(module[0].as_str(), "lib" | "build")).then_some(module)
}

type Room = (&'static str, u8);

/// The line of [`FLOORS`] that says most about `path`.
fn room_of(path: &[String]) -> Option<Room> {
    let path = path.join("::");
    let contains = |module: &str| path == module || path.starts_with(&format!("{module}::"));
    FLOORS
        .iter()
        .filter(|(module, _)| contains(module))
        .max_by_key(|(module, _)| module.len())
        .copied()
}

fn objection(own: Room, path: &[String]) -> Option<String> {
    let Some(room) = room_of(path) else {
        return Some("does not say which module it is from".into());
    };
    if room.0 == own.0 {
        return None;
    }
    let (independent, allowed) = INDEPENDENT;
    if own.0 == independent && !allowed.contains(&room.0) {
        return Some(format!("is not for `{independent}`, which stands alone"));
    }
    (room.1 >= own.1).then(|| format!("is on floor {} and this file on floor {}", room.1, own.1))
}

struct Import {
    path: Vec<String>,
    line: usize,
}

/// Every path that begins with `crate`, `super` or `self`, from the root of the crate. A
/// re-export (`pub use self::child::Name`) is no import.
fn imports(tokens: &[Token], module: &[String]) -> Vec<Import> {
    let mut imports = Vec::new();
    for (index, pair) in tokens.windows(2).enumerate() {
        let (before, after) = tokens.split_at(index);
        let continues = before.last().is_some_and(|token| token.is("::"));
        let base = match pair[0].text.as_str() {
            _ if !pair[1].is("::") || continues || is_re_export(before) => continue,
            "crate" => Vec::new(),
            "self" => module.to_vec(),
            "super" => module[..module.len() - 1].to_vec(),
            _ => continue,
        };
        collect(&after[2..], base, &mut imports);
    }
    imports
}

fn is_re_export(before: &[Token]) -> bool {
    match before {
        [.., public, last] if last.is("use") => public.is("pub") || public.is(")"),
        _ => false,
    }
}

/// Adds what the rest of a path names: `a::b`, `super::a`, or `{a, b::{c, d}}`.
fn collect(tokens: &[Token], mut path: Vec<String>, imports: &mut Vec<Import>) {
    let mut rest = tokens;
    while let Some((token, after)) = rest.split_first() {
        match token.text.as_str() {
            "{" => {
                let inside = &rest[1..group_length(rest) - 1];
                split_at_commas(inside).for_each(|part| collect(part, path.clone(), imports));
                return;
            }
            "super" => drop(path.pop()),
            "self" | "*" => {}
            _ if token.is_word() => path.push(token.text.clone()),
            _ => break,
        }
        if !after.first().is_some_and(|next| next.is("::")) {
            break;
        }
        rest = &after[1..];
    }
    let line = tokens.first().map_or(0, |token| token.line);
    imports.push(Import { path, line });
}

/// The parts of a group, split at the commas that are in no deeper group.
fn split_at_commas(mut tokens: &[Token]) -> impl Iterator<Item = &[Token]> {
    std::iter::from_fn(move || {
        if tokens.is_empty() {
            return None;
        }
        let mut end = 0;
        while end < tokens.len() && !tokens[end].is(",") {
            end += group_length(&tokens[end..]);
        }
        let part = &tokens[..end];
        tokens = tokens.get(end + 1..).unwrap_or_default();
        Some(part)
    })
}
