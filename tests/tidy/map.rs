//! The map of the tests, `tests/README.md`: each test and each file that it names exists.

use super::source::Source;

/// What the map names and the package does not have. A test is named by its binary, its modules
/// and its function; a unit test of the library by `lib` and its modules.
pub(crate) fn missing(map: &str, sources: &[Source], paths: &[String]) -> Vec<String> {
    // A span with a blank is a command.
    let spans = map.split('`').skip(1).step_by(2).filter(|span| !span.contains(' '));
    spans
        .filter(|span| match span.split_once("::") {
            Some((binary, rest)) => !has_test(sources, binary, rest),
            None => is_path(span) && !paths.iter().any(|path| path.starts_with(*span)),
        })
        .map(|span| format!("tests/README.md: there is no {span}"))
        .collect()
}

fn is_path(span: &str) -> bool {
    ["tests/", "src/", "examples/", ".ci/"].iter().any(|top| span.starts_with(top))
}

fn has_test(sources: &[Source], binary: &str, rest: &str) -> bool {
    let (module, name) = rest.rsplit_once("::").unwrap_or(("", rest));
    let file = module.split("::").next().unwrap_or_default();
    let (folder, root) = match binary {
        "lib" => ("src/".to_owned(), "src/lib.rs".to_owned()),
        _ => (format!("tests/{binary}/"), format!("tests/{binary}.rs")),
    };
    let of_binary = sources.iter().filter(|source| {
        let path = source.path.strip_prefix(&folder);
        path.is_some_and(|path| path.starts_with(file) || path == "main.rs") || source.path == root
    });
    // A function, or the name that one of the macros makes tests of; else a whole module.
    let made = [format!("fn {name}("), format!("!({name},")];
    of_binary.into_iter().any(|source| {
        made.iter().any(|text| source.text.contains(text))
            || source.path == format!("{folder}{}.rs", rest.replace("::", "/"))
    })
}
