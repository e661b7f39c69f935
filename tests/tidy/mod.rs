//! The rules and what they work on.

pub(crate) mod floors;
pub(crate) mod lexer;
pub(crate) mod manifest;
pub(crate) mod map;
pub(crate) mod rules;
pub(crate) mod source;

use source::Source;

/// All that is wrong with one file.
pub(crate) fn violations_of(source: &Source) -> Vec<String> {
    let rules = [
        rules::long_file,
        rules::wide_lines,
        rules::client_crate,
        rules::unsafe_places,
        rules::types_without_example,
        floors::upward_imports,
    ];
    rules.iter().flat_map(|rule| rule(source)).collect()
}
