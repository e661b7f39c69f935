//! The rules that no other tool enforces, and their own tests.
//!
//! A file imports only from floors below its own; the client crate and unsafe code are in few
//! files; files and lines have a limit; each public type of the library has an example in its
//! docs; each dependency says why it is there; the README is short and in plain words; the map of
//! the tests names tests that exist. The length of functions and panics in the library are
//! clippy's, see `.clippy.toml` and `[lints]`.

#[path = "tidy/mod.rs"]
mod tidy;

use tidy::source::{self, Source};
use tidy::{floors, manifest, map, rules};

#[test]
fn every_source_file_keeps_the_rules() {
    let sources = source::all();
    assert!(sources.len() > 10, "only {} source files found", sources.len());
    let violations = sources.iter().flat_map(tidy::violations_of).collect::<Vec<_>>();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let violations = manifest::uncommented_dependencies(&source::read("Cargo.toml"));
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn nothing_new_is_at_the_top_level() {
    let violations = manifest::unexpected_entries(&source::tracked_paths());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn the_readme_has_200_lines_at_the_most() {
    let lines = source::read("README.md").lines().count();
    assert!(lines <= 200, "{lines} lines; the rest belongs into src/guide");
}

#[test]
fn words_that_hide_their_subject_are_not_used() {
    let mut paths = source::tracked_paths();
    paths.retain(|path| path.starts_with("src/") || path == "README.md");
    for path in paths {
        let text = source::read(&path).to_lowercase();
        for word in ["whoever", "hearsay", "what stands"] {
            assert!(!text.contains(word), "{path}: {word:?} is no plain word");
        }
    }
}

#[test]
fn the_map_of_the_tests_names_what_exists() {
    let map = source::read("tests/README.md");
    let missing = map::missing(&map, &source::all(), &source::tracked_paths());
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn a_test_or_a_file_that_does_not_exist_is_missing_from_the_map() {
    let sources = [
        Source::new("tests/a/b.rs", "fn one() {} on_both_servers!(two, |v| {});"),
        Source::new("src/c/tests.rs", "fn three() {}"),
    ];
    let paths = ["tests/a/b.rs", "src/c/tests.rs"].map(String::from);
    let good = "`a::b::one` `a::b::two` `a::b` `lib::c::tests::three` `tests/a/` `words` `I1`";
    assert_eq!(map::missing(good, &sources, &paths), [""; 0]);
    let bad = "`a::b::on` `a::c::one` `d::one` `lib::c::four` `tests/d.rs`";
    assert_eq!(map::missing(bad, &sources, &paths).len(), 5);
}

/// What `rule` says of a file with this path and text.
fn said(rule: fn(&Source) -> Vec<String>, path: &str, text: &str) -> Vec<String> {
    rule(&Source::new(path, text))
}

#[test]
fn a_file_of_601_lines_is_too_long() {
    assert!(said(rules::long_file, "src/a.rs", &"\n".repeat(600)).is_empty());
    assert_eq!(said(rules::long_file, "src/a.rs", &"\n".repeat(601)).len(), 1);
}

#[test]
fn a_line_of_101_columns_is_too_wide() {
    assert!(said(rules::wide_lines, "src/a.rs", &format!("// {}", "ä".repeat(97))).is_empty());
    let violations = said(rules::wide_lines, "src/a.rs", &format!("\n// {}", "ä".repeat(98)));
    assert_eq!(violations, ["src/a.rs:2: 101 columns, 100 are allowed"]);
}

#[test]
fn a_raw_string_may_be_wide_and_what_is_around_it_may_not() {
    let wide = "x".repeat(200);
    let text = format!("const A: &[u8] = br#\"{wide}\"#;");
    assert!(said(rules::wide_lines, "src/a.rs", &text).is_empty());
    for text in [format!("{text} // {wide}"), text.replace("br#", "b").replace("\"#", "\"")] {
        assert_eq!(said(rules::wide_lines, "src/a.rs", &text).len(), 1, "{text}");
    }
}

#[test]
fn the_client_crate_is_named_in_one_group_of_files() {
    let rule = rules::client_crate;
    for text in ["use nats::Options;", "fn a(b: &::nats::Connection) {}", "use {log, nats::A};"] {
        assert_eq!(said(rule, "src/renewal.rs", text).len(), 1, "{text}");
        assert_eq!(said(rule, "examples/a.rs", text).len(), 1, "{text}");
        assert!(said(rule, "src/nats/nats_client.rs", text).is_empty());
        assert!(said(rule, "src/nats/nats_client/client.rs", text).is_empty());
    }
    let ours = "use crate::store::nats::NatsStore;\npub use self::nats::NatsStore;";
    assert!(said(rule, "src/store.rs", ours).is_empty());
}

#[test]
fn unsafe_has_few_places() {
    let rule = rules::unsafe_places;
    for text in [
        "fn a() { unsafe { b() } }",
        "unsafe impl Send for A {}",
        "#[unsafe(no_mangle)] pub fn a() {}",
        "#[allow(unsafe_code)] mod a;",
    ] {
        for path in ["src/node.rs", "src/capital.rs", "examples/basic.rs", "tests/capi.rs"] {
            assert_eq!(said(rule, path, text).len(), 1, "{path}: {text}");
        }
        for path in ["src/capi/handle.rs", "src/sys.rs", "src/sys/fork_tests.rs"] {
            assert!(said(rule, path, text).is_empty(), "{path}: {text}");
        }
    }
    let said_only = "//! unsafe\n#![doc = \"unsafe\"]\n// unsafe { }\nfn a() { \"unsafe\"; }";
    assert!(said(rule, "src/node.rs", said_only).is_empty());
}

#[test]
fn a_public_type_needs_an_example_of_its_own() {
    let rule = rules::types_without_example;
    let with = |block: &str| format!("/// It.\n///\n/// ```{block}\n/// a();\n/// ```\n");
    let attribute = "#[derive(\n    Debug,\n)]\n";
    for kind in ["struct A;", "enum A {}", "trait A {}"] {
        for block in ["", "no_run"] {
            let text = format!("{}{attribute}pub {kind}", with(block));
            assert!(said(rule, "src/a.rs", &text).is_empty(), "{text}");
        }
        let before = format!("{}pub struct B;\n", with(""));
        for docs in ["", "/// It.\n", &with("sql"), &with("ignore"), &before] {
            let text = format!("{docs}{attribute}pub {kind}");
            let line = text.lines().count();
            let violation = format!("src/a.rs:{line}: the docs of `A` have no example");
            assert_eq!(said(rule, "src/a.rs", &text), [violation], "{text}");
        }
    }
}

#[test]
fn what_is_no_public_type_of_the_library_needs_no_example() {
    let rule = rules::types_without_example;
    for text in ["struct A;", "pub(crate) enum A {}", "#[cfg(test)] mod a { pub struct A; }"] {
        assert!(said(rule, "src/a.rs", text).is_empty(), "{text}");
    }
    for path in ["src/capi.rs", "src/capi/a.rs", "src/bin/leasehold/a.rs", "src/a/tests.rs"] {
        assert!(said(rule, path, "pub struct A;").is_empty(), "{path}");
    }
    assert_eq!(said(rule, "src/capital.rs", "pub struct A;").len(), 1);
}

#[test]
fn a_file_imports_only_from_floors_below_its_own() {
    for (path, text) in [
        ("src/clock.rs", "use crate::renewal::Renewal;"),
        ("src/election.rs", "use crate::store::nats::NatsStore;"),
        ("src/election/term.rs", "use crate::node::Node;"),
        ("src/election/term.rs", "fn a() { crate::node::Node::start(); }"),
        ("src/store.rs", "use crate::{clock::Timestamp, renewal::{Renewal}};"),
        ("src/store/memory.rs", "use super::nats::NatsStore;"),
        ("src/store/memory/link.rs", "use super::super::nats::NatsStore;"),
        ("src/store.rs", "use self::memory::MemoryStore;"),
        ("src/vip/worker.rs", "use crate::lease::Epoch;"),
        ("src/leadership.rs", "use crate::vip::Holder;"),
    ] {
        assert_eq!(said(floors::upward_imports, path, text).len(), 1, "{path}: {text}");
    }
}

#[test]
fn imports_from_below_and_from_the_own_group_are_free() {
    for (path, text) in [
        ("src/node/renewal_task.rs", "use crate::{clock::Clock, store::{self, nats::NatsStore}};"),
        ("src/election/term.rs", "use super::plan::Plan;\nuse crate::election::Election;"),
        ("src/store/memory/link.rs", "use super::{Shared};\nuse crate::store::Ticket;"),
        ("src/store.rs", "pub use self::memory::MemoryStore;\npub(crate) fn a() {}"),
        ("src/vip/worker.rs", "use crate::clock::Clock;\nuse super::holder::Holder;"),
        ("src/clock.rs", "#[cfg(test)] mod tests { use super::*; use crate::node::Node; }"),
        ("src/manager.rs", "use crate::vip::Holder;"),
        ("src/lib.rs", "pub use crate::manager::Manager;"),
        ("tests/a.rs", "use crate::manager::Manager;"),
    ] {
        assert_eq!(said(floors::upward_imports, path, text), [""; 0], "{path}: {text}");
    }
}

#[test]
fn what_has_no_floor_is_not_in_the_house() {
    let violations = said(floors::upward_imports, "src/attic.rs", "");
    assert_eq!(violations, ["src/attic.rs: has no floor, see tests/tidy/floors.rs"]);
    let violations = said(floors::upward_imports, "src/node.rs", "use crate::Epoch;");
    assert_eq!(violations.len(), 1, "the crate's root hides where a thing comes from");
}

#[test]
fn comments_and_strings_are_no_code() {
    let text = r##"fn a<'a>(b: &'a str) -> char { // " 'x
        /* { /* " */ } */ c("\"{", r#""{"#, b'{', '\'', '"', br"\", 1.5, a::b) }"##;
    let found = tidy::lexer::tokens(text);
    let words = found.iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join(" ");
    let first = r##"fn a < ' a > ( b : & ' a str ) - > char { c ( "\"{" , r#""{"# , "##;
    let second = r#"b'{' , '\'' , '"' , br"\" , 1 . 5 , a :: b ) }"#;
    assert_eq!(words, format!("{first}{second}"));
    assert_eq!((found[0].line, found.last().map(|token| token.line)), (1, Some(2)));
}

#[test]
fn a_dependency_without_a_reason_is_found() {
    let text = [
        "[dependencies]\n# Why.\na = \"1\"\nb = \"1\"\n\n",
        "[dev-dependencies]\n# Why.\nc = [\n  \"x\",\n]\n",
        "[target.'cfg(unix)'.dependencies.d]\nversion = \"1\"\n[features]\ne = []\n",
    ]
    .concat();
    let violations = manifest::uncommented_dependencies(&text);
    assert_eq!(violations.len(), 2, "{violations:?}");
    assert!(
        violations[0].starts_with("Cargo.toml:4:") && violations[1].starts_with("Cargo.toml:11:")
    );
}

#[test]
fn a_stranger_at_the_top_level_is_found() {
    let paths = ["Cargo.toml", "src/a.rs", ".ci/run", "docs/a.md", "docs/b.md", "notes.txt"];
    let violations = manifest::unexpected_entries(&paths.map(String::from));
    assert_eq!(violations.len(), 2, "{violations:?}");
}
