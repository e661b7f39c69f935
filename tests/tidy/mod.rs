//! The rules and what they work on.

pub(crate) mod floors;
pub(crate) mod lexer;
pub(crate) mod manifest;
pub(crate) mod rules;
pub(crate) mod source;

use source::Source;

/// All that is wrong with one file.
pub(crate) fn violations_of(source: &Source) -> Vec<String> {
    let rules = [
        rules::long_functions,
        rules::long_file,
        rules::wide_lines,
        rules::unwraps,
        rules::unfinished,
        rules::ignored_tests,
        rules::client_crate,
        rules::unsafe_places,
        floors::upward_imports,
    ];
    rules.iter().flat_map(|rule| rule(source)).collect()
}

/// Median, 90th percentile and maximum of the lengths of functions and files, in lines.
pub(crate) fn figures(sources: &[&Source]) -> String {
    let functions = sources.iter().flat_map(|source| source.functions());
    let functions = spread(functions.map(|function| function.lines).collect());
    let files = spread(sources.iter().map(|source| source.lines()).collect());
    format!("functions: {functions}; files: {files}")
}

fn spread(mut lengths: Vec<usize>) -> String {
    lengths.sort_unstable();
    let Some(last) = lengths.len().checked_sub(1) else { return "none".into() };
    let at = |percent: usize| lengths[last * percent / 100];
    format!("{} with median {}, p90 {}, most {}", lengths.len(), at(50), at(90), at(100))
}
