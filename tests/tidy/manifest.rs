//! The rules about the package as a whole.

use std::collections::BTreeSet;

/// What may stand at the top level, beside files whose name begins with a dot.
const TOP_LEVEL: [&str; 7] =
    ["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "examples", "src", "tests"];

/// Complains of each dependency in the manifest without a comment on the line above it.
pub(crate) fn uncommented_dependencies(manifest: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut within = false;
    let mut above = "";
    for (index, line) in manifest.lines().enumerate() {
        let table = line.strip_prefix('[').map(|rest| rest.trim_end_matches(']'));
        let named_by_table = table.is_some_and(|table| table.contains("dependencies."));
        if let Some(table) = table {
            within = table.ends_with("dependencies");
        }
        let named_by_key = within && line.starts_with(char::is_alphabetic);
        if (named_by_table || named_by_key) && !above.starts_with('#') {
            complaints.push(format!("Cargo.toml:{}: no reason above `{line}`", index + 1));
        }
        above = line;
    }
    complaints
}

/// Complains of what does not belong at the top level.
pub(crate) fn unexpected_entries(paths: &[String]) -> Vec<String> {
    let tops = paths.iter().filter_map(|path| path.split('/').next()).collect::<BTreeSet<_>>();
    tops.into_iter()
        .filter(|top| !top.starts_with('.') && !TOP_LEVEL.contains(top))
        .map(|top| format!("{top} is not one of {}", TOP_LEVEL.join(", ")))
        .collect()
}
