//! The hard limits of the code's style, enforced.
//!
//! Lengths and columns, no panics by `unwrap` in the library, a file imports only from floors
//! below its own, and a few more; the rules are the functions of `tidy::rules`, `tidy::floors` and
//! `tidy::manifest`, and each has tests here that feed it what it must refuse. The medians are
//! printed (`cargo test --test tidy -- --nocapture`) and limited by nobody.

#[path = "tidy/mod.rs"]
mod tidy;

use tidy::source::{self, Source};
use tidy::{floors, manifest, rules};

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
fn figures() {
    let sources = source::all();
    for folder in ["src/", "tests/", "examples/"] {
        let files = sources.iter().filter(|source| source.path.starts_with(folder));
        println!("{folder} {}", tidy::figures(&files.collect::<Vec<_>>()));
    }
}

/// What `rule` says of a file with this path and text.
fn said(rule: fn(&Source) -> Vec<String>, path: &str, text: &str) -> Vec<String> {
    rule(&Source::new(path, text))
}

fn function_of(lines: usize) -> String {
    format!("fn long() {{\n{}}}\n", "    work();\n".repeat(lines - 2))
}

#[test]
fn a_function_of_71_lines_is_too_long() {
    assert!(said(rules::long_functions, "tests/a.rs", &function_of(70)).is_empty());
    let violations = said(rules::long_functions, "tests/a.rs", &function_of(71));
    assert_eq!(violations, ["tests/a.rs:1: `long` has 71 lines, 70 are allowed"]);
}

#[test]
fn a_method_within_a_module_is_measured_too() {
    let text = format!("mod a {{ impl B {{\n{}}} }}", function_of(71));
    assert_eq!(said(rules::long_functions, "src/a.rs", &text).len(), 1);
    let pointer = format!("type F = fn(u8);\nstatic A: [u8; 1] = {{\n{}}};", "\n".repeat(90));
    assert!(said(rules::long_functions, "src/a.rs", &pointer).is_empty());
    let required = format!("trait A {{ fn a(&self);\n}}\nstruct B {{\n{}}}", "\n".repeat(90));
    assert!(said(rules::long_functions, "src/a.rs", &required).is_empty());
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
fn a_panic_in_the_library_names_an_invariant() {
    let rule = rules::unwraps;
    for text in [
        "fn a() { b().unwrap(); }",
        "fn a() { b()\n.expect(\"it works\"); }",
        "fn a() { log!(b.unwrap()); }",
        "#[cfg(not(test))] fn a() { b().unwrap(); }",
        "fn a() { b().expect(&message); }",
    ] {
        assert_eq!(said(rule, "src/a.rs", text).len(), 1, "{text}");
    }
    for text in [
        "fn a() { b().expect(\"invariant: b is never empty\"); }",
        "fn a() { b().unwrap_or_default(); }",
        "fn a() { sighting.expect(); }",
        "// b.unwrap()\n/// b.unwrap()\nfn a() { \".unwrap()\"; }",
        "#[cfg(test)]\n#[allow(x)]\nmod tests { fn a() { b().unwrap(); } }",
        "#[cfg(all(test, unix))] fn a() { b().unwrap(); }",
    ] {
        assert_eq!(said(rule, "src/a.rs", text), [""; 0], "{text}");
    }
    let text = "#[cfg(test)] use a::b;\nfn a() { b().unwrap(); }";
    assert_eq!(said(rule, "src/a.rs", text).len(), 1, "only the item is a test's");
    for path in ["src/a/tests.rs", "src/a/tests/b.rs", "src/a/b_tests.rs"] {
        assert!(said(rule, path, "fn a() { b().unwrap(); }").is_empty());
    }
    assert!(said(rule, "tests/a.rs", "fn a() { b().unwrap(); }").is_empty());
}

#[test]
fn nothing_is_left_undone() {
    let mark = concat!("// FIX", "ME: later");
    for text in ["fn a() { todo!() }", "fn a() { unimplemented!(\"b\") }", mark] {
        assert_eq!(said(rules::unfinished, "tests/a.rs", text).len(), 1, "{text}");
    }
    assert!(said(rules::unfinished, "src/a.rs", "fn todo() { unimplemented(); }").is_empty());
}

#[test]
fn no_test_is_left_out() {
    for text in ["#[test]\n#[ignore]\nfn a() {}", "#[ignore = \"slow\"] fn a() {}"] {
        assert_eq!(said(rules::ignored_tests, "tests/a.rs", text).len(), 1, "{text}");
    }
    assert!(said(rules::ignored_tests, "tests/a.rs", "fn ignore() { a[ignore]; }").is_empty());
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
