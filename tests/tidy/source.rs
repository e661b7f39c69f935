//! Source files as the rules see them: text, and tokens with their lines.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use super::lexer::{Token, tokens};

/// One Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the package, with `/`.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
    /// Its tokens in their order.
    pub(crate) tokens: Vec<Token>,
}

impl Source {
    /// A file of this path and text.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), tokens: tokens(text) }
    }

    /// Its length.
    pub(crate) fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// Whether it is part of the library and not one of its test files.
    pub(crate) fn is_shipped(&self) -> bool {
        let is_test = self.path.ends_with("tests.rs") || self.path.contains("/tests/");
        self.path.starts_with("src/") && !is_test
    }

    /// Its tokens without items that only tests see.
    pub(crate) fn shipped_tokens(&self) -> Vec<Token> {
        let mut kept = Vec::new();
        let mut rest = self.tokens.as_slice();
        while let Some((first, after)) = rest.split_first() {
            if let Some(length) = test_only(rest) {
                rest = &rest[length..];
            } else {
                kept.push(first.clone());
                rest = after;
            }
        }
        kept
    }

    /// A complaint about one of its lines.
    pub(crate) fn complaint(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

/// Whether `tokens` begin with `pattern`.
pub(crate) fn begins(tokens: &[Token], pattern: &[&str]) -> bool {
    tokens.len() >= pattern.len()
        && tokens.iter().zip(pattern).all(|(token, expected)| token.is(expected))
}

/// How many tokens belong to the bracket that is the first of them, both brackets counted.
pub(crate) fn group_length(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}

/// How many tokens belong to the item that `tokens` begin with: up to its semicolon, or to the end
/// of its first braces, or to the bracket that surrounds it.
fn item_length(tokens: &[Token]) -> usize {
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        match token.text.as_str() {
            ";" => return index + 1,
            "{" => return index + group_length(&tokens[index..]),
            "(" | "[" => index += group_length(&tokens[index..]),
            ")" | "]" | "}" => return index,
            _ => index += 1,
        }
    }
    index
}

/// The length of the item that `tokens` begin with when it has an attribute `cfg(test)` first.
fn test_only(tokens: &[Token]) -> Option<usize> {
    if !begins(tokens, &["#", "[", "cfg", "("]) {
        return None;
    }
    let attribute = 1 + group_length(&tokens[1..]);
    let condition = &tokens[..attribute];
    let holds = |word: &str| condition.iter().any(|token| token.is(word));
    (holds("test") && !holds("not")).then(|| {
        let mut start = attribute;
        while begins(&tokens[start..], &["#", "["]) {
            start += 1 + group_length(&tokens[start + 1..]);
        }
        start + item_length(&tokens[start..])
    })
}

/// Every Rust file of the package.
pub(crate) fn all() -> Vec<Source> {
    tracked_paths()
        .into_iter()
        .filter(|path| ["src/", "tests/", "examples/"].iter().any(|top| path.starts_with(top)))
        .filter(|path| Path::new(path).extension().is_some_and(|extension| extension == "rs"))
        .map(|path| Source::new(&path, &read(&path)))
        .collect()
}

/// The text of a file of the package.
pub(crate) fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The package's files: those that git knows or would add, else all but what builds leave behind.
pub(crate) fn tracked_paths() -> Vec<String> {
    let git = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let listed = git.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let mut paths = listed.unwrap_or_default().lines().map(String::from).collect::<Vec<_>>();
    paths.retain(|path| Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists());
    if paths.is_empty() {
        walk("", &mut paths);
    }
    paths
}

fn walk(folder: &str, paths: &mut Vec<String>) {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
    for entry in entries.expect("a readable folder") {
        let entry = entry.expect("a readable entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}{name}");
        let is_folder = entry.path().is_dir();
        match name.as_str() {
            // Cargo puts it into packages.
            "target" | ".git" | "Cargo.toml.orig" => {}
            _ if is_folder => walk(&format!("{path}/"), paths),
            _ => paths.push(path),
        }
    }
}
