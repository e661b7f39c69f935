//! The manual, one module a page.

#![allow(clippy::doc_markdown, reason = "pages name other projects as those write themselves")]

/// One page of the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topic {
    /// The name that `leasehold help` takes: lower-case words joined by `-`.
    pub name: &'static str,
    /// One line that says what the page is about.
    pub summary: &'static str,
    /// The page, in Markdown.
    pub text: &'static str,
}

/// Declares a module and a [`Topic`] for each page, in reading order.
macro_rules! pages {
    ($($module:ident, $name:literal, $summary:literal;)*) => {
        /// All pages, in reading order.
        pub const TOPICS: &[Topic] = &[$(Topic {
            name: $name,
            summary: $summary,
            text: include_str!(concat!("guide/", stringify!($module), ".md")),
        }),*];

        $(
            #[doc = include_str!(concat!("guide/", stringify!($module), ".md"))]
            pub mod $module {}
        )*
    };
}

pages! {
    quick_start, "quick-start", "Lead from a Rust program in five minutes";
    daemon, "daemon", "Run a node as a daemon, follow it from any program, command it";
    configuration, "configuration", "Every setting: key, default, range, meaning";
    permissions, "permissions", "A complete set of NATS permissions, tested";
    benchmarks, "benchmarks", "How fast, how large, and beside other systems";
}
