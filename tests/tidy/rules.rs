//! The rules about one Rust file; each returns what is wrong.

use super::lexer::Token;
use super::source::{Source, begins};

const FILE_LINES: usize = 600;
const COLUMNS: usize = 100;

/// The only files that may name the client crate.
const CLIENT_FILES: &str = "src/nats/nats_client";

/// The only files with unsafe code: the C API, the few system calls that no safe crate offers, and
/// tests that call the C API or plant a mistake.
const UNSAFE_FILES: [&str; 6] =
    ["src/capi.rs", "src/capi/", "src/sys.rs", "src/sys/", "tests/node/races.rs", "tests/fuzz/"];

/// What is public beside the library: the C API, documented by its header, and the command.
const NO_LIBRARY: [&str; 3] = ["src/capi.rs", "src/capi/", "src/bin/"];

pub(crate) fn long_file(source: &Source) -> Vec<String> {
    let lines = source.lines();
    let long = lines > FILE_LINES;
    let complaint = || format!("{}: {lines} lines, {FILE_LINES} are allowed", source.path);
    long.then(complaint).into_iter().collect()
}

/// Raw strings are data, a server's response for example, and may be wider.
pub(crate) fn wide_lines(source: &Source) -> Vec<String> {
    let columns = source.text.lines().map(|line| line.chars().count()).enumerate();
    columns
        .filter(|(_, columns)| *columns > COLUMNS)
        .map(|(index, columns)| (index + 1, columns - raw_string_columns(source, index + 1)))
        .filter(|(_, columns)| *columns > COLUMNS)
        .map(|(line, columns)| {
            source.complaint(line, format!("{columns} columns, {COLUMNS} are allowed"))
        })
        .collect()
}

/// How many columns of a line are raw strings that begin and end in it.
fn raw_string_columns(source: &Source, line: usize) -> usize {
    let tokens = source.tokens.iter().filter(|token| token.line == line);
    let raw = tokens.filter(|token| token.is_raw_string() && !token.text.contains('\n'));
    raw.map(|token| token.text.chars().count()).sum()
}

pub(crate) fn unsafe_places(source: &Source) -> Vec<String> {
    if UNSAFE_FILES.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    // An attribute that allows it is no word `unsafe`.
    let named = source.tokens.iter().filter(|token| token.is("unsafe") || token.is("unsafe_code"));
    named.map(|token| source.complaint(token.line, "unsafe code has no place here")).collect()
}

/// The client crate is deprecated; only one group of files uses it.
pub(crate) fn client_crate(source: &Source) -> Vec<String> {
    let concerned = source.path.starts_with("src/") || source.path.starts_with("examples/");
    if !concerned || source.path.starts_with(CLIENT_FILES) {
        return Vec::new();
    }
    let named = source.tokens.windows(2).enumerate().filter(|(index, tokens)| {
        begins(tokens, &["nats", "::"]) && !follows_a_path(source, *index)
    });
    named.map(|(_, tokens)| source.complaint(tokens[0].line, "names the client crate")).collect()
}

/// Whether the token at `index` comes after `something::`; a path may also begin with `::`.
fn follows_a_path(source: &Source, index: usize) -> bool {
    let [.., before, separator] = &source.tokens[..index] else { return false };
    separator.is("::") && before.is_word()
}

/// Every public type of the library has an example in its documentation, which the tests run or at
/// least compile.
pub(crate) fn types_without_example(source: &Source) -> Vec<String> {
    if !source.is_shipped() || NO_LIBRARY.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let tokens = source.shipped_tokens();
    let is_type =
        |kind: &Token| ["struct", "enum", "trait", "union"].iter().any(|word| kind.is(word));
    let types = tokens.windows(3).filter(|tokens| tokens[0].is("pub") && is_type(&tokens[1]));
    types
        .filter(|tokens| !has_example(source, tokens[0].line))
        .map(|tokens| {
            let what = format!("the docs of `{}` have no example", tokens[2].text);
            source.complaint(tokens[0].line, what)
        })
        .collect()
}

/// Whether the documentation of the item that begins at `line` has a block of Rust.
fn has_example(source: &Source, line: usize) -> bool {
    let above = source.text.lines().take(line - 1).map(str::trim).collect::<Vec<_>>();
    let of_item = above.iter().rev().take_while(|line| {
        // An attribute may have several lines; an item before it ends in one of these.
        line.starts_with("///") || !(line.is_empty() || line.ends_with([';', '}']))
    });
    let fences = of_item.filter_map(|line| line.strip_prefix("/// ```"));
    // Seen from below, each block ends first.
    fences.skip(1).step_by(2).any(|kind| matches!(kind, "" | "no_run"))
}
