//! The rules about one file; each returns its complaints.

use super::source::{Source, begins};

const FUNCTION_LINES: usize = 70;
const FILE_LINES: usize = 600;
const COLUMNS: usize = 100;

/// The only files that may name the client crate.
const CLIENT_FILES: &str = "src/nats/nats_client";

/// Where unsafe code may be: the border to C, the few system calls that no safe crate offers, and
/// tests that call C or plant a mistake.
const UNSAFE_FILES: [&str; 6] =
    ["src/capi.rs", "src/capi/", "src/sys.rs", "src/sys/", "tests/node/races.rs", "tests/fuzz/"];

/// In pieces, so as not to find itself.
const MARK: &str = concat!("FIX", "ME");

pub(crate) fn long_functions(source: &Source) -> Vec<String> {
    let long = source.functions().into_iter().filter(|function| function.lines > FUNCTION_LINES);
    long.map(|function| {
        let (name, lines) = (&function.name, function.lines);
        let what = format!("`{name}` has {lines} lines, {FUNCTION_LINES} are allowed");
        source.complaint(function.line, what)
    })
    .collect()
}

pub(crate) fn long_file(source: &Source) -> Vec<String> {
    let lines = source.lines();
    let long = lines > FILE_LINES;
    let complaint = || format!("{}: {lines} lines, {FILE_LINES} are allowed", source.path);
    long.then(complaint).into_iter().collect()
}

/// Raw strings are data, an answer of a server for example, and count for nothing.
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

/// How much of a line is raw strings that begin and end in it.
fn raw_string_columns(source: &Source, line: usize) -> usize {
    let tokens = source.tokens.iter().filter(|token| token.line == line);
    let raw = tokens.filter(|token| token.is_raw_string() && !token.text.contains('\n'));
    raw.map(|token| token.text.chars().count()).sum()
}

/// In the library `expect` names the invariant that would have to be broken, and `unwrap` is not
/// used.
pub(crate) fn unwraps(source: &Source) -> Vec<String> {
    if !source.is_shipped() {
        return Vec::new();
    }
    let tokens = source.shipped_tokens();
    let panics = tokens.windows(4).filter(|tokens| {
        // A method of ours may be called `expect`, without a message.
        let named = tokens[3].text.starts_with("\"invariant: ") || tokens[3].is(")");
        begins(tokens, &[".", "unwrap", "("]) || begins(tokens, &[".", "expect", "("]) && !named
    });
    panics
        .map(|tokens| {
            let what = format!("`{}` without an invariant in its message", tokens[1].text);
            source.complaint(tokens[1].line, what)
        })
        .collect()
}

pub(crate) fn unfinished(source: &Source) -> Vec<String> {
    let macros = source
        .tokens
        .windows(2)
        .filter(|tokens| begins(tokens, &["todo", "!"]) || begins(tokens, &["unimplemented", "!"]));
    let macros = macros.map(|tokens| source.complaint(tokens[0].line, "unfinished"));
    let marks = source.text.lines().enumerate().filter(|(_, line)| line.contains(MARK));
    macros.chain(marks.map(|(index, _)| source.complaint(index + 1, MARK))).collect()
}

pub(crate) fn ignored_tests(source: &Source) -> Vec<String> {
    let ignored = source.tokens.windows(3).filter(|tokens| begins(tokens, &["#", "[", "ignore"]));
    ignored.map(|tokens| source.complaint(tokens[0].line, "an ignored test")).collect()
}

pub(crate) fn unsafe_places(source: &Source) -> Vec<String> {
    if UNSAFE_FILES.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    // An attribute that allows it is no word `unsafe`.
    let named = source.tokens.iter().filter(|token| token.is("unsafe") || token.is("unsafe_code"));
    named.map(|token| source.complaint(token.line, "unsafe code has no place here")).collect()
}

/// The client is deprecated upstream; one group of files stands between it and the rest.
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
